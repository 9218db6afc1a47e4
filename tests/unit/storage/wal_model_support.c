#include "tests/unit/storage/wal_model_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "storage/wal_record.h"
#include "tests/unit/storage/operation_text_support.h"

/* ---- the model ------------------------------------------------------------------------------- */

static struct wal_model_row copy_row(const struct operation *operation)
{
    struct wal_model_row row = {0};
    size_t len = wal_record_size(operation);
    row.bytes = mem_alloc(len);
    row.ids = mem_alloc_array(operation->subscription_id_count + 1, sizeof(uint32_t));
    (void)wal_record_encode(operation, row.bytes);
    enum err err = wal_record_decode(slice_of(row.bytes, len), &row.operation, row.ids, &len);
    ASSERT(err == ERR_OK);
    return row;
}

static void free_row(struct wal_model_row *row)
{
    mem_free(row->bytes);
    mem_free(row->ids);
}

void wal_model_fini(struct wal_model *model)
{
    for (uint32_t i = 0; i < model->count; i++) {
        free_row(&model->rows[i]);
    }
    mem_free(model->rows);
    *model = (struct wal_model){0};
}

static void remove_row(struct wal_model *model, uint32_t at)
{
    free_row(&model->rows[at]);
    memmove(&model->rows[at], &model->rows[at + 1],
            (model->count - at - 1) * sizeof(struct wal_model_row));
    model->count--;
}

static bool same_key(const struct operation *a, const struct operation *b)
{
    return a->type == b->type && a->session == b->session && a->position == b->position &&
           a->packet_id == b->packet_id &&
           (a->type != OPERATION_MESSAGE_PUT || a->message == b->message) &&
           (a->type != OPERATION_SUBSCRIPTION_PUT || slice_equal(a->filter, b->filter)) &&
           (a->type != OPERATION_RETAINED_PUT || slice_equal(a->topic, b->topic));
}

static struct wal_model_row *find_row(const struct wal_model *model, const struct operation *like)
{
    for (uint32_t i = 0; i < model->count; i++) {
        if (same_key(&model->rows[i].operation, like)) {
            return &model->rows[i];
        }
    }
    return NULL;
}

static bool has_session(const struct wal_model *model, uint64_t session)
{
    return find_row(model,
                    &(struct operation){.type = OPERATION_SESSION_PUT, .session = session}) != NULL;
}

static bool has_message(const struct wal_model *model, uint64_t message)
{
    return find_row(model,
                    &(struct operation){.type = OPERATION_MESSAGE_PUT, .message = message}) != NULL;
}

static void put_row(struct wal_model *model, const struct operation *operation)
{
    struct wal_model_row *row = find_row(model, operation);
    if (row != NULL) {
        free_row(row);
        *row = copy_row(operation);
        return;
    }
    model->rows = mem_grow(model->rows, model->count, &model->cap, sizeof(struct wal_model_row));
    model->rows[model->count++] = copy_row(operation);
}

static void drop_row(struct wal_model *model, const struct operation *like)
{
    struct wal_model_row *row = find_row(model, like);
    if (row != NULL) {
        remove_row(model, (uint32_t)(row - model->rows));
    }
}

static void drop_session(struct wal_model *model, uint64_t session)
{
    for (uint32_t i = model->count; i > 0; i--) {
        if (model->rows[i - 1].operation.session == session) {
            remove_row(model, i - 1);
        }
    }
}

static void pop_rows(struct wal_model *model, const struct operation *pop)
{
    for (uint32_t i = model->count; i > 0; i--) {
        const struct operation *row = &model->rows[i - 1].operation;
        if (row->type == OPERATION_QUEUE_PUSH && row->session == pop->session &&
            row->position >= pop->position && row->position <= pop->last) {
            remove_row(model, i - 1);
        }
    }
}

static void release_row(struct wal_model *model, const struct operation *release)
{
    struct wal_model_row *row = find_row(model, &(struct operation){.type = OPERATION_QUEUE_PUSH,
                                                                    .session = release->session,
                                                                    .position = release->position});
    if (row != NULL) {
        row->operation.released = true;
        row->operation.message = 0;
    }
}

void wal_model_apply(struct wal_model *model, const struct operation *operation)
{
    struct operation like = *operation;
    switch (operation->type) {
    case OPERATION_SUBSCRIPTION_PUT:
    case OPERATION_WILL_PUT:
    case OPERATION_QUEUE_PUSH:
    case OPERATION_INBOUND_QOS2_PUT:
        if (has_session(model, operation->session)) {
            put_row(model, operation);
        }
        return;
    case OPERATION_SESSION_PUT:
    case OPERATION_MESSAGE_PUT:
    case OPERATION_RETAINED_PUT:
        put_row(model, operation);
        return;
    case OPERATION_SESSION_DROP:
        drop_session(model, operation->session);
        return;
    case OPERATION_QUEUE_POP:
        pop_rows(model, operation);
        return;
    case OPERATION_QUEUE_RELEASE:
        release_row(model, operation);
        return;
    case OPERATION_SUBSCRIPTION_DROP:
    case OPERATION_WILL_DROP:
    case OPERATION_MESSAGE_DROP:
    case OPERATION_INBOUND_QOS2_DROP:
    case OPERATION_RETAINED_DROP:
        like.type = (enum operation_type)(operation->type - 1); /* a drop follows its put */
        drop_row(model, &like);
        return;
    case OPERATION_TYPES:
        break;
    }
    ASSERT(operation->type < OPERATION_TYPES);
}

/* Queue entries and wills with the message. */
static uint32_t references(const struct wal_model *model, uint64_t message)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct operation *row = &model->rows[i].operation;
        bool refers = row->type == OPERATION_QUEUE_PUSH || row->type == OPERATION_WILL_PUT;
        count += refers && row->message == message ? 1 : 0;
    }
    return count;
}

static bool counts(const struct wal_model *model, const struct operation *row)
{
    switch (row->type) {
    case OPERATION_MESSAGE_PUT:
        return references(model, row->message) > 0;
    case OPERATION_WILL_PUT:
        return has_message(model, row->message);
    case OPERATION_QUEUE_PUSH:
        return row->released || has_message(model, row->message);
    default:
        return true;
    }
}

void wal_model_print(const struct wal_model *model, struct text *text)
{
    for (uint32_t i = 0; i < model->count; i++) {
        if (counts(model, &model->rows[i].operation)) {
            operation_text_add(text, &model->rows[i].operation);
        }
    }
    operation_text_sort(text);
}

/* ---- random operations ----------------------------------------------------------------------- */

void wal_random_init(struct wal_random *random, uint64_t seed)
{
    memset(random, 0, sizeof(*random));
    random->seed = seed | 1;
    random->next_id = 1;
    random->payload_max = 64;
}

void wal_random_fini(struct wal_random *random)
{
    wal_model_fini(&random->model);
}

uint64_t wal_random_below(struct wal_random *random, uint64_t limit)
{
    random->seed ^= random->seed << 13; /* xorshift64 */
    random->seed ^= random->seed >> 7;
    random->seed ^= random->seed << 17;
    return (random->seed >> 11) % limit;
}

static bool chance(struct wal_random *random, unsigned percent)
{
    return wal_random_below(random, 100) < percent;
}

/* A row of this type, or NULL. */
static const struct operation *any_row(struct wal_random *random, enum operation_type type)
{
    const struct wal_model *model = &random->model;
    if (model->count == 0) {
        return NULL;
    }
    uint32_t start = (uint32_t)wal_random_below(random, model->count);
    for (uint32_t i = 0; i < model->count; i++) {
        const struct operation *row = &model->rows[(start + i) % model->count].operation;
        if (row->type == type) {
            return row;
        }
    }
    return NULL;
}

static uint64_t any_session(struct wal_random *random)
{
    const struct operation *row = any_row(random, OPERATION_SESSION_PUT);
    return row != NULL && !chance(random, 3) ? row->session : random->next_id++;
}

/* The next operation of the batch, with room for text of its own. */
static struct operation *add(struct wal_random *random, enum operation_type type)
{
    struct operation *operation = &random->operations[random->count];
    *operation = (struct operation){.type = type};
    return operation;
}

static void done(struct wal_random *random)
{
    wal_model_apply(&random->model, &random->operations[random->count]);
    random->count++;
}

static struct slice short_text(struct wal_random *random, const char *prefix, unsigned limit)
{
    char *text = (char *)random->bytes[random->count];
    int len = snprintf(text, 64, "%s/%u", prefix, (unsigned)wal_random_below(random, limit));
    return slice_of(text, (size_t)len);
}

static struct slice payload(struct wal_random *random)
{
    uint8_t *bytes = random->bytes[random->count] + 64;
    size_t len = (size_t)wal_random_below(random, random->payload_max);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)wal_random_below(random, 256);
    }
    return slice_of(bytes, len);
}

static void put_session(struct wal_random *random)
{
    struct operation *operation = add(random, OPERATION_SESSION_PUT);
    operation->session = chance(random, 25) ? random->next_id++ : any_session(random);
    operation->client_id = short_text(random, "client", 1000);
    operation->expiry_s = (uint32_t)wal_random_below(random, 1000);
    operation->offline_since_ms = wal_random_below(random, 1u << 30);
    operation->sent_to = wal_random_below(random, 100);
    done(random);
}

/* A message that something refers to, or a new one, which is put now. */
static uint64_t some_message(struct wal_random *random)
{
    const struct operation *row = any_row(random, OPERATION_MESSAGE_PUT);
    if (row != NULL && chance(random, 30) && references(&random->model, row->message) > 0) {
        return row->message;
    }
    struct operation *operation = add(random, OPERATION_MESSAGE_PUT);
    operation->message = random->next_id++;
    operation->topic = short_text(random, "topic", 50);
    operation->payload = payload(random);
    operation->qos = (uint8_t)wal_random_below(random, 3);
    operation->retain = chance(random, 10);
    operation->expires_at_ms = chance(random, 50) ? OPERATION_NEVER_MS : 5;
    operation->publisher = wal_random_below(random, 10);
    done(random);
    return operation->message;
}

static void push(struct wal_random *random)
{
    uint64_t message = some_message(random);
    struct operation *operation = add(random, OPERATION_QUEUE_PUSH);
    operation->session = any_session(random);
    operation->message = message;
    operation->position = ++random->position;
    operation->qos = (uint8_t)(1 + wal_random_below(random, 2));
    operation->retain = chance(random, 10);
    operation->shared = chance(random, 10);
    operation->subscription_id_count = chance(random, 20) ? wal_random_below(random, 4) : 0;
    operation->subscription_ids = random->ids[random->count];
    for (size_t i = 0; i < operation->subscription_id_count; i++) {
        random->ids[random->count][i] = (uint32_t)(1 + wal_random_below(random, 300));
    }
    done(random);
}

static void drop_unreferenced(struct wal_random *random, uint64_t message)
{
    if (message != 0 && has_message(&random->model, message) &&
        references(&random->model, message) == 0 && !chance(random, 5)) {
        add(random, OPERATION_MESSAGE_DROP)->message = message;
        done(random);
    }
}

static void pop(struct wal_random *random)
{
    const struct operation *row = any_row(random, OPERATION_QUEUE_PUSH);
    if (row == NULL) {
        return;
    }
    uint64_t message = row->message;
    struct operation *operation =
        add(random, chance(random, 20) ? OPERATION_QUEUE_RELEASE : OPERATION_QUEUE_POP);
    operation->session = row->session;
    operation->position = row->position;
    if (operation->type == OPERATION_QUEUE_POP) {
        operation->last = row->position + (chance(random, 10) ? 10 : 0);
    }
    done(random);
    drop_unreferenced(random, message);
}

static void put_will(struct wal_random *random)
{
    const struct operation *old = any_row(random, OPERATION_WILL_PUT);
    if (old != NULL && chance(random, 50)) {
        uint64_t message = old->message;
        add(random, OPERATION_WILL_DROP)->session = old->session;
        done(random);
        drop_unreferenced(random, message);
        return;
    }
    uint64_t message = some_message(random);
    struct operation *operation = add(random, OPERATION_WILL_PUT);
    operation->session = any_session(random);
    operation->message = message;
    operation->delay_s = (uint32_t)wal_random_below(random, 100);
    operation->has_expiry = chance(random, 50);
    operation->message_expiry_s = (uint32_t)wal_random_below(random, 100);
    done(random);
}

static void subscribe(struct wal_random *random)
{
    struct operation *operation =
        add(random, chance(random, 30) ? OPERATION_SUBSCRIPTION_DROP : OPERATION_SUBSCRIPTION_PUT);
    operation->session = any_session(random);
    operation->filter = short_text(random, "filter/+", 20);
    if (operation->type == OPERATION_SUBSCRIPTION_PUT) {
        operation->qos = (uint8_t)wal_random_below(random, 3);
        operation->no_local = chance(random, 50);
        operation->retain_as_published = chance(random, 50);
        operation->retain_handling = (uint8_t)wal_random_below(random, 3);
        operation->subscription_id = (uint32_t)wal_random_below(random, 1000);
    }
    done(random);
}

static void inbound(struct wal_random *random)
{
    struct operation *operation =
        add(random, chance(random, 40) ? OPERATION_INBOUND_QOS2_DROP : OPERATION_INBOUND_QOS2_PUT);
    operation->session = any_session(random);
    operation->packet_id = (uint16_t)(1 + wal_random_below(random, 20));
    done(random);
}

static void retain(struct wal_random *random)
{
    struct operation *operation =
        add(random, chance(random, 30) ? OPERATION_RETAINED_DROP : OPERATION_RETAINED_PUT);
    operation->topic = short_text(random, "retained", 30);
    if (operation->type == OPERATION_RETAINED_PUT) {
        operation->payload = payload(random);
        operation->qos = (uint8_t)wal_random_below(random, 3);
        operation->expires_at_ms = chance(random, 50) ? OPERATION_NEVER_MS : 5;
        operation->publisher = wal_random_below(random, 10);
    }
    done(random);
}

static void end_session(struct wal_random *random)
{
    add(random, OPERATION_SESSION_DROP)->session = any_session(random);
    done(random);
}

void wal_random_batch(struct wal_random *random)
{
    size_t count = 1 + (size_t)wal_random_below(random, WAL_RANDOM_MAX - 3);
    random->count = 0;
    while (random->count < count) {
        uint64_t choice = wal_random_below(random, 100);
        if (choice < 35) {
            push(random);
        } else if (choice < 65) {
            pop(random);
        } else if (choice < 72) {
            put_session(random);
        } else if (choice < 80) {
            subscribe(random);
        } else if (choice < 86) {
            inbound(random);
        } else if (choice < 94) {
            retain(random);
        } else if (choice < 99) {
            put_will(random);
        } else {
            end_session(random);
        }
    }
}
