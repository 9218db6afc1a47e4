#include "node/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/alias.h"
#include "node/delivery.h"
#include "node/session.h"
#include "node/throttle.h"
#include "node/transport.h"
#include "node/worker.h"

/* Time for the peer to read our last word and close. */
#define LINGER_MS 1000
/* Rests of packets from this size on are read straight to where they are kept. */
#define DIRECT_READ_MIN 16384
#define PARTIAL_MIN 512

static const uint8_t conn_next[CONN_STATES] = {
    [CONN_CONNECT] = BIT(CONN_ONLINE) | BIT(CONN_LINGER) | BIT(CONN_CLOSED),
    [CONN_ONLINE] = BIT(CONN_LINGER) | BIT(CONN_CLOSED),
    [CONN_LINGER] = BIT(CONN_CLOSED),
    [CONN_CLOSED] = 0,
};

void conn_enter(struct conn *conn, enum conn_state next)
{
    ASSERT((conn_next[conn->state] & BIT(next)) != 0);
    conn->state = (uint8_t)next;
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static void on_timer(struct timer *timer);

static bool too_many(struct worker *worker)
{
    uint32_t before = atomic_fetch_add_explicit(&worker->broker->sockets, 1, memory_order_relaxed);
    if (before < worker->broker->sockets_max) {
        return false;
    }
    atomic_fetch_sub_explicit(&worker->broker->sockets, 1, memory_order_relaxed);
    return true;
}

void conn_open(struct worker *worker, uv_os_sock_t fd, struct slice early)
{
    if (worker->stopping || too_many(worker)) {
        metric_add(&worker->metrics, METRIC_SOCKETS_REFUSED, 1);
        close(fd);
        return;
    }
    struct conn *conn = mem_alloc(sizeof(*conn));
    conn->worker = worker;
    conn->timer.fire = on_timer;
    conn->max_packet_size = UINT32_MAX;
    conn->receive_maximum = UINT16_MAX;
    conn->problem_info = true;
    conn->last_in_ms = worker_now(worker);
    list_init(&conn->closing_link);
    list_init(&conn->of_worker);
    list_append(&worker->conns, &conn->of_worker);
    metric_add(&worker->metrics, METRIC_SOCKETS, 1);
    if (transport_open(conn, fd) != ERR_OK) {
        transport_close(conn);
        return;
    }
    timer_arm(&worker->timers, &conn->timer,
              worker_now(worker) + worker->config->limits_connect_timeout);
    transport_read_start(conn);
    if (early.len > 0) {
        conn_input(conn, early);
    } else {
        metric_add(&worker->metrics, METRIC_SOCKETS_TOTAL, 1);
    }
}

/* ---- bytes in ------------------------------------------------------------------------------------------- */

static uint32_t packet_size_max(const struct conn *conn)
{
    const struct config *config = conn->worker->config;
    uint64_t max = config->limits_server_maximum_packet_size;
    uint64_t first = config->limits_packet_before_connect_max;
    return (uint32_t)(conn->state == CONN_CONNECT && first < max ? first : max);
}

static void on_packet(struct conn *conn, const struct mqtt_frame *frame, struct slice packet)
{
    struct slice body = slice_from(packet, frame->header_len);
    metric_add(&conn->worker->metrics, METRIC_PACKETS_IN, 1);
    if (conn->state == CONN_CONNECT) {
        if (frame->type == MQTT_CONNECT && frame->flags == 0) {
            conn_on_connect(conn, body);
        } else {
            conn_violation(conn, MQTT_REASON_PROTOCOL_ERROR, "first packet is not CONNECT");
        }
        return;
    }
    switch (frame->type) {
    case MQTT_PUBLISH:
        conn_on_publish(conn, body, frame->flags);
        return;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        conn_on_ack(conn, frame->type, body);
        return;
    case MQTT_SUBSCRIBE:
        conn_on_subscribe(conn, body);
        return;
    case MQTT_UNSUBSCRIBE:
        conn_on_unsubscribe(conn, body);
        return;
    case MQTT_PINGREQ:
        if (body.len == 0) {
            conn_send_pingresp(conn);
        } else {
            conn_violation(conn, MQTT_REASON_MALFORMED_PACKET, "PINGREQ with a body");
        }
        return;
    case MQTT_DISCONNECT:
        conn_on_disconnect(conn, body);
        return;
    default:
        /* A second CONNECT [MQTT-3.1.0-2], AUTH without a method, or a packet that only servers send. */
        conn_violation(conn, MQTT_REASON_PROTOCOL_ERROR, mqtt_packet_name(frame->type));
    }
}

/* 3.1 has DUP on whatever may be sent again (its section 2.1). */
static bool flags_valid(const struct conn *conn, uint8_t type, uint8_t flags)
{
    bool resendable = type == MQTT_PUBREL || type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE;
    if (conn->version == MQTT_V31 && resendable) {
        flags &= 0x7;
    }
    return mqtt_flags_valid(type, flags);
}

static void too_large(struct conn *conn, struct slice bytes, const struct mqtt_frame *frame)
{
    metric_add(&conn->worker->metrics, METRIC_PARSE_ERROR_TOO_LARGE, 1);
    log_debug(LOG_CONN, "packet too large", log_uint("bytes", frame->body_len));
    if (conn->state == CONN_CONNECT && frame->type == MQTT_CONNECT) {
        conn_refuse_large_connect(conn, slice_from(bytes, frame->header_len));
    }
    conn_close(conn, METRIC_CLOSED_TOO_LARGE, MQTT_REASON_PACKET_TOO_LARGE,
               conn->state == CONN_ONLINE);
}

/* Reads the header at the front of `bytes`. True: `frame` is there and allowed, its body maybe not. */
static bool read_frame(struct conn *conn, struct slice bytes, struct mqtt_frame *frame)
{
    enum mqtt_frame_status status = mqtt_frame_read(bytes, frame);
    if (status == MQTT_FRAME_MALFORMED ||
        (bytes.len > 0 && !flags_valid(conn, bytes.data[0] >> 4, bytes.data[0] & 15))) {
        conn_violation(conn, MQTT_REASON_MALFORMED_PACKET, "fixed header");
        return false;
    }
    if (status == MQTT_FRAME_INCOMPLETE) {
        return false;
    }
    if (frame->header_len + frame->body_len > packet_size_max(conn)) {
        too_large(conn, bytes, frame);
        return false;
    }
    return true;
}

static bool paused(const struct conn *conn)
{
    return conn->session != NULL && conn->session->pauses > 0;
}

static bool may_parse(const struct conn *conn)
{
    return !conn->closing && conn->state <= CONN_ONLINE && !paused(conn);
}

/* Handles the whole packets at the front of `bytes`, and returns what is left of it. */
static struct slice parse(struct conn *conn, struct slice bytes)
{
    struct mqtt_frame frame;
    while (may_parse(conn) && bytes.len > 0 && read_frame(conn, bytes, &frame)) {
        size_t len = frame.header_len + frame.body_len;
        if (bytes.len < len) {
            break;
        }
        on_packet(conn, &frame, slice_of(bytes.data, len));
        if (conn->moving) {
            break; /* the other worker gets CONNECT, and what came behind it */
        }
        bytes = slice_from(bytes, len);
    }
    return bytes;
}

/* Makes room for `more` bytes behind the partial packet. Grows with what has come, not with what was
 * announced, so that a large announced length costs the sender its bytes first. */
static bool partial_reserve(struct conn *conn, size_t more)
{
    size_t need = conn->partial_len + more;
    if (need <= conn->partial_cap) {
        return true;
    }
    size_t cap = conn->partial_cap > 0 ? (size_t)conn->partial_cap * 2 : PARTIAL_MIN;
    cap = cap > need ? cap : need;
    uint8_t *grown = mem_try_resize(conn->partial, cap);
    if (grown == NULL) {
        conn_close(conn, METRIC_CLOSED_LIMIT, MQTT_REASON_QUOTA_EXCEEDED, true);
        return false;
    }
    conn->partial = grown;
    conn->partial_cap = (uint32_t)cap;
    return true;
}

static void partial_keep(struct conn *conn, struct slice bytes)
{
    bool wanted = conn->moving || (!conn->closing && conn->state <= CONN_ONLINE);
    if (bytes.len > 0 && wanted && partial_reserve(conn, bytes.len)) {
        memcpy(conn->partial + conn->partial_len, bytes.data, bytes.len);
        conn->partial_len += (uint32_t)bytes.len;
    }
}

static void partial_drop(struct conn *conn)
{
    mem_free(conn->partial);
    conn->partial = NULL;
    conn->partial_len = 0;
    conn->partial_cap = 0;
}

/* How many more bytes the packet in `partial` needs: 0 when it is whole. False: not known yet. */
static bool partial_missing(const struct conn *conn, size_t *missing)
{
    struct mqtt_frame frame;
    struct slice bytes = slice_of(conn->partial, conn->partial_len);
    if (mqtt_frame_read(bytes, &frame) != MQTT_FRAME_OK) {
        return false;
    }
    size_t len = frame.header_len + frame.body_len;
    *missing = len > bytes.len ? len - bytes.len : 0;
    return true;
}

/* Handles what `partial` holds, as far as it goes. conn_on_publish may take the buffer. */
static void parse_partial(struct conn *conn)
{
    struct slice all = slice_of(conn->partial, conn->partial_len);
    struct slice left = parse(conn, all);
    if (conn->partial == NULL || left.len == all.len) {
        return;
    }
    if (left.len == 0) {
        partial_drop(conn);
        return;
    }
    memmove(conn->partial, left.data, left.len);
    conn->partial_len = (uint32_t)left.len;
}

/* Moves just enough of `*bytes` behind the partial packet to finish it, and handles it then. */
static void finish_partial(struct conn *conn, struct slice *bytes)
{
    size_t missing = 1; /* a header that is not whole: byte by byte, five at most */
    while (bytes->len > 0 && may_parse(conn) && conn->partial_len > 0) {
        bool known = partial_missing(conn, &missing);
        size_t part = known && missing < bytes->len ? missing : known ? bytes->len : 1;
        partial_keep(conn, slice_of(bytes->data, part));
        *bytes = slice_from(*bytes, part);
        parse_partial(conn);
    }
}

void conn_input(struct conn *conn, struct slice bytes)
{
    finish_partial(conn, &bytes);
    partial_keep(conn, conn->partial_len == 0 ? parse(conn, bytes) : bytes);
}

uv_buf_t conn_input_buffer(struct conn *conn)
{
    size_t missing = 0;
    if (conn->partial_len > 0 && partial_missing(conn, &missing) && missing >= DIRECT_READ_MIN &&
        partial_reserve(conn, DIRECT_READ_MIN)) {
        size_t room = conn->partial_cap - conn->partial_len;
        return uv_buf_init((char *)conn->partial + conn->partial_len,
                           (unsigned)(room < missing ? room : missing));
    }
    return uv_buf_init((char *)conn->worker->read_buffer, WORKER_READ_BUFFER);
}

void conn_input_read(struct conn *conn, const uv_buf_t *buffer, size_t len)
{
    conn->last_in_ms = worker_now(conn->worker);
    metric_add(&conn->worker->metrics, METRIC_BYTES_IN, (int64_t)len);
    if (buffer->base == (char *)conn->worker->read_buffer) {
        conn_input(conn, slice_of(buffer->base, len));
        return;
    }
    conn->partial_len += (uint32_t)len;
    parse_partial(conn);
}

/* ---- pausing --------------------------------------------------------------------------------------------- */

void conn_paused(struct conn *conn)
{
    metric_add(&conn->worker->metrics, METRIC_THROTTLED, 1);
    transport_read_stop(conn);
}

void conn_resumed(struct conn *conn)
{
    if (!conn_online(conn)) {
        return;
    }
    conn->last_in_ms = worker_now(conn->worker); /* it was not the client that was silent */
    if (conn->partial_len > 0) {
        parse_partial(conn);
    }
    if (may_parse(conn)) {
        transport_read_start(conn);
    }
    conn_arm_timer(conn);
}

/* ---- output ----------------------------------------------------------------------------------------------- */

void conn_dirty(struct conn *conn)
{
    if (conn->dirty || !conn->handle_open) {
        return;
    }
    struct worker *worker = conn->worker;
    conn->dirty = true;
    conn->next_dirty = NULL;
    if (worker->dirty_last != NULL) {
        worker->dirty_last->next_dirty = conn;
    } else {
        worker->dirty = conn;
    }
    worker->dirty_last = conn;
}

void conn_written(struct conn *conn)
{
    if (conn->state == CONN_LINGER && conn->out.len == 0) {
        transport_shutdown(conn);
    }
    if (!conn_online(conn) || delivery_congested(conn)) {
        return;
    }
    if (conn->waits != NULL && conn->out.len <= conn->worker->config->limits_outbound_buffer_max / 2) {
        throttle_release(conn);
    }
    session_pump(conn->session);
}

/* ---- time -------------------------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t stall_deadline(const struct conn *conn)
{
    uint64_t patience = conn->worker->config->limits_write_stall_timeout;
    return conn->writing && patience > 0 ? conn->stalled_since_ms + patience : CLOCK_NEVER;
}

static uint64_t keep_alive_deadline(const struct conn *conn)
{
    bool counts = conn->keep_alive_ms > 0 && !paused(conn);
    return counts ? conn->last_in_ms + conn->keep_alive_ms : CLOCK_NEVER;
}

void conn_arm_timer(struct conn *conn)
{
    if (conn->state != CONN_ONLINE) {
        return; /* CONNECT and LINGER have one deadline each, set at their start */
    }
    uint64_t due = earlier(stall_deadline(conn), keep_alive_deadline(conn));
    /* Later than it is set: it will ring early once and be set again, which saves moving it per packet. */
    if (due < CLOCK_NEVER && (!timer_armed(&conn->timer) || due < conn->timer.deadline_ms)) {
        timer_arm(&conn->worker->timers, &conn->timer, due);
    }
}

/* Output has waited for long; but did the socket take some of it meanwhile? */
static bool made_progress(struct conn *conn)
{
    uint32_t queued = (uint32_t)uv_stream_get_write_queue_size((uv_stream_t *)&conn->tcp);
    bool moved = queued != conn->stalled_bytes;
    conn->stalled_bytes = queued;
    return moved;
}

static void on_timer(struct timer *timer)
{
    struct conn *conn = container_of(timer, struct conn, timer);
    uint64_t now = worker_now(conn->worker);
    switch ((enum conn_state)conn->state) {
    case CONN_CONNECT:
        conn_close(conn, METRIC_CLOSED_CONNECT_TIMEOUT, MQTT_REASON_MAXIMUM_CONNECT_TIME, false);
        return;
    case CONN_LINGER:
        transport_close(conn);
        return;
    case CONN_ONLINE:
        if (keep_alive_deadline(conn) <= now) {
            conn_close(conn, METRIC_CLOSED_KEEP_ALIVE, MQTT_REASON_KEEP_ALIVE_TIMEOUT, true);
        } else if (stall_deadline(conn) <= now && !made_progress(conn)) {
            conn_close(conn, METRIC_CLOSED_SLOW, MQTT_REASON_QUOTA_EXCEEDED, false);
        } else {
            conn->stalled_since_ms = stall_deadline(conn) <= now ? now : conn->stalled_since_ms;
            conn_arm_timer(conn);
        }
        return;
    case CONN_CLOSED:
    case CONN_STATES:
        return;
    }
}

/* ---- the end ------------------------------------------------------------------------------------------------ */

void conn_close(struct conn *conn, enum metric metric, enum mqtt_reason reason, bool tell)
{
    if (conn->closing || conn->state >= CONN_LINGER) {
        return;
    }
    conn->closing = true;
    conn->close_metric = (uint8_t)metric;
    conn->close_reason = (uint8_t)reason;
    conn->tell = tell;
    list_append(&conn->worker->closing, &conn->closing_link);
    transport_read_stop(conn);
}

void conn_violation(struct conn *conn, enum mqtt_reason reason, const char *what)
{
    if (conn->closing) {
        return;
    }
    if (reason == MQTT_REASON_MALFORMED_PACKET) {
        metric_add(&conn->worker->metrics, METRIC_PARSE_ERROR_DECODE, 1);
    }
    struct slice id = conn->session != NULL ? session_client_id(conn->session) : slice_of(NULL, 0);
    char peer[64];
    log_debug(LOG_CONN, "protocol violation", log_text("what", what),
              log_text("reason", mqtt_reason_name(reason)), log_slice("client_id", id),
              log_text("peer", conn_peer(conn, peer, sizeof(peer))));
    conn_close(conn,
               reason == MQTT_REASON_MALFORMED_PACKET ? METRIC_CLOSED_DECODE
                                                      : METRIC_CLOSED_PROTOCOL,
               reason, conn->state == CONN_ONLINE);
}

/* The word between the quotes of a METRIC_CLOSED_...'s label. */
static struct slice close_cause(unsigned metric)
{
    static const char *const labels[] = {
#define X(id, kind, name, label, help) [METRIC_##id] = label,
#include "node/metrics.def"
#undef X
    };
    const char *quote = strchr(labels[metric], '"');
    return quote == NULL ? slice_of(NULL, 0) : slice_of(quote + 1, strlen(quote) - 2);
}

static void say_goodbye(struct conn *conn)
{
    struct slice id = session_client_id(conn->session);
    log_info(LOG_CONN, "client disconnected", log_slice("client_id", id),
             log_text("reason", mqtt_reason_name(conn->close_reason)),
             log_slice("cause", close_cause(conn->close_metric)));
    if (conn->tell && conn->version == MQTT_V5) {
        conn_send_disconnect(conn, conn->close_reason);
    }
}

void conn_drop_state(struct conn *conn)
{
    throttle_release(conn);
    alias_in_destroy(conn->aliases_in);
    alias_out_destroy(conn->aliases_out);
    conn->aliases_in = NULL;
    conn->aliases_out = NULL;
    partial_drop(conn);
}

/* The session goes its own way. */
static void leave_session(struct conn *conn)
{
    struct session *session = conn->session;
    say_goodbye(conn);
    metric_add(&conn->worker->metrics, METRIC_CONNECTIONS, -1);
    conn->session = NULL;
    session_detach(session, conn->keep_will);
}

/* Closing with unread input would reset the connection, and our last word with it: wait for the peer. */
static void linger(struct conn *conn)
{
    conn_enter(conn, CONN_LINGER);
    timer_arm(&conn->worker->timers, &conn->timer, worker_now(conn->worker) + LINGER_MS);
    if (conn->out.len == 0) {
        transport_shutdown(conn);
    }
    transport_read_start(conn);
}

static bool peer_is_gone(const struct conn *conn)
{
    return conn->close_metric == METRIC_CLOSED_PEER || conn->close_metric == METRIC_CLOSED_IO ||
           conn->close_metric == METRIC_CLOSED_SLOW;
}

void conn_finish(struct conn *conn)
{
    if (!conn->handle_open) {
        return;
    }
    if (conn->moving) {
        conn_move(conn);
        return;
    }
    metric_add(&conn->worker->metrics, conn->close_metric, 1);
    if (conn->session != NULL) {
        leave_session(conn);
    }
    conn_drop_state(conn);
    transport_flush(conn);
    if (peer_is_gone(conn)) {
        transport_close(conn);
    } else {
        linger(conn);
    }
}

const char *conn_peer(const struct conn *conn, char *out, size_t size)
{
    struct sockaddr_storage address;
    int len = sizeof(address);
    char host[INET6_ADDRSTRLEN] = "?";
    unsigned port = 0;
    if (conn->handle_open && uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &len) == 0) {
        if (address.ss_family == AF_INET6) {
            const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
            uv_ip6_name(in6, host, sizeof(host));
            port = ntohs(in6->sin6_port);
        } else {
            const struct sockaddr_in *in4 = (const struct sockaddr_in *)&address;
            uv_ip4_name(in4, host, sizeof(host));
            port = ntohs(in4->sin_port);
        }
    }
    snprintf(out, size, address.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, port);
    return out;
}
