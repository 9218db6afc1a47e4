/*
 * http_support: an endpoint on a port of its own, and a small client that lets its loop run while
 * it waits: both live on the test's thread.
 */
#ifndef PULSE_TESTS_HTTP_SUPPORT_H
#define PULSE_TESTS_HTTP_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/http.h"

#define PATIENCE_MS 5000 /* for what should happen at once */
#define ANSWER_MAX (64 * 1024)

struct http_fixture {
    uv_loop_t loop;
    struct http_server *server;
    size_t metrics_bytes; /* of a long page; 0: a short one */
    bool ready;
    char answer[ANSWER_MAX];
};

/* Setup and teardown: `*state` is a struct http_fixture whose server runs. Teardown fails when the
 * server leaves a handle behind. */
int http_fixture_create(void **state);
int http_fixture_destroy(void **state);
#define with_server(test) \
    cmocka_unit_test_setup_teardown(test, http_fixture_create, http_fixture_destroy)

/* What the server of the fixture asks. */
struct http_handlers http_fixture_handlers(struct http_fixture *fixture);

/* A connected socket that doesn't block. */
int http_client_connect(struct http_fixture *fixture);

/* One turn: what the loop has to do, and at most a millisecond of waiting for `fd` (-1: nobody). */
void http_client_turn(struct http_fixture *fixture, int fd);

/* Sends all; false when the server has closed before it could take it. */
bool http_client_send(struct http_fixture *fixture, int fd, const void *bytes, size_t len);
bool http_client_send_text(struct http_fixture *fixture, int fd, const char *request);

/* Reads into `answer` until the server closes, which it must do in time; how many bytes came. */
size_t http_client_read(struct http_fixture *fixture, int fd);

/* The whole answer to `request`; borrowed until the next one. */
const char *http_client_ask(struct http_fixture *fixture, const char *request);

void assert_http_status(const char *answer, unsigned status);
const char *http_body(const char *answer);

/* Fails unless others are served, at once. */
void assert_http_served(struct http_fixture *fixture);

#endif
