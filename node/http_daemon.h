/*
 * http_daemon: what every HTTP endpoint of the node stands on: a listening socket, GNU
 * libmicrohttpd on the caller's loop, and limits that hold whatever a client does. Each connection
 * has a time limit; when places get scarce the oldest connection goes first.
 *
 * Owns      its listening socket and connections.
 * Thread    the loop's; no thread of its own.
 * Errors    ERR_ADDRESS when `bind` can't be used, ERR_IO when the library can't start. Both are
 *           logged here, with the reason.
 * Not here  what is answered (http_routes.c, admin/).
 */
#ifndef PULSE_NODE_HTTP_DAEMON_H
#define PULSE_NODE_HTTP_DAEMON_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/err.h"
#include "base/log.h"
#include "base/macros.h"

struct http_daemon;

struct http_daemon_options {
    const char *bind;   /* "host:port", an IPv6 address in brackets, port 0 for any */
    enum log_area area; /* whose log lines these are */
    void *context;      /* of the callbacks below */
    MHD_AccessHandlerCallback answer;
    MHD_RequestCompletedCallback answered;
    /* NULL: the library splits the path and takes off its escapes. Else this gets the request's
     * target as it came, and gives what `answer` finds in `*request`; nothing is unescaped. */
    void *(*target)(void *context, const char *target, struct MHD_Connection *connection);
    size_t header_bytes_max; /* memory for a request's header; 0: 16 KiB */
    /* HTTPS when `certificate` is not NULL: PEM texts, borrowed for the call. With `client_ca`
     * clients are asked for a certificate; `answer` looks at it. */
    const char *certificate;
    const char *key;
    const char *client_ca;
};

/* Listens. End with http_daemon_stop. */
must_check enum err http_daemon_start(uv_loop_t *loop, const struct http_daemon_options *options,
                                      struct http_daemon **out);

/* The port that it listens on. */
uint16_t http_daemon_port(const struct http_daemon *daemon);

/* How long connections that come from now on may last, their answer included. At first 10 s. */
void http_daemon_set_lifetime(struct http_daemon *daemon, uint64_t lifetime_ms);

/*
 * The answer comes later: no callback for `connection` until http_daemon_resume, which calls
 * `answer` again (or the reader of its response). A connection that must go meanwhile is resumed
 * by itself, and is closed behind that. False: it is going already, and was not suspended.
 */
bool http_daemon_suspend(struct MHD_Connection *connection);
/* Never from within a callback of `connection`. Harmless when it is not suspended. */
void http_daemon_resume(struct MHD_Connection *connection);

/* The connection may last for `lifetime_ms` from now on, and does not make place for others. */
void http_daemon_hold(struct MHD_Connection *connection, uint64_t lifetime_ms);

/* Whether its client has closed, or finished, its side. */
bool http_daemon_peer_left(struct MHD_Connection *connection);

/* The address of the client, or NULL. */
const struct sockaddr *http_daemon_peer(struct MHD_Connection *connection);

/* Closes at once; the loop runs on until the handles are closed. NULL is allowed. */
void http_daemon_stop(struct http_daemon *daemon);

#endif
