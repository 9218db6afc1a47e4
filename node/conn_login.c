#include "node/conn.h"

#include <openssl/crypto.h>
#include <stdatomic.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/address_table.h"
#include "node/auth/auth.h"
#include "node/layers.h"
#include "node/listener.h"
#include "node/session.h"
#include "node/transport.h"
#include "node/worker.h"

/*
 * Who a client is: its CONNECT is kept while auth judges it, on a thread of its own; the answer
 * comes by mail. With enhanced authentication AUTH packets go back and forth in between, and again
 * when an online client authenticates anew. MQTT 5.0 sections 3.15, 4.12.
 */

#define METHOD_MAX 64

struct login {
    _Atomic uint32_t references; /* its connection, and each mail that is on its way */
    struct worker *worker;
    struct conn *conn; /* NULL: it is gone; the worker's */
    struct auth_attempt *attempt;
    uint8_t *connect; /* the body of CONNECT; NULL when an online client authenticates anew */
    size_t connect_len;
    char *client_id; /* it may have been assigned */
    size_t client_id_len;
    uint8_t method_len; /* 0: user name and password */
    char method[METHOD_MAX];
    bool waiting;      /* for auth, not for the client */
    uint64_t until_ms; /* an online client must be done by then */
};

struct login_mail {
    struct mail mail;
    struct login *login;
    enum auth_verdict verdict;
    struct auth_identity *identity;
    const char *reason;
    size_t data_len;
    uint8_t data[];
};

static void drop_reference(struct login *login)
{
    if (atomic_fetch_sub(&login->references, 1) == 1) {
        if (login->connect != NULL) {
            OPENSSL_cleanse(login->connect, login->connect_len); /* it holds the password */
        }
        mem_free(login->connect);
        mem_free(login->client_id);
        mem_free(login);
    }
}

static void open_answer(struct worker *worker, struct mail *mail);

/* An auth_done: on auth's thread. */
static void on_answer(void *user, const struct auth_answer *answer)
{
    struct login *login = user;
    struct login_mail *own = mem_alloc(sizeof(*own) + answer->data.len);
    own->mail.open = open_answer;
    own->login = login;
    own->verdict = answer->verdict;
    own->identity = answer->identity;
    own->reason = answer->reason;
    own->data_len = answer->data.len;
    if (answer->data.len > 0) {
        memcpy(own->data, answer->data.data, answer->data.len);
    }
    atomic_fetch_add(&login->references, 1);
    worker_post(login->worker, &own->mail);
}

/* ---- asking ---------------------------------------------------------------------------------- */

bool conn_login_waits(const struct conn *conn)
{
    return conn->login != NULL && conn->login->waiting && conn->state == CONN_AUTH;
}

uint64_t conn_login_deadline(const struct conn *conn)
{
    return conn->login == NULL ? CLOCK_NEVER : conn->login->until_ms;
}

bool conn_login_wants_rest(const struct conn *conn)
{
    return conn_login_waits(conn) && conn->partial_len > 0;
}

void conn_login_end(struct conn *conn)
{
    struct login *login = conn->login;
    if (login == NULL) {
        return;
    }
    conn->login = NULL;
    login->conn = NULL;
    if (login->attempt != NULL) {
        auth_end(login->attempt);
    }
    drop_reference(login);
}

static struct slice method_of(const struct login *login)
{
    return slice_of(login->method, login->method_len);
}

static struct login *create(struct conn *conn, struct slice client_id, struct slice method)
{
    struct login *login = mem_alloc(sizeof(*login));
    atomic_store(&login->references, 1);
    login->worker = conn->worker;
    login->conn = conn;
    login->client_id = mem_copy_text(client_id.data, client_id.len);
    login->client_id_len = client_id.len;
    login->method_len = (uint8_t)method.len;
    if (method.len > 0) {
        memcpy(login->method, method.data, method.len);
    }
    conn->login = login;
    return login;
}

static void add_certificate(const struct conn *conn, struct auth_request *request)
{
    if (conn->layers == NULL || conn->layers->tls == NULL) {
        return;
    }
    const struct tls_peer *peer = tls_stream_peer(conn->layers->tls);
    request->tls = true;
    request->certificate_identity = peer->identity;
    request->common_name = peer->common_name;
    request->organization = peer->organization;
    request->organizational_unit = peer->organizational_unit;
}

static void ask(struct login *login, struct auth_request *request)
{
    struct conn *conn = login->conn;
    request->client_id = slice_of(login->client_id, login->client_id_len);
    request->method = method_of(login);
    request->listener = conn->listener == NULL ? "" : conn->listener->name;
    conn_peer_address(conn, &request->address);
    request->shared_address = address_table_exempts(conn->worker->broker->addresses,
                                                    (struct sockaddr *)&request->address);
    add_certificate(conn, request);
    login->waiting = true;
    login->attempt = auth_begin(conn->worker->broker->auth, request, on_answer, login);
    if (login->attempt == NULL) {
        conn_close(conn, METRIC_CLOSED_REFUSED, MQTT_REASON_SERVER_UNAVAILABLE, false);
    }
}

/* CONNECT may be large, and from anybody. */
static bool keep_connect(struct login *login, struct slice body)
{
    login->connect = mem_try_alloc(body.len);
    if (login->connect == NULL) {
        return false;
    }
    memcpy(login->connect, body.data, body.len);
    login->connect_len = body.len;
    return true;
}

void conn_login_begin(struct conn *conn, struct slice body, const struct mqtt_connect *connect)
{
    const struct mqtt_props *props = &connect->props;
    bool enhanced = mqtt_props_has(props, MQTT_PROP_AUTH_METHOD);
    conn_enter(conn, CONN_AUTH);
    if (enhanced && (props->auth_method.len == 0 || props->auth_method.len > METHOD_MAX)) {
        conn_login_refused(conn, MQTT_REASON_BAD_AUTHENTICATION_METHOD);
        return;
    }
    struct login *login =
        create(conn, connect->client_id, enhanced ? props->auth_method : slice_of(NULL, 0));
    if (!keep_connect(login, body)) {
        conn_login_refused(conn, MQTT_REASON_QUOTA_EXCEEDED);
        return;
    }
    struct auth_request request = {
        .username = connect->user_name,
        .password = connect->password,
        .has_username = connect->has_user_name,
        .has_password = connect->has_password,
        .data = mqtt_props_has(props, MQTT_PROP_AUTH_DATA) ? props->auth_data : slice_of(NULL, 0),
    };
    timer_arm(&conn->worker->timers, &conn->timer,
              worker_now(conn->worker) + conn->worker->config->auth_wait_max);
    ask(login, &request);
    /* It lies in a buffer of ours, which may be used for long without being written to there. */
    OPENSSL_cleanse((uint8_t *)(uintptr_t)connect->password.data, connect->password.len);
}

/* ---- AUTH ------------------------------------------------------------------------------------ */

/* An online client wants to be looked at again; what it does meanwhile it does as before. */
static void authenticate_again(struct conn *conn, const struct mqtt_disconnect *packet)
{
    const char *before = conn_auth_method(conn);
    struct slice method = packet->props.auth_method;
    if (conn->login != NULL || before == NULL || !slice_equal(method, slice_text(before))) {
        conn_violation(conn, MQTT_REASON_PROTOCOL_ERROR, "AUTH without its method of CONNECT");
        return;
    }
    struct login *login = create(conn, session_client_id(conn->session), method);
    login->until_ms = worker_now(conn->worker) + conn->worker->config->limits_connect_timeout;
    conn_arm_timer(conn);
    struct auth_request request = {.data = mqtt_props_has(&packet->props, MQTT_PROP_AUTH_DATA)
                                               ? packet->props.auth_data
                                               : slice_of(NULL, 0)};
    ask(login, &request);
}

static void go_on(struct conn *conn, const struct mqtt_disconnect *packet)
{
    struct login *login = conn->login;
    bool expected = login != NULL && !login->waiting && login->attempt != NULL &&
                    packet->reason == MQTT_REASON_CONTINUE_AUTHENTICATION &&
                    slice_equal(packet->props.auth_method, method_of(login));
    if (!expected) {
        conn_violation(conn, MQTT_REASON_PROTOCOL_ERROR, "AUTH that nobody asked for");
        return;
    }
    login->waiting = true;
    auth_continue(login->attempt, mqtt_props_has(&packet->props, MQTT_PROP_AUTH_DATA)
                                      ? packet->props.auth_data
                                      : slice_of(NULL, 0));
}

void conn_on_auth(struct conn *conn, struct slice body)
{
    struct mqtt_disconnect packet;
    if (conn->version != MQTT_V5) {
        conn_violation(conn, MQTT_REASON_PROTOCOL_ERROR, "AUTH before version 5.0");
        return;
    }
    enum mqtt_reason reason = mqtt_decode_auth(body, &packet);
    if (reason != MQTT_REASON_SUCCESS) {
        conn_violation(conn, reason, "AUTH");
    } else if (packet.reason == MQTT_REASON_REAUTHENTICATE && conn->state == CONN_ONLINE) {
        authenticate_again(conn, &packet);
    } else {
        go_on(conn, &packet);
    }
}

/* ---- the answer ------------------------------------------------------------------------------ */

static const struct {
    enum mqtt_reason reason;
    enum metric metric;
} refusals[] = {
    [AUTH_DENIED] = {MQTT_REASON_BAD_USER_NAME_OR_PASSWORD, METRIC_AUTH_FAILURE_PASSWORD},
    [AUTH_NOT_ALLOWED] = {MQTT_REASON_NOT_AUTHORIZED, METRIC_AUTH_FAILURE_NOT_ALLOWED},
    [AUTH_BAD_METHOD] = {MQTT_REASON_BAD_AUTHENTICATION_METHOD, METRIC_AUTH_FAILURE_METHOD},
    [AUTH_BUSY] = {MQTT_REASON_SERVER_BUSY, METRIC_AUTH_FAILURE_BUSY},
    [AUTH_UNAVAILABLE] = {MQTT_REASON_SERVER_UNAVAILABLE, METRIC_AUTH_FAILURE_UNAVAILABLE},
};

static void refuse(struct conn *conn, enum auth_verdict verdict, const char *why)
{
    enum mqtt_reason reason = refusals[verdict].reason;
    if (reason != MQTT_REASON_BAD_AUTHENTICATION_METHOD || conn->state == CONN_ONLINE) {
        metric_add(&conn->worker->metrics, refusals[verdict].metric, 1);
    }
    log_debug(LOG_AUTH, "refused", log_text("why", why == NULL ? "" : why));
    if (conn->state == CONN_ONLINE) {
        conn_close(conn, METRIC_CLOSED_NOT_AUTHORIZED, reason, true);
    } else {
        conn_login_refused(conn, reason);
    }
}

static void challenge(struct conn *conn, struct slice data)
{
    conn_send_auth(conn, MQTT_REASON_CONTINUE_AUTHENTICATION, method_of(conn->login), data);
    conn->login->waiting = false;
    conn_go_on(conn);
}

/* An online client is another one now? Its session is not for others. */
static void renewed(struct conn *conn, struct auth_identity *identity, struct slice data)
{
    struct slice method = method_of(conn->login);
    if (!slice_equal(identity->username, conn_identity(conn)->username)) {
        auth_identity_unref(identity);
        refuse(conn, AUTH_NOT_ALLOWED, "another user name than before");
        return;
    }
    conn_set_rights(conn, identity);
    conn_check_session(conn);
    conn_send_auth(conn, MQTT_REASON_SUCCESS, method, data);
    conn_login_end(conn);
}

static void allowed(struct conn *conn, struct auth_identity *identity, struct slice data)
{
    struct login *login = conn->login;
    if (conn->state == CONN_ONLINE) {
        renewed(conn, identity, data);
        return;
    }
    conn_set_rights(conn, identity);
    conn_set_auth_method(conn, method_of(login));
    atomic_fetch_add(&login->references, 1); /* its texts are needed to the end */
    conn_login_end(conn);
    conn_login_done(conn, slice_of(login->connect, login->connect_len),
                    slice_of(login->client_id, login->client_id_len), method_of(login), data);
    drop_reference(login);
    conn_go_on(conn);
}

static void open_answer(struct worker *worker, struct mail *mail)
{
    struct login_mail *own = container_of(mail, struct login_mail, mail);
    struct conn *conn = own->login->conn;
    struct slice data = slice_of(own->data, own->data_len);
    (void)worker;
    if (conn == NULL || conn->closing) {
        auth_identity_unref(own->identity);
    } else if (own->verdict == AUTH_ALLOWED) {
        allowed(conn, own->identity, data);
    } else if (own->verdict == AUTH_CONTINUE) {
        challenge(conn, data);
    } else {
        refuse(conn, own->verdict, own->reason);
    }
    drop_reference(own->login);
    mem_free(own);
}
