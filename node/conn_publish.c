#include "node/conn.h"

#include "base/mem.h"
#include "codec/topic.h"
#include "node/alias.h"
#include "base/message.h"
#include "node/journal.h"
#include "node/router.h"
#include "node/session.h"
#include "node/worker.h"

/* PUBLISH from a client. MQTT 5.0 sections 3.3 and 4.3. */

/* One publish in this many is timed for mqtt_publish_latency_seconds; a power of two. */
#define LATENCY_SAMPLE 64
/* A payload of at least this size is kept in the buffer it was received in, if that holds nothing
 * else. */
#define ADOPT_MIN 8192

static void count_in(struct conn *conn, uint8_t qos)
{
    static const enum metric by_qos[] = {METRIC_PUBLISH_IN_QOS0, METRIC_PUBLISH_IN_QOS1,
                                         METRIC_PUBLISH_IN_QOS2};
    metric_add(&conn->worker->metrics, by_qos[qos], 1);
}

static enum mqtt_reason resolve_alias(struct conn *conn, struct mqtt_publish *publish)
{
    if (conn->version != MQTT_V5 || !mqtt_props_has(&publish->props, MQTT_PROP_TOPIC_ALIAS)) {
        return MQTT_REASON_SUCCESS;
    }
    uint64_t max = conn->worker->config->limits_server_topic_alias_maximum;
    return alias_in_apply(&conn->aliases_in, (uint16_t)max, publish->props.topic_alias,
                          &publish->topic);
}

/* What makes a well-formed publish unwelcome. */
static enum mqtt_reason check(struct conn *conn, const struct mqtt_publish *publish)
{
    if (publish->topic.data[0] == '$' && slice_starts_with(publish->topic, "$SYS/")) {
        return MQTT_REASON_NOT_AUTHORIZED;
    }
    if (conn_topic_too_long(conn, publish->topic)) {
        return MQTT_REASON_TOPIC_NAME_INVALID;
    }
    if (!conn_may_publish(conn, publish->topic)) {
        return MQTT_REASON_NOT_AUTHORIZED;
    }
    if (publish->props.present != 0 && !mqtt_payload_format_valid(publish)) {
        return MQTT_REASON_PAYLOAD_FORMAT_INVALID;
    }
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_packet answer_of(uint8_t qos)
{
    return qos == 1 ? MQTT_PUBACK : MQTT_PUBREC;
}

/* Sends `ack` now, or when `receipt` (NULL: nobody is waited for) is back, and never before an
 * earlier one. */
static void answer(struct conn *conn, struct inbound_ack ack, struct receipt *receipt)
{
    struct session *session = conn->session;
    ack.ready = receipt == NULL;
    if (ack.ready && (session->inbound == NULL || session->inbound->ack_count == 0)) {
        conn_send_ack(conn, answer_of(ack.qos), ack.packet_id, ack.reason);
        return;
    }
    uint32_t serial = 0;
    if (inbound_owe(session_inbound(session), ack, &serial) != ERR_OK) {
        /* Without a note of it there is no answer: the client will send it again after a reconnect.
         */
        conn_close(conn, METRIC_CLOSED_LIMIT, MQTT_REASON_QUOTA_EXCEEDED, true);
        serial = session->inbound->ack_serial - 1;
    }
    if (receipt != NULL) {
        receipt_await(conn->worker, receipt, session->handle, serial);
    }
}

/* At QoS 0, and before 5.0, there is no way to say no but to close; what is only not allowed is
 * dropped. */
static void refuse(struct conn *conn, const struct mqtt_publish *publish, enum mqtt_reason reason)
{
    bool can_say = publish->qos > 0 && conn->version == MQTT_V5;
    if (reason == MQTT_REASON_NOT_AUTHORIZED) {
        metric_add(&conn->worker->metrics, METRIC_DROPPED_NOT_AUTHORIZED, 1);
        can_say = publish->qos > 0; /* 3.x: acknowledged and dropped [MQTT-3.3.5-2 of 3.1.1] */
    } else if (!can_say) {
        conn_violation(conn, reason, "PUBLISH refused");
        return;
    }
    if (can_say) {
        struct inbound_ack no = {
            .packet_id = publish->packet_id, .qos = publish->qos, .reason = (uint8_t)reason};
        answer(conn, no, NULL);
    }
}

/* ---- routing --------------------------------------------------------------------------------- */

/* The whole of the partial buffer is this packet: the message may take it. */
static bool may_adopt(const struct conn *conn, const struct mqtt_publish *publish)
{
    const uint8_t *end = publish->payload.data + publish->payload.len;
    return publish->payload.len >= ADOPT_MIN && conn->partial != NULL &&
           end == conn->partial + conn->partial_len && publish->payload.data > conn->partial;
}

static bool route_message(struct conn *conn, const struct mqtt_publish *publish, struct slice props,
                          struct receipt **receipt)
{
    struct worker *worker = conn->worker;
    struct message message = message_borrow(publish->topic, props, publish->payload);
    message.qos = publish->qos;
    message.retain = publish->retain;
    message.publisher = conn->session->handle;
    message.publisher_id = conn->session->identity;
    if (publish->props.present != 0 && mqtt_props_has(&publish->props, MQTT_PROP_MESSAGE_EXPIRY)) {
        message.expires_at_ms = worker_now(worker) + (uint64_t)publish->props.message_expiry * 1000;
    }
    bool adopt = may_adopt(conn, publish);
    if (adopt) {
        message_offer_buffer(&message, conn->partial);
    }
    bool matched = router_publish(worker, &message, publish->qos > 0 ? receipt : NULL);
    if (message_release(&message)) {
        conn->partial = NULL;
        conn->partial_len = 0;
        conn->partial_cap = 0;
    }
    return matched;
}

/* Leaves out the properties that don't go on to subscribers. */
static bool route_publish(struct conn *conn, const struct mqtt_publish *publish,
                          struct receipt **receipt)
{
    struct slice raw = publish->props.raw;
    size_t len = raw.len > 0 ? mqtt_props_forwarded_len(&publish->props) : 0;
    if (len == raw.len) {
        return route_message(conn, publish, raw, receipt);
    }
    uint8_t small[256];
    uint8_t *bytes = len <= sizeof(small) ? small : mem_try_alloc(len);
    if (bytes == NULL) {
        metric_add(&conn->worker->metrics, METRIC_DROPPED_NO_MEMORY, 1);
        conn_close(conn, METRIC_CLOSED_LIMIT, MQTT_REASON_QUOTA_EXCEEDED, true);
        return true;
    }
    mqtt_props_forward(&publish->props, bytes);
    bool matched = route_message(conn, publish, slice_of(bytes, len), receipt);
    if (bytes != small) {
        mem_free(bytes);
    }
    return matched;
}

static void accept_publish(struct conn *conn, const struct mqtt_publish *publish)
{
    struct worker *worker = conn->worker;
    bool timed = (++worker->publishes & (LATENCY_SAMPLE - 1)) == 0;
    uint64_t start = timed ? clock_mono_ns() : 0;
    struct session *session = conn->session;
    struct receipt *receipt =
        publish->qos == 2 ? journal_inbound(session, publish->packet_id) : NULL;
    bool matched = route_publish(conn, publish, &receipt);
    if (publish->qos > 0) {
        enum mqtt_reason reason =
            matched ? MQTT_REASON_SUCCESS : MQTT_REASON_NO_MATCHING_SUBSCRIBERS;
        struct inbound_ack ack = {
            .packet_id = publish->packet_id, .qos = publish->qos, .reason = (uint8_t)reason};
        answer(conn, ack, receipt);
    }
    journal_hold_up(session);
    if (timed) {
        metric_observe_latency(&worker->metrics, clock_mono_ns() - start);
    }
}

/* ---- QoS rules ------------------------------------------------------------------------------- */

/* The id of a QoS 2 publish is known, but was free: a crash took what said so. */
static bool was_forgotten(const struct conn *conn, const struct mqtt_publish *publish)
{
    return !publish->dup && conn->resumed && journal_forgets(conn->worker);
}

/* It was accepted already, and is not judged again: its id is in use until PUBREL. */
static bool comes_again(const struct conn *conn, const struct mqtt_publish *publish)
{
    const struct inbound *inbound = conn->session->inbound;
    return publish->qos == 2 && inbound != NULL && inbound_has_id(inbound, publish->packet_id) &&
           !was_forgotten(conn, publish);
}

/* True: this packet id is new, and is remembered until PUBREL [MQTT-4.3.3-8..]. */
static bool remember_qos2(struct conn *conn, const struct mqtt_publish *publish)
{
    struct inbound *inbound = session_inbound(conn->session);
    switch (inbound_add_id(inbound, publish->packet_id)) {
    case ERR_OK:
        metric_add(&conn->worker->metrics, METRIC_QOS2_INFLIGHT, 1);
        return true;
    case ERR_EXISTS:
        if (was_forgotten(conn, publish)) {
            return true;
        }
        if (!inbound_owed_again(inbound, publish->packet_id)) {
            struct inbound_ack again = {.packet_id = publish->packet_id, .qos = 2};
            answer(conn, again, NULL);
        }
        return false;
    default:
        conn_close(conn, METRIC_CLOSED_LIMIT, MQTT_REASON_QUOTA_EXCEEDED, true);
        return false;
    }
}

/* The client has sent more than we said that we take at once [MQTT-3.3.4-9]. */
static bool overruns(const struct conn *conn, const struct mqtt_publish *publish)
{
    const struct inbound *inbound = conn->session->inbound;
    uint64_t max = conn->version == MQTT_V5 ? conn->worker->config->limits_server_receive_maximum
                                            : UINT16_MAX; /* 3.x can't be told of a limit */
    return publish->qos > 0 && inbound != NULL && inbound_unfinished(inbound) >= max &&
           !(publish->qos == 2 && inbound_has_id(inbound, publish->packet_id));
}

void conn_on_publish(struct conn *conn, struct slice body, uint8_t flags)
{
    struct mqtt_publish publish;
    enum mqtt_reason reason = mqtt_decode_publish(body, flags, conn->version, &publish);
    if (reason == MQTT_REASON_SUCCESS) {
        count_in(conn, publish.qos);
        reason = resolve_alias(conn, &publish);
    }
    if (reason == MQTT_REASON_SUCCESS && overruns(conn, &publish)) {
        reason = MQTT_REASON_RECEIVE_MAXIMUM_EXCEEDED;
    }
    if (reason != MQTT_REASON_SUCCESS) {
        conn_violation(conn, reason, "PUBLISH");
        return;
    }
    if (conn->rate != NULL) {
        conn_spend_rate(conn, body.len);
    }
    reason = comes_again(conn, &publish) ? MQTT_REASON_SUCCESS : check(conn, &publish);
    if (reason != MQTT_REASON_SUCCESS) {
        refuse(conn, &publish, reason);
        return;
    }
    if (publish.qos < 2 || remember_qos2(conn, &publish)) {
        accept_publish(conn, &publish);
    }
}
