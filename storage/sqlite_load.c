/*
 * Each table is read once, in the order of its key, and the queue twice: at first only for the
 * messages that it refers to, so that messages without a reference can be left out without an index
 * from messages to queues, which each push would have to pay for.
 *
 * CROSS JOIN, to SQLite, means: in this order. Outer sessions, inner rows by their key: so rows
 * without a session don't come, and nothing has to be sorted.
 */
#include "storage/sqlite_load.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite_write.h"

/* The columns stand as the fields in operations.def. NULL as a time is "never": -1, UINT64_MAX. */
static const char sessions_sql[] =
    "SELECT id, client_id, expiry_s, offline_since_ms, sent_to FROM sessions ORDER BY id";
static const char subscriptions_sql[] =
    "SELECT session, filter, qos, no_local, retain_as_published, retain_handling, subscription_id"
    " FROM sessions AS s CROSS JOIN subscriptions ON session = s.id";
static const char inbound_sql[] = "SELECT session, packet_id"
                                  " FROM sessions AS s CROSS JOIN inbound_qos2 ON session = s.id";
static const char references_sql[] =
    "SELECT message FROM sessions AS s CROSS JOIN queue ON session = s.id WHERE released = 0"
    " UNION ALL SELECT message FROM sessions AS s CROSS JOIN wills ON session = s.id";
static const char messages_sql[] =
    "SELECT id, topic, properties, payload, qos, retain,"
    " ifnull(expires_at_ms, -1), publisher FROM messages WHERE id > 0 ORDER BY id";
static const char wills_sql[] =
    "SELECT session, message, delay_s, message_expiry_s IS NOT NULL, ifnull(message_expiry_s, 0)"
    " FROM sessions AS s CROSS JOIN wills ON session = s.id";
static const char queue_sql[] =
    "SELECT session, position, message, qos, retain, shared, released, subscription_ids"
    " FROM sessions AS s CROSS JOIN queue ON session = s.id ORDER BY s.id, position";
static const char retained_sql[] =
    "SELECT topic, properties, payload, qos, ifnull(expires_at_ms, -1), publisher"
    " FROM retained_messages ORDER BY id";

/* An array of ids that grows; what comes from a file may be more than there is memory for. */
struct id_array {
    uint64_t *ids;
    size_t count;
    size_t cap;
};

struct loading {
    struct sqlite_db *db;
    const struct operation_sink *sink;
    struct id_array referenced; /* sorted, each once; later those that are there */
    struct id_array unused;
    uint32_t *subscription_ids; /* of one operation */
    size_t subscription_ids_cap;
    size_t next;  /* in `referenced`, while messages are read */
    size_t found; /* of `referenced`, so far */
};

static enum err id_array_add(struct id_array *array, uint64_t id)
{
    if (array->count == array->cap) {
        size_t cap = array->cap == 0 ? 1024 : array->cap * 2;
        uint64_t *ids = mem_try_resize(array->ids, cap * sizeof(*ids));
        if (ids == NULL) {
            return ERR_MEMORY;
        }
        array->ids = ids;
        array->cap = cap;
    }
    array->ids[array->count++] = id;
    return ERR_OK;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static void id_array_sort(struct id_array *array)
{
    if (array->count == 0) {
        return;
    }
    qsort(array->ids, array->count, sizeof(array->ids[0]), compare_ids);
    size_t kept = 1;
    for (size_t i = 1; i < array->count; i++) {
        if (array->ids[i] != array->ids[kept - 1]) {
            array->ids[kept++] = array->ids[i];
        }
    }
    array->count = kept;
}

static bool id_array_has(const struct id_array *array, uint64_t id)
{
    return array->count > 0 &&
           bsearch(&id, array->ids, array->count, sizeof(array->ids[0]), compare_ids) != NULL;
}

/* ---- one row --------------------------------------------------------------------------------- */

/* Takes the number at the start of `text`, and the comma behind it. */
static bool take_id(struct slice *text, uint32_t *id)
{
    uint64_t value = 0;
    size_t at = 0;
    for (; at < text->len && isdigit(text->data[at]) && value <= UINT32_MAX; at++) {
        value = value * 10 + (uint64_t)(text->data[at] - '0');
    }
    bool ends = at == text->len || (text->data[at] == ',' && at + 1 < text->len);
    if (at == 0 || value > UINT32_MAX || !ends) {
        return false;
    }
    *id = (uint32_t)value;
    *text = slice_from(*text, at == text->len ? at : at + 1);
    return true;
}

/* "7,12" */
static bool read_ids(struct loading *loading, struct slice text, struct operation *operation)
{
    if (text.len > loading->subscription_ids_cap) { /* more than enough: each has a digit */
        uint32_t *ids = mem_try_resize(loading->subscription_ids, text.len * sizeof(*ids));
        if (ids == NULL) {
            return false;
        }
        loading->subscription_ids = ids;
        loading->subscription_ids_cap = text.len;
    }
    size_t count = 0;
    while (text.len > 0) {
        if (!take_id(&text, &loading->subscription_ids[count])) {
            return false;
        }
        count++;
    }
    operation->subscription_ids = loading->subscription_ids;
    operation->subscription_id_count = count;
    return true;
}

/* False: a value that this program doesn't write. The only small numbers, qos and retain_handling,
 * go to 2. */
static bool read_field(struct loading *loading, sqlite3_stmt *row, int column,
                       const struct operation_field *field, struct operation *operation)
{
    void *at = (uint8_t *)operation + field->offset;
    if (field->kind == OPERATION_TEXT || field->kind == OPERATION_BYTES ||
        field->kind == OPERATION_IDS) {
        /* This order, as SQLite's documents say. Text comes as it is kept, in UTF-8. */
        const void *data = sqlite3_column_blob(row, column);
        struct slice bytes = slice_of(data, (size_t)sqlite3_column_bytes(row, column));
        if (field->kind == OPERATION_IDS) {
            return read_ids(loading, bytes, operation);
        }
        *(struct slice *)at = bytes;
        return field->kind == OPERATION_BYTES || (bytes.len > 0 && bytes.len <= UINT16_MAX);
    }
    uint64_t value = (uint64_t)sqlite3_column_int64(row, column);
    switch (field->kind) {
    case OPERATION_U8:
        *(uint8_t *)at = (uint8_t)value;
        return value <= 2;
    case OPERATION_U16:
        *(uint16_t *)at = (uint16_t)value;
        return value <= UINT16_MAX;
    case OPERATION_U32:
        *(uint32_t *)at = (uint32_t)value;
        return value <= UINT32_MAX;
    case OPERATION_U64:
        *(uint64_t *)at = value;
        return true;
    case OPERATION_BOOL:
        *(bool *)at = value != 0;
        return value <= 1;
    case OPERATION_TEXT:
    case OPERATION_BYTES:
    case OPERATION_IDS:
        break;
    }
    return false;
}

static enum err read_row(struct loading *loading, sqlite3_stmt *row, struct operation *operation)
{
    const struct operation_info *info = operation_info(operation->type);
    for (size_t i = 0; i < info->field_count; i++) {
        if (!read_field(loading, row, (int)i, &info->fields[i], operation)) {
            log_error(LOG_STORAGE, "the database has a row that can't be",
                      log_text("file", loading->db->path), log_text("kind", info->name),
                      log_text("column", info->fields[i].name),
                      log_int("key", sqlite3_column_int64(row, 0)));
            return ERR_DAMAGED;
        }
    }
    return ERR_OK;
}

/* ---- which rows ------------------------------------------------------------------------------ */

/*
 * Each answers whether to give the row, from its key and references alone: the rest of a row that
 * is left out isn't read. NULL: all.
 */
typedef bool (*wanted_fn)(struct loading *loading, sqlite3_stmt *row);

/* Messages come in the order of their ids, as `referenced` stands; what isn't there is taken out of
 * it on the way. */
static bool message_is_wanted(struct loading *loading, sqlite3_stmt *row)
{
    struct id_array *referenced = &loading->referenced;
    uint64_t id = (uint64_t)sqlite3_column_int64(row, 0);
    while (loading->next < referenced->count && referenced->ids[loading->next] < id) {
        loading->next++;
    }
    if (loading->next == referenced->count || referenced->ids[loading->next] != id) {
        /* Without the memory for it, it stays until the next start. */
        (void)id_array_add(&loading->unused, id);
        return false;
    }
    loading->next++;
    referenced->ids[loading->found++] = id;
    return true;
}

static bool will_is_wanted(struct loading *loading, sqlite3_stmt *row)
{
    return id_array_has(&loading->referenced, (uint64_t)sqlite3_column_int64(row, 1));
}

static bool entry_is_wanted(struct loading *loading, sqlite3_stmt *row)
{
    bool released = sqlite3_column_int64(row, 6) != 0;
    return released || id_array_has(&loading->referenced, (uint64_t)sqlite3_column_int64(row, 2));
}

/* ---- tables ---------------------------------------------------------------------------------- */

static enum err give_row(struct loading *loading, sqlite3_stmt *row, enum operation_type type)
{
    struct operation operation = {.type = type};
    enum err err = read_row(loading, row, &operation);
    return err == ERR_OK ? loading->sink->take(loading->sink->context, &operation) : err;
}

static enum err give_rows(struct loading *loading, const char *sql, enum operation_type type,
                          wanted_fn wanted)
{
    sqlite3_stmt *rows = NULL;
    enum err err = sqlite_db_prepare(loading->db, sql, &rows);
    if (err != ERR_OK) {
        return err;
    }
    int code = sqlite3_step(rows);
    while (code == SQLITE_ROW && err == ERR_OK) {
        if (wanted == NULL || wanted(loading, rows)) {
            err = give_row(loading, rows, type);
        }
        code = err == ERR_OK ? sqlite3_step(rows) : SQLITE_DONE;
    }
    if (code != SQLITE_DONE) {
        err = sqlite_db_error(loading->db, code, operation_info(type)->name);
    }
    sqlite3_finalize(rows);
    return err;
}

static enum err find_references(struct loading *loading)
{
    sqlite3_stmt *rows = NULL;
    enum err err = sqlite_db_prepare(loading->db, references_sql, &rows);
    if (err != ERR_OK) {
        return err;
    }
    int code = sqlite3_step(rows);
    while (code == SQLITE_ROW && err == ERR_OK) {
        err = id_array_add(&loading->referenced, (uint64_t)sqlite3_column_int64(rows, 0));
        code = err == ERR_OK ? sqlite3_step(rows) : SQLITE_DONE;
    }
    if (code != SQLITE_DONE) {
        err = sqlite_db_error(loading->db, code, "load references");
    }
    sqlite3_finalize(rows);
    id_array_sort(&loading->referenced);
    return err;
}

static enum err give_messages(struct loading *loading)
{
    enum err err = find_references(loading);
    if (err == ERR_OK) {
        err = give_rows(loading, messages_sql, OPERATION_MESSAGE_PUT, message_is_wanted);
    }
    loading->referenced.count = loading->found;
    return err;
}

static enum err give_all(struct loading *loading)
{
    enum err err = give_rows(loading, sessions_sql, OPERATION_SESSION_PUT, NULL);
    if (err == ERR_OK) {
        err = give_rows(loading, subscriptions_sql, OPERATION_SUBSCRIPTION_PUT, NULL);
    }
    if (err == ERR_OK) {
        err = give_rows(loading, inbound_sql, OPERATION_INBOUND_QOS2_PUT, NULL);
    }
    if (err == ERR_OK) {
        err = give_messages(loading);
    }
    if (err == ERR_OK) {
        err = give_rows(loading, wills_sql, OPERATION_WILL_PUT, will_is_wanted);
    }
    if (err == ERR_OK) {
        err = give_rows(loading, queue_sql, OPERATION_QUEUE_PUSH, entry_is_wanted);
    }
    if (err == ERR_OK) {
        err = give_rows(loading, retained_sql, OPERATION_RETAINED_PUT, NULL);
    }
    return err;
}

static enum err load_meta(struct sqlite_db *db, struct engine_loaded *loaded)
{
    int64_t last_seen = 0;
    int64_t next_id = 0;
    enum err err = sqlite_db_number(
        db, "SELECT ifnull((SELECT value FROM meta WHERE name = '" SQLITE_META_LAST_SEEN "'), 0)",
        &last_seen);
    if (err == ERR_OK) {
        err = sqlite_db_number(
            db, "SELECT ifnull((SELECT value FROM meta WHERE name = '" SQLITE_META_NEXT_ID "'), 1)",
            &next_id);
    }
    if (err == ERR_OK) {
        *loaded = (struct engine_loaded){.last_seen_ms = (uint64_t)last_seen,
                                         .next_id = (uint64_t)next_id};
    }
    return err;
}

/* One transaction: all that is given is of one moment, whatever a shell does meanwhile. */
enum err sqlite_load(struct sqlite_db *db, const struct operation_sink *sink,
                     struct engine_loaded *loaded, struct sqlite_unused *unused)
{
    struct loading loading = {.db = db, .sink = sink};
    enum err err = sqlite_db_exec(db, "BEGIN");
    if (err != ERR_OK) {
        return err;
    }
    err = load_meta(db, loaded);
    if (err == ERR_OK) {
        err = give_all(&loading);
    }
    if (err == ERR_MEMORY) {
        log_error(LOG_STORAGE, "there is not enough memory to load the database",
                  log_text("file", db->path));
    }
    (void)sqlite3_exec(db->handle, "COMMIT", NULL, NULL, NULL); /* nothing was written */
    mem_free(loading.referenced.ids);
    mem_free(loading.subscription_ids);
    *unused = (struct sqlite_unused){.ids = loading.unused.ids, .count = loading.unused.count};
    return err;
}
