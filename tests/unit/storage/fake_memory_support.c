#include "tests/unit/storage/fake_memory_support.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "tests/unit/storage/operation_text_support.h"

static uint8_t *append(uint8_t *at, struct slice *slice)
{
    if (slice->len > 0) {
        memcpy(at, slice->data, slice->len);
    }
    slice->data = at;
    return at + slice->len;
}

static struct kept *kept_create(const struct operation *operation)
{
    struct kept *kept = calloc(1, sizeof(*kept));
    kept->operation = *operation;
    struct operation *own = &kept->operation;
    size_t ids_size = own->subscription_id_count * sizeof(uint32_t);
    kept->bytes = malloc(own->client_id.len + own->filter.len + own->topic.len +
                         own->properties.len + own->payload.len + ids_size + 1);
    uint8_t *at = kept->bytes;
    if (ids_size > 0) {
        memcpy(at, own->subscription_ids, ids_size);
        own->subscription_ids = (const uint32_t *)(const void *)at;
        at += ids_size;
    }
    at = append(at, &own->client_id);
    at = append(at, &own->filter);
    at = append(at, &own->topic);
    at = append(at, &own->properties);
    (void)append(at, &own->payload);
    return kept;
}

static void kept_destroy(struct kept *kept)
{
    free(kept->bytes);
    free(kept);
}

/* Whether a kept `a` is what `b` is about. */
static bool same_thing(const struct operation *a, const struct operation *b)
{
    switch (a->type) {
    case OPERATION_MESSAGE_PUT:
        return a->message == b->message;
    case OPERATION_QUEUE_PUSH:
        return a->session == b->session && a->position >= b->position &&
               a->position <= (b->last > 0 ? b->last : b->position);
    case OPERATION_SUBSCRIPTION_PUT:
        return a->session == b->session && slice_equal(a->filter, b->filter);
    case OPERATION_INBOUND_QOS2_PUT:
        return a->session == b->session && a->packet_id == b->packet_id;
    case OPERATION_RETAINED_PUT:
        return slice_equal(a->topic, b->topic);
    default: /* one to a session */
        return a->session == b->session;
    }
}

static struct kept *find(struct fake_memory *memory, enum operation_type type,
                         const struct operation *about)
{
    struct kept *kept = memory->kept[type];
    while (kept != NULL && !same_thing(&kept->operation, about)) {
        kept = kept->next;
    }
    return kept;
}

static void drop(struct fake_memory *memory, enum operation_type type,
                 const struct operation *about)
{
    struct kept **link = &memory->kept[type];
    while (*link != NULL) {
        struct kept *kept = *link;
        if (same_thing(&kept->operation, about)) {
            *link = kept->next;
            kept_destroy(kept);
        } else {
            link = &kept->next;
        }
    }
}

static void put(struct fake_memory *memory, const struct operation *operation)
{
    drop(memory, operation->type, operation);
    struct kept *kept = kept_create(operation);
    kept->next = memory->kept[operation->type];
    memory->kept[operation->type] = kept;
}

static void drop_session(struct fake_memory *memory, const struct operation *operation)
{
    static const enum operation_type types[] = {OPERATION_SESSION_PUT, OPERATION_SUBSCRIPTION_PUT,
                                                OPERATION_WILL_PUT, OPERATION_INBOUND_QOS2_PUT};
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        drop(memory, types[i], operation);
    }
    struct operation all = {.session = operation->session, .position = 0, .last = UINT64_MAX};
    drop(memory, OPERATION_QUEUE_PUSH, &all);
}

static void release(struct fake_memory *memory, const struct operation *operation)
{
    struct kept *entry = find(memory, OPERATION_QUEUE_PUSH, operation);
    if (entry != NULL) {
        entry->operation.released = true;
        entry->operation.message = 0;
    }
}

/* ---- what every engine may rely on ----------------------------------------------------------- */

void fake_memory_complain(struct fake_memory *memory, const char *words,
                          const struct operation *operation)
{
    if (memory->complaint[0] == '\0') {
        struct text line = text_fixed(memory->complaint, sizeof(memory->complaint));
        text_printf(&line, "%s: ", words);
        operation_text_add(&line, operation);
    }
}

static bool named(struct fake_memory *memory, uint64_t message)
{
    static const enum operation_type types[] = {OPERATION_QUEUE_PUSH, OPERATION_WILL_PUT};
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        for (struct kept *kept = memory->kept[types[i]]; kept != NULL; kept = kept->next) {
            if (kept->operation.message == message) {
                return true;
            }
        }
    }
    return false;
}

/* Before `operation` is applied. */
static void check(struct fake_memory *memory, const struct operation *operation)
{
    bool known = find(memory, OPERATION_MESSAGE_PUT, operation) != NULL;
    switch (operation->type) {
    case OPERATION_MESSAGE_PUT:
        if (known || operation->message == 0) {
            fake_memory_complain(memory, "put twice", operation);
        }
        break;
    case OPERATION_MESSAGE_DROP:
        if (!known || named(memory, operation->message)) {
            fake_memory_complain(memory, "dropped at the wrong time", operation);
        }
        break;
    case OPERATION_QUEUE_PUSH:
    case OPERATION_WILL_PUT:
        if (operation->released ? operation->message != 0 : !known) {
            fake_memory_complain(memory, "names an unknown message", operation);
        }
        break;
    default:
        break;
    }
}

void fake_memory_check(struct fake_memory *memory)
{
    for (struct kept *kept = memory->kept[OPERATION_MESSAGE_PUT]; kept != NULL; kept = kept->next) {
        if (!named(memory, kept->operation.message)) {
            fake_memory_complain(memory, "kept for nothing", &kept->operation);
        }
    }
}

void fake_memory_apply(struct fake_memory *memory, const struct operation *operation)
{
    check(memory, operation);
    switch (operation->type) {
    case OPERATION_SESSION_PUT:
    case OPERATION_SUBSCRIPTION_PUT:
    case OPERATION_WILL_PUT:
    case OPERATION_MESSAGE_PUT:
    case OPERATION_QUEUE_PUSH:
    case OPERATION_INBOUND_QOS2_PUT:
    case OPERATION_RETAINED_PUT:
        put(memory, operation);
        break;
    case OPERATION_SESSION_DROP:
        drop_session(memory, operation);
        break;
    case OPERATION_SUBSCRIPTION_DROP:
        drop(memory, OPERATION_SUBSCRIPTION_PUT, operation);
        break;
    case OPERATION_WILL_DROP:
        drop(memory, OPERATION_WILL_PUT, operation);
        break;
    case OPERATION_MESSAGE_DROP:
        drop(memory, OPERATION_MESSAGE_PUT, operation);
        break;
    case OPERATION_QUEUE_RELEASE:
        release(memory, operation);
        break;
    case OPERATION_QUEUE_POP:
        drop(memory, OPERATION_QUEUE_PUSH, operation);
        break;
    case OPERATION_INBOUND_QOS2_DROP:
        drop(memory, OPERATION_INBOUND_QOS2_PUT, operation);
        break;
    case OPERATION_RETAINED_DROP:
        drop(memory, OPERATION_RETAINED_PUT, operation);
        break;
    case OPERATION_TYPES:
        fake_memory_complain(memory, "no operation", operation);
        break;
    }
}

void fake_memory_fini(struct fake_memory *memory)
{
    for (unsigned i = 0; i < OPERATION_TYPES; i++) {
        while (memory->kept[i] != NULL) {
            struct kept *kept = memory->kept[i];
            memory->kept[i] = kept->next;
            kept_destroy(kept);
        }
    }
}

void fake_memory_show(const struct fake_memory *memory, struct text *text)
{
    for (unsigned i = 0; i < OPERATION_TYPES; i++) {
        for (const struct kept *kept = memory->kept[i]; kept != NULL; kept = kept->next) {
            operation_text_add(text, &kept->operation);
        }
    }
    operation_text_sort(text);
}

void fake_memory_show_payloads(const struct fake_memory *memory, struct text *text)
{
    for (unsigned i = 0; i < OPERATION_TYPES; i++) {
        const struct kept *kept = i != OPERATION_MESSAGE_PUT ? memory->kept[i] : NULL;
        for (; kept != NULL; kept = kept->next) {
            struct operation plain = kept->operation;
            const struct kept *message = memory->kept[OPERATION_MESSAGE_PUT];
            while (message != NULL && message->operation.message != plain.message) {
                message = message->next;
            }
            if (plain.message != 0 && message != NULL) {
                text_add_escaped(text, message->operation.payload);
                text_add(text, " ");
                plain.message = 0;
            }
            operation_text_add(text, &plain);
        }
    }
    operation_text_sort(text);
}

unsigned fake_memory_count(const struct fake_memory *memory, enum operation_type type)
{
    unsigned count = 0;
    for (const struct kept *kept = memory->kept[type]; kept != NULL; kept = kept->next) {
        count++;
    }
    return count;
}
