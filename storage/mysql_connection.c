#include "storage/mysql_connection.h"

#include <errmsg.h>
#include <errno.h>
#include <limits.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* Methods of logging in: none that sends the password in clear text because a server asks for it.
 */
#define LOGIN_METHODS "mysql_native_password,caching_sha2_password,sha256_password,client_ed25519"

/*
 * A server gives up a connection that is silent for so long, and with it the locks that it holds:
 * the engine's life sign comes more often. It bounds how long a host that vanished keeps its
 * successor out.
 */
#define IDLE_S "60"

/* ---- errors ---------------------------------------------------------------------------------- */

enum fate {
    FATE_OTHER,     /* the statement failed, the connection is good */
    FATE_LOST,      /* the connection is gone, or of no use any more */
    FATE_CONFLICT,  /* another client was in the way */
    FATE_READ_ONLY, /* not the server to write to */
    FATE_FULL,      /* no room on its disk */
    FATE_REFUSED    /* we may not, or it isn't there */
};

/* Numbers that MySQL and MariaDB share, and some that the header of one of them doesn't name. */
static const struct {
    unsigned code;
    enum fate fate;
} fates[] = {
    {CR_CONNECTION_ERROR, FATE_LOST},
    {CR_CONN_HOST_ERROR, FATE_LOST},
    {CR_UNKNOWN_HOST, FATE_LOST},
    {CR_SERVER_GONE_ERROR, FATE_LOST},
    {CR_SERVER_LOST, FATE_LOST},
    {CR_SERVER_HANDSHAKE_ERR, FATE_LOST},
    {CR_SERVER_LOST_EXTENDED, FATE_LOST},
    {CR_SSL_CONNECTION_ERROR, FATE_LOST},
    {CR_MALFORMED_PACKET, FATE_LOST},
    {CR_COMMANDS_OUT_OF_SYNC, FATE_LOST},
    {CR_OUT_OF_MEMORY, FATE_LOST},
    {CR_NET_PACKET_TOO_LARGE, FATE_LOST},
    {ER_CON_COUNT_ERROR, FATE_LOST},
    {ER_OUT_OF_RESOURCES, FATE_LOST},
    {ER_UNKNOWN_COM_ERROR, FATE_LOST}, /* of a cluster's node that is not ready */
    {ER_SERVER_SHUTDOWN, FATE_LOST},
    {ER_NORMAL_SHUTDOWN, FATE_LOST},
    {ER_NET_PACKET_TOO_LARGE, FATE_LOST},
    {ER_NET_READ_ERROR, FATE_LOST},
    {ER_NET_READ_INTERRUPTED, FATE_LOST},
    {ER_TOO_MANY_USER_CONNECTIONS, FATE_LOST},
    {ER_QUERY_INTERRUPTED, FATE_LOST},
    {ER_CONNECTION_KILLED, FATE_LOST},
    {ER_HOST_IS_BLOCKED, FATE_LOST},
    {ER_STATEMENT_TIMEOUT, FATE_LOST},
    {ER_NET_ERROR_ON_WRITE, FATE_LOST},
    {ER_NET_WRITE_INTERRUPTED, FATE_LOST},
    {3169 /* MySQL: killed */, FATE_LOST},
    {4031 /* MySQL: silent for too long */, FATE_LOST},
    {ER_LOCK_WAIT_TIMEOUT, FATE_CONFLICT},
    {ER_LOCK_DEADLOCK, FATE_CONFLICT},
    {3101 /* MySQL: a group member had an earlier one */, FATE_CONFLICT},
    {ER_CHECKREAD, FATE_CONFLICT}, /* a row has changed since it was read */
    {ER_OPTION_PREVENTS_STATEMENT, FATE_READ_ONLY},
    {ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION, FATE_READ_ONLY},
    {1836 /* ER_READ_ONLY_MODE */, FATE_READ_ONLY},
    {ER_DISK_FULL, FATE_FULL},
    {ER_RECORD_FILE_FULL, FATE_FULL},
    {ER_ERROR_ON_WRITE, FATE_FULL},
    {ER_ACCESS_DENIED_ERROR, FATE_REFUSED},
    {ER_DBACCESS_DENIED_ERROR, FATE_REFUSED},
    {ER_BAD_DB_ERROR, FATE_REFUSED},
    {ER_TABLEACCESS_DENIED_ERROR, FATE_REFUSED},
    {ER_HOST_NOT_PRIVILEGED, FATE_REFUSED},
    {3159 /* MySQL: only with TLS */, FATE_REFUSED},
    {ER_ACCESS_DENIED_NO_PASSWORD_ERROR, FATE_REFUSED},
    {CR_AUTH_PLUGIN_CANNOT_LOAD, FATE_REFUSED},
    {CR_AUTH_PLUGIN_ERR, FATE_REFUSED},
};

static enum fate fate_of(unsigned code)
{
    for (size_t i = 0; i < ARRAY_COUNT(fates); i++) {
        if (fates[i].code == code) {
            return fates[i].fate;
        }
    }
    return FATE_OTHER;
}

static enum err err_of(enum fate fate)
{
    switch (fate) {
    case FATE_LOST:
    case FATE_CONFLICT:
    case FATE_READ_ONLY:
        return ERR_UNAVAILABLE;
    case FATE_FULL:
        return ERR_FULL;
    case FATE_REFUSED:
        return ERR_INVALID;
    case FATE_OTHER:
        return ERR_IO;
    }
    return ERR_IO;
}

/* Errors whose words quote the data of a statement: payloads have no place in a log. */
static bool quotes_data(unsigned code)
{
    return code == ER_PARSE_ERROR || code == ER_DUP_ENTRY || code == ER_TRUNCATED_WRONG_VALUE ||
           code == ER_TRUNCATED_WRONG_VALUE_FOR_FIELD;
}

/* Keeps what the library says of the last statement, and sees to the connection. */
static enum err failed(struct mysql_connection *connection)
{
    connection->code = mysql_errno(connection->client);
    (void)snprintf(connection->trouble, sizeof connection->trouble, "%u %s", connection->code,
                   quotes_data(connection->code) ? "(its words quote data)"
                                                 : mysql_error(connection->client));
    enum fate fate = fate_of(connection->code);
    connection->conflict = fate == FATE_CONFLICT;
    if (fate == FATE_LOST || fate == FATE_READ_ONLY) {
        mysql_connection_close(connection);
    } else if (mysql_rollback(connection->client) != 0) {
        mysql_connection_close(connection);
    }
    return err_of(fate);
}

static enum err not_connected(struct mysql_connection *connection)
{
    connection->conflict = false;
    (void)snprintf(connection->trouble, sizeof connection->trouble, "not connected");
    return ERR_UNAVAILABLE;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Of the connection whose call runs on this thread: the library tells its callback only a socket.
 */
static _Thread_local const struct mysql_deadline *deadline_here;

void mysql_deadline_init(struct mysql_deadline *deadline)
{
    atomic_init(&deadline->mono_ms, 0);
    deadline->set = eventfd(0, EFD_CLOEXEC); /* without it, who waits already waits on */
}

void mysql_deadline_fini(struct mysql_deadline *deadline)
{
    if (deadline->set != -1) {
        (void)close(deadline->set); /* nothing is written to it any more */
    }
}

void mysql_deadline_set(struct mysql_deadline *deadline, uint64_t mono_ms)
{
    atomic_store_explicit(&deadline->mono_ms, mono_ms, memory_order_release);
    if (deadline->set != -1) {
        (void)eventfd_write(deadline->set, 1); /* can't fail: it is written once */
    }
}

/* As the library waits, but not beyond the deadline. 1: ready; 0: too late; -1: errno. */
static int wait_for_socket(my_socket socket, my_bool to_read, int timeout_ms)
{
    const struct mysql_deadline *deadline = deadline_here;
    uint64_t timeout_at_ms = timeout_ms < 0 ? CLOCK_NEVER : clock_mono_ms() + (uint64_t)timeout_ms;
    for (;;) {
        uint64_t until_ms = atomic_load_explicit(&deadline->mono_ms, memory_order_acquire);
        struct pollfd fds[] = {{.fd = socket, .events = to_read ? POLLIN : POLLOUT},
                               {.fd = until_ms == 0 ? deadline->set : -1, .events = POLLIN}};
        until_ms = until_ms == 0 || until_ms > timeout_at_ms ? timeout_at_ms : until_ms;
        uint64_t now_ms = clock_mono_ms();
        uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
        int ready = poll(fds, ARRAY_COUNT(fds), left_ms > INT_MAX ? INT_MAX : (int)left_ms);
        if (ready < 0 && errno != EINTR) {
            return -1;
        }
        if (ready > 0 && fds[0].revents != 0) {
            return 1;
        }
        if (clock_mono_ms() >= until_ms) {
            return 0;
        }
    }
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void library_init(void)
{
    if (mysql_library_init(0, NULL, NULL) != 0) {
        log_error(LOG_STORAGE, "the client library of the database can't be used");
    }
}

/* The library's init is not safe on several threads at once. */
static void library_init_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, library_init); /* fails only for a NULL argument */
}

unsigned mysql_timeout_s(const struct storage_config *config)
{
    uint64_t seconds = (config->mysql_timeout_ms + 999) / 1000;
    return seconds < 1 ? 1 : (seconds > 3600 ? 3600 : (unsigned)seconds);
}

static bool set_tls(MYSQL *client, const struct storage_config *config)
{
    const my_bool on = 1, off = 0;
    bool verify = config->mysql_tls == MYSQL_TLS_VERIFY;
    if (mysql_optionsv(client, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, verify ? &on : &off) != 0) {
        return false;
    }
    if (config->mysql_tls == MYSQL_TLS_OFF) {
        return true;
    }
    return mysql_optionsv(client, MYSQL_OPT_SSL_ENFORCE, &on) == 0 &&
           (config->mysql_tls_ca == NULL ||
            mysql_optionsv(client, MYSQL_OPT_SSL_CA, config->mysql_tls_ca) == 0) &&
           (config->mysql_tls_certificate == NULL ||
            mysql_optionsv(client, MYSQL_OPT_SSL_CERT, config->mysql_tls_certificate) == 0) &&
           (config->mysql_tls_key == NULL ||
            mysql_optionsv(client, MYSQL_OPT_SSL_KEY, config->mysql_tls_key) == 0);
}

/* The library takes the host `localhost` for a socket of its own choice, unless it is told. */
static bool set_protocol(MYSQL *client, const struct mysql_url *url)
{
    unsigned protocol = url->socket != NULL ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    return mysql_optionsv(client, MYSQL_OPT_PROTOCOL, &protocol) == 0;
}

static bool set_options(MYSQL *client, const struct mysql_settings *settings)
{
    const my_bool no = 0;
    unsigned timeout_s = mysql_timeout_s(settings->config);
    return mysql_optionsv(client, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s) == 0 &&
           mysql_optionsv(client, MYSQL_OPT_READ_TIMEOUT, &timeout_s) == 0 &&
           mysql_optionsv(client, MYSQL_OPT_WRITE_TIMEOUT, &timeout_s) == 0 &&
           mysql_optionsv(client, MARIADB_OPT_IO_WAIT, wait_for_socket) == 0 &&
           mysql_optionsv(client, MYSQL_OPT_LOCAL_INFILE, &no) == 0 &&
           mysql_optionsv(client, MYSQL_SET_CHARSET_NAME, "utf8mb4") == 0 &&
           mysql_optionsv(client, MARIADB_OPT_RESTRICTED_AUTH, LOGIN_METHODS) == 0 &&
           mysql_optionsv(client, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "pulse") == 0 &&
           set_protocol(client, &settings->url) && set_tls(client, settings->config);
}

/*
 * Settings that our SQL relies on, whatever the server's defaults are. With sql_safe_updates the
 * optimizer deletes and updates by the key we name, also in a small table: without it, it reads the
 * whole table and waits for rows of other nodes that are none of ours.
 */
static enum err set_session(struct mysql_connection *connection)
{
    unsigned timeout_s = mysql_timeout_s(connection->settings->config);
    char sql[512];
    (void)snprintf(sql, sizeof sql,
                   "SET NAMES binary;"
                   "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
                   "time_zone='+00:00',autocommit=1,sql_safe_updates=1,wait_timeout=" IDLE_S
                   ",innodb_lock_wait_timeout=%u,lock_wait_timeout=%u;"
                   "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                   (timeout_s + 1) / 2, (timeout_s + 1) / 2);
    enum err err = mysql_connection_run(connection, sql);
    if (err != ERR_OK) {
        return err;
    }
    struct sql query = {.data = NULL};
    bool found = false;
    sql_add(&query, "SELECT @@max_allowed_packet");
    err = mysql_connection_numbers(connection, &query, &connection->packet_bytes_max, 1, &found);
    sql_fini(&query);
    return err;
}

void mysql_connection_init(struct mysql_connection *connection,
                           const struct mysql_settings *settings)
{
    *connection = (struct mysql_connection){.settings = settings};
}

/* Ends a connection that never was one. */
static enum err give_up(struct mysql_connection *connection, enum err err, unsigned code,
                        const char *words)
{
    connection->code = code;
    (void)snprintf(connection->trouble, sizeof connection->trouble, "%u %s", code, words);
    mysql_connection_close(connection);
    return err;
}

static enum err connect_to_server(struct mysql_connection *connection)
{
    const struct mysql_url *url = &connection->settings->url;
    MYSQL *client = connection->client;
    if (!set_options(client, connection->settings)) {
        return give_up(connection, ERR_INVALID, 0, "the library doesn't take our options");
    }
    if (mysql_real_connect(client, url->host, url->user, url->password != NULL ? url->password : "",
                           url->database, url->port, url->socket,
                           CLIENT_MULTI_STATEMENTS) == NULL) {
        enum err err = err_of(fate_of(mysql_errno(client)));
        return give_up(connection, err == ERR_IO ? ERR_UNAVAILABLE : err, mysql_errno(client),
                       mysql_error(client));
    }
    /* Told to encrypt, the library still takes a server that doesn't offer it. */
    if (connection->settings->config->mysql_tls != MYSQL_TLS_OFF &&
        mysql_get_ssl_cipher(client) == NULL) {
        return give_up(connection, ERR_INVALID, 0, "TLS is required, the server does not offer it");
    }
    return ERR_OK;
}

enum err mysql_connection_open(struct mysql_connection *connection)
{
    if (connection->client != NULL) {
        return ERR_OK;
    }
    library_init_once();
    deadline_here = connection->settings->deadline;
    connection->conflict = false;
    connection->client = mysql_init(NULL);
    if (connection->client == NULL) {
        return ERR_MEMORY;
    }
    enum err err = connect_to_server(connection);
    if (err == ERR_OK) {
        err = set_session(connection);
    }
    if (err != ERR_OK) {
        mysql_connection_close(connection);
        return err;
    }
    return ERR_OK;
}

void mysql_connection_close(struct mysql_connection *connection)
{
    if (connection->client != NULL) {
        deadline_here = connection->settings->deadline;
        mysql_close(connection->client);
        connection->client = NULL;
    }
}

uint64_t mysql_connection_id(const struct mysql_connection *connection)
{
    return connection->client != NULL ? mysql_thread_id(connection->client) : 0;
}

/* ---- statements ------------------------------------------------------------------------------ */

static enum err send_text(struct mysql_connection *connection, const char *sql, size_t len)
{
    if (connection->client == NULL) {
        return not_connected(connection);
    }
    deadline_here = connection->settings->deadline;
    stat_add(connection->settings->stats, STAT_BYTES_WRITTEN, (int64_t)len);
    return mysql_real_query(connection->client, sql, len) == 0 ? ERR_OK : failed(connection);
}

/* Takes the results of all statements of a packet. */
static enum err drain(struct mysql_connection *connection)
{
    for (;;) {
        MYSQL_RES *result = mysql_store_result(connection->client);
        if (result == NULL && mysql_errno(connection->client) != 0) {
            return failed(connection);
        }
        mysql_free_result(result);
        connection->changed = mysql_affected_rows(connection->client);
        int next = mysql_next_result(connection->client);
        if (next > 0) {
            return failed(connection);
        }
        if (next < 0) {
            return ERR_OK;
        }
    }
}

static enum err run(struct mysql_connection *connection, const char *sql, size_t len)
{
    enum err err = send_text(connection, sql, len);
    return err == ERR_OK ? drain(connection) : err;
}

enum err mysql_connection_run(struct mysql_connection *connection, const char *sql)
{
    return run(connection, sql, strlen(sql));
}

enum err mysql_connection_run_sql(struct mysql_connection *connection, const struct sql *sql)
{
    return sql->failed ? ERR_MEMORY : run(connection, sql->data, sql->len);
}

static void fill_row(struct mysql_row *row, MYSQL_ROW values, const unsigned long *lengths)
{
    for (size_t i = 0; i < row->count; i++) {
        row->columns[i] = slice_of(values[i], values[i] != NULL ? lengths[i] : 0);
    }
}

static enum err give_rows(MYSQL_RES *result, void *context, mysql_row_fn take)
{
    struct mysql_row row = {.count = mysql_num_fields(result)};
    ASSERT(row.count <= MYSQL_COLUMNS_MAX);
    MYSQL_ROW values;
    while ((values = mysql_fetch_row(result)) != NULL) {
        fill_row(&row, values, mysql_fetch_lengths(result));
        enum err err = take(context, &row);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err mysql_connection_rows(struct mysql_connection *connection, const struct sql *sql,
                               void *context, mysql_row_fn take)
{
    if (sql->failed) {
        return ERR_MEMORY;
    }
    enum err err = send_text(connection, sql->data, sql->len);
    if (err != ERR_OK) {
        return err;
    }
    MYSQL_RES *result = mysql_use_result(connection->client);
    if (result == NULL) {
        return failed(connection);
    }
    err = give_rows(result, context, take);
    bool broken = err == ERR_OK && mysql_errno(connection->client) != 0;
    mysql_free_result(result); /* reads what is left */
    return broken ? failed(connection) : err;
}

struct numbers {
    uint64_t *values;
    size_t count;
    bool found;
};

static enum err take_numbers(void *context, const struct mysql_row *row)
{
    struct numbers *numbers = context;
    for (size_t i = 0; i < numbers->count && i < row->count; i++) {
        numbers->values[i] = mysql_number(row->columns[i]);
    }
    numbers->found = true;
    return ERR_OK;
}

enum err mysql_connection_numbers(struct mysql_connection *connection, const struct sql *sql,
                                  uint64_t *values, size_t count, bool *found)
{
    struct numbers numbers = {.values = values, .count = count};
    enum err err = mysql_connection_rows(connection, sql, &numbers, take_numbers);
    *found = numbers.found;
    return err;
}

uint64_t mysql_number(struct slice column)
{
    uint64_t number = 0;
    for (size_t i = 0; i < column.len; i++) {
        if (column.data[i] < '0' || column.data[i] > '9') {
            return 0;
        }
        number = number * 10 + (uint64_t)(column.data[i] - '0');
    }
    return number;
}
