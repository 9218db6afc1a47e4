#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/config_value_priv.h"

#define WORDS                             \
    (const char *const[])                 \
    {                                     \
        "throttle", "queue-offline", NULL \
    }

static enum err refuse_x(const char *text)
{
    return strchr(text, 'x') == NULL ? ERR_OK : ERR_SYNTAX;
}

static const struct config_text_rule no_x = {
    .noun = "not without x", .allowed = "text without x", .check = refuse_x};

/* All that may be seen of a text. */
static void add_length(const char *text, struct text *out)
{
    text_printf(out, "%zu bytes", strlen(text));
}

static const struct config_text_rule secret_rule = {.noun = "not without x",
                                                    .allowed = "text without x",
                                                    .check = refuse_x,
                                                    .none = "nobody",
                                                    .add_shown = add_length};

/* An option of each kind, apart from the real ones. */
static const struct config_option yes_no = {.key = "k", .kind = CONFIG_KIND_BOOL};
static const struct config_option count = {
    .key = "k", .kind = CONFIG_KIND_UINT, .minimum = 1, .maximum = 1000};
static const struct config_option any_count = {
    .key = "k", .kind = CONFIG_KIND_UINT, .maximum = UINT32_MAX};
static const struct config_option duration = {
    .key = "k", .kind = CONFIG_KIND_DURATION, .maximum = 864000000, .step = 1};
static const struct config_option duration_ms = {
    .key = "k_ms", .kind = CONFIG_KIND_DURATION, .maximum = 864000000, .step = 1};
static const struct config_option seconds = {
    .key = "k", .kind = CONFIG_KIND_DURATION, .maximum = 65535000, .step = 1000};
static const struct config_option size = {
    .key = "k", .kind = CONFIG_KIND_SIZE, .minimum = 1, .maximum = 8ULL << 30};
static const struct config_option size_bytes = {
    .key = "k_bytes", .kind = CONFIG_KIND_SIZE, .maximum = 8ULL << 30};
static const struct config_option word = {.key = "k", .kind = CONFIG_KIND_ENUM, .words = WORDS};
static const struct config_option string = {
    .key = "k", .kind = CONFIG_KIND_STRING, .minimum = 1, .maximum = 5, .rule = &no_x};
static const struct config_option secret = {
    .key = "k", .kind = CONFIG_KIND_STRING, .maximum = 100, .rule = &secret_rule};
static const struct config_option address = {
    .key = "k", .kind = CONFIG_KIND_ADDRESS, .minimum = 1, .maximum = 300};
static const struct config_option optional_address = {
    .key = "k", .kind = CONFIG_KIND_ADDRESS, .maximum = 300};

static struct config_value good(const struct config_option *option, const char *words)
{
    struct config_value value = {0};
    struct text error = {0};
    enum err err = config__value_parse(option, words, &value, &error);
    if (err != ERR_OK) {
        fail_msg("\"%s\" was refused: %s", words, error.data);
    }
    assert_int_equal(error.len, 0);
    return value;
}

static void assert_number(const struct config_option *option, const char *words, uint64_t number)
{
    assert_int_equal(good(option, words).number, number);
}

static void assert_refused(const struct config_option *option, const char *words, enum err expected)
{
    struct config_value value = {.number = 77, .text = "untouched"};
    struct text error = {0};
    enum err err = config__value_parse(option, words, &value, &error);
    if (err != expected) {
        fail_msg("\"%s\" gave %d, not %d", words, err, expected);
    }
    assert_int_equal(value.number, 77);
    assert_string_equal(value.text, "untouched");
    assert_true(error.len > 0);
    text_fini(&error);
}

static void assert_error(const struct config_option *option, const char *words, const char *line)
{
    struct config_value value;
    struct text error = {0};
    assert_int_not_equal(config__value_parse(option, words, &value, &error), ERR_OK);
    assert_string_equal(error.data, line);
    text_fini(&error);
}

static void assert_printed(const struct config_option *option, const char *words,
                           const char *expected)
{
    struct text text = {0};
    config__value_add(option, good(option, words), &text);
    assert_string_equal(text.data, expected);
    text_fini(&text);
}

static void a_bool_is_one_of_six_words(void **state)
{
    (void)state;
    assert_number(&yes_no, "true", 1);
    assert_number(&yes_no, "yes", 1);
    assert_number(&yes_no, "on", 1);
    assert_number(&yes_no, "false", 0);
    assert_number(&yes_no, "no", 0);
    assert_number(&yes_no, "off", 0);
    assert_refused(&yes_no, "maybe", ERR_SYNTAX);
    assert_refused(&yes_no, "1", ERR_SYNTAX);
    assert_refused(&yes_no, "TRUE", ERR_SYNTAX);
    assert_refused(&yes_no, "", ERR_SYNTAX);
    assert_error(&yes_no, "maybe", "\"maybe\" is not a yes or no (allowed: true, false)");
    assert_printed(&yes_no, "on", "true");
    assert_printed(&yes_no, "no", "false");
}

static void a_count_is_decimal_digits_and_nothing_else(void **state)
{
    (void)state;
    assert_number(&count, "1", 1);
    assert_number(&count, "1000", 1000);
    assert_number(&any_count, "0", 0);
    assert_number(&any_count, "4294967295", UINT32_MAX);
    static const char *const bad[] = {"",   "abc", "10s", "010", "0x10",  "-1", "+1",
                                      " 1", "1 ",  "1.0", "1e3", "1_000", "00", "\xd9\xa1"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_refused(&any_count, bad[i], ERR_SYNTAX);
    }
    assert_error(&any_count, "abc", "\"abc\" is not a number (allowed: 0 to 4294967295)");
}

static void a_count_outside_of_its_range_is_refused(void **state)
{
    (void)state;
    assert_refused(&count, "0", ERR_RANGE);
    assert_refused(&count, "1001", ERR_RANGE);
    assert_error(&count, "1001", "\"1001\" is out of range (allowed: 1 to 1000)");
}

static void numbers_too_large_for_64_bits_are_out_of_range(void **state)
{
    (void)state;
    assert_refused(&any_count, "18446744073709551616", ERR_RANGE);
    assert_refused(&any_count, "99999999999999999999999999", ERR_RANGE);
    assert_refused(&duration, "18446744073709551615d", ERR_RANGE);
    assert_refused(&duration, "213503982335d", ERR_RANGE); /* 2^64 ms and a little */
    assert_refused(&size, "17179869184GiB", ERR_RANGE);    /* 2^64 */
}

static void a_duration_has_a_unit(void **state)
{
    (void)state;
    assert_number(&duration, "500ms", 500);
    assert_number(&duration, "10s", 10000);
    assert_number(&duration, "5m", 300000);
    assert_number(&duration, "2h", 7200000);
    assert_number(&duration, "1d", 86400000);
    static const char *const bad[] = {"10x",   "s",     "10 s", "1.5s", "10S",
                                      "10sec", "1h30m", "-1s",  ""};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_refused(&duration, bad[i], ERR_SYNTAX);
    }
    assert_refused(&duration, "11d", ERR_RANGE);
    assert_error(&duration, "10x",
                 "\"10x\" is not a duration (allowed: 0 to 10d, such as 500ms, 10s or 5m)");
}

static void a_bare_duration_is_milliseconds_if_the_key_says_so_and_seconds_if_not(void **state)
{
    (void)state;
    assert_number(&duration_ms, "5000", 5000);
    assert_number(&duration_ms, "5s", 5000);
    assert_number(&duration, "5", 5000);
    assert_number(&duration, "0", 0);
}

static void a_duration_of_whole_seconds_refuses_parts_of_one(void **state)
{
    (void)state;
    assert_number(&seconds, "2000ms", 2000);
    assert_number(&seconds, "65535", 65535000);
    assert_refused(&seconds, "1500ms", ERR_RANGE);
    assert_refused(&seconds, "65536", ERR_RANGE);
    assert_error(&seconds, "1500ms",
                 "\"1500ms\" is out of range (allowed: 0 to 65535s, in whole seconds, such as 10s "
                 "or 5m)");
}

static void a_size_is_bytes_or_has_a_unit(void **state)
{
    (void)state;
    assert_number(&size, "1", 1);
    assert_number(&size, "7B", 7);
    assert_number(&size, "3KB", 3000);
    assert_number(&size, "3MB", 3000000);
    assert_number(&size, "3GB", 3000000000);
    assert_number(&size, "3KiB", 3072);
    assert_number(&size, "64MiB", 67108864);
    assert_number(&size, "8GiB", 8589934592);
    static const char *const bad[] = {"64mb", "64M", "64 MiB", "1.5KiB", "KiB", "-1", "64MiBs", ""};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_refused(&size, bad[i], ERR_SYNTAX);
    }
    assert_refused(&size, "0", ERR_RANGE);
    assert_refused(&size, "9GiB", ERR_RANGE);
    assert_error(&size, "64M",
                 "\"64M\" is not a size (allowed: 1 to 8GiB, such as 65536 or 64KiB)");
}

static void a_word_is_one_of_the_list_and_underscores_are_hyphens(void **state)
{
    (void)state;
    assert_number(&word, "throttle", 0);
    assert_number(&word, "queue-offline", 1);
    assert_number(&word, "queue_offline", 1);
    static const char *const bad[] = {"", "throttl", "throttles", "Throttle", "queue offline", "0"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_refused(&word, bad[i], ERR_SYNTAX);
    }
    assert_error(&word, "drop",
                 "\"drop\" is not one of the words (allowed: throttle, queue-offline)");
    assert_printed(&word, "queue_offline", "queue-offline");
}

static void a_string_obeys_its_rule_and_its_length(void **state)
{
    (void)state;
    assert_string_equal(good(&string, "a b").text, "a b");
    assert_refused(&string, "axb", ERR_SYNTAX);
    assert_refused(&string, "", ERR_SYNTAX);
    assert_refused(&string, "aaaaaa", ERR_SYNTAX);
    assert_error(&string, "x", "\"x\" is not without x (allowed: text without x)");
}

static void a_rule_may_have_another_word_for_nothing(void **state)
{
    (void)state;
    assert_string_equal(good(&secret, "nobody").text, "");
    assert_string_equal(good(&secret, "off").text, "off");
    assert_refused(&secret, "", ERR_SYNTAX);
    assert_printed(&secret, "nobody", "nobody");
}

static void a_secret_is_neither_printed_nor_told_in_an_error(void **state)
{
    (void)state;
    assert_string_equal(good(&secret, "abcdef").text, "abcdef");
    assert_printed(&secret, "abcdef", "6 bytes");
    assert_error(&secret, "abcdefx",
                 "the value is not without x (allowed: text without x; nobody)");
}

static void an_address_has_a_host_and_a_port(void **state)
{
    (void)state;
    static const char *const fine[] = {"0.0.0.0:1883", "127.0.0.1:65535",     "[::]:1883",
                                       "[::1]:1",      "[fe80::1%lo]:1883",   "localhost:1883",
                                       "a-b.c_d:1883", "[::ffff:1.2.3.4]:80", "1password.com:99"};
    for (size_t i = 0; i < ARRAY_COUNT(fine); i++) {
        assert_string_equal(good(&address, fine[i]).text, fine[i]);
    }
    static const char *const bad[] = {
        "",           "1883",        ":1883",      "host",        "host:",
        "host:0",     "host:01",     "host:65536", "host:123456", "host:12a",
        "host:-1",    "::1:1883",    "[::1]",      "[::1]1883",   "[]:1883",
        "[::g]:1",    "[1.2.3.4]:1", "1.2.3:1883", "300.1.1.1:1", "a b:1",
        "a/b:1",      "-a:1",        "]:1",        "[:1",         "mqtt://a:1",
        "\xc3\xa4:1", "off",         "a:1:2"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_refused(&address, bad[i], ERR_SYNTAX);
    }
    assert_error(&address, "host",
                 "\"host\" is not an address (allowed: host:port, such as 127.0.0.1:1883 or "
                 "[::1]:1883)");
}

static void an_optional_address_can_be_off(void **state)
{
    (void)state;
    assert_string_equal(good(&optional_address, "off").text, "");
    assert_refused(&optional_address, "", ERR_SYNTAX);
    assert_printed(&optional_address, "off", "off");
    assert_printed(&optional_address, "localhost:1", "localhost:1");
}

static void an_address_is_split_into_host_and_port(void **state)
{
    (void)state;
    char host[CONFIG_HOST_SIZE] = "before";
    uint16_t port = 7;
    assert_int_equal(config_split_address("nonsense", host, &port), ERR_SYNTAX);
    assert_string_equal(host, "before");
    assert_int_equal(port, 7);
    assert_int_equal(config_split_address("[::1]:1883", host, &port), ERR_OK);
    assert_string_equal(host, "::1");
    assert_int_equal(port, 1883);
    assert_int_equal(config_split_address("broker.example:65535", host, &port), ERR_OK);
    assert_string_equal(host, "broker.example");
    assert_int_equal(port, 65535);
}

static void a_host_that_is_too_long_is_refused(void **state)
{
    (void)state;
    char words[CONFIG_HOST_SIZE + 3];
    memset(words, 'a', sizeof(words));
    memcpy(words + CONFIG_HOST_SIZE - 1, ":1", 3);
    assert_string_equal(good(&address, words).text, words);
    words[CONFIG_HOST_SIZE - 1] = 'a';
    memcpy(words + CONFIG_HOST_SIZE, ":1", 3);
    assert_refused(&address, words, ERR_SYNTAX);
}

static void values_print_in_their_largest_whole_unit(void **state)
{
    (void)state;
    assert_printed(&duration, "1500ms", "1500ms");
    assert_printed(&duration, "60", "1m");
    assert_printed(&duration, "90s", "90s");
    assert_printed(&duration, "24h", "1d");
    assert_printed(&duration, "0", "0");
    assert_printed(&size, "1024", "1KiB");
    assert_printed(&size, "1500", "1500");
    assert_printed(&size, "2048MiB", "2GiB");
}

static void values_print_as_numbers_when_the_key_names_the_unit(void **state)
{
    (void)state;
    assert_printed(&duration_ms, "5s", "5000");
    assert_printed(&size_bytes, "16MiB", "16777216");
}

static void an_error_stays_on_one_line_whatever_the_value(void **state)
{
    (void)state;
    assert_error(&any_count, "a\nb\"c",
                 "\"a\\nb\\\"c\" is not a number (allowed: 0 to 4294967295)");
}

static void a_long_value_is_cut_in_the_error(void **state)
{
    (void)state;
    char words[5000];
    struct config_value value;
    struct text error = {0};
    memset(words, 'a', sizeof(words));
    words[sizeof(words) - 1] = '\0';
    assert_int_equal(config__value_parse(&any_count, words, &value, &error), ERR_SYNTAX);
    assert_true(error.len < 200);
    assert_non_null(strstr(error.data, "aaa...\" is not a number"));
    text_fini(&error);
}

/* The pages start a heading at each change of section. */
static void options_of_one_section_stand_together(void **state)
{
    (void)state;
    for (size_t i = 1; i < CONFIG_OPTION_COUNT; i++) {
        assert_true(config__options[i].section >= config__options[i - 1].section);
    }
}

static void every_option_has_a_good_default_that_prints_as_it_is_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        assert_printed(&config__options[i], config__options[i].initial, config__options[i].initial);
    }
}

static void the_bounds_of_every_number_are_themselves_allowed(void **state)
{
    (void)state;
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        const uint64_t bounds[] = {option->minimum, option->maximum};
        bool number = option->kind == CONFIG_KIND_UINT || option->kind == CONFIG_KIND_SIZE ||
                      option->kind == CONFIG_KIND_DURATION;
        for (size_t j = 0; j < ARRAY_COUNT(bounds) && number; j++) {
            struct text words = {0};
            config__value_add(option, (struct config_value){.number = bounds[j]}, &words);
            assert_number(option, words.data, bounds[j]);
            text_fini(&words);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bool_is_one_of_six_words),
        cmocka_unit_test(a_count_is_decimal_digits_and_nothing_else),
        cmocka_unit_test(a_count_outside_of_its_range_is_refused),
        cmocka_unit_test(numbers_too_large_for_64_bits_are_out_of_range),
        cmocka_unit_test(a_duration_has_a_unit),
        cmocka_unit_test(a_bare_duration_is_milliseconds_if_the_key_says_so_and_seconds_if_not),
        cmocka_unit_test(a_duration_of_whole_seconds_refuses_parts_of_one),
        cmocka_unit_test(a_size_is_bytes_or_has_a_unit),
        cmocka_unit_test(a_word_is_one_of_the_list_and_underscores_are_hyphens),
        cmocka_unit_test(a_string_obeys_its_rule_and_its_length),
        cmocka_unit_test(a_rule_may_have_another_word_for_nothing),
        cmocka_unit_test(a_secret_is_neither_printed_nor_told_in_an_error),
        cmocka_unit_test(an_address_has_a_host_and_a_port),
        cmocka_unit_test(an_optional_address_can_be_off),
        cmocka_unit_test(an_address_is_split_into_host_and_port),
        cmocka_unit_test(a_host_that_is_too_long_is_refused),
        cmocka_unit_test(values_print_in_their_largest_whole_unit),
        cmocka_unit_test(values_print_as_numbers_when_the_key_names_the_unit),
        cmocka_unit_test(an_error_stays_on_one_line_whatever_the_value),
        cmocka_unit_test(a_long_value_is_cut_in_the_error),
        cmocka_unit_test(options_of_one_section_stand_together),
        cmocka_unit_test(every_option_has_a_good_default_that_prints_as_it_is_written),
        cmocka_unit_test(the_bounds_of_every_number_are_themselves_allowed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
