/*
 * conn: one client connection: bytes in, packets to the protocol's functions, packets out.
 *
 *     CONNECT -> ONLINE -> LINGER -> CLOSED
 *
 * CONNECT waits for the client's CONNECT; ONLINE has a session; LINGER has said its last word and
 * waits shortly for the peer to close; CLOSED waits for libuv to let go of the handle. A connection
 * is never torn down inside the call that found the reason: conn_close marks it, worker_flush
 * finishes it.
 *
 * Owns      its socket, buffers, aliases. Its session is referred to, not owned.
 * Thread    its worker.
 * Errors    what the client does wrong ends in conn_close with a reason.
 * Source    MQTT 5.0 chapters 3 and 4.
 */
#ifndef PULSE_NODE_CONN_H
#define PULSE_NODE_CONN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/slice.h"
#include "codec/mqtt.h"
#include "node/metrics.h"
#include "node/outbuf.h"
#include "node/timer.h"

struct alias_in;
struct alias_out;
struct session;
struct throttle_waits;
struct worker;

enum conn_state { CONN_CONNECT, CONN_ONLINE, CONN_LINGER, CONN_CLOSED, CONN_STATES };

struct conn {
    uv_tcp_t tcp;
    struct worker *worker;
    struct session *session; /* NULL unless ONLINE */
    struct list of_worker;
    struct list pending_link; /* in worker->closing or worker->resumed */
    struct list dirty_link;   /* in worker->dirty while there is output to write */
    /* CONNECT: its deadline; ONLINE: keep alive, stalls; LINGER: the end */
    struct timer timer;
    struct outbuf out;
    uint8_t *partial; /* an incomplete packet, or input kept while reading is paused */
    struct alias_in *aliases_in;
    struct alias_out *aliases_out;
    struct throttle_waits *waits; /* publishers paused because this consumer is behind */
    uint64_t last_in_ms;
    uint64_t stalled_since_ms; /* when the oldest output began to wait; moves with progress */
    uint64_t serial;           /* of its session's connections on this worker */
    uint32_t partial_len;
    uint32_t partial_cap;
    uint32_t out_messages;    /* PUBLISH packets in `out`, about */
    uint32_t answers;         /* bytes of other packets in `out`, about */
    uint32_t max_packet_size; /* the client's Maximum Packet Size */
    uint32_t keep_alive_ms;   /* 1.5 times the interval; 0: none */
    uint32_t stalled_bytes;   /* transport_unsent when last looked at */
    uint16_t receive_maximum; /* the client's */
    uint16_t alias_out_maximum;
    uint8_t close_reason; /* for DISCONNECT, once closing */
    uint8_t close_metric; /* METRIC_CLOSED_..., once closing */
    uint8_t move_to;      /* a worker, when `moving` */
    uint8_t state;        /* enum conn_state */
    uint8_t version;      /* enum mqtt_version; 0: not known yet */
    /* not read from: too many answers wait for the client to take them */
    bool choked : 1;
    bool writing : 1; /* a uv_write is under way */
    bool closing : 1;
    bool tell : 1;         /* send DISCONNECT (or CONNACK) with close_reason when closing */
    bool resumed : 1;      /* its session was there before */
    bool keep_will : 1;    /* the session's will is published when this ends */
    bool problem_info : 1; /* reason strings are welcome */
    bool reading : 1;
    bool moving : 1; /* CONNECT came: to be handed to the worker of its session */
    bool handle_open : 1;
};

/* A new connection over `fd` (taken), in state CONNECT. `early` are bytes that were read already.
 */
void conn_open(struct worker *worker, uv_os_sock_t fd, struct slice early);

/* ---- bytes in (conn_input.c) ----------------------------------------------------------------- */

/* Takes in `bytes`: handles whole packets, keeps an incomplete one. In a read section. */
void conn_input(struct conn *conn, struct slice bytes);

/* The buffer that the next bytes are best read into. */
uv_buf_t conn_input_buffer(struct conn *conn);
/* `len` bytes have been read into the buffer of the last conn_input_buffer. */
void conn_input_read(struct conn *conn, const uv_buf_t *buffer, size_t len);

/* Its session must not publish for now: reading stops, and input that is there is kept. */
void conn_paused(struct conn *conn);
/* It may again: conn_go_on follows at the end of this loop iteration. */
void conn_resumed(struct conn *conn);
/* For worker_flush: handles the input that was kept, and reads again. */
void conn_go_on(struct conn *conn);
bool conn_is_paused(const struct conn *conn);
/* Frees input that was kept. */
void conn_drop_input(struct conn *conn);

/* ---- its end --------------------------------------------------------------------------------- */

/*
 * Ends the connection at the end of this loop iteration; only the first call counts. `metric` is a
 * METRIC_CLOSED_...; with `tell` a 5.0 client gets DISCONNECT `reason`. The will is published
 * unless conn->keep_will was cleared before.
 */
void conn_close(struct conn *conn, enum metric metric, enum mqtt_reason reason, bool tell);
/* For worker_flush: carries out what conn_close, or conn_on_connect by `moving`, asked for. */
void conn_finish(struct conn *conn);
/* Hands the connection to the worker of its session, CONNECT and all (conn_move.c). */
void conn_move(struct conn *conn);
/* Frees what a connection that is ending does not need any more. */
void conn_drop_state(struct conn *conn);
/* Goes to state `next`, which must be allowed. */
void conn_enter(struct conn *conn, enum conn_state next);

/* A protocol violation: DISCONNECT (or CONNACK) with `reason`, counted, logged at debug level. */
void conn_violation(struct conn *conn, enum mqtt_reason reason, const char *what);

/* ---- output and time ------------------------------------------------------------------------- */

/* An answer of `len` bytes is in its output: with too many of them reading stops until they are
 * taken. */
void conn_answered(struct conn *conn, size_t len);
/* Its output is written at the end of this loop iteration. */
void conn_dirty(struct conn *conn);
/* The socket took output: the consumer made progress. */
void conn_written(struct conn *conn);
/* Sets the timer to what is due first; called after changes of what it waits for. */
void conn_arm_timer(struct conn *conn);

/* For logs: "address:port" of the peer. */
const char *conn_peer(const struct conn *conn, char *out, size_t size);

static inline bool conn_online(const struct conn *conn)
{
    return conn != NULL && conn->state == CONN_ONLINE && !conn->closing;
}

/* ---- packets, one function per type; conn_packets.c and the files named after them ----------- */

void conn_on_connect(struct conn *conn, struct slice body);
/* A CONNECT over the size limit, of which `start` has come: a 5.0 client is told why. */
void conn_refuse_large_connect(struct conn *conn, struct slice start);
void conn_on_publish(struct conn *conn, struct slice body, uint8_t flags);
void conn_on_ack(struct conn *conn, enum mqtt_packet type, struct slice body);
void conn_on_subscribe(struct conn *conn, struct slice body);
void conn_on_unsubscribe(struct conn *conn, struct slice body);
void conn_on_disconnect(struct conn *conn, struct slice body);

/* ---- sending --------------------------------------------------------------------------------- */

void conn_send_ack(struct conn *conn, enum mqtt_packet type, uint16_t packet_id, uint8_t reason);
void conn_send_suback(struct conn *conn, enum mqtt_packet type, uint16_t packet_id,
                      const uint8_t *reasons, size_t count);
void conn_send_connack(struct conn *conn, const struct mqtt_connack *connack);
void conn_send_disconnect(struct conn *conn, enum mqtt_reason reason);
void conn_send_pingresp(struct conn *conn);

#endif
