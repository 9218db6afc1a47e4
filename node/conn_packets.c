#include "node/conn.h"

#include "base/mem.h"
#include "codec/topic.h"
#include "node/journal.h"
#include "node/session.h"
#include "node/worker.h"

/* The smaller packets of a client: acknowledgements, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT. */

/* An unknown id is no mistake of a client that goes on with its session: our PUBCOMP may have been
 * lost with the old connection. Some clients take 0x92 for a failed publish then. (Section 3.7.2.1)
 */
static void on_pubrel(struct conn *conn, uint16_t packet_id)
{
    struct inbound *inbound = conn->session->inbound;
    if (inbound != NULL && inbound_owes(inbound, packet_id)) {
        conn_violation(conn, MQTT_REASON_PROTOCOL_ERROR, "PUBREL before PUBREC");
        return;
    }
    bool known = inbound != NULL && inbound_remove_id(inbound, packet_id);
    uint8_t reason = known || conn->resumed ? MQTT_REASON_SUCCESS : MQTT_REASON_PACKET_ID_NOT_FOUND;
    if (known) {
        metric_add(&conn->worker->metrics, METRIC_QOS2_INFLIGHT, -1);
        journal_inbound_drop(conn->session, packet_id);
    }
    journal_answer(conn, MQTT_PUBCOMP, packet_id, &reason, 1);
}

void conn_on_ack(struct conn *conn, enum mqtt_packet type, struct slice body)
{
    struct mqtt_ack ack;
    enum mqtt_reason reason = mqtt_decode_ack(body, type, conn->version, &ack);
    if (reason != MQTT_REASON_SUCCESS) {
        conn_violation(conn, reason, mqtt_packet_name(type));
    } else if (type == MQTT_PUBREL) {
        on_pubrel(conn, ack.packet_id);
    } else {
        session_on_ack(conn->session, type, ack.packet_id, ack.reason);
        journal_hold_up(conn->session);
    }
}

/* One code for each filter; NULL: no memory, and the connection ends. */
static uint8_t *room_for_reasons(struct conn *conn, size_t count)
{
    uint8_t *reasons = mem_try_alloc(count);
    if (reasons == NULL) {
        conn_close(conn, METRIC_CLOSED_LIMIT, MQTT_REASON_QUOTA_EXCEEDED, true);
    }
    return reasons;
}

/* ---- SUBSCRIBE: MQTT 5.0 section 3.8 --------------------------------------------------------- */

static bool over_quota(struct session *session, const struct topic_filter *filter)
{
    uint64_t max = session->worker->config->limits_max_subscriptions_per_client;
    return session->subscription_count >= max &&
           session_find_subscription(session, filter->filter, filter->share) == NULL;
}

/* Handles one filter; returns its code for the SUBACK. */
static uint8_t subscribe_one(struct session *session, const struct mqtt_subscription *wish,
                             uint32_t id)
{
    struct topic_filter filter;
    if (!topic_filter_parse(wish->filter, &filter) ||
        conn_topic_too_long(session->conn, filter.filter)) {
        return MQTT_REASON_TOPIC_FILTER_INVALID;
    }
    if (!conn_may_subscribe(session->conn, filter.filter)) {
        metric_add(&session->worker->metrics, METRIC_DENIED_SUBSCRIBE, 1);
        return MQTT_REASON_NOT_AUTHORIZED;
    }
    if (over_quota(session, &filter)) {
        metric_add(&session->worker->metrics, METRIC_SUBSCRIPTIONS_REFUSED, 1);
        worker_warn_limit(session->worker,
                          "subscription refused: limits.max_subscriptions_per_client is reached");
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    struct subscription options = {.id = id,
                                   .qos = wish->qos,
                                   .no_local = wish->no_local,
                                   .retain_as_published = wish->retain_as_published,
                                   .retain_handling = wish->retain_handling};
    bool existed = false;
    struct subscription *sub =
        session_subscribe(session, filter.filter, filter.share, &options, &existed);
    bool replay = filter.share.len == 0 && /* not for shared ones: section 4.8.2 */
                  (wish->retain_handling == 0 || (wish->retain_handling == 1 && !existed));
    if (replay) {
        session_replay(session, sub, filter.filter); /* from the next iteration on: after SUBACK */
    }
    return wish->qos;
}

void conn_on_subscribe(struct conn *conn, struct slice body)
{
    struct mqtt_subscribe packet;
    enum mqtt_reason reason = mqtt_decode_subscribe(body, conn->version, &packet);
    if (reason != MQTT_REASON_SUCCESS) {
        conn_violation(conn, reason, "SUBSCRIBE");
        return;
    }
    uint8_t *reasons = room_for_reasons(conn, packet.count);
    if (reasons == NULL) {
        return;
    }
    struct slice filters = packet.filters;
    struct mqtt_subscription wish;
    for (size_t i = 0; mqtt_subscribe_next(&filters, &wish); i++) {
        reasons[i] = subscribe_one(conn->session, &wish, packet.subscription_id);
    }
    journal_answer(conn, MQTT_SUBACK, packet.packet_id, reasons, packet.count);
    journal_hold_up(conn->session);
    mem_free(reasons);
}

/* ---- UNSUBSCRIBE: MQTT 5.0 section 3.10 ------------------------------------------------------ */

static uint8_t unsubscribe_one(struct session *session, struct slice text)
{
    struct topic_filter filter;
    if (!topic_filter_parse(text, &filter)) {
        return MQTT_REASON_TOPIC_FILTER_INVALID;
    }
    return session_unsubscribe(session, filter.filter, filter.share)
               ? MQTT_REASON_SUCCESS
               : MQTT_REASON_NO_SUBSCRIPTION_EXISTED;
}

void conn_on_unsubscribe(struct conn *conn, struct slice body)
{
    struct mqtt_unsubscribe packet;
    enum mqtt_reason reason = mqtt_decode_unsubscribe(body, conn->version, &packet);
    if (reason != MQTT_REASON_SUCCESS) {
        conn_violation(conn, reason, "UNSUBSCRIBE");
        return;
    }
    uint8_t *reasons = room_for_reasons(conn, packet.count);
    if (reasons == NULL) {
        return;
    }
    struct slice filters = packet.filters;
    struct slice filter;
    for (size_t i = 0; mqtt_unsubscribe_next(&filters, &filter); i++) {
        reasons[i] = unsubscribe_one(conn->session, filter);
    }
    journal_answer(conn, MQTT_UNSUBACK, packet.packet_id, reasons, packet.count);
    journal_hold_up(conn->session);
    mem_free(reasons);
}

/* ---- DISCONNECT: MQTT 5.0 section 3.14 ------------------------------------------------------- */

/* The client may change its session's expiry, but not from 0 [MQTT-3.14.2-2]. */
static bool change_expiry(struct session *session, const struct mqtt_props *props)
{
    if (!mqtt_props_has(props, MQTT_PROP_SESSION_EXPIRY)) {
        return true;
    }
    uint32_t asked = props->session_expiry;
    if (session->expiry_s == 0 && asked != 0) {
        return false;
    }
    uint64_t max = session->worker->config->limits_max_session_expiry / 1000;
    session->expiry_s = max > 0 && asked > max ? (uint32_t)max : asked;
    return true;
}

void conn_on_disconnect(struct conn *conn, struct slice body)
{
    struct mqtt_disconnect packet;
    enum mqtt_reason reason = mqtt_decode_disconnect(body, conn->version, &packet);
    if (reason == MQTT_REASON_SUCCESS && conn->version == MQTT_V5 &&
        !change_expiry(conn->session, &packet.props)) {
        reason = MQTT_REASON_PROTOCOL_ERROR;
    }
    if (reason != MQTT_REASON_SUCCESS) {
        conn_violation(conn, reason, "DISCONNECT");
        return;
    }
    conn->keep_will = packet.reason != MQTT_REASON_SUCCESS; /* [MQTT-3.14.4-3] */
    conn_close(conn, METRIC_CLOSED_CLIENT, packet.reason, false);
}
