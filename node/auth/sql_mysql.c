#include <errmsg.h>
#include <errno.h>
#include <limits.h>
#include <mysql.h>
#include <mysqld_error.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/auth/sql_priv.h"

/* Methods of logging in that don't show our password to whoever plays the server. */
#define LOGIN_METHODS "mysql_native_password,caching_sha2_password,sha256_password,client_ed25519"

/* The longest answer that is waited for in one piece; the patience of a question is shorter. */
#define SOCKET_TIMEOUT_S 3600u
/* How often we look whether somebody still waits, and how much longer we wait when nobody does:
 * to connect anew costs the server more than an answer. */
#define LOOK_MS 50
#define LINGER_MS 250
#define PACKET_BYTES_MAX (1024ul * 1024)

struct column {
    char *data; /* SQL_COLUMN_BYTES_MAX + 1, so that a longer value is noticed */
    unsigned long len;
    my_bool is_null;
};

struct mysql_link {
    struct sql_connection base;
    const struct sql_mysql_settings *settings;
    MYSQL *client; /* NULL: not connected */
    MYSQL_STMT *statements[SQL_PURPOSE_COUNT];
    struct column columns[SQL_COLUMNS_MAX];
    bool gave_rows; /* to the question that is being asked */
};

/* ---- waiting --------------------------------------------------------------------------------- */

/* Of the question that is asked on this thread: the library tells its callback only a socket. NULL:
 * a connection is closed, which waits for nothing. */
static _Thread_local const struct sql_patience *patience_here;

/* 1: ready; 0: too late; -1: errno. */
static int wait_for_socket(my_socket socket, my_bool to_read, int timeout_ms)
{
    (void)timeout_ms; /* SOCKET_TIMEOUT_S */
    const struct sql_patience *patience = patience_here;
    struct pollfd fd = {.fd = socket, .events = to_read ? POLLIN : POLLOUT};
    uint64_t linger_until_ms = clock_mono_ms() + LINGER_MS;
    for (;;) {
        int ready = poll(&fd, 1, patience != NULL ? LOOK_MS : 0);
        if (ready > 0) {
            return 1;
        }
        if (ready < 0 && errno != EINTR) {
            return -1;
        }
        enum err left = patience != NULL ? sql_patience_left(patience) : ERR_UNAVAILABLE;
        if (left == ERR_UNAVAILABLE ||
            (left == ERR_STOPPED && clock_mono_ms() >= linger_until_ms)) {
            return 0;
        }
    }
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* Numbers of the server that speak of itself, or of a moment, and not of the query. */
static bool is_passing(unsigned code)
{
    switch (code) {
    case ER_CON_COUNT_ERROR:
    case ER_OUT_OF_RESOURCES:
    case ER_SERVER_SHUTDOWN:
    case ER_NORMAL_SHUTDOWN:
    case ER_TOO_MANY_USER_CONNECTIONS:
    case ER_QUERY_INTERRUPTED:
    case ER_CONNECTION_KILLED:
    case ER_LOCK_WAIT_TIMEOUT:
    case ER_LOCK_DEADLOCK:
        return true;
    default:
        return code >= CR_MIN_ERROR && code <= CR_MAX_ERROR; /* the library's own: no connection */
    }
}

/* Words of the server that quote values have no place in a log. */
static bool quotes_values(unsigned code)
{
    return code == ER_TRUNCATED_WRONG_VALUE || code == ER_TRUNCATED_WRONG_VALUE_FOR_FIELD;
}

/* The connection first: a statement that is closed would read all rows that are still to come. */
static void disconnect(struct mysql_link *link)
{
    patience_here = NULL; /* closing waits for nothing */
    if (link->client != NULL) {
        mysql_close(link->client);
        link->client = NULL;
    }
    for (size_t i = 0; i < SQL_PURPOSE_COUNT; i++) {
        if (link->statements[i] != NULL) {
            (void)mysql_stmt_close(link->statements[i]); /* nothing is left to be closed there */
            link->statements[i] = NULL;
        }
    }
}

/* Whatever went wrong, the next question gets a fresh connection: it is the simplest state to be
 * sure of. `words` may be the connection's. */
static enum err failed(struct mysql_link *link, unsigned code, const char *words,
                       struct text *trouble)
{
    enum err err = sql_patience_left(patience_here);
    if (err != ERR_OK) {
        text_add(trouble, "no answer in time");
    } else {
        err = is_passing(code) ? ERR_UNAVAILABLE : ERR_IO;
        text_add(trouble, quotes_values(code) ? "words that quote values" : words);
    }
    if (code > 0) {
        text_printf(trouble, " (%u)", code);
    }
    disconnect(link);
    return err;
}

static enum err client_failed(struct mysql_link *link, struct text *trouble)
{
    return failed(link, mysql_errno(link->client), mysql_error(link->client), trouble);
}

static enum err statement_failed(struct mysql_link *link, MYSQL_STMT *statement,
                                 struct text *trouble)
{
    unsigned code = mysql_stmt_errno(statement);
    return failed(link, code, code > 0 ? mysql_stmt_error(statement) : "the answer is too large",
                  trouble);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static int init_result;

static void library_init(void)
{
    init_result = mysql_library_init(0, NULL, NULL);
}

enum err sql_mysql_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, library_init); /* fails only for a NULL argument */
    return init_result == 0 ? ERR_OK : ERR_MEMORY;
}

/* Without this the library would encrypt if it can, and believe whoever answers. */
static bool set_tls(MYSQL *client, const struct sql_mysql_settings *settings)
{
    const my_bool on = 1, off = 0;
    bool verify = settings->tls == MYSQL_TLS_VERIFY;
    if (mysql_optionsv(client, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, verify ? &on : &off) != 0) {
        return false;
    }
    return settings->tls == MYSQL_TLS_OFF ||
           (mysql_optionsv(client, MYSQL_OPT_SSL_ENFORCE, &on) == 0 &&
            (settings->tls_ca == NULL ||
             mysql_optionsv(client, MYSQL_OPT_SSL_CA, settings->tls_ca) == 0));
}

static bool set_options(MYSQL *client, const struct sql_mysql_settings *settings)
{
    const my_bool no = 0;
    const unsigned timeout_s = SOCKET_TIMEOUT_S;
    const unsigned long packet_bytes = PACKET_BYTES_MAX;
    unsigned protocol = settings->url.socket != NULL ? MYSQL_PROTOCOL_SOCKET : MYSQL_PROTOCOL_TCP;
    return mysql_optionsv(client, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s) == 0 &&
           mysql_optionsv(client, MYSQL_OPT_READ_TIMEOUT, &timeout_s) == 0 &&
           mysql_optionsv(client, MYSQL_OPT_WRITE_TIMEOUT, &timeout_s) == 0 &&
           mysql_optionsv(client, MARIADB_OPT_IO_WAIT, wait_for_socket) == 0 &&
           mysql_optionsv(client, MYSQL_OPT_MAX_ALLOWED_PACKET, &packet_bytes) == 0 &&
           mysql_optionsv(client, MYSQL_OPT_LOCAL_INFILE, &no) == 0 &&
           mysql_optionsv(client, MYSQL_SET_CHARSET_NAME, "utf8mb4") == 0 &&
           mysql_optionsv(client, MARIADB_OPT_RESTRICTED_AUTH, LOGIN_METHODS) == 0 &&
           mysql_optionsv(client, MYSQL_OPT_CONNECT_ATTR_ADD, "program_name", "pulse") == 0 &&
           mysql_optionsv(client, MYSQL_OPT_PROTOCOL, &protocol) == 0 && set_tls(client, settings);
}

static bool log_in(MYSQL *client, const struct mysql_url *url)
{
    return mysql_real_connect(client, url->host, url->user,
                              url->password != NULL ? url->password : "", url->database, url->port,
                              url->socket, 0) != NULL &&
           mysql_query(client, "SET SESSION TRANSACTION READ ONLY") == 0;
}

static enum err connect_to_server(struct mysql_link *link, struct text *trouble)
{
    const struct sql_mysql_settings *settings = link->settings;
    link->client = mysql_init(NULL);
    if (link->client == NULL || !set_options(link->client, settings)) {
        text_add(trouble, "the library doesn't take our options");
        disconnect(link);
        return ERR_MEMORY;
    }
    if (!log_in(link->client, &settings->url)) {
        return client_failed(link, trouble);
    }
    /* Told to encrypt, the library still takes a server that doesn't offer it. */
    if (settings->tls != MYSQL_TLS_OFF && mysql_get_ssl_cipher(link->client) == NULL) {
        text_add(trouble, "TLS is required, the server does not offer it");
        disconnect(link);
        return ERR_IO;
    }
    return ERR_OK;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static enum err prepare(struct mysql_link *link, enum sql_purpose purpose, struct text *trouble)
{
    const struct sql_query *query = &link->base.queries[purpose];
    if (link->statements[purpose] != NULL) {
        return ERR_OK;
    }
    MYSQL_STMT *statement = mysql_stmt_init(link->client);
    if (statement == NULL) {
        return client_failed(link, trouble);
    }
    link->statements[purpose] = statement;
    if (mysql_stmt_prepare(statement, query->text, strlen(query->text)) != 0) {
        return statement_failed(link, statement, trouble);
    }
    if (mysql_stmt_param_count(statement) != query->value_count) {
        return failed(link, 0, "the query has other values than %u and %c", trouble);
    }
    if (mysql_stmt_field_count(statement) == 0) {
        return failed(link, 0, "the query gives no rows", trouble);
    }
    return ERR_OK;
}

static enum err execute(struct mysql_link *link, const struct sql_question *question,
                        struct text *trouble)
{
    const struct sql_query *query = &link->base.queries[question->purpose];
    MYSQL_STMT *statement = link->statements[question->purpose];
    MYSQL_BIND values[SQL_VALUES_MAX] = {0};
    unsigned long lens[SQL_VALUES_MAX];
    for (size_t i = 0; i < query->value_count; i++) {
        struct slice value = question->values[query->values[i]];
        lens[i] = value.len;
        values[i].buffer_type = MYSQL_TYPE_STRING;
        values[i].buffer = value.len > 0 ? (void *)(uintptr_t)value.data : "";
        values[i].buffer_length = value.len;
        values[i].length = &lens[i];
    }
    if (mysql_stmt_bind_param(statement, values) != 0 || mysql_stmt_execute(statement) != 0) {
        return statement_failed(link, statement, trouble);
    }
    return ERR_OK;
}

/* Columns behind those that we take stay where they are. */
static enum err bind_columns(struct mysql_link *link, MYSQL_STMT *statement, struct text *trouble)
{
    size_t count = mysql_stmt_field_count(statement);
    MYSQL_BIND *results = mem_alloc_array(count, sizeof(*results));
    for (size_t i = 0; i < count; i++) {
        results[i].buffer_type = MYSQL_TYPE_NULL;
        if (i < SQL_COLUMNS_MAX) {
            struct column *column = &link->columns[i];
            results[i].buffer_type = MYSQL_TYPE_STRING;
            results[i].buffer = column->data;
            results[i].buffer_length = SQL_COLUMN_BYTES_MAX + 1;
            results[i].length = &column->len;
            results[i].is_null = &column->is_null;
        }
    }
    bool bound = mysql_stmt_bind_result(statement, results) == 0;
    mem_free(results); /* the library has copied them */
    return bound ? ERR_OK : statement_failed(link, statement, trouble);
}

static bool take_columns(const struct mysql_link *link, size_t count, struct sql_row *row)
{
    row->count = count < SQL_COLUMNS_MAX ? count : SQL_COLUMNS_MAX;
    for (size_t i = 0; i < row->count; i++) {
        const struct column *column = &link->columns[i];
        if (!column->is_null && column->len > SQL_COLUMN_BYTES_MAX) {
            return false;
        }
        row->columns[i] = column->is_null ? slice_of(NULL, 0) : slice_of(column->data, column->len);
    }
    return true;
}

static enum err give_rows(struct mysql_link *link, MYSQL_STMT *statement, sql_row_fn take,
                          void *context, struct text *trouble)
{
    size_t count = mysql_stmt_field_count(statement);
    for (;;) {
        int result = mysql_stmt_fetch(statement);
        if (result == MYSQL_NO_DATA) {
            return ERR_OK;
        }
        if (result != 0 && result != MYSQL_DATA_TRUNCATED) {
            return statement_failed(link, statement, trouble);
        }
        struct sql_row row;
        if (!take_columns(link, count, &row)) {
            text_add(trouble, "a value is too long");
            return ERR_RANGE;
        }
        link->gave_rows = true;
        enum err err = take(context, &row);
        if (err != ERR_OK) {
            return err;
        }
    }
}

static enum err ask_connected(struct mysql_link *link, const struct sql_question *question,
                              sql_row_fn take, void *context, struct text *trouble)
{
    enum err err = prepare(link, question->purpose, trouble);
    if (err == ERR_OK) {
        err = execute(link, question, trouble);
    }
    if (err != ERR_OK) {
        return err;
    }
    MYSQL_STMT *statement = link->statements[question->purpose];
    err = bind_columns(link, statement, trouble);
    if (err == ERR_OK) {
        err = give_rows(link, statement, take, context, trouble);
        if (err == ERR_OK && mysql_stmt_free_result(statement) != 0) {
            err = statement_failed(link, statement, trouble);
        }
        if (err != ERR_OK) {
            disconnect(link); /* rather than read rows that nobody wants */
        }
    }
    return err;
}

/* A connection that was silent for long may be gone without a word: then a fresh one is asked. */
static enum err connection_ask(struct sql_connection *base, const struct sql_question *question,
                               sql_row_fn take, void *context, struct text *trouble)
{
    struct mysql_link *link = container_of(base, struct mysql_link, base);
    bool was_connected = link->client != NULL;
    link->gave_rows = false;
    patience_here = &question->patience;
    enum err err = was_connected ? ask_connected(link, question, take, context, trouble) : ERR_OK;
    bool again = was_connected && err == ERR_UNAVAILABLE && !link->gave_rows &&
                 sql_patience_left(&question->patience) == ERR_OK;
    if (!was_connected || again) {
        patience_here = &question->patience;
        text_fini(trouble);
        *trouble = (struct text){.data = NULL};
        err = connect_to_server(link, trouble);
        if (err == ERR_OK) {
            err = ask_connected(link, question, take, context, trouble);
        }
    }
    patience_here = NULL;
    return err;
}

static void connection_destroy(struct sql_connection *base)
{
    struct mysql_link *link = container_of(base, struct mysql_link, base);
    disconnect(link);
    for (size_t i = 0; i < SQL_COLUMNS_MAX; i++) {
        mem_free(link->columns[i].data);
    }
    mem_free(link);
}

static const struct sql_connection_type mysql_type = {
    .ask = connection_ask,
    .destroy = connection_destroy,
};

struct sql_connection *sql_mysql_create(const struct sql_mysql_settings *settings,
                                        const struct sql_query *queries)
{
    struct mysql_link *link = mem_alloc(sizeof(*link));
    link->base = (struct sql_connection){.type = &mysql_type, .queries = queries};
    link->settings = settings;
    for (size_t i = 0; i < SQL_COLUMNS_MAX; i++) {
        link->columns[i].data = mem_alloc(SQL_COLUMN_BYTES_MAX + 1);
    }
    return &link->base;
}
