/*
 * What an HTTP server may say, and what counts as nothing said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/auth/http_answer.h"

static struct http_answer read_good(const char *body)
{
    struct http_answer answer;
    const char *why = NULL;
    assert_int_equal(http_answer_read(slice_text(body), &answer, &why), ERR_OK);
    assert_null(why);
    return answer;
}

static void a_result_alone_is_an_answer(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        enum http_result result;
    } cases[] = {{"{\"result\":\"allow\"}", HTTP_ALLOW},
                 {" {\"result\" : \"deny\"}\n", HTTP_DENY},
                 {"{\"result\":\"ignore\",\"groups\":null,\"acl\":null}", HTTP_IGNORE}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct http_answer answer = read_good(cases[i].body);
        assert_int_equal(answer.result, cases[i].result);
        assert_false(answer.expires || answer.cache_given);
        assert_int_equal(answer.username.len + answer.grants.groups.len, 0);
        assert_int_equal(answer.grants.rules.count, 0);
        http_answer_fini(&answer);
    }
}

static void all_members_are_read(void **state)
{
    (void)state;
    struct http_answer answer = read_good(
        "{\"result\":\"allow\",\"username\":\"pump-7\",\"groups\":[\"a\",\"b\"],"
        "\"acl\":[{\"permission\":\"deny\",\"action\":\"subscribe\",\"topic\":\"a/%c/#\"}],"
        "\"expires_at\":1800000000,\"cache\":30}");
    assert_string_equal(answer.username.data, "pump-7");
    assert_string_equal(answer.grants.groups.data, "a,b");
    assert_int_equal(answer.grants.rules.count, 1);
    assert_int_equal(answer.grants.rules.items[0].permission, ACL_DENY);
    assert_int_equal(answer.grants.rules.items[0].action, ACL_SUBSCRIBE);
    assert_true(answer.expires && answer.cache_given);
    assert_int_equal(answer.expires_at_ms, 1800000000000);
    assert_int_equal(answer.cache_ms, 30000);
    http_answer_fini(&answer);
}

static void anything_else_is_no_answer(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "allow",
        "true",
        "[]",
        "{}",
        "[{\"result\":\"allow\"}]",
        "{\"result\":\"allow\"",
        "{\"result\":\"allow\"}}",
        "{\"result\":\"allow\"}{\"result\":\"deny\"}",
        "{\"result\":\"deny\",\"result\":\"allow\"}",
        "{\"result\":\"Allow\"}",
        "{\"result\":\"allowed\"}",
        "{\"result\":true}",
        "{\"result\":null}",
        "{\"result\":\"\"}",
        "{\"Result\":\"allow\"}",
        "{\"result\":\"allow\\u0000\"}",
        "{\"result\":\"allow\",\"acls\":[]}",
        "{\"result\":\"allow\",\"groups\":[1]}",
        "{\"result\":\"allow\",\"groups\":[\"a,b\"]}",
        "{\"result\":\"allow\",\"acl\":[{\"permission\":\"allow\"}]}",
        "{\"result\":\"allow\",\"acl\":\"#\"}",
        "{\"result\":\"allow\",\"username\":\"\"}",
        "{\"result\":\"allow\",\"username\":7}",
        "{\"result\":\"allow\",\"expires_at\":\"1800000000\"}",
        "{\"result\":\"allow\",\"expires_at\":1.5}",
        "{\"result\":\"allow\",\"expires_at\":-1}",
        "{\"result\":\"allow\",\"expires_at\":9223372036854775807}",
        "{\"result\":\"allow\",\"cache\":-1}",
        "{\"result\":\"allow\",\"cache\":true}",
        "{\"result\":\"allow\",\"cache\":86401}"};
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++) {
        struct http_answer answer;
        const char *why = NULL;
        assert_int_equal(http_answer_read(slice_text(bodies[i]), &answer, &why), ERR_SYNTAX);
        assert_non_null(why);
    }
}

static void brackets_without_end_are_no_answer(void **state)
{
    (void)state;
    char body[100000];
    struct http_answer answer;
    const char *why = NULL;
    memset(body, '[', sizeof(body));
    memcpy(body, "{\"result\":", 10);
    assert_int_equal(http_answer_read(slice_of(body, sizeof(body)), &answer, &why), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_alone_is_an_answer),
        cmocka_unit_test(all_members_are_read),
        cmocka_unit_test(anything_else_is_no_answer),
        cmocka_unit_test(brackets_without_end_are_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
