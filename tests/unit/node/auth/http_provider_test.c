/*
 * An HTTP server that is asked who a client is, as the whole of auth asks it.
 */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "node/auth/auth.h"
#include "tests/unit/node/auth/auth_rig_support.h"
#include "tests/unit/node/auth/http_support.h"

#define ALLOW "{\"result\":\"allow\"}"

struct fixture {
    struct auth *auth;
    struct auth_settings settings;
    struct http_peer *peer;
};

static struct fixture *create(uint64_t cache_ttl_ms)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->peer = http_peer_create(NULL, NULL);
    http_peer_be(fixture->peer, HTTP_PEER_ANSWERS, 200, ALLOW);
    fixture->settings = rig_settings();
    fixture->settings.chain[0] = AUTH_HTTP;
    fixture->settings.chain[1] = AUTH_USERS;
    fixture->settings.chain_len = 2;
    fixture->settings.http_url = http_peer_url(fixture->peer, "/auth");
    fixture->settings.http_timeout_ms = 5000;
    fixture->settings.cache_ttl_ms = cache_ttl_ms;
    fixture->settings.default_allow = false;
    fixture->auth = rig_start(&fixture->settings);
    return fixture;
}

static int setup(void **state)
{
    *state = create(0);
    return 0;
}

static int setup_with_cache(void **state)
{
    *state = create(60000);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    rig_stop(fixture->auth);
    http_peer_destroy(fixture->peer);
    free(fixture);
    return 0;
}

static void answer(struct fixture *fixture, unsigned status, const char *body)
{
    http_peer_be(fixture->peer, HTTP_PEER_ANSWERS, status, body);
}

static struct heard hear(struct fixture *fixture, const char *username, const char *password)
{
    struct auth_request request = rig_request(username, password, 1);
    return rig_hear(fixture->auth, &request);
}

static enum auth_verdict verdict_of(struct fixture *fixture, const char *username,
                                    const char *password)
{
    struct auth_request request = rig_request(username, password, 1);
    return rig_ask(fixture->auth, &request);
}

/* ---- what is asked --------------------------------------------------------------------------- */

static json_t *asked(struct fixture *fixture)
{
    char *request = http_peer_request(fixture->peer);
    json_t *json = json_loads(strstr(request, "\r\n\r\n") + 4, JSON_REJECT_DUPLICATES, NULL);
    assert_true(json_is_object(json));
    free(request);
    return json;
}

static void assert_member(const json_t *json, const char *name, const char *value)
{
    const char *text = json_string_value(json_object_get(json, name));
    if (value == NULL) {
        assert_null(json_object_get(json, name));
    } else {
        assert_non_null(text);
        assert_string_equal(text, value);
    }
}

static void the_server_is_told_all_that_is_known(void **state)
{
    struct fixture *fixture = *state;
    struct auth_request request = rig_request("p\"u\\mp\n7", "pass\xc3\xb6wrd\x01", 7);
    request.client_id = slice_text("cl\"ient");
    request.tls = true;
    request.common_name = slice_text("pump 7");
    request.certificate_identity = slice_text("pump-7.plant");
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_ALLOWED);
    json_t *json = asked(fixture);
    assert_member(json, "username", "p\"u\\mp\n7");
    assert_member(json, "password", "pass\xc3\xb6wrd\x01");
    assert_member(json, "client_id", "cl\"ient");
    assert_member(json, "address", "10.0.0.7");
    assert_member(json, "listener", "test");
    assert_member(json, "certificate_cn", "pump 7");
    assert_member(json, "certificate_identity", "pump-7.plant");
    assert_true(json_is_true(json_object_get(json, "tls")));
    assert_int_equal(json_object_size(json), 8);
    json_decref(json);
}

static void what_a_client_does_not_bring_is_left_out(void **state)
{
    struct fixture *fixture = *state;
    struct auth_request request = rig_request("pump-7", NULL, 7);
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_ALLOWED);
    json_t *json = asked(fixture);
    assert_member(json, "password", NULL);
    assert_member(json, "certificate_cn", NULL);
    assert_true(json_is_false(json_object_get(json, "tls")));
    assert_int_equal(json_object_size(json), 5);
    json_decref(json);
}

static void addresses_are_shown_as_people_write_them(void **state)
{
    struct fixture *fixture = *state;
    struct auth_request request = rig_request("pump-7", "x", 7);
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&request.address;
    *v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_ALLOWED);
    json_t *json = asked(fixture);
    assert_member(json, "address", "::1");
    json_decref(json);
    v6->sin6_addr = (struct in6_addr){{{[10] = 0xff, [11] = 0xff, 192, 0, 2, 1}}};
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_ALLOWED);
    json = asked(fixture);
    assert_member(json, "address", "192.0.2.1");
    json_decref(json);
    request.address = (struct sockaddr_storage){.ss_family = AF_UNIX};
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_ALLOWED);
    json = asked(fixture);
    assert_member(json, "address", "local");
    json_decref(json);
}

/* Each byte of the longest texts can take six in JSON. */
static void the_longest_names_and_passwords_are_sent_whole(void **state)
{
    struct fixture *fixture = *state;
    size_t len = 20000;
    char *text = malloc(len + 1);
    memset(text, 1, len);
    text[len] = '\0';
    struct auth_request request = rig_request(text, text, 7);
    request.client_id = slice_text(text);
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_ALLOWED);
    json_t *json = asked(fixture);
    assert_member(json, "password", text);
    assert_member(json, "client_id", text);
    json_decref(json);
    free(text);
}

/* JSON could only say it wrongly, so that two passwords become one. */
static void a_password_that_is_not_utf_8_is_not_asked_about(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(verdict_of(fixture, "pump-7", "\xff\xfe"), AUTH_DENIED);
    assert_int_equal(http_peer_requests(fixture->peer), 0);
}

/* ---- what it answers ------------------------------------------------------------------------- */

static void who_it_allows_gets_groups_and_rules(void **state)
{
    struct fixture *fixture = *state;
    answer(fixture, 200,
           "{\"result\":\"allow\",\"groups\":[\"devices\"],\"expires_at\":4000000000,"
           "\"acl\":[{\"permission\":\"allow\",\"action\":\"all\",\"topic\":\"plant/%u/#\"}]}");
    struct heard heard = hear(fixture, "pump-7", "x");
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_int_equal(heard.identity->provider, AUTH_HTTP);
    assert_true(slice_equal(heard.identity->username, slice_text("pump-7")));
    assert_true(slice_equal(heard.identity->groups_text, slice_text("devices")));
    assert_int_equal(heard.identity->expires_at_ms, 4000000000000);
    assert_true(acl_may_publish(heard.identity->view, slice_text("plant/pump-7/a")));
    assert_false(acl_may_publish(heard.identity->view, slice_text("plant/pump-8/a")));
    auth_identity_unref(heard.identity);
}

static void it_may_say_who_somebody_is(void **state)
{
    struct fixture *fixture = *state;
    answer(fixture, 200, "{\"result\":\"allow\",\"username\":\"pump-7\"}");
    struct heard heard = hear(fixture, "token", "abc");
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_true(slice_equal(heard.identity->username, slice_text("pump-7")));
    auth_identity_unref(heard.identity);
}

static void who_it_denies_is_denied(void **state)
{
    struct fixture *fixture = *state;
    answer(fixture, 200, "{\"result\":\"deny\"}");
    assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_DENIED);
    answer(fixture, 401, ALLOW);
    assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_DENIED);
    answer(fixture, 403, ALLOW);
    assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_DENIED);
    answer(fixture, 200, "{\"result\":\"allow\",\"expires_at\":1000}");
    assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_DENIED);
}

static void who_it_ignores_is_for_the_next_provider(void **state)
{
    struct fixture *fixture = *state;
    answer(fixture, 200, "{\"result\":\"ignore\"}");
    assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_ALLOWED);
    assert_int_equal(verdict_of(fixture, "alice", "wrong"), AUTH_DENIED);
}

/* Never allowed, and never the next provider either: it could be one of this one's. */
static void a_server_that_does_not_answer_well_lets_nobody_in(void **state)
{
    struct fixture *fixture = *state;
    static const unsigned statuses[] = {201, 204, 301, 302, 400, 404, 429, 500, 502, 503};
    for (size_t i = 0; i < ARRAY_COUNT(statuses); i++) {
        answer(fixture, statuses[i], statuses[i] == 204 ? "" : ALLOW);
        assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_UNAVAILABLE);
    }
    static const char *const bodies[] = {"", "allow", "<html>", "{\"result\":\"yes\"}",
                                         "{\"result\":\"allow\",\"acl\":[{}]}"};
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
        answer(fixture, 200, bodies[i]);
        assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_UNAVAILABLE);
    }
    http_peer_be(fixture->peer, HTTP_PEER_ENDLESS, 200, "");
    assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_UNAVAILABLE);
    http_peer_be(fixture->peer, HTTP_PEER_CLOSES, 200, "");
    assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_UNAVAILABLE);
    answer(fixture, 200, ALLOW);
    assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_ALLOWED);
}

static void a_slow_server_lets_nobody_in(void **state)
{
    struct fixture *fixture = *state;
    struct text error = {.data = NULL};
    fixture->settings.http_timeout_ms = 200;
    assert_int_equal(auth_reload(fixture->auth, &fixture->settings, &error), ERR_OK);
    http_peer_be(fixture->peer, HTTP_PEER_SILENT, 200, "");
    struct heard heard = hear(fixture, "alice", "wonderland");
    assert_int_equal(heard.verdict, AUTH_UNAVAILABLE);
    assert_true(heard.took_ms < 2000);
}

/* ---- the cache ------------------------------------------------------------------------------- */

static void a_good_answer_is_kept_unless_it_says_no(void **state)
{
    struct fixture *fixture = *state;
    answer(fixture, 200, "{\"result\":\"allow\",\"cache\":0}");
    assert_int_equal(verdict_of(fixture, "pump-7", "x"), AUTH_ALLOWED);
    assert_int_equal(verdict_of(fixture, "pump-7", "x"), AUTH_ALLOWED);
    assert_int_equal(http_peer_requests(fixture->peer), 2);
    answer(fixture, 200, "{\"result\":\"allow\",\"cache\":3600}");
    assert_int_equal(verdict_of(fixture, "pump-7", "x"), AUTH_ALLOWED);
    answer(fixture, 500, "");
    assert_int_equal(verdict_of(fixture, "pump-7", "x"), AUTH_ALLOWED);
    assert_int_equal(http_peer_requests(fixture->peer), 3);
    assert_int_equal(verdict_of(fixture, "pump-7", "y"), AUTH_UNAVAILABLE);
    assert_int_equal(http_peer_requests(fixture->peer), 4);
}

/* Although auth.cache_ttl is a minute. */
static void an_answer_is_kept_as_long_as_it_says(void **state)
{
    struct fixture *fixture = *state;
    answer(fixture, 200, "{\"result\":\"allow\",\"cache\":1}");
    uint64_t began_ms = clock_mono_ms();
    while (http_peer_requests(fixture->peer) < 2) {
        assert_int_equal(verdict_of(fixture, "pump-7", "x"), AUTH_ALLOWED);
        assert_true(clock_mono_ms() - began_ms < 10000);
    }
    assert_true(clock_mono_ms() - began_ms >= 1000);
}

static void a_bad_answer_is_not_kept(void **state)
{
    struct fixture *fixture = *state;
    answer(fixture, 200, "{\"result\":\"deny\",\"cache\":3600}");
    assert_int_equal(verdict_of(fixture, "pump-7", "x"), AUTH_DENIED);
    answer(fixture, 200, ALLOW);
    assert_int_equal(verdict_of(fixture, "pump-7", "x"), AUTH_ALLOWED);
}

/* ---- clients that go, and auth that ends ----------------------------------------------------- */

static void a_client_may_go_while_the_server_is_asked(void **state)
{
    struct fixture *fixture = *state;
    struct rig_client *clients[20];
    http_peer_be(fixture->peer, HTTP_PEER_SILENT, 200, "");
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct auth_request request = rig_request("pump-7", "x", (int)i);
        clients[i] = rig_begin(fixture->auth, &request);
    }
    http_peer_await(fixture->peer, 10);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        rig_end(clients[i]);
    }
    answer(fixture, 200, ALLOW);
    assert_int_equal(verdict_of(fixture, "pump-7", "x"), AUTH_ALLOWED);
}

static void auth_ends_at_once_while_the_server_is_asked(void **state)
{
    struct fixture *fixture = *state;
    http_peer_be(fixture->peer, HTTP_PEER_SILENT, 200, "");
    struct auth *auth = rig_start(&fixture->settings);
    struct auth_request request = rig_request("pump-7", "x", 1);
    struct rig_client *client = rig_begin(auth, &request);
    http_peer_await(fixture->peer, 1);
    uint64_t began_ms = clock_mono_ms();
    auth_stop(auth);
    assert_true(clock_mono_ms() - began_ms < 2000);
    assert_int_equal(rig_wait(client).verdict, AUTH_UNAVAILABLE);
    rig_end(client);
    auth_destroy(auth);
}

static void many_clients_are_asked_about_at_once(void **state)
{
    struct fixture *fixture = *state;
    static struct rig_client *clients[300];
    http_peer_delay(fixture->peer, 5);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct auth_request request = rig_request("pump-7", "x", (int)i);
        clients[i] = rig_begin(fixture->auth, &request);
    }
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct heard heard = rig_wait(clients[i]);
        assert_int_equal(heard.verdict, AUTH_ALLOWED);
        auth_identity_unref(heard.identity);
        rig_end(clients[i]);
    }
    assert_true(http_peer_most(fixture->peer) > 1);
}

static void a_reload_with_calls_under_way_ends_none_of_them(void **state)
{
    struct fixture *fixture = *state;
    struct rig_client *clients[20];
    struct text error = {.data = NULL};
    http_peer_delay(fixture->peer, 100);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct auth_request request = rig_request("pump-7", "x", (int)i);
        clients[i] = rig_begin(fixture->auth, &request);
    }
    http_peer_await(fixture->peer, 1);
    assert_int_equal(auth_reload(fixture->auth, &fixture->settings, &error), ERR_OK);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct heard heard = rig_wait(clients[i]);
        assert_int_equal(heard.verdict, AUTH_ALLOWED);
        auth_identity_unref(heard.identity);
        rig_end(clients[i]);
    }
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define with_cache(test) cmocka_unit_test_setup_teardown(test, setup_with_cache, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_server(the_server_is_told_all_that_is_known),
        with_server(what_a_client_does_not_bring_is_left_out),
        with_server(addresses_are_shown_as_people_write_them),
        with_server(the_longest_names_and_passwords_are_sent_whole),
        with_server(a_password_that_is_not_utf_8_is_not_asked_about),
        with_server(who_it_allows_gets_groups_and_rules),
        with_server(it_may_say_who_somebody_is),
        with_server(who_it_denies_is_denied),
        with_server(who_it_ignores_is_for_the_next_provider),
        with_server(a_server_that_does_not_answer_well_lets_nobody_in),
        with_server(a_slow_server_lets_nobody_in),
        with_cache(a_good_answer_is_kept_unless_it_says_no),
        with_cache(an_answer_is_kept_as_long_as_it_says),
        with_cache(a_bad_answer_is_not_kept),
        with_server(a_client_may_go_while_the_server_is_asked),
        with_server(auth_ends_at_once_while_the_server_is_asked),
        with_server(many_clients_are_asked_about_at_once),
        with_server(a_reload_with_calls_under_way_ends_none_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
