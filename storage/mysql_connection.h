/*
 * mysql_connection: one connection to a MySQL or MariaDB server, with the session settings that our
 * SQL relies on. Everything of the client library is behind this header.
 *
 * A connection that is lost, or that turned out to lead to a server that only reads (the old
 * primary after a failover), closes itself; mysql_connection_open makes it anew, with the host's
 * name looked up again.
 *
 * After the deadline of the settings a server that doesn't answer at once counts as lost.
 *
 * Owns      the library's handle. The settings are borrowed.
 * Thread    one at a time; Connector/C keeps nothing per thread.
 * Errors    ERR_UNAVAILABLE: not reachable, lost, too slow, read-only, or a conflict that may be
 *           tried again (`conflict`). ERR_FULL: no room on the server's disk. ERR_INVALID: the
 *           server knows us and refuses. ERR_IO: anything else it says. `trouble` has its words.
 */
#ifndef PULSE_STORAGE_MYSQL_CONNECTION_H
#define PULSE_STORAGE_MYSQL_CONNECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "storage/config.h"
#include "storage/mysql_sql.h"
#include "storage/mysql_url.h"
#include "storage/stats.h"

/* Columns of a row that mysql_connection_rows gives. */
#define MYSQL_COLUMNS_MAX 12u

struct st_mysql;

/* When all waiting for the server ends. Set by any thread, once, also while another one waits. */
struct mysql_deadline {
    _Atomic uint64_t mono_ms; /* 0: not set */
    int set;                  /* an eventfd, readable from then on; -1: there is none */
};

void mysql_deadline_init(struct mysql_deadline *deadline);
void mysql_deadline_fini(struct mysql_deadline *deadline);
void mysql_deadline_set(struct mysql_deadline *deadline, uint64_t mono_ms);

struct mysql_settings {
    const struct mysql_deadline *deadline;
    const struct storage_config *config;
    struct mysql_url url;
    struct storage_stats *stats;
};

struct mysql_connection {
    const struct mysql_settings *settings;
    struct st_mysql *client;   /* NULL: not connected */
    uint64_t packet_bytes_max; /* max_allowed_packet of the server */
    uint64_t changed;          /* rows that the last statement of mysql_connection_run changed */
    unsigned code;             /* of the last error; the server's or the library's number */
    bool conflict;             /* the last error was a deadlock or a lock that took too long */
    char trouble[160];
};

/* A row; its values are borrowed until the next one. `data` is NULL for SQL's NULL. */
struct mysql_row {
    struct slice columns[MYSQL_COLUMNS_MAX];
    size_t count;
};

/* Not ERR_OK ends the reading and is returned. */
typedef enum err (*mysql_row_fn)(void *context, const struct mysql_row *row);

void mysql_connection_init(struct mysql_connection *connection,
                           const struct mysql_settings *settings);

/* Connects and makes the session's settings. Nothing happens when it is connected. */
must_check enum err mysql_connection_open(struct mysql_connection *connection);

/* What was not committed is rolled back. Nothing happens when it is not connected. */
void mysql_connection_close(struct mysql_connection *connection);

/* The server's number of this connection; 0: not connected. */
uint64_t mysql_connection_id(const struct mysql_connection *connection);

/* Runs one statement, or several with `;` between them up to the first that fails; results are
 * thrown away. An open transaction is rolled back after an error. */
must_check enum err mysql_connection_run(struct mysql_connection *connection, const char *sql);
must_check enum err mysql_connection_run_sql(struct mysql_connection *connection,
                                             const struct sql *sql);

/* Runs a query and gives each row as it comes in. No other call while it runs. */
must_check enum err mysql_connection_rows(struct mysql_connection *connection,
                                          const struct sql *sql, void *context, mysql_row_fn take);

/* Runs a query for the first `count` numbers of its only row; NULL is 0. `*found` is false and
 * `values` untouched when there is no row. */
must_check enum err mysql_connection_numbers(struct mysql_connection *connection,
                                             const struct sql *sql, uint64_t *values, size_t count,
                                             bool *found);

/* The number that a column holds; 0 for NULL or anything that is no number. */
uint64_t mysql_number(struct slice column);

/* Seconds that one statement may take. */
unsigned mysql_timeout_s(const struct storage_config *config);

#endif
