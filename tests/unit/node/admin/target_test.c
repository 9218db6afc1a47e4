#include "node/admin/target_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

/* A target that is parsed, with the text that it borrows. */
struct parsed {
    char *text;
    struct target target;
    enum err err;
};

static struct parsed parse(const char *text)
{
    struct parsed parsed = {.text = mem_copy_text(text, strlen(text))};
    parsed.err = target__parse(parsed.text, strlen(text), &parsed.target);
    return parsed;
}

static void assert_slice(struct slice slice, const char *bytes, size_t len)
{
    assert_int_equal(slice.len, len);
    assert_memory_equal(slice.data, bytes, len);
}

static void assert_err(const char *text, enum err err)
{
    struct parsed parsed = parse(text);
    if (parsed.err != err) {
        fail_msg("%s: %s", text, err_text(parsed.err));
    }
    mem_free(parsed.text);
}

static void a_path_is_taken_apart_before_escapes_are_taken_off(void **state)
{
    (void)state;
    struct parsed parsed = parse("/api/clients/a%2Fb%25%c3%a9%00x/trace");
    assert_int_equal(parsed.err, ERR_OK);
    assert_int_equal(parsed.target.segment_count, 4);
    assert_slice(parsed.target.segments[2], "a/b%\xc3\xa9\0x", 8);
    assert_slice(parsed.target.segments[3], "trace", 5);
    mem_free(parsed.text);
}

static void a_plus_is_a_blank_in_parameters_only(void **state)
{
    (void)state;
    struct parsed parsed = parse("/a+b?name=c+d%2Be&empty=&bare&x=1=2");
    assert_int_equal(parsed.err, ERR_OK);
    assert_slice(parsed.target.segments[0], "a+b", 3);
    struct slice value = slice_of(NULL, 0);
    assert_true(target__parameter(&parsed.target, "name", &value));
    assert_slice(value, "c d+e", 5);
    assert_true(target__parameter(&parsed.target, "empty", &value));
    assert_int_equal(value.len, 0);
    assert_true(target__parameter(&parsed.target, "bare", &value));
    assert_int_equal(value.len, 0);
    assert_true(target__parameter(&parsed.target, "x", &value));
    assert_slice(value, "1=2", 3);
    assert_false(target__parameter(&parsed.target, "nam", &value));
    mem_free(parsed.text);
}

static void bad_escapes_are_refused(void **state)
{
    (void)state;
    assert_err("/a%", ERR_SYNTAX);
    assert_err("/a%2", ERR_SYNTAX);
    assert_err("/a%2/b", ERR_SYNTAX);
    assert_err("/a%zz", ERR_SYNTAX);
    assert_err("/a%-1", ERR_SYNTAX);
    assert_err("/a?b=%", ERR_SYNTAX);
    assert_err("/a?%4=b", ERR_SYNTAX);
    assert_err("/a?b%=c", ERR_SYNTAX);
    assert_err("/a%41?b=%41", ERR_OK);
}

static void what_is_no_path_is_refused(void **state)
{
    (void)state;
    assert_err("", ERR_SYNTAX);
    assert_err("?a=b", ERR_SYNTAX);
    assert_err("*", ERR_SYNTAX);
    assert_err("http://host/path", ERR_SYNTAX);
    assert_err("/", ERR_OK);
}

static void too_many_parts_are_refused(void **state)
{
    (void)state;
    assert_err("/1/2/3/4/5/6/7/8", ERR_OK);
    assert_err("/1/2/3/4/5/6/7/8/9", ERR_FULL);
    assert_err("/a?1&2&3&4&5&6&7&8&9&10&11&12", ERR_OK);
    assert_err("/a?1&2&3&4&5&6&7&8&9&10&11&12&13", ERR_FULL);
    assert_err("/a?&&&&&&&&&&&&&&&&&&&&&&&&", ERR_OK);
}

static bool matches(const char *text, const char *pattern, const char *variable)
{
    struct parsed parsed = parse(text);
    struct slice found = slice_of(NULL, 0);
    assert_int_equal(parsed.err, ERR_OK);
    bool matched = target__matches(&parsed.target, pattern, &found);
    if (matched) {
        assert_slice(found, variable, strlen(variable));
    }
    mem_free(parsed.text);
    return matched;
}

static void patterns_match_segment_by_segment(void **state)
{
    (void)state;
    assert_true(matches("/api/clients", "/api/clients", ""));
    assert_true(matches("/api/clients?x", "/api/clients", ""));
    assert_true(matches("/api/clients/me", "/api/clients/{id}", "me"));
    assert_true(matches("/api/clients/a%2Fb/trace", "/api/clients/{id}/trace", "a/b"));
    assert_true(matches("/api/clients/%7Bid%7D", "/api/clients/{id}", "{id}"));
    assert_false(matches("/api/clients/", "/api/clients", ""));
    assert_false(matches("/api/clients/", "/api/clients/{id}", ""));
    assert_false(matches("/api//trace", "/api/{id}/trace", ""));
    assert_false(matches("/api", "/api/clients", ""));
    assert_false(matches("/api/clients/a/b", "/api/clients/{id}", ""));
    assert_false(matches("/api/clients%2Fa", "/api/clients/{id}", ""));
    assert_false(matches("/API/clients", "/api/clients", ""));
    assert_false(matches("/", "/api", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_is_taken_apart_before_escapes_are_taken_off),
        cmocka_unit_test(a_plus_is_a_blank_in_parameters_only),
        cmocka_unit_test(bad_escapes_are_refused),
        cmocka_unit_test(what_is_no_path_is_refused),
        cmocka_unit_test(too_many_parts_are_refused),
        cmocka_unit_test(patterns_match_segment_by_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
