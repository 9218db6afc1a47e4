#include "storage/mysql_batch.h"

#include <time.h>

#include "base/clock.h"

/* After so many conflicts, or so long, the caller gets to know. */
#define TRIES 6u
#define PAUSE_MS 4u

#define ROW_BYTES_KEPT (64u * 1024)

/* clang-format off */
#define UPSERT(table, columns, update) \
    {"INSERT INTO " table " (" columns ") VALUES ", ",", " ON DUPLICATE KEY UPDATE " update}
#define LIST(head) {head, ",", ")"}
#define ANY_OF(head) {head, " OR ", ""}
#define NEW(column) column "=VALUES(" column ")"

static const struct mysql_statement drop_session_parts[] = {
    LIST("DELETE FROM subscriptions WHERE session_id IN ("),
    LIST("DELETE FROM wills WHERE session_id IN ("),
    LIST("DELETE FROM inbound_qos2 WHERE session_id IN ("),
    LIST("DELETE FROM queue WHERE session_id IN ("),
    LIST("DELETE FROM sessions WHERE id IN ("),
};
/* The owner and the epoch of a session stay: who takes a session over changes them. */
static const struct mysql_statement put_session = UPSERT(
    "sessions", "id,client_id_hash,client_id,expiry_s,offline_since_ms,sent_to,owner,epoch",
    NEW("client_id_hash") "," NEW("client_id") "," NEW("expiry_s") "," NEW("offline_since_ms") ","
    NEW("sent_to"));
static const struct mysql_statement drop_subscription =
    ANY_OF("DELETE FROM subscriptions WHERE ");
static const struct mysql_statement put_subscription = UPSERT(
    "subscriptions",
    "session_id,filter_hash,filter,qos,no_local,retain_as_published,retain_handling,"
    "subscription_id",
    NEW("qos") "," NEW("no_local") "," NEW("retain_as_published") "," NEW("retain_handling") ","
    NEW("subscription_id"));
static const struct mysql_statement drop_will =
    LIST("DELETE FROM wills WHERE session_id IN (");
static const struct mysql_statement put_will = UPSERT(
    "wills", "session_id,message_id,delay_s,message_expiry_s",
    NEW("message_id") "," NEW("delay_s") "," NEW("message_expiry_s"));
static const struct mysql_statement drop_inbound =
    ANY_OF("DELETE FROM inbound_qos2 WHERE ");
static const struct mysql_statement put_inbound = UPSERT(
    "inbound_qos2", "session_id,packet_id", NEW("packet_id"));
static const struct mysql_statement put_message = UPSERT(
    "messages", "id,topic,properties,payload,qos,retain,expires_at_ms,publisher,split_at",
    NEW("topic") "," NEW("properties") "," NEW("payload") "," NEW("qos") "," NEW("retain") ","
    NEW("expires_at_ms") "," NEW("publisher") "," NEW("split_at"));
static const struct mysql_statement pop_queue =
    ANY_OF("DELETE FROM queue WHERE ");
static const struct mysql_statement put_queue = UPSERT(
    "queue", "session_id,position,message_id,qos,retain,shared,released,subscription_ids",
    NEW("message_id") "," NEW("qos") "," NEW("retain") "," NEW("shared") "," NEW("released") ","
    NEW("subscription_ids"));
static const struct mysql_statement release_queue =
    ANY_OF("UPDATE queue SET released=1,message_id=NULL WHERE ");
static const struct mysql_statement drop_message =
    LIST("DELETE FROM messages WHERE id IN (");
static const struct mysql_statement drop_message_runs =
    ANY_OF("DELETE FROM messages WHERE ");
static const struct mysql_statement drop_retained =
    LIST("DELETE FROM retained_messages WHERE topic_hash IN (");
static const struct mysql_statement put_retained = UPSERT(
    "retained_messages",
    "topic_hash,topic,properties,payload,qos,expires_at_ms,publisher,split_at",
    NEW("properties") "," NEW("payload") "," NEW("qos") "," NEW("expires_at_ms") ","
    NEW("publisher") "," NEW("split_at"));
static const struct mysql_statement drop_parts =
    LIST("DELETE FROM body_parts WHERE body IN (");
static const struct mysql_statement put_part = UPSERT(
    "body_parts", "body,part,bytes", NEW("bytes"));
/* clang-format on */

/* ---- rows ------------------------------------------------------------------------------------ */

static struct sql *new_row(struct mysql_batch *batch)
{
    sql_clear(&batch->row, ROW_BYTES_KEPT);
    return &batch->row;
}

static void send_row(struct mysql_batch *batch, const struct mysql_statement *statement)
{
    if (batch->row.failed) {
        batch->packet.err = batch->packet.err == ERR_OK ? ERR_MEMORY : batch->packet.err;
        return;
    }
    mysql_packet_row(&batch->packet, statement, batch->row.data, batch->row.len);
}

static void send_text(struct mysql_batch *batch, const struct mysql_statement *statement,
                      const struct mysql_change *change)
{
    mysql_packet_row(&batch->packet, statement, batch->changes.text.data + change->text_at,
                     change->text_len);
}

/* (column=id AND column2 ... ) */
static struct sql *row_of(struct mysql_batch *batch, const char *column, uint64_t id)
{
    struct sql *row = new_row(batch);
    sql_add(row, "(");
    sql_add(row, column);
    sql_add_number(row, id);
    return row;
}

static void send_range(struct mysql_batch *batch, const struct mysql_statement *statement,
                       struct sql *row, uint64_t first, uint64_t last)
{
    if (first == last) {
        sql_add(row, "=");
        sql_add_number(row, first);
    } else {
        sql_add(row, " BETWEEN ");
        sql_add_number(row, first);
        sql_add(row, " AND ");
        sql_add_number(row, last);
    }
    sql_add(row, ")");
    send_row(batch, statement);
}

static void send_id(struct mysql_batch *batch, const struct mysql_statement *statement, uint64_t id)
{
    sql_add_number(new_row(batch), id);
    send_row(batch, statement);
}

static void send_hash(struct mysql_batch *batch, const struct mysql_statement *statement,
                      const uint8_t *hash)
{
    sql_add_bytes(new_row(batch), slice_of(hash, MYSQL_HASH_BYTES));
    send_row(batch, statement);
}

/* Sends the rows of `table` that are put. */
static void send_puts(struct mysql_batch *batch, enum mysql_table table,
                      const struct mysql_statement *statement)
{
    const struct mysql_change_list *list = &batch->changes.lists[table];
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].verb == MYSQL_PUT) {
            send_text(batch, statement, &list->items[i]);
        }
    }
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void send_sessions(struct mysql_batch *batch)
{
    for (size_t i = 0; i < ARRAY_COUNT(drop_session_parts); i++) {
        for (uint32_t j = 0; j < batch->changes.dropped_count; j++) {
            send_id(batch, &drop_session_parts[i], batch->changes.dropped[j].id);
        }
    }
    send_puts(batch, MYSQL_SESSIONS, &put_session);
}

static void send_subscriptions(struct mysql_batch *batch)
{
    const struct mysql_change_list *list = &batch->changes.lists[MYSQL_SUBSCRIPTIONS];
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].verb == MYSQL_DROP) {
            struct sql *row = row_of(batch, "session_id=", list->items[i].id);
            sql_add(row, " AND filter_hash=");
            sql_add_bytes(row, slice_of(list->items[i].hash, MYSQL_HASH_BYTES));
            sql_add(row, ")");
            send_row(batch, &drop_subscription);
        }
    }
    send_puts(batch, MYSQL_SUBSCRIPTIONS, &put_subscription);
}

static void send_wills(struct mysql_batch *batch)
{
    const struct mysql_change_list *list = &batch->changes.lists[MYSQL_WILLS];
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].verb == MYSQL_DROP) {
            send_id(batch, &drop_will, list->items[i].id);
        }
    }
    send_puts(batch, MYSQL_WILLS, &put_will);
}

static void send_inbound(struct mysql_batch *batch)
{
    const struct mysql_change_list *list = &batch->changes.lists[MYSQL_INBOUND_QOS2];
    for (uint32_t i = 0; i < list->count; i++) {
        const struct mysql_change *change = &list->items[i];
        if (change->verb == MYSQL_DROP) {
            struct sql *row = row_of(batch, "session_id=", change->id);
            sql_add(row, " AND packet_id");
            send_range(batch, &drop_inbound, row, change->number, change->number);
        }
    }
    send_puts(batch, MYSQL_INBOUND_QOS2, &put_inbound);
}

static void send_entry(struct mysql_batch *batch, const struct mysql_change *change)
{
    struct sql *row = new_row(batch);
    const uint64_t flags[] = {change->qos, change->retain, change->shared, change->released};
    sql_add(row, "(");
    sql_add_number(row, change->id);
    sql_add(row, ",");
    sql_add_number(row, change->number);
    sql_add(row, ",");
    if (change->value != 0) {
        sql_add_number(row, change->value);
    } else {
        sql_add(row, "NULL");
    }
    for (size_t i = 0; i < ARRAY_COUNT(flags); i++) {
        sql_add(row, ",");
        sql_add_number(row, flags[i]);
    }
    sql_add(row, ",");
    if (change->text_len > 0) {
        sql_add_raw(row, batch->changes.text.data + change->text_at, change->text_len);
    } else {
        sql_add(row, "NULL");
    }
    sql_add(row, ")");
    send_row(batch, &put_queue);
}

/* Pops before pushes: what was pushed and popped in this batch is not among the pushes any more. */
static void send_queue(struct mysql_batch *batch)
{
    const struct mysql_change_list *pops = &batch->changes.lists[MYSQL_QUEUE_POPS];
    const struct mysql_change_list *list = &batch->changes.lists[MYSQL_QUEUE];
    for (uint32_t i = 0; i < pops->count; i++) {
        const struct mysql_change *pop = &pops->items[i];
        struct sql *row = row_of(batch, "session_id=", pop->id);
        sql_add(row, " AND position");
        send_range(batch, &pop_queue, row, pop->number, pop->value);
    }
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].verb == MYSQL_PUT) {
            send_entry(batch, &list->items[i]);
        }
    }
    for (uint32_t i = 0; i < list->count; i++) {
        const struct mysql_change *change = &list->items[i];
        if (change->verb == MYSQL_RELEASE) {
            struct sql *row = row_of(batch, "session_id=", change->id);
            sql_add(row, " AND position");
            send_range(batch, &release_queue, row, change->number, change->number);
        }
    }
}

/* A body that is too large for a row: in parts beside it. */
static void send_body(struct mysql_batch *batch, const struct mysql_change *change,
                      const uint8_t *key)
{
    const char *body = batch->changes.text.data + change->body_at;
    size_t part_max = batch->changes.row_max / 2 - 2 * sql_bytes_max(MYSQL_HASH_BYTES);
    uint64_t part = 0;
    send_hash(batch, &drop_parts, key);
    for (size_t at = 0; at < change->body_len; at += part_max, part++) {
        size_t len = change->body_len - at < part_max ? change->body_len - at : part_max;
        struct sql *row = new_row(batch);
        sql_add(row, "(");
        sql_add_bytes(row, slice_of(key, MYSQL_HASH_BYTES));
        sql_add(row, ",");
        sql_add_number(row, part);
        sql_add(row, ",");
        sql_add_bytes(row, slice_of(body + at, len));
        sql_add(row, ")");
        send_row(batch, &put_part);
    }
}

static void send_bodies(struct mysql_batch *batch, enum mysql_table table)
{
    const struct mysql_change_list *list = &batch->changes.lists[table];
    uint8_t key[MYSQL_HASH_BYTES];
    for (uint32_t i = 0; i < list->count; i++) {
        const struct mysql_change *change = &list->items[i];
        if (change->body_len > 0 && table == MYSQL_MESSAGES) {
            mysql_message_body_key(change->id, key);
            send_body(batch, change, key);
        } else if (change->body_len > 0) {
            send_body(batch, change, change->hash);
        }
    }
}

/* The index behind the last of the dropped ids that follow one another from `first` on. */
static uint32_t end_of_run(const struct mysql_change_list *list, uint32_t first)
{
    uint32_t end = first + 1;
    while (end < list->count && list->items[end].verb == MYSQL_DROP &&
           list->items[end].id == list->items[end - 1].id + 1) {
        end++;
    }
    return end;
}

/* Ids that follow one another are deleted as a range, the others by a list: that is cheapest. */
static void send_message_drops(struct mysql_batch *batch, bool runs)
{
    const struct mysql_change_list *list = &batch->changes.lists[MYSQL_MESSAGES];
    uint32_t first = 0;
    while (first < list->count) {
        if (list->items[first].verb != MYSQL_DROP) {
            first++;
            continue;
        }
        uint32_t end = end_of_run(list, first);
        if (runs && end - first > 1) {
            struct sql *row = new_row(batch);
            sql_add(row, "(id");
            send_range(batch, &drop_message_runs, row, list->items[first].id,
                       list->items[end - 1].id);
        } else if (!runs && end - first == 1) {
            send_id(batch, &drop_message, list->items[first].id);
        }
        first = end;
    }
}

static void send_retained(struct mysql_batch *batch)
{
    const struct mysql_change_list *list = &batch->changes.lists[MYSQL_RETAINED];
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].verb == MYSQL_DROP) {
            send_hash(batch, &drop_retained, list->items[i].hash);
        }
    }
    send_puts(batch, MYSQL_RETAINED, &put_retained);
}

static void send_last_seen(struct mysql_batch *batch, const struct mysql_batch_frame *frame)
{
    if (frame->last_seen_ms == 0) {
        return;
    }
    struct sql *row = new_row(batch);
    sql_add(row, "UPDATE id_ranges SET last_seen_ms=");
    sql_add_number(row, frame->last_seen_ms);
    sql_add(row, " WHERE id_range=");
    sql_add_number(row, frame->id_range);
    sql_add_raw(row, "", 1);
    mysql_packet_add(&batch->packet, row->failed ? "" : row->data);
}

/* ---- the transaction ------------------------------------------------------------------------- */

static enum err send_all(struct mysql_batch *batch, struct mysql_connection *connection,
                         const struct mysql_batch_frame *frame)
{
    mysql_packet_begin(&batch->packet, connection);
    mysql_packet_add(&batch->packet, "BEGIN");
    send_sessions(batch);
    send_subscriptions(batch);
    send_wills(batch);
    send_inbound(batch);
    send_puts(batch, MYSQL_MESSAGES, &put_message);
    send_queue(batch);
    send_message_drops(batch, true);
    send_message_drops(batch, false);
    send_retained(batch);
    send_bodies(batch, MYSQL_MESSAGES);
    send_bodies(batch, MYSQL_RETAINED);
    send_last_seen(batch, frame);
    mysql_packet_add(&batch->packet, "COMMIT");
    return mysql_packet_end(&batch->packet);
}

/* Longer from time to time; the clock makes it differ between nodes. */
static void pause_before_try(unsigned tries)
{
    long ns = (long)(PAUSE_MS << tries) * 500000;
    ns += (long)(clock_mono_ns() % (uint64_t)ns);
    nanosleep(&(struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000}, NULL);
}

enum err mysql_batch_apply(struct mysql_batch *batch, struct mysql_connection *connection,
                           struct batch *operations, const struct mysql_batch_frame *frame)
{
    batch->changes.owner = frame->owner;
    batch->changes.row_max = mysql_packet_row_max(connection);
    batch->changes.new_from = frame->new_from;
    enum err err = mysql_changes_gather(&batch->changes, operations);
    if (err != ERR_OK) {
        return err;
    }
    uint64_t until_ms = clock_mono_ms() + connection->settings->config->mysql_timeout_ms;
    for (unsigned tries = 0;; tries++) {
        err = send_all(batch, connection, frame);
        if (err == ERR_OK || !connection->conflict || tries + 1 == TRIES ||
            clock_mono_ms() >= until_ms) {
            return err;
        }
        pause_before_try(tries);
    }
}

void mysql_batch_fini(struct mysql_batch *batch)
{
    mysql_changes_fini(&batch->changes);
    mysql_packet_fini(&batch->packet);
    sql_fini(&batch->row);
}
