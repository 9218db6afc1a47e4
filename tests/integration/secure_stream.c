#include "tests/integration/secure_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/err.h>

enum { READ_SIZE = 65536, ALPN_SIZE = 256 };

/* Every open stream is in the list that starts here. */
static struct secure_stream *streams;

/* ---- sockets --------------------------------------------------------------------------------- */

static int connect_tcp(const struct secure_way *way)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    const char *host = way->host != NULL ? way->host : "127.0.0.1";
    uint16_t port = htons(way->port != 0 ? way->port : client_port());
    bool is_v6 = inet_pton(AF_INET6, host, &v6.sin6_addr) == 1;
    if (!is_v6) {
        inet_pton(AF_INET, host, &v4.sin_addr);
    }
    v6.sin6_port = v4.sin_port = port;
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr *address =
        is_v6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4;
    if (fd >= 0 && connect(fd, address, is_v6 ? sizeof(v6) : sizeof(v4)) == 0) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

void secure_send_raw(struct secure_stream *stream, const void *bytes, size_t len)
{
    /* The broker may have closed already: tests that send wrong bytes look for that. */
    (void)!send(stream->fd, bytes, len, MSG_NOSIGNAL);
}

struct secure_stream *secure_begin_at(const struct secure_way *way, struct here here)
{
    int fd = way->unix_path != NULL ? connect_unix(way->unix_path) : connect_tcp(way);
    if (fd < 0) {
        fail_at(here, "cannot connect: %s", strerror(errno));
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    struct secure_stream *stream = calloc(1, sizeof(*stream));
    if (stream == NULL) {
        abort();
    }
    stream->fd = fd;
    stream->alert = -1;
    stream->next = streams;
    streams = stream;
    if (way->preface_len > 0) {
        secure_send_raw(stream, way->preface, way->preface_len);
    }
    return stream;
}

void secure_close(struct secure_stream *stream)
{
    struct secure_stream **link = &streams;
    while (*link != stream) {
        link = &(*link)->next;
    }
    *link = stream->next;
    if (stream->ssl != NULL) {
        SSL_set_shutdown(stream->ssl, SSL_SENT_SHUTDOWN); /* its session stays good */
    }
    SSL_free(stream->ssl);
    SSL_CTX_free(stream->context);
    SSL_SESSION_free(stream->session);
    buffer_fini(&stream->input);
    close(stream->fd);
    free(stream);
}

void secure_close_all(void)
{
    while (streams != NULL) {
        secure_close(streams);
    }
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct secure_stream *stream = SSL_get_app_data(ssl);
    SSL_SESSION_free(stream->session);
    stream->session = session;
    return 1;
}

static void offer_protocols(SSL *ssl, const char *names)
{
    unsigned char list[ALPN_SIZE];
    unsigned len = 0;
    while (*names != '\0') {
        size_t name_len = strcspn(names, ",");
        list[len++] = (unsigned char)name_len;
        memcpy(list + len, names, name_len);
        len += (unsigned)name_len;
        names += name_len + (names[name_len] == ',');
    }
    SSL_set_alpn_protos(ssl, list, len);
}

static void set_up_tls(struct secure_stream *stream, const struct secure_way *way, struct here here)
{
    SSL_CTX *context = stream->context = SSL_CTX_new(TLS_client_method());
    bool is_good = context != NULL &&
                   SSL_CTX_set_min_proto_version(context, way->tls_version) == 1 &&
                   SSL_CTX_set_max_proto_version(context, way->tls_version) == 1;
    if (is_good && way->ca != NULL) {
        is_good = SSL_CTX_load_verify_locations(context, way->ca, NULL) == 1;
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    if (is_good && way->certificate != NULL) {
        is_good = SSL_CTX_use_certificate_file(context, way->certificate, SSL_FILETYPE_PEM) == 1 &&
                  SSL_CTX_use_PrivateKey_file(context, way->key, SSL_FILETYPE_PEM) == 1;
    }
    if (!is_good) {
        fail_at(here, "cannot set up TLS: %s", ERR_reason_error_string(ERR_get_error()));
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, on_new_session);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    stream->ssl = SSL_new(context);
    SSL_set_app_data(stream->ssl, stream);
    SSL_set_fd(stream->ssl, stream->fd);
    SSL_set_connect_state(stream->ssl);
    if (way->alpn != NULL) {
        offer_protocols(stream->ssl, way->alpn);
    }
    if (way->session != NULL) {
        SSL_set_session(stream->ssl, way->session);
    }
}

/* After a call that gave `result`: sets errno, or gives 0 for the end. */
static ssize_t explain(struct secure_stream *stream, int result)
{
    int reason = SSL_get_error(stream->ssl, result);
    if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    unsigned long code = ERR_peek_error();
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET) {
        stream->alert = ERR_GET_REASON(code) - SSL_AD_REASON_OFFSET;
    }
    ERR_clear_error();
    stream->said_good_bye = (SSL_get_shutdown(stream->ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
    errno = EPROTO;
    return reason == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static void wait_for(const struct secure_stream *stream, short events, int timeout_ms)
{
    struct pollfd ready = {.fd = stream->fd, .events = events};
    poll(&ready, 1, timeout_ms > 0 ? timeout_ms : 0);
}

struct secure_stream *secure_open_at(const struct secure_way *way, struct here here)
{
    struct secure_stream *stream = secure_begin_at(way, here);
    if (!way->tls) {
        stream->is_open = true;
        return stream;
    }
    set_up_tls(stream, way, here);
    long deadline = clock_ms() + WAIT_MS;
    while (!stream->is_open && !stream->ended && clock_ms() < deadline) {
        int result = SSL_do_handshake(stream->ssl);
        stream->is_open = result == 1;
        if (!stream->is_open) {
            stream->ended = explain(stream, result) == 0 || errno != EAGAIN;
            wait_for(stream, POLLIN, stream->ended ? 0 : (int)(deadline - clock_ms()));
        }
    }
    return stream;
}

struct secure_stream *secure_must_open_at(const struct secure_way *way, struct here here)
{
    struct secure_stream *stream = secure_open_at(way, here);
    if (!stream->is_open) {
        fail_at(here, "the TLS handshake failed, alert %d (%s)", stream->alert,
                stream->alert >= 0 ? SSL_alert_desc_string_long(stream->alert) : "none");
    }
    return stream;
}

long secure_peer_serial(const struct secure_stream *stream)
{
    X509 *certificate = SSL_get1_peer_certificate(stream->ssl);
    long serial = certificate ? ASN1_INTEGER_get(X509_get0_serialNumber(certificate)) : -1;
    X509_free(certificate);
    return serial;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

ssize_t secure_send_some(struct secure_stream *stream, const void *bytes, size_t len)
{
    if (stream->ssl == NULL) {
        return send(stream->fd, bytes, len, MSG_NOSIGNAL);
    }
    int result =
        len > 0 ? SSL_write(stream->ssl, bytes, (int)(len < READ_SIZE ? len : READ_SIZE)) : 1;
    if (result > 0) {
        return len > 0 ? result : 0;
    }
    return explain(stream, result) == 0 ? -1 : -1;
}

ssize_t secure_receive_some(struct secure_stream *stream, void *to, size_t size)
{
    ssize_t got;
    if (stream->ssl == NULL) {
        got = recv(stream->fd, to, size, 0);
    } else {
        int result = SSL_read(stream->ssl, to, (int)size);
        got = result > 0 ? result : explain(stream, result);
    }
    stream->ended = stream->ended || got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    return got;
}

void secure_send_at(struct secure_stream *stream, const void *bytes, size_t len, struct here here)
{
    long deadline = clock_ms() + WAIT_MS;
    size_t at = 0;
    while (at < len) {
        ssize_t sent = secure_send_some(stream, (const uint8_t *)bytes + at, len - at);
        if (sent < 0 && errno != EAGAIN) {
            return; /* closed already: whoever sends wrong bytes looks for that */
        }
        if (sent < 0) {
            wait_for(stream, POLLOUT, 100);
        }
        at += sent > 0 ? (size_t)sent : 0;
        if (clock_ms() > deadline) {
            fail_at(here, "the broker takes no bytes any more, %zu are left", len - at);
        }
    }
}

bool secure_fill(struct secure_stream *stream, size_t len, int timeout_ms)
{
    static uint8_t bytes[READ_SIZE];
    long deadline = clock_ms() + timeout_ms;
    while (stream->input.len < len && !stream->ended) {
        ssize_t got = secure_receive_some(stream, bytes, sizeof(bytes));
        if (got > 0) {
            put_bytes(&stream->input, bytes, (size_t)got);
            continue;
        }
        long left = deadline - clock_ms();
        if (left < 0) {
            return false;
        }
        if (!stream->ended) {
            wait_for(stream, POLLIN, (int)left);
        }
    }
    return stream->input.len >= len;
}

void secure_expect_end_at(struct secure_stream *stream, int timeout_ms, struct here here)
{
    secure_fill(stream, SIZE_MAX, timeout_ms);
    if (!stream->ended) {
        fail_at(here, "the broker did not close the connection within %d ms", timeout_ms);
    }
}
