/*
 * secure_stream: a connection to the broker as bytes, over TCP or a unix socket, with a PROXY
 * header and TLS where they are asked for. What is right or wrong is the caller's business.
 *
 * Owns      its socket and TLS state: secure_close(). All are closed by secure_close_all().
 * Thread    the test's.
 * Errors    no connection, or a broker that takes no bytes for WAIT_MS, fails the test; all else is
 *           told.
 * Not here  WebSocket (secure_websocket.h), MQTT clients on top (secure_client.h).
 */
#ifndef TESTS_INTEGRATION_SECURE_STREAM_H
#define TESTS_INTEGRATION_SECURE_STREAM_H

#include <openssl/ssl.h>

#include "tests/integration/client.h"

/* How to connect. Everything zero is plain TCP to 127.0.0.1, at the port of client_use_port(). */
struct secure_way {
    uint16_t port;
    const char *host;      /* 127.0.0.1, ::1 ... */
    const char *unix_path; /* instead of host and port */
    const void *preface;   /* sent before anything else: a PROXY header */
    size_t preface_len;
    bool tls;
    int tls_version; /* TLS1_2_VERSION, TLS1_3_VERSION; 0: any */
    const char *ca;  /* file; the broker's certificate must be signed by it. NULL: any is good */
    const char *certificate; /* files of the client's; NULL: none */
    const char *key;
    const char *alpn;            /* offered protocols, separated by commas; NULL: none */
    SSL_SESSION *session;        /* to be resumed */
    bool websocket;              /* for secure_websocket.h and secure_client.h */
    const char *path;            /* /mqtt */
    const char *origin;          /* NULL: no such header field */
    const char *subprotocols;    /* mqtt; "": no such header field */
    const char *websocket_extra; /* header fields, each ended by \r\n */
};

struct secure_stream {
    struct secure_stream *next;
    int fd;
    SSL *ssl;
    SSL_CTX *context;
    bool is_open;         /* the handshake is done */
    bool ended;           /* the broker has closed its side */
    int alert;            /* that the broker sent; -1: none */
    bool said_good_bye;   /* close_notify came */
    SSL_SESSION *session; /* the newest that can be resumed; NULL: none */
    struct buffer input;  /* what was read and not taken yet */
};

/* Connects, sends the preface, and goes through the TLS handshake, which may fail: is_open. */
#define secure_open(...) secure_open_at(__VA_ARGS__, HERE)

/* The same, and the handshake must succeed. */
#define secure_must_open(...) secure_must_open_at(__VA_ARGS__, HERE)

/* Connects and sends the preface only. */
#define secure_begin(...) secure_begin_at(__VA_ARGS__, HERE)

void secure_close(struct secure_stream *stream);
void secure_close_all(void);

#define secure_send(stream, bytes, len) secure_send_at(stream, bytes, len, HERE)
#define secure_send_text(stream, text) secure_send_at(stream, text, strlen(text), HERE)

/* Bytes past TLS, straight to the socket. */
void secure_send_raw(struct secure_stream *stream, const void *bytes, size_t len);

/*
 * Waits until at least `len` bytes are in `input`. False: the stream ended before, or `timeout_ms`
 * passed.
 */
bool secure_fill(struct secure_stream *stream, size_t len, int timeout_ms);

/* The broker ends the connection, whatever it says before. */
#define secure_expect_end(stream) secure_expect_end_at(stream, WAIT_MS, HERE)

/* As send(2) and recv(2) on a socket that does not block. */
ssize_t secure_send_some(struct secure_stream *stream, const void *bytes, size_t len);
ssize_t secure_receive_some(struct secure_stream *stream, void *to, size_t size);

/* Serial number of the broker's certificate. */
long secure_peer_serial(const struct secure_stream *stream);

struct secure_stream *secure_begin_at(const struct secure_way *way, struct here here);
struct secure_stream *secure_open_at(const struct secure_way *way, struct here here);
struct secure_stream *secure_must_open_at(const struct secure_way *way, struct here here);
void secure_send_at(struct secure_stream *stream, const void *bytes, size_t len, struct here here);
void secure_expect_end_at(struct secure_stream *stream, int timeout_ms, struct here here);

#endif
