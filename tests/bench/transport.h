/*
 * transport: what lies between a connection's socket and MQTT: TLS by OpenSSL, WebSocket frames, or
 * both. A connection over plain TCP has none.
 *
 * Owns      struct transport_plan: the settings, and sessions that can be resumed. struct
 *           transport: the state of one connection; the socket stays its link's.
 * Thread    the loop's.
 * Errors    as send(2) and recv(2); transport_error() says it in words.
 * Source    RFC 8446 and RFC 5246 by OpenSSL; RFC 6455 (frames.h).
 * Not here  the server's side of a handshake, measured alone (handshake.c).
 */
#ifndef TESTS_BENCH_TRANSPORT_H
#define TESTS_BENCH_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct transport;
struct transport_plan;
struct options;

enum transport_status {
    TRANSPORT_OPEN,        /* handshakes are done: MQTT may be sent */
    TRANSPORT_WANTS_READ,  /* call again when there is input */
    TRANSPORT_WANTS_WRITE, /* or when the socket takes more */
    TRANSPORT_BROKEN
};

/* True for a word that --transport takes. */
bool transport_is_known(const char *word);

/* `*plan` is NULL for plain TCP. False, and told on stderr: it can't be. */
bool transport_plan_create(const struct options *options, struct transport_plan **plan);
void transport_plan_destroy(struct transport_plan *plan);

/* For a socket that is being connected. NULL: out of memory. */
struct transport *transport_create(struct transport_plan *plan, int fd);
void transport_destroy(struct transport *transport);

/* Goes on with the handshakes. */
enum transport_status transport_advance(struct transport *transport);

/*
 * As send(2) and recv(2) on a socket that doesn't block. Bytes that were taken may still wait here
 * (transport_has_output): send again, be it nothing, when the socket is writable.
 */
ssize_t transport_send(struct transport *transport, const void *bytes, size_t len);
ssize_t transport_receive(struct transport *transport, void *to, size_t len);
bool transport_has_output(const struct transport *transport);

/* The last read filled its buffer: there may be more which no event will tell of. */
bool transport_has_input(const struct transport *transport);

/* Constant, or valid until the next call. */
const char *transport_error(const struct transport *transport);

/* TLS connections so far, and those of them that resumed a session. */
uint64_t transport_plan_opened(const struct transport_plan *plan);
uint64_t transport_plan_resumed(const struct transport_plan *plan);

#endif
