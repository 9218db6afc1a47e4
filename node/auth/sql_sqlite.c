#include <limits.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/auth/sql_priv.h"

/* Steps of SQLite's machine between two looks at the time: some microseconds. */
#define STEPS_PER_LOOK 1000
#define BUSY_PAUSE_US 2000

struct sqlite_connection {
    struct sql_connection base;
    const char *path;
    sqlite3 *handle; /* NULL: not open */
    sqlite3_stmt *statements[SQL_PURPOSE_COUNT];
    dev_t device; /* of the file that is open */
    ino_t inode;
    const struct sql_patience *patience; /* of the question that is being asked */
};

/* ---- opening --------------------------------------------------------------------------------- */

static void close_file(struct sqlite_connection *connection)
{
    for (size_t i = 0; i < SQL_PURPOSE_COUNT; i++) {
        (void)sqlite3_finalize(connection->statements[i]); /* gives its latest error again */
        connection->statements[i] = NULL;
    }
    (void)sqlite3_close(connection->handle); /* all statements are ended */
    connection->handle = NULL;
}

/* What SQLite said to `code`. */
static enum err failed(struct sqlite_connection *connection, int code, struct text *trouble)
{
    if (code == SQLITE_INTERRUPT) { /* by look_at_time */
        text_add(trouble, "the query took too long");
        return sql_patience_left(connection->patience);
    }
    text_add(trouble, connection->handle != NULL ? sqlite3_errmsg(connection->handle)
                                                 : sqlite3_errstr(code));
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_NOMEM:
        return ERR_UNAVAILABLE;
    default:
        return ERR_IO;
    }
}

static int look_at_time(void *context)
{
    const struct sqlite_connection *connection = context;
    return sql_patience_left(connection->patience) != ERR_OK;
}

/* Somebody writes: we wait as long as the question may take. */
static int wait_for_writer(void *context, int count)
{
    (void)count;
    if (look_at_time(context)) {
        return 0;
    }
    (void)usleep(BUSY_PAUSE_US); /* a signal makes it shorter: no harm */
    return 1;
}

static void set_up(struct sqlite_connection *connection)
{
    (void)sqlite3_busy_handler(connection->handle, wait_for_writer, connection); /* can't fail */
    sqlite3_progress_handler(connection->handle, STEPS_PER_LOOK, look_at_time, connection);
    (void)sqlite3_limit(connection->handle, SQLITE_LIMIT_LENGTH, 1024 * 1024); /* the old limit */
    (void)sqlite3_limit(connection->handle, SQLITE_LIMIT_ATTACHED, 0);
}

static enum err open_file(struct sqlite_connection *connection, const struct stat *status,
                          struct text *trouble)
{
    int code =
        sqlite3_open_v2(connection->path, &connection->handle,
                        SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK) {
        enum err err = failed(connection, code, trouble);
        close_file(connection);
        return err;
    }
    connection->device = status->st_dev;
    connection->inode = status->st_ino;
    set_up(connection);
    return ERR_OK;
}

/* Opens the file, also when another one has taken its place. */
static enum err see_to_file(struct sqlite_connection *connection, struct text *trouble)
{
    struct stat status;
    if (stat(connection->path, &status) != 0) {
        close_file(connection);
        text_add(trouble, "the database file can't be found");
        return ERR_UNAVAILABLE;
    }
    if (connection->handle != NULL && connection->device == status.st_dev &&
        connection->inode == status.st_ino) {
        return ERR_OK;
    }
    close_file(connection);
    return open_file(connection, &status, trouble);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static enum err prepare(struct sqlite_connection *connection, enum sql_purpose purpose,
                        struct text *trouble)
{
    sqlite3_stmt **statement = &connection->statements[purpose];
    if (*statement != NULL) {
        return ERR_OK;
    }
    const char *tail = "";
    int code = sqlite3_prepare_v3(connection->handle, connection->base.queries[purpose].text, -1,
                                  SQLITE_PREPARE_PERSISTENT, statement, &tail);
    if (code != SQLITE_OK) {
        return failed(connection, code, trouble);
    }
    if (*statement == NULL || tail[strspn(tail, " \t\r\n;")] != '\0') {
        text_add(trouble, "the query is not one statement");
        return ERR_IO;
    }
    if ((size_t)sqlite3_bind_parameter_count(*statement) !=
        connection->base.queries[purpose].value_count) {
        text_add(trouble, "the query has other values than %u and %c");
        return ERR_IO;
    }
    return ERR_OK;
}

static enum err bind(struct sqlite_connection *connection, const struct sql_question *question,
                     struct text *trouble)
{
    const struct sql_query *query = &connection->base.queries[question->purpose];
    sqlite3_stmt *statement = connection->statements[question->purpose];
    for (size_t i = 0; i < query->value_count; i++) {
        struct slice value = question->values[query->values[i]];
        const char *text = value.len > 0 ? (const char *)value.data : "";
        int code = sqlite3_bind_text(statement, (int)i + 1, text, (int)value.len, SQLITE_STATIC);
        if (code != SQLITE_OK) {
            return failed(connection, code, trouble);
        }
    }
    return ERR_OK;
}

static enum err read_row(sqlite3_stmt *statement, struct sql_row *row, struct text *trouble)
{
    size_t count = (size_t)sqlite3_column_count(statement);
    row->count = count < SQL_COLUMNS_MAX ? count : SQL_COLUMNS_MAX;
    for (size_t i = 0; i < row->count; i++) {
        const void *text = sqlite3_column_text(statement, (int)i);
        if (text == NULL && sqlite3_column_type(statement, (int)i) != SQLITE_NULL) {
            text_add(trouble, err_text(ERR_MEMORY));
            return ERR_MEMORY;
        }
        row->columns[i] = slice_of(text, (size_t)sqlite3_column_bytes(statement, (int)i));
        if (row->columns[i].len > SQL_COLUMN_BYTES_MAX) {
            text_add(trouble, "a value is too long");
            return ERR_RANGE;
        }
    }
    return ERR_OK;
}

static enum err give_rows(struct sqlite_connection *connection, sqlite3_stmt *statement,
                          sql_row_fn take, void *context, struct text *trouble)
{
    for (;;) {
        int code = sqlite3_step(statement);
        if (code == SQLITE_DONE) {
            return ERR_OK;
        }
        if (code != SQLITE_ROW) {
            return failed(connection, code, trouble);
        }
        struct sql_row row;
        enum err err = read_row(statement, &row, trouble);
        if (err == ERR_OK) {
            err = take(context, &row);
        }
        if (err != ERR_OK) {
            return err;
        }
    }
}

static enum err ask_open(struct sqlite_connection *connection, const struct sql_question *question,
                         sql_row_fn take, void *context, struct text *trouble)
{
    enum err err = see_to_file(connection, trouble);
    if (err == ERR_OK) {
        err = prepare(connection, question->purpose, trouble);
    }
    if (err != ERR_OK) {
        return err;
    }
    sqlite3_stmt *statement = connection->statements[question->purpose];
    err = bind(connection, question, trouble);
    if (err == ERR_OK) {
        err = give_rows(connection, statement, take, context, trouble);
    }
    (void)sqlite3_reset(statement);          /* gives the error of the latest step again */
    (void)sqlite3_clear_bindings(statement); /* can't fail */
    return err;
}

static enum err connection_ask(struct sql_connection *base, const struct sql_question *question,
                               sql_row_fn take, void *context, struct text *trouble)
{
    struct sqlite_connection *connection = container_of(base, struct sqlite_connection, base);
    connection->patience = &question->patience;
    enum err err = ask_open(connection, question, take, context, trouble);
    if (err == ERR_IO) {
        close_file(connection); /* a damaged file may have been put right when we ask again */
    }
    connection->patience = NULL;
    return err;
}

static void connection_destroy(struct sql_connection *base)
{
    struct sqlite_connection *connection = container_of(base, struct sqlite_connection, base);
    close_file(connection);
    mem_free(connection);
}

static const struct sql_connection_type sqlite_type = {
    .ask = connection_ask,
    .destroy = connection_destroy,
};

struct sql_connection *sql_sqlite_create(const char *path, const struct sql_query *queries)
{
    struct sqlite_connection *connection = mem_alloc(sizeof(*connection));
    connection->base = (struct sql_connection){.type = &sqlite_type, .queries = queries};
    connection->path = path;
    return &connection->base;
}
