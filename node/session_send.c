#include "node/session.h"

#include "base/mem.h"
#include "codec/topic.h"
#include "node/conn.h"
#include "node/delivery.h"
#include "node/journal.h"
#include "base/message.h"
#include "node/receipt.h"
#include "node/retained.h"
#include "node/router.h"
#include "node/session_send.h"
#include "node/throttle.h"
#include "node/transport.h"
#include "node/worker.h"

/* Retained messages sent for one session before others have their turn. */
#define REPLAY_PORTION 64

static enum metric inflight_gauge(const struct outbound_entry *entry)
{
    return !entry->qos_2 ? METRIC_QOS1_INFLIGHT : METRIC_QOS2_INFLIGHT;
}

/* Drops the message, keeping the gauge of what queues hold true. */
static void drop_message(struct session *session, struct outbound_entry *entry,
                         enum outbound_state state)
{
    struct outbound *out = &session->outbound;
    size_t before = out->bytes;
    outbound_drop_message(out, entry, state);
    worker_queue_bytes(session->worker, -(int64_t)(before - out->bytes));
}

/* An entry in flight is finished. */
static void finish(struct session *session, struct outbound_entry *entry)
{
    metric_add(&session->worker->metrics, inflight_gauge(entry), -1);
    journal_pop(session, entry);
    drop_message(session, entry, OUTBOUND_DONE);
}

void session_drop_first_waiting(struct session *session, enum metric why)
{
    struct outbound *out = &session->outbound;
    size_t before = out->bytes;
    journal_pop(session, outbound_at(out, out->inflight));
    outbound_drop_first_waiting(out);
    worker_queue_bytes(session->worker, -(int64_t)(before - out->bytes));
    metric_add(&session->worker->metrics, METRIC_QUEUED, -1);
    metric_add(&session->worker->metrics, why, 1);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Writes the PUBLISH of `entry`, which is the next to be sent and has its packet id. */
static void send_publish(struct session *session, struct outbound_entry *entry,
                         struct encoder *encoder, bool again)
{
    struct outbound *out = &session->outbound;
    struct metrics *metrics = &session->worker->metrics;
    struct delivery delivery = {.qos = entry->qos_2 ? 2 : 1,
                                .retain = entry->retain,
                                .dup = again,
                                .packet_id = outbound_packet_id(entry)};
    delivery.id_count = outbound_ids(out, entry, &delivery.ids);
    out->next++;
    if (delivery_write(encoder, session->conn, &delivery)) {
        out->window++;
        metric_add(metrics, METRIC_RETRANSMITTED, again);
    } else {
        metric_add(metrics, METRIC_DROPPED_TOO_LARGE, 1);
        finish(session, entry);
    }
}

void session_send_waiting(struct session *session, struct encoder *encoder)
{
    struct outbound_entry *entry = outbound_start(&session->outbound);
    metric_add(&session->worker->metrics, METRIC_QUEUED, -1);
    metric_add(&session->worker->metrics, inflight_gauge(entry), 1);
    if (session->outbound.inflight == 1) {
        /* before, there was nothing to acknowledge */
        session->acked_ms = worker_now(session->worker);
    }
    send_publish(session, entry, encoder, false);
}

bool session_may_send(const struct session *session)
{
    const struct outbound *out = &session->outbound;
    return conn_online(session->conn) && out->window < session->conn->receive_maximum &&
           (out->next < out->inflight || out->next == out->count || outbound_may_start(out)) &&
           !delivery_congested(session->conn);
}

bool session_is_gated(const struct session *session, const struct outbound_entry *entry)
{
    return entry->gate == OUTBOUND_UNTIL_PLACED ||
           (entry->gate == OUTBOUND_UNTIL_HELD && entry->position >= session->held_to);
}

/* Why the client should not get it; METRIC_COUNT: it should. */
static enum metric unwelcome(const struct session *session, const struct outbound_entry *entry)
{
    if (entry->position < session->unsure_to &&
        !conn_may_receive(session->conn, message_topic(entry->message))) {
        return METRIC_DROPPED_NOT_AUTHORIZED;
    }
    bool expired = message_expired(entry->message, worker_now(session->worker));
    return expired ? METRIC_DROPPED_EXPIRED : METRIC_COUNT;
}

static void give_up(struct session *session, struct outbound_entry *entry, enum metric why)
{
    if (entry->state == OUTBOUND_WAITING) {
        session_drop_first_waiting(session, why);
    } else {
        metric_add(&session->worker->metrics, why, 1);
        finish(session, entry);
        session->outbound.next++;
    }
}

/* The client has the QoS 2 message, or shall not have it: its packet id comes free by PUBREL. */
static void release(struct session *session, struct outbound_entry *entry)
{
    bool storage_first = journal_release(session, entry);
    drop_message(session, entry, storage_first ? OUTBOUND_RELEASING : OUTBOUND_RELEASED);
}

/* Sends, sends again or gives up the entry that comes next, whose message is there. */
static void send_next(struct session *session, struct outbound_entry *entry)
{
    struct worker *worker = session->worker;
    bool waiting = entry->state == OUTBOUND_WAITING;
    enum metric why = unwelcome(session, entry);
    if (why != METRIC_COUNT && (waiting || !entry->qos_2)) {
        /* Not so for QoS 2 once sent: the client may hold its packet id. */
        give_up(session, entry, why);
        return;
    }
    if (why == METRIC_DROPPED_NOT_AUTHORIZED) {
        metric_add(&worker->metrics, why, 1);
        release(session, entry); /* send_all goes on with PUBREL */
        return;
    }
    struct encoder encoder;
    encoder_init(&encoder, worker, entry->message, 1);
    if (waiting) {
        session_send_waiting(session, &encoder);
    } else {
        send_publish(session, entry, &encoder, true);
    }
}

static void send_all(struct session *session)
{
    struct outbound *out = &session->outbound;
    while (out->next < out->count) {
        struct outbound_entry *entry = outbound_at(out, out->next);
        if (entry->state == OUTBOUND_DONE || entry->state == OUTBOUND_RELEASING) {
            out->next++; /* releasing: session_released will send it */
        } else if (entry->state == OUTBOUND_RELEASED) {
            conn_send_ack(session->conn, MQTT_PUBREL, outbound_packet_id(entry),
                          MQTT_REASON_SUCCESS);
            metric_add(&session->worker->metrics, METRIC_RETRANSMITTED, 1);
            out->next++;
        } else if (session_may_send(session) && !session_is_gated(session, entry)) {
            send_next(session, entry);
        } else {
            break;
        }
    }
    outbound_trim(out);
}

/* Retained messages go on when what held them back is gone. */
static void wake_replays(struct session *session)
{
    if (!list_empty(&session->replays) && list_empty(&session->replay_link)) {
        list_append(&session->worker->replaying, &session->replay_link);
        worker_spin(session->worker);
    }
}

void session_pump(struct session *session)
{
    if (!conn_online(session->conn)) {
        return;
    }
    send_all(session);
    wake_replays(session);
}

/* ---- the client's acknowledgements ----------------------------------------------------------- */

void session_release_publishers(struct session *session)
{
    const struct config *config = session->worker->config;
    const struct outbound *out = &session->outbound;
    const struct conn *conn = session->conn;
    if (!conn_online(conn) || conn->waits == NULL) {
        return;
    }
    uint64_t room = config->limits_max_offline_queue_len / 2;
    if ((session->pauses > 0 || outbound_waiting(out) <= room) &&
        out->bytes <= config->limits_max_offline_queue_bytes / 2 &&
        conn->out.len <= config->limits_outbound_buffer_max / 2 && !delivery_congested(conn)) {
        throttle_release(session->conn);
    } else {
        conn_arm_timer(session->conn);
    }
}

static void finished(struct session *session, struct outbound_entry *entry)
{
    struct outbound *out = &session->outbound;
    finish(session, entry);
    if (out->window > 0) {
        out->window--;
    }
    session->acked_ms = worker_now(session->worker);
    outbound_trim(out);
    session_pump(session);
    session_release_publishers(session);
}

static void on_pubrec(struct session *session, struct outbound_entry *entry, uint16_t packet_id,
                      uint8_t reason)
{
    if (entry == NULL || !entry->qos_2) {
        if (!mqtt_reason_is_error(reason)) {
            conn_send_ack(session->conn, MQTT_PUBREL, packet_id, MQTT_REASON_PACKET_ID_NOT_FOUND);
        }
        return;
    }
    if (mqtt_reason_is_error(reason)) {
        metric_add(&session->worker->metrics, METRIC_DROPPED_REFUSED, 1);
        finished(session, entry);
        return;
    }
    if (entry->state == OUTBOUND_SENT) {
        release(session, entry);
    }
    if (entry->state == OUTBOUND_RELEASED) {
        conn_send_ack(session->conn, MQTT_PUBREL, packet_id, MQTT_REASON_SUCCESS);
    }
}

void session_released(struct session *session, uint64_t position)
{
    struct outbound_entry *entry = outbound_find_position(&session->outbound, position);
    if (entry == NULL || entry->state != OUTBOUND_RELEASING) {
        return;
    }
    entry->state = OUTBOUND_RELEASED;
    if (conn_online(session->conn)) {
        conn_send_ack(session->conn, MQTT_PUBREL, outbound_packet_id(entry), MQTT_REASON_SUCCESS);
    }
}

void session_on_ack(struct session *session, enum mqtt_packet type, uint16_t packet_id,
                    uint8_t reason)
{
    struct outbound_entry *entry = outbound_find(&session->outbound, packet_id);
    if (type == MQTT_PUBREC) {
        on_pubrec(session, entry, packet_id, reason);
    } else if (type == MQTT_PUBACK && entry != NULL && !entry->qos_2) {
        metric_add(&session->worker->metrics, METRIC_DROPPED_REFUSED, mqtt_reason_is_error(reason));
        finished(session, entry);
    } else if (type == MQTT_PUBCOMP && entry != NULL && entry->state == OUTBOUND_RELEASED) {
        finished(session, entry);
    }
    /* An acknowledgement of nothing is late, after a drop or an expiry: harmless. */
}

/* ---- retained messages ----------------------------------------------------------------------- */

void session_replay(struct session *session, struct subscription *sub, struct slice filter)
{
    session_replay_cancel(session, sub); /* one that is under way begins anew */
    struct session_replay *item = mem_alloc(sizeof(*item));
    item->replay = replay_create(session->worker->broker->retained, filter);
    item->subscription = sub;
    sub->replay = item;
    list_append(&session->replays, &item->link);
    wake_replays(session);
}

void session_replay_cancel(struct session *session, struct subscription *sub)
{
    struct session_replay *item = sub->replay;
    if (item == NULL) {
        return;
    }
    sub->replay = NULL;
    list_remove(&item->link);
    replay_destroy(item->replay);
    mem_free(item);
    if (list_empty(&session->replays)) {
        list_remove(&session->replay_link);
    }
}

static void send_retained(struct session *session, const struct subscription *sub,
                          struct message *message)
{
    struct encoder encoder;
    struct delivery delivery = {
        .qos = sub->qos, .retain = true, .ids = &sub->id, .id_count = sub->id != 0 ? 1 : 0};
    encoder_init(&encoder, session->worker, message, 1);
    deliver(&encoder, session, &delivery);
}

/* Sends up to `budget` messages of `item`; what is left of the budget. 0 also when it is not done
 * yet. */
static int replay_portion(struct session *session, struct session_replay *item, int budget)
{
    uint64_t now = worker_now(session->worker);
    while (budget > 0 && outbound_waiting(&session->outbound) == 0 && session_may_send(session)) {
        bool done = false;
        struct message *message = replay_next(item->replay, now, &done);
        if (message == NULL) {
            if (!done) {
                return 0;
            }
            session_replay_cancel(session, item->subscription);
            return budget;
        }
        bool own = item->subscription->no_local && message->publisher_id == session->identity;
        if (!own && conn_may_receive(session->conn, message_topic(message))) {
            send_retained(session, item->subscription, message);
        }
        message_unref(message);
        budget--;
    }
    return 0;
}

void session_replay_some(struct session *session)
{
    int budget = REPLAY_PORTION;
    while (budget > 0 && !list_empty(&session->replays)) {
        struct session_replay *item =
            list_entry(session->replays.next, struct session_replay, link);
        budget = replay_portion(session, item, budget);
    }
    bool blocked = outbound_waiting(&session->outbound) > 0 || !session_may_send(session);
    if (blocked || list_empty(&session->replays)) {
        list_remove(&session->replay_link); /* session_pump puts it back */
    }
}

/* ---- shared subscriptions -------------------------------------------------------------------- */

static bool is_shared_match(const struct subscription *sub, struct slice topic, char *buffer)
{
    return sub->group != NULL &&
           topic_matches(slice_of(buffer, sub_index_filter(sub, buffer)), topic);
}

/* The shared subscription by which a message of `topic` came; `last` is where the one before came
 * from. */
static struct subscription *shared_for(struct session *session, struct slice topic, char *buffer,
                                       struct subscription *last)
{
    if (last != NULL && is_shared_match(last, topic, buffer)) {
        return last;
    }
    for (struct subscription *sub = session->subscriptions; sub != NULL;
         sub = sub->next_of_session) {
        if (is_shared_match(sub, topic, buffer)) {
            return sub;
        }
    }
    return NULL;
}

/* QoS 2 that was sent stays with its session, also when that ends [MQTT-4.8.2-4, -5]; so does what
 * is just being placed. */
static bool may_pass_on(const struct outbound_entry *entry)
{
    return entry->shared && entry->gate != OUTBOUND_UNTIL_PLACED &&
           (entry->state == OUTBOUND_WAITING || (entry->state == OUTBOUND_SENT && !entry->qos_2));
}

/* Nobody is there to take it: it stays. */
static void pass_on(struct session *session, struct outbound_entry *entry, bool ended,
                    const struct subscription *sub, struct receipt **placement)
{
    struct receipt **receipt = session_placement(session, placement);
    if (!router_redispatch(session->worker, entry->message, sub->group, session->handle, !ended,
                           receipt)) {
        return;
    }
    if (receipt != NULL) {
        journal_pop_placed(session, entry, *receipt);
    }
    struct metrics *metrics = &session->worker->metrics;
    metric_add(metrics, METRIC_SHARED_REDISPATCH, 1);
    metric_add(metrics, entry->state == OUTBOUND_WAITING ? METRIC_QUEUED : METRIC_QOS1_INFLIGHT,
               -1);
    drop_message(session, entry, OUTBOUND_DONE);
}

void session_pass_on_shared(struct session *session, bool ended, struct receipt **placement)
{
    struct outbound *out = &session->outbound;
    struct subscription *sub = NULL;
    char *buffer = NULL;
    for (uint32_t i = 0; i < out->count; i++) {
        struct outbound_entry *entry = outbound_at(out, i);
        if (!may_pass_on(entry)) {
            continue;
        }
        if (buffer == NULL) {
            buffer = mem_alloc(UINT16_MAX + 1);
        }
        sub = shared_for(session, message_topic(entry->message), buffer, sub);
        if (sub != NULL) {
            pass_on(session, entry, ended, sub, placement);
        }
    }
    mem_free(buffer);
    outbound_compact_waiting(out);
    outbound_trim(out);
}
