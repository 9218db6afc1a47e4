#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/unit/node/http_support.h"

/* ---- routes ---------------------------------------------------------------------------------- */

static void metrics_come_as_prometheus_text(void **state)
{
    const char *answer = http_client_ask(*state, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 200);
    assert_non_null(strstr(answer, "\r\nContent-Type: text/plain; version=0.0.4"));
    assert_string_equal(http_body(answer), "# a page\n");
}

static void a_long_page_arrives_whole(void **state)
{
    struct http_fixture *fixture = *state;
    fixture->metrics_bytes = 60000;
    const char *answer = http_client_ask(fixture, "GET /metrics HTTP/1.0\r\n\r\n");
    assert_http_status(answer, 200);
    assert_true(strlen(http_body(answer)) >= 60000);
}

static void head_gives_the_header_only(void **state)
{
    const char *answer = http_client_ask(*state, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 200);
    assert_non_null(strstr(answer, "\r\nContent-Length: 9\r\n"));
    assert_string_equal(http_body(answer), "");
}

static void a_living_process_is_healthy(void **state)
{
    struct http_fixture *fixture = *state;
    fixture->ready = false;
    const char *answer = http_client_ask(fixture, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 200);
    assert_string_equal(http_body(answer), "ok\n");
}

static void readiness_is_what_the_broker_says_and_why(void **state)
{
    struct http_fixture *fixture = *state;
    const char *answer = http_client_ask(fixture, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 200);
    assert_string_equal(http_body(answer), "ready\n");
    fixture->ready = false;
    answer = http_client_ask(fixture, "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 503);
    assert_string_equal(http_body(answer), "shutting down\n");
}

static void a_question_mark_does_not_hide_a_path(void **state)
{
    assert_http_status(http_client_ask(*state, "GET /readyz?verbose=1 HTTP/1.1\r\nHost: x\r\n\r\n"),
                       200);
}

static void the_index_lists_the_routes(void **state)
{
    const char *answer = http_client_ask(*state, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 200);
    assert_non_null(strstr(answer, "\r\nContent-Type: text/plain"));
    static const char *const paths[] = {"/metrics ", "/healthz ", "/readyz ", "/log "};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        assert_non_null(strstr(http_body(answer), paths[i]));
    }
}

static void other_paths_are_not_found(void **state)
{
    assert_http_status(http_client_ask(*state, "GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n"), 404);
    assert_http_status(http_client_ask(*state, "GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"),
                       404);
    assert_http_status(
        http_client_ask(*state, "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"),
        404);
}

static void other_methods_are_refused_with_those_allowed(void **state)
{
    const char *answer = http_client_ask(*state, "DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 405);
    assert_non_null(strstr(answer, "\r\nAllow: GET, HEAD\r\n"));
    answer =
        http_client_ask(*state, "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab");
    assert_http_status(answer, 405);
    answer = http_client_ask(*state, "OPTIONS /log HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 405);
    assert_non_null(strstr(answer, "\r\nAllow: GET, HEAD, POST, PUT\r\n"));
}

static void no_answer_names_the_server(void **state)
{
    static const char *const requests[] = {
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
        const char *answer = http_client_ask(*state, requests[i]);
        assert_null(strstr(answer, "\r\nServer:"));
        assert_null(strstr(answer, "icrohttpd"));
    }
}

/* ---- log levels ------------------------------------------------------------------------------ */

static const char *put_log(struct http_fixture *fixture, const char *method, const char *headers,
                           const char *filter, size_t len)
{
    char head[256];
    int fd = http_client_connect(fixture);
    snprintf(head, sizeof(head), "%s /log HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n",
             method, headers, len);
    http_client_send_text(fixture, fd, head);
    http_client_send(fixture, fd, filter, len);
    http_client_read(fixture, fd);
    close(fd);
    return fixture->answer;
}

static void log_levels_are_listed(void **state)
{
    assert_int_equal(log_set_filter("error,http=off"), ERR_OK);
    const char *answer = http_client_ask(*state, "GET /log HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 200);
    assert_non_null(strstr(http_body(answer), "conn error\n"));
    assert_non_null(strstr(http_body(answer), "http off\n"));
}

static void log_levels_are_changed_by_put_and_post(void **state)
{
    const char *answer = put_log(*state, "PUT", "", "error,http=off", 14);
    assert_http_status(answer, 200);
    assert_non_null(strstr(http_body(answer), "conn error\n"));
    assert_int_equal(log_level_of(LOG_CONN), LOG_LEVEL_ERROR);
    assert_int_equal(log_level_of(LOG_HTTP), LOG_LEVEL_OFF);
    assert_http_status(put_log(*state, "POST", "", "off,conn=debug\n", 15), 200);
    assert_int_equal(log_level_of(LOG_CONN), LOG_LEVEL_DEBUG);
}

static void a_body_may_come_byte_by_byte(void **state)
{
    struct http_fixture *fixture = *state;
    int fd = http_client_connect(fixture);
    static const char request[] =
        "PUT /log HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\noff\r\n7\r\n,conn=e\r\n4\r\nrror\r\n0\r\n\r\n";
    for (size_t i = 0; i + 1 < sizeof(request); i++) {
        assert_true(http_client_send(fixture, fd, request + i, 1));
        http_client_turn(fixture, -1);
    }
    http_client_read(fixture, fd);
    close(fd);
    assert_http_status(fixture->answer, 200);
    assert_int_equal(log_level_of(LOG_CONN), LOG_LEVEL_ERROR);
    assert_int_equal(log_level_of(LOG_HTTP), LOG_LEVEL_OFF);
}

static void a_wrong_filter_is_explained_and_changes_nothing(void **state)
{
    assert_int_equal(log_set_filter("off,conn=notice"), ERR_OK);
    const char *answer = put_log(*state, "PUT", "", "loud", 4);
    assert_http_status(answer, 400);
    assert_non_null(strstr(http_body(answer), "debug,http=warning"));
    assert_http_status(put_log(*state, "PUT", "", "", 0), 400);
    assert_http_status(put_log(*state, "PUT", "", "debug\0,conn=error", 17), 400);
    assert_int_equal(log_level_of(LOG_CONN), LOG_LEVEL_NOTICE);
}

static void a_long_filter_is_refused(void **state)
{
    char filter[100000];
    memset(filter, ' ', sizeof(filter));
    memcpy(filter, "off,conn=error", 14);
    assert_int_equal(log_set_filter("off"), ERR_OK);
    assert_http_status(put_log(*state, "PUT", "", filter, 257), 413);
    assert_http_status(put_log(*state, "PUT", "", filter, sizeof(filter)), 413);
    assert_int_equal(log_level_of(LOG_CONN), LOG_LEVEL_OFF);
    assert_http_status(put_log(*state, "PUT", "", filter, 256), 200);
    assert_int_equal(log_level_of(LOG_CONN), LOG_LEVEL_ERROR);
}

/* A page that somebody reads in a browser on this host must not reach what only this host may do.
 */
static void a_web_page_may_not_change_levels(void **state)
{
    assert_int_equal(log_set_filter("off"), ERR_OK);
    assert_http_status(put_log(*state, "POST", "Origin: http://elsewhere\r\n", "error", 5), 403);
    assert_http_status(put_log(*state, "POST", "origin: null\r\n", "error", 5), 403);
    assert_int_equal(log_level_of(LOG_CONN), LOG_LEVEL_OFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_server(metrics_come_as_prometheus_text),
        with_server(a_long_page_arrives_whole),
        with_server(head_gives_the_header_only),
        with_server(a_living_process_is_healthy),
        with_server(readiness_is_what_the_broker_says_and_why),
        with_server(a_question_mark_does_not_hide_a_path),
        with_server(the_index_lists_the_routes),
        with_server(other_paths_are_not_found),
        with_server(other_methods_are_refused_with_those_allowed),
        with_server(no_answer_names_the_server),
        with_server(log_levels_are_listed),
        with_server(log_levels_are_changed_by_put_and_post),
        with_server(a_body_may_come_byte_by_byte),
        with_server(a_wrong_filter_is_explained_and_changes_nothing),
        with_server(a_long_filter_is_refused),
        with_server(a_web_page_may_not_change_levels),
    };
    return log_set_filter("off") == ERR_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
