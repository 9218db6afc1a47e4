#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/admin/admin_priv.h"

/* From the library's callbacks to the handlers of requests, and back. */

/*
 * Invariants:
 *   a request is in admin.waiting exactly while its state is REQUEST_WAITING;
 *   request->errand->request == request, for as long as both are there.
 */

#define CONTENT_TYPE "application/json"
#define STREAM_TYPE "application/x-ndjson"

/* ---- the life of a request ------------------------------------------------------------------- */

/* Called by the library with the target as it came; what it gives is the request from then on. */
void *admin__on_target(void *context, const char *target, struct MHD_Connection *connection)
{
    struct request *request = mem_alloc(sizeof(*request));
    request->admin = context;
    request->connection = connection;
    request->target_text = mem_copy_text(target, strlen(target));
    request->target_err =
        target__parse(request->target_text, strlen(request->target_text), &request->target);
    list_init(&request->waiting_link);
    return request;
}

/* An MHD_RequestCompletedCallback: it is answered, or its client is gone. */
void admin__on_completed(void *context, struct MHD_Connection *connection, void **own,
                         enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)connection;
    (void)code;
    struct request *request = *own;
    if (request == NULL) {
        return;
    }
    list_remove(&request->waiting_link);
    if (request->errand != NULL) {
        request->errand->request = NULL;
    }
    if (request->stream != NULL) {
        MHD_destroy_response(request->stream);
    }
    text_fini(&request->page);
    mem_free(request->body);
    mem_free(request->allow);
    mem_free(request->target_text);
    mem_free(request);
    *own = NULL;
}

static void deny(struct request *request, enum access_verdict verdict)
{
    switch (verdict) {
    case ACCESS_GRANTED:
        return;
    case ACCESS_NO_TOKEN:
        request->challenge = true;
        request__fail(request, MHD_HTTP_UNAUTHORIZED, "unauthorized",
                      "a good bearer token is needed");
        return;
    case ACCESS_NO_CERTIFICATE:
        request__fail(request, MHD_HTTP_FORBIDDEN, "forbidden",
                      "a good client certificate is needed");
        return;
    case ACCESS_WRONG_HOST:
        request__fail(request, MHD_HTTP_FORBIDDEN, "forbidden",
                      "without a token the API is asked by the name localhost, 127.0.0.1 or [::1]");
        return;
    case ACCESS_WRONG_ORIGIN:
        request__fail(request, MHD_HTTP_FORBIDDEN, "forbidden", "not for web pages");
        return;
    }
}

static const char *header(const struct request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static bool announces_too_much(const struct request *request)
{
    const char *len = header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return len != NULL && strtoull(len, NULL, 10) > BODY_BYTES_MAX;
}

/* "application/json", whatever parameters follow. A web form can't send that. */
static bool is_json(const struct request *request)
{
    const char *type = header(request, MHD_HTTP_HEADER_CONTENT_TYPE);
    size_t len = sizeof(CONTENT_TYPE) - 1;
    return type != NULL && strncasecmp(type, CONTENT_TYPE, len) == 0 &&
           (type[len] == '\0' || type[len] == ';' || type[len] == ' ');
}

/* Whether the words of `list`, with blanks between, have `name` among them. */
static bool is_listed(const char *list, struct slice name)
{
    for (const char *at = list; *at != '\0';) {
        size_t len = strcspn(at, " ");
        if (slice_equal(slice_of(at, len), name)) {
            return true;
        }
        at += len + strspn(at + len, " ");
    }
    return false;
}

static bool parameters_are_known(struct request *request)
{
    for (size_t i = 0; i < request->target.parameter_count; i++) {
        if (!is_listed(request->route->parameters, request->target.parameters[i].name)) {
            char detail[256];
            snprintf(detail, sizeof(detail), "unknown parameter; this path takes: %s",
                     request->route->parameters[0] != '\0' ? request->route->parameters : "none");
            request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_parameter", detail);
            return false;
        }
    }
    return true;
}

/* No route: says which methods the path has, or that there is no such path. */
static void refuse_route(struct request *request, const char *method, const struct text *allow)
{
    if (allow->len == 0) {
        request__fail(request, MHD_HTTP_NOT_FOUND, "not_found", "no such path");
        return;
    }
    bool asks = strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0;
    if (asks) {
        request->status = MHD_HTTP_NO_CONTENT;
    } else {
        request__fail(request, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed",
                      "the header Allow has the methods of this path");
    }
}

/* The header is here, and the client may ask. Fails the request, or finds its route. */
static void take_route(struct request *request, const char *method)
{
    struct text allow = {0};
    if (request->target_err != ERR_OK) {
        request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_target", err_text(request->target_err));
        return;
    }
    request->route = admin__find_route(&request->target, method, &request->variable, &allow);
    if (request->route == NULL) {
        refuse_route(request, method, &allow);
        request->allow = allow.data;
        return;
    }
    text_fini(&allow);
    if (request->route->has_body && !is_json(request)) {
        request__fail(request, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type",
                      "the body must be " CONTENT_TYPE ", and the header Content-Type say so");
    } else if (parameters_are_known(request) && request->route->needs_workers &&
               !request->admin->handlers.serving(request->admin->handlers.context)) {
        request__fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, "unavailable",
                      "the node is starting or shutting down");
    }
}

/* Sends the reply. Each connection carries one request: its time limit is then that of the
 * request. */
static enum MHD_Result send_reply(struct request *request)
{
    request->state = REQUEST_SENT;
    struct MHD_Response *response = request->stream;
    bool streams = response != NULL;
    request->stream = NULL;
    if (!streams) {
        response = MHD_create_response_from_buffer_with_free_callback(request->page.len,
                                                                      request->page.data, mem_free);
        if (response == NULL) {
            return MHD_NO;
        }
        request->page = (struct text){0};
    }
    enum MHD_Result ok = MHD_YES;
    if (request->status != MHD_HTTP_NO_CONTENT) {
        ok = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
                                     streams ? STREAM_TYPE : CONTENT_TYPE);
    }
    ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close") &&
         MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store") &&
         MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (request->allow != NULL) {
        ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, request->allow);
    }
    if (request->challenge) {
        ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                                           "Bearer realm=\"pulse admin\"");
    }
    ok = ok && MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return ok;
}

/* ---- from the library to the handlers -------------------------------------------------------- */

/* The header is here. What is wrong is told behind the body, which is not kept then. */
static enum MHD_Result begin(struct request *request, const char *method)
{
    request->state = REQUEST_BODY;
    if (announces_too_much(request)) { /* before anybody looks at the token: no way to try many */
        request__fail(request, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", "the body is too large");
        return send_reply(request);
    }
    deny(request, access__judge(&request->admin->access, request->connection));
    if (request->status == 0) {
        take_route(request, method);
    }
    return MHD_YES;
}

/* Keeps a piece of the body, if it is wanted. */
static void add_body(struct request *request, const char *data, size_t len)
{
    bool wanted = request->status == 0 && request->route->has_body;
    if (!wanted || request->body_len + len > BODY_BYTES_MAX) {
        request->too_large = request->too_large || wanted;
        return;
    }
    if (request->body_len + len > request->body_cap) {
        size_t cap = (request->body_len + len) * 2;
        uint8_t *grown = mem_try_resize(request->body, cap);
        if (grown == NULL) {
            request->too_large = true;
            return;
        }
        request->body = grown;
        request->body_cap = cap;
    }
    memcpy(request->body + request->body_len, data, len);
    request->body_len += len;
}

/* All of the request is here. */
static enum MHD_Result finish(struct request *request)
{
    if (request->challenge) {
        uint64_t now = clock_mono_ms();
        request__wait(request, now + access__failed(&request->admin->access, now));
        return MHD_YES;
    }
    if (request->too_large) {
        request__fail(request, MHD_HTTP_CONTENT_TOO_LARGE, "too_large", "the body is too large");
    } else if (request->status == 0) {
        request->route->handle(request);
    }
    return request->state == REQUEST_WAITING ? MHD_YES : send_reply(request);
}

/* An MHD_AccessHandlerCallback: called as the parts of a request come in, and when it goes on. */
enum MHD_Result admin__on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *data_len, void **own)
{
    (void)context;
    (void)connection;
    (void)path;
    (void)version;
    struct request *request = *own;
    switch (request->state) {
    case REQUEST_NEW:
        return begin(request, method);
    case REQUEST_BODY:
        if (*data_len == 0) {
            return finish(request);
        }
        add_body(request, data, *data_len);
        *data_len = 0;
        return MHD_YES;
    case REQUEST_READY:
        return send_reply(request);
    case REQUEST_WAITING: /* it was resumed to be closed */
    case REQUEST_SENT:
        break;
    }
    return MHD_NO;
}
