#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/auth/base64_priv.h"

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
        for (enum base64_padding padding = BASE64_PADDED; padding <= BASE64_UNPADDED; padding++) {
            const char *text = vectors[i][padding == BASE64_PADDED ? 1 : 2];
            struct text out = {0};
            uint8_t bytes[8];
            size_t len = 99;
            text_add(&out, "");
            base64_add(&out, slice_text(vectors[i][0]), padding);
            assert_string_equal(out.data, text);
            assert_true(base64_read(slice_text(text), padding, bytes, sizeof(bytes), &len));
            assert_true(slice_equal(slice_of(bytes, len), slice_text(vectors[i][0])));
            text_fini(&out);
        }
    }
}

static void all_lengths_and_bytes_come_back(void **state)
{
    (void)state;
    uint8_t bytes[BASE64_BYTES_MAX];
    uint8_t back[BASE64_BYTES_MAX];
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        struct text out = {0};
        size_t back_len = 0;
        memset(bytes, (int)(len * 37 % 256), sizeof(bytes));
        text_add(&out, "");
        base64_add(&out, slice_of(bytes, len), BASE64_UNPADDED);
        assert_true(base64_read(slice_of(out.data, out.len), BASE64_UNPADDED, back, sizeof(back),
                                &back_len));
        assert_int_equal(back_len, len);
        assert_memory_equal(back, bytes, len);
        text_fini(&out);
    }
}

static void what_is_not_exactly_base64_is_refused(void **state)
{
    (void)state;
    static const char *const padded[] = {"Zg",   "Zg=",  "Zg===", "Zh==", "Zm9=",     "=",
                                         "====", "Z===", "Zm 8=", "Zm8-", "Zm8=Zm8=", " Zm8="};
    static const char *const unpadded[] = {"Z", "Zg==", "Zh", "Zm9", "Zm8\n", "Zm9v_"};
    uint8_t bytes[BASE64_BYTES_MAX];
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
    char text[4 * BASE64_BYTES_MAX];
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
        cmocka_unit_test(what_is_not_exactly_base64_is_refused),
        cmocka_unit_test(more_than_fits_is_refused_and_nothing_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
