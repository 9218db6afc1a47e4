/*
 * secure_client: clients (client.h) whose bytes go through TLS, WebSocket or both.
 *
 * Owns      the stream below a client: it ends with the client.
 * Thread    the test's.
 * Errors    a handshake that doesn't succeed fails the test (what should fail is tried with
 *           secure_open() and ws_request()).
 */
#ifndef TESTS_INTEGRATION_SECURE_CLIENT_H
#define TESTS_INTEGRATION_SECURE_CLIENT_H

#include "tests/integration/secure_websocket.h"

/* A connection without a CONNECT, speaking `version` (0: 5.0). */
#define secure_client(version, way) secure_client_at(version, way, HERE)

/* Opens, sends CONNECT, expects CONNACK with success. */
#define SECURE_CONNECT(way, ...) secure_connect_at(way, &(struct connect_packet){__VA_ARGS__}, HERE)

/* Lends the stream below `c`, which was made by one of these. */
struct secure_stream *secure_stream_of(const struct client *c);

/* Close code of the broker's close frame; 0: none so far. */
unsigned secure_close_code(const struct client *c);

struct client *secure_client_at(uint8_t version, const struct secure_way *way, struct here here);
struct client *secure_connect_at(const struct secure_way *way, const struct connect_packet *packet,
                                 struct here here);

/*
 * For running any suite over another transport: PULSE_TRANSPORT is tls, ws or wss. Gives the YAML
 * of a listener of that kind on `port`, or NULL where the variable is not set (or is tcp).
 */
const char *secure_variant_yaml(uint16_t port);

/* Opens to such a listener, at the port of client_use_port(): for client_use_opener(). */
struct client *secure_variant_open(uint8_t version, struct here here);

#endif
