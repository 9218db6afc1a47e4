#include "node/conn.h"

#include <netinet/in.h>

#include "base/log.h"
#include "base/mem.h"
#include "codec/topic.h"
#include "node/address_table.h"
#include "node/listener.h"
#include "node/rate.h"
#include "node/session.h"
#include "node/worker.h"

/* How many connections there may be, how fast they may come, and how much one may publish. */

/* ---- how many -------------------------------------------------------------------------------- */

static bool take_place(_Atomic uint32_t *count, uint64_t max)
{
    uint32_t before = atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
    if (before < max) {
        return true;
    }
    atomic_fetch_sub_explicit(count, 1, memory_order_relaxed);
    return false;
}

static bool refuse(struct worker *worker, const char *why)
{
    metric_add(&worker->metrics, METRIC_SOCKETS_REFUSED, 1);
    worker_warn_limit(worker, why);
    return false;
}

bool conn_enter_limits(struct worker *worker, struct listener *listener)
{
    struct broker *broker = worker->broker;
    uint64_t max = listener->config->max_connections;
    if (!take_place(&broker->sockets, broker->sockets_max)) {
        return refuse(worker, "client turned away: limits.max_connections is reached");
    }
    if (!take_place(&listener->connections, max > 0 ? max : UINT32_MAX)) {
        atomic_fetch_sub_explicit(&broker->sockets, 1, memory_order_relaxed);
        return refuse(worker, "client turned away: max_connections of its listener is reached");
    }
    return true;
}

void conn_undo_limits(struct worker *worker, struct listener *listener)
{
    atomic_fetch_sub_explicit(&worker->broker->sockets, 1, memory_order_relaxed);
    if (listener != NULL) {
        atomic_fetch_sub_explicit(&listener->connections, 1, memory_order_relaxed);
    }
}

/* Its own address, for as long as it lasts: a dead socket can't tell it. */
static void note_address(struct conn *conn, const struct sockaddr_storage *address)
{
    struct sockaddr_in6 *kept = mem_alloc(sizeof(*kept)); /* the largest that is counted */
    memcpy(kept, address, sizeof(*kept));
    conn->address = (struct sockaddr *)kept;
}

void conn_admit_address(struct conn *conn)
{
    struct worker *worker = conn->worker;
    struct sockaddr_storage address;
    conn_peer_address(conn, &address);
    switch (address_table_enter(worker->broker->addresses, (struct sockaddr *)&address,
                                worker_now(worker))) {
    case ADDRESS_COUNTED:
        note_address(conn, &address);
        return;
    case ADDRESS_UNCOUNTED:
        return;
    case ADDRESS_TOO_MANY:
        worker_warn_limit(worker,
                          "client turned away: limits.max_connections_per_address is reached");
        break;
    case ADDRESS_TOO_FAST:
        worker_warn_limit(worker, "client turned away: limits.connect_rate_per_address is reached");
        break;
    }
    conn_close(conn, METRIC_CLOSED_ADDRESS_LIMIT, MQTT_REASON_CONNECTION_RATE_EXCEEDED, false);
}

void conn_leave_limits(struct conn *conn)
{
    metric_add(&conn->worker->metrics, METRIC_SOCKETS, -1);
    if (conn->counted) {
        conn_undo_limits(conn->worker, conn->listener);
    }
    if (conn->address != NULL) {
        address_table_leave(conn->worker->broker->addresses, conn->address);
        mem_free(conn->address);
        conn->address = NULL;
    }
}

/* ---- how fast they come ---------------------------------------------------------------------- */

static void on_accept_alarm(struct timer *alarm)
{
    listener_go_on(container_of(alarm, struct worker, accept_alarm));
}

/* Each worker has its part of limits.connect_rate. */
static struct rate_limit accept_limit(const struct worker *worker)
{
    unsigned workers = worker->broker->worker_count;
    uint64_t part = (worker->config->limits_connect_rate + workers - 1) / workers;
    return (struct rate_limit){.per_second = part, .burst = part};
}

void conn_init_limits(struct worker *worker)
{
    worker->accept_alarm.fire = on_accept_alarm;
}

bool conn_more_may_come(struct worker *worker)
{
    struct rate_limit limit = accept_limit(worker);
    uint64_t now = worker_now(worker);
    uint64_t wait_ms = rate_take(&worker->accept_rate, &limit, 1, now);
    if (wait_ms == 0) {
        return true;
    }
    metric_add(&worker->metrics, METRIC_ACCEPT_PAUSED, 1);
    worker_warn_limit(worker, "clients have to wait: limits.connect_rate is reached");
    listener_pause(worker);
    timer_arm(&worker->timers, &worker->accept_alarm, now + wait_ms);
    return false;
}

/* ---- how long topics are --------------------------------------------------------------------- */

bool conn_topic_too_long(struct conn *conn, struct slice topic)
{
    const struct config *config = conn->worker->config;
    uint64_t levels_max = config->limits_topic_levels_max;
    bool too_long = topic.len > config->limits_topic_bytes_max ||
                    /* as many levels take as many bytes */
                    (topic.len >= levels_max && topic_levels(topic) > levels_max);
    if (too_long) {
        metric_add(&conn->worker->metrics, METRIC_TOPICS_REFUSED, 1);
        worker_warn_limit(conn->worker, "topic refused: limits.topic_bytes_max or "
                                        "limits.topic_levels_max is reached");
    }
    return too_long;
}

/* ---- how much one may publish ---------------------------------------------------------------- */

struct publish_rate {
    struct rate messages;
    struct rate bytes;
    uint64_t until_ms; /* paused until then */
};

void conn_start_rate(struct conn *conn)
{
    const struct config *config = conn->worker->config;
    if (config->limits_publish_rate > 0 || config->limits_publish_bytes_rate > 0) {
        conn->rate = mem_alloc(sizeof(*conn->rate));
    }
}

/* A second's worth at once is no sin. */
static uint64_t spend(struct rate *rate, uint64_t per_second, uint64_t count, uint64_t now)
{
    const struct rate_limit limit = {.per_second = per_second, .burst = per_second};
    return rate_take(rate, &limit, count, now);
}

void conn_spend_rate(struct conn *conn, size_t bytes)
{
    const struct config *config = conn->worker->config;
    struct publish_rate *rate = conn->rate;
    uint64_t now = worker_now(conn->worker);
    uint64_t by_messages = spend(&rate->messages, config->limits_publish_rate, 1, now);
    uint64_t by_bytes = spend(&rate->bytes, config->limits_publish_bytes_rate, bytes, now);
    uint64_t wait_ms = by_messages > by_bytes ? by_messages : by_bytes;
    if (wait_ms == 0) {
        return;
    }
    rate->until_ms = now + wait_ms;
    if (!conn->rate_paused) {
        conn->rate_paused = true;
        metric_add(&conn->worker->metrics, METRIC_RATE_LIMITED, 1);
        worker_warn_limit(conn->worker, "publisher has to wait: limits.publish_rate or "
                                        "limits.publish_bytes_rate is reached");
        session_pause(conn->session);
    }
    conn_arm_timer(conn);
}

uint64_t conn_rate_deadline(const struct conn *conn)
{
    return conn->rate_paused ? conn->rate->until_ms : CLOCK_NEVER;
}

void conn_rate_go_on(struct conn *conn)
{
    conn->rate_paused = false;
    session_resume(conn->session);
}
