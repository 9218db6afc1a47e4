#include "node/delivery.h"

#include "base/log.h"
#include "base/mem.h"
#include "codec/mqtt.h"
#include "node/alias.h"
#include "node/conn.h"
#include "node/journal.h"
#include "base/message.h"
#include "node/session.h"
#include "node/session_send.h"
#include "node/throttle.h"
#include "node/trace.h"
#include "node/transport.h"
#include "node/worker.h"

/* Payloads from this size on are not copied for each receiver but referred to. */
#define REFER_MIN 8192
/* Output of this size is written at once, without waiting for the end of the iteration. */
#define FLUSH_MIN 131072

/* ---- encoding -------------------------------------------------------------------------------- */

void encoder_init(struct encoder *encoder, struct worker *worker, struct message *message,
                  size_t receivers)
{
    encoder->worker = worker;
    encoder->message = message;
    encoder->receipt = NULL;
    encoder->many = receivers > 1;
    if (encoder->many) {
        memset(encoder->forms, 0, sizeof(encoder->forms));
    }
}

static struct mqtt_publish_out describe(const struct encoder *encoder, const struct conn *conn,
                                        const struct delivery *delivery)
{
    const struct message *message = encoder->message;
    struct mqtt_publish_out out = {.version = (enum mqtt_version)conn->version,
                                   .qos = delivery->qos,
                                   .dup = delivery->dup,
                                   .retain = delivery->retain,
                                   .packet_id = delivery->packet_id,
                                   .subscription_ids = delivery->ids,
                                   .subscription_id_count = delivery->id_count,
                                   .topic = message_topic(message),
                                   .props = message_props(message),
                                   .payload_len = message->payload_len};
    if (message->expires_at_ms != CLOCK_NEVER) {
        out.has_expiry = true;
        out.expiry = message_seconds_left(message, worker_now(encoder->worker));
    }
    return out;
}

/* Counts a PUBLISH that is in the output buffer now. */
static void count_out(struct conn *conn, uint8_t qos)
{
    static const enum metric by_qos[] = {METRIC_PUBLISH_OUT_QOS0, METRIC_PUBLISH_OUT_QOS1,
                                         METRIC_PUBLISH_OUT_QOS2};
    metric_add(&conn->worker->metrics, by_qos[qos], 1);
    metric_add(&conn->worker->metrics, METRIC_PACKETS_OUT, 1);
    conn->out_messages++;
    conn_dirty(conn);
}

static enum err append_payload(struct conn *conn, struct message *message)
{
    struct out_pool *pool = &conn->worker->pool;
    if (message->payload_len < REFER_MIN) {
        return outbuf_append(&conn->out, pool, message_payload(message));
    }
    struct message *kept = message_keep(message);
    if (kept == NULL) {
        return ERR_MEMORY;
    }
    return outbuf_refer(&conn->out, kept, message_payload(kept));
}

/* A packet that could not be appended whole has broken the stream. */
static void broken(struct conn *conn)
{
    metric_add(&conn->worker->metrics, METRIC_DROPPED_NO_MEMORY, 1);
    conn_close(conn, METRIC_CLOSED_LIMIT, MQTT_REASON_QUOTA_EXCEEDED, false);
}

/* Writes a packet for this connection alone: the only receiver, or one with subscription
 * identifiers or topic aliases. */
static bool write_own(struct encoder *encoder, struct conn *conn, const struct delivery *delivery)
{
    struct mqtt_publish_out out = describe(encoder, conn, delivery);
    bool known = false;
    if (conn->alias_out_maximum > 0) {
        out.topic_alias =
            alias_out_get(&conn->aliases_out, conn->alias_out_maximum, out.topic, &known);
        out.topic.len = known ? 0 : out.topic.len;
    }
    size_t packet_len = 0;
    size_t head_len = mqtt_publish_head_len(&out, &packet_len);
    if (packet_len > conn->max_packet_size && out.topic_alias != 0 && !known) {
        alias_out_forget(conn->aliases_out, out.topic_alias); /* the client won't hear of it */
        out.topic_alias = 0;
        head_len = mqtt_publish_head_len(&out, &packet_len);
    }
    if (packet_len > conn->max_packet_size || packet_len > MQTT_VARINT_MAX) {
        return false;
    }
    uint8_t *at = outbuf_reserve(&conn->out, &conn->worker->pool, head_len);
    if (at == NULL) {
        broken(conn);
        return true;
    }
    struct writer writer = {.at = at, .end = at + head_len};
    (void)mqtt_encode_publish_head(&writer, &out);
    outbuf_commit(&conn->out, head_len);
    if (conn->trace != NULL) {
        trace_packet(conn, TRACE_OUT, slice_of(at, head_len));
    }
    if (append_payload(conn, encoder->message) != ERR_OK) {
        broken(conn);
        return true;
    }
    count_out(conn, delivery->qos);
    return true;
}

/* Builds the form that connections of one version share: packet id, DUP and RETAIN are patched in
 * later. */
static void build_form(struct encoder *encoder, struct encoded *form, const struct conn *conn,
                       const struct delivery *delivery)
{
    struct mqtt_publish_out out = describe(encoder, conn, delivery);
    out.dup = false;
    out.retain = false;
    size_t packet_len = 0;
    size_t head_len = mqtt_publish_head_len(&out, &packet_len);
    form->whole = out.payload_len < REFER_MIN;
    size_t len = head_len + (form->whole ? out.payload_len : 0);
    if (len > WORKER_FORM_BUFFER || packet_len > MQTT_VARINT_MAX) {
        form->unfit = true;
        return;
    }
    uint8_t *bytes = worker_form_buffer(encoder->worker, conn->version == MQTT_V5, out.qos > 0);
    struct writer writer = {.at = bytes, .end = bytes + head_len};
    form->id_at = (uint16_t)mqtt_encode_publish_head(&writer, &out);
    if (form->whole && out.payload_len > 0) {
        memcpy(bytes + head_len, message_payload(encoder->message).data, out.payload_len);
    }
    form->bytes = bytes;
    form->len = (uint32_t)len;
    form->packet_len = (uint32_t)packet_len;
}

static uint8_t first_byte(const struct delivery *delivery)
{
    return (uint8_t)(MQTT_PUBLISH << 4 | delivery->dup << 3 | delivery->qos << 1 |
                     (delivery->retain ? 1 : 0));
}

/* Copies the shared form, and patches what differs. */
static bool write_form(struct encoder *encoder, const struct encoded *form, struct conn *conn,
                       const struct delivery *delivery)
{
    if (form->packet_len > conn->max_packet_size) {
        return false;
    }
    uint8_t *at = outbuf_reserve(&conn->out, &conn->worker->pool, form->len);
    if (at == NULL) {
        broken(conn);
        return true;
    }
    memcpy(at, form->bytes, form->len);
    at[0] = first_byte(delivery);
    if (delivery->qos > 0) {
        at[form->id_at] = (uint8_t)(delivery->packet_id >> 8);
        at[form->id_at + 1] = (uint8_t)delivery->packet_id;
    }
    outbuf_commit(&conn->out, form->len);
    if (conn->trace != NULL) {
        trace_packet(conn, TRACE_OUT, slice_of(at, form->len));
    }
    if (!form->whole && append_payload(conn, encoder->message) != ERR_OK) {
        broken(conn);
        return true;
    }
    count_out(conn, delivery->qos);
    return true;
}

bool delivery_write(struct encoder *encoder, struct conn *conn, const struct delivery *delivery)
{
    bool v5 = conn->version == MQTT_V5;
    if (!encoder->many || (v5 && (delivery->id_count > 0 || conn->alias_out_maximum > 0))) {
        return write_own(encoder, conn, delivery);
    }
    struct encoded *form = &encoder->forms[v5][delivery->qos > 0];
    if (form->bytes == NULL && !form->unfit) {
        build_form(encoder, form, conn, delivery);
    }
    return form->unfit ? write_own(encoder, conn, delivery)
                       : write_form(encoder, form, conn, delivery);
}

/* ---- limits ---------------------------------------------------------------------------------- */

bool delivery_congested(const struct conn *conn)
{
    const struct config *config = conn->worker->config;
    return conn->out.len > config->limits_outbound_buffer_max ||
           conn->out_messages > config->server_outbound_queue_size;
}

/* The consumer is behind. False: it does not get this message. */
static bool slow_consumer(struct encoder *encoder, struct conn *conn)
{
    transport_flush(conn); /* perhaps only this iteration brought so much */
    if (!delivery_congested(conn)) {
        return true;
    }
    switch ((enum config_slow_consumer_policy)conn->worker->config->limits_slow_consumer_policy) {
    case SLOW_CONSUMER_THROTTLE:
        return throttle_publisher(conn, encoder->message->publisher);
    case SLOW_CONSUMER_DISCONNECT:
        conn_close(conn, METRIC_CLOSED_SLOW, MQTT_REASON_QUOTA_EXCEEDED, false);
        return false;
    case SLOW_CONSUMER_QUEUE_OFFLINE:
        return false;
    }
    return false;
}

/* Writes early what is much, so that the pipe is never empty and little memory is held. */
static void flush_much(struct conn *conn)
{
    if (conn->out.len >= FLUSH_MIN && !conn->writing) {
        transport_flush(conn);
    }
}

/* ---- QoS 0 ----------------------------------------------------------------------------------- */

static void deliver_now(struct encoder *encoder, struct session *session, struct delivery delivery)
{
    struct metrics *metrics = &session->worker->metrics;
    struct conn *conn = session->conn;
    delivery.qos = 0;
    if (!conn_online(conn)) {
        metric_add(metrics, METRIC_DROPPED_QOS0_OFFLINE, 1);
    } else if (delivery_congested(conn) && !slow_consumer(encoder, conn)) {
        metric_add(metrics, METRIC_DROPPED_SLOW_CONSUMER, 1);
    } else if (!delivery_write(encoder, conn, &delivery)) {
        metric_add(metrics, METRIC_DROPPED_TOO_LARGE, 1);
    } else {
        flush_much(conn);
    }
}

/* ---- QoS 1 and 2 ----------------------------------------------------------------------------- */

/* A connected consumer that goes on acknowledging gets all; who feeds it waits. */
static bool may_wait_for(struct encoder *encoder, struct session *session)
{
    const struct config *config = session->worker->config;
    uint64_t patience = config->limits_write_stall_timeout;
    bool moves = patience == 0 || worker_now(session->worker) - session->acked_ms < patience;
    return conn_online(session->conn) && session->pauses == 0 && moves &&
           config->limits_slow_consumer_policy == SLOW_CONSUMER_THROTTLE &&
           throttle_publisher(session->conn, encoder->message->publisher);
}

static void warn_once(struct session *session)
{
    if (!session->queue_warned) {
        session->queue_warned = true;
        log_warning(LOG_SESSION, "queue is full, messages are dropped",
                    log_slice("client_id", session_client_id(session)),
                    log_uint("messages", outbound_waiting(&session->outbound)),
                    log_uint("bytes", session->outbound.bytes));
    }
}

/* `waits`: the message can't go out at once, and takes a place in the queue. */
static bool queue_full(const struct session *session, const struct message *message, bool waits)
{
    const struct config *config = session->worker->config;
    const struct outbound *out = &session->outbound;
    /*
     * While a client is not read from, its acknowledgements are not either. If its publishers
     * waited then, two clients that feed each other could wait for ever: only the bytes count.
     */
    bool deaf = session->pauses > 0 && conn_online(session->conn);
    return worker_queues_full(session->worker, message_bytes(message)) ||
           (waits && !deaf && outbound_waiting(out) >= config->limits_max_offline_queue_len) ||
           (out->count > 0 &&
            out->bytes + message_bytes(message) > config->limits_max_offline_queue_bytes);
}

/* Says why the new message is not kept: false, for make_room. */
static bool drop_newest(const struct encoder *encoder, struct session *session)
{
    struct worker *worker = session->worker;
    bool total = worker_queues_full(worker, message_bytes(encoder->message));
    metric_add(&worker->metrics, total ? METRIC_DROPPED_QUEUES_FULL : METRIC_DROPPED_QUEUE_FULL, 1);
    if (total) {
        worker_warn_limit(worker, "messages are dropped: limits.max_queue_bytes_total is reached");
    }
    return false;
}

/* Makes room in a full queue, as the policies say. False: the new message is dropped, and counted.
 */
static bool make_room(struct encoder *encoder, struct session *session)
{
    const struct config *config = session->worker->config;
    if (may_wait_for(encoder, session)) {
        return true;
    }
    if (conn_online(session->conn) &&
        config->limits_slow_consumer_policy == SLOW_CONSUMER_DISCONNECT) {
        conn_close(session->conn, METRIC_CLOSED_SLOW, MQTT_REASON_QUOTA_EXCEEDED, true);
    }
    warn_once(session);
    if (config->limits_offline_queue_policy == OFFLINE_QUEUE_DROP_NEWEST ||
        config->limits_max_offline_queue_len == 0) {
        return drop_newest(encoder, session);
    }
    while (queue_full(session, encoder->message, true) &&
           outbound_waiting(&session->outbound) > 0) {
        session_drop_first_waiting(session, METRIC_DROPPED_QUEUE_FULL);
    }
    /* others hold what there may be in all */
    return !worker_queues_full(session->worker, message_bytes(encoder->message)) ||
           drop_newest(encoder, session);
}

static bool push(struct encoder *encoder, struct session *session, const struct delivery *delivery)
{
    struct outbound *out = &session->outbound;
    struct outbound_entry entry = {.message = message_keep(encoder->message),
                                   .subscription_id =
                                       delivery->id_count == 1 ? delivery->ids[0] : 0,
                                   .state = OUTBOUND_WAITING,
                                   .qos_2 = delivery->qos == 2,
                                   .retain = delivery->retain,
                                   .shared = delivery->shared};
    size_t before = out->bytes;
    if (entry.message == NULL ||
        outbound_push(out, entry, delivery->ids, delivery->id_count) != ERR_OK) {
        message_unref(entry.message);
        metric_add(&session->worker->metrics, METRIC_DROPPED_NO_MEMORY, 1);
        return false;
    }
    metric_add(&session->worker->metrics, METRIC_QUEUED, 1);
    worker_queue_bytes(session->worker, (int64_t)(out->bytes - before));
    return true;
}

static void deliver_kept(struct encoder *encoder, struct session *session,
                         const struct delivery *delivery)
{
    struct outbound *out = &session->outbound;
    bool first = out->next == out->count;
    if (queue_full(session, encoder->message, !first || !session_may_send(session))) {
        if (!make_room(encoder, session)) {
            return;
        }
    } else if (outbound_waiting(out) == 0) {
        session->queue_warned = false;
    }
    first = out->next == out->count;
    if (!push(encoder, session, delivery)) {
        return;
    }
    struct outbound_entry *entry = outbound_at(out, out->count - 1);
    bool now = first && session_may_send(session);
    journal_push(session, entry, encoder->receipt, now && !entry->qos_2);
    if (!first) {
        return;
    }
    if (now && !session_is_gated(session, entry)) {
        session_send_waiting(session, encoder);
        outbound_trim(out);
        flush_much(session->conn);
    } else if (conn_online(session->conn) && delivery_congested(session->conn)) {
        conn_dirty(session->conn); /* conn_written goes on with the queue */
    }
}

void deliver(struct encoder *encoder, struct session *session, const struct delivery *delivery)
{
    struct delivery own = *delivery;
    own.qos = own.qos < encoder->message->qos ? own.qos : encoder->message->qos;
    if (own.qos == 0) {
        deliver_now(encoder, session, own);
    } else {
        deliver_kept(encoder, session, &own);
    }
}
