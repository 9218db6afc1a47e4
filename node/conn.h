/*
 * conn: one client connection: bytes in, packets to the protocol's functions, packets out.
 *
 *     CONNECT -> AUTH -> ONLINE -> LINGER -> CLOSED
 *
 * CONNECT waits for the client's CONNECT; AUTH for the word on who it is (only where that is asked:
 * conn_login.c); ONLINE has a session; LINGER has said its last word and
 * waits shortly for the peer to close; CLOSED waits for libuv to let go of the handle. A connection
 * is never torn down inside the call that found the reason: conn_close marks it, worker_flush
 * finishes it.
 *
 * Owns      its socket, layers, buffers, aliases, rights. Its session is referred to, not owned.
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
struct auth_identity;
struct layers;
struct listener;
struct login;
struct publish_rate;
struct rights;
struct session;
struct throttle_waits;
struct trace;
struct worker;

enum conn_state { CONN_CONNECT, CONN_AUTH, CONN_ONLINE, CONN_LINGER, CONN_CLOSED, CONN_STATES };

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } io;
    struct worker *worker;
    struct listener *listener; /* that it came by; NULL: none */
    struct layers *layers;     /* NULL: plain TCP */
    struct login *login;       /* who it is, is being found out; NULL: not asked, or settled */
    struct rights *rights;     /* what it may do; NULL: everything */
    struct publish_rate *rate; /* how much it may publish; NULL: as it likes */
    struct sockaddr *address;  /* counted by the limits of its address; NULL: not */
    struct session *session;   /* NULL unless ONLINE */
    struct list of_worker;
    struct list pending_link; /* in worker->closing or worker->resumed */
    struct list dirty_link;   /* in worker->dirty while there is output to write */
    /* CONNECT, AUTH: their deadline; ONLINE: keep alive, stalls, limits; LINGER: the end */
    struct timer timer;
    struct trace *trace; /* its packets are watched (trace.h); NULL: they are not */
    struct outbuf out;
    uint8_t *partial; /* an incomplete packet, or input kept while reading is paused */
    struct alias_in *aliases_in;
    struct alias_out *aliases_out;
    struct throttle_waits *waits; /* publishers paused because this consumer is behind */
    uint64_t last_in_ms;
    uint64_t online_since_ms; /* when CONNACK was sent */
    uint64_t bytes_in;        /* of the socket */
    uint64_t bytes_out;
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
    bool counted : 1;     /* by the limits of connections */
    bool rate_paused : 1; /* paused until `rate` allows more */
};

/* What a connection begins with. */
struct conn_start {
    uv_os_sock_t fd;
    struct listener *listener; /* NULL: none */
    struct layers *layers;     /* NULL: plain */
    struct slice early;        /* bytes of MQTT that were read already */
    struct sockaddr *address;  /* as in struct conn; taken */
    bool moved;                /* from another worker, where it was counted */
};

/* A new connection, in state CONNECT. Takes the descriptor and the layers. */
void conn_open(struct worker *worker, const struct conn_start *start);

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

#define CONN_PEER_SIZE 128

/* The address of the client: what a PROXY header said, or the socket's peer. */
void conn_peer_address(const struct conn *conn, struct sockaddr_storage *out);
/* For logs: "address:port" of the peer, "unix" for a unix socket. */
const char *conn_peer(const struct conn *conn, char *out, size_t size);

/* ---- limits (conn_limits.c) ------------------------------------------------------------------ */

/* Counts a connection that comes; false: there are too many (counted and logged). */
bool conn_enter_limits(struct worker *worker, struct listener *listener);
/* It did not come after all. */
void conn_undo_limits(struct worker *worker, struct listener *listener);
/* For worker_create. */
void conn_init_limits(struct worker *worker);
/* One has come. False: limits.connect_rate is used up; listener_go_on is called when it is not any
 * more. */
bool conn_more_may_come(struct worker *worker);
/* The address of the client is known: counts it, or closes the connection. */
void conn_admit_address(struct conn *conn);
void conn_leave_limits(struct conn *conn);
/* Is a topic, or a filter, longer than limits.topic_bytes_max or limits.topic_levels_max allow?
 * Counts and logs it then. */
bool conn_topic_too_long(struct conn *conn, struct slice topic);
/* It is online: from now on limits.publish_rate and limits.publish_bytes_rate hold. */
void conn_start_rate(struct conn *conn);
/* A PUBLISH of `bytes` was taken: the client may have to wait. */
void conn_spend_rate(struct conn *conn, size_t bytes);
/* When it has waited long enough; CLOCK_NEVER: it does not wait. */
uint64_t conn_rate_deadline(const struct conn *conn);
/* That time has come. */
void conn_rate_go_on(struct conn *conn);

/* ---- who it is, and what it may do (conn_login.c, conn_rights.c) ------------------------------
 */

/* Asks who the client is, from its CONNECT packet `body`; the connection waits in state AUTH. */
void conn_login_begin(struct conn *conn, struct slice body, const struct mqtt_connect *connect);
/* Its AUTH packet, before and after CONNACK. MQTT 5.0 section 4.12. */
void conn_on_auth(struct conn *conn, struct slice body);
/* The answer is due, and nothing is handled meanwhile. */
bool conn_login_waits(const struct conn *conn);
/* Its client has closed, but what it had sent behind CONNECT counts if it is let in: the end is
 * looked at after that. */
bool conn_login_wants_rest(const struct conn *conn);
/* When an online client must have authenticated itself anew; CLOCK_NEVER: it does not. */
uint64_t conn_login_deadline(const struct conn *conn);
void conn_login_end(struct conn *conn);
/* From conn_connect.c: goes on with the CONNECT that was judged good. `method` and `data` are for
 * CONNACK, where enhanced authentication was used. */
void conn_login_done(struct conn *conn, struct slice body, struct slice client_id,
                     struct slice method, struct slice data);
/* From conn_connect.c: says no to a CONNECT. */
void conn_login_refused(struct conn *conn, enum mqtt_reason reason);

/* Takes the reference on `identity`, instead of an earlier one. */
void conn_set_rights(struct conn *conn, struct auth_identity *identity);
void conn_drop_rights(struct conn *conn);
/* How it authenticated itself, if by enhanced authentication; NULL: otherwise. */
void conn_set_auth_method(struct conn *conn, struct slice method);
const char *conn_auth_method(const struct conn *conn);
bool conn_may_publish(struct conn *conn, struct slice topic);
bool conn_may_subscribe(const struct conn *conn, struct slice filter);
/* May its session have this message of a time when its rights may have been others? */
bool conn_may_receive(const struct conn *conn, struct slice topic);
/* The session is resumed: what it subscribed to or holds, and may no longer have, goes. */
void conn_check_session(struct conn *conn);
/* Who it is; NULL: nobody asked. */
const struct auth_identity *conn_identity(const struct conn *conn);
/* Its name; empty: nobody asked, or it has none. */
struct slice conn_username(const struct conn *conn);
/* When its rights end, by worker_now; CLOCK_NEVER: not. */
uint64_t conn_rights_deadline(const struct conn *conn);
/* The rules have changed: looks at some connections of the worker, and at the others soon. */
void conn_recheck_all(struct worker *worker);

/* The interval in seconds that the client keeps; 0: none. */
static inline uint32_t conn_keep_alive_s(const struct conn *conn)
{
    return conn->keep_alive_ms / 1500;
}

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
void conn_send_auth(struct conn *conn, enum mqtt_reason reason, struct slice method,
                    struct slice data);

#endif
