/*
 * Tokens as passwords, as the whole of auth judges them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "node/auth/auth.h"
#include "node/auth/jwt.h"
#include "tests/unit/node/auth/auth_rig_support.h"
#include "tests/unit/node/auth/jwt_support.h"

struct fixture {
    struct auth *auth;
    struct auth_settings settings;
    char *path;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->path = jwt_file_text(JWT_SECRET);
    fixture->settings = rig_settings();
    fixture->settings.chain[0] = AUTH_JWT;
    fixture->settings.chain[1] = AUTH_USERS;
    fixture->settings.chain_len = 2;
    fixture->settings.jwt_key_file = fixture->path;
    fixture->settings.jwt_algorithms = "HS256";
    fixture->settings.default_allow = false;
    fixture->auth = rig_start(&fixture->settings);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    rig_stop(fixture->auth);
    jwt_file_remove(fixture->path);
    free(fixture);
    return 0;
}

static char *sign(const char *payload)
{
    return jwt_sign_hs256("{\"alg\":\"HS256\"}", payload, JWT_SECRET, strlen(JWT_SECRET));
}

static struct heard hear(struct fixture *fixture, const char *username, const char *payload)
{
    char *token = sign(payload);
    struct auth_request request = rig_request(username, token, 1);
    struct heard heard = rig_hear(fixture->auth, &request);
    free(token);
    return heard;
}

static enum auth_verdict verdict_of(struct fixture *fixture, const char *username,
                                    const char *password)
{
    struct auth_request request = rig_request(username, password, 1);
    return rig_ask(fixture->auth, &request);
}

static void a_token_says_who_somebody_is_and_for_how_long(void **state)
{
    struct fixture *fixture = *state;
    char payload[200];
    uint64_t until_s = clock_wall_ms() / 1000 + 100;
    snprintf(payload, sizeof(payload), "{\"sub\":\"pump-7\",\"exp\":%ju,\"groups\":[\"a\",\"b\"]}",
             (uintmax_t)until_s);
    struct heard heard = hear(fixture, NULL, payload);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_int_equal(heard.identity->provider, AUTH_JWT);
    assert_true(slice_equal(heard.identity->username, slice_text("pump-7")));
    assert_true(slice_equal(heard.identity->groups_text, slice_text("a,b")));
    assert_int_equal(heard.identity->expires_at_ms, until_s * 1000 + JWT_LEEWAY_MS);
    auth_identity_unref(heard.identity);
}

static void a_token_without_a_date_has_no_end(void **state)
{
    struct heard heard = hear(*state, "pump-7", "{\"sub\":\"pump-7\"}");
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_true(heard.identity->expires_at_ms == UINT64_MAX);
    auth_identity_unref(heard.identity);
}

static void its_rules_hold(void **state)
{
    struct heard heard =
        hear(*state, NULL,
             "{\"sub\":\"pump-7\",\"acl\":["
             "{\"permission\":\"deny\",\"action\":\"publish\",\"topic\":\"plant/pump-7/stop\"},"
             "{\"permission\":\"allow\",\"action\":\"publish\",\"topic\":\"plant/%u/#\"}]}");
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    const struct acl_view *view = heard.identity->view;
    assert_true(acl_may_publish(view, slice_text("plant/pump-7/speed")));
    assert_false(acl_may_publish(view, slice_text("plant/pump-7/stop")));
    assert_false(acl_may_publish(view, slice_text("plant/pump-8/speed")));
    assert_false(acl_may_subscribe(view, slice_text("plant/pump-7/#")));
    auth_identity_unref(heard.identity);
}

/* Else a client could be let in as one and known to people as another. */
static void the_user_name_must_be_that_of_the_token(void **state)
{
    struct fixture *fixture = *state;
    struct heard heard = hear(fixture, "pump-8", "{\"sub\":\"pump-7\"}");
    assert_int_equal(heard.verdict, AUTH_DENIED);
    assert_null(heard.identity);
    assert_string_equal(heard.reason, "the user name is not that of the token");
    heard = hear(fixture, "", "{\"sub\":\"pump-7\"}");
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    auth_identity_unref(heard.identity);
}

static void a_bad_token_is_denied_and_its_reason_known(void **state)
{
    struct fixture *fixture = *state;
    struct heard heard = hear(fixture, "alice", "{\"sub\":\"alice\",\"exp\":1}");
    assert_int_equal(heard.verdict, AUTH_DENIED);
    assert_string_equal(heard.reason, "the token has expired");
    char *token = jwt_join("{\"alg\":\"none\"}", "{\"sub\":\"alice\"}", "");
    assert_int_equal(verdict_of(fixture, "alice", token), AUTH_DENIED);
    free(token);
}

static void a_password_that_is_no_token_is_for_the_next_provider(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(verdict_of(fixture, "alice", "wonderland"), AUTH_ALLOWED);
    assert_int_equal(verdict_of(fixture, "alice", "wonder.land.x"), AUTH_DENIED);
    assert_int_equal(verdict_of(fixture, "pump-7", NULL), AUTH_DENIED);
    assert_int_equal(verdict_of(fixture, "pump-7", ""), AUTH_DENIED);
}

/* Also while tokens are being judged. */
static void keys_are_read_again_at_a_reload(void **state)
{
    struct fixture *fixture = *state;
    char *token = sign("{\"sub\":\"pump-7\"}");
    struct auth_request request = rig_request(NULL, token, 1);
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_ALLOWED);
    char *path = jwt_file_text("quite another secret with more than 32 bytes");
    struct text error = {.data = NULL};
    fixture->settings.jwt_key_file = path;
    struct rig_client *clients[20];
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        clients[i] = rig_begin(fixture->auth, &request);
    }
    assert_int_equal(auth_reload(fixture->auth, &fixture->settings, &error), ERR_OK);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct heard heard = rig_wait(clients[i]);
        assert_true(heard.verdict == AUTH_ALLOWED || heard.verdict == AUTH_DENIED);
        auth_identity_unref(heard.identity);
        rig_end(clients[i]);
    }
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_DENIED);
    fixture->settings.jwt_key_file = "/nowhere/keys";
    assert_int_equal(auth_reload(fixture->auth, &fixture->settings, &error), ERR_IO);
    text_fini(&error);
    jwt_file_remove(path);
    free(token);
}

#define with_auth(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_auth(a_token_says_who_somebody_is_and_for_how_long),
        with_auth(a_token_without_a_date_has_no_end),
        with_auth(its_rules_hold),
        with_auth(the_user_name_must_be_that_of_the_token),
        with_auth(a_bad_token_is_denied_and_its_reason_known),
        with_auth(a_password_that_is_no_token_is_for_the_next_provider),
        with_auth(keys_are_read_again_at_a_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
