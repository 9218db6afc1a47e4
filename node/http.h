/*
 * http: the endpoint for machines that watch: /metrics, /healthz, /readyz, and log levels at run
 * time. Each connection carries one request and has a time limit; when places get scarce the oldest
 * connection goes first.
 *
 * Owns      its listening socket and connections (GNU libmicrohttpd, driven by the caller's loop).
 * Thread    main; no thread of its own.
 * Errors    ERR_ADDRESS when `bind` can't be used, ERR_IO when the library can't start. Both are
 *           logged here, with the reason.
 */
#ifndef PULSE_NODE_HTTP_H
#define PULSE_NODE_HTTP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"

struct http_server;

/* What the endpoint asks the broker; called on the loop's thread. */
struct http_handlers {
    void *context;
    /* Appends the page of /metrics. */
    void (*metrics)(void *context, struct text *page);
    /* Whether the node may get traffic; when not, `*why` becomes a constant text. */
    bool (*ready)(void *context, const char **why);
};

/* Listens on "host:port" (an IPv6 address in brackets, port 0 for any). End with http_stop. */
must_check enum err http_start(uv_loop_t *loop, const char *bind,
                               const struct http_handlers *handlers, struct http_server **out);

/* The port that it listens on. */
uint16_t http_port(const struct http_server *server);

/* How long connections that come from now on may last, their answer included. At first 10 s. */
void http_set_lifetime(struct http_server *server, uint64_t lifetime_ms);

/* Closes at once; the loop runs on until the handles are closed. NULL is allowed. */
void http_stop(struct http_server *server);

#endif
