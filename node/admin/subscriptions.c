#include <inttypes.h>

#include "base/mem.h"
#include "codec/topic.h"
#include "node/admin/admin_priv.h"
#include "node/admin/describe_priv.h"
#include "node/admin/glob_priv.h"
#include "node/admin/page_priv.h"
#include "node/admin/routes_priv.h"
#include "node/session.h"

/*
 * Lists of subscriptions, of one session or of all. A cursor is a worker, the place of a session in
 * its table, and how many of that session's subscriptions are still to come, counted from its
 * oldest one: new ones come in front, so they move nothing. A subscription that is there all the
 * time is listed; twice when an older one of its session ends between two pages.
 */

#define FILTER_BYTES_MAX 65536

struct survey {
    struct errand errand;
    struct page page; /* cursor: worker, place, subscriptions to come + 1 (0: all) */
    char *client_id;  /* of the path; NULL: of all sessions */
    size_t client_id_len;
    bool found;    /* that session */
    char *pattern; /* of client ids; NULL: any */
    char *filter;  /* exactly this one, with $share/group/ if so; NULL: any */
    size_t filter_len;
    char *topic; /* that it matches; NULL: any */
    size_t topic_len;
    char text[FILTER_BYTES_MAX]; /* the filter that is being looked at */
};

static void destroy(struct errand *errand)
{
    struct survey *survey = container_of(errand, struct survey, errand);
    page__fini(&survey->page);
    mem_free(survey->client_id);
    mem_free(survey->pattern);
    mem_free(survey->filter);
    mem_free(survey->topic);
    mem_free(survey);
}

static void reply(struct errand *errand, struct request *request)
{
    struct survey *survey = container_of(errand, struct survey, errand);
    if (survey->client_id != NULL && !survey->found) {
        request__fail(request, MHD_HTTP_NOT_FOUND, "not_found", "no such session");
        return;
    }
    page__reply(&survey->page, request, "subscriptions");
}

/* ---- on the worker --------------------------------------------------------------------------- */

/* Whether `wanted` is the filter with its group: $share/group/filter. */
static bool is_this(struct slice wanted, struct slice share, struct slice filter)
{
    struct topic_filter parsed;
    return topic_filter_parse(wanted, &parsed) && slice_equal(parsed.share, share) &&
           slice_equal(parsed.filter, filter);
}

static void add_row(struct page *page, const struct subscription *sub, struct slice share,
                    struct slice filter)
{
    struct text *out = &page->rows;
    page__row(page);
    text_add(out, "{");
    describe__text(out, "client_id", session_client_id(sub->session));
    text_add(out, ",");
    describe__text(out, "filter", filter);
    if (share.len > 0) {
        text_add(out, ",");
        describe__text(out, "share", share);
    } else {
        text_add(out, ",\"share\":null");
    }
    text_printf(out,
                ",\"qos\":%u,\"no_local\":%s,\"retain_as_published\":%s,\"retain_handling\":%u",
                sub->qos, sub->no_local ? "true" : "false",
                sub->retain_as_published ? "true" : "false", sub->retain_handling);
    if (sub->id > 0) {
        text_printf(out, ",\"identifier\":%" PRIu32 "}", sub->id);
    } else {
        text_add(out, ",\"identifier\":null}");
    }
}

/* How much of a visit that took, in entries. */
static size_t look_at(struct survey *survey, const struct subscription *sub)
{
    size_t len = sub_index_filter(sub, survey->text);
    struct slice filter = slice_of(survey->text, len);
    struct slice share = sub_index_share_name(sub);
    survey->page.looked_at++;
    if ((survey->filter == NULL ||
         is_this(slice_of(survey->filter, survey->filter_len), share, filter)) &&
        (survey->topic == NULL ||
         topic_matches(filter, slice_of(survey->topic, survey->topic_len)))) {
        add_row(&survey->page, sub, share, filter);
        return PAGE_ROW_ENTRIES;
    }
    return 1;
}

/* Goes on with the session's subscriptions; takes what it looks at from `budget`. True: that were
 * all of them. */
static bool look_at_session(struct survey *survey, const struct session *session, size_t *budget)
{
    struct page *page = &survey->page;
    uint32_t count = session->subscription_count;
    uint32_t to_come = page->cursor[2] > 0 ? page->cursor[2] - 1 : count;
    to_come = to_come < count ? to_come : count; /* some have ended, or it is another session */
    const struct subscription *sub = session->subscriptions;
    for (uint32_t i = count; i > to_come && sub != NULL; i--) {
        sub = sub->next_of_session;
    }
    for (; sub != NULL && *budget > 0 && !page__is_full(page); sub = sub->next_of_session) {
        size_t taken = look_at(survey, sub);
        *budget -= taken < *budget ? taken : *budget;
        to_come = to_come > 0 ? to_come - 1 : 0;
    }
    page->cursor[2] = sub != NULL ? to_come + 1 : 0;
    return sub == NULL;
}

static enum question_next visit_one(struct question *question, struct worker *worker)
{
    struct survey *survey = container_of(question, struct survey, errand.question);
    struct session *session =
        session_table_find(&worker->sessions, slice_of(survey->client_id, survey->client_id_len));
    size_t budget = PAGE_VISIT_ENTRIES;
    survey->found = session != NULL;
    survey->page.ended = session == NULL || look_at_session(survey, session, &budget);
    return survey->page.ended || page__is_full(&survey->page) ? QUESTION_HOME : QUESTION_AGAIN;
}

static bool is_wanted(const struct survey *survey, const struct session *session)
{
    return survey->pattern == NULL ||
           glob__matches(slice_text(survey->pattern), session_client_id(session));
}

/* The session at or behind the place of the cursor, which then is its own. */
static const struct session *session_here(const struct worker *worker, struct page *page)
{
    uint32_t place = page->cursor[1];
    const struct session *session = session_table_next(&worker->sessions, &place);
    if (session != NULL && place - 1 != page->cursor[1]) {
        page->cursor[1] = place - 1;
        page->cursor[2] = 0; /* another one than that which the cursor was in */
    }
    return session;
}

static enum question_next visit_all(struct question *question, struct worker *worker)
{
    struct survey *survey = container_of(question, struct survey, errand.question);
    struct page *page = &survey->page;
    size_t budget = PAGE_VISIT_ENTRIES;
    while (budget > 0 && !page__is_full(page)) {
        const struct session *session = session_here(worker, page);
        if (session == NULL) {
            page->ended = worker->index + 1 == worker->broker->worker_count;
            page->cursor[0] = worker->index + 1;
            page->cursor[1] = 0;
            page->cursor[2] = 0;
            return QUESTION_ONWARD;
        }
        budget--;
        page->looked_at++;
        if (!is_wanted(survey, session) || look_at_session(survey, session, &budget)) {
            page->cursor[1]++;
            page->cursor[2] = 0;
        }
    }
    return page__is_full(page) ? QUESTION_HOME : QUESTION_AGAIN;
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool bad_parameter(struct request *request, const char *detail)
{
    request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_parameter", detail);
    return false;
}

static char *copy(struct slice text)
{
    return text.len > 0 ? mem_copy_text(text.data, text.len) : NULL;
}

/* Takes the parameters over. False: the request has failed. */
static bool read_parameters(struct survey *survey, struct request *request)
{
    struct topic_filter parsed;
    struct slice filter = request__text(request, "filter");
    struct slice topic = request__text(request, "topic");
    struct slice pattern;
    if (filter.len > 0 && (!utf8_valid(filter) || !topic_filter_parse(filter, &parsed))) {
        return bad_parameter(request, "filter must be a topic filter");
    }
    if (topic.len > 0 && (!utf8_valid(topic) || !topic_name_valid(topic))) {
        return bad_parameter(request, "topic must be a topic name");
    }
    if (!request__pattern(request, "client_id", &pattern)) {
        return false;
    }
    survey->filter = copy(filter);
    survey->filter_len = filter.len;
    survey->topic = copy(topic);
    survey->topic_len = topic.len;
    survey->pattern = copy(pattern);
    return page__init(&survey->page, request);
}

static struct survey *survey_create(struct request *request)
{
    struct survey *survey = mem_alloc(sizeof(*survey));
    survey->errand.reply = reply;
    survey->errand.destroy = destroy;
    if (!read_parameters(survey, request)) {
        destroy(&survey->errand);
        return NULL;
    }
    return survey;
}

void handle__subscriptions(struct request *request)
{
    struct survey *survey = survey_create(request);
    if (survey == NULL) {
        return;
    }
    if (survey->page.cursor[0] >= request->admin->broker->worker_count) {
        survey->page.ended = true; /* a cursor at the end, or of a node that had more workers */
        reply(&survey->errand, request);
        destroy(&survey->errand);
        return;
    }
    errand__send(&survey->errand, request, visit_all, survey->page.cursor[0]);
}

void handle__session_subscriptions(struct request *request)
{
    struct survey *survey = survey_create(request);
    if (survey != NULL) {
        survey->client_id = mem_copy_text(request->variable.data, request->variable.len);
        survey->client_id_len = request->variable.len;
        errand__send(&survey->errand, request, visit_one,
                     broker_worker_of(request->admin->broker, request->variable));
    }
}
