/*
 * Calls to an HTTP server: what is sent, what counts as an answer, and that every call ends in
 * time, whatever the server does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/auth/http_client.h"
#include "tests/unit/node/auth/http_support.h"
#include "tests/unit/node/auth/jwt_support.h"
#include "tests/unit/storage/certificate_support.h"

#define PATIENCE_MS 10000u

/* ---- calls ----------------------------------------------------------------------------------- */

struct test_call {
    struct http_call call;
    const char *body;
    unsigned answers;
    enum err err;
    unsigned status;
    char reply[1000];
    uint64_t took_ms;
    uint64_t began_ms;
};

struct fixture {
    uv_loop_t loop;
    struct http_client *client;
    struct http_peer *peer;
};

static void write_body(struct http_call *call, struct text *text)
{
    text_add(text, container_of(call, struct test_call, call)->body);
}

static void take_reply(struct http_call *call, const struct http_reply *reply)
{
    struct test_call *own = container_of(call, struct test_call, call);
    own->answers++;
    own->err = reply->err;
    own->status = reply->status;
    own->took_ms = clock_mono_ms() - own->began_ms;
    assert_true((reply->err == ERR_OK) == (reply->trouble == NULL));
    size_t len = reply->body.len < sizeof(own->reply) ? reply->body.len : sizeof(own->reply) - 1;
    if (len > 0) {
        memcpy(own->reply, reply->body.data, len);
    }
    own->reply[len] = '\0';
}

static void post(struct fixture *fixture, struct test_call *call, const char *body,
                 unsigned timeout_ms)
{
    *call = (struct test_call){.body = body, .began_ms = clock_mono_ms()};
    call->call = (struct http_call){
        .deadline_ms = clock_mono_ms() + timeout_ms,
        .body = write_body,
        .body_max = strlen(body),
        .done = take_reply,
    };
    http_client_post(fixture->client, &call->call);
}

static void await(struct fixture *fixture, const struct test_call *calls, size_t count)
{
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    for (size_t i = 0; i < count;) {
        if (calls[i].answers > 0) {
            i++;
            continue;
        }
        assert_true(clock_mono_ms() < until_ms);
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}

static struct test_call ask(struct fixture *fixture, const char *body, unsigned timeout_ms)
{
    struct test_call call;
    post(fixture, &call, body, timeout_ms);
    await(fixture, &call, 1);
    assert_int_equal(call.answers, 1);
    return call;
}

/* ---- fixture --------------------------------------------------------------------------------- */

static void open_client(struct fixture *fixture, const struct http_settings *settings)
{
    struct text error = {.data = NULL};
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    assert_int_equal(http_client_create(settings, &fixture->client, &error), ERR_OK);
    assert_null(error.data);
    assert_int_equal(http_client_start(fixture->client, &fixture->loop), ERR_OK);
}

/* Nothing may be left in the loop. */
static void close_client(struct fixture *fixture)
{
    http_client_destroy(fixture->client);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->peer = http_peer_create(NULL, NULL);
    struct http_settings settings = {.url = http_peer_url(fixture->peer, "/auth?a=b")};
    open_client(fixture, &settings);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    close_client(fixture);
    http_peer_destroy(fixture->peer);
    free(fixture);
    return 0;
}

/* ---- what is sent, and what comes ------------------------------------------------------------ */

static void a_call_posts_its_body_and_gets_the_answer(void **state)
{
    struct fixture *fixture = *state;
    http_peer_be(fixture->peer, HTTP_PEER_ANSWERS, 200, "{\"result\":\"allow\"}");
    struct test_call call = ask(fixture, "{\"username\":\"pump-7\"}", 5000);
    assert_int_equal(call.err, ERR_OK);
    assert_int_equal(call.status, 200);
    assert_string_equal(call.reply, "{\"result\":\"allow\"}");
    char *request = http_peer_request(fixture->peer);
    assert_ptr_equal(strstr(request, "POST /auth?a=b HTTP/1.1\r\n"), request);
    assert_non_null(strstr(request, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(request, "\r\nContent-Length: 21\r\n"));
    assert_non_null(strstr(request, "\r\n\r\n{\"username\":\"pump-7\"}"));
    assert_null(strcasestr(request, "\r\nAuthorization:"));
    assert_null(strcasestr(request, "\r\nAccept-Encoding:"));
    assert_null(strcasestr(request, "\r\nExpect:"));
    free(request);
}

static void connections_are_used_again(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(ask(fixture, "{}", 5000).err, ERR_OK);
    }
    assert_int_equal(http_peer_requests(fixture->peer), 20);
    assert_int_equal(http_peer_connections(fixture->peer), 1);
}

/* It may have been closed while it was idle: then the call is made on a fresh one. */
static void a_connection_that_the_server_has_closed_does_no_harm(void **state)
{
    struct fixture *fixture = *state;
    http_peer_be(fixture->peer, HTTP_PEER_RAW, 200, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(ask(fixture, "{}", 5000).err, ERR_OK);
    }
    assert_int_equal(http_peer_connections(fixture->peer), 5);
}

static void any_status_is_an_answer_and_no_redirect_is_followed(void **state)
{
    struct fixture *fixture = *state;
    static const unsigned statuses[] = {201, 301, 302, 307, 308, 400, 401, 403, 404, 500, 503};
    for (unsigned i = 0; i < ARRAY_COUNT(statuses); i++) {
        http_peer_be(fixture->peer, HTTP_PEER_ANSWERS, statuses[i], "words");
        struct test_call call = ask(fixture, "{}", 5000);
        assert_int_equal(call.err, ERR_OK);
        assert_int_equal(call.status, statuses[i]);
        assert_int_equal(http_peer_requests(fixture->peer), i + 1);
    }
}

static void a_large_body_is_sent_whole(void **state)
{
    struct fixture *fixture = *state;
    size_t len = 400000;
    char *body = malloc(len + 1);
    memset(body, 'x', len);
    body[len] = '\0';
    assert_int_equal(ask(fixture, body, 5000).err, ERR_OK);
    char *request = http_peer_request(fixture->peer);
    assert_string_equal(strstr(request, "\r\n\r\n") + 4, body);
    free(request);
    free(body);
}

static void a_token_is_sent_as_a_bearer_token(void **state)
{
    struct fixture *fixture = *state;
    struct fixture own = {.peer = fixture->peer};
    char *path = jwt_file_text("s3cret-T0ken==\n");
    struct http_settings settings = {.url = http_peer_url(own.peer, "/"), .token_file = path};
    open_client(&own, &settings);
    assert_int_equal(ask(&own, "{}", 5000).err, ERR_OK);
    char *request = http_peer_request(own.peer);
    assert_non_null(strstr(request, "\r\nAuthorization: Bearer s3cret-T0ken==\r\n"));
    free(request);
    close_client(&own);
    jwt_file_remove(path);
}

/* Else who sets a variable of the environment gets the passwords. */
static void a_proxy_of_the_environment_is_not_used(void **state)
{
    struct fixture *fixture = *state;
    char proxy[64];
    snprintf(proxy, sizeof(proxy), "http://127.0.0.1:%u", http_closed_port());
    setenv("http_proxy", proxy, 1);
    setenv("all_proxy", proxy, 1);
    assert_int_equal(ask(fixture, "{}", 5000).err, ERR_OK);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
}

/* ---- servers that are out of order ----------------------------------------------------------- */

static void a_closed_port_is_noticed_at_once(void **state)
{
    (void)state;
    struct fixture own = {.peer = NULL};
    char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/", http_closed_port());
    open_client(&own, &(struct http_settings){.url = url});
    for (unsigned i = 0; i < 50; i++) {
        struct test_call call = ask(&own, "{}", 5000);
        assert_int_equal(call.err, ERR_UNAVAILABLE);
        assert_true(call.took_ms < 2000);
    }
    close_client(&own);
}

static void a_name_that_there_is_not_is_unavailable(void **state)
{
    (void)state;
    struct fixture own = {.peer = NULL};
    open_client(&own, &(struct http_settings){.url = "http://nobody.invalid/"});
    struct test_call call = ask(&own, "{}", 3000);
    assert_int_equal(call.err, ERR_UNAVAILABLE);
    assert_true(call.took_ms < 4500);
    close_client(&own);
}

static void assert_unavailable_in_time(struct fixture *fixture, unsigned timeout_ms)
{
    struct test_call call = ask(fixture, "{}", timeout_ms);
    assert_int_equal(call.err, ERR_UNAVAILABLE);
    assert_true(call.took_ms >= timeout_ms - 10 && call.took_ms < timeout_ms + 1500);
}

static void a_slow_server_is_not_waited_for(void **state)
{
    struct fixture *fixture = *state;
    http_peer_be(fixture->peer, HTTP_PEER_SILENT, 200, "");
    assert_unavailable_in_time(fixture, 200);
    http_peer_be(fixture->peer, HTTP_PEER_TRICKLE, 200, "");
    assert_unavailable_in_time(fixture, 200);
    http_peer_be(fixture->peer, HTTP_PEER_ANSWERS, 200, "{}");
    http_peer_delay(fixture->peer, 3000);
    assert_unavailable_in_time(fixture, 200);
    http_peer_delay(fixture->peer, 0);
    assert_int_equal(ask(fixture, "{}", 5000).err, ERR_OK);
}

static void an_answer_is_one_mebibyte_long_at_most(void **state)
{
    struct fixture *fixture = *state;
    http_peer_be(fixture->peer, HTTP_PEER_ENDLESS, 200, "");
    assert_int_equal(ask(fixture, "{}", 5000).err, ERR_RANGE);
    http_peer_be(fixture->peer, HTTP_PEER_ANSWERS, 200, "{}");
    struct test_call call = ask(fixture, "{}", 5000);
    assert_int_equal(call.err, ERR_OK);
    assert_string_equal(call.reply, "{}");
}

static void what_is_no_http_is_unavailable(void **state)
{
    struct fixture *fixture = *state;
    static const char *const answers[] = {
        "",
        "\x15\x03\x01",
        "{\"result\":\"allow\"}",
        "220 mail.example.org ESMTP\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"result\":\"allow\"}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n12\r\n{\"result\":\"allow\"}\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n"};
    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        http_peer_be(fixture->peer, HTTP_PEER_RAW, 200, answers[i]);
        assert_int_equal(ask(fixture, "{}", 5000).err, ERR_UNAVAILABLE);
    }
    http_peer_be(fixture->peer, HTTP_PEER_CLOSES, 200, "");
    assert_int_equal(ask(fixture, "{}", 5000).err, ERR_UNAVAILABLE);
}

/* ---- many calls ------------------------------------------------------------------------------ */

static void a_few_calls_run_at_once_and_the_others_wait(void **state)
{
    struct fixture *fixture = *state;
    static struct test_call calls[HTTP_CALLS_MAX * 8];
    http_peer_delay(fixture->peer, 30);
    for (size_t i = 0; i < ARRAY_COUNT(calls); i++) {
        post(fixture, &calls[i], "{}", 8000);
    }
    await(fixture, calls, ARRAY_COUNT(calls));
    for (size_t i = 0; i < ARRAY_COUNT(calls); i++) {
        assert_int_equal(calls[i].err, ERR_OK);
        assert_int_equal(calls[i].answers, 1);
    }
    assert_true(http_peer_most(fixture->peer) > 1);
    assert_true(http_peer_most(fixture->peer) <= HTTP_CALLS_MAX);
    assert_true(http_peer_connections(fixture->peer) <= HTTP_CALLS_MAX);
}

/* Also the calls whose turn never comes. */
static void every_call_ends_at_its_deadline(void **state)
{
    struct fixture *fixture = *state;
    static struct test_call calls[HTTP_CALLS_MAX * 8];
    http_peer_be(fixture->peer, HTTP_PEER_SILENT, 200, "");
    for (size_t i = 0; i < ARRAY_COUNT(calls); i++) {
        post(fixture, &calls[i], "{}", 500);
    }
    await(fixture, calls, ARRAY_COUNT(calls));
    for (size_t i = 0; i < ARRAY_COUNT(calls); i++) {
        assert_int_equal(calls[i].err, ERR_UNAVAILABLE);
        assert_int_equal(calls[i].answers, 1);
        assert_true(calls[i].took_ms < 3000);
    }
}

static void a_call_can_be_cancelled_while_it_runs_and_while_it_waits(void **state)
{
    struct fixture *fixture = *state;
    static struct test_call calls[HTTP_CALLS_MAX + 10];
    http_peer_be(fixture->peer, HTTP_PEER_SILENT, 200, "");
    for (size_t i = 0; i < ARRAY_COUNT(calls); i++) {
        post(fixture, &calls[i], "{}", 60000);
    }
    while (http_peer_requests(fixture->peer) < HTTP_CALLS_MAX) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    /* the last ones wait, so they go first; then those that run, in any order */
    for (size_t i = ARRAY_COUNT(calls); i-- > 0;) {
        http_client_cancel(fixture->client, &calls[i].call);
        assert_int_equal(calls[i].answers, 1);
        assert_int_equal(calls[i].err, ERR_STOPPED);
    }
    http_peer_be(fixture->peer, HTTP_PEER_ANSWERS, 200, "{}");
    assert_int_equal(ask(fixture, "{}", 5000).err, ERR_OK);
}

static void a_waiting_call_gets_the_place_of_one_that_is_cancelled(void **state)
{
    struct fixture *fixture = *state;
    static struct test_call calls[HTTP_CALLS_MAX + 1];
    http_peer_be(fixture->peer, HTTP_PEER_SILENT, 200, "");
    for (size_t i = 0; i < ARRAY_COUNT(calls); i++) {
        post(fixture, &calls[i], "{}", 60000);
    }
    while (http_peer_requests(fixture->peer) < HTTP_CALLS_MAX) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
    http_peer_be(fixture->peer, HTTP_PEER_ANSWERS, 200, "{}");
    http_client_cancel(fixture->client, &calls[0].call);
    await(fixture, &calls[HTTP_CALLS_MAX], 1);
    assert_int_equal(calls[HTTP_CALLS_MAX].err, ERR_OK);
    for (size_t i = 1; i < HTTP_CALLS_MAX; i++) {
        http_client_cancel(fixture->client, &calls[i].call);
    }
}

/* ---- TLS ------------------------------------------------------------------------------------- */

/* Calls a server whose certificate is for `address`, by an authority of which we know the
 * certificate, or by another one. */
static enum err ask_with_tls(const char *address, bool trusted)
{
    char folder[] = "/tmp/pulse-tls-XXXXXX", paths[4][64];
    static const char *const names[] = {"ca", "other-ca", "server", "server-key"};
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s/%s.pem", folder, names[i]);
    }
    struct certificate_authority *ca = certificate_authority_create("Test CA", paths[0]);
    certificate_write(ca, "server.test", address, paths[2], paths[3]);
    certificate_authority_destroy(ca);
    certificate_authority_destroy(certificate_authority_create("Other CA", paths[1]));
    struct fixture own = {.peer = http_peer_create(paths[2], paths[3])};
    struct http_settings settings = {.url = http_peer_url(own.peer, "/"),
                                     .ca_file = paths[trusted ? 0 : 1]};
    open_client(&own, &settings);
    enum err err = ask(&own, "{}", 5000).err;
    assert_int_equal(http_peer_requests(own.peer), err == ERR_OK ? 1 : 0);
    close_client(&own);
    http_peer_destroy(own.peer);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        unlink(paths[i]);
    }
    assert_int_equal(rmdir(folder), 0);
    return err;
}

static void a_server_needs_a_certificate_for_its_name_that_we_trust(void **state)
{
    (void)state;
    assert_int_equal(ask_with_tls("127.0.0.1", true), ERR_OK);
    assert_int_equal(ask_with_tls("127.0.0.1", false), ERR_UNAVAILABLE);
    assert_int_equal(ask_with_tls("127.0.0.2", true), ERR_UNAVAILABLE);
    assert_int_equal(ask_with_tls(NULL, true), ERR_UNAVAILABLE);
}

/* ---- settings -------------------------------------------------------------------------------- */

static void assert_refused(const struct http_settings *settings, const char *words)
{
    struct http_client *client = NULL;
    struct text error = {.data = NULL};
    assert_int_not_equal(http_client_create(settings, &client, &error), ERR_OK);
    assert_null(client);
    assert_non_null(strstr(error.data, words));
    assert_null(strstr(error.data, "s3cret"));
    text_fini(&error);
}

static void only_http_and_https_are_spoken(void **state)
{
    (void)state;
    static const char *const urls[] = {"ftp://user:s3cret@host/",
                                       "file:///etc/passwd",
                                       "gopher://host/",
                                       "host/s3cret",
                                       "",
                                       "http://",
                                       "http://user:s3cret@ho st/",
                                       "://s3cret"};
    for (size_t i = 0; i < ARRAY_COUNT(urls); i++) {
        assert_refused(&(struct http_settings){.url = urls[i]}, "auth.http_url");
    }
}

static void a_token_that_could_add_headers_is_refused(void **state)
{
    (void)state;
    static const char *const tokens[] = {
        "s3cret\r\nX-More: yes", "s3cret s3cret", "", "\n\n", "s3cret\xff", "s3cret\x7f"};
    for (size_t i = 0; i < ARRAY_COUNT(tokens); i++) {
        char *path = jwt_file_text(tokens[i]);
        assert_refused(&(struct http_settings){.url = "http://127.0.0.1/", .token_file = path},
                       path);
        jwt_file_remove(path);
    }
}

static void files_that_there_are_not_are_an_error(void **state)
{
    (void)state;
    struct http_settings settings = {.url = "https://127.0.0.1/", .ca_file = "/nowhere/ca.pem"};
    assert_refused(&settings, "/nowhere/ca.pem");
    settings = (struct http_settings){.url = "https://127.0.0.1/", .token_file = "/nowhere/token"};
    assert_refused(&settings, "/nowhere/token");
}

static void a_client_that_was_never_started_can_be_destroyed(void **state)
{
    (void)state;
    struct http_client *client = NULL;
    struct text error = {.data = NULL};
    struct http_settings settings = {.url = "http://127.0.0.1/"};
    assert_int_equal(http_client_create(&settings, &client, &error), ERR_OK);
    http_client_destroy(client);
}

#define with_peer(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_peer(a_call_posts_its_body_and_gets_the_answer),
        with_peer(connections_are_used_again),
        with_peer(a_connection_that_the_server_has_closed_does_no_harm),
        with_peer(any_status_is_an_answer_and_no_redirect_is_followed),
        with_peer(a_large_body_is_sent_whole),
        with_peer(a_token_is_sent_as_a_bearer_token),
        with_peer(a_proxy_of_the_environment_is_not_used),
        cmocka_unit_test(a_closed_port_is_noticed_at_once),
        cmocka_unit_test(a_name_that_there_is_not_is_unavailable),
        with_peer(a_slow_server_is_not_waited_for),
        with_peer(an_answer_is_one_mebibyte_long_at_most),
        with_peer(what_is_no_http_is_unavailable),
        with_peer(a_few_calls_run_at_once_and_the_others_wait),
        with_peer(every_call_ends_at_its_deadline),
        with_peer(a_call_can_be_cancelled_while_it_runs_and_while_it_waits),
        with_peer(a_waiting_call_gets_the_place_of_one_that_is_cancelled),
        cmocka_unit_test(a_server_needs_a_certificate_for_its_name_that_we_trust),
        cmocka_unit_test(only_http_and_https_are_spoken),
        cmocka_unit_test(a_token_that_could_add_headers_is_refused),
        cmocka_unit_test(files_that_there_are_not_are_an_error),
        cmocka_unit_test(a_client_that_was_never_started_can_be_destroyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
