/*
 * http_client: POSTs JSON to one URL, on a loop, with connections that are used again.
 *
 * A few calls run at once; the others wait in order. No redirects, no proxy of the environment, no
 * cookies, no compression, HTTP/1.1; TLS 1.2 or newer with a verified certificate.
 *
 * Owns      connections, sockets' watchers, the timer, and the bodies of calls that run (wiped at
 *           their end). A call is the caller's and stays until `done`.
 * Thread    create: main. All else: the loop's.
 * Errors    create: one line for people. A call: in its reply.
 */
#ifndef PULSE_NODE_AUTH_HTTP_CLIENT_H
#define PULSE_NODE_AUTH_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"

#define HTTP_CALLS_MAX 32u                  /* at the same time */
#define HTTP_REPLY_BYTES_MAX (1024u * 1024) /* a longer one counts as none */

struct http_client;
struct http_call;
struct http_slot;

/* Texts are borrowed for the call. */
struct http_settings {
    const char *url;        /* http or https */
    const char *ca_file;    /* "" or NULL: the system's */
    const char *token_file; /* "" or NULL: none */
};

struct http_reply {
    enum err err; /* ERR_OK: there is one. ERR_STOPPED: cancelled. ERR_UNAVAILABLE, ERR_RANGE,
                     ERR_MEMORY: there is none */
    const char *trouble; /* a constant text, when there is none */
    unsigned status;
    struct slice body; /* borrowed for the call of `done` */
};

struct http_call {
    uint64_t deadline_ms; /* monotonic, from the post on */
    /* Adds the body, of at most body_max bytes; it is called when the turn of the call comes. */
    void (*body)(struct http_call *call, struct text *text);
    size_t body_max;
    /* Once, possibly within http_client_post or http_client_cancel. */
    void (*done)(struct http_call *call, const struct http_reply *reply);

    struct list link;       /* the client's: waiting */
    struct http_slot *slot; /* the client's: running */
};

must_check enum err http_client_create(const struct http_settings *settings,
                                       struct http_client **out, struct text *error);
must_check enum err http_client_start(struct http_client *client, uv_loop_t *loop);
/* No call is under way. Frees itself when the loop has closed its handles. */
void http_client_destroy(struct http_client *client);

void http_client_post(struct http_client *client, struct http_call *call);
/* Ends a call that is under way, with ERR_STOPPED. */
void http_client_cancel(struct http_client *client, struct http_call *call);

#endif
