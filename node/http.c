#include "node/http.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/http_routes_priv.h"

#define CLIENTS_MAX 64
#define CLIENTS_CROWDED 48 /* from here on the oldest goes when a new one comes */
#define CLIENT_LIFETIME_MS 10000
#define CLIENT_MEMORY_BYTES 16384 /* request header and output buffer */
#define ACCEPT_PAUSE_MS 100
#define RUNS_MAX 4 /* of the library in a row, before others have their turn */

/*
 * Invariants:
 *   `clients` holds the connections that may go on, oldest first;
 *   a connection that may not has been shut down, is in no list, and is closed by the library next;
 *   the loop is woken by the library's epoll descriptor and by a timer that runs only while a
 *   connection is open: an idle endpoint costs nothing.
 */
struct http_server {
    struct MHD_Daemon *daemon;
    struct http_handlers handlers;
    struct list clients;
    unsigned client_count; /* open connections, listed or not */
    uint64_t accepted;
    uint64_t lifetime_ms;
    bool paused; /* the poll is stopped, the timer starts it again */
    uint16_t port;
    unsigned open_handles;
    uv_poll_t poll;
    uv_timer_t timer;
};

struct client {
    struct list node;
    int fd;
    uint64_t until_ms;
};

static void on_timer(uv_timer_t *timer);

/* ---- connections ----------------------------------------------------------------------------- */

/* Ends a connection whatever its state: the library sees the end of the stream and closes. The
 * kernel then drops what the client didn't read, instead of keeping it for minutes. */
static void client_end(struct client *client)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    list_remove(&client->node);
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    shutdown(client->fd, SHUT_RDWR);
}

static struct client *oldest_client(const struct http_server *server)
{
    return list_empty(&server->clients) ? NULL
                                        : list_entry(server->clients.next, struct client, node);
}

static struct client *client_create(struct http_server *server, struct MHD_Connection *connection)
{
    if (server->client_count >= CLIENTS_CROWDED && !list_empty(&server->clients)) {
        client_end(oldest_client(server));
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct client *client = mem_alloc(sizeof(*client));
    client->fd = info->connect_fd;
    client->until_ms = clock_mono_ms() + server->lifetime_ms;
    list_append(&server->clients, &client->node);
    server->client_count++;
    server->accepted++;
    return client;
}

static void client_destroy(struct http_server *server, struct client *client)
{
    list_remove(&client->node);
    server->client_count--;
    mem_free(client);
}

/* An MHD_NotifyConnectionCallback. */
static void on_connection(void *context, struct MHD_Connection *connection, void **client,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *client = client_create(server, connection);
    } else {
        client_destroy(server, *client);
        *client = NULL;
    }
}

static void end_overdue(struct http_server *server, uint64_t now_ms)
{
    struct client *client = oldest_client(server);
    while (client != NULL && client->until_ms <= now_ms) {
        client_end(client);
        client = oldest_client(server);
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Milliseconds until the timer is needed, or CLOCK_NEVER. */
static uint64_t next_wake_ms(const struct http_server *server)
{
    MHD_UNSIGNED_LONG_LONG library_ms = 0;
    uint64_t wake_ms = CLOCK_NEVER;
    if (MHD_get_timeout(server->daemon, &library_ms) == MHD_YES && library_ms < wake_ms) {
        wake_ms = library_ms;
    }
    const struct client *client = oldest_client(server);
    if (client != NULL) {
        uint64_t now_ms = clock_mono_ms();
        uint64_t left_ms = client->until_ms > now_ms ? client->until_ms - now_ms : 0;
        wake_ms = left_ms < wake_ms ? left_ms : wake_ms;
    }
    return wake_ms;
}

static void run(struct http_server *server)
{
    uint64_t wake_ms = 0;
    for (unsigned i = 0; i < RUNS_MAX && wake_ms == 0; i++) {
        MHD_run(server->daemon);
        wake_ms = next_wake_ms(server);
    }
    if (wake_ms == CLOCK_NEVER) {
        uv_timer_stop(&server->timer);
    } else {
        /* Never 0: libuv would call us again and again before it looks at anything else. */
        uv_timer_start(&server->timer, on_timer, wake_ms > 0 ? wake_ms : 1, 0);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct http_server *server = poll->data;
    unsigned count_before = server->client_count;
    uint64_t accepted_before = server->accepted;
    run(server);
    if (count_before == 0 && server->accepted == accepted_before) {
        /* Woken, but nobody could be accepted: no descriptors are left, most likely. The connection
         * stays in the socket's queue and would wake us again and again. */
        uv_poll_stop(&server->poll);
        server->paused = true;
        uv_timer_start(&server->timer, on_timer, ACCEPT_PAUSE_MS, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    if (server->paused) {
        server->paused = false;
        uv_poll_start(&server->poll, UV_READABLE, on_readable);
    }
    end_overdue(server, clock_mono_ms());
    run(server);
}

/* ---- start and stop -------------------------------------------------------------------------- */

static bool is_port(const char *port)
{
    size_t len = strlen(port);
    return len > 0 && len <= 5 && strspn(port, "0123456789") == len && atoi(port) <= UINT16_MAX;
}

/* Splits "host:port" or "[host]:port". An empty host means all addresses of this machine. */
static bool split_address(const char *bind, char host[NI_MAXHOST], char port[NI_MAXSERV])
{
    const char *colon = strrchr(bind, ':');
    if (colon == NULL || !is_port(colon + 1)) {
        return false;
    }
    const char *start = bind;
    size_t len = (size_t)(colon - bind);
    if (len >= 2 && bind[0] == '[' && colon[-1] == ']') {
        start++;
        len -= 2;
    } else if (memchr(bind, ':', len) != NULL) {
        return false; /* an IPv6 address without brackets: where its port starts is a guess */
    }
    if (len >= NI_MAXHOST) {
        return false;
    }
    memcpy(host, start, len);
    host[len] = '\0';
    strcpy(port, colon + 1);
    return true;
}

/* Gives a listening socket, or -1 with errno set. */
static int listen_on(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, CLIENTS_MAX) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

/* Gives a socket that listens on the first address of `bind` that can be had. Else -1 and `*why`.
 */
static int open_listener(const char *bind, const char **why)
{
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    if (!split_address(bind, host, port)) {
        *why = "expected host:port or [IPv6 address]:port";
        return -1;
    }
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    int failure = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &addresses);
    if (failure != 0) {
        *why = gai_strerror(failure);
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *at = addresses; at != NULL && fd < 0; at = at->ai_next) {
        fd = listen_on(at);
    }
    if (fd < 0) {
        *why = strerror(errno);
    }
    freeaddrinfo(addresses);
    return fd;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6
                     ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                     : ((struct sockaddr_in *)(void *)&address)->sin_port);
}

/* What the library has to say; an MHD_LogCallback. */
static __attribute__((format(printf, 2, 0))) void on_library_log(void *context, const char *format,
                                                                 va_list args)
{
    (void)context;
    char words[256];
    vsnprintf(words, sizeof(words), format, args);
    words[strcspn(words, "\n")] = '\0';
    log_debug(LOG_HTTP, "libmicrohttpd", log_text("says", words));
}

/* Takes `listener`. NULL when there is no memory or no descriptor. */
static struct MHD_Daemon *start_daemon(struct http_server *server, int listener)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG, 0, NULL, NULL, http__answer, &server->handlers,
        MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL, MHD_OPTION_LISTEN_SOCKET, listener,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CLIENT_MEMORY_BYTES, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
        MHD_OPTION_NOTIFY_COMPLETED, http__answered, NULL, MHD_OPTION_END);
}

static void start_handles(struct http_server *server, uv_loop_t *loop)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int failure = uv_poll_init(loop, &server->poll, info->epoll_fd);
    ASSERT(failure == 0); /* fails only for what is no descriptor, or polled already */
    server->poll.data = server;
    uv_poll_start(&server->poll, UV_READABLE, on_readable);
    uv_timer_init(loop, &server->timer);
    server->timer.data = server;
    server->open_handles = 2;
}

enum err http_start(uv_loop_t *loop, const char *bind, const struct http_handlers *handlers,
                    struct http_server **out)
{
    const char *why = NULL;
    int listener = open_listener(bind, &why);
    if (listener < 0) {
        log_error(LOG_HTTP, "cannot listen", log_text("bind", bind), log_text("error", why));
        return ERR_ADDRESS;
    }
    struct http_server *server = mem_alloc(sizeof(*server));
    server->handlers = *handlers;
    server->port = port_of(listener);
    server->lifetime_ms = CLIENT_LIFETIME_MS;
    list_init(&server->clients);
    server->daemon = start_daemon(server, listener);
    if (server->daemon == NULL) {
        log_error(LOG_HTTP, "cannot start", log_text("bind", bind));
        mem_free(server);
        return ERR_IO;
    }
    start_handles(server, loop);
    log_notice(LOG_HTTP, "listening", log_text("bind", bind), log_uint("port", server->port));
    *out = server;
    return ERR_OK;
}

uint16_t http_port(const struct http_server *server)
{
    return server->port;
}

void http_set_lifetime(struct http_server *server, uint64_t lifetime_ms)
{
    server->lifetime_ms = lifetime_ms;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;
    server->open_handles--;
    if (server->open_handles == 0) {
        mem_free(server);
    }
}

void http_stop(struct http_server *server)
{
    if (server == NULL) {
        return;
    }
    uv_close((uv_handle_t *)&server->poll, on_handle_closed);
    uv_close((uv_handle_t *)&server->timer, on_handle_closed);
    MHD_stop_daemon(server->daemon);
    server->daemon = NULL;
}
