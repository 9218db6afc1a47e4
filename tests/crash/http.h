/*
 * http: asks the broker's /readyz, without waiting for the answer.
 *
 * Owns      its connection.
 * Thread    the driver's.
 * Errors    no answer is an answer: it is not ready.
 */
#ifndef TESTS_CRASH_HTTP_H
#define TESTS_CRASH_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/link.h"

enum readiness { READY_UNKNOWN, READY_YES, READY_NO };

struct http {
    struct link link;
    uint16_t port;
    uint32_t next_ms;
    enum readiness readiness; /* the last answer */
};

void http_init(struct http *http, uint16_t port);
void http_fini(struct http *http);

/* Each turn. */
void http_turn(struct http *http, uint32_t now_ms);

/* What was learnt so far counts no more. */
void http_forget(struct http *http);

#endif
