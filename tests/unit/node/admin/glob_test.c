#include "node/admin/glob_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static bool matches(const char *pattern, const char *text)
{
    return glob__matches(slice_text(pattern), slice_text(text));
}

static void a_plain_pattern_matches_itself(void **state)
{
    (void)state;
    assert_true(matches("abc", "abc"));
    assert_false(matches("abc", "abcd"));
    assert_false(matches("abc", "ab"));
    assert_false(matches("abc", "ABC"));
    assert_true(matches("", ""));
    assert_false(matches("", "a"));
    assert_true(matches("a[b]", "a[b]"));
}

static void a_star_stands_for_any_bytes(void **state)
{
    (void)state;
    assert_true(matches("*", ""));
    assert_true(matches("*", "anything/at all"));
    assert_true(matches("ab*", "ab"));
    assert_true(matches("ab*", "abc"));
    assert_false(matches("ab*", "xabc"));
    assert_true(matches("*bc", "abcbc"));
    assert_true(matches("a*b*c", "aXbYbZc"));
    assert_false(matches("a*b*c", "acb"));
    assert_true(matches("**a**", "xxaxx"));
}

static void a_question_mark_stands_for_one_byte(void **state)
{
    (void)state;
    assert_true(matches("a?c", "abc"));
    assert_false(matches("a?c", "ac"));
    assert_false(matches("?", ""));
    assert_true(matches("?*", "x"));
    assert_true(matches("*?x", "abx"));
}

/* A second way to match, slow and plain. */
static bool model(struct slice pattern, struct slice text)
{
    if (pattern.len == 0) {
        return text.len == 0;
    }
    if (pattern.data[0] == '*') {
        return model(slice_from(pattern, 1), text) ||
               (text.len > 0 && model(pattern, slice_from(text, 1)));
    }
    return text.len > 0 && (pattern.data[0] == '?' || pattern.data[0] == text.data[0]) &&
           model(slice_from(pattern, 1), slice_from(text, 1));
}

static void it_agrees_with_a_naive_matcher(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    unsigned matched = 0;
    print_message("seed %u\n", seed);
    for (unsigned round = 0; round < 50000; round++) {
        char pattern[8];
        char text[8];
        size_t lens[2];
        char *texts[2] = {pattern, text};
        for (unsigned which = 0; which < 2; which++) {
            seed = seed * 1103515245u + 12345u;
            lens[which] = (seed >> 16) % sizeof(pattern);
            for (size_t i = 0; i < lens[which]; i++) {
                seed = seed * 1103515245u + 12345u;
                texts[which][i] = "abab*?"[(seed >> 16) % (which == 0 ? 6 : 4)];
            }
        }
        struct slice one = slice_of(pattern, lens[0]);
        struct slice other = slice_of(text, lens[1]);
        bool expected = model(one, other);
        matched += expected;
        assert_int_equal(glob__matches(one, other), expected);
    }
    assert_true(matched > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_pattern_matches_itself),
        cmocka_unit_test(a_star_stands_for_any_bytes),
        cmocka_unit_test(a_question_mark_stands_for_one_byte),
        cmocka_unit_test(it_agrees_with_a_naive_matcher),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
