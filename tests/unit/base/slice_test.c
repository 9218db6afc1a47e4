#include "base/slice.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/macros.h"

static void assert_slice(struct slice s, const char *text)
{
    assert_true(slice_equal(s, slice_text(text)));
}

static void trimming_takes_blanks_off_both_ends_only(void **state)
{
    (void)state;
    assert_slice(slice_trim(slice_text(" \t a b\t "), " \t"), "a b");
    assert_slice(slice_trim(slice_text(" \t a b\t "), " "), "\t a b\t");
    assert_slice(slice_trim(slice_text("   "), " "), "");
    assert_slice(slice_trim(slice_of(NULL, 0), " "), "");
}

static void a_nul_is_no_blank(void **state)
{
    (void)state;
    assert_int_equal(slice_trim(slice_of("\0a\0", 3), " \t").len, 3);
}

static void a_list_is_cut_item_by_item_to_its_end(void **state)
{
    (void)state;
    static const char *const items[] = {"a", "", "bc", ""};
    struct slice rest = slice_text("a,,bc,");
    for (size_t i = 0; i < ARRAY_COUNT(items); i++) {
        assert_non_null(rest.data);
        assert_slice(slice_cut(&rest, ','), items[i]);
    }
    assert_null(rest.data);
    assert_int_equal(rest.len, 0);
}

static void an_empty_list_has_one_empty_item_and_none_has_nothing(void **state)
{
    (void)state;
    struct slice rest = slice_text("");
    assert_slice(slice_cut(&rest, ','), "");
    assert_null(rest.data);
    assert_slice(slice_cut(&rest, ','), "");
    assert_null(rest.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trimming_takes_blanks_off_both_ends_only),
        cmocka_unit_test(a_nul_is_no_blank),
        cmocka_unit_test(a_list_is_cut_item_by_item_to_its_end),
        cmocka_unit_test(an_empty_list_has_one_empty_item_and_none_has_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
