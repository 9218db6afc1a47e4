#include "tests/unit/storage/contract_model_support.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

/* ---- rows ------------------------------------------------------------------------------------ */

static struct slice copy_bytes(struct slice bytes)
{
    return slice_of(mem_copy_text(bytes.len > 0 ? (const void *)bytes.data : "", bytes.len),
                    bytes.len);
}

struct operation model_row_copy(const struct operation *operation)
{
    struct operation row = *operation;
    row.client_id = copy_bytes(operation->client_id);
    row.filter = copy_bytes(operation->filter);
    row.topic = copy_bytes(operation->topic);
    row.properties = copy_bytes(operation->properties);
    row.payload = copy_bytes(operation->payload);
    uint32_t *ids = mem_alloc_array(operation->subscription_id_count + 1, sizeof(*ids));
    for (size_t i = 0; i < operation->subscription_id_count; i++) {
        ids[i] = operation->subscription_ids[i];
    }
    row.subscription_ids = ids;
    return row;
}

void model_row_free(struct operation *row)
{
    mem_free((void *)row->client_id.data);
    mem_free((void *)row->filter.data);
    mem_free((void *)row->topic.data);
    mem_free((void *)row->properties.data);
    mem_free((void *)row->payload.data);
    mem_free((void *)row->subscription_ids);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_bytes(struct slice a, struct slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len > 0 ? memcmp(a.data, b.data, len) : 0;
    return order != 0 ? order : compare_numbers(a.len, b.len);
}

/* Of two rows of one kind; what is no part of its key is the same in both. */
static int compare_keys(const struct operation *a, const struct operation *b)
{
    switch (a->type) {
    case OPERATION_MESSAGE_PUT:
        return compare_numbers(a->message, b->message);
    case OPERATION_RETAINED_PUT:
        return compare_bytes(a->topic, b->topic);
    case OPERATION_SUBSCRIPTION_PUT:
        return a->session != b->session ? compare_numbers(a->session, b->session)
                                        : compare_bytes(a->filter, b->filter);
    case OPERATION_QUEUE_PUSH:
        return a->session != b->session ? compare_numbers(a->session, b->session)
                                        : compare_numbers(a->position, b->position);
    case OPERATION_INBOUND_QOS2_PUT:
        return a->session != b->session ? compare_numbers(a->session, b->session)
                                        : compare_numbers(a->packet_id, b->packet_id);
    case OPERATION_SESSION_PUT:
    case OPERATION_WILL_PUT:
        return compare_numbers(a->session, b->session);
    case OPERATION_SESSION_DROP:
    case OPERATION_SUBSCRIPTION_DROP:
    case OPERATION_WILL_DROP:
    case OPERATION_MESSAGE_DROP:
    case OPERATION_QUEUE_RELEASE:
    case OPERATION_QUEUE_POP:
    case OPERATION_INBOUND_QOS2_DROP:
    case OPERATION_RETAINED_DROP:
    case OPERATION_TYPES:
        break;
    }
    ASSERT(model_is_row(a->type));
    return 0;
}

bool model_is_row(enum operation_type type)
{
    return type == OPERATION_SESSION_PUT || type == OPERATION_SUBSCRIPTION_PUT ||
           type == OPERATION_WILL_PUT || type == OPERATION_MESSAGE_PUT ||
           type == OPERATION_QUEUE_PUSH || type == OPERATION_INBOUND_QOS2_PUT ||
           type == OPERATION_RETAINED_PUT;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* The first row whose key is not before that of `like`. */
static uint32_t table_seek(const struct model_table *table, const struct operation *like)
{
    uint32_t low = 0;
    uint32_t high = table->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_keys(&table->rows[middle], like) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct operation *table_find(const struct model_table *table, const struct operation *like)
{
    uint32_t at = table_seek(table, like);
    bool found = at < table->count && compare_keys(&table->rows[at], like) == 0;
    return found ? &table->rows[at] : NULL;
}

/* Replaces the row of that key. False: there was one. */
static bool table_put(struct model_table *table, const struct operation *operation)
{
    uint32_t at = table_seek(table, operation);
    bool found = at < table->count && compare_keys(&table->rows[at], operation) == 0;
    if (found) {
        model_row_free(&table->rows[at]);
    } else {
        table->rows = mem_grow(table->rows, table->count, &table->cap, sizeof(table->rows[0]));
        memmove(&table->rows[at + 1], &table->rows[at],
                (table->count - at) * sizeof(table->rows[0]));
        table->count++;
    }
    table->rows[at] = model_row_copy(operation);
    return !found;
}

/* Removes the rows that `gone` names. */
static void table_filter(struct model_table *table, const struct model *model,
                         const struct operation *operation,
                         bool (*gone)(const struct model *model, const struct operation *row,
                                      const struct operation *operation))
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        if (gone(model, &table->rows[i], operation)) {
            model_row_free(&table->rows[i]);
        } else {
            table->rows[kept++] = table->rows[i];
        }
    }
    table->count = kept;
}

static bool same_key(const struct model *model, const struct operation *row,
                     const struct operation *operation)
{
    (void)model;
    struct operation like = *operation;
    like.type = row->type;
    return compare_keys(row, &like) == 0;
}

static bool same_session(const struct model *model, const struct operation *row,
                         const struct operation *operation)
{
    (void)model;
    return row->session == operation->session;
}

static bool in_range(const struct model *model, const struct operation *row,
                     const struct operation *operation)
{
    (void)model;
    return row->session == operation->session && row->position >= operation->position &&
           row->position <= operation->last;
}

/* ---- operations ------------------------------------------------------------------------------ */

void model_fini(struct model *model)
{
    for (unsigned type = 0; type < OPERATION_TYPES; type++) {
        struct model_table *table = &model->tables[type];
        for (uint32_t i = 0; i < table->count; i++) {
            model_row_free(&table->rows[i]);
        }
        mem_free(table->rows);
    }
    *model = (struct model){0};
}

bool model_add(struct model *model, const struct operation *operation)
{
    return table_put(&model->tables[operation->type], operation);
}

const struct operation *model_find(const struct model *model, const struct operation *like)
{
    return table_find(&model->tables[like->type], like);
}

static bool session_exists(const struct model *model, uint64_t session)
{
    return model_find(model, &(struct operation){.type = OPERATION_SESSION_PUT,
                                                 .session = session}) != NULL;
}

static void remove_like(struct model *model, enum operation_type table,
                        const struct operation *operation)
{
    table_filter(&model->tables[table], model, operation, same_key);
}

static void release(struct model *model, const struct operation *operation)
{
    struct operation like = *operation;
    like.type = OPERATION_QUEUE_PUSH;
    struct operation *entry = table_find(&model->tables[OPERATION_QUEUE_PUSH], &like);
    if (entry != NULL) {
        entry->released = true;
        entry->message = 0;
    }
}

static void drop_session(struct model *model, const struct operation *operation)
{
    static const enum operation_type belongings[] = {
        OPERATION_SESSION_PUT, OPERATION_SUBSCRIPTION_PUT, OPERATION_WILL_PUT, OPERATION_QUEUE_PUSH,
        OPERATION_INBOUND_QOS2_PUT};
    for (size_t i = 0; i < ARRAY_COUNT(belongings); i++) {
        table_filter(&model->tables[belongings[i]], model, operation, same_session);
    }
}

void model_apply(struct model *model, const struct operation *operation)
{
    switch (operation->type) {
    case OPERATION_SESSION_PUT:
    case OPERATION_MESSAGE_PUT:
    case OPERATION_RETAINED_PUT:
        (void)model_add(model, operation); /* new or not */
        break;
    case OPERATION_SUBSCRIPTION_PUT:
    case OPERATION_WILL_PUT:
    case OPERATION_QUEUE_PUSH:
    case OPERATION_INBOUND_QOS2_PUT:
        if (session_exists(model, operation->session)) {
            (void)model_add(model, operation);
        }
        break;
    case OPERATION_SESSION_DROP:
        drop_session(model, operation);
        break;
    case OPERATION_SUBSCRIPTION_DROP:
        remove_like(model, OPERATION_SUBSCRIPTION_PUT, operation);
        break;
    case OPERATION_WILL_DROP:
        remove_like(model, OPERATION_WILL_PUT, operation);
        break;
    case OPERATION_MESSAGE_DROP:
        remove_like(model, OPERATION_MESSAGE_PUT, operation);
        break;
    case OPERATION_QUEUE_RELEASE:
        release(model, operation);
        break;
    case OPERATION_QUEUE_POP:
        table_filter(&model->tables[OPERATION_QUEUE_PUSH], model, operation, in_range);
        break;
    case OPERATION_INBOUND_QOS2_DROP:
        remove_like(model, OPERATION_INBOUND_QOS2_PUT, operation);
        break;
    case OPERATION_RETAINED_DROP:
        remove_like(model, OPERATION_RETAINED_PUT, operation);
        break;
    case OPERATION_TYPES:
        break;
    }
}

/* ---- references ------------------------------------------------------------------------------ */

static size_t references_in(const struct model_table *table, uint64_t message)
{
    size_t count = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        count += table->rows[i].message == message && !table->rows[i].released ? 1 : 0;
    }
    return count;
}

size_t model_references(const struct model *model, uint64_t message)
{
    return references_in(&model->tables[OPERATION_QUEUE_PUSH], message) +
           references_in(&model->tables[OPERATION_WILL_PUT], message);
}

static bool refers_to_nothing(const struct model *model, const struct operation *row,
                              const struct operation *operation)
{
    (void)operation;
    return !row->released &&
           model_find(model, &(struct operation){.type = OPERATION_MESSAGE_PUT,
                                                 .message = row->message}) == NULL;
}

/* `shared` of a message's row, which messages don't use, marks that something refers to it. */
static void mark_referenced(struct model *model, enum operation_type type)
{
    const struct model_table *table = &model->tables[type];
    for (uint32_t i = 0; i < table->count; i++) {
        struct operation like = {.type = OPERATION_MESSAGE_PUT, .message = table->rows[i].message};
        struct operation *message = table_find(&model->tables[OPERATION_MESSAGE_PUT], &like);
        if (message != NULL && !table->rows[i].released) {
            message->shared = true;
        }
    }
}

static bool not_marked(const struct model *model, const struct operation *row,
                       const struct operation *operation)
{
    (void)model;
    (void)operation;
    return !row->shared;
}

void model_tidy(struct model *model)
{
    table_filter(&model->tables[OPERATION_QUEUE_PUSH], model, NULL, refers_to_nothing);
    table_filter(&model->tables[OPERATION_WILL_PUT], model, NULL, refers_to_nothing);
    mark_referenced(model, OPERATION_QUEUE_PUSH);
    mark_referenced(model, OPERATION_WILL_PUT);
    struct model_table *messages = &model->tables[OPERATION_MESSAGE_PUT];
    table_filter(messages, model, NULL, not_marked);
    for (uint32_t i = 0; i < messages->count; i++) {
        messages->rows[i].shared = false;
    }
}

/* ---- comparing ------------------------------------------------------------------------------- */

static bool field_equal(const struct operation *a, const struct operation *b,
                        const struct operation_field *field)
{
    const void *left = (const uint8_t *)a + field->offset;
    const void *right = (const uint8_t *)b + field->offset;
    switch (field->kind) {
    case OPERATION_U8:
        return *(const uint8_t *)left == *(const uint8_t *)right;
    case OPERATION_U16:
        return *(const uint16_t *)left == *(const uint16_t *)right;
    case OPERATION_U32:
        return *(const uint32_t *)left == *(const uint32_t *)right;
    case OPERATION_U64:
        return *(const uint64_t *)left == *(const uint64_t *)right;
    case OPERATION_BOOL:
        return *(const bool *)left == *(const bool *)right;
    case OPERATION_TEXT:
    case OPERATION_BYTES:
        return slice_equal(*(const struct slice *)left, *(const struct slice *)right);
    case OPERATION_IDS:
        return a->subscription_id_count == b->subscription_id_count &&
               (a->subscription_id_count == 0 ||
                memcmp(a->subscription_ids, b->subscription_ids,
                       a->subscription_id_count * sizeof(a->subscription_ids[0])) == 0);
    }
    return false;
}

/* Of a released entry only its key, its QoS and that it is released still count. */
static bool field_counts(const struct operation *row, const char *field)
{
    return row->type != OPERATION_QUEUE_PUSH || !row->released ||
           (strcmp(field, "retain") != 0 && strcmp(field, "shared") != 0 &&
            strcmp(field, "subscription_ids") != 0);
}

static bool rows_equal(const struct operation *a, const struct operation *b, char *why)
{
    const struct operation_info *info = operation_info(a->type);
    for (size_t i = 0; i < info->field_count; i++) {
        if (field_counts(a, info->fields[i].name) && !field_equal(a, b, &info->fields[i])) {
            (void)snprintf(why, WHY_BYTES,
                           "%s differs in %s: session=%llu position=%llu message=%llu", info->name,
                           info->fields[i].name, (unsigned long long)a->session,
                           (unsigned long long)a->position, (unsigned long long)a->message);
            return false;
        }
    }
    return true;
}

static bool tables_equal(const struct model_table *a, const struct model_table *b, char *why)
{
    uint32_t i = 0;
    while (i < a->count && i < b->count && compare_keys(&a->rows[i], &b->rows[i]) == 0) {
        if (!rows_equal(&a->rows[i], &b->rows[i], why)) {
            return false;
        }
        i++;
    }
    if (i == a->count && i == b->count) {
        return true;
    }
    bool only_a = i == b->count || (i < a->count && compare_keys(&a->rows[i], &b->rows[i]) < 0);
    const struct operation *row = only_a ? &a->rows[i] : &b->rows[i];
    (void)snprintf(why, WHY_BYTES, "%s only in the %s: session=%llu position=%llu message=%llu",
                   operation_info(row->type)->name, only_a ? "first" : "second",
                   (unsigned long long)row->session, (unsigned long long)row->position,
                   (unsigned long long)row->message);
    return false;
}

bool model_equal(const struct model *a, const struct model *b, char *why)
{
    for (unsigned type = 0; type < OPERATION_TYPES; type++) {
        if (!tables_equal(&a->tables[type], &b->tables[type], why)) {
            return false;
        }
    }
    return true;
}
