#include "tests/unit/node/auth/http_support.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ssl.h>

#define CONNECTIONS_MAX 512
#define BODY_MAX 65536
#define PATIENCE_MS 10000

struct http_peer;

struct peer_connection {
    struct http_peer *peer;
    pthread_t thread;
    int fd;
    SSL *tls;
    char *request; /* what has come */
    size_t len;
};

struct http_peer {
    int fd;
    uint16_t port;
    SSL_CTX *tls;
    pthread_t thread;
    char url[300];

    pthread_mutex_t lock;
    pthread_cond_t change;
    bool stopped;
    enum http_peer_manner manner;
    unsigned status;
    unsigned delay_ms;
    char body[BODY_MAX];
    unsigned requests;
    unsigned busy;
    unsigned most;
    char *request;
    struct peer_connection *connections[CONNECTIONS_MAX];
    unsigned connection_count;
};

/* ---- bytes ----------------------------------------------------------------------------------- */

static ssize_t receive(struct peer_connection *connection, void *data, size_t size)
{
    return connection->tls != NULL ? SSL_read(connection->tls, data, (int)size)
                                   : recv(connection->fd, data, size, 0);
}

static bool transmit(struct peer_connection *connection, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t sent = connection->tls != NULL ? SSL_write(connection->tls, at, (int)len)
                                               : send(connection->fd, at, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* The length of the whole request that stands at the beginning; 0: it isn't there yet. */
static size_t request_len(const struct peer_connection *connection)
{
    const char *end = strstr(connection->request, "\r\n\r\n");
    const char *field = strcasestr(connection->request, "\r\nContent-Length:");
    if (end == NULL || field == NULL) {
        return 0;
    }
    size_t len = (size_t)(end + 4 - connection->request) + strtoul(field + 17, NULL, 10);
    return connection->len >= len ? len : 0;
}

static bool read_request(struct peer_connection *connection, size_t *len)
{
    while ((*len = request_len(connection)) == 0) {
        size_t room = HTTP_PEER_REQUEST_MAX - connection->len;
        ssize_t got = receive(connection, connection->request + connection->len, room);
        if (got <= 0) {
            return false;
        }
        connection->len += (size_t)got;
        connection->request[connection->len] = '\0';
    }
    return true;
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool stopped(struct http_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    bool result = peer->stopped;
    pthread_mutex_unlock(&peer->lock);
    return result;
}

/* Waits, but not for longer than the peer lives. */
static void wait_ms(struct http_peer *peer, unsigned ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&peer->lock);
    while (!peer->stopped && pthread_cond_timedwait(&peer->change, &peer->lock, &until) == 0) {
    }
    pthread_mutex_unlock(&peer->lock);
}

static bool answer_normally(struct peer_connection *connection, unsigned status, const char *body)
{
    static _Thread_local char all[BODY_MAX + 300];
    int len =
        snprintf(all, sizeof(all),
                 "HTTP/1.1 %u Words\r\nContent-Type: application/json\r\n%s"
                 "Content-Length: %zu\r\n\r\n%s",
                 status, status / 100 == 3 ? "Location: /elsewhere\r\n" : "", strlen(body), body);
    return transmit(connection, all, (size_t)len);
}

static bool answer_for_ever(struct peer_connection *connection, bool slowly)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    static char blanks[65536];
    memset(blanks, ' ', sizeof(blanks));
    bool good = transmit(connection, head, sizeof(head) - 1);
    while (good && !stopped(connection->peer)) {
        good = transmit(connection, " ", 1) &&
               (slowly || transmit(connection, blanks + 1, sizeof(blanks) - 1));
        if (slowly) {
            wait_ms(connection->peer, 20);
        }
    }
    return false;
}

/* True: the connection stays. */
static bool answer(struct peer_connection *connection)
{
    struct http_peer *peer = connection->peer;
    static _Thread_local char body[BODY_MAX];
    pthread_mutex_lock(&peer->lock);
    enum http_peer_manner manner = peer->manner;
    unsigned status = peer->status, delay_ms = peer->delay_ms;
    memcpy(body, peer->body, sizeof(body));
    pthread_mutex_unlock(&peer->lock);
    if (delay_ms > 0) {
        wait_ms(peer, delay_ms);
    }
    switch (manner) {
    case HTTP_PEER_ANSWERS:
        return answer_normally(connection, status, body);
    case HTTP_PEER_SILENT:
        return true;
    case HTTP_PEER_CLOSES:
        return false;
    case HTTP_PEER_ENDLESS:
    case HTTP_PEER_TRICKLE:
        return answer_for_ever(connection, manner == HTTP_PEER_TRICKLE);
    case HTTP_PEER_RAW:
        transmit(connection, body, strlen(body));
        return false;
    }
    return false;
}

/* ---- threads --------------------------------------------------------------------------------- */

static void note_request(struct peer_connection *connection, size_t len)
{
    struct http_peer *peer = connection->peer;
    pthread_mutex_lock(&peer->lock);
    peer->requests++;
    peer->busy++;
    peer->most = peer->busy > peer->most ? peer->busy : peer->most;
    free(peer->request);
    peer->request = strndup(connection->request, len);
    pthread_cond_broadcast(&peer->change);
    pthread_mutex_unlock(&peer->lock);
}

static void note_answer(struct http_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    peer->busy--;
    pthread_mutex_unlock(&peer->lock);
}

static void *serve(void *argument)
{
    struct peer_connection *connection = argument;
    size_t len = 0;
    bool stays = connection->tls == NULL || SSL_accept(connection->tls) == 1;
    while (stays && read_request(connection, &len)) {
        note_request(connection, len);
        stays = answer(connection);
        note_answer(connection->peer);
        memmove(connection->request, connection->request + len, connection->len - len + 1);
        connection->len -= len;
    }
    if (connection->tls != NULL) {
        SSL_shutdown(connection->tls);
    }
    shutdown(connection->fd, SHUT_RDWR);
    return NULL;
}

static void add_connection(struct http_peer *peer, int fd)
{
    struct peer_connection *connection = calloc(1, sizeof(*connection));
    connection->peer = peer;
    connection->fd = fd;
    connection->request = calloc(1, HTTP_PEER_REQUEST_MAX + 1);
    if (peer->tls != NULL) {
        connection->tls = SSL_new(peer->tls);
        SSL_set_fd(connection->tls, fd);
    }
    pthread_mutex_lock(&peer->lock);
    peer->connections[peer->connection_count++] = connection;
    pthread_mutex_unlock(&peer->lock);
    pthread_create(&connection->thread, NULL, serve, connection);
}

static void *accept_all(void *argument)
{
    struct http_peer *peer = argument;
    for (;;) {
        int fd = accept4(peer->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || peer->connection_count == CONNECTIONS_MAX) {
            return NULL;
        }
        add_connection(peer, fd);
    }
}

/* ---- a peer ---------------------------------------------------------------------------------- */

static int loopback_socket(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

uint16_t http_closed_port(void)
{
    uint16_t port = 0;
    close(loopback_socket(&port));
    return port;
}

struct http_peer *http_peer_create(const char *certificate, const char *key)
{
    struct http_peer *peer = calloc(1, sizeof(*peer));
    signal(SIGPIPE, SIG_IGN); /* as the broker does */
    pthread_mutex_init(&peer->lock, NULL);
    pthread_cond_init(&peer->change, NULL);
    peer->status = 200;
    peer->fd = loopback_socket(&peer->port);
    assert_int_equal(listen(peer->fd, 256), 0);
    if (certificate != NULL) {
        peer->tls = SSL_CTX_new(TLS_server_method());
        assert_int_equal(SSL_CTX_use_certificate_chain_file(peer->tls, certificate), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey_file(peer->tls, key, SSL_FILETYPE_PEM), 1);
    }
    assert_int_equal(pthread_create(&peer->thread, NULL, accept_all, peer), 0);
    return peer;
}

void http_peer_destroy(struct http_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    peer->stopped = true;
    pthread_cond_broadcast(&peer->change);
    pthread_mutex_unlock(&peer->lock);
    shutdown(peer->fd, SHUT_RDWR);
    pthread_join(peer->thread, NULL);
    for (unsigned i = 0; i < peer->connection_count; i++) {
        struct peer_connection *connection = peer->connections[i];
        shutdown(connection->fd, SHUT_RDWR);
        pthread_join(connection->thread, NULL);
        SSL_free(connection->tls);
        close(connection->fd);
        free(connection->request);
        free(connection);
    }
    close(peer->fd);
    SSL_CTX_free(peer->tls);
    free(peer->request);
    pthread_mutex_destroy(&peer->lock);
    pthread_cond_destroy(&peer->change);
    free(peer);
}

uint16_t http_peer_port(const struct http_peer *peer)
{
    return peer->port;
}

const char *http_peer_url(struct http_peer *peer, const char *path)
{
    snprintf(peer->url, sizeof(peer->url), "http%s://127.0.0.1:%u%s", peer->tls != NULL ? "s" : "",
             peer->port, path);
    return peer->url;
}

void http_peer_be(struct http_peer *peer, enum http_peer_manner manner, unsigned status,
                  const char *body)
{
    pthread_mutex_lock(&peer->lock);
    peer->manner = manner;
    peer->status = status;
    snprintf(peer->body, sizeof(peer->body), "%s", body);
    pthread_mutex_unlock(&peer->lock);
}

void http_peer_delay(struct http_peer *peer, unsigned ms)
{
    pthread_mutex_lock(&peer->lock);
    peer->delay_ms = ms;
    pthread_mutex_unlock(&peer->lock);
}

static unsigned look_at(struct http_peer *peer, const unsigned *number)
{
    pthread_mutex_lock(&peer->lock);
    unsigned value = *number;
    pthread_mutex_unlock(&peer->lock);
    return value;
}

unsigned http_peer_connections(struct http_peer *peer)
{
    return look_at(peer, &peer->connection_count);
}

unsigned http_peer_requests(struct http_peer *peer)
{
    return look_at(peer, &peer->requests);
}

unsigned http_peer_most(struct http_peer *peer)
{
    return look_at(peer, &peer->most);
}

void http_peer_await(struct http_peer *peer, unsigned requests)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    int result = 0;
    pthread_mutex_lock(&peer->lock);
    while (peer->requests < requests && result == 0) {
        result = pthread_cond_timedwait(&peer->change, &peer->lock, &until);
    }
    pthread_mutex_unlock(&peer->lock);
    assert_int_equal(result, 0);
}

char *http_peer_request(struct http_peer *peer)
{
    pthread_mutex_lock(&peer->lock);
    char *copy = strdup(peer->request != NULL ? peer->request : "");
    pthread_mutex_unlock(&peer->lock);
    return copy;
}
