#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"

static void the_vectors_of_the_rfc_are_written_and_read(void **state)
{
    (void)state;
    static const char *const vectors[][3] = {{"", "", ""},
                                             {"f", "Zg==", "Zg"},
                                             {"fo", "Zm8=", "Zm8"},
                                             {"foo", "Zm9v", "Zm9v"},
                                             {"foob", "Zm9vYg==", "Zm9vYg"},
                                             {"foobar", "Zm9vYmFy", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        for (enum base64_form form = BASE64_PADDED; form <= BASE64_URL; form++) {
            const char *text = vectors[i][form == BASE64_PADDED ? 1 : 2];
            struct text out = {0};
            uint8_t bytes[8];
            size_t len = 99;
            text_add(&out, "");
            base64_add(&out, slice_text(vectors[i][0]), form);
            assert_string_equal(out.data, text);
            assert_true(base64_read(slice_text(text), form, bytes, sizeof(bytes), &len));
            assert_true(slice_equal(slice_of(bytes, len), slice_text(vectors[i][0])));
            text_fini(&out);
        }
    }
}

/* Longer than base64_add takes at a time. */
static void all_lengths_and_bytes_come_back(void **state)
{
    (void)state;
    uint8_t bytes[600];
    uint8_t back[sizeof(bytes)];
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 37);
    }
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        for (enum base64_form form = BASE64_PADDED; form <= BASE64_URL; form++) {
            struct text out = {0};
            size_t back_len = 99;
            base64_add(&out, slice_of(bytes, len), form);
            assert_true(out.len <= BASE64_CHARS(len));
            assert_true(base64_read(slice_of(out.data, out.len), form, back, len, &back_len));
            assert_int_equal(back_len, len);
            assert_memory_equal(back, bytes, len);
            text_fini(&out);
        }
    }
}

static void the_last_two_digits_are_others_in_urls(void **state)
{
    (void)state;
    uint8_t bytes[3];
    size_t len = 0;
    char chars[4];
    assert_int_equal(base64_write(slice_of("\xfb\xff\xbf", 3), BASE64_URL, chars), 4);
    assert_memory_equal(chars, "-_-_", 4);
    assert_int_equal(base64_write(slice_of("\xfb\xff\xbf", 3), BASE64_PADDED, chars), 4);
    assert_memory_equal(chars, "+/+/", 4);
    assert_true(base64_read(slice_text("-_-_"), BASE64_URL, bytes, 3, &len));
    assert_memory_equal(bytes, "\xfb\xff\xbf", 3);
    assert_false(base64_read(slice_text("+/+/"), BASE64_URL, bytes, 3, &len));
    assert_false(base64_read(slice_text("-_-_"), BASE64_UNPADDED, bytes, 3, &len));
}

static void what_is_not_exactly_base64_is_refused(void **state)
{
    (void)state;
    static const char *const padded[] = {"Zg",   "Zg=",  "Zg===", "Zh==", "Zm9=",     "=",
                                         "====", "Z===", "Zm 8=", "Zm8-", "Zm8=Zm8=", " Zm8="};
    static const char *const unpadded[] = {"Z", "Zg==", "Zh", "Zm9", "Zm8\n", "Zm9v_"};
    uint8_t bytes[32];
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_COUNT(padded); i++) {
        assert_false(base64_read(slice_text(padded[i]), BASE64_PADDED, bytes, sizeof(bytes), &len));
    }
    for (size_t i = 0; i < ARRAY_COUNT(unpadded); i++) {
        assert_false(
            base64_read(slice_text(unpadded[i]), BASE64_UNPADDED, bytes, sizeof(bytes), &len));
    }
}

static void more_than_fits_is_refused_and_nothing_is_written(void **state)
{
    (void)state;
    char text[384];
    uint8_t bytes[4] = {1, 2, 3, 4};
    size_t len = 77;
    memset(text, 'A', sizeof(text));
    assert_false(base64_read(slice_of(text, 8), BASE64_PADDED, bytes, 4, &len));
    assert_false(base64_read(slice_of(text, sizeof(text)), BASE64_PADDED, bytes, 4, &len));
    assert_int_equal(len, 77);
    assert_memory_equal(bytes, "\1\2\3\4", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_rfc_are_written_and_read),
        cmocka_unit_test(all_lengths_and_bytes_come_back),
        cmocka_unit_test(the_last_two_digits_are_others_in_urls),
        cmocka_unit_test(what_is_not_exactly_base64_is_refused),
        cmocka_unit_test(more_than_fits_is_refused_and_nothing_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
