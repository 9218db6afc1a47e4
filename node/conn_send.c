#include "node/conn.h"

#include "node/trace.h"
#include "node/worker.h"

/* Packets of the server other than PUBLISH. Those that can't be had for lack of memory end the
 * connection: the client would wait for them for ever. */

/* Room for a packet of `len` bytes, or NULL: the client can't take it, or there is no memory. */
static uint8_t *begin(struct conn *conn, size_t len)
{
    if (len > conn->max_packet_size) {
        return NULL;
    }
    uint8_t *at = outbuf_reserve(&conn->out, &conn->worker->pool, len);
    if (at == NULL) {
        conn_close(conn, METRIC_CLOSED_LIMIT, MQTT_REASON_QUOTA_EXCEEDED, false);
    }
    return at;
}

static void end(struct conn *conn, const uint8_t *packet, size_t len)
{
    outbuf_commit(&conn->out, len);
    if (conn->trace != NULL) {
        trace_packet(conn, TRACE_OUT, slice_of(packet, len));
    }
    conn_answered(conn, len);
    metric_add(&conn->worker->metrics, METRIC_PACKETS_OUT, 1);
    conn_dirty(conn);
}

/* Why it failed, in words, where they are wanted and fit. */
static struct slice reason_string(const struct conn *conn, unsigned reason, size_t len_without)
{
    if (conn->version != MQTT_V5 || !conn->problem_info || !mqtt_reason_is_error(reason)) {
        return slice_of(NULL, 0);
    }
    struct slice words = slice_text(mqtt_reason_name(reason));
    bool fits = len_without + words.len + 8 <= conn->max_packet_size;
    return fits ? words : slice_of(NULL, 0);
}

void conn_send_ack(struct conn *conn, enum mqtt_packet type, uint16_t packet_id, uint8_t reason)
{
    struct slice words = reason_string(conn, reason, MQTT_ACK_LEN_MAX_WITHOUT_STRING);
    size_t len = mqtt_ack_len(reason, words, conn->version);
    uint8_t *at = begin(conn, len);
    if (at == NULL) {
        return;
    }
    struct writer writer = {.at = at, .end = at + len};
    mqtt_encode_ack(&writer, type, packet_id, reason, words, conn->version);
    end(conn, at, len);
}

void conn_send_suback(struct conn *conn, enum mqtt_packet type, uint16_t packet_id,
                      const uint8_t *reasons, size_t count)
{
    uint8_t worst = 0;
    for (size_t i = 0; i < count && worst == 0; i++) {
        worst = mqtt_reason_is_error(reasons[i]) ? reasons[i] : 0;
    }
    size_t plain = mqtt_suback_len(type, count, slice_of(NULL, 0), conn->version);
    struct slice words = reason_string(conn, worst, plain);
    size_t len = mqtt_suback_len(type, count, words, conn->version);
    uint8_t *at = begin(conn, len);
    if (at == NULL) {
        conn_close(conn, METRIC_CLOSED_PROTOCOL, MQTT_REASON_PACKET_TOO_LARGE, true);
        return;
    }
    struct writer writer = {.at = at, .end = at + len};
    mqtt_encode_suback(&writer, type, packet_id, reasons, count, words, conn->version);
    end(conn, at, len);
}

void conn_send_connack(struct conn *conn, const struct mqtt_connack *connack)
{
    struct mqtt_connack full = *connack;
    struct slice words =
        reason_string(conn, connack->reason, mqtt_connack_len(&full, conn->version));
    if (words.len > 0) {
        full.props.present |= (uint64_t)1 << MQTT_PROP_REASON_STRING;
        full.props.reason_string = words;
    }
    size_t len = mqtt_connack_len(&full, conn->version);
    uint8_t *at = begin(conn, len);
    if (at == NULL) {
        conn_close(conn, METRIC_CLOSED_REFUSED, MQTT_REASON_PACKET_TOO_LARGE, false);
        return;
    }
    struct writer writer = {.at = at, .end = at + len};
    mqtt_encode_connack(&writer, &full, conn->version);
    end(conn, at, len);
}

void conn_send_disconnect(struct conn *conn, enum mqtt_reason reason)
{
    struct mqtt_props props = {.present = 0};
    struct slice words = reason_string(conn, reason, mqtt_disconnect_len(reason, NULL));
    if (words.len > 0) {
        props.present = (uint64_t)1 << MQTT_PROP_REASON_STRING;
        props.reason_string = words;
    }
    size_t len = mqtt_disconnect_len(reason, &props);
    uint8_t *at = begin(conn, len);
    if (at == NULL) {
        return;
    }
    struct writer writer = {.at = at, .end = at + len};
    mqtt_encode_disconnect(&writer, reason, &props);
    end(conn, at, len);
}

void conn_send_pingresp(struct conn *conn)
{
    uint8_t *at = begin(conn, MQTT_PINGRESP_LEN);
    if (at != NULL) {
        struct writer writer = {.at = at, .end = at + MQTT_PINGRESP_LEN};
        mqtt_encode_pingresp(&writer);
        end(conn, at, MQTT_PINGRESP_LEN);
    }
}

void conn_send_auth(struct conn *conn, enum mqtt_reason reason, struct slice method,
                    struct slice data)
{
    struct mqtt_props props = {
        .present = (uint64_t)1 << MQTT_PROP_AUTH_METHOD, .auth_method = method, .auth_data = data};
    if (data.len > 0) {
        props.present |= (uint64_t)1 << MQTT_PROP_AUTH_DATA;
    }
    size_t len = mqtt_auth_len(reason, &props);
    uint8_t *at = begin(conn, len);
    if (at == NULL) { /* it would wait for it for ever */
        conn_close(conn, METRIC_CLOSED_PROTOCOL, MQTT_REASON_PACKET_TOO_LARGE, true);
    } else {
        struct writer writer = {.at = at, .end = at + len};
        mqtt_encode_auth(&writer, reason, &props);
        end(conn, at, len);
    }
}
