#include "storage/mysql_owner.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "storage/mysql_schema.h"

/* A process that was killed leaves its lock for as long as the server takes to notice. */
#define ENTER_WAIT_MS 5000u
#define ENTER_AGAIN_WAIT_MS 2000u

#define RANGE_IDS (UINT64_C(1) << MYSQL_RANGE_BITS)
#define RANGES_MAX (UINT64_C(1) << (64 - MYSQL_RANGE_BITS))

/* Lock names don't mix with those of mysql_schema.c. */
static enum err take_lock(const struct mysql_owner *owner, struct mysql_connection *connection,
                          uint64_t wait_ms)
{
    char what[300];
    (void)snprintf(what, sizeof what, "owner %s", owner->name);
    return mysql_lock_take(connection, what, wait_ms);
}

static enum err numbers(struct mysql_connection *connection, const char *query,
                        const struct slice *value, uint64_t *values, size_t count)
{
    struct sql sql = {.data = NULL};
    bool found = false;
    sql_add(&sql, query);
    if (value != NULL) {
        sql_add_bytes(&sql, *value);
    }
    enum err err = mysql_connection_numbers(connection, &sql, values, count, &found);
    sql_fini(&sql);
    return err;
}

/* ---- ranges ---------------------------------------------------------------------------------- */

/* The first range that nobody had: after what meta says, and after every id that is there, which
 * an import may have brought. In a transaction; meta's row is locked. */
static enum err find_free_range(struct mysql_connection *connection, uint64_t *range)
{
    uint64_t next = 0;
    uint64_t used[2] = {0, 0};
    enum err err = numbers(
        connection, "SELECT value FROM meta WHERE name='next_id_range' FOR UPDATE", NULL, &next, 1);
    if (err != ERR_OK) {
        return err;
    }
    err =
        numbers(connection, "SELECT (SELECT MAX(id) FROM sessions),(SELECT MAX(id) FROM messages)",
                NULL, used, ARRAY_COUNT(used));
    for (size_t i = 0; i < ARRAY_COUNT(used); i++) {
        uint64_t behind = (used[i] >> MYSQL_RANGE_BITS) + 1;
        next = next < behind ? behind : next;
    }
    *range = next < 1 ? 1 : next;
    return err;
}

static void add_next_range(struct sql *sql, uint64_t next)
{
    sql_add(sql, "UPDATE meta SET value=");
    sql_add_number(sql, next);
    sql_add(sql, " WHERE name='next_id_range'");
}

/* In the same transaction, which ends. */
static enum err note_range(const struct mysql_owner *owner, struct mysql_connection *connection,
                           uint64_t now_ms)
{
    struct sql sql = {.data = NULL};
    add_next_range(&sql, owner->range + 1);
    sql_add(&sql,
            ";INSERT INTO id_ranges (id_range,ranges,owner,opened_at_ms,last_seen_ms) VALUES (");
    sql_add_number(&sql, owner->range);
    sql_add(&sql, ",1,");
    sql_add_bytes(&sql, slice_text(owner->name));
    sql_add(&sql, ",");
    sql_add_number(&sql, now_ms);
    sql_add(&sql, ",");
    sql_add_number(&sql, owner->last_seen_ms);
    sql_add(&sql, ");COMMIT");
    enum err err = mysql_connection_run_sql(connection, &sql);
    sql_fini(&sql);
    return err;
}

static enum err take_range(struct mysql_owner *owner, struct mysql_connection *connection,
                           uint64_t now_ms)
{
    uint64_t range = 0;
    enum err err = mysql_connection_run(connection, "BEGIN");
    if (err == ERR_OK) {
        err = find_free_range(connection, &range);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (range >= RANGES_MAX) {
        (void)snprintf(connection->trouble, sizeof connection->trouble,
                       "all ranges of ids are used up");
        return ERR_FULL;
    }
    owner->range = range;
    owner->ranges = 1;
    owner->next_id = range << MYSQL_RANGE_BITS;
    return note_range(owner, connection, now_ms);
}

enum err mysql_owner_enter(struct mysql_owner *owner, const char *name,
                           struct mysql_connection *connection, uint64_t now_ms)
{
    *owner = (struct mysql_owner){.name = name};
    enum err err = take_lock(owner, connection, ENTER_WAIT_MS);
    if (err != ERR_OK) {
        return err;
    }
    struct slice text = slice_text(name);
    err = numbers(connection, "SELECT MAX(last_seen_ms) FROM id_ranges WHERE owner=", &text,
                  &owner->last_seen_ms, 1);
    if (err == ERR_OK) {
        err = take_range(owner, connection, now_ms);
    }
    owner->connection_id = mysql_connection_id(connection);
    return err;
}

/* ---- other owners ---------------------------------------------------------------------------- */

static enum err take_stranger(void *context, const struct mysql_row *row)
{
    static const char cut[] = ", ...";
    struct mysql_strangers *strangers = context;
    struct slice name = row->columns[0];
    char *end = strangers->owners + strlen(strangers->owners);
    size_t room = sizeof strangers->owners - (size_t)(end - strangers->owners);
    strangers->sessions += mysql_number(row->columns[1]);
    if (name.len + 2 + sizeof cut <= room) {
        (void)snprintf(end, room, "%s%.*s", end == strangers->owners ? "" : ", ", (int)name.len,
                       (const char *)name.data);
    } else if (room >= sizeof cut && !strangers->cut) {
        (void)snprintf(end, room, "%s", end == strangers->owners ? cut + 2 : cut);
        strangers->cut = true;
    }
    return ERR_OK;
}

enum err mysql_owner_find_strangers(const struct mysql_owner *owner,
                                    struct mysql_connection *connection,
                                    struct mysql_strangers *strangers)
{
    struct sql sql = {.data = NULL};
    sql_add(&sql, "SELECT owner,COUNT(*) FROM sessions WHERE owner<>");
    sql_add_bytes(&sql, slice_text(owner->name));
    sql_add(&sql, " GROUP BY owner ORDER BY owner");
    enum err err = mysql_connection_rows(connection, &sql, strangers, take_stranger);
    sql_fini(&sql);
    return err;
}

/* ---- after a lost connection ----------------------------------------------------------------- */

/* A server may take minutes to notice that a connection of ours broke in the network. */
static enum err end_earlier_connection(const struct mysql_owner *owner,
                                       struct mysql_connection *connection)
{
    char what[300], sql[64];
    uint64_t holder = 0;
    (void)snprintf(what, sizeof what, "owner %s", owner->name);
    enum err err = mysql_lock_holder(connection, what, &holder);
    if (err != ERR_OK || holder == 0 || holder != owner->connection_id) {
        return err;
    }
    (void)snprintf(sql, sizeof sql, "KILL CONNECTION %llu", (unsigned long long)holder);
    err = mysql_connection_run(connection, sql);
    return connection->client == NULL ? err : ERR_OK; /* it may be gone by itself */
}

enum err mysql_owner_enter_again(struct mysql_owner *owner, struct mysql_connection *connection)
{
    enum err err = end_earlier_connection(owner, connection);
    if (err == ERR_OK) {
        err = take_lock(owner, connection, ENTER_AGAIN_WAIT_MS);
    }
    if (err != ERR_OK) {
        return err == ERR_LOCKED ? ERR_UNAVAILABLE : err;
    }
    uint64_t newest[2] = {0, 0};
    struct sql sql = {.data = NULL};
    bool found = false;
    sql_add(&sql, "SELECT id_range,ranges FROM id_ranges WHERE owner=");
    sql_add_bytes(&sql, slice_text(owner->name));
    sql_add(&sql, " ORDER BY id_range DESC LIMIT 1");
    err = mysql_connection_numbers(connection, &sql, newest, ARRAY_COUNT(newest), &found);
    sql_fini(&sql);
    if (err != ERR_OK) {
        return err;
    }
    if (newest[0] != owner->range) {
        (void)snprintf(connection->trouble, sizeof connection->trouble,
                       "another process has used the store as this node, or it is not the store "
                       "that was opened");
        return ERR_LOCKED;
    }
    owner->ranges = newest[1]; /* more than we know, if an answer was lost */
    owner->connection_id = mysql_connection_id(connection);
    return ERR_OK;
}

/* ---- ids run out ----------------------------------------------------------------------------- */

static uint64_t range_end(const struct mysql_owner *owner)
{
    uint64_t end = owner->range + owner->ranges;
    return end < RANGES_MAX ? end << MYSQL_RANGE_BITS : UINT64_MAX;
}

/* So many ids should be left. */
#define RESERVE_IDS (RANGE_IDS / 4)

/* Takes the ranges behind ours up to that of `id`, if they are free. */
static enum err extend(struct mysql_owner *owner, struct mysql_connection *connection, uint64_t id)
{
    uint64_t end = (id >> MYSQL_RANGE_BITS) + 1;
    uint64_t free_range = 0;
    enum err err = mysql_connection_run(connection, "BEGIN");
    if (err == ERR_OK) {
        err = find_free_range(connection, &free_range);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (free_range != owner->range + owner->ranges) {
        return mysql_connection_run(connection, "ROLLBACK");
    }
    struct sql sql = {.data = NULL};
    add_next_range(&sql, end);
    sql_add(&sql, ";UPDATE id_ranges SET ranges=");
    sql_add_number(&sql, end - owner->range);
    sql_add(&sql, " WHERE id_range=");
    sql_add_number(&sql, owner->range);
    sql_add(&sql, ";COMMIT");
    err = mysql_connection_run_sql(connection, &sql);
    sql_fini(&sql);
    if (err == ERR_OK) {
        owner->ranges = end - owner->range;
    }
    return err;
}

enum err mysql_owner_reserve(struct mysql_owner *owner, struct mysql_connection *connection,
                             uint64_t next_id)
{
    uint64_t wanted = next_id < UINT64_MAX - RESERVE_IDS ? next_id + RESERVE_IDS : UINT64_MAX;
    if (wanted <= range_end(owner)) {
        return ERR_OK;
    }
    if (!owner->warned) {
        enum err err = extend(owner, connection, wanted);
        if (err != ERR_OK || wanted <= range_end(owner)) {
            return err;
        }
        owner->warned = true;
        log_warning(LOG_STORAGE, "this node's range of ids is nearly used up: restart it");
    }
    if (next_id > range_end(owner)) {
        (void)snprintf(connection->trouble, sizeof connection->trouble,
                       "this node's range of ids is used up: restart it");
        return ERR_FULL;
    }
    return ERR_OK;
}
