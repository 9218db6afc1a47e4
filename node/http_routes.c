#include "node/http_routes_priv.h"

#include "base/log.h"
#include "base/mem.h"
#include "node/http.h"
#include "node/http_daemon.h"
#include "node/ip.h"

#define BODY_BYTES_MAX 256
#define TYPE_TEXT "text/plain; charset=utf-8"
#define TYPE_METRICS "text/plain; version=0.0.4; charset=utf-8"

struct reply {
    unsigned status;
    const char *type;
    const char *allow; /* NULL: no such header */
    struct text page;
};

/* A request with a body, while that comes in. */
struct request {
    size_t body_len; /* more than BODY_BYTES_MAX: too much came, and was not kept */
    char body[BODY_BYTES_MAX + 1];
};

struct route {
    const char *path;
    const char *allow;
    const char *help;
    void (*get)(const struct http_handlers *handlers, struct reply *reply);
    void (*put)(struct request *request, struct reply *reply); /* NULL: not here */
};

/* ---- the routes ------------------------------------------------------------------------------ */

static void get_index(const struct http_handlers *handlers, struct reply *reply);

static void get_metrics(const struct http_handlers *handlers, struct reply *reply)
{
    reply->type = TYPE_METRICS;
    handlers->metrics(handlers->context, &reply->page);
}

static void get_health(const struct http_handlers *handlers, struct reply *reply)
{
    (void)handlers;
    text_add(&reply->page, "ok\n");
}

static void get_readiness(const struct http_handlers *handlers, struct reply *reply)
{
    const char *why = "not ready";
    if (handlers->ready(handlers->context, &why)) {
        text_add(&reply->page, "ready\n");
        return;
    }
    reply->status = MHD_HTTP_SERVICE_UNAVAILABLE;
    text_printf(&reply->page, "%s\n", why);
}

static void get_log(const struct http_handlers *handlers, struct reply *reply)
{
    (void)handlers;
    for (unsigned i = 0; i < LOG_AREA_COUNT; i++) {
        enum log_area area = (enum log_area)i;
        text_printf(&reply->page, "%s %s\n", log_area_name(area),
                    log_level_name(log_level_of(area)));
    }
}

static void put_log(struct request *request, struct reply *reply)
{
    if (request->body_len > BODY_BYTES_MAX) {
        reply->status = MHD_HTTP_CONTENT_TOO_LARGE;
        text_printf(&reply->page, "a log filter has at most %d bytes\n", BODY_BYTES_MAX);
        return;
    }
    struct slice filter = slice_of(request->body, request->body_len);
    bool has_nul = memchr(request->body, '\0', request->body_len) != NULL;
    request->body[request->body_len] = '\0';
    if (has_nul || log_set_filter(request->body) != ERR_OK) {
        reply->status = MHD_HTTP_BAD_REQUEST;
        text_add(&reply->page,
                 "not a log filter: expected a level (off, error, warning, notice, info, debug), "
                 "area=level, or several of them with commas between, as in debug,http=warning; "
                 "GET /log lists the areas\n");
        return;
    }
    log_notice(LOG_HTTP, "log filter changed", log_slice("filter", filter));
    get_log(NULL, reply);
}

/* clang-format off */
static const struct route routes[] = {
    {"/",        "GET, HEAD",            "this list",                                             get_index,     NULL},
    {"/metrics", "GET, HEAD",            "metrics, in the Prometheus text format",                get_metrics,   NULL},
    {"/healthz", "GET, HEAD",            "200 while the process lives",                           get_health,    NULL},
    {"/readyz",  "GET, HEAD",            "200 when clients may be sent here, else 503 and why",   get_readiness, NULL},
    {"/log",     "GET, HEAD, POST, PUT", "log levels; from this host PUT a filter to change them", get_log,      put_log},
};
/* clang-format on */

static void get_index(const struct http_handlers *handlers, struct reply *reply)
{
    (void)handlers;
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        text_printf(&reply->page, "%-10s %s\n", routes[i].path, routes[i].help);
    }
}

static const struct route *find_route(const char *path)
{
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (strcmp(routes[i].path, path) == 0) {
            return &routes[i];
        }
    }
    return NULL;
}

/* ---- answering ------------------------------------------------------------------------------- */

/* Sends `reply` and takes its page. Each connection carries one request: its time limit is then
 * that of the request, and no place is taken by one that only waits for another request. */
static enum MHD_Result send_reply(struct MHD_Connection *connection, struct reply *reply)
{
    struct MHD_Response *response = MHD_create_response_from_buffer_with_free_callback(
        reply->page.len, reply->page.data, mem_free);
    if (response == NULL) {
        text_fini(&reply->page);
        return MHD_NO;
    }
    enum MHD_Result ok =
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type);
    ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (reply->allow != NULL) {
        ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
    }
    ok = ok && MHD_queue_response(connection, reply->status, response);
    MHD_destroy_response(response);
    return ok;
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned status, const char *allow,
                              const char *why)
{
    struct reply reply = {.status = status, .type = TYPE_TEXT, .allow = allow};
    text_add(&reply.page, why);
    return send_reply(connection, &reply);
}

/* Changes are for whoever sits at this host, and not for a web page open in a browser here: with
 * Origin a browser says on whose behalf it writes. */
static bool may_change(struct MHD_Connection *connection)
{
    const struct sockaddr *peer = http_daemon_peer(connection);
    const char *origin = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin");
    struct ip ip;
    return peer != NULL && ip_of_sockaddr(peer, &ip) && ip_is_loopback(&ip) && origin == NULL;
}

/* Keeps a piece of the body, or only notes that the body is too long. */
static void add_body(struct request *request, const char *data, size_t len)
{
    if (request->body_len + len > BODY_BYTES_MAX) {
        request->body_len = BODY_BYTES_MAX + 1;
        return;
    }
    memcpy(request->body + request->body_len, data, len);
    request->body_len += len;
}

static bool is_method(const char *method, const char *one, const char *other)
{
    return strcmp(method, one) == 0 || strcmp(method, other) == 0;
}

/* The header is here: answers, or starts to gather the body. */
static enum MHD_Result begin(const struct http_handlers *handlers,
                             struct MHD_Connection *connection, const struct route *route,
                             const char *method, void **request)
{
    if (is_method(method, MHD_HTTP_METHOD_GET, MHD_HTTP_METHOD_HEAD)) {
        struct reply reply = {.status = MHD_HTTP_OK, .type = TYPE_TEXT};
        route->get(handlers, &reply);
        return send_reply(connection, &reply);
    }
    if (route->put == NULL || !is_method(method, MHD_HTTP_METHOD_PUT, MHD_HTTP_METHOD_POST)) {
        return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, route->allow,
                      "this method is not for this path\n");
    }
    if (!may_change(connection)) {
        return refuse(connection, MHD_HTTP_FORBIDDEN, NULL, "only from this host\n");
    }
    *request = mem_alloc(sizeof(struct request));
    return MHD_YES;
}

enum MHD_Result http__answer(void *context, struct MHD_Connection *connection, const char *path,
                             const char *method, const char *version, const char *data,
                             size_t *data_len, void **request)
{
    (void)version;
    const struct route *route = find_route(path);
    if (route == NULL) {
        return refuse(connection, MHD_HTTP_NOT_FOUND, NULL, "nothing here; / lists what is\n");
    }
    if (*request == NULL) {
        return begin(context, connection, route, method, request);
    }
    if (*data_len > 0) {
        add_body(*request, data, *data_len);
        *data_len = 0;
        return MHD_YES;
    }
    struct reply reply = {.status = MHD_HTTP_OK, .type = TYPE_TEXT};
    route->put(*request, &reply);
    return send_reply(connection, &reply);
}

void http__answered(void *context, struct MHD_Connection *connection, void **request,
                    enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)connection;
    (void)code;
    mem_free(*request);
    *request = NULL;
}
