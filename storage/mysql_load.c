#include "storage/mysql_load.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/mysql_changes.h"
#include "storage/mysql_owner.h"

#define TEXT_BYTES_MAX 65535u
#define SUBSCRIPTION_IDS_MAX 65535u

/* Ids from `first` to `last`. */
struct span {
    uint64_t first;
    uint64_t last;
};

/* A message, retained or not, whose body is in parts: to be given when the stream has ended. */
struct split_message {
    struct operation operation;
    char *topic;
    uint64_t split_at;
};

struct load {
    struct mysql_connection *connection;
    const char *owner;
    const struct operation_sink *sink;
    struct mysql_leftovers *leftovers;
    struct mysql_ids sessions; /* ours */
    struct mysql_ids messages; /* that ours refer to; later only those that are there */
    size_t kept;               /* of `messages`: so many were found */
    size_t cursor;             /* in `sessions` or `messages`, while a table is read */
    struct span *spans;        /* where messages are */
    uint32_t span_count;
    uint32_t span_cap;
    struct split_message *splits;
    uint32_t split_count;
    uint32_t split_cap;
    uint32_t *subscription_ids;
    uint64_t foreign_rows; /* that can't be ours */
};

/* ---- rows ------------------------------------------------------------------------------------ */

static enum err give(struct load *load, const struct operation *operation)
{
    return load->sink->take(load->sink->context, operation);
}

static enum err leave_out(struct load *load)
{
    load->foreign_rows++;
    return ERR_OK;
}

static bool is_text(struct slice text)
{
    return text.len >= 1 && text.len <= TEXT_BYTES_MAX;
}

static uint8_t small_number(struct slice column)
{
    uint64_t number = mysql_number(column);
    return number <= UINT8_MAX ? (uint8_t)number : UINT8_MAX;
}

static uint32_t medium_number(struct slice column)
{
    uint64_t number = mysql_number(column);
    return number <= UINT32_MAX ? (uint32_t)number : UINT32_MAX;
}

static uint64_t moment(struct slice column)
{
    return column.data != NULL ? mysql_number(column) : OPERATION_NEVER_MS;
}

/* Does the row, whose first column is a session, belong to one of ours? Rows come in the order of
 * sessions. */
static enum err find_session(struct load *load, const struct mysql_row *row, bool *ours)
{
    uint64_t session = mysql_number(row->columns[0]);
    struct mysql_ids *strangers = &load->leftovers->sessions;
    *ours = mysql_ids_advance(&load->sessions, session, &load->cursor);
    if (*ours || (strangers->count > 0 && strangers->items[strangers->count - 1] == session)) {
        return ERR_OK;
    }
    return mysql_ids_add(strangers, session);
}

static enum err take_session(void *context, const struct mysql_row *row)
{
    struct load *load = context;
    const struct operation operation = {
        .type = OPERATION_SESSION_PUT,
        .session = mysql_number(row->columns[0]),
        .client_id = row->columns[1],
        .expiry_s = medium_number(row->columns[2]),
        .offline_since_ms = mysql_number(row->columns[3]),
        .sent_to = mysql_number(row->columns[4]),
    };
    if (operation.session == 0 || !is_text(operation.client_id)) {
        return leave_out(load);
    }
    enum err err = mysql_ids_add(&load->sessions, operation.session);
    return err == ERR_OK ? give(load, &operation) : err;
}

static enum err take_subscription(void *context, const struct mysql_row *row)
{
    struct load *load = context;
    bool ours = false;
    enum err err = find_session(load, row, &ours);
    if (err != ERR_OK || !ours) {
        return err;
    }
    const struct operation operation = {
        .type = OPERATION_SUBSCRIPTION_PUT,
        .session = mysql_number(row->columns[0]),
        .filter = row->columns[1],
        .qos = small_number(row->columns[2]),
        .no_local = mysql_number(row->columns[3]) != 0,
        .retain_as_published = mysql_number(row->columns[4]) != 0,
        .retain_handling = small_number(row->columns[5]),
        .subscription_id = medium_number(row->columns[6]),
    };
    if (!is_text(operation.filter) || operation.qos > 2 || operation.retain_handling > 2) {
        return leave_out(load);
    }
    return give(load, &operation);
}

static enum err take_inbound(void *context, const struct mysql_row *row)
{
    struct load *load = context;
    bool ours = false;
    enum err err = find_session(load, row, &ours);
    if (err != ERR_OK || !ours) {
        return err;
    }
    uint64_t packet_id = mysql_number(row->columns[1]);
    if (packet_id == 0 || packet_id > UINT16_MAX) {
        return leave_out(load);
    }
    return give(load, &(struct operation){.type = OPERATION_INBOUND_QOS2_PUT,
                                          .session = mysql_number(row->columns[0]),
                                          .packet_id = (uint16_t)packet_id});
}

/* Of the queue or the wills. */
static enum err take_reference(void *context, const struct mysql_row *row)
{
    struct load *load = context;
    bool ours = false;
    enum err err = find_session(load, row, &ours);
    if (err != ERR_OK || !ours) {
        return err;
    }
    return mysql_ids_add(&load->messages, mysql_number(row->columns[1]));
}

static bool message_is_there(const struct load *load, uint64_t message)
{
    size_t index = 0;
    return mysql_ids_find(&load->messages, message, &index);
}

static enum err take_will(void *context, const struct mysql_row *row)
{
    struct load *load = context;
    bool ours = false;
    enum err err = find_session(load, row, &ours);
    const struct operation operation = {
        .type = OPERATION_WILL_PUT,
        .session = mysql_number(row->columns[0]),
        .message = mysql_number(row->columns[1]),
        .delay_s = medium_number(row->columns[2]),
        .has_expiry = row->columns[3].data != NULL,
        .message_expiry_s = medium_number(row->columns[3]),
    };
    if (err != ERR_OK || !ours || !message_is_there(load, operation.message)) {
        return err;
    }
    return give(load, &operation);
}

/* Numbers with commas between them. */
static size_t read_subscription_ids(struct load *load, struct slice text)
{
    size_t count = 0, first = 0;
    for (size_t i = 0; i <= text.len && count < SUBSCRIPTION_IDS_MAX; i++) {
        if (i > first && (i == text.len || text.data[i] == ',')) {
            load->subscription_ids[count++] = medium_number(slice_of(text.data + first, i - first));
            first = i + 1;
        }
    }
    return count;
}

static enum err take_entry(void *context, const struct mysql_row *row)
{
    struct load *load = context;
    bool ours = false;
    enum err err = find_session(load, row, &ours);
    if (err != ERR_OK || !ours) {
        return err;
    }
    const struct operation operation = {
        .type = OPERATION_QUEUE_PUSH,
        .session = mysql_number(row->columns[0]),
        .position = mysql_number(row->columns[1]),
        .message = mysql_number(row->columns[2]),
        .qos = small_number(row->columns[3]),
        .retain = mysql_number(row->columns[4]) != 0,
        .shared = mysql_number(row->columns[5]) != 0,
        .released = mysql_number(row->columns[6]) != 0,
        .subscription_ids = load->subscription_ids,
        .subscription_id_count = read_subscription_ids(load, row->columns[7]),
    };
    if (!operation.released && !message_is_there(load, operation.message)) {
        return ERR_OK;
    }
    if (operation.position == 0 || operation.qos > 2) {
        return leave_out(load);
    }
    return give(load, &operation);
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool is_message(const struct operation *operation)
{
    return is_text(operation->topic) && operation->qos <= 2;
}

static void keep_split(struct load *load, const struct operation *operation, struct slice split_at)
{
    load->splits =
        mem_grow(load->splits, load->split_count, &load->split_cap, sizeof *load->splits);
    struct split_message *split = &load->splits[load->split_count++];
    *split = (struct split_message){
        .operation = *operation,
        .topic = mem_copy_text(operation->topic.data, operation->topic.len),
        .split_at = mysql_number(split_at),
    };
    split->operation.topic = slice_of(split->topic, operation->topic.len);
}

static enum err give_message(struct load *load, const struct operation *operation,
                             struct slice split_at)
{
    if (split_at.data != NULL) {
        keep_split(load, operation, split_at);
        return ERR_OK;
    }
    return give(load, operation);
}

static enum err take_message(void *context, const struct mysql_row *row)
{
    struct load *load = context;
    const struct operation operation = {
        .type = OPERATION_MESSAGE_PUT,
        .message = mysql_number(row->columns[0]),
        .topic = row->columns[1],
        .properties = row->columns[2],
        .payload = row->columns[3],
        .qos = small_number(row->columns[4]),
        .retain = mysql_number(row->columns[5]) != 0,
        .expires_at_ms = moment(row->columns[6]),
        .publisher = mysql_number(row->columns[7]),
    };
    if (!mysql_ids_advance(&load->messages, operation.message, &load->cursor)) {
        return mysql_ids_add(&load->leftovers->messages, operation.message);
    }
    if (!is_message(&operation)) {
        return leave_out(load);
    }
    load->messages.items[load->kept++] = operation.message; /* at or before the cursor */
    return give_message(load, &operation, row->columns[8]);
}

static enum err take_retained(void *context, const struct mysql_row *row)
{
    const struct operation operation = {
        .type = OPERATION_RETAINED_PUT,
        .topic = row->columns[0],
        .properties = row->columns[1],
        .payload = row->columns[2],
        .qos = small_number(row->columns[3]),
        .expires_at_ms = moment(row->columns[4]),
        .publisher = mysql_number(row->columns[5]),
    };
    if (!is_message(&operation)) {
        return leave_out(context);
    }
    return give_message(context, &operation, row->columns[6]);
}

/* ---- bodies in parts ------------------------------------------------------------------------- */

static enum err take_part(void *context, const struct mysql_row *row)
{
    struct sql *body = context;
    sql_add_raw(body, row->columns[0].data, row->columns[0].len);
    return body->failed ? ERR_MEMORY : ERR_OK;
}

static void add_body_key(struct sql *sql, const struct operation *operation)
{
    uint8_t key[MYSQL_HASH_BYTES];
    if (operation->type == OPERATION_MESSAGE_PUT) {
        mysql_message_body_key(operation->message, key);
    } else {
        mysql_hash(operation->topic, key);
    }
    sql_add_bytes(sql, slice_of(key, sizeof key));
}

/* Nothing may refer to a message that isn't given. */
static void forget_message(struct load *load, uint64_t message)
{
    struct mysql_ids *ids = &load->messages;
    size_t index = 0;
    if (mysql_ids_find(ids, message, &index)) {
        ids->count--;
        memmove(ids->items + index, ids->items + index + 1,
                (ids->count - index) * sizeof *ids->items);
    }
}

static enum err give_split(struct load *load, const struct split_message *split)
{
    struct sql sql = {.data = NULL}, body = {.data = NULL};
    sql_add(&sql, "SELECT bytes FROM body_parts WHERE body=");
    add_body_key(&sql, &split->operation);
    sql_add(&sql, " ORDER BY part");
    enum err err = mysql_connection_rows(load->connection, &sql, &body, take_part);
    if (err == ERR_OK && (body.len == 0 || split->split_at > body.len)) {
        forget_message(load, split->operation.message);
        err = leave_out(load);
    } else if (err == ERR_OK) {
        struct slice bytes = slice_of(body.data, body.len);
        struct operation operation = split->operation;
        operation.properties = slice_of(bytes.data, split->split_at);
        operation.payload = slice_from(bytes, split->split_at);
        err = give(load, &operation);
    }
    sql_fini(&sql);
    sql_fini(&body);
    return err;
}

static enum err give_splits(struct load *load)
{
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < load->split_count; i++) {
        if (err == ERR_OK) {
            err = give_split(load, &load->splits[i]);
        }
        mem_free(load->splits[i].topic);
    }
    load->split_count = 0;
    return err;
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* Reads a table by its primary key, which begins with `key`, from `span.first` to `span.last`. */
static enum err read_span(struct load *load, const char *query, const char *key, const char *order,
                          struct span span, mysql_row_fn take)
{
    struct sql sql = {.data = NULL};
    sql_add(&sql, query);
    sql_add(&sql, " WHERE ");
    sql_add(&sql, key);
    sql_add(&sql, " BETWEEN ");
    sql_add_number(&sql, span.first);
    sql_add(&sql, " AND ");
    sql_add_number(&sql, span.last);
    sql_add(&sql, " ORDER BY ");
    sql_add(&sql, order);
    enum err err = mysql_connection_rows(load->connection, &sql, load, take);
    sql_fini(&sql);
    return err;
}

/* The ids from index `*at` on that are of one range; `*at` goes behind them. */
static struct span next_span(const struct mysql_ids *ids, size_t *at)
{
    struct span span = {.first = ids->items[*at]};
    while (*at < ids->count &&
           ids->items[*at] >> MYSQL_RANGE_BITS == span.first >> MYSQL_RANGE_BITS) {
        span.last = ids->items[(*at)++];
    }
    return span;
}

/* Reads a table of things that belong to sessions. */
static enum err read_of_sessions(struct load *load, const char *query, const char *order,
                                 mysql_row_fn take)
{
    enum err err = ERR_OK;
    size_t at = 0;
    load->cursor = 0;
    while (err == ERR_OK && at < load->sessions.count) {
        struct span span = next_span(&load->sessions, &at);
        err = read_span(load, query, "session_id", order, span, take);
    }
    return err;
}

static enum err read_sessions(struct load *load)
{
    struct sql sql = {.data = NULL};
    sql_add(&sql,
            "SELECT id,client_id,expiry_s,offline_since_ms,sent_to FROM sessions WHERE owner=");
    sql_add_bytes(&sql, slice_text(load->owner));
    sql_add(&sql, " ORDER BY id");
    enum err err = mysql_connection_rows(load->connection, &sql, load, take_session);
    sql_fini(&sql);
    mysql_ids_sort(&load->sessions);
    return err;
}

static void add_span(struct load *load, struct span span)
{
    load->spans = mem_grow(load->spans, load->span_count, &load->span_cap, sizeof *load->spans);
    load->spans[load->span_count++] = span;
}

static enum err take_range(void *context, const struct mysql_row *row)
{
    uint64_t range = mysql_number(row->columns[0]), ranges = mysql_number(row->columns[1]);
    add_span(context, (struct span){.first = range << MYSQL_RANGE_BITS,
                                    .last = ((range + ranges) << MYSQL_RANGE_BITS) - 1});
    return ERR_OK;
}

static int compare_spans(const void *a, const void *b)
{
    const struct span *left = a, *right = b;
    return left->first < right->first ? -1 : left->first > right->first;
}

/* Where messages may be: in all of our ranges, so that what nothing refers to is found, and
 * wherever else we refer to. */
static enum err find_message_spans(struct load *load)
{
    struct sql sql = {.data = NULL};
    sql_add(&sql, "SELECT id_range,ranges FROM id_ranges WHERE owner=");
    sql_add_bytes(&sql, slice_text(load->owner));
    enum err err = mysql_connection_rows(load->connection, &sql, load, take_range);
    sql_fini(&sql);
    size_t at = 0;
    while (err == ERR_OK && at < load->messages.count) {
        add_span(load, next_span(&load->messages, &at));
    }
    if (load->span_count > 0) {
        qsort(load->spans, load->span_count, sizeof *load->spans, compare_spans);
    }
    return err;
}

static enum err read_messages(struct load *load)
{
    enum err err = find_message_spans(load);
    uint64_t behind = 0;
    load->cursor = 0;
    for (uint32_t i = 0; err == ERR_OK && i < load->span_count; i++) {
        struct span span = load->spans[i];
        span.first = span.first > behind ? span.first : behind; /* they may overlap */
        if (span.first > span.last) {
            continue;
        }
        behind = span.last + 1;
        err = read_span(load,
                        "SELECT id,topic,properties,payload,qos,retain,expires_at_ms,publisher,"
                        "split_at FROM messages",
                        "id", "id", span, take_message);
    }
    load->messages.count = load->kept;
    return err == ERR_OK ? give_splits(load) : err;
}

static enum err read_retained(struct load *load)
{
    struct sql sql = {.data = NULL};
    sql_add(&sql, "SELECT topic,properties,payload,qos,expires_at_ms,publisher,split_at "
                  "FROM retained_messages ORDER BY topic_hash");
    enum err err = mysql_connection_rows(load->connection, &sql, load, take_retained);
    sql_fini(&sql);
    return err == ERR_OK ? give_splits(load) : err;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static enum err read_references(struct load *load)
{
    enum err err = read_of_sessions(load, "SELECT session_id,message_id FROM queue",
                                    "session_id,position", take_reference);
    if (err == ERR_OK) {
        err = read_of_sessions(load, "SELECT session_id,message_id FROM wills", "session_id",
                               take_reference);
    }
    mysql_ids_sort(&load->messages);
    return err;
}

static enum err read_all(struct load *load)
{
    enum err err = read_sessions(load);
    if (err == ERR_OK) {
        err = read_of_sessions(load,
                               "SELECT session_id,filter,qos,no_local,retain_as_published,"
                               "retain_handling,subscription_id FROM subscriptions",
                               "session_id,filter_hash", take_subscription);
    }
    if (err == ERR_OK) {
        err = read_of_sessions(load, "SELECT session_id,packet_id FROM inbound_qos2",
                               "session_id,packet_id", take_inbound);
    }
    if (err == ERR_OK) {
        err = read_references(load);
    }
    if (err == ERR_OK) {
        err = read_messages(load);
    }
    if (err == ERR_OK) {
        err = read_of_sessions(load,
                               "SELECT session_id,message_id,delay_s,message_expiry_s FROM wills",
                               "session_id", take_will);
    }
    if (err == ERR_OK) {
        err = read_of_sessions(load,
                               "SELECT session_id,position,message_id,qos,retain,shared,released,"
                               "subscription_ids FROM queue",
                               "session_id,position", take_entry);
    }
    if (err == ERR_OK) {
        err = read_retained(load);
    }
    return err == ERR_OK ? mysql_leftovers_settle(load->leftovers, load->connection, load->owner)
                         : err;
}

static void end(struct load *load)
{
    mysql_ids_fini(&load->sessions);
    mysql_ids_fini(&load->messages);
    for (uint32_t i = 0; i < load->split_count; i++) {
        mem_free(load->splits[i].topic); /* of a reading that failed */
    }
    mem_free(load->splits);
    mem_free(load->spans);
    mem_free(load->subscription_ids);
}

enum err mysql_load(struct mysql_connection *connection, const char *owner,
                    const struct operation_sink *sink, struct mysql_leftovers *leftovers)
{
    struct load load = {
        .connection = connection, .owner = owner, .sink = sink, .leftovers = leftovers};
    load.subscription_ids = mem_alloc_array(SUBSCRIPTION_IDS_MAX, sizeof *load.subscription_ids);
    enum err err =
        mysql_connection_run(connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;"
                                         "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
    if (err == ERR_OK) {
        err = read_all(&load);
    }
    if (err == ERR_OK) {
        err = mysql_connection_run(connection, "COMMIT;SET SESSION TRANSACTION ISOLATION LEVEL "
                                               "READ COMMITTED");
    } else {
        mysql_connection_close(connection);
    }
    if (load.foreign_rows > 0) {
        log_warning(LOG_STORAGE, "rows that can't be of Pulse were left out",
                    log_uint("rows", load.foreign_rows));
    }
    end(&load);
    return err;
}
