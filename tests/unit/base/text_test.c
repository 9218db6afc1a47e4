#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct slice bytes(const char *data, size_t len)
{
    return slice_of(data, len);
}

static void a_text_is_built_from_pieces(void **state)
{
    (void)state;
    struct text text = {0};
    text_add(&text, "one ");
    text_add_bytes(&text, "two three", 3);
    text_printf(&text, " %d %s", 3, "four");
    assert_string_equal(text.data, "one two 3 four");
    assert_int_equal(text.len, strlen(text.data));
    text_fini(&text);
    assert_null(text.data);
    assert_int_equal(text.len, 0);
}

static void adding_nothing_gives_an_empty_text(void **state)
{
    (void)state;
    struct text text = {0};
    text_add_bytes(&text, NULL, 0);
    assert_string_equal(text.data, "");
    text_fini(&text);
    text_fini(&text); /* harmless */
}

static void a_text_grows_as_needed(void **state)
{
    (void)state;
    struct text text = {0};
    for (int i = 0; i < 10000; i++) {
        text_printf(&text, "%04d", i);
    }
    assert_int_equal(text.len, 40000);
    assert_memory_equal(text.data + 4 * 1234, "1234", 4);
    assert_int_equal(text.data[40000], '\0');
    text_fini(&text);
}

static void a_fixed_text_takes_a_piece_whole_or_not_at_all(void **state)
{
    (void)state;
    char buffer[8];
    struct text text = text_fixed(buffer, sizeof(buffer));
    text_add(&text, "1234567");
    assert_false(text.cut); /* with the NUL it is full to the last byte */
    text = text_fixed(buffer, sizeof(buffer));
    text_add(&text, "12345678");
    assert_true(text.cut);
    assert_string_equal(buffer, "");
}

static void nothing_is_added_behind_a_cut(void **state)
{
    (void)state;
    char buffer[8];
    struct text text = text_fixed(buffer, sizeof(buffer));
    text_add(&text, "abc");
    text_printf(&text, "%s", "defgh");
    text_add(&text, "d"); /* would fit, but would look as if it followed abc */
    assert_true(text.cut);
    assert_string_equal(buffer, "abc");
    assert_int_equal(text.len, 3);
}

static void an_escape_is_not_cut_in_two(void **state)
{
    (void)state;
    char buffer[8];
    struct text text = text_fixed(buffer, sizeof(buffer));
    text_add_escaped(&text, bytes("ab\x01\x02", 4));
    assert_true(text.cut);
    assert_string_equal(buffer, "ab\\x01");

    text = text_fixed(buffer, sizeof(buffer));
    text_add_json(&text, bytes("ab\x01\x02", 4));
    assert_true(text.cut);
    assert_string_equal(buffer, "ab");
}

static void assert_escaped(struct slice in, const char *out)
{
    struct text text = {0};
    text_add_bytes(&text, "", 0);
    text_add_escaped(&text, in);
    assert_string_equal(text.data, out);
    text_fini(&text);
}

static void assert_json(struct slice in, const char *out)
{
    struct text text = {0};
    text_add_bytes(&text, "", 0);
    text_add_json(&text, in);
    assert_string_equal(text.data, out);
    text_fini(&text);
}

static void escaping_leaves_printable_ascii_and_nothing_else(void **state)
{
    (void)state;
    assert_escaped(slice_text("plain words ~!"), "plain words ~!");
    assert_escaped(slice_text("say \"no\" \\ now"), "say \\\"no\\\" \\\\ now");
    assert_escaped(slice_text("a\nb\rc\td"), "a\\nb\\rc\\td");
    assert_escaped(bytes("\0\x1b[31m\x7f", 7), "\\x00\\x1b[31m\\x7f");
    assert_escaped(slice_text("gr\xc3\xbcn"), "gr\\xc3\\xbcn");
    assert_escaped(slice_text(""), "");
}

static void json_keeps_valid_utf8_and_escapes_controls(void **state)
{
    (void)state;
    assert_json(slice_text("say \"no\" \\"), "say \\\"no\\\" \\\\");
    assert_json(bytes("\0\x1f\n\x7f", 4), "\\u0000\\u001f\\n\\u007f");
    assert_json(slice_text("gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x98\x80"),
                "gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x98\x80");
    assert_json(slice_text("\xf4\x8f\xbf\xbf \xed\x9f\xbf \xee\x80\x80"),
                "\xf4\x8f\xbf\xbf \xed\x9f\xbf \xee\x80\x80");
}

static void json_replaces_each_byte_that_is_not_utf8(void **state)
{
    (void)state;
    assert_json(slice_text("a\xff"
                           "b"),
                "a\\ufffdb");
    assert_json(slice_text("\x80"), "\\ufffd");
    assert_json(slice_text("\xc3"), "\\ufffd");            /* truncated */
    assert_json(slice_text("\xe2\x82"), "\\ufffd\\ufffd"); /* truncated */
    assert_json(slice_text("\xf0\x9f\x98"), "\\ufffd\\ufffd\\ufffd");
    assert_json(slice_text("\xc3(\x29"), "\\ufffd()");
    assert_json(slice_text("\xc0\xaf"), "\\ufffd\\ufffd"); /* overlong */
    assert_json(slice_text("\xe0\x9f\xbf"), "\\ufffd\\ufffd\\ufffd");
    assert_json(slice_text("\xf0\x8f\xbf\xbf"), "\\ufffd\\ufffd\\ufffd\\ufffd");
    assert_json(slice_text("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd"); /* a surrogate */
    assert_json(slice_text("\xf4\x90\x80\x80"), "\\ufffd\\ufffd\\ufffd\\ufffd");
    assert_json(slice_text("\xf5\x80\x80\x80"), "\\ufffd\\ufffd\\ufffd\\ufffd");
}

/* A block of exactly its size: the address sanitizer sees a look past the end. */
static void json_never_looks_behind_the_end(void **state)
{
    (void)state;
    for (int lead = 0; lead < 256; lead++) {
        uint8_t *block = malloc(1);
        assert_non_null(block);
        block[0] = (uint8_t)lead;
        struct text text = {0};
        text_add_json(&text, bytes((const char *)block, 1));
        assert_true(text.len > 0);
        text_fini(&text);
        free(block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_built_from_pieces),
        cmocka_unit_test(adding_nothing_gives_an_empty_text),
        cmocka_unit_test(a_text_grows_as_needed),
        cmocka_unit_test(a_fixed_text_takes_a_piece_whole_or_not_at_all),
        cmocka_unit_test(nothing_is_added_behind_a_cut),
        cmocka_unit_test(an_escape_is_not_cut_in_two),
        cmocka_unit_test(escaping_leaves_printable_ascii_and_nothing_else),
        cmocka_unit_test(json_keeps_valid_utf8_and_escapes_controls),
        cmocka_unit_test(json_replaces_each_byte_that_is_not_utf8),
        cmocka_unit_test(json_never_looks_behind_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
