#include "node/conn.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/message.h"
#include "node/auth/auth.h"
#include "node/layers.h"
#include "node/session.h"
#include "node/will.h"
#include "node/worker.h"

/* What a client may do, as long as its connection lasts. docs/security.md. */

/* Connections that a worker looks at after a reload before others have their turn. */
#define RECHECK_PORTION 256

struct rights {
    struct auth_identity *identity;
    uint64_t until_ms; /* by worker_now */
    char *method;      /* of enhanced authentication; NULL: none */
    struct acl_cache cache;
};

static uint64_t deadline_of(const struct worker *worker, const struct auth_identity *identity)
{
    if (identity->expires_at_ms == UINT64_MAX) {
        return CLOCK_NEVER;
    }
    uint64_t now = clock_wall_ms();
    uint64_t left = identity->expires_at_ms > now ? identity->expires_at_ms - now : 0;
    return worker_now(worker) + left;
}

void conn_set_rights(struct conn *conn, struct auth_identity *identity)
{
    if (conn->rights == NULL) {
        conn->rights = mem_alloc(sizeof(*conn->rights));
    }
    struct rights *rights = conn->rights;
    auth_identity_unref(rights->identity);
    rights->identity = identity;
    rights->until_ms = deadline_of(conn->worker, identity);
    rights->cache = (struct acl_cache){.topics = {0}};
    conn_arm_timer(conn);
}

void conn_set_auth_method(struct conn *conn, struct slice method)
{
    mem_free(conn->rights->method);
    conn->rights->method = method.len == 0 ? NULL : mem_copy_text(method.data, method.len);
}

const char *conn_auth_method(const struct conn *conn)
{
    return conn->rights == NULL ? NULL : conn->rights->method;
}

void conn_drop_rights(struct conn *conn)
{
    if (conn->rights != NULL) {
        auth_identity_unref(conn->rights->identity);
        mem_free(conn->rights->method);
        mem_free(conn->rights);
        conn->rights = NULL;
    }
}

const struct auth_identity *conn_identity(const struct conn *conn)
{
    return conn->rights == NULL ? NULL : conn->rights->identity;
}

struct slice conn_username(const struct conn *conn)
{
    return conn->rights == NULL ? slice_of(NULL, 0) : conn->rights->identity->username;
}

uint64_t conn_rights_deadline(const struct conn *conn)
{
    return conn->rights == NULL ? CLOCK_NEVER : conn->rights->until_ms;
}

/* ---- asking ---------------------------------------------------------------------------------- */

bool conn_may_publish(struct conn *conn, struct slice topic)
{
    return conn->rights == NULL ||
           acl_cache_may_publish(&conn->rights->cache, conn->rights->identity->view, topic);
}

bool conn_may_subscribe(const struct conn *conn, struct slice filter)
{
    return conn->rights == NULL || acl_may_subscribe(conn->rights->identity->view, filter);
}

bool conn_may_receive(const struct conn *conn, struct slice topic)
{
    return conn->rights == NULL || acl_may_receive(conn->rights->identity->view, topic);
}

/* ---- sessions that are older than the rights --------------------------------------------------
 */

/* Ends the subscriptions that may not be; how many they were. In a read section. */
static unsigned end_subscriptions(struct conn *conn)
{
    struct session *session = conn->session;
    char *buffer = mem_alloc(UINT16_MAX + 1);
    unsigned ended = 0;
    struct subscription *next = NULL;
    for (struct subscription *sub = session->subscriptions; sub != NULL; sub = next) {
        next = sub->next_of_session;
        struct slice filter = slice_of(buffer, sub_index_filter(sub, buffer));
        if (!conn_may_subscribe(conn, filter)) {
            session_end_subscription(session, sub);
            ended++;
        }
    }
    mem_free(buffer);
    return ended;
}

static void drop_will(struct conn *conn)
{
    const struct will *will = conn->session->will;
    if (will != NULL && !conn_may_publish(conn, message_topic(will->message))) {
        session_set_will(conn->session, NULL);
    }
}

/* How much of what its session has may not be any more, and is gone now. */
static unsigned check_session(struct conn *conn)
{
    struct session *session = conn->session;
    uint64_t fingerprint =
        conn->rights == NULL ? 0 : acl_view_fingerprint(conn->rights->identity->view);
    if (fingerprint == session->rights_seen) {
        return 0;
    }
    session->rights_seen = fingerprint;
    if (fingerprint == 0) {
        return 0;
    }
    session->unsure_to = session->outbound.last_position + 1;
    unsigned ended = end_subscriptions(conn);
    drop_will(conn);
    metric_add(&conn->worker->metrics, METRIC_SUBSCRIPTIONS_REVOKED, ended);
    if (ended > 0) {
        log_info(LOG_AUTH, "subscriptions ended that are not allowed any more",
                 log_slice("client_id", session_client_id(session)),
                 log_uint("subscriptions", ended));
    }
    return ended;
}

void conn_check_session(struct conn *conn)
{
    (void)check_session(conn);
}

/* ---- after a reload -------------------------------------------------------------------------- */

static struct acl_subject subject_of(const struct conn *conn)
{
    struct acl_subject subject = {.username = conn->rights->identity->username,
                                  .client_id = session_client_id(conn->session)};
    if (conn->layers != NULL && conn->layers->tls != NULL) {
        const struct tls_peer *peer = tls_stream_peer(conn->layers->tls);
        subject.common_name = peer->common_name;
        subject.organization = peer->organization;
        subject.organizational_unit = peer->organizational_unit;
    }
    return subject;
}

static void lost_rights(struct conn *conn)
{
    conn_close(conn, METRIC_CLOSED_NOT_AUTHORIZED, MQTT_REASON_NOT_AUTHORIZED, true);
}

static void recheck(struct conn *conn)
{
    if (!conn_online(conn) || conn->rights == NULL) {
        return;
    }
    struct acl_subject subject = subject_of(conn);
    struct auth_identity *fresh =
        auth_refresh(conn->worker->broker->auth, conn->rights->identity, &subject);
    if (fresh == NULL) {
        conn->keep_will = false; /* nobody is there any more who may publish it */
        lost_rights(conn);
        return;
    }
    conn_set_rights(conn, fresh);
    if (check_session(conn) > 0) {
        lost_rights(conn); /* there is no other way to tell it that a subscription is gone */
    }
}

struct recheck_mail {
    struct mail mail;
    size_t left; /* connections that there were when it began, and are not looked at yet */
};

static size_t count_conns(const struct worker *worker)
{
    size_t count = 0;
    list_foreach(item, &worker->conns)
    {
        count++;
    }
    return count;
}

/* Those that were looked at go to the end of the list, where new ones come too. */
static void open_recheck(struct worker *worker, struct mail *mail)
{
    struct recheck_mail *own = container_of(mail, struct recheck_mail, mail);
    for (unsigned i = 0; i < RECHECK_PORTION && own->left > 0 && !list_empty(&worker->conns); i++) {
        struct conn *conn = list_entry(worker->conns.next, struct conn, of_worker);
        list_remove(&conn->of_worker);
        list_append(&worker->conns, &conn->of_worker);
        own->left--;
        recheck(conn);
    }
    if (own->left > 0 && !list_empty(&worker->conns)) { /* some may have gone meanwhile */
        worker_post(worker, mail);
    } else {
        mem_free(own);
    }
}

void conn_recheck_all(struct worker *worker)
{
    struct recheck_mail *own = mem_alloc(sizeof(*own));
    own->mail.open = open_recheck;
    own->left = count_conns(worker);
    worker_post(worker, &own->mail);
}
