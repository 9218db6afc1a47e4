/*
 * sql_priv: what the files of the SQL provider share: queries, and connections to databases.
 *
 * Owns      struct sql_query: a text with its values taken out. struct sql_connection: private to
 *           sql_mysql.c and sql_sqlite.c, which put this structure first in their own.
 * Thread    sql_connection: one at a time.
 * Errors    ERR_UNAVAILABLE: not reachable, lost, or too slow. ERR_IO: anything else the database
 *           says. ERR_RANGE: a value that is too long. ERR_STOPPED: nobody waits any more. All but
 *           the last with the database's words in `trouble`, which never quote values.
 */
#ifndef PULSE_NODE_AUTH_SQL_PRIV_H
#define PULSE_NODE_AUTH_SQL_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "storage/config.h"
#include "storage/mysql_url.h"

/* ---- queries --------------------------------------------------------------------------------- */

#define SQL_VALUES_MAX 16u

enum sql_value { SQL_USERNAME, SQL_CLIENT_ID, SQL_VALUE_COUNT };

/* A query whose %u and %c have become parameters: a value is never part of its text. */
struct sql_query {
    char *text; /* NULL: there is no such query */
    enum sql_value values[SQL_VALUES_MAX];
    size_t value_count;
};

/* Reads a query of the configuration, in which %% is a percent sign; `option` is its name for
 * errors. End with sql_query_fini. */
must_check enum err sql_query_read(struct sql_query *query, const char *text, const char *option,
                                   struct text *error);
void sql_query_fini(struct sql_query *query); /* a zeroed one may be ended, too */

/* ---- connections ----------------------------------------------------------------------------- */

/* The query for the user, and that for the access rules. */
enum sql_purpose { SQL_USER, SQL_RULES, SQL_PURPOSE_COUNT };

#define SQL_COLUMNS_MAX 3u
#define SQL_COLUMN_BYTES_MAX 65535u

/* A row; its values are borrowed for the call. `data` is NULL for SQL's NULL. */
struct sql_row {
    struct slice columns[SQL_COLUMNS_MAX];
    size_t count;
};

/* Not ERR_OK ends the reading and is returned. */
typedef enum err (*sql_row_fn)(void *context, const struct sql_row *row);

/* How long to wait: until the deadline, and hardly longer than somebody waits for it. */
struct sql_patience {
    uint64_t deadline_ms; /* monotonic */
    const atomic_bool *cancelled;
};

/* Is there time left? ERR_UNAVAILABLE, ERR_STOPPED: no. */
enum err sql_patience_left(const struct sql_patience *patience);

/* What is asked. */
struct sql_question {
    enum sql_purpose purpose;
    struct slice values[SQL_VALUE_COUNT];
    struct sql_patience patience;
};

struct sql_connection;

struct sql_connection_type {
    /* Connects if needed, asks, and gives each row. */
    enum err (*ask)(struct sql_connection *connection, const struct sql_question *question,
                    sql_row_fn take, void *context, struct text *trouble);
    void (*destroy)(struct sql_connection *connection);
};

struct sql_connection {
    const struct sql_connection_type *type;
    const struct sql_query *queries; /* SQL_PURPOSE_COUNT, borrowed */
};

/* Where the server is, and how it is spoken to. */
struct sql_mysql_settings {
    struct mysql_url url;
    enum storage_mysql_tls tls;
    char *tls_ca; /* NULL: the system's */
};

/* Opens nothing yet. `settings` are borrowed until it is destroyed. */
struct sql_connection *sql_mysql_create(const struct sql_mysql_settings *settings,
                                        const struct sql_query *queries);
/* Once, before the first connection. */
must_check enum err sql_mysql_init(void);

/* `path` is borrowed until it is destroyed. */
struct sql_connection *sql_sqlite_create(const char *path, const struct sql_query *queries);

#endif
