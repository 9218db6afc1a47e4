/*
 * transport: the socket under a connection: libuv's handle (TCP, or a unix socket), reading and
 * writing. What carries MQTT differently (TLS, WebSocket) is in layers.h, between the socket and
 * conn_input / conn->out.
 *
 * Owns      the handle in struct conn.
 * Thread    the worker.
 * Errors    reported to the connection by conn_close.
 */
#ifndef PULSE_NODE_TRANSPORT_H
#define PULSE_NODE_TRANSPORT_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"
#include "base/macros.h"

struct conn;

/* Takes `fd`, also on failure. */
must_check enum err transport_open(struct conn *conn, uv_os_sock_t fd);
void transport_read_start(struct conn *conn);
void transport_read_stop(struct conn *conn);
/* Writes what `conn->out` holds, as far as the socket takes it; the rest follows by itself. */
void transport_flush(struct conn *conn);
/* Nothing waits to be written. */
bool transport_drained(const struct conn *conn);
/* The first `len` bytes of conn->out are written, or encoded: drops and counts them. */
void transport_took(struct conn *conn, size_t len);
/* Bytes that the peer has not acknowledged, in libuv's queue and the kernel's. */
uint32_t transport_unsent(struct conn *conn);
/* Says to the peer that nothing more comes. */
void transport_shutdown(struct conn *conn);
/* Closes; `conn` is freed when libuv lets go of the handle. */
void transport_close(struct conn *conn);
/* A duplicate of the descriptor, to move the connection to another loop; -1: no descriptor left. */
int transport_duplicate(struct conn *conn);

#endif
