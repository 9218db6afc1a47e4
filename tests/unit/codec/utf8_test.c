#include "codec/topic.h"
#include "tests/unit/codec/codec_support.h"

static bool valid(const char *text)
{
    return utf8_valid(bytes(text));
}

static void text_of_every_width_is_valid(void **state)
{
    (void)state;
    assert_true(valid(""));
    assert_true(valid("'sport/tennis/player1'"));
    assert_true(valid("7f"));
    assert_true(valid("c280 dfbf"));
    assert_true(valid("e0a080 ed9fbf ee8080 efbfbf"));
    assert_true(valid("f0908080 f48fbfbf"));
}

/* [MQTT-1.5.4-2] */
static void the_null_character_is_refused_in_text_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 40; len++) {
        for (size_t at = 0; at < len; at++) {
            uint8_t text[40];
            memset(text, 'x', len);
            text[at] = 0;
            struct slice exact = bytes_copy(slice_of(text, len));
            assert_false(utf8_valid(exact));
            assert_true(utf8_well_formed(exact));
        }
    }
    assert_false(valid("c3a4 00"));
}

/* [MQTT-1.5.4-1] */
static void surrogates_are_refused(void **state)
{
    (void)state;
    assert_false(valid("eda080"));
    assert_false(valid("edbfbf"));
    assert_false(valid("'a' eda081 edb080 'b'")); /* a pair of them: CESU-8 */
}

/* [MQTT-1.5.4-1]: RFC 3629 allows one form of each character, and none above U+10FFFF. */
static void over_long_and_out_of_range_forms_are_refused(void **state)
{
    (void)state;
    assert_false(valid("c080"));
    assert_false(valid("c1bf"));
    assert_false(valid("e09fbf"));
    assert_false(valid("f08fbfbf"));
    assert_false(valid("f4908080"));
    assert_false(valid("f5808080"));
    assert_false(valid("f888808080"));
    assert_false(valid("fe"));
    assert_false(valid("ff"));
}

static void broken_sequences_are_refused(void **state)
{
    (void)state;
    assert_false(valid("80"));
    assert_false(valid("bf"));
    assert_false(valid("c3"));
    assert_false(valid("e282"));
    assert_false(valid("f09f98"));
    assert_false(valid("c328"));
    assert_false(valid("e28228"));
    assert_false(valid("f09f9828"));
    assert_false(valid("'1234567' c3"));
    assert_false(valid("'12345678' e282"));
}

/* [MQTT-1.5.4-3]: it is a character like others. */
static void a_byte_order_mark_is_valid(void **state)
{
    (void)state;
    assert_true(valid("efbbbf 'a'"));
}

/* A decoder of one character at a time, after the definition in RFC 3629 section 3. */
static bool valid_by_definition(struct slice s)
{
    size_t at = 0;
    while (at < s.len) {
        uint8_t lead = s.data[at];
        size_t len = lead < 0x80       ? 1
                     : lead >> 5 == 6  ? 2
                     : lead >> 4 == 14 ? 3
                     : lead >> 3 == 30 ? 4
                                       : 0;
        if (len == 0 || len > s.len - at) {
            return false;
        }
        uint32_t value = len == 1 ? lead : lead & (0x7fu >> len);
        for (size_t i = 1; i < len; i++) {
            if (s.data[at + i] >> 6 != 2) {
                return false;
            }
            value = value << 6 | (s.data[at + i] & 63);
        }
        static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};
        if (value < least[len] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) {
            return false;
        }
        at += len;
    }
    return true;
}

static void it_agrees_with_the_definition_on_random_text(void **state)
{
    (void)state;
    static const uint8_t pool[] = {0x00, 'a',  '/',  0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2,
                                   0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xc1};
    uint64_t random = random_seed();
    size_t accepted = 0;
    for (int i = 0; i < 200000; i++) {
        uint8_t text[24];
        size_t len = random_below(&random, sizeof(text) + 1);
        for (size_t k = 0; k < len; k++) {
            bool plain = random_below(&random, 3) != 0;
            text[k] = plain ? 'x' : pool[random_below(&random, sizeof(pool))];
        }
        struct slice s = slice_of(text, len);
        assert_int_equal(utf8_valid(s), valid_by_definition(s));
        accepted += utf8_valid(s);
    }
    assert_true(accepted > 1000);
}

static void every_string_of_three_bytes_is_judged_as_defined(void **state)
{
    (void)state;
    for (uint32_t value = 0; value < 1u << 24; value += value % 7 + 1) {
        uint8_t text[3] = {(uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
        struct slice s = slice_of(text, 3);
        if (utf8_valid(s) != valid_by_definition(s)) {
            fail_msg("%06x", value);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_of_every_width_is_valid),
        cmocka_unit_test(the_null_character_is_refused_in_text_wherever_it_stands),
        cmocka_unit_test(surrogates_are_refused),
        cmocka_unit_test(over_long_and_out_of_range_forms_are_refused),
        cmocka_unit_test(broken_sequences_are_refused),
        cmocka_unit_test(a_byte_order_mark_is_valid),
        cmocka_unit_test(it_agrees_with_the_definition_on_random_text),
        cmocka_unit_test(every_string_of_three_bytes_is_judged_as_defined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
