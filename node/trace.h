/*
 * trace: watching one client: a line of JSON for each packet that it sends or gets, when it comes
 * and goes: type, sizes, topic, packet id, reason codes. Never payloads, never credentials: of
 * CONNECT only that it came.
 *
 * A trace is for a client id. It waits for its client, and stays when that leaves and comes back,
 * until it is removed.
 *
 * Owns      the lines that wait to be taken, a bounded number: more are dropped, and counted.
 * Thread    create, take, close, unref: main. The rest: the worker of the client.
 * Errors    as said.
 * Not here  who reads the lines (node/admin/stream.c).
 */
#ifndef PULSE_NODE_TRACE_H
#define PULSE_NODE_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"

/* On the node, at the same time. */
#define TRACES_MAX 4
/* Lines and bytes that wait to be taken. */
#define TRACE_LINES_MAX 2000
#define TRACE_BYTES_MAX (1024 * 1024)

struct conn;
struct trace;
struct worker;

enum trace_direction { TRACE_IN, TRACE_OUT };

/* ---- main ------------------------------------------------------------------------------------ */

/* A trace of `client_id` that runs nowhere yet. `bell` rings when there are lines to take; it stays
 * open until trace_close. Gives a reference: end it with trace_unref. */
struct trace *trace_create(struct slice client_id, uv_async_t *bell);
struct slice trace_client_id(const struct trace *trace);
/* Moves all lines to `out`. False: there were none. */
bool trace_take(struct trace *trace, struct text *out);
/* Lines that were dropped because too many waited, since the start. */
uint64_t trace_dropped(const struct trace *trace);
/* Nobody listens any more: the bell does not ring again. */
void trace_close(struct trace *trace);
void trace_unref(struct trace *trace);

/* ---- its worker ------------------------------------------------------------------------------ */

/* Begins to watch; keeps a reference. ERR_EXISTS: the client is watched already. ERR_FULL. */
must_check enum err trace_install(struct worker *worker, struct trace *trace);
/* Stops. Harmless when it does not run. */
void trace_remove(struct worker *worker, struct trace *trace);

/* The connection is online from now on: is its client to be watched? Behind session_attach, or
 * wherever conn->session is set and its properties are known. */
void trace_attach(struct conn *conn);
/* The connection leaves its session; with conn->close_reason set. Harmless when it is not watched.
 */
void trace_detach(struct conn *conn);

/* A packet of `conn`, which is watched (conn->trace). Of an outgoing PUBLISH the payload may be
 * missing behind `bytes`. */
void trace_packet(const struct conn *conn, enum trace_direction direction, struct slice bytes);

#endif
