#include "node/conn.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/reclaim.h"
#include "node/alias.h"
#include "node/delivery.h"
#include "node/layers.h"
#include "node/session.h"
#include "node/throttle.h"
#include "node/trace.h"
#include "node/transport.h"
#include "node/worker.h"

/* Time for the peer to read our last word and close. */
#define LINGER_MS 1000
/* And to take what was still to be written to it. */
#define LINGER_UNSENT_MS 5000
/* Answers (not PUBLISH) that may wait for a client before nothing more is read from it. */
#define ANSWERS_MAX 65536

static const uint8_t conn_next[CONN_STATES] = {
    [CONN_CONNECT] = BIT(CONN_AUTH) | BIT(CONN_ONLINE) | BIT(CONN_LINGER) | BIT(CONN_CLOSED),
    [CONN_AUTH] = BIT(CONN_ONLINE) | BIT(CONN_LINGER) | BIT(CONN_CLOSED),
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

static struct conn *create(struct worker *worker, const struct conn_start *start)
{
    struct conn *conn = mem_alloc(sizeof(*conn));
    conn->worker = worker;
    conn->listener = start->listener;
    conn->layers = start->layers;
    conn->counted = true;
    conn->address = start->address;
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
    return conn;
}

/* What may be said only of one that has just come. */
static void welcome(struct conn *conn)
{
    metric_add(&conn->worker->metrics, METRIC_SOCKETS_TOTAL, 1);
    if (conn->layers == NULL || conn->layers->proxy_mode == PROXY_OFF) {
        conn_admit_address(conn);
    }
}

void conn_open(struct worker *worker, const struct conn_start *start)
{
    struct conn *conn = create(worker, start);
    if (transport_open(conn, start->fd) != ERR_OK || worker->stopping) {
        transport_close(conn);
        return;
    }
    timer_arm(&worker->timers, &conn->timer,
              worker_now(worker) + worker->config->limits_connect_timeout);
    transport_read_start(conn);
    if (start->moved) {
        conn_input(conn, start->early);
        if (conn->layers != NULL) {
            layers_moved(conn);
        }
    } else {
        welcome(conn);
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
    if (conn->state == CONN_LINGER && transport_drained(conn)) {
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
        return; /* the others have one deadline each, set at their start */
    }
    uint64_t due = earlier(stall_deadline(conn), keep_alive_deadline(conn));
    due = earlier(due, patience_deadline(conn));
    due = earlier(due, conn_rights_deadline(conn));
    due = earlier(due, conn_login_deadline(conn));
    due = earlier(due, conn_rate_deadline(conn));
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

/* Something that ONLINE waits for is due, or was before it moved. */
static void on_due(struct conn *conn)
{
    uint64_t now = worker_now(conn->worker);
    if (keep_alive_deadline(conn) <= now) {
        conn_close(conn, METRIC_CLOSED_KEEP_ALIVE, MQTT_REASON_KEEP_ALIVE_TIMEOUT, true);
        return;
    }
    if (stall_deadline(conn) <= now && !made_progress(conn)) {
        conn_close(conn, METRIC_CLOSED_SLOW, MQTT_REASON_QUOTA_EXCEEDED, false);
        return;
    }
    if (conn_rights_deadline(conn) <= now || conn_login_deadline(conn) <= now) {
        conn_close(conn, METRIC_CLOSED_NOT_AUTHORIZED, MQTT_REASON_NOT_AUTHORIZED, true);
        return;
    }
    conn->stalled_since_ms = stall_deadline(conn) <= now ? now : conn->stalled_since_ms;
    if (patience_deadline(conn) <= now) {
        reclaim_enter();
        throttle_release(conn); /* from now on its messages are dropped: delivery.c */
        reclaim_leave();
    }
    if (conn_rate_deadline(conn) <= now) {
        conn_rate_go_on(conn);
    }
    conn_arm_timer(conn);
}

static void on_timer(struct timer *timer)
{
    struct conn *conn = container_of(timer, struct conn, timer);
    switch ((enum conn_state)conn->state) {
    case CONN_AUTH:
        metric_add(&conn->worker->metrics, METRIC_AUTH_FAILURE_UNAVAILABLE, 1);
        conn_login_refused(conn, MQTT_REASON_SERVER_BUSY);
        return;
    case CONN_CONNECT:
        worker_warn_limit(conn->worker, "client closed: not connected in limits.connect_timeout");
        conn_close(conn, METRIC_CLOSED_CONNECT_TIMEOUT, MQTT_REASON_MAXIMUM_CONNECT_TIME, false);
        return;
    case CONN_LINGER:
        transport_close(conn);
        return;
    case CONN_ONLINE:
        on_due(conn);
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
    char peer[CONN_PEER_SIZE];
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
    conn_login_end(conn);
    conn_drop_rights(conn);
    mem_free(conn->rate);
    conn->rate = NULL;
    conn_drop_input(conn);
}

/* The session goes its own way. */
static void leave_session(struct conn *conn)
{
    struct session *session = conn->session;
    say_goodbye(conn);
    trace_detach(conn);
    metric_add(&conn->worker->metrics, METRIC_CONNECTIONS, -1);
    if (conn->rate_paused) {
        conn_rate_go_on(conn);
    }
    conn->session = NULL;
    enum will_fate fate = conn->keep_will ? WILL_DUE : WILL_WITHDRAWN;
    session_detach(session, conn->close_metric == METRIC_CLOSED_SHUTDOWN ? WILL_DEFERRED : fate);
}

/* Closing with unread input would reset the connection, and our last word with it: wait for the
 * peer. */
static void linger(struct conn *conn)
{
    conn_enter(conn, CONN_LINGER);
    transport_flush(conn); /* with the farewell of its layers */
    if (!conn->handle_open) {
        return;
    }
    bool drained = transport_drained(conn);
    uint64_t patience = drained ? LINGER_MS
                        : conn->worker->stopping
                            ? conn->worker->config->server_shutdown_drain_timeout_ms
                            : LINGER_UNSENT_MS;
    timer_arm(&conn->worker->timers, &conn->timer, worker_now(conn->worker) + patience);
    if (drained) {
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
    /* nothing is said to those that are too many: they would only hold their sockets */
    if (peer_is_gone(conn) || conn->close_metric == METRIC_CLOSED_ADDRESS_LIMIT) {
        transport_flush(conn);
        transport_close(conn);
    } else {
        linger(conn);
    }
}

/* An IPv4 client of a socket for both is one as at a socket for IPv4. */
static void unmap(struct sockaddr_storage *address)
{
    struct sockaddr_in6 in6;
    memcpy(&in6, address, sizeof(in6));
    if (address->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr)) {
        return;
    }
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = in6.sin6_port};
    memcpy(&in4.sin_addr, in6.sin6_addr.s6_addr + 12, sizeof(in4.sin_addr));
    memset(address, 0, sizeof(*address));
    memcpy(address, &in4, sizeof(in4));
}

void conn_peer_address(const struct conn *conn, struct sockaddr_storage *out)
{
    uv_os_fd_t fd;
    socklen_t len = sizeof(*out);
    memset(out, 0, sizeof(*out));
    if (conn->layers != NULL && conn->layers->source != NULL) {
        *out = *conn->layers->source;
    } else if (conn->handle_open && uv_fileno(&conn->io.handle, &fd) == 0) {
        (void)getpeername(fd, (struct sockaddr *)out, &len); /* AF_UNSPEC then */
    }
    unmap(out);
}

const char *conn_peer(const struct conn *conn, char *out, size_t size)
{
    struct sockaddr_storage address;
    char host[INET6_ADDRSTRLEN] = "?";
    conn_peer_address(conn, &address);
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address;
        uv_ip6_name(in6, host, sizeof(host));
        snprintf(out, size, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else if (address.ss_family == AF_INET) {
        const struct sockaddr_in *in4 = (const struct sockaddr_in *)&address;
        uv_ip4_name(in4, host, sizeof(host));
        snprintf(out, size, "%s:%u", host, ntohs(in4->sin_port));
    } else {
        snprintf(out, size, "%s", address.ss_family == AF_UNIX ? "unix" : "?");
    }
    return out;
}
