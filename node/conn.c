#include "node/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/reclaim.h"
#include "node/alias.h"
#include "node/delivery.h"
#include "node/session.h"
#include "node/throttle.h"
#include "node/transport.h"
#include "node/worker.h"

/* Time for the peer to read our last word and close. */
#define LINGER_MS 1000
/* And to take what was still to be written to it. */
#define LINGER_UNSENT_MS 5000
/* Answers (not PUBLISH) that may wait for a client before nothing more is read from it. */
#define ANSWERS_MAX 65536

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

/* ---- opening --------------------------------------------------------------------------------- */

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
        worker_warn_limit(worker, "client turned away: limits.max_connections is reached");
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
    list_init(&conn->pending_link);
    list_init(&conn->dirty_link);
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

/* ---- output ---------------------------------------------------------------------------------- */

void conn_dirty(struct conn *conn)
{
    if (list_empty(&conn->dirty_link) && conn->handle_open) {
        list_append(&conn->worker->dirty, &conn->dirty_link);
    }
}

void conn_answered(struct conn *conn, size_t len)
{
    conn->answers += (uint32_t)len;
    if (conn->answers > ANSWERS_MAX) {
        conn->choked = true;
        transport_read_stop(conn);
    }
}

void conn_written(struct conn *conn)
{
    if (conn->state == CONN_LINGER && conn->out.len == 0) {
        transport_shutdown(conn);
        timer_arm(&conn->worker->timers, &conn->timer, worker_now(conn->worker) + LINGER_MS);
    }
    if (conn->choked && conn->answers <= ANSWERS_MAX / 2) {
        conn->choked = false;
        conn_resumed(conn);
    }
    if (!conn_online(conn) || delivery_congested(conn)) {
        return;
    }
    session_pump(conn->session);
    session_release_publishers(conn->session);
}

/* ---- time ------------------------------------------------------------------------------------ */

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
    bool counts = conn->keep_alive_ms > 0 && !conn_is_paused(conn);
    return counts ? conn->last_in_ms + conn->keep_alive_ms : CLOCK_NEVER;
}

/* Publishers wait for room in the queue of a client that takes its output but does not acknowledge.
 */
static uint64_t patience_deadline(const struct conn *conn)
{
    uint64_t patience = conn->worker->config->limits_write_stall_timeout;
    bool counts = conn->waits != NULL && patience > 0 && !delivery_congested(conn);
    return counts ? conn->session->acked_ms + patience : CLOCK_NEVER;
}

void conn_arm_timer(struct conn *conn)
{
    if (conn->state != CONN_ONLINE) {
        return; /* CONNECT and LINGER have one deadline each, set at their start */
    }
    uint64_t due = earlier(stall_deadline(conn), keep_alive_deadline(conn));
    due = earlier(due, patience_deadline(conn));
    /* Later than it is set: it will ring early once and be set again, which saves moving it per
     * packet. */
    if (due < CLOCK_NEVER && (!timer_armed(&conn->timer) || due < conn->timer.deadline_ms)) {
        timer_arm(&conn->worker->timers, &conn->timer, due);
    }
}

/* Output has waited for long; but did the peer take some of it meanwhile? */
static bool made_progress(struct conn *conn)
{
    uint32_t queued = transport_unsent(conn);
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
            if (patience_deadline(conn) <= now) {
                reclaim_enter();
                throttle_release(conn); /* from now on its messages are dropped: delivery.c */
                reclaim_leave();
            }
            conn_arm_timer(conn);
        }
        return;
    case CONN_CLOSED:
    case CONN_STATES:
        return;
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

void conn_close(struct conn *conn, enum metric metric, enum mqtt_reason reason, bool tell)
{
    if (conn->closing || conn->state >= CONN_LINGER) {
        return;
    }
    conn->closing = true;
    conn->close_metric = (uint8_t)metric;
    conn->close_reason = (uint8_t)reason;
    conn->tell = tell;
    list_remove(&conn->pending_link);
    list_append(&conn->worker->closing, &conn->pending_link);
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
static struct slice close_cause(enum metric metric)
{
    const char *quote = strchr(metric_info(metric)->labels, '"');
    return quote == NULL ? slice_of(NULL, 0) : slice_of(quote + 1, strlen(quote) - 2);
}

static bool peer_is_gone(const struct conn *conn)
{
    return conn->close_metric == METRIC_CLOSED_PEER || conn->close_metric == METRIC_CLOSED_IO ||
           conn->close_metric == METRIC_CLOSED_SLOW;
}

static void say_goodbye(struct conn *conn)
{
    struct slice id = session_client_id(conn->session);
    struct slice cause = close_cause((enum metric)conn->close_metric);
    if (peer_is_gone(conn)) { /* no packet said why */
        log_info(LOG_CONN, "client disconnected", log_slice("client_id", id),
                 log_slice("cause", cause));
    } else {
        log_info(LOG_CONN, "client disconnected", log_slice("client_id", id),
                 log_text("reason", mqtt_reason_name(conn->close_reason)),
                 log_slice("cause", cause));
    }
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
    conn_drop_input(conn);
}

/* The session goes its own way. */
static void leave_session(struct conn *conn)
{
    struct session *session = conn->session;
    say_goodbye(conn);
    metric_add(&conn->worker->metrics, METRIC_CONNECTIONS, -1);
    conn->session = NULL;
    enum will_fate fate = conn->keep_will ? WILL_DUE : WILL_WITHDRAWN;
    session_detach(session, conn->close_metric == METRIC_CLOSED_SHUTDOWN ? WILL_DEFERRED : fate);
}

/* Closing with unread input would reset the connection, and our last word with it: wait for the
 * peer. */
static void linger(struct conn *conn)
{
    conn_enter(conn, CONN_LINGER);
    uint64_t patience = conn->out.len == 0 ? LINGER_MS
                        : conn->worker->stopping
                            ? conn->worker->config->server_shutdown_drain_timeout_ms
                            : LINGER_UNSENT_MS;
    timer_arm(&conn->worker->timers, &conn->timer, worker_now(conn->worker) + patience);
    if (conn->out.len == 0) {
        transport_shutdown(conn);
    }
    transport_read_start(conn);
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
    if (conn->handle_open &&
        uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &len) == 0) {
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
