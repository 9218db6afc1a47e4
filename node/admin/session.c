#include "base/mem.h"
#include "node/admin/admin_priv.h"
#include "node/admin/describe_priv.h"
#include "node/admin/routes_priv.h"
#include "node/conn.h"
#include "node/session.h"

/* One client or session: what there is of it, and its end. */

struct one {
    struct errand errand;
    bool found;
    struct text object;
    struct slice client_id; /* in `bytes` */
    uint8_t bytes[];
};

static void one_destroy(struct errand *errand)
{
    struct one *one = container_of(errand, struct one, errand);
    text_fini(&one->object);
    mem_free(one);
}

static struct session *find(const struct one *one, struct worker *worker)
{
    return session_table_find(&worker->sessions, one->client_id);
}

static struct one *one_of(struct question *question)
{
    return container_of(question, struct one, errand.question);
}

/* ---- on the worker --------------------------------------------------------------------------- */

static enum question_next visit_client(struct question *question, struct worker *worker)
{
    struct one *one = one_of(question);
    struct session *session = find(one, worker);
    one->found = session != NULL && session->conn != NULL;
    if (one->found) {
        describe__client(&one->object, session, true);
    }
    return QUESTION_HOME;
}

static enum question_next visit_session(struct question *question, struct worker *worker)
{
    struct one *one = one_of(question);
    struct session *session = find(one, worker);
    one->found = session != NULL;
    if (one->found) {
        describe__session(&one->object, session, true);
    }
    return QUESTION_HOME;
}

static void kick(struct session *session)
{
    conn_close(session->conn, METRIC_CLOSED_ADMIN, MQTT_REASON_ADMINISTRATIVE_ACTION, true);
}

static enum question_next visit_kick(struct question *question, struct worker *worker)
{
    struct one *one = one_of(question);
    struct session *session = find(one, worker);
    one->found = session != NULL && session->conn != NULL;
    if (one->found) {
        kick(session);
    }
    return QUESTION_HOME;
}

/* As when another connection takes a session over: the old one is finished at once, so that its
 * session is free to be ended; it may end with its connection. */
static enum question_next visit_drop(struct question *question, struct worker *worker)
{
    struct one *one = one_of(question);
    struct session *session = find(one, worker);
    one->found = session != NULL;
    if (one->found && session->conn != NULL) {
        struct conn *conn = session->conn;
        kick(session);
        list_remove(&conn->pending_link);
        conn_finish(conn);
        session = find(one, worker);
    }
    if (session != NULL) {
        session_end(session);
    }
    return QUESTION_HOME;
}

/* ---- replies --------------------------------------------------------------------------------- */

static bool is_found(const struct one *one, struct request *request, const char *what)
{
    if (!one->found) {
        request__fail(request, MHD_HTTP_NOT_FOUND, "not_found", what);
    }
    return one->found;
}

static void reply_object(struct errand *errand, struct request *request)
{
    struct one *one = container_of(errand, struct one, errand);
    if (is_found(one, request, "no such client or session")) {
        struct text *page = request__page(request);
        text_add_bytes(page, one->object.data, one->object.len);
        text_add(page, "\n");
    }
}

static void reply_done(struct errand *errand, struct request *request)
{
    struct one *one = container_of(errand, struct one, errand);
    if (is_found(one, request, "no such client or session")) {
        request->status = MHD_HTTP_NO_CONTENT;
        log_notice(LOG_ADMIN, "ended by an operator", log_slice("client_id", one->client_id),
                   log_text("what", request->route->summary));
    }
}

static void start(struct request *request,
                  enum question_next (*visit)(struct question *, struct worker *),
                  void (*reply)(struct errand *, struct request *))
{
    struct slice id = request->variable;
    if (id.len > UINT16_MAX) { /* no client has such an id */
        request__fail(request, MHD_HTTP_NOT_FOUND, "not_found", "no such client or session");
        return;
    }
    struct one *one = mem_alloc(sizeof(*one) + id.len);
    one->errand.reply = reply;
    one->errand.destroy = one_destroy;
    memcpy(one->bytes, id.data, id.len);
    one->client_id = slice_of(one->bytes, id.len);
    errand__send(&one->errand, request, visit,
                 broker_worker_of(request->admin->broker, one->client_id));
}

void handle__client(struct request *request)
{
    start(request, visit_client, reply_object);
}

void handle__session(struct request *request)
{
    start(request, visit_session, reply_object);
}

void handle__kick(struct request *request)
{
    start(request, visit_kick, reply_done);
}

void handle__drop(struct request *request)
{
    start(request, visit_drop, reply_done);
}
