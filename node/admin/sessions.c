#include "base/mem.h"
#include "node/admin/admin_priv.h"
#include "node/admin/describe_priv.h"
#include "node/admin/glob_priv.h"
#include "node/admin/page_priv.h"
#include "node/admin/routes_priv.h"
#include "node/conn.h"
#include "node/session.h"

/* Lists of clients and sessions. A cursor is a worker and a place in its table: a session keeps its
 * place for as long as it lives, so one that is there all the time is listed exactly once. */

enum walk_filter { FILTER_CLIENT_ID, FILTER_USERNAME, FILTER_ADDRESS, FILTER_LISTENER, FILTERS };

static const char *const filter_names[FILTERS] = {"client_id", "username", "address", "listener"};

enum walk_whom { WALK_ALL, WALK_CONNECTED, WALK_OFFLINE };

struct walk {
    struct errand errand;
    struct page page; /* cursor: worker, place */
    enum walk_whom whom;
    bool as_clients;
    char *patterns[FILTERS]; /* NULL: any */
};

static void walk_destroy(struct errand *errand)
{
    struct walk *walk = container_of(errand, struct walk, errand);
    page__fini(&walk->page);
    for (unsigned i = 0; i < FILTERS; i++) {
        mem_free(walk->patterns[i]);
    }
    mem_free(walk);
}

static void walk_reply(struct errand *errand, struct request *request)
{
    struct walk *walk = container_of(errand, struct walk, errand);
    page__reply(&walk->page, request, walk->as_clients ? "clients" : "sessions");
}

/* ---- on the worker --------------------------------------------------------------------------- */

static bool fits(const char *pattern, struct slice text)
{
    return pattern == NULL || glob__matches(slice_text(pattern), text);
}

static bool is_wanted(const struct walk *walk, const struct session *session)
{
    const struct conn *conn = session->conn;
    char address[128] = "";
    if ((walk->whom == WALK_CONNECTED && conn == NULL) ||
        (walk->whom == WALK_OFFLINE && conn != NULL) ||
        !fits(walk->patterns[FILTER_CLIENT_ID], session_client_id(session)) ||
        !fits(walk->patterns[FILTER_USERNAME], describe__username(conn)) ||
        !fits(walk->patterns[FILTER_LISTENER], describe__listener(conn))) {
        return false;
    }
    if (walk->patterns[FILTER_ADDRESS] != NULL && conn != NULL) {
        (void)describe__address(conn, address, sizeof(address));
    }
    return fits(walk->patterns[FILTER_ADDRESS], slice_text(address));
}

static enum question_next walk_visit(struct question *question, struct worker *worker)
{
    struct walk *walk = container_of(question, struct walk, errand.question);
    struct page *page = &walk->page;
    for (size_t i = 0; i < PAGE_VISIT_ENTRIES; i++) {
        if (page__is_full(page)) {
            return QUESTION_HOME;
        }
        const struct session *session = session_table_next(&worker->sessions, &page->cursor[1]);
        if (session == NULL) {
            page->ended = worker->index + 1 == worker->broker->worker_count;
            page->cursor[0] = worker->index + 1;
            page->cursor[1] = 0;
            return QUESTION_ONWARD;
        }
        page->looked_at++;
        if (is_wanted(walk, session)) {
            i += PAGE_ROW_ENTRIES;
            page__row(page);
            if (walk->as_clients) {
                describe__client(&page->rows, session, false);
            } else {
                describe__session(&page->rows, session, false);
            }
        }
    }
    return QUESTION_AGAIN;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* Takes the filters over. False: the request has failed. */
static bool read_filters(struct walk *walk, struct request *request)
{
    for (unsigned i = 0; i < FILTERS; i++) {
        struct slice pattern;
        if (!request__pattern(request, filter_names[i], &pattern)) {
            return false;
        }
        if (pattern.len > 0) {
            walk->patterns[i] = mem_copy_text(pattern.data, pattern.len);
        }
    }
    return true;
}

static void start_walk(struct request *request, enum walk_whom whom, bool as_clients)
{
    struct walk *walk = mem_alloc(sizeof(*walk));
    walk->errand.reply = walk_reply;
    walk->errand.destroy = walk_destroy;
    walk->whom = whom;
    walk->as_clients = as_clients;
    if (!page__init(&walk->page, request) || !read_filters(walk, request)) {
        walk_destroy(&walk->errand);
        return;
    }
    if (walk->page.cursor[0] >= request->admin->broker->worker_count) {
        walk->page.ended = true; /* a cursor at the end, or of a node that had more workers */
        walk_reply(&walk->errand, request);
        walk_destroy(&walk->errand);
        return;
    }
    errand__send(&walk->errand, request, walk_visit, walk->page.cursor[0]);
}

void handle__clients(struct request *request)
{
    start_walk(request, WALK_CONNECTED, true);
}

void handle__sessions(struct request *request)
{
    struct slice connected = request__text(request, "connected");
    enum walk_whom whom = WALK_ALL;
    if (slice_equal(connected, slice_text("true"))) {
        whom = WALK_CONNECTED;
    } else if (slice_equal(connected, slice_text("false"))) {
        whom = WALK_OFFLINE;
    } else if (connected.len > 0) {
        request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_parameter",
                      "connected must be true or false");
        return;
    }
    start_walk(request, whom, false);
}
