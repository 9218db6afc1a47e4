/*
 * http_support: a small HTTP server on a loopback port, that answers as it is told, badly too.
 *
 * Thread    its functions: the test's. It serves each connection on a thread of its own.
 */
#ifndef PULSE_TESTS_UNIT_NODE_AUTH_HTTP_SUPPORT_H
#define PULSE_TESTS_UNIT_NODE_AUTH_HTTP_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_PEER_REQUEST_MAX (512u * 1024)

enum http_peer_manner {
    HTTP_PEER_ANSWERS,
    HTTP_PEER_SILENT,  /* reads and says nothing */
    HTTP_PEER_CLOSES,  /* reads and closes */
    HTTP_PEER_ENDLESS, /* a body without end */
    HTTP_PEER_TRICKLE, /* a byte at a time, for ever */
    HTTP_PEER_RAW      /* the body is the whole answer, then it closes */
};

struct http_peer;

/* Starts one. `certificate` and `key` are names of PEM files; NULL: no TLS. */
struct http_peer *http_peer_create(const char *certificate, const char *key);
void http_peer_destroy(struct http_peer *peer);

uint16_t http_peer_port(const struct http_peer *peer);
/* The URL of `path` on it. Borrowed until the next call. */
const char *http_peer_url(struct http_peer *peer, const char *path);

/* How requests are answered from now on, and after how long. */
void http_peer_be(struct http_peer *peer, enum http_peer_manner manner, unsigned status,
                  const char *body);
void http_peer_delay(struct http_peer *peer, unsigned ms);

unsigned http_peer_connections(struct http_peer *peer);
unsigned http_peer_requests(struct http_peer *peer);
/* The most requests that were being answered at once. */
unsigned http_peer_most(struct http_peer *peer);
/* Waits until that many requests have come. */
void http_peer_await(struct http_peer *peer, unsigned requests);
/* A copy of the latest request, headers and body; free() it. */
char *http_peer_request(struct http_peer *peer);

/* A loopback port on which nobody listens. */
uint16_t http_closed_port(void);

#endif
