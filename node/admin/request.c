#include <inttypes.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/admin/admin_priv.h"

#define PATTERN_BYTES_MAX 256 /* of a parameter */

struct text *request__page(struct request *request)
{
    request->status = MHD_HTTP_OK;
    return &request->page;
}

void request__fail(struct request *request, unsigned status, const char *error, const char *detail)
{
    text_fini(&request->page);
    request->status = status;
    text_add(&request->page, "{\"error\":\"");
    text_add_json(&request->page, slice_text(error));
    text_add(&request->page, "\",\"detail\":\"");
    text_add_json(&request->page, slice_text(detail));
    text_add(&request->page, "\"}");
}

struct slice request__text(const struct request *request, const char *name)
{
    struct slice value = slice_of(NULL, 0);
    (void)target__parameter(&request->target, name, &value); /* not given: empty */
    return value;
}

bool request__pattern(struct request *request, const char *name, struct slice *out)
{
    struct slice pattern = request__text(request, name);
    if (pattern.len > PATTERN_BYTES_MAX ||
        (pattern.len > 0 && memchr(pattern.data, '\0', pattern.len) != NULL)) {
        request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_parameter",
                      "a pattern has at most 256 bytes, and no NUL");
        return false;
    }
    *out = pattern;
    return true;
}

static bool parse_number(struct slice digits, uint64_t *out)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') {
            return false;
        }
        sum = sum * 10 + (uint64_t)(digits.data[i] - '0');
    }
    *out = sum;
    return digits.len > 0 && digits.len <= 10;
}

bool request__number(struct request *request, const char *name, uint64_t low, uint64_t high,
                     uint64_t otherwise, uint64_t *out)
{
    struct slice digits;
    if (!target__parameter(&request->target, name, &digits)) {
        *out = otherwise;
        return true;
    }
    if (!parse_number(digits, out) || *out < low || *out > high) {
        char detail[128];
        snprintf(detail, sizeof(detail), "%s must be a number from %" PRIu64 " to %" PRIu64, name,
                 low, high);
        request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_parameter", detail);
        return false;
    }
    return true;
}

/* ---- waiting --------------------------------------------------------------------------------- */

void request__wait(struct request *request, uint64_t due_ms)
{
    request->state = REQUEST_WAITING;
    request->due_ms = due_ms;
    list_append(&request->admin->waiting, &request->waiting_link);
    admin__tick(request->admin);
    (void)http_daemon_suspend(request->connection); /* one that is going is told to when it is
                                                       called again: dispatch.c */
}

void request__go_on(struct request *request)
{
    list_remove(&request->waiting_link);
    request->state = REQUEST_READY;
    http_daemon_resume(request->connection);
}

/* ---- errands --------------------------------------------------------------------------------- */

static void on_home(struct question *question)
{
    struct errand *errand = container_of(question, struct errand, question);
    struct request *request = errand->request;
    if (request != NULL) {
        request->errand = NULL;
        errand->reply(errand, request);
        request__go_on(request);
    }
    errand->destroy(errand);
}

void errand__send(struct errand *errand, struct request *request,
                  enum question_next (*visit)(struct question *, struct worker *), unsigned worker)
{
    errand->request = request;
    errand->question.visit = visit;
    errand->question.home = on_home;
    request->errand = errand;
    request__wait(request, clock_mono_ms() + ERRAND_PATIENCE_MS);
    inspect_ask(request->admin->inspector, &errand->question, worker);
}
