/*
 * What a token says, and what it must say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/auth/jwt.h"
#include "tests/unit/node/auth/jwt_support.h"

#define SUBJECT "{\"sub\":\"pump-7\"}"

static const struct jwt_settings usual;

/* The claims of a token that must be good. */
static struct jwt_claims claims_of(struct jwt_settings settings, const char *payload)
{
    struct jwt_claims claims;
    struct jwt_verifier *verifier = jwt_secret_verifier(settings);
    char *token = jwt_sign_payload(payload);
    assert_int_equal(jwt_verify_at(verifier, token, JWT_NOW_MS, &claims), ERR_OK);
    free(token);
    jwt_verifier_destroy(verifier);
    return claims;
}

/* ---- claims ---------------------------------------------------------------------------------- */

static void a_token_expires_a_little_after_its_date(void **state)
{
    (void)state;
    struct jwt_claims claims;
    struct jwt_verifier *verifier = jwt_secret_verifier(usual);
    char *token = jwt_sign_payload("{\"sub\":\"a\",\"exp\":1700000000.5}");
    uint64_t end_ms = 1700000000500 + JWT_LEEWAY_MS;
    assert_int_equal(jwt_verify_at(verifier, token, end_ms - 1, &claims), ERR_OK);
    assert_int_equal(claims.expires_at_ms, end_ms);
    jwt_claims_fini(&claims);
    assert_int_equal(jwt_verify_at(verifier, token, end_ms, &claims), ERR_INVALID);
    free(token);
    jwt_verifier_destroy(verifier);
}

static void a_token_without_a_date_does_not_expire(void **state)
{
    (void)state;
    struct jwt_claims claims = claims_of(usual, SUBJECT);
    assert_true(claims.expires_at_ms == UINT64_MAX);
    jwt_claims_fini(&claims);
}

static void tokens_of_the_future_are_refused(void **state)
{
    (void)state;
    assert_int_equal(jwt_verdict_of_payload(usual, "{\"sub\":\"a\",\"nbf\":1700000010}"), ERR_OK);
    assert_int_equal(jwt_verdict_of_payload(usual, "{\"sub\":\"a\",\"nbf\":1700000011}"),
                     ERR_INVALID);
    assert_int_equal(jwt_verdict_of_payload(usual, "{\"sub\":\"a\",\"iat\":1700000010}"), ERR_OK);
    assert_int_equal(jwt_verdict_of_payload(usual, "{\"sub\":\"a\",\"iat\":1700000011}"),
                     ERR_INVALID);
}

static void dates_that_are_none_are_refused(void **state)
{
    (void)state;
    static const char *const dates[] = {
        "\"1800000000\"", "null", "-1",   "[1800000000]",       "true",
        "1e300",          "{}",   "1e12", "9223372036854775807"};
    static const char *const names[] = {"exp", "nbf", "iat"};
    for (size_t i = 0; i < ARRAY_COUNT(dates) * ARRAY_COUNT(names); i++) {
        char payload[100];
        snprintf(payload, sizeof(payload), "{\"sub\":\"a\",\"%s\":%s}", names[i % 3], dates[i / 3]);
        assert_int_equal(jwt_verdict_of_payload(usual, payload), ERR_INVALID);
    }
}

static void the_issuer_must_be_the_one_of_the_configuration(void **state)
{
    (void)state;
    struct jwt_settings settings = {.issuer = "https://id.example.org"};
    assert_int_equal(
        jwt_verdict_of_payload(settings, "{\"sub\":\"a\",\"iss\":\"https://id.example.org\"}"),
        ERR_OK);
    static const char *const payloads[] = {"{\"sub\":\"a\"}",
                                           "{\"sub\":\"a\",\"iss\":\"https://id.example.org/\"}",
                                           "{\"sub\":\"a\",\"iss\":[\"https://id.example.org\"]}",
                                           "{\"sub\":\"a\",\"iss\":\"https://id.example.or\"}"};
    for (size_t i = 0; i < ARRAY_COUNT(payloads); i++) {
        assert_int_equal(jwt_verdict_of_payload(settings, payloads[i]), ERR_INVALID);
    }
}

static void one_audience_must_be_that_of_the_configuration(void **state)
{
    (void)state;
    struct jwt_settings settings = {.audience = "mqtt"};
    static const char *const good[] = {"\"mqtt\"", "[\"mqtt\"]", "[\"web\",1,\"mqtt\"]"};
    static const char *const bad[] = {"\"web\"",         "[]",   "[\"mqt\",\"mqtts\"]",
                                      "{\"mqtt\":true}", "null", "[[\"mqtt\"]]"};
    char payload[100];
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        snprintf(payload, sizeof(payload), "{\"sub\":\"a\",\"aud\":%s}", good[i]);
        assert_int_equal(jwt_verdict_of_payload(settings, payload), ERR_OK);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        snprintf(payload, sizeof(payload), "{\"sub\":\"a\",\"aud\":%s}", bad[i]);
        assert_int_equal(jwt_verdict_of_payload(settings, payload), ERR_INVALID);
    }
    assert_int_equal(jwt_verdict_of_payload(settings, SUBJECT), ERR_INVALID);
}

static void the_user_name_is_the_claim_that_is_configured(void **state)
{
    (void)state;
    struct jwt_settings settings = {.username_claim = "preferred_username"};
    struct jwt_claims claims =
        claims_of(settings, "{\"sub\":\"17\",\"preferred_username\":\"g\xc3\xbcnter\"}");
    assert_string_equal(claims.username.data, "g\xc3\xbcnter");
    jwt_claims_fini(&claims);
    static const char *const payloads[] = {"{\"sub\":\"17\"}", "{\"preferred_username\":\"\"}",
                                           "{\"preferred_username\":17}",
                                           "{\"preferred_username\":null}"};
    for (size_t i = 0; i < ARRAY_COUNT(payloads); i++) {
        assert_int_equal(jwt_verdict_of_payload(settings, payloads[i]), ERR_INVALID);
    }
}

static void assert_groups(const char *json, const char *expected)
{
    char payload[200];
    snprintf(payload, sizeof(payload), "{\"sub\":\"a\",\"groups\":%s}", json);
    struct jwt_claims claims = claims_of(usual, payload);
    assert_string_equal(claims.grants.groups.data != NULL ? claims.grants.groups.data : "",
                        expected);
    jwt_claims_fini(&claims);
}

static void groups_are_a_list_or_a_text(void **state)
{
    (void)state;
    assert_groups("[\"devices\",\"admins\"]", "devices,admins");
    assert_groups("\"devices\"", "devices");
    assert_groups("\"devices, admins\"", "devices,admins");
    assert_groups("[]", "");
    assert_groups("null", "");
    static const char *const bad[] = {"[\"a,b\"]", "[\"\"]",     "[1]",          "\"a,,b\"",
                                      "\"a,\"",    "[\"a\\n\"]", "{\"a\":true}", "7"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        char payload[100];
        snprintf(payload, sizeof(payload), "{\"sub\":\"a\",\"groups\":%s}", bad[i]);
        assert_int_equal(jwt_verdict_of_payload(usual, payload), ERR_INVALID);
    }
}

static void there_are_bounds_on_groups_and_rules(void **state)
{
    (void)state;
    struct text payload = {.data = NULL};
    text_add(&payload, "{\"sub\":\"a\",\"groups\":[\"g\"");
    for (unsigned i = 0; i < GRANTS_GROUPS_MAX; i++) {
        text_add(&payload, ",\"g\"");
    }
    text_add(&payload, "]}");
    assert_int_equal(jwt_verdict_of_payload(usual, payload.data), ERR_INVALID);
    text_fini(&payload);
    payload = (struct text){.data = NULL};
    text_add(&payload, "{\"sub\":\"a\",\"acl\":{\"pub\":[\"g\"");
    for (unsigned i = 0; i < GRANTS_RULES_MAX; i++) {
        text_add(&payload, ",\"g\"");
    }
    text_add(&payload, "]}}");
    assert_int_equal(jwt_verdict_of_payload(usual, payload.data), ERR_INVALID);
    text_fini(&payload);
}

static void assert_rule(const struct acl_rule *rule, enum acl_permission permission,
                        enum acl_action action, const char *filter)
{
    assert_int_equal(rule->permission, permission);
    assert_int_equal(rule->action, action);
    assert_true(slice_equal(rule->filter, slice_text(filter)));
    assert_int_equal(rule->username.len + rule->group.len, 0);
    assert_false(rule->anonymous);
}

static void rules_are_a_list_of_objects_in_their_order(void **state)
{
    (void)state;
    struct jwt_claims claims = claims_of(
        usual, "{\"sub\":\"a\",\"acl\":["
               "{\"permission\":\"deny\",\"action\":\"publish\",\"topic\":\"plant/+/stop\"},"
               "{\"permission\":\"allow\",\"action\":\"all\",\"topic\":\"plant/%u/#\"}]}");
    assert_int_equal(claims.grants.rules.count, 2);
    assert_rule(&claims.grants.rules.items[0], ACL_DENY, ACL_PUBLISH, "plant/+/stop");
    assert_rule(&claims.grants.rules.items[1], ACL_ALLOW, ACL_ALL, "plant/%u/#");
    jwt_claims_fini(&claims);
}

static void rules_can_be_lists_of_filters(void **state)
{
    (void)state;
    struct jwt_settings settings = {.acl_claim = "mqtt"};
    struct jwt_claims claims = claims_of(
        settings, "{\"sub\":\"a\",\"mqtt\":{\"pub\":[\"a/#\"],\"sub\":[\"b\",\"c\"],\"all\":[]}}");
    assert_int_equal(claims.grants.rules.count, 3);
    assert_rule(&claims.grants.rules.items[0], ACL_ALLOW, ACL_PUBLISH, "a/#");
    assert_rule(&claims.grants.rules.items[1], ACL_ALLOW, ACL_SUBSCRIBE, "b");
    assert_rule(&claims.grants.rules.items[2], ACL_ALLOW, ACL_SUBSCRIBE, "c");
    jwt_claims_fini(&claims);
}

/* One that is left out could have been the denying one. */
static void a_token_with_a_rule_that_is_none_is_refused(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "[{\"permission\":\"allow\",\"action\":\"publish\"}]",
        "[{\"permission\":\"forbid\",\"action\":\"publish\",\"topic\":\"a\"}]",
        "[{\"permission\":\"allow\",\"action\":\"write\",\"topic\":\"a\"}]",
        "[{\"permission\":\"allow\",\"action\":\"publish\",\"topic\":\"a#\"}]",
        "[{\"permission\":\"allow\",\"action\":\"publish\",\"topic\":\"\"}]",
        "[{\"permission\":\"allow\",\"action\":\"publish\",\"topic\":\"$share/g/a\"}]",
        "[{\"permission\":\"allow\",\"action\":\"publish\",\"topic\":[\"a\"]}]",
        "[{\"permission\":\"allow\",\"action\":\"publish\",\"topic\":\"a\",\"group\":\"g\"}]",
        "[[]]",
        "[null]",
        "\"a/#\"",
        "{\"publish\":[\"a\"]}",
        "{\"pub\":\"a\"}",
        "{\"pub\":[1]}",
        "{\"sub\":[\"#/a\"]}"};
    for (size_t i = 0; i < ARRAY_COUNT(rules); i++) {
        char payload[200];
        snprintf(payload, sizeof(payload), "{\"sub\":\"a\",\"acl\":%s}", rules[i]);
        assert_int_equal(jwt_verdict_of_payload(usual, payload), ERR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_expires_a_little_after_its_date),
        cmocka_unit_test(a_token_without_a_date_does_not_expire),
        cmocka_unit_test(tokens_of_the_future_are_refused),
        cmocka_unit_test(dates_that_are_none_are_refused),
        cmocka_unit_test(the_issuer_must_be_the_one_of_the_configuration),
        cmocka_unit_test(one_audience_must_be_that_of_the_configuration),
        cmocka_unit_test(the_user_name_is_the_claim_that_is_configured),
        cmocka_unit_test(groups_are_a_list_or_a_text),
        cmocka_unit_test(there_are_bounds_on_groups_and_rules),
        cmocka_unit_test(rules_are_a_list_of_objects_in_their_order),
        cmocka_unit_test(rules_can_be_lists_of_filters),
        cmocka_unit_test(a_token_with_a_rule_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
