#include "node/session.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/reclaim.h"
#include "node/conn.h"
#include "node/journal.h"
#include "base/message.h"
#include "node/receipt.h"
#include "node/session_send.h"
#include "node/throttle.h"
#include "node/transport.h"
#include "node/will.h"
#include "node/worker.h"
#include "storage/storage.h"

static void on_timer(struct timer *timer);

struct session *session_create(struct worker *worker, struct slice client_id)
{
    struct session *session = mem_alloc(sizeof(*session) + client_id.len);
    session->worker = worker;
    session->timer.fire = on_timer;
    list_init(&session->replays);
    list_init(&session->replay_link);
    session->held_to = UINT64_MAX;
    session->expires_at_ms = CLOCK_NEVER;
    session->will_due_ms = CLOCK_NEVER;
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

struct receipt **session_placement(struct session *session, struct receipt **placement)
{
    if (session->stored_id == 0) {
        return NULL;
    }
    if (*placement == NULL) {
        *placement = receipt_create_placement(session->worker);
    }
    return placement;
}

/* What it brings to sessions and its own end are stored together. */
static void publish_will(struct session *session, struct receipt **placement)
{
    struct will *will = session->will;
    if (will == NULL) {
        return;
    }
    struct receipt **receipt = session_placement(session, placement);
    journal_will_drop(session, *placement);
    session->will = NULL;
    will_publish(session, will, receipt);
}

void session_set_will(struct session *session, struct will *will)
{
    if (session->will != NULL) {
        journal_will_drop(session, NULL);
        will_destroy(session->will);
    }
    session->will = will;
    if (will != NULL) {
        journal_will(session);
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
            journal_pop(session, entry);
        }
    }
    worker_queue_bytes(session->worker, -(int64_t)out->bytes);
    if (session->inbound != NULL) {
        metric_add(metrics, METRIC_QOS2_INFLIGHT, -(int64_t)session->inbound->id_count);
    }
}

/* Its client wants it to end with this connection: as if it never had been kept. */
static void stop_keeping(struct session *session)
{
    struct outbound *out = &session->outbound;
    for (uint32_t i = 0; i < out->count; i++) {
        struct outbound_entry *entry = outbound_at(out, i);
        if (entry->message != NULL) {
            journal_pop(session, entry);
        }
        entry->gate = OUTBOUND_OPEN;
        if (entry->state == OUTBOUND_RELEASING) {
            entry->state = OUTBOUND_RELEASED;
        }
    }
    if (session->will != NULL) {
        journal_will_drop(session, NULL);
    }
    journal_session_drop(session, NULL);
    session->held_to = UINT64_MAX;
}

/* `placement` (taken, NULL: none yet) has what is already to be told of it. */
static void end(struct session *session, struct receipt *placement)
{
    ASSERT(session->conn == NULL);
    log_debug(LOG_SESSION, "session ended", log_slice("client_id", session_client_id(session)));
    struct worker *worker = session->worker;
    publish_will(session, &placement);
    session_pass_on_shared(session, true, &placement);
    count_lost(session);
    journal_session_drop(session, placement);
    session_free(session);
    receipt_done(worker, placement);
}

void session_end(struct session *session)
{
    end(session, NULL);
}

void session_set_expiry(struct session *session, uint32_t expiry_s)
{
    struct storage *storage = session->worker->journal.storage;
    session->expiry_s = expiry_s;
    if (expiry_s > 0 && storage != NULL && session->stored_id == 0) {
        session->stored_id = storage_next_id(storage);
        session->introduced = session->worker->journal.part_number; /* by session_attach */
        session->held_to = 0;
    } else if (expiry_s == 0 && session->stored_id != 0) {
        stop_keeping(session);
    }
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
    conn->serial = ++session->worker->last_connection;
    journal_session(session);
    set_connected(session, true);
    outbound_rewind(&session->outbound);
    start_retransmission(session);
    if (session->pauses > 0) {
        conn_paused(conn);
    }
    session_pump(session);
}

/* When `seconds` are over, of which `gone_ms` are; not before now. */
static uint64_t due_in(const struct session *session, uint32_t seconds, uint64_t gone_ms)
{
    uint64_t all_ms = (uint64_t)seconds * 1000;
    return worker_now(session->worker) + (all_ms > gone_ms ? all_ms - gone_ms : 0);
}

/* It has been offline for `gone_ms`. */
static void set_deadlines(struct session *session, uint64_t gone_ms)
{
    session->expires_at_ms = session->expiry_s == SESSION_EXPIRY_NEVER
                                 ? CLOCK_NEVER
                                 : due_in(session, session->expiry_s, gone_ms);
    session->will_due_ms =
        session->will == NULL ? CLOCK_NEVER : due_in(session, session->will->delay_s, gone_ms);
}

static void wait_offline(struct session *session)
{
    uint64_t due = session->expires_at_ms;
    due = session->will_due_ms < due ? session->will_due_ms : due;
    if (due != CLOCK_NEVER) {
        timer_arm(&session->worker->timers, &session->timer, due);
    }
}

void session_restored(struct session *session, uint64_t offline_ms)
{
    uint64_t now = worker_now(session->worker);
    session->offline_since_ms = now > offline_ms ? now - offline_ms : 0;
    set_deadlines(session, offline_ms);
    wait_offline(session);
}

void session_detach(struct session *session, enum will_fate fate)
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
    struct receipt *placement = NULL;
    bool deferred = fate == WILL_DEFERRED && session->stored_id != 0;
    if (fate != WILL_DUE && !deferred) {
        session_set_will(session, NULL);
    } else if (!deferred && session->will != NULL && session->will->delay_s == 0) {
        publish_will(session, &placement);
    }
    if (session->expiry_s == 0) {
        end(session, placement);
        return;
    }
    journal_session(session);
    if (worker->config->limits_shared_redispatch == SHARED_REDISPATCH_DISCONNECT) {
        session_pass_on_shared(session, false, &placement);
    }
    receipt_done(worker, placement);
    set_deadlines(session, 0);
    session->will_due_ms = deferred ? CLOCK_NEVER : session->will_due_ms;
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

bool session_has_expired(const struct session *session)
{
    return session->conn == NULL && session->expires_at_ms <= worker_now(session->worker);
}

static void on_timer(struct timer *timer)
{
    struct session *session = container_of(timer, struct session, timer);
    uint64_t now = worker_now(session->worker);
    reclaim_enter();
    if (session->conn != NULL) {
        retransmit(session);
    } else if (session_has_expired(session)) {
        metric_add(&session->worker->metrics, METRIC_SESSIONS_EXPIRED, 1);
        session_end(session);
    } else {
        if (session->will_due_ms <= now) {
            struct receipt *placement = NULL;
            publish_will(session, &placement);
            session->will_due_ms = CLOCK_NEVER;
            receipt_done(session->worker, placement);
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
