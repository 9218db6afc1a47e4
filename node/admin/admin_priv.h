/*
 * What the files of the admin API know about one another: the API itself, a request, and an errand:
 * a request's question to the workers.
 *
 *     dispatch.c  -->  access.c  -->  routes.def  -->  a handler  -->  request__page
 *     (callbacks)      (who may)                          |                  ^
 *                                                         +---- errand ------+
 *                                                          to a worker and back
 *
 * Thread    main, but `visit` of an errand: the worker's.
 */
#ifndef PULSE_NODE_ADMIN_ADMIN_PRIV_H
#define PULSE_NODE_ADMIN_ADMIN_PRIV_H

#include <microhttpd.h>
#include <uv.h>

#include "base/list.h"
#include "base/text.h"
#include "node/admin/access_priv.h"
#include "node/admin/admin.h"
#include "node/admin/target_priv.h"
#include "node/http_daemon.h"
#include "node/inspect.h"

#define BODY_BYTES_MAX (1024 * 1024)
/* How long a request waits for workers. */
#define ERRAND_PATIENCE_MS 5000
#define CLOCK_TICK_MS 100

struct errand;
struct request;

/* ---- routes ---------------------------------------------------------------------------------- */

struct route {
    const char *method;
    const char *path;       /* a pattern of target__matches */
    const char *parameters; /* that it takes, with blanks between */
    const char *summary;
    bool has_body;
    bool needs_workers;
    void (*handle)(struct request *request);
};

extern const struct route admin__routes[];
extern const size_t admin__route_count;

/* The route of a request; NULL: none, and `allow` has the methods that there are for the path:
 * nothing means that there is no such path. */
const struct route *admin__find_route(const struct target *target, const char *method,
                                      struct slice *variable, struct text *allow);

/* ---- the API --------------------------------------------------------------------------------- */

struct admin {
    struct broker *broker;
    struct admin_handlers handlers;
    struct http_daemon *http;
    struct inspector *inspector;
    struct access access;
    struct list waiting;   /* struct request.waiting_link */
    struct list streams;   /* struct stream (stream.c) */
    unsigned stream_count; /* with those that are being started */
    uv_async_t bell;       /* rings when a trace has lines */
    uv_timer_t clock;      /* runs while somebody waits, or a trace runs */
    unsigned open_handles;
};

/* Starts the clock, which stops by itself. */
void admin__tick(struct admin *admin);

/* What the HTTP endpoint calls (dispatch.c); `context` is a struct admin. */
void *admin__on_target(void *context, const char *target, struct MHD_Connection *connection);
enum MHD_Result admin__on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *data_len, void **own);
void admin__on_completed(void *context, struct MHD_Connection *connection, void **own,
                         enum MHD_RequestTerminationCode code);

/* ---- requests -------------------------------------------------------------------------------- */

enum request_state {
    REQUEST_NEW,     /* the header is here */
    REQUEST_BODY,    /* the body comes in */
    REQUEST_WAITING, /* suspended */
    REQUEST_READY,   /* the reply is there, and goes out */
    REQUEST_SENT,
};

struct request {
    struct admin *admin;
    struct MHD_Connection *connection;
    char *target_text;
    struct target target;
    enum err target_err;
    const struct route *route;
    struct slice variable; /* the client id or the topic in the path */
    enum request_state state;
    uint8_t *body;
    size_t body_len;
    size_t body_cap;
    bool too_large;
    /* the reply */
    unsigned status;
    struct text page;
    char *allow;                 /* header Allow, owned; NULL: none */
    bool challenge;              /* header WWW-Authenticate */
    struct MHD_Response *stream; /* instead of `page`; NULL: none */
    /* while it waits */
    struct list waiting_link;
    uint64_t due_ms;
    struct errand *errand;
};

/* Adds to the page of a good reply; status 200. */
struct text *request__page(struct request *request);

/* The reply is an error: {"error": `error`, "detail": `detail`}. */
void request__fail(struct request *request, unsigned status, const char *error, const char *detail);

/* A parameter as text; the empty slice when it is not given. */
struct slice request__text(const struct request *request, const char *name);

/* A parameter as a pattern (glob_priv.h); the empty slice when it is not given. False: it is too
 * long, or has a NUL in it, and the request has failed. */
bool request__pattern(struct request *request, const char *name, struct slice *out);

/* A parameter as a number of `low` to `high`, or `otherwise` when it is not given. False: it is
 * none, and the request has failed. */
bool request__number(struct request *request, const char *name, uint64_t low, uint64_t high,
                     uint64_t otherwise, uint64_t *out);

/* Suspends the request until request__go_on, or until `due_ms`. */
void request__wait(struct request *request, uint64_t due_ms);
/* The reply is there. */
void request__go_on(struct request *request);

/* ---- errands --------------------------------------------------------------------------------- */

/* Embedded at the start of what it fetches. */
struct errand {
    struct question question;
    struct request *request; /* NULL: nobody waits any more */
    /* Writes the reply of `request`, which waits. */
    void (*reply)(struct errand *errand, struct request *request);
    /* Frees the errand. */
    void (*destroy)(struct errand *errand);
};

/* Sends `errand` (taken), with `visit`, `reply` and `destroy`, to worker `worker`, for `request`,
 * which waits until it is home. */
void errand__send(struct errand *errand, struct request *request,
                  enum question_next (*visit)(struct question *, struct worker *), unsigned worker);

#endif
