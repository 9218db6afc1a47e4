#include "node/retained.h"

#include <inttypes.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/message.h"
#include "codec/topic.h"
#include "node/admin/admin_priv.h"
#include "node/admin/describe_priv.h"
#include "node/admin/page_priv.h"
#include "node/admin/routes_priv.h"
#include "node/inspect_retained.h"
#include "node/journal.h"

/* Retained messages. They belong to no worker: the first one looks. A cursor is a place in the
 * store, which a topic keeps for as long as it has a retained message. */

#define LOOKING_WORKER 0
#define PAYLOAD_BYTES_MAX 4096 /* that a list shows of each */
/* Larger ones are not shown as text, which may take six times as much. */
#define TEXT_BYTES_MAX 65536

/* ---- objects --------------------------------------------------------------------------------- */

/* At most `shown` bytes of the payload; as text too, when all of it is shown and it is text. */
static void add_message(struct text *out, const struct message *message, size_t shown)
{
    struct slice payload = message_payload(message);
    text_add(out, "{");
    describe__text(out, "topic", message_topic(message));
    text_printf(out, ",\"qos\":%u,\"payload_bytes\":%zu,", message->qos, payload.len);
    describe__moment(out, "expires_at", message->expires_at_ms);
    if (shown > 0) {
        bool whole = payload.len <= shown;
        if (whole && payload.len <= TEXT_BYTES_MAX && utf8_well_formed(payload)) {
            text_add(out, ",");
            describe__text(out, "payload", payload);
        }
        payload.len = whole ? payload.len : shown;
        text_add(out, ",\"payload_base64\":\"");
        base64_add(out, payload, BASE64_PADDED);
        text_add(out, "\"");
    }
    text_add(out, "}");
}

/* ---- the list -------------------------------------------------------------------------------- */

struct shelf {
    struct errand errand;
    struct page page; /* cursor: place */
    size_t shown;
    size_t filter_len;
    char *filter;
};

static void shelf_destroy(struct errand *errand)
{
    struct shelf *shelf = container_of(errand, struct shelf, errand);
    page__fini(&shelf->page);
    mem_free(shelf->filter);
    mem_free(shelf);
}

static void shelf_reply(struct errand *errand, struct request *request)
{
    struct shelf *shelf = container_of(errand, struct shelf, errand);
    page__reply(&shelf->page, request, "retained");
}

static bool is_wanted(const struct shelf *shelf, const struct message *message)
{
    return !message_expired(message, clock_mono_ms()) &&
           (shelf->filter == NULL ||
            topic_matches(slice_of(shelf->filter, shelf->filter_len), message_topic(message)));
}

static enum question_next shelf_visit(struct question *question, struct worker *worker)
{
    struct shelf *shelf = container_of(question, struct shelf, errand.question);
    struct page *page = &shelf->page;
    size_t budget = PAGE_VISIT_ENTRIES;
    while (!page__is_full(page)) {
        size_t before = budget;
        const struct message *message =
            inspect_retained_next(worker->broker->retained, &page->cursor[0], &budget);
        page->looked_at += before - budget;
        if (message == NULL && page->cursor[0] != UINT32_MAX) {
            return QUESTION_AGAIN;
        }
        if (message == NULL) {
            page->ended = true;
            return QUESTION_HOME;
        }
        if (is_wanted(shelf, message)) {
            page__row(page);
            add_message(&page->rows, message, shelf->shown);
            budget -= budget < PAGE_ROW_ENTRIES ? budget : PAGE_ROW_ENTRIES;
        }
    }
    return QUESTION_HOME;
}

static bool read_filter(struct shelf *shelf, struct request *request)
{
    struct topic_filter parsed;
    struct slice filter = request__text(request, "filter");
    if (filter.len == 0) {
        filter = slice_text("#"); /* as for subscribers: without $SYS */
    }
    if (!utf8_valid(filter) || !topic_filter_parse(filter, &parsed) || parsed.share.len > 0) {
        request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_parameter",
                      "filter must be a topic filter, without $share");
        return false;
    }
    shelf->filter = mem_copy_text(filter.data, filter.len);
    shelf->filter_len = filter.len;
    return true;
}

void handle__retained(struct request *request)
{
    uint64_t shown = 0;
    struct shelf *shelf = mem_alloc(sizeof(*shelf));
    shelf->errand.reply = shelf_reply;
    shelf->errand.destroy = shelf_destroy;
    if (!page__init(&shelf->page, request) || !read_filter(shelf, request) ||
        !request__number(request, "payload_bytes", 0, PAYLOAD_BYTES_MAX, 0, &shown)) {
        shelf_destroy(&shelf->errand);
        return;
    }
    shelf->shown = shown;
    errand__send(&shelf->errand, request, shelf_visit, LOOKING_WORKER);
}

/* ---- one ------------------------------------------------------------------------------------- */

static void not_there(struct request *request)
{
    request__fail(request, MHD_HTTP_NOT_FOUND, "not_found", "this topic has no retained message");
}

void handle__retained_message(struct request *request)
{
    struct message *message = retained_get(request->admin->broker->retained, request->variable);
    if (message == NULL || message_expired(message, clock_mono_ms())) {
        not_there(request);
    } else {
        struct text *page = request__page(request);
        add_message(page, message, SIZE_MAX);
        text_add(page, "\n");
    }
    message_unref(message);
}

/* A topic whose message is to be forgotten. */
struct removal {
    struct errand errand;
    bool found;
    size_t topic_len;
    uint8_t topic[];
};

static void removal_destroy(struct errand *errand)
{
    mem_free(container_of(errand, struct removal, errand));
}

/* Nobody is told: subscribers get no empty message, as they would from a publisher's. */
static enum question_next removal_visit(struct question *question, struct worker *worker)
{
    struct removal *removal = container_of(question, struct removal, errand.question);
    struct slice topic = slice_of(removal->topic, removal->topic_len);
    struct message *old = retained_get(worker->broker->retained, topic);
    removal->found = old != NULL;
    if (removal->found) {
        struct message empty = message_borrow(topic, slice_of(NULL, 0), slice_of(NULL, 0));
        empty.retain = true;
        enum err err = retained_set(worker->broker->retained, &empty);
        ASSERT(err == ERR_OK); /* an empty one only removes */
        journal_retained(worker, &empty, NULL);
        message_release(&empty);
    }
    message_unref(old);
    return QUESTION_HOME;
}

static void removal_reply(struct errand *errand, struct request *request)
{
    struct removal *removal = container_of(errand, struct removal, errand);
    if (!removal->found) {
        not_there(request);
        return;
    }
    request->status = MHD_HTTP_NO_CONTENT;
    log_notice(LOG_ADMIN, "retained message removed by an operator",
               log_slice("topic", slice_of(removal->topic, removal->topic_len)));
}

void handle__drop_retained(struct request *request)
{
    struct slice topic = request->variable;
    if (slice_starts_with(topic, "$SYS/")) {
        request__fail(request, MHD_HTTP_FORBIDDEN, "forbidden",
                      "topics below $SYS are those of the node");
        return;
    }
    if (!topic_name_valid(topic) || !utf8_valid(topic) || topic.len > UINT16_MAX) {
        not_there(request);
        return;
    }
    struct removal *removal = mem_alloc(sizeof(*removal) + topic.len);
    removal->errand.reply = removal_reply;
    removal->errand.destroy = removal_destroy;
    removal->topic_len = topic.len;
    memcpy(removal->topic, topic.data, topic.len);
    errand__send(&removal->errand, request, removal_visit, LOOKING_WORKER);
}
