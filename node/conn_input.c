#include "node/conn.h"
#include "node/conn_stranger.h"

#include "base/log.h"
#include "base/mem.h"
#include "node/session.h"
#include "node/transport.h"
#include "node/worker.h"

/* From bytes to packets: what is whole is handled in place, what is not is kept. */

/* Rests of packets from this size on are read straight to where they are kept. */
#define DIRECT_READ_MIN 16384
#define PARTIAL_MIN 512
/* What is kept of a client that goes on before it has its CONNACK. */
#define INPUT_BEFORE_LOGIN_MAX 16384

static uint32_t packet_size_max(const struct conn *conn)
{
    const struct config *config = conn->worker->config;
    uint64_t max = config->limits_server_maximum_packet_size;
    uint64_t first = config->limits_packet_before_connect_max;
    return (uint32_t)(conn->state < CONN_ONLINE && first < max ? first : max);
}

/* Before CONNACK. */
static void on_early_packet(struct conn *conn, const struct mqtt_frame *frame, struct slice body)
{
    if (conn->state == CONN_CONNECT) { /* read_frame lets nothing else through */
        conn_on_connect(conn, body);
    } else if (conn->state == CONN_AUTH && frame->type == MQTT_AUTH) {
        conn_on_auth(conn, body);
    } else {
        conn_violation(conn, MQTT_REASON_PROTOCOL_ERROR, "not a packet to begin with");
    }
}

static void on_packet(struct conn *conn, const struct mqtt_frame *frame, struct slice packet)
{
    struct slice body = slice_from(packet, frame->header_len);
    metric_add(&conn->worker->metrics, METRIC_PACKETS_IN, 1);
    /* whole packets count, not bytes [MQTT-3.1.2-22] */
    conn->last_in_ms = worker_now(conn->worker);
    if (conn->trace != NULL) {
        trace_packet(conn, TRACE_IN, packet);
    }
    if (conn->state != CONN_ONLINE) {
        on_early_packet(conn, frame, body);
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
    case MQTT_AUTH:
        conn_on_auth(conn, body);
        return;
    default:
        /* A second CONNECT [MQTT-3.1.0-2], or a packet that only servers send. */
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
    if (conn->state < CONN_ONLINE) {
        worker_warn_limit(conn->worker,
                          "client closed: CONNECT over limits.packet_before_connect_max");
    }
    if (conn->state == CONN_CONNECT && frame->type == MQTT_CONNECT) {
        conn_refuse_large_connect(conn, slice_from(bytes, frame->header_len));
    }
    conn_close(conn, METRIC_CLOSED_TOO_LARGE, MQTT_REASON_PACKET_TOO_LARGE,
               conn->state == CONN_ONLINE);
}

static void refuse_beginning(struct conn *conn, struct slice bytes)
{
    if (!conn_turn_stranger_away(conn, bytes)) {
        bool flags_wrong = bytes.data[0] >> 4 == MQTT_CONNECT;
        conn_violation(conn,
                       flags_wrong ? MQTT_REASON_MALFORMED_PACKET : MQTT_REASON_PROTOCOL_ERROR,
                       "first packet is not CONNECT");
    }
}

/* Reads the header at the front of `bytes`. True: `frame` is there and allowed, its body maybe not.
 */
static bool read_frame(struct conn *conn, struct slice bytes, struct mqtt_frame *frame)
{
    enum mqtt_frame_status status = mqtt_frame_read(bytes, frame);
    if (conn->state == CONN_CONNECT && bytes.data[0] != MQTT_CONNECT << 4) {
        refuse_beginning(conn, bytes); /* at its first byte: what it announces is not waited for */
        return false;
    }
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

bool conn_is_paused(const struct conn *conn)
{
    return conn->choked || conn_login_waits(conn) ||
           (conn->session != NULL && conn->session->pauses > 0);
}

static bool may_parse(const struct conn *conn)
{
    return !conn->closing && conn->state <= CONN_ONLINE && !conn_is_paused(conn);
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

/* Makes room for `more` bytes behind the partial packet. Grows with what has come, not with what
 * was announced, so that a large announced length costs the sender its bytes first. */
static bool partial_grow(struct conn *conn, size_t more)
{
    size_t need = conn->partial_len + more;
    if (need <= conn->partial_cap) {
        return true;
    }
    size_t cap = conn->partial_cap > 0 ? (size_t)conn->partial_cap * 2 : PARTIAL_MIN;
    cap = cap > need ? cap : need;
    uint8_t *grown = mem_try_resize(conn->partial, cap);
    if (grown == NULL) {
        return false;
    }
    conn->partial = grown;
    conn->partial_cap = (uint32_t)cap;
    return true;
}

static bool partial_reserve(struct conn *conn, size_t more)
{
    bool room = partial_grow(conn, more);
    if (!room) {
        conn_close(conn, METRIC_CLOSED_LIMIT, MQTT_REASON_QUOTA_EXCEEDED, true);
    }
    return room;
}

static void partial_keep(struct conn *conn, struct slice bytes)
{
    bool wanted = conn->moving || (!conn->closing && conn->state <= CONN_ONLINE);
    if (bytes.len > 0 && wanted && partial_reserve(conn, bytes.len)) {
        memcpy(conn->partial + conn->partial_len, bytes.data, bytes.len);
        conn->partial_len += (uint32_t)bytes.len;
    }
}

void conn_drop_input(struct conn *conn)
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
        conn_drop_input(conn);
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

/* While a login is judged reading goes on, to see a client that leaves; but not for ever. */
static void read_no_further(struct conn *conn)
{
    if (conn->partial_len > INPUT_BEFORE_LOGIN_MAX && conn_login_waits(conn)) {
        transport_read_stop(conn);
    }
}

void conn_input(struct conn *conn, struct slice bytes)
{
    finish_partial(conn, &bytes);
    partial_keep(conn, conn->partial_len == 0 ? parse(conn, bytes) : bytes);
    read_no_further(conn);
}

uv_buf_t conn_input_buffer(struct conn *conn)
{
    size_t missing = 0;
    if (conn->partial_len > 0 && partial_missing(conn, &missing) && missing >= DIRECT_READ_MIN &&
        /* not _reserve: libuv forbids to stop reading here */
        partial_grow(conn, DIRECT_READ_MIN)) {
        size_t room = conn->partial_cap - conn->partial_len;
        return uv_buf_init((char *)conn->partial + conn->partial_len,
                           (unsigned)(room < missing ? room : missing));
    }
    return uv_buf_init((char *)conn->worker->read_buffer, WORKER_READ_BUFFER);
}

void conn_input_read(struct conn *conn, const uv_buf_t *buffer, size_t len)
{
    if (buffer->base == (char *)conn->worker->read_buffer) {
        conn_input(conn, slice_of(buffer->base, len));
        return;
    }
    conn->partial_len += (uint32_t)len;
    parse_partial(conn);
    read_no_further(conn);
}

/* ---- pausing --------------------------------------------------------------------------------- */

void conn_paused(struct conn *conn)
{
    metric_add(&conn->worker->metrics, METRIC_THROTTLED, 1);
    transport_read_stop(conn);
}

void conn_resumed(struct conn *conn)
{
    if (conn_online(conn) && list_empty(&conn->pending_link)) {
        list_append(&conn->worker->resumed, &conn->pending_link);
    }
}

void conn_go_on(struct conn *conn)
{
    if (!may_parse(conn)) {
        return;
    }
    conn->last_in_ms = worker_now(conn->worker); /* it was not the client that was silent */
    if (conn->session != NULL) {
        conn->session->acked_ms = conn->last_in_ms;
    }
    if (conn->partial_len > 0) {
        parse_partial(conn);
    }
    if (may_parse(conn)) {
        transport_read_start(conn);
    }
    conn_arm_timer(conn);
}
