#include "node/conn.h"

#include <stdio.h>

#include "base/log.h"
#include "codec/topic.h"
#include "node/journal.h"
#include "node/listener.h"
#include "node/session.h"
#include "node/trace.h"
#include "node/transport.h"
#include "node/will.h"
#include "node/worker.h"

/* CONNECT and CONNACK. MQTT 5.0 sections 3.1 and 3.2. */

#define ASSIGNED_ID_MAX 32

/* What CONNECT asks for, and what it gets. */
struct admission {
    struct mqtt_connect connect;
    struct mqtt_connack connack;
    char assigned_id[ASSIGNED_ID_MAX];
    char response_info[256];
};

/* 3.x has no code for what is malformed: such a connection is just closed. */
static bool may_answer(const struct conn *conn, enum mqtt_reason reason)
{
    switch (conn->version) {
    case 0:
        return false;
    case MQTT_V5:
        return true;
    default:
        return reason != MQTT_REASON_MALFORMED_PACKET && reason != MQTT_REASON_PROTOCOL_ERROR &&
               reason != MQTT_REASON_TOPIC_NAME_INVALID;
    }
}

static void refuse(struct conn *conn, struct admission *admission, enum mqtt_reason reason)
{
    char peer[CONN_PEER_SIZE];
    log_debug(LOG_CONN, "connect refused", log_text("reason", mqtt_reason_name(reason)),
              log_slice("client_id", admission->connect.client_id),
              log_text("peer", conn_peer(conn, peer, sizeof(peer))));
    enum metric why = METRIC_CLOSED_REFUSED;
    if (reason == MQTT_REASON_MALFORMED_PACKET) {
        metric_add(&conn->worker->metrics, METRIC_PARSE_ERROR_DECODE, 1);
        why = METRIC_CLOSED_DECODE;
    }
    if (reason == MQTT_REASON_BAD_AUTHENTICATION_METHOD) {
        metric_add(&conn->worker->metrics, METRIC_AUTH_FAILURE_METHOD, 1);
    }
    if (may_answer(conn, reason)) {
        admission->connack = (struct mqtt_connack){.reason = reason};
        conn_send_connack(conn, &admission->connack);
    }
    conn_close(conn, why, reason, false);
}

/* What is wrong with the request besides its form. */
static enum mqtt_reason check(struct conn *conn, const struct mqtt_connect *connect)
{
    if (conn->worker->broker->auth == NULL &&
        mqtt_props_has(&connect->props, MQTT_PROP_AUTH_METHOD)) {
        return MQTT_REASON_BAD_AUTHENTICATION_METHOD;
    }
    if (atomic_load_explicit(&conn->worker->broker->stopping, memory_order_relaxed)) {
        return MQTT_REASON_SERVER_UNAVAILABLE;
    }
    if (connect->has_will) {
        if (slice_starts_with(connect->will.topic, "$SYS/")) {
            return MQTT_REASON_NOT_AUTHORIZED;
        }
        if (conn_topic_too_long(conn, connect->will.topic)) {
            return MQTT_REASON_TOPIC_NAME_INVALID;
        }
    }
    return MQTT_REASON_SUCCESS;
}

/* Takes over what the client says of itself. */
static void note_limits(struct conn *conn, const struct mqtt_connect *connect)
{
    const struct mqtt_props *props = &connect->props;
    if (mqtt_props_has(props, MQTT_PROP_MAXIMUM_PACKET_SIZE)) {
        conn->max_packet_size = props->maximum_packet_size;
    }
    if (mqtt_props_has(props, MQTT_PROP_RECEIVE_MAXIMUM)) {
        conn->receive_maximum = props->receive_maximum;
    }
    if (mqtt_props_has(props, MQTT_PROP_TOPIC_ALIAS_MAXIMUM)) {
        uint64_t ours = conn->worker->config->limits_outbound_topic_aliases;
        uint16_t theirs = props->topic_alias_maximum;
        conn->alias_out_maximum = theirs < ours ? theirs : (uint16_t)ours;
    }
    if (mqtt_props_has(props, MQTT_PROP_REQUEST_PROBLEM)) {
        conn->problem_info = props->request_problem != 0;
    }
    uint64_t window = connect->version == MQTT_V5 ? conn->worker->config->limits_max_inflight
                                                  : conn->worker->config->limits_max_inflight_v3;
    if (conn->receive_maximum > window) {
        conn->receive_maximum = (uint16_t)window;
    }
}

/* An id that nobody has, whose session lives on this worker: no need to move. */
static struct slice assign_id(struct worker *worker, char out[ASSIGNED_ID_MAX])
{
    struct slice id;
    do {
        uint64_t random = 0;
        (void)uv_random(NULL, NULL, &random, sizeof(random), 0, NULL); /* the clock is in it too */
        random ^= clock_mono_ns() << 20;
        int len = snprintf(out, ASSIGNED_ID_MAX, "pulse-%016llx", (unsigned long long)random);
        id = slice_of(out, (size_t)len);
    } while (broker_worker_of(worker->broker, id) != worker->index ||
             session_table_find(&worker->sessions, id) != NULL);
    return id;
}

static void set_prop(struct mqtt_connack *connack, enum mqtt_prop id)
{
    connack->props.present |= (uint64_t)1 << id;
}

/* The interval that the client gets: in seconds, SESSION_EXPIRY_NEVER for ever. */
static uint32_t session_expiry(const struct conn *conn, struct admission *admission)
{
    const struct mqtt_connect *connect = &admission->connect;
    uint32_t asked = 0;
    if (connect->version != MQTT_V5) {
        asked = connect->clean_start ? 0 : SESSION_EXPIRY_NEVER;
    } else if (mqtt_props_has(&connect->props, MQTT_PROP_SESSION_EXPIRY)) {
        asked = connect->props.session_expiry;
    }
    uint64_t max = conn->worker->config->limits_max_session_expiry / 1000;
    if (max == 0 || asked <= max) {
        return asked;
    }
    set_prop(&admission->connack, MQTT_PROP_SESSION_EXPIRY);
    admission->connack.props.session_expiry = (uint32_t)max;
    return (uint32_t)max;
}

static void set_keep_alive(struct conn *conn, struct admission *admission)
{
    uint32_t seconds = admission->connect.keep_alive;
    uint64_t ours = conn->worker->config->limits_server_keep_alive / 1000;
    if (ours > 0 && conn->version == MQTT_V5 && (seconds == 0 || seconds > ours)) {
        seconds = (uint32_t)ours;
        set_prop(&admission->connack, MQTT_PROP_SERVER_KEEP_ALIVE);
        admission->connack.props.server_keep_alive = (uint16_t)seconds;
    }
    conn->keep_alive_ms = seconds * 1500;
}

/* Where the client may build response topics, when it asks and the operator has named a prefix. */
static void set_response_info(struct conn *conn, struct admission *admission)
{
    const struct mqtt_connect *connect = &admission->connect;
    const char *prefix = conn->worker->config->server_response_topic_prefix;
    bool wanted = mqtt_props_has(&connect->props, MQTT_PROP_REQUEST_RESPONSE) &&
                  connect->props.request_response == 1;
    if (!wanted || prefix == NULL || prefix[0] == '\0' || !topic_name_valid(connect->client_id)) {
        return;
    }
    int len = snprintf(admission->response_info, sizeof(admission->response_info), "%s%.*s", prefix,
                       (int)connect->client_id.len, connect->client_id.data);
    if (len > 0 && (size_t)len < sizeof(admission->response_info)) {
        set_prop(&admission->connack, MQTT_PROP_RESPONSE_INFO);
        admission->connack.props.response_info = slice_of(admission->response_info, (size_t)len);
    }
}

/* What the server says of itself. What is not said has the specification's default. */
static void set_server_limits(const struct config *config, struct mqtt_connack *connack)
{
    set_prop(connack, MQTT_PROP_RECEIVE_MAXIMUM);
    connack->props.receive_maximum = (uint16_t)config->limits_server_receive_maximum;
    set_prop(connack, MQTT_PROP_MAXIMUM_PACKET_SIZE);
    connack->props.maximum_packet_size = (uint32_t)config->limits_server_maximum_packet_size;
    if (config->limits_server_topic_alias_maximum > 0) {
        set_prop(connack, MQTT_PROP_TOPIC_ALIAS_MAXIMUM);
        connack->props.topic_alias_maximum = (uint16_t)config->limits_server_topic_alias_maximum;
    }
}

/* The session that the client goes on with, or a new one; NULL when there may be no more. */
static struct session *take_session(struct conn *conn, struct admission *admission)
{
    struct worker *worker = conn->worker;
    struct slice id = admission->connect.client_id;
    struct session *session = session_table_find(&worker->sessions, id);
    if (session != NULL && session->conn != NULL) {
        struct conn *old = session->conn;
        conn_close(old, METRIC_CLOSED_TAKEN_OVER, MQTT_REASON_SESSION_TAKEN_OVER, true);
        list_remove(&old->pending_link);
        conn_finish(old); /* now: the session must be free, and it may end with its connection */
        session = session_table_find(&worker->sessions, id);
    }
    bool expired = session != NULL && session_has_expired(session); /* its timer may be late */
    if (session != NULL && (admission->connect.clean_start || expired)) {
        metric_add(&worker->metrics, METRIC_SESSIONS_EXPIRED, expired);
        session_end(session);
        session = NULL;
    }
    admission->connack.session_present = session != NULL;
    if (session == NULL && atomic_load_explicit(&worker->broker->sessions, memory_order_relaxed) <
                               worker->config->limits_max_sessions) {
        session = session_create(worker, id);
    }
    return session;
}

static void go_online(struct conn *conn, struct session *session, struct admission *admission,
                      struct will *will)
{
    struct worker *worker = conn->worker;
    conn_enter(conn, CONN_ONLINE);
    timer_disarm(&worker->timers, &conn->timer);
    conn->keep_will = true;
    conn->online_since_ms = worker_now(worker);
    conn->resumed = admission->connack.session_present;
    metric_add(&worker->metrics, METRIC_CONNECTIONS, 1);
    metric_add(&worker->metrics, METRIC_CONNECTIONS_TOTAL, 1);
    session_set_expiry(session, session_expiry(conn, admission));
    set_keep_alive(conn, admission);
    if (conn->version == MQTT_V5) {
        set_server_limits(worker->config, &admission->connack);
        set_response_info(conn, admission);
    }
    trace_attach(conn);
    conn_send_connack(conn, &admission->connack);
    conn_start_rate(conn);
    conn_arm_timer(conn);
    if (log_enabled(LOG_CONN, LOG_LEVEL_INFO)) {
        char peer[CONN_PEER_SIZE];
        log_info(LOG_CONN, "client connected", log_slice("client_id", session_client_id(session)),
                 log_text("peer", conn_peer(conn, peer, sizeof(peer))),
                 log_text("listener", conn->listener == NULL ? "" : conn->listener->name),
                 log_slice("username", conn_username(conn)), log_uint("version", conn->version),
                 log_uint("keep_alive", conn_keep_alive_s(conn)),
                 log_uint("session_present", admission->connack.session_present));
    }
    conn_check_session(conn);
    session_attach(session, conn);
    session_set_will(session, will); /* storage must know the session first */
}

static bool wants_kept_session(const struct mqtt_connect *connect)
{
    return connect->version == MQTT_V5 ? mqtt_props_has(&connect->props, MQTT_PROP_SESSION_EXPIRY)
                                       : !connect->clean_start;
}

static void admit(struct conn *conn, struct admission *admission)
{
    const struct mqtt_connect *connect = &admission->connect;
    if (connect->has_will && !conn_may_publish(conn, connect->will.topic)) {
        metric_add(&conn->worker->metrics, METRIC_DENIED_WILL, 1);
        refuse(conn, admission, MQTT_REASON_NOT_AUTHORIZED);
        return;
    }
    if (wants_kept_session(&admission->connect) && journal_refuses(conn->worker)) {
        worker_warn_limit(conn->worker, "client refused: storage takes nothing at present");
        refuse(conn, admission, MQTT_REASON_SERVER_BUSY);
        return;
    }
    struct will *will = NULL;
    if (admission->connect.has_will) {
        will = will_create(&admission->connect.will);
        if (will == NULL) {
            refuse(conn, admission, MQTT_REASON_QUOTA_EXCEEDED);
            return;
        }
    }
    struct session *session = take_session(conn, admission);
    if (session == NULL) {
        will_destroy(will);
        metric_add(&conn->worker->metrics, METRIC_SESSIONS_REFUSED, 1);
        worker_warn_limit(conn->worker, "client refused: limits.max_sessions is reached");
        refuse(conn, admission, MQTT_REASON_QUOTA_EXCEEDED);
        return;
    }
    conn->session = session;
    go_online(conn, session, admission, will);
}

void conn_on_connect(struct conn *conn, struct slice body)
{
    struct admission admission = {.connect.version = 0};
    struct mqtt_connect *connect = &admission.connect;
    enum mqtt_reason reason = mqtt_decode_connect(body, connect);
    conn->version = (uint8_t)connect->version;
    if (reason == MQTT_REASON_SUCCESS) {
        note_limits(conn, connect);
        reason = check(conn, connect);
    }
    if (reason != MQTT_REASON_SUCCESS) {
        refuse(conn, &admission, reason);
        return;
    }
    if (connect->client_id.len == 0) {
        connect->client_id = assign_id(conn->worker, admission.assigned_id);
        set_prop(&admission.connack, MQTT_PROP_ASSIGNED_CLIENT_ID);
        admission.connack.props.assigned_client_id = connect->client_id;
    }
    unsigned home = broker_worker_of(conn->worker->broker, connect->client_id);
    if (home != conn->worker->index) {
        conn->moving = true;
        conn->closing = true;
        conn->move_to = (uint8_t)home;
        list_append(&conn->worker->closing, &conn->pending_link);
        transport_read_stop(conn);
        return;
    }
    if (conn->worker->broker->auth != NULL) {
        conn_login_begin(conn, body, connect);
        return;
    }
    admit(conn, &admission);
}

void conn_login_done(struct conn *conn, struct slice body, struct slice client_id,
                     struct slice method, struct slice data)
{
    struct admission admission = {.connect.version = 0};
    enum mqtt_reason reason = mqtt_decode_connect(body, &admission.connect);
    ASSERT(reason == MQTT_REASON_SUCCESS); /* it was before */
    if (admission.connect.client_id.len == 0) {
        set_prop(&admission.connack, MQTT_PROP_ASSIGNED_CLIENT_ID);
        admission.connack.props.assigned_client_id = client_id;
        admission.connect.client_id = client_id;
    }
    if (method.len > 0) {
        set_prop(&admission.connack, MQTT_PROP_AUTH_METHOD);
        admission.connack.props.auth_method = method;
    }
    if (data.len > 0) {
        set_prop(&admission.connack, MQTT_PROP_AUTH_DATA);
        admission.connack.props.auth_data = data;
    }
    reason = check(conn, &admission.connect);
    if (reason != MQTT_REASON_SUCCESS) { /* the node may be stopping by now */
        refuse(conn, &admission, reason);
        return;
    }
    admit(conn, &admission);
}

void conn_login_refused(struct conn *conn, enum mqtt_reason reason)
{
    struct admission admission = {.connect.version = conn->version};
    refuse(conn, &admission, reason);
}

void conn_refuse_large_connect(struct conn *conn, struct slice start)
{
    static const uint8_t v5[] = {0, 4, 'M', 'Q', 'T', 'T', MQTT_V5};
    if (start.len >= sizeof(v5) && memcmp(start.data, v5, sizeof(v5)) == 0) {
        struct mqtt_connack connack = {.reason = MQTT_REASON_PACKET_TOO_LARGE};
        conn->version = MQTT_V5;
        conn_send_connack(conn, &connack);
    }
}
