#include "storage/sqlite_sweep.h"

#include "base/mem.h"

#define PORTION_ROWS 64      /* removed at once, of any size */
#define PORTION_SESSIONS 256 /* looked at */
#define PORTION_PAGES "256"  /* given back to the file system */
#define FREE_PAGES_KEPT 4096 /* 16 MiB */
#define INTERVAL_MS (3600u * 1000)

static const char expired_sql[] =
    "DELETE FROM retained_messages WHERE id IN (SELECT id FROM retained_messages"
    " WHERE expires_at_ms BETWEEN 0 AND ?1 ORDER BY expires_at_ms LIMIT 64)";

/* The next session that has rows, and whether it is there. Jumps from session to session. */
#define NEXT_SQL(table)                                                              \
    "SELECT session, EXISTS (SELECT 1 FROM sessions WHERE id = session) FROM " table \
    " WHERE session > ?1 ORDER BY session LIMIT 1"
static const char *const next_sql[] = {NEXT_SQL("subscriptions"), NEXT_SQL("wills"),
                                       NEXT_SQL("queue"), NEXT_SQL("inbound_qos2")};
#define TABLES ARRAY_COUNT(next_sql)

struct sqlite_sweep {
    struct sqlite_db *db;
    sqlite3_stmt *expired;
    sqlite3_stmt *next[TABLES];
    size_t table;      /* that is being looked through; TABLES: none until `again_ms` */
    int64_t after;     /* this session, in it */
    uint64_t again_ms; /* when to begin anew */
    struct sqlite_unused *unused;
};

enum err sqlite_sweep_open(struct sqlite_db *db, struct sqlite_unused *unused,
                           struct sqlite_sweep **out)
{
    struct sqlite_sweep *sweep = mem_alloc(sizeof(*sweep));
    *sweep = (struct sqlite_sweep){.db = db, .unused = unused, .after = INT64_MIN};
    enum err err = sqlite_db_prepare(db, expired_sql, &sweep->expired);
    for (size_t i = 0; i < TABLES && err == ERR_OK; i++) {
        err = sqlite_db_prepare(db, next_sql[i], &sweep->next[i]);
    }
    if (err != ERR_OK) {
        sqlite_sweep_close(sweep);
        return err;
    }
    *out = sweep;
    return ERR_OK;
}

void sqlite_sweep_close(struct sqlite_sweep *sweep)
{
    if (sweep == NULL) {
        return;
    }
    sqlite3_finalize(sweep->expired);
    for (size_t i = 0; i < TABLES; i++) {
        sqlite3_finalize(sweep->next[i]);
    }
    mem_free(sweep);
}

/* ---- portions -------------------------------------------------------------------------------- */

static enum err remove_expired(struct sqlite_sweep *sweep, uint64_t now_ms, bool *more)
{
    int code = sqlite3_bind_int64(sweep->expired, 1, (sqlite3_int64)now_ms);
    if (code == SQLITE_OK) {
        code = sqlite3_step(sweep->expired);
    }
    if (code == SQLITE_DONE) {
        *more = *more || sqlite3_changes(sweep->db->handle) == PORTION_ROWS;
    }
    int reset = sqlite3_reset(sweep->expired);
    return reset == SQLITE_OK ? ERR_OK
                              : sqlite_db_error(sweep->db, reset, "remove expired messages");
}

static enum err commit_or_undo(struct sqlite_write *write, enum err err)
{
    if (err == ERR_OK) {
        err = sqlite_write_commit(write);
    }
    if (err != ERR_OK) {
        sqlite_write_rollback(write);
    }
    return err;
}

static enum err remove_unused(struct sqlite_sweep *sweep, struct sqlite_write *write, bool *more)
{
    struct sqlite_unused *unused = sweep->unused;
    if (unused->count == 0) {
        return ERR_OK;
    }
    enum err err = sqlite_write_begin(write);
    size_t left = unused->count;
    for (size_t i = 0; i < PORTION_ROWS && left > 0 && err == ERR_OK; i++) {
        left--;
        err = sqlite_write_operation(write, &(struct operation){.type = OPERATION_MESSAGE_DROP,
                                                                .message = unused->ids[left]});
    }
    err = commit_or_undo(write, err);
    if (err == ERR_OK) {
        unused->count = left;
        *more = *more || left > 0;
    }
    return err;
}

static enum err drop_session(struct sqlite_write *write, int64_t session)
{
    enum err err = sqlite_write_begin(write);
    if (err == ERR_OK) {
        err = sqlite_write_operation(write, &(struct operation){.type = OPERATION_SESSION_DROP,
                                                                .session = (uint64_t)session});
    }
    return commit_or_undo(write, err);
}

/* One session of one table. */
static enum err look_at_session(struct sqlite_sweep *sweep, struct sqlite_write *write)
{
    sqlite3_stmt *next = sweep->next[sweep->table];
    int code = sqlite3_bind_int64(next, 1, sweep->after);
    code = code == SQLITE_OK ? sqlite3_step(next) : code;
    bool found = code == SQLITE_ROW;
    int64_t session = found ? sqlite3_column_int64(next, 0) : 0;
    bool exists = found && sqlite3_column_int(next, 1) != 0;
    code = sqlite3_reset(next);
    if (code != SQLITE_OK) {
        return sqlite_db_error(sweep->db, code, "look for rows of sessions that are gone");
    }
    if (!found) {
        sweep->table++;
        sweep->after = INT64_MIN;
        return ERR_OK;
    }
    enum err err = exists ? ERR_OK : drop_session(write, session);
    sweep->after = err == ERR_OK ? session : sweep->after;
    return err;
}

static enum err remove_orphans(struct sqlite_sweep *sweep, struct sqlite_write *write,
                               uint64_t now_ms, bool *more)
{
    if (sweep->table == TABLES && now_ms >= sweep->again_ms) {
        sweep->table = 0;
    }
    if (sweep->table == TABLES) {
        return ERR_OK;
    }
    enum err err = ERR_OK;
    for (size_t i = 0; i < PORTION_SESSIONS && sweep->table < TABLES && err == ERR_OK; i++) {
        err = look_at_session(sweep, write);
    }
    sweep->again_ms = now_ms + INTERVAL_MS;
    *more = *more || (err == ERR_OK && sweep->table < TABLES);
    return err;
}

/* Free pages are used again; but what a burst of messages took is given back. */
static enum err shrink_file(struct sqlite_sweep *sweep, bool *more)
{
    int64_t free_pages = 0;
    int64_t pages = 0;
    enum err err = sqlite_db_number(sweep->db, "PRAGMA freelist_count", &free_pages);
    if (err == ERR_OK && free_pages > FREE_PAGES_KEPT) {
        err = sqlite_db_number(sweep->db, "PRAGMA page_count", &pages);
    }
    if (err != ERR_OK || free_pages <= FREE_PAGES_KEPT || free_pages < pages / 2) {
        return err;
    }
    *more = true;
    return sqlite_db_exec(sweep->db, "PRAGMA incremental_vacuum(" PORTION_PAGES ")");
}

enum err sqlite_sweep_portion(struct sqlite_sweep *sweep, struct sqlite_write *write,
                              uint64_t now_ms, bool *more)
{
    *more = false;
    enum err err = remove_expired(sweep, now_ms, more);
    if (err == ERR_OK) {
        err = remove_unused(sweep, write, more);
    }
    if (err == ERR_OK) {
        err = remove_orphans(sweep, write, now_ms, more);
    }
    return err == ERR_OK && !*more ? shrink_file(sweep, more) : err;
}
