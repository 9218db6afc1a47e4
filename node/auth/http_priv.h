/*
 * http_priv: what the files of the HTTP client share.
 *
 * http_client.c has the calls, http_loop.c what connects curl with the loop.
 *
 * Thread    auth's.
 */
#ifndef PULSE_NODE_AUTH_HTTP_PRIV_H
#define PULSE_NODE_AUTH_HTTP_PRIV_H

#include <curl/curl.h>
#include <stdbool.h>

#include "node/auth/http_client.h"

/* A call that runs, and its handle, which is kept for the next one. */
struct http_slot {
    struct http_client *client;
    CURL *easy;             /* NULL: not made yet */
    struct http_call *call; /* NULL: free */
    char *body;             /* what is sent */
    size_t body_len;
    uint8_t *reply; /* what has come so far */
    size_t reply_len;
    size_t reply_cap;
    enum err err; /* why we don't take more of the reply */
};

struct http_client {
    char *url;
    char *ca_file; /* NULL: the system's */
    struct curl_slist *headers;
    struct http_slot slots[HTTP_CALLS_MAX];
    struct list waiting; /* struct http_call */
    bool filling;        /* slots are being filled: not again within that */

    CURLM *multi; /* NULL: not started */
    uv_loop_t *loop;
    uv_timer_t timer; /* curl's */
    struct list sockets;
    size_t handle_count; /* of the loop, open or closing */
    bool stopped;        /* it is freed when there is none */
};

/* Makes `multi` and the timer. */
must_check enum err http__loop_start(struct http_client *client, uv_loop_t *loop);
/* Ends them; client_free is called now or when the handles are closed. */
void http__loop_stop(struct http_client *client);

/* Called when curl may have ended transfers. */
void http__client_take(struct http_client *client);
void http__client_free(struct http_client *client);

#endif
