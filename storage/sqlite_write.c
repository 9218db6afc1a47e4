#include "storage/sqlite_write.h"

#include <stdio.h>

#include "base/mem.h"

/*
 * Each statement may be applied twice, and finds nothing to do where there is nothing. Numbers are
 * signed in SQLite: UINT64_MAX ("never", or the end of a range) arrives as -1.
 */
static const struct {
    enum operation_type type;
    const char *sql;
} statements[] = {
    {OPERATION_SESSION_PUT,
     "INSERT INTO sessions (id, client_id, expiry_s, offline_since_ms, sent_to, owner, epoch)"
     " VALUES (?1, ?2, ?3, ?4, ?5, :owner, 0) ON CONFLICT (id) DO UPDATE SET client_id = ?2,"
     " expiry_s = ?3, offline_since_ms = ?4, sent_to = ?5, owner = :owner"},
    {OPERATION_SESSION_DROP, "DELETE FROM sessions WHERE id = ?1"},
    {OPERATION_SESSION_DROP, "DELETE FROM subscriptions WHERE session = ?1"},
    {OPERATION_SESSION_DROP, "DELETE FROM wills WHERE session = ?1"},
    {OPERATION_SESSION_DROP, "DELETE FROM queue WHERE session = ?1"},
    {OPERATION_SESSION_DROP, "DELETE FROM inbound_qos2 WHERE session = ?1"},
    {OPERATION_SUBSCRIPTION_PUT,
     "INSERT OR REPLACE INTO subscriptions (session, filter, qos, no_local, retain_as_published,"
     " retain_handling, subscription_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"},
    {OPERATION_SUBSCRIPTION_DROP, "DELETE FROM subscriptions WHERE session = ?1 AND filter = ?2"},
    {OPERATION_WILL_PUT,
     "INSERT OR REPLACE INTO wills (session, message, delay_s, message_expiry_s)"
     " VALUES (?1, ?2, ?3, iif(?4, ?5, NULL))"},
    {OPERATION_WILL_DROP, "DELETE FROM wills WHERE session = ?1"},
    {OPERATION_MESSAGE_PUT,
     "INSERT OR REPLACE INTO messages (id, topic, properties, payload, qos, retain, expires_at_ms,"
     " publisher) VALUES (?1, ?2, ?3, ?4, ?5, ?6, nullif(?7, -1), ?8)"},
    {OPERATION_MESSAGE_DROP, "DELETE FROM messages WHERE id = ?1"},
    {OPERATION_QUEUE_PUSH,
     "INSERT OR REPLACE INTO queue (session, position, message, qos, retain, shared, released,"
     " subscription_ids) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"},
    {OPERATION_QUEUE_RELEASE,
     "UPDATE queue SET released = 1, message = 0 WHERE session = ?1 AND position = ?2"},
    {OPERATION_QUEUE_POP, "DELETE FROM queue WHERE session = ?1 AND position"
                          " BETWEEN ?2 AND iif(?3 = -1, 9223372036854775807, ?3)"},
    {OPERATION_INBOUND_QOS2_PUT,
     "INSERT OR REPLACE INTO inbound_qos2 (session, packet_id) VALUES (?1, ?2)"},
    {OPERATION_INBOUND_QOS2_DROP, "DELETE FROM inbound_qos2 WHERE session = ?1 AND packet_id = ?2"},
    {OPERATION_RETAINED_PUT,
     "INSERT INTO retained_messages (topic, properties, payload, qos, expires_at_ms, publisher)"
     " VALUES (?1, ?2, ?3, ?4, nullif(?5, -1), ?6) ON CONFLICT (topic) DO UPDATE SET"
     " properties = ?2, payload = ?3, qos = ?4, expires_at_ms = nullif(?5, -1), publisher = ?6"},
    {OPERATION_RETAINED_DROP, "DELETE FROM retained_messages WHERE topic = ?1"},
};

static const char begin_sql[] = "BEGIN IMMEDIATE";
static const char commit_sql[] = "COMMIT";
static const char rollback_sql[] = "ROLLBACK";
static const char meta_sql[] = "INSERT INTO meta (name, value) VALUES (?1, ?2)"
                               " ON CONFLICT (name) DO UPDATE SET value = max(value, ?2)";

/* Invariant: the statements of an operation stand together, from `first` on. */
struct sqlite_write {
    struct sqlite_db *db;
    sqlite3_stmt *operations[ARRAY_COUNT(statements)];
    uint8_t first[OPERATION_TYPES];
    sqlite3_stmt *begin;
    sqlite3_stmt *commit;
    sqlite3_stmt *rollback;
    sqlite3_stmt *meta;
    char *ids; /* the subscription identifiers of one operation, as text */
    size_t ids_size;
};

/* ---- life ------------------------------------------------------------------------------------ */

static enum err prepare_operation(struct sqlite_write *write, size_t index, const char *owner)
{
    sqlite3_stmt **statement = &write->operations[index];
    enum err err = sqlite_db_prepare(write->db, statements[index].sql, statement);
    if (err != ERR_OK) {
        return err;
    }
    int parameter = sqlite3_bind_parameter_index(*statement, ":owner");
    int code = parameter == 0 ? SQLITE_OK
                              : sqlite3_bind_text(*statement, parameter, owner != NULL ? owner : "",
                                                  -1, SQLITE_TRANSIENT);
    return code == SQLITE_OK ? ERR_OK : sqlite_db_error(write->db, code, "prepare");
}

enum err sqlite_write_open(struct sqlite_db *db, const char *owner, struct sqlite_write **out)
{
    struct sqlite_write *write = mem_alloc(sizeof(*write));
    write->db = db;
    enum err err = sqlite_db_prepare(db, begin_sql, &write->begin);
    err = err == ERR_OK ? sqlite_db_prepare(db, commit_sql, &write->commit) : err;
    err = err == ERR_OK ? sqlite_db_prepare(db, rollback_sql, &write->rollback) : err;
    err = err == ERR_OK ? sqlite_db_prepare(db, meta_sql, &write->meta) : err;
    for (size_t i = ARRAY_COUNT(statements); i > 0 && err == ERR_OK; i--) {
        write->first[statements[i - 1].type] = (uint8_t)(i - 1);
        err = prepare_operation(write, i - 1, owner);
    }
    if (err != ERR_OK) {
        sqlite_write_close(write);
        return err;
    }
    *out = write;
    return ERR_OK;
}

void sqlite_write_close(struct sqlite_write *write)
{
    if (write == NULL) {
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(statements); i++) {
        sqlite3_finalize(write->operations[i]);
    }
    sqlite3_finalize(write->begin);
    sqlite3_finalize(write->commit);
    sqlite3_finalize(write->rollback);
    sqlite3_finalize(write->meta);
    mem_free(write->ids);
    mem_free(write);
}

/* ---- binding --------------------------------------------------------------------------------- */

/* "7,12", in the buffer that `write` keeps. */
static int bind_ids(struct sqlite_write *write, sqlite3_stmt *statement, int parameter,
                    const struct operation *operation)
{
    size_t count = operation->subscription_id_count;
    if (count == 0) {
        return sqlite3_bind_null(statement, parameter);
    }
    size_t size = count * sizeof("4294967295,");
    if (size > write->ids_size) {
        char *ids = mem_try_resize(write->ids, size);
        if (ids == NULL) {
            return SQLITE_NOMEM;
        }
        write->ids = ids;
        write->ids_size = size;
    }
    int len = 0;
    for (size_t i = 0; i < count; i++) {
        len += sprintf(write->ids + len, i == 0 ? "%u" : ",%u", operation->subscription_ids[i]);
    }
    return sqlite3_bind_text(statement, parameter, write->ids, len, SQLITE_STATIC);
}

/* NULL as an address would be a NULL in the table. */
static const void *not_null(struct slice bytes)
{
    return bytes.data != NULL ? (const void *)bytes.data : "";
}

/* What is bound stays with the caller, and is looked at until the statement was stepped. */
static int bind_field(struct sqlite_write *write, sqlite3_stmt *statement, int parameter,
                      const struct operation *operation, const struct operation_field *field)
{
    const void *at = (const uint8_t *)operation + field->offset;
    const struct slice *bytes = at;
    switch (field->kind) {
    case OPERATION_U8:
        return sqlite3_bind_int(statement, parameter, *(const uint8_t *)at);
    case OPERATION_U16:
        return sqlite3_bind_int(statement, parameter, *(const uint16_t *)at);
    case OPERATION_U32:
        return sqlite3_bind_int64(statement, parameter, *(const uint32_t *)at);
    case OPERATION_U64:
        return sqlite3_bind_int64(statement, parameter, (sqlite3_int64) * (const uint64_t *)at);
    case OPERATION_BOOL:
        return sqlite3_bind_int(statement, parameter, *(const bool *)at);
    case OPERATION_TEXT:
        return sqlite3_bind_text64(statement, parameter, not_null(*bytes), bytes->len,
                                   SQLITE_STATIC, SQLITE_UTF8);
    case OPERATION_BYTES:
        return sqlite3_bind_blob64(statement, parameter, not_null(*bytes), bytes->len,
                                   SQLITE_STATIC);
    case OPERATION_IDS:
        return bind_ids(write, statement, parameter, operation);
    }
    return SQLITE_MISUSE;
}

static int run(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    int reset = sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : (reset != SQLITE_OK ? reset : code);
}

static int run_operation(struct sqlite_write *write, size_t index,
                         const struct operation *operation)
{
    const struct operation_info *info = operation_info(operation->type);
    sqlite3_stmt *statement = write->operations[index];
    for (size_t i = 0; i < info->field_count; i++) {
        int code = bind_field(write, statement, (int)i + 1, operation, &info->fields[i]);
        if (code != SQLITE_OK) {
            return code;
        }
    }
    return run(statement);
}

/* ---- transactions ---------------------------------------------------------------------------- */

static enum err result(struct sqlite_write *write, int code, const char *doing)
{
    return code == SQLITE_OK ? ERR_OK : sqlite_db_error(write->db, code, doing);
}

enum err sqlite_write_begin(struct sqlite_write *write)
{
    return result(write, run(write->begin), begin_sql);
}

enum err sqlite_write_operation(struct sqlite_write *write, const struct operation *operation)
{
    ASSERT(operation->type < OPERATION_TYPES);
    size_t i = write->first[operation->type];
    int code = SQLITE_OK;
    while (i < ARRAY_COUNT(statements) && statements[i].type == operation->type &&
           code == SQLITE_OK) {
        code = run_operation(write, i, operation);
        i++;
    }
    return result(write, code, operation_info(operation->type)->name);
}

enum err sqlite_write_meta(struct sqlite_write *write, const char *name, uint64_t value)
{
    int code = sqlite3_bind_text(write->meta, 1, name, -1, SQLITE_STATIC);
    if (code == SQLITE_OK) {
        code = sqlite3_bind_int64(write->meta, 2, (sqlite3_int64)value);
    }
    return result(write, code == SQLITE_OK ? run(write->meta) : code, name);
}

enum err sqlite_write_commit(struct sqlite_write *write)
{
    return result(write, run(write->commit), commit_sql);
}

void sqlite_write_rollback(struct sqlite_write *write)
{
    if (sqlite3_get_autocommit(write->db->handle) == 0) {
        (void)run(write->rollback); /* fails only when SQLite has rolled back by itself */
    }
}
