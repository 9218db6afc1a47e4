#include "node/http_daemon.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"
#include "node/http_address_priv.h"

#define CLIENTS_MAX 64
#define CLIENTS_CROWDED 48 /* from here on the oldest goes when a new one comes */
#define CLIENT_LIFETIME_MS 10000
#define CLIENT_MEMORY_BYTES ((size_t)16384) /* request header and output buffer */
#define ACCEPT_PAUSE_MS 100
#define RUNS_MAX 4 /* of the library in a row, before others have their turn */
/* Only with forward secrecy and authenticated encryption, which 1.3 has in any case. */
#define TLS_PRIORITIES                                                                    \
    "NONE:+VERS-TLS1.3:+VERS-TLS1.2:+ECDHE-ECDSA:+ECDHE-RSA:+AES-256-GCM:+AES-128-GCM:"   \
    "+CHACHA20-POLY1305:+AEAD:+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+SIGN-ALL:" \
    "-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:+COMP-NULL:+CTYPE-ALL:%SERVER_PRECEDENCE"

/*
 * Invariants:
 *   `clients` holds the connections that may go on, oldest first, but those in `held`;
 *   a connection that may not has been shut down, is in no list and not suspended, and is closed by
 *   the library next;
 *   the loop is woken by the library's epoll descriptor and by a timer that runs only while a
 *   connection is open: an idle endpoint costs nothing.
 */
struct http_daemon {
    struct MHD_Daemon *library;
    enum log_area area;
    struct list clients;
    struct list held;
    unsigned client_count; /* open connections, listed or not */
    uint64_t accepted;
    uint64_t lifetime_ms;
    bool resumed; /* some connection, since the library ran last */
    bool paused;  /* the poll is stopped, the timer starts it again */
    uint16_t port;
    unsigned open_handles;
    uv_poll_t poll;
    uv_timer_t timer;
};

struct client {
    struct list node; /* in clients or held */
    struct http_daemon *daemon;
    struct MHD_Connection *connection;
    int fd;
    bool suspended;
    uint64_t until_ms;
};

static void on_timer(uv_timer_t *timer);

/* ---- connections ----------------------------------------------------------------------------- */

/* The library only notes it: it has to run, soon, and outside of its own callbacks. */
static void client_resume(struct client *client)
{
    if (client->suspended) {
        client->suspended = false;
        client->daemon->resumed = true;
        MHD_resume_connection(client->connection);
        if (!uv_is_closing((uv_handle_t *)&client->daemon->timer)) {
            uv_timer_start(&client->daemon->timer, on_timer, 0, 0);
        }
    }
}

/* Ends a connection whatever its state: the library sees the end of the stream and closes. The
 * kernel then drops what the client didn't read, instead of keeping it for minutes. */
static void client_end(struct client *client)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    list_remove(&client->node);
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    shutdown(client->fd, SHUT_RDWR);
    client_resume(client);
}

static struct client *oldest_client(const struct http_daemon *daemon)
{
    return list_empty(&daemon->clients) ? NULL
                                        : list_entry(daemon->clients.next, struct client, node);
}

static struct client *client_create(struct http_daemon *daemon, struct MHD_Connection *connection)
{
    if (daemon->client_count >= CLIENTS_CROWDED && !list_empty(&daemon->clients)) {
        client_end(oldest_client(daemon));
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct client *client = mem_alloc(sizeof(*client));
    client->daemon = daemon;
    client->connection = connection;
    client->fd = info->connect_fd;
    client->until_ms = clock_mono_ms() + daemon->lifetime_ms;
    list_append(&daemon->clients, &client->node);
    daemon->client_count++;
    daemon->accepted++;
    return client;
}

static void client_destroy(struct http_daemon *daemon, struct client *client)
{
    list_remove(&client->node);
    daemon->client_count--;
    mem_free(client);
}

/* An MHD_NotifyConnectionCallback. */
static void on_connection(void *context, struct MHD_Connection *connection, void **client,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_daemon *daemon = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *client = client_create(daemon, connection);
    } else {
        client_destroy(daemon, *client);
        *client = NULL;
    }
}

static void end_overdue(struct http_daemon *daemon, uint64_t now_ms)
{
    struct client *client = oldest_client(daemon);
    while (client != NULL && client->until_ms <= now_ms) {
        client_end(client);
        client = oldest_client(daemon);
    }
    list_foreach(item, &daemon->held)
    {
        client = list_entry(item, struct client, node);
        if (client->until_ms <= now_ms) {
            client_end(client);
        }
    }
}

static struct client *client_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

bool http_daemon_suspend(struct MHD_Connection *connection)
{
    struct client *client = client_of(connection);
    if (list_empty(&client->node)) {
        return false;
    }
    client->suspended = true;
    MHD_suspend_connection(connection);
    return true;
}

void http_daemon_resume(struct MHD_Connection *connection)
{
    client_resume(client_of(connection));
}

void http_daemon_hold(struct MHD_Connection *connection, uint64_t lifetime_ms)
{
    struct client *client = client_of(connection);
    if (!list_empty(&client->node)) {
        list_remove(&client->node);
        list_append(&client->daemon->held, &client->node);
        client->until_ms = clock_mono_ms() + lifetime_ms;
    }
}

bool http_daemon_peer_left(struct MHD_Connection *connection)
{
    struct pollfd end = {.fd = client_of(connection)->fd, .events = POLLRDHUP};
    return poll(&end, 1, 0) > 0;
}

const struct sockaddr *http_daemon_peer(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info != NULL ? info->client_addr : NULL;
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Milliseconds until the timer is needed, or CLOCK_NEVER. */
static uint64_t next_wake_ms(const struct http_daemon *daemon)
{
    MHD_UNSIGNED_LONG_LONG library_ms = 0;
    uint64_t wake_ms = daemon->resumed ? 0 : CLOCK_NEVER;
    if (MHD_get_timeout(daemon->library, &library_ms) == MHD_YES && library_ms < wake_ms) {
        wake_ms = library_ms;
    }
    const struct client *client = oldest_client(daemon);
    uint64_t until_ms = client != NULL ? client->until_ms : CLOCK_NEVER;
    list_foreach(item, &daemon->held)
    {
        client = list_entry(item, struct client, node);
        until_ms = client->until_ms < until_ms ? client->until_ms : until_ms;
    }
    if (until_ms != CLOCK_NEVER) {
        uint64_t now_ms = clock_mono_ms();
        uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;
        wake_ms = left_ms < wake_ms ? left_ms : wake_ms;
    }
    return wake_ms;
}

static void run(struct http_daemon *daemon)
{
    uint64_t wake_ms = 0;
    for (unsigned i = 0; i < RUNS_MAX && wake_ms == 0; i++) {
        daemon->resumed = false;
        MHD_run(daemon->library);
        wake_ms = next_wake_ms(daemon);
    }
    if (wake_ms == CLOCK_NEVER) {
        uv_timer_stop(&daemon->timer);
    } else {
        /* Never 0: libuv would call us again and again before it looks at anything else. */
        uv_timer_start(&daemon->timer, on_timer, wake_ms > 0 ? wake_ms : 1, 0);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct http_daemon *daemon = poll->data;
    unsigned count_before = daemon->client_count;
    uint64_t accepted_before = daemon->accepted;
    run(daemon);
    if (count_before == 0 && daemon->accepted == accepted_before) {
        /* Woken, but nobody could be accepted: no descriptors are left, most likely. The connection
         * stays in the socket's queue and would wake us again and again. */
        uv_poll_stop(&daemon->poll);
        daemon->paused = true;
        uv_timer_start(&daemon->timer, on_timer, ACCEPT_PAUSE_MS, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct http_daemon *daemon = timer->data;
    if (daemon->paused) {
        daemon->paused = false;
        uv_poll_start(&daemon->poll, UV_READABLE, on_readable);
    }
    end_overdue(daemon, clock_mono_ms());
    run(daemon);
}

/* ---- start and stop -------------------------------------------------------------------------- */

/* What the library has to say; an MHD_LogCallback. */
static __attribute__((format(printf, 2, 0))) void on_library_log(void *context, const char *format,
                                                                 va_list args)
{
    const struct http_daemon *daemon = context;
    char words[256];
    vsnprintf(words, sizeof(words), format, args);
    words[strcspn(words, "\n")] = '\0';
    log_debug(daemon->area, "libmicrohttpd", log_text("says", words));
}

/* An unescape callback of the library that leaves everything as it is. */
static size_t keep_escapes(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

/* The options that not every endpoint has; ends with MHD_OPTION_END. */
#define MORE_MAX 8
static void list_more(const struct http_daemon_options *options,
                      struct MHD_OptionItem more[MORE_MAX])
{
    size_t count = 0;
    if (options->target != NULL) {
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_URI_LOG_CALLBACK,
                                                (intptr_t)options->target, options->context};
        more[count++] =
            (struct MHD_OptionItem){MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)keep_escapes, NULL};
    }
    if (options->certificate != NULL) {
        more[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)options->certificate};
        more[count++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)options->key};
        more[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)TLS_PRIORITIES};
    }
    if (options->client_ca != NULL) {
        more[count++] =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, (void *)options->client_ca};
    }
    more[count] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

/* Takes `listener`. NULL when there is no memory or no descriptor, or the certificates are bad. */
static struct MHD_Daemon *start_library(struct http_daemon *daemon, int listener,
                                        const struct http_daemon_options *options)
{
    struct MHD_OptionItem more[MORE_MAX];
    list_more(options, more);
    size_t memory = options->header_bytes_max > 0 ? options->header_bytes_max : CLIENT_MEMORY_BYTES;
    unsigned flags = MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME;
    return MHD_start_daemon(
        options->certificate != NULL ? flags | MHD_USE_TLS : flags, 0, NULL, NULL, options->answer,
        options->context, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, daemon,
        MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, memory, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
        daemon, MHD_OPTION_NOTIFY_COMPLETED, options->answered, options->context, MHD_OPTION_ARRAY,
        more, MHD_OPTION_END);
}

static void start_handles(struct http_daemon *daemon, uv_loop_t *loop)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(daemon->library, MHD_DAEMON_INFO_EPOLL_FD);
    int failure = uv_poll_init(loop, &daemon->poll, info->epoll_fd);
    ASSERT(failure == 0); /* fails only for what is no descriptor, or polled already */
    daemon->poll.data = daemon;
    uv_poll_start(&daemon->poll, UV_READABLE, on_readable);
    uv_timer_init(loop, &daemon->timer);
    daemon->timer.data = daemon;
    daemon->open_handles = 2;
}

enum err http_daemon_start(uv_loop_t *loop, const struct http_daemon_options *options,
                           struct http_daemon **out)
{
    const char *why = NULL;
    int listener = http__listen(options->bind, &why);
    if (listener < 0) {
        log_error(options->area, "cannot listen", log_text("bind", options->bind),
                  log_text("error", why));
        return ERR_ADDRESS;
    }
    struct http_daemon *daemon = mem_alloc(sizeof(*daemon));
    daemon->area = options->area;
    daemon->port = http__port_of(listener);
    daemon->lifetime_ms = CLIENT_LIFETIME_MS;
    list_init(&daemon->clients);
    list_init(&daemon->held);
    daemon->library = start_library(daemon, listener, options);
    if (daemon->library == NULL) {
        log_error(options->area, "cannot start", log_text("bind", options->bind),
                  log_text("hint", options->certificate != NULL
                                       ? "is the key that of the certificate?"
                                       : "no memory or no descriptor is left"));
        mem_free(daemon);
        return ERR_IO;
    }
    start_handles(daemon, loop);
    log_notice(options->area, "listening", log_text("bind", options->bind),
               log_uint("port", daemon->port));
    *out = daemon;
    return ERR_OK;
}

uint16_t http_daemon_port(const struct http_daemon *daemon)
{
    return daemon->port;
}

void http_daemon_set_lifetime(struct http_daemon *daemon, uint64_t lifetime_ms)
{
    daemon->lifetime_ms = lifetime_ms;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_daemon *daemon = handle->data;
    daemon->open_handles--;
    if (daemon->open_handles == 0) {
        mem_free(daemon);
    }
}

/* The library can't close what is suspended. */
static void resume_all(struct list *clients)
{
    list_foreach(item, clients)
    {
        client_resume(list_entry(item, struct client, node));
    }
}

void http_daemon_stop(struct http_daemon *daemon)
{
    if (daemon == NULL) {
        return;
    }
    uv_close((uv_handle_t *)&daemon->poll, on_handle_closed);
    uv_close((uv_handle_t *)&daemon->timer, on_handle_closed);
    resume_all(&daemon->clients);
    resume_all(&daemon->held);
    MHD_stop_daemon(daemon->library);
    daemon->library = NULL;
}
