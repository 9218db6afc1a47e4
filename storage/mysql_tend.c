#include "storage/mysql_tend.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "storage/mysql_changes.h"
#include "storage/mysql_owner.h"

#define PORTION 500u
#define PORTION_LIMIT " LIMIT 500"

/* Between two looks when there was nothing to do, and after something failed. */
#define IDLE_MS 30000u
#define RETRY_MS 5000u

/* The broker removes what expires: here goes what a node left that is no more. Clocks may differ.
 */
#define EXPIRED_FOR_MS 60000u

enum outcome { NOTHING_LEFT, MORE, FAILED };

void mysql_tend_fini(struct mysql_tend *tend)
{
    mysql_leftovers_fini(&tend->leftovers);
}

static enum outcome outcome_of(enum err err, uint64_t removed)
{
    return err != ERR_OK ? FAILED : (removed > 0 ? MORE : NOTHING_LEFT);
}

/* Runs one statement that deletes a portion. */
static enum err remove_rows(struct mysql_tend *tend, struct mysql_connection *connection,
                            struct sql *sql, uint64_t *removed)
{
    enum err err = mysql_connection_run_sql(connection, sql);
    *removed = err == ERR_OK ? connection->changed : 0;
    tend->removed += *removed;
    sql_fini(sql);
    return err;
}

/* Messages of ours that nothing refers to. */
static enum outcome remove_messages(struct mysql_tend *tend, struct mysql_connection *connection)
{
    struct mysql_ids *ids = &tend->leftovers.messages;
    if (ids->count == 0) {
        return NOTHING_LEFT;
    }
    size_t count = ids->count < PORTION ? ids->count : PORTION;
    struct sql sql = {.data = NULL};
    uint64_t removed = 0;
    sql_add(&sql, "DELETE FROM messages WHERE id IN (");
    for (size_t i = 0; i < count; i++) {
        sql_add(&sql, i > 0 ? "," : "");
        sql_add_number(&sql, ids->items[ids->count - 1 - i]);
    }
    sql_add(&sql, ")");
    enum err err = remove_rows(tend, connection, &sql, &removed);
    if (err != ERR_OK) {
        return FAILED;
    }
    ids->count -= count;
    return MORE;
}

static enum err session_exists(struct mysql_connection *connection, uint64_t session, bool *exists)
{
    struct sql sql = {.data = NULL};
    uint64_t id = 0;
    sql_add(&sql, "SELECT id FROM sessions WHERE id=");
    sql_add_number(&sql, session);
    enum err err = mysql_connection_numbers(connection, &sql, &id, 1, exists);
    sql_fini(&sql);
    return err;
}

/* What belongs to a session that is no more. */
static enum outcome remove_strangers(struct mysql_tend *tend, struct mysql_connection *connection)
{
    static const char *const tables[] = {"queue", "subscriptions", "inbound_qos2", "wills"};
    struct mysql_ids *ids = &tend->leftovers.sessions;
    if (ids->count == 0) {
        return NOTHING_LEFT;
    }
    uint64_t session = ids->items[ids->count - 1];
    bool exists = false;
    enum err err = session_exists(connection, session, &exists);
    for (size_t i = 0; err == ERR_OK && !exists && i < ARRAY_COUNT(tables); i++) {
        struct sql sql = {.data = NULL};
        uint64_t removed = 0;
        sql_add(&sql, "DELETE FROM ");
        sql_add(&sql, tables[i]);
        sql_add(&sql, " WHERE session_id=");
        sql_add_number(&sql, session);
        sql_add(&sql, PORTION_LIMIT);
        err = remove_rows(tend, connection, &sql, &removed);
        if (removed > 0) {
            return MORE;
        }
    }
    if (err != ERR_OK) {
        return FAILED;
    }
    ids->count--;
    return MORE;
}

static enum outcome remove_expired(struct mysql_tend *tend, struct mysql_connection *connection,
                                   uint64_t now_ms)
{
    struct sql sql = {.data = NULL};
    uint64_t removed = 0;
    if (now_ms < EXPIRED_FOR_MS) {
        return NOTHING_LEFT;
    }
    sql_add(&sql, "DELETE FROM retained_messages WHERE expires_at_ms<");
    sql_add_number(&sql, now_ms - EXPIRED_FOR_MS);
    sql_add(&sql, " ORDER BY expires_at_ms" PORTION_LIMIT);
    enum err err = remove_rows(tend, connection, &sql, &removed);
    return outcome_of(err, removed == PORTION ? 1 : 0);
}

/* ---- bodies in parts ------------------------------------------------------------------------- */

struct keys {
    uint8_t keys[PORTION][MYSQL_HASH_BYTES];
    size_t count;
};

static enum err take_key(void *context, const struct mysql_row *row)
{
    struct keys *keys = context;
    if (row->columns[0].len == MYSQL_HASH_BYTES && keys->count < PORTION) {
        memcpy(keys->keys[keys->count++], row->columns[0].data, MYSQL_HASH_BYTES);
    }
    return ERR_OK;
}

/* The rows that would use the parts are locked, also where there are none: nobody can put one while
 * the parts are removed. */
static enum err remove_parts(struct mysql_tend *tend, struct mysql_connection *connection,
                             const uint8_t *key)
{
    struct sql sql = {.data = NULL};
    uint64_t used = 0, id = 0, removed = 0;
    bool found = false;
    for (size_t i = MYSQL_HASH_BYTES - 8; i < MYSQL_HASH_BYTES; i++) {
        id = id << 8 | key[i];
    }
    enum err err = mysql_connection_run(
        connection, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;START TRANSACTION");
    if (err != ERR_OK) {
        return err;
    }
    sql_add(&sql, "SELECT COUNT(*) FROM retained_messages WHERE split_at IS NOT NULL AND "
                  "topic_hash=");
    sql_add_bytes(&sql, slice_of(key, MYSQL_HASH_BYTES));
    sql_add(&sql, " FOR UPDATE");
    err = mysql_connection_numbers(connection, &sql, &used, 1, &found);
    sql_clear(&sql, SIZE_MAX);
    if (err == ERR_OK && used == 0) {
        sql_add(&sql, "SELECT COUNT(*) FROM messages WHERE split_at IS NOT NULL AND id=");
        sql_add_number(&sql, id);
        sql_add(&sql, " FOR UPDATE");
        err = mysql_connection_numbers(connection, &sql, &used, 1, &found);
        sql_clear(&sql, SIZE_MAX);
    }
    if (err == ERR_OK && used == 0) {
        sql_add(&sql, "DELETE FROM body_parts WHERE body=");
        sql_add_bytes(&sql, slice_of(key, MYSQL_HASH_BYTES));
        err = remove_rows(tend, connection, &sql, &removed);
    }
    sql_fini(&sql);
    return err == ERR_OK ? mysql_connection_run(connection, "COMMIT") : err;
}

/* Parts of messages that were dropped: few, so all are looked at, now and then. */
static enum outcome sweep_parts(struct mysql_tend *tend, struct mysql_connection *connection)
{
    struct keys keys = {.count = 0};
    struct sql sql = {.data = NULL};
    sql_add(&sql, "SELECT DISTINCT p.body FROM body_parts p WHERE NOT EXISTS (SELECT 1 FROM "
                  "retained_messages r WHERE r.topic_hash=p.body AND r.split_at IS NOT NULL) AND "
                  "NOT EXISTS (SELECT 1 FROM messages m WHERE m.split_at IS NOT NULL AND "
                  "m.id=CAST(CONV(HEX(p.body),16,10) AS UNSIGNED))" PORTION_LIMIT);
    enum err err = mysql_connection_rows(connection, &sql, &keys, take_key);
    sql_fini(&sql);
    for (size_t i = 0; err == ERR_OK && i < keys.count; i++) {
        err = remove_parts(tend, connection, keys.keys[i]);
    }
    return outcome_of(err, keys.count);
}

/* ---- ranges ---------------------------------------------------------------------------------- */

/* Of our earlier processes, when nothing is left of them. */
static enum outcome sweep_ranges(struct mysql_tend *tend, struct mysql_connection *connection,
                                 const char *owner, uint64_t id_range)
{
    struct sql sql = {.data = NULL};
    uint64_t removed = 0;
    sql_add(&sql, "DELETE FROM id_ranges WHERE owner=");
    sql_add_bytes(&sql, slice_text(owner));
    sql_add(&sql, " AND id_range<");
    sql_add_number(&sql, id_range);
    sql_add(&sql, " AND NOT EXISTS (SELECT 1 FROM messages WHERE id BETWEEN id_range<<42 AND "
                  "((id_range+ranges)<<42)-1)");
    return outcome_of(remove_rows(tend, connection, &sql, &removed), 0);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static enum outcome look(struct mysql_tend *tend, struct mysql_connection *connection,
                         const char *owner, uint64_t id_range, uint64_t now_ms)
{
    if (mysql_connection_open(connection) != ERR_OK) {
        return FAILED;
    }
    enum outcome outcome = remove_messages(tend, connection);
    if (outcome == NOTHING_LEFT) {
        outcome = remove_strangers(tend, connection);
    }
    if (outcome == NOTHING_LEFT) {
        outcome = remove_expired(tend, connection, now_ms);
    }
    if (outcome == NOTHING_LEFT) {
        outcome = sweep_parts(tend, connection);
    }
    if (outcome == NOTHING_LEFT && !tend->ranges_swept) {
        outcome = sweep_ranges(tend, connection, owner, id_range);
        tend->ranges_swept = outcome == NOTHING_LEFT;
    }
    return outcome;
}

bool mysql_tend_portion(struct mysql_tend *tend, struct mysql_connection *connection,
                        const char *owner, uint64_t id_range, uint64_t now_ms)
{
    if (clock_mono_ms() < tend->again_ms) {
        return false;
    }
    enum outcome outcome = look(tend, connection, owner, id_range, now_ms);
    if (outcome == MORE) {
        return true;
    }
    if (outcome == FAILED) {
        log_debug(LOG_STORAGE, "the store can't be cleaned up now",
                  log_slice("reason", slice_text(connection->trouble)));
    } else if (tend->removed > 0) {
        log_info(LOG_STORAGE, "rows that nothing refers to were removed",
                 log_uint("rows", tend->removed));
        tend->removed = 0;
    }
    tend->again_ms = clock_mono_ms() + (outcome == FAILED ? RETRY_MS : IDLE_MS);
    mysql_connection_close(connection); /* it is needed seldom */
    return false;
}
