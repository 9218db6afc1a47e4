#include "storage/mysql_changes.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "base/mem.h"

/* Room that is kept between batches. */
#define KEPT_BYTES (4u * 1024 * 1024)
#define KEPT_CHANGES 16384u

/* What a row has beside its topic, properties and payload, at most. */
#define ROW_NUMBERS_BYTES 256u

/* ---- lists ----------------------------------------------------------------------------------- */

static struct mysql_change *add(struct mysql_changes *changes, enum mysql_table table,
                                enum mysql_verb verb, uint64_t id)
{
    struct mysql_change_list *list = &changes->lists[table];
    list->items = mem_grow(list->items, list->count, &list->cap, sizeof *list->items);
    struct mysql_change *change = &list->items[list->count++];
    *change = (struct mysql_change){
        .id = id, .verb = (uint8_t)verb, .order = changes->order, .text_at = changes->text.len};
    return change;
}

/* The row's text is complete. */
static void end_text(const struct mysql_changes *changes, struct mysql_change *change)
{
    change->text_len = changes->text.len - change->text_at;
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_keys(const struct mysql_change *a, const struct mysql_change *b)
{
    int order = compare_numbers(a->id, b->id);
    if (order == 0) {
        order = compare_numbers(a->number, b->number);
    }
    return order != 0 ? order : memcmp(a->hash, b->hash, sizeof a->hash);
}

static int compare_changes(const void *a, const void *b)
{
    const struct mysql_change *left = a, *right = b;
    int order = compare_keys(left, right);
    return order != 0 ? order : compare_numbers(left->order, right->order);
}

static void sort(struct mysql_change_list *list)
{
    for (uint32_t i = 1; i < list->count; i++) {
        if (compare_changes(&list->items[i - 1], &list->items[i]) > 0) {
            qsort(list->items, list->count, sizeof *list->items, compare_changes);
            return;
        }
    }
}

static void clear(struct mysql_changes *changes)
{
    for (unsigned table = 0; table < MYSQL_TABLES; table++) {
        struct mysql_change_list *list = &changes->lists[table];
        if (list->cap > KEPT_CHANGES) {
            mem_free(list->items);
            *list = (struct mysql_change_list){.items = NULL};
        }
        list->count = 0;
    }
    changes->dropped_count = 0;
    changes->order = 0;
    sql_clear(&changes->text, KEPT_BYTES);
}

void mysql_changes_fini(struct mysql_changes *changes)
{
    for (unsigned table = 0; table < MYSQL_TABLES; table++) {
        mem_free(changes->lists[table].items);
    }
    mem_free(changes->dropped);
    sql_fini(&changes->text);
    *changes = (struct mysql_changes){.dropped = NULL};
}

/* ---- operations become rows ------------------------------------------------------------------ */

static void add_comma_number(struct sql *sql, uint64_t number)
{
    sql_add_raw(sql, ",", 1);
    sql_add_number(sql, number);
}

static void add_comma_bytes(struct sql *sql, struct slice bytes)
{
    sql_add_raw(sql, ",", 1);
    sql_add_bytes(sql, bytes);
}

static void add_comma_moment(struct sql *sql, uint64_t ms)
{
    if (ms == OPERATION_NEVER_MS) {
        sql_add(sql, ",NULL");
    } else {
        add_comma_number(sql, ms);
    }
}

void mysql_hash(struct slice bytes, uint8_t digest[MYSQL_HASH_BYTES])
{
    static_assert(SHA256_DIGEST_LENGTH == MYSQL_HASH_BYTES, "the columns are BINARY(32)");
    SHA256(bytes.data, bytes.len, digest);
}

void mysql_message_body_key(uint64_t message, uint8_t key[MYSQL_HASH_BYTES])
{
    memset(key, 0, MYSQL_HASH_BYTES);
    for (unsigned i = 0; i < 8; i++) {
        key[MYSQL_HASH_BYTES - 1 - i] = (uint8_t)(message >> (8 * i));
    }
}

static void put_session(struct mysql_changes *changes, const struct operation *operation)
{
    struct mysql_change *change = add(changes, MYSQL_SESSIONS, MYSQL_PUT, operation->session);
    struct sql *text = &changes->text;
    uint8_t digest[MYSQL_HASH_BYTES];
    mysql_hash(operation->client_id, digest);
    sql_add(text, "(");
    sql_add_number(text, operation->session);
    add_comma_bytes(text, slice_of(digest, sizeof digest));
    add_comma_bytes(text, operation->client_id);
    add_comma_number(text, operation->expiry_s);
    add_comma_number(text, operation->offline_since_ms);
    add_comma_number(text, operation->sent_to);
    add_comma_bytes(text, slice_text(changes->owner));
    sql_add(text, ",1)");
    end_text(changes, change);
}

static void put_subscription(struct mysql_changes *changes, const struct operation *operation)
{
    struct mysql_change *change = add(changes, MYSQL_SUBSCRIPTIONS, MYSQL_PUT, operation->session);
    struct sql *text = &changes->text;
    mysql_hash(operation->filter, change->hash);
    sql_add(text, "(");
    sql_add_number(text, operation->session);
    add_comma_bytes(text, slice_of(change->hash, sizeof change->hash));
    add_comma_bytes(text, operation->filter);
    add_comma_number(text, operation->qos);
    add_comma_number(text, operation->no_local);
    add_comma_number(text, operation->retain_as_published);
    add_comma_number(text, operation->retain_handling);
    add_comma_number(text, operation->subscription_id);
    sql_add(text, ")");
    end_text(changes, change);
}

static void drop_subscription(struct mysql_changes *changes, const struct operation *operation)
{
    struct mysql_change *change = add(changes, MYSQL_SUBSCRIPTIONS, MYSQL_DROP, operation->session);
    mysql_hash(operation->filter, change->hash);
}

static void put_will(struct mysql_changes *changes, const struct operation *operation)
{
    struct mysql_change *change = add(changes, MYSQL_WILLS, MYSQL_PUT, operation->session);
    struct sql *text = &changes->text;
    sql_add(text, "(");
    sql_add_number(text, operation->session);
    add_comma_number(text, operation->message);
    add_comma_number(text, operation->delay_s);
    if (operation->has_expiry) {
        add_comma_number(text, operation->message_expiry_s);
    } else {
        sql_add(text, ",NULL");
    }
    sql_add(text, ")");
    end_text(changes, change);
}

/* Adds `,properties,payload`; gives whether they were too large and stand at `body_at` instead. */
static bool add_body(struct mysql_changes *changes, const struct operation *operation)
{
    size_t bytes = sql_bytes_max(operation->topic.len) + sql_bytes_max(operation->properties.len) +
                   sql_bytes_max(operation->payload.len) + ROW_NUMBERS_BYTES;
    if (bytes > changes->row_max) {
        sql_add(&changes->text, ",'',''");
        return true;
    }
    add_comma_bytes(&changes->text, operation->properties);
    add_comma_bytes(&changes->text, operation->payload);
    return false;
}

/* Adds what is behind the flags of a message or a retained message. */
static void end_message(struct mysql_changes *changes, struct mysql_change *change,
                        const struct operation *operation, bool split)
{
    struct sql *text = &changes->text;
    add_comma_moment(text, operation->expires_at_ms);
    add_comma_number(text, operation->publisher);
    if (split) {
        add_comma_number(text, operation->properties.len);
    } else {
        sql_add(text, ",NULL");
    }
    sql_add(text, ")");
    end_text(changes, change);
    if (split) {
        change->body_at = text->len;
        sql_add_raw(text, operation->properties.data, operation->properties.len);
        sql_add_raw(text, operation->payload.data, operation->payload.len);
        change->body_len = text->len - change->body_at;
    }
}

static void put_message(struct mysql_changes *changes, const struct operation *operation)
{
    struct mysql_change *change = add(changes, MYSQL_MESSAGES, MYSQL_PUT, operation->message);
    struct sql *text = &changes->text;
    sql_add(text, "(");
    sql_add_number(text, operation->message);
    add_comma_bytes(text, operation->topic);
    bool split = add_body(changes, operation);
    add_comma_number(text, operation->qos);
    add_comma_number(text, operation->retain);
    end_message(changes, change, operation, split);
}

static void put_retained(struct mysql_changes *changes, const struct operation *operation)
{
    struct mysql_change *change = add(changes, MYSQL_RETAINED, MYSQL_PUT, 0);
    struct sql *text = &changes->text;
    mysql_hash(operation->topic, change->hash);
    sql_add(text, "(");
    sql_add_bytes(text, slice_of(change->hash, sizeof change->hash));
    add_comma_bytes(text, operation->topic);
    bool split = add_body(changes, operation);
    add_comma_number(text, operation->qos);
    end_message(changes, change, operation, split);
}

static void push(struct mysql_changes *changes, const struct operation *operation)
{
    struct mysql_change *change = add(changes, MYSQL_QUEUE, MYSQL_PUT, operation->session);
    change->number = operation->position;
    change->value = operation->message;
    change->qos = operation->qos;
    change->retain = operation->retain;
    change->shared = operation->shared;
    change->released = operation->released;
    for (size_t i = 0; i < operation->subscription_id_count; i++) {
        sql_add(&changes->text, i > 0 ? "," : "'");
        sql_add_number(&changes->text, operation->subscription_ids[i]);
    }
    sql_add(&changes->text, operation->subscription_id_count > 0 ? "'" : "");
    end_text(changes, change);
}

static void add_numbered(struct mysql_changes *changes, enum mysql_table table,
                         enum mysql_verb verb, uint64_t session, uint64_t number)
{
    add(changes, table, verb, session)->number = number;
}

static void pop(struct mysql_changes *changes, const struct operation *operation)
{
    struct mysql_change *change = add(changes, MYSQL_QUEUE_POPS, MYSQL_DROP, operation->session);
    change->number = operation->position;
    change->value = operation->last;
}

static void put_inbound(struct mysql_changes *changes, const struct operation *operation)
{
    struct mysql_change *change = add(changes, MYSQL_INBOUND_QOS2, MYSQL_PUT, operation->session);
    change->number = operation->packet_id;
    sql_add(&changes->text, "(");
    sql_add_number(&changes->text, operation->session);
    add_comma_number(&changes->text, operation->packet_id);
    sql_add(&changes->text, ")");
    end_text(changes, change);
}

static void take(struct mysql_changes *changes, const struct operation *operation)
{
    switch (operation->type) {
    case OPERATION_SESSION_PUT:
        put_session(changes, operation);
        break;
    case OPERATION_SESSION_DROP:
        (void)add(changes, MYSQL_SESSIONS, MYSQL_DROP, operation->session);
        break;
    case OPERATION_SUBSCRIPTION_PUT:
        put_subscription(changes, operation);
        break;
    case OPERATION_SUBSCRIPTION_DROP:
        drop_subscription(changes, operation);
        break;
    case OPERATION_WILL_PUT:
        put_will(changes, operation);
        break;
    case OPERATION_WILL_DROP:
        (void)add(changes, MYSQL_WILLS, MYSQL_DROP, operation->session);
        break;
    case OPERATION_MESSAGE_PUT:
        put_message(changes, operation);
        break;
    case OPERATION_MESSAGE_DROP:
        (void)add(changes, MYSQL_MESSAGES, MYSQL_DROP, operation->message);
        break;
    case OPERATION_QUEUE_PUSH:
        push(changes, operation);
        break;
    case OPERATION_QUEUE_RELEASE:
        add_numbered(changes, MYSQL_QUEUE, MYSQL_RELEASE, operation->session, operation->position);
        break;
    case OPERATION_QUEUE_POP:
        pop(changes, operation);
        break;
    case OPERATION_INBOUND_QOS2_PUT:
        put_inbound(changes, operation);
        break;
    case OPERATION_INBOUND_QOS2_DROP:
        add_numbered(changes, MYSQL_INBOUND_QOS2, MYSQL_DROP, operation->session,
                     operation->packet_id);
        break;
    case OPERATION_RETAINED_PUT:
        put_retained(changes, operation);
        break;
    case OPERATION_RETAINED_DROP:
        mysql_hash(operation->topic, add(changes, MYSQL_RETAINED, MYSQL_DROP, 0)->hash);
        break;
    case OPERATION_TYPES:
        break;
    }
}

/* ---- rows become the last word --------------------------------------------------------------- */

/* Notes the sessions that are dropped; the list keeps one change for each. */
static void collapse_sessions(struct mysql_changes *changes)
{
    struct mysql_change_list *list = &changes->lists[MYSQL_SESSIONS];
    uint32_t kept = 0;
    sort(list);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct mysql_change *change = &list->items[i];
        struct mysql_dropped *last =
            changes->dropped_count > 0 ? &changes->dropped[changes->dropped_count - 1] : NULL;
        if (change->verb == MYSQL_DROP) {
            if (last == NULL || last->id != change->id) {
                changes->dropped = mem_grow(changes->dropped, changes->dropped_count,
                                            &changes->dropped_cap, sizeof *changes->dropped);
                last = &changes->dropped[changes->dropped_count++];
            }
            *last = (struct mysql_dropped){.id = change->id, .order = change->order};
        } else if (last != NULL && last->id == change->id) {
            last->again = true;
        }
        if (i + 1 == list->count || list->items[i + 1].id != change->id) {
            list->items[kept++] = *change;
        }
    }
    list->count = kept;
}

static int compare_dropped(const void *key, const void *item)
{
    return compare_numbers(*(const uint64_t *)key, ((const struct mysql_dropped *)item)->id);
}

/* False: the change is about something of a session that goes. */
static bool session_stays(const struct mysql_changes *changes, const struct mysql_change *change)
{
    if (changes->dropped_count == 0) {
        return true;
    }
    const struct mysql_dropped *dropped =
        bsearch(&change->id, changes->dropped, changes->dropped_count, sizeof *changes->dropped,
                compare_dropped);
    return dropped == NULL || (dropped->again && change->order > dropped->order);
}

/* One change for each key: the last one. */
static void collapse(struct mysql_changes *changes, enum mysql_table table, bool of_session)
{
    struct mysql_change_list *list = &changes->lists[table];
    uint32_t kept = 0;
    sort(list);
    for (uint32_t i = 0; i < list->count; i++) {
        const struct mysql_change *change = &list->items[i];
        bool last = i + 1 == list->count || compare_keys(change, change + 1) != 0;
        if (last && (!of_session || session_stays(changes, change))) {
            list->items[kept++] = *change;
        }
    }
    list->count = kept;
}

/* A message that came and went within the batch needn't be deleted. */
static void forget_new_messages(struct mysql_changes *changes)
{
    struct mysql_change_list *list = &changes->lists[MYSQL_MESSAGES];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].verb != MYSQL_DROP || list->items[i].id < changes->new_from) {
            list->items[kept++] = list->items[i];
        }
    }
    list->count = kept;
}

/* ---- queues ---------------------------------------------------------------------------------- */

/* Pops over the positions of one session, as a reading of its entries goes along. */
struct sweep {
    const struct mysql_change_list *pops; /* sorted */
    uint32_t next;
    const struct mysql_change **over; /* those that reach to where the reading is, or beyond */
    uint32_t over_count;
    uint32_t over_cap;
};

/* The order of the last pop of an entry, plus 1; 0: there is none. */
static uint64_t popped_at(struct sweep *sweep, const struct mysql_change *entry)
{
    const struct mysql_change_list *pops = sweep->pops;
    while (sweep->next < pops->count && (pops->items[sweep->next].id < entry->id ||
                                         (pops->items[sweep->next].id == entry->id &&
                                          pops->items[sweep->next].number <= entry->number))) {
        sweep->over =
            mem_grow(sweep->over, sweep->over_count, &sweep->over_cap, sizeof(*sweep->over));
        sweep->over[sweep->over_count++] = &pops->items[sweep->next++];
    }
    uint64_t latest = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < sweep->over_count; i++) {
        const struct mysql_change *pop = sweep->over[i];
        if (pop->id == entry->id && pop->value >= entry->number) {
            sweep->over[kept++] = pop;
            latest = pop->order + UINT64_C(1) > latest ? pop->order + UINT64_C(1) : latest;
        }
    }
    sweep->over_count = kept;
    return latest;
}

/* What the changes of one entry come to; false: nothing. */
static bool last_word(const struct mysql_change *changes, uint32_t count, uint64_t popped,
                      struct mysql_change *out)
{
    bool any = false;
    for (uint32_t i = 0; i < count; i++) {
        if (changes[i].order < popped) {
            continue;
        }
        if (changes[i].verb == MYSQL_PUT) {
            *out = changes[i];
            any = true;
        } else if (any) {
            out->released = true;
            out->value = 0;
        } else if (popped == 0) {
            *out = changes[i];
            any = true;
        }
    }
    return any;
}

static void collapse_entries(struct mysql_changes *changes)
{
    struct mysql_change_list *list = &changes->lists[MYSQL_QUEUE];
    struct sweep sweep = {.pops = &changes->lists[MYSQL_QUEUE_POPS]};
    uint32_t kept = 0, first = 0;
    sort(list);
    while (first < list->count) {
        uint32_t end = first + 1;
        while (end < list->count && compare_keys(&list->items[first], &list->items[end]) == 0) {
            end++;
        }
        struct mysql_change word;
        uint64_t popped = popped_at(&sweep, &list->items[first]);
        if (last_word(&list->items[first], end - first, popped, &word) &&
            session_stays(changes, &word)) {
            list->items[kept++] = word;
        }
        first = end;
    }
    list->count = kept;
    mem_free(sweep.over);
}

/* Ranges that touch become one. */
static void join_pops(struct mysql_changes *changes)
{
    struct mysql_change_list *list = &changes->lists[MYSQL_QUEUE_POPS];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct mysql_change *pop = &list->items[i];
        struct mysql_change *last = kept > 0 ? &list->items[kept - 1] : NULL;
        if (!session_stays(changes, pop)) {
            continue;
        }
        if (last != NULL && last->id == pop->id &&
            (last->value >= pop->number || last->value + 1 == pop->number)) {
            last->value = last->value > pop->value ? last->value : pop->value;
        } else {
            list->items[kept++] = *pop;
        }
    }
    list->count = kept;
}

/* ---- the whole ------------------------------------------------------------------------------- */

enum err mysql_changes_gather(struct mysql_changes *changes, struct batch *batch)
{
    struct operation operation;
    clear(changes);
    batch->rewind(batch);
    while (batch->next(batch, &operation)) {
        take(changes, &operation);
        changes->order++;
    }
    if (changes->text.failed) {
        return ERR_MEMORY;
    }
    collapse_sessions(changes);
    collapse(changes, MYSQL_SUBSCRIPTIONS, true);
    collapse(changes, MYSQL_WILLS, true);
    collapse(changes, MYSQL_INBOUND_QOS2, true);
    collapse(changes, MYSQL_MESSAGES, false);
    forget_new_messages(changes);
    collapse(changes, MYSQL_RETAINED, false);
    sort(&changes->lists[MYSQL_QUEUE_POPS]);
    collapse_entries(changes);
    join_pops(changes);
    return ERR_OK;
}
