#include "node/session.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/reclaim.h"
#include "node/conn.h"
#include "base/message.h"
#include "node/throttle.h"
#include "node/transport.h"
#include "node/will.h"
#include "node/worker.h"

static void on_timer(struct timer *timer);

struct session *session_create(struct worker *worker, struct slice client_id)
{
    struct session *session = mem_alloc(sizeof(*session) + client_id.len);
    session->worker = worker;
    session->timer.fire = on_timer;
    list_init(&session->replays);
    list_init(&session->replay_link);
    session->client_id_len = (uint16_t)client_id.len;
    memcpy(session->client_id, client_id.data, client_id.len);
    session->identity = hash_identity(client_id);
    session_table_add(&worker->sessions, worker->index, session);
    metric_add(&worker->metrics, METRIC_SESSIONS, 1);
    atomic_fetch_add_explicit(&worker->broker->sessions, 1, memory_order_relaxed);
    return session;
}

void session_free(struct session *session)
{
    struct worker *worker = session->worker;
    timer_disarm(&worker->timers, &session->timer);
    session_unsubscribe_all(session);
    will_destroy(session->will);
    outbound_fini(&session->outbound);
    if (session->inbound != NULL) {
        inbound_fini(session->inbound);
        mem_free(session->inbound);
    }
    session_table_remove(&worker->sessions, session);
    metric_add(&worker->metrics, METRIC_SESSIONS, -1);
    atomic_fetch_sub_explicit(&worker->broker->sessions, 1, memory_order_relaxed);
    mem_free(session);
}

static void publish_will(struct session *session)
{
    struct will *will = session->will;
    session->will = NULL;
    if (will != NULL) {
        will_publish(session, will);
    }
}

/* Takes what the session still holds out of the gauges. */
static void count_lost(struct session *session)
{
    struct metrics *metrics = &session->worker->metrics;
    struct outbound *out = &session->outbound;
    for (uint32_t i = 0; i < out->count; i++) {
        const struct outbound_entry *entry = outbound_at(out, i);
        if (entry->state == OUTBOUND_WAITING) {
            metric_add(metrics, METRIC_QUEUED, -1);
        } else if (entry->state != OUTBOUND_DONE) {
            metric_add(metrics, !entry->qos_2 ? METRIC_QOS1_INFLIGHT : METRIC_QOS2_INFLIGHT, -1);
        }
        if (entry->message != NULL) {
            metric_add(metrics, METRIC_DROPPED_SESSION_ENDED, 1);
        }
    }
    metric_add(metrics, METRIC_QUEUED_BYTES, -(int64_t)out->bytes);
    if (session->inbound != NULL) {
        metric_add(metrics, METRIC_QOS2_INFLIGHT, -(int64_t)session->inbound->id_count);
    }
}

void session_end(struct session *session)
{
    ASSERT(session->conn == NULL);
    log_debug(LOG_SESSION, "session ended", log_slice("client_id", session_client_id(session)));
    publish_will(session);
    session_pass_on_shared(session, true);
    count_lost(session);
    session_free(session);
}

/* ---- connections come and go ----------------------------------------------------------------- */

static void set_connected(struct session *session, bool connected)
{
    for (struct subscription *sub = session->subscriptions; sub != NULL;
         sub = sub->next_of_session) {
        if (sub->group != NULL) {
            share_group_set_connected(sub, connected);
        }
    }
}

static void start_retransmission(struct session *session)
{
    struct worker *worker = session->worker;
    uint64_t interval = worker->config->limits_inflight_retransmit_interval_ms;
    if (interval > 0) {
        timer_arm(&worker->timers, &session->timer, worker_now(worker) + interval);
    }
}

void session_attach(struct session *session, struct conn *conn)
{
    session->conn = conn;
    session->acked_ms = worker_now(session->worker);
    timer_disarm(&session->worker->timers, &session->timer);
    set_connected(session, true);
    outbound_rewind(&session->outbound);
    start_retransmission(session);
    if (session->pauses > 0) {
        conn_paused(conn);
    }
    session_pump(session);
}

static uint64_t will_due(const struct session *session)
{
    return session->will == NULL
               ? CLOCK_NEVER
               : session->offline_since_ms + (uint64_t)session->will->delay_s * 1000;
}

static uint64_t expiry_due(const struct session *session)
{
    return session->expiry_s == SESSION_EXPIRY_NEVER
               ? CLOCK_NEVER
               : session->offline_since_ms + (uint64_t)session->expiry_s * 1000;
}

static void wait_offline(struct session *session)
{
    uint64_t due = expiry_due(session);
    due = will_due(session) < due ? will_due(session) : due;
    if (due != CLOCK_NEVER) {
        timer_arm(&session->worker->timers, &session->timer, due);
    }
}

void session_detach(struct session *session, bool keep_will)
{
    struct worker *worker = session->worker;
    session->conn = NULL;
    session->offline_since_ms = worker_now(worker);
    timer_disarm(&worker->timers, &session->timer);
    list_remove(&session->replay_link); /* goes on when the client is back */
    set_connected(session, false);
    if (session->inbound != NULL) {
        inbound_mark_stale(session->inbound);
    }
    if (!keep_will) {
        will_destroy(session->will);
        session->will = NULL;
    } else if (session->will != NULL && session->will->delay_s == 0) {
        publish_will(session);
    }
    if (session->expiry_s == 0) {
        session_end(session);
        return;
    }
    if (worker->config->limits_shared_redispatch == SHARED_REDISPATCH_DISCONNECT) {
        session_pass_on_shared(session, false);
    }
    wait_offline(session);
}

/* Messages that the client has not finished in time are sent again, if it finished none meanwhile.
 */
static void retransmit(struct session *session)
{
    struct worker *worker = session->worker;
    uint64_t interval = worker->config->limits_inflight_retransmit_interval_ms;
    if (session->outbound.inflight > 0 && worker_now(worker) - session->acked_ms >= interval) {
        outbound_rewind(&session->outbound);
        session_pump(session);
    }
    start_retransmission(session);
}

static void on_timer(struct timer *timer)
{
    struct session *session = container_of(timer, struct session, timer);
    uint64_t now = worker_now(session->worker);
    reclaim_enter();
    if (session->conn != NULL) {
        retransmit(session);
    } else if (expiry_due(session) <= now) {
        metric_add(&session->worker->metrics, METRIC_SESSIONS_EXPIRED, 1);
        session_end(session);
    } else {
        if (will_due(session) <= now) {
            publish_will(session);
        }
        wait_offline(session);
    }
    reclaim_leave();
}

/* ---- pausing --------------------------------------------------------------------------------- */

void session_pause(struct session *session)
{
    if (session->pauses++ == 0 && session->conn != NULL) {
        conn_paused(session->conn);
        conn_dirty(session->conn); /* who waits for its queue goes on: see delivery.c */
    }
}

void session_resume(struct session *session)
{
    ASSERT(session->pauses > 0);
    if (--session->pauses == 0 && session->conn != NULL) {
        conn_resumed(session->conn);
    }
}

/* ---- inbound --------------------------------------------------------------------------------- */

struct inbound *session_inbound(struct session *session)
{
    if (session->inbound == NULL) {
        session->inbound = mem_alloc(sizeof(*session->inbound));
    }
    return session->inbound;
}

void session_send_ready_acks(struct session *session)
{
    struct inbound_ack ack;
    while (inbound_next_ready(session->inbound, &ack)) {
        if (conn_online(session->conn) && !ack.stale) {
            conn_send_ack(session->conn, ack.qos == 1 ? MQTT_PUBACK : MQTT_PUBREC, ack.packet_id,
                          ack.reason);
        }
    }
}
