#include "codec/topic.h"

#include "tests/unit/codec/codec_support.h"

static bool name_valid(const char *text)
{
    return topic_name_valid(bytes_copy(slice_text(text)));
}

static bool filter_valid(const char *text)
{
    struct topic_filter filter;
    return topic_filter_parse(bytes_copy(slice_text(text)), &filter);
}

static bool matches(const char *filter, const char *name)
{
    return topic_matches(bytes_copy(slice_text(filter)), bytes_copy(slice_text(name)));
}

/* [MQTT-4.7.3-1], [MQTT-4.7.0-1], [MQTT-3.3.2-2] */
static void a_topic_name_is_not_empty_and_has_no_wildcards(void **state)
{
    (void)state;
    assert_true(name_valid("a"));
    assert_true(name_valid("/"));
    assert_true(name_valid("sport/tennis/player one"));
    assert_true(name_valid("$SYS/broker"));
    assert_true(name_valid("gr\xc3\xb6\xc3\x9f"
                           "e"));
    assert_false(name_valid(""));
    assert_false(name_valid("#"));
    assert_false(name_valid("a/+/b"));
    assert_false(name_valid("gr\xc3\xb6\xc3\x9f"
                            "e/#"));
}

static void a_wildcard_is_found_at_every_place_of_names_of_every_length(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 40; len++) {
        uint8_t text[40];
        memset(text, '/', len);
        assert_true(topic_name_valid(bytes_copy(slice_of(text, len))));
        for (size_t at = 0; at < len; at++) {
            for (unsigned c = 1; c < 128; c++) {
                memset(text, '/', len);
                text[at] = (uint8_t)c;
                assert_int_equal(topic_name_valid(slice_of(text, len)), c != '+' && c != '#');
            }
        }
    }
}

/* [MQTT-4.7.1-1] */
static void the_multi_level_wildcard_stands_alone_in_the_last_level(void **state)
{
    (void)state;
    assert_true(filter_valid("#"));
    assert_true(filter_valid("sport/tennis/#"));
    assert_true(filter_valid("/#"));
    assert_false(filter_valid("sport/tennis#"));
    assert_false(filter_valid("sport/tennis/#/ranking"));
    assert_false(filter_valid("##"));
    assert_false(filter_valid("#/"));
    assert_false(filter_valid("a/#b"));
}

/* [MQTT-4.7.1-2] */
static void the_single_level_wildcard_fills_its_level(void **state)
{
    (void)state;
    assert_true(filter_valid("+"));
    assert_true(filter_valid("+/tennis/#"));
    assert_true(filter_valid("sport/+/player1"));
    assert_true(filter_valid("/+"));
    assert_true(filter_valid("+/+"));
    assert_false(filter_valid("sport+"));
    assert_false(filter_valid("+sport"));
    assert_false(filter_valid("a/b+/c"));
    assert_false(filter_valid("++"));
    assert_false(filter_valid("+#"));
}

/* [MQTT-4.7.3-1] */
static void an_empty_filter_is_refused(void **state)
{
    (void)state;
    assert_false(filter_valid(""));
}

static void wildcards_are_told_from_plain_filters(void **state)
{
    (void)state;
    struct topic_filter filter;
    assert_true(topic_filter_parse(slice_text("a/b"), &filter));
    assert_false(filter.has_wildcards);
    assert_true(topic_filter_parse(slice_text("a/+"), &filter));
    assert_true(filter.has_wildcards);
    assert_true(topic_filter_parse(slice_text("$share/g/#"), &filter));
    assert_true(filter.has_wildcards);
}

/* [MQTT-4.8.2-1], [MQTT-4.8.2-2] */
static void a_shared_filter_has_a_group_and_a_filter(void **state)
{
    (void)state;
    struct topic_filter filter;
    assert_true(topic_filter_parse(slice_text("$share/consumer1/sport/tennis/+"), &filter));
    assert_bytes(filter.share, "'consumer1'");
    assert_bytes(filter.filter, "'sport/tennis/+'");
    assert_true(topic_filter_parse(slice_text("$share/g//finance"), &filter));
    assert_bytes(filter.share, "'g'");
    assert_bytes(filter.filter, "'/finance'");
    assert_false(filter_valid("$share"));
    assert_false(filter_valid("$share/"));
    assert_false(filter_valid("$share/g"));
    assert_false(filter_valid("$share/g/"));
    assert_false(filter_valid("$share//a"));
    assert_false(filter_valid("$share/+/a"));
    assert_false(filter_valid("$share/g#/a"));
    assert_false(filter_valid("$share/g/a#"));
}

static void what_only_resembles_a_shared_filter_is_an_ordinary_one(void **state)
{
    (void)state;
    struct topic_filter filter;
    assert_true(topic_filter_parse(slice_text("$shared/g/a"), &filter));
    assert_int_equal(filter.share.len, 0);
    assert_bytes(filter.filter, "'$shared/g/a'");
    assert_true(topic_filter_parse(slice_text("a/$share/g/b"), &filter));
    assert_int_equal(filter.share.len, 0);
}

static void a_refused_filter_leaves_the_result_alone(void **state)
{
    (void)state;
    struct topic_filter filter = {.has_wildcards = true};
    assert_false(topic_filter_parse(slice_text("$share/g/a#"), &filter));
    assert_true(filter.has_wildcards);
    assert_null(filter.filter.data);
}

/* Examples of section 4.7.1.2. */
static void the_multi_level_wildcard_matches_the_parent_and_all_below(void **state)
{
    (void)state;
    assert_true(matches("sport/tennis/player1/#", "sport/tennis/player1"));
    assert_true(matches("sport/tennis/player1/#", "sport/tennis/player1/ranking"));
    assert_true(matches("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"));
    assert_false(matches("sport/tennis/player1/#", "sport/tennis/player10"));
    assert_true(matches("sport/#", "sport"));
    assert_true(matches("#", "a"));
    assert_true(matches("#", "/a/b"));
}

/* Examples of section 4.7.1.3. */
static void the_single_level_wildcard_matches_exactly_one_level(void **state)
{
    (void)state;
    assert_true(matches("sport/tennis/+", "sport/tennis/player1"));
    assert_false(matches("sport/tennis/+", "sport/tennis/player1/ranking"));
    assert_false(matches("sport/+", "sport"));
    assert_true(matches("sport/+", "sport/"));
    assert_true(matches("+/+", "/finance"));
    assert_true(matches("/+", "/finance"));
    assert_false(matches("+", "/finance"));
}

/* [MQTT-4.7.2-1] */
static void a_leading_wildcard_does_not_match_names_that_start_with_a_dollar(void **state)
{
    (void)state;
    assert_false(matches("#", "$SYS"));
    assert_false(matches("+/monitor/Clients", "$SYS/monitor/Clients"));
    assert_true(matches("$SYS/#", "$SYS/monitor"));
    assert_true(matches("$SYS/monitor/+", "$SYS/monitor/Clients"));
    assert_true(matches("a/#", "a/$SYS"));
    assert_true(matches("a/+", "a/$SYS"));
}

/* [MQTT-4.7.3-4]: no folding of case, no normalisation; section 4.7.3. */
static void levels_are_compared_byte_by_byte(void **state)
{
    (void)state;
    assert_false(matches("ACCOUNTS", "Accounts"));
    assert_false(matches("/finance", "finance"));
    assert_false(matches("a", "a/"));
    assert_false(matches("a/", "a"));
    assert_true(matches("a//b", "a//b"));
    assert_false(matches("a/b", "a//b"));
    assert_true(matches("Accounts payable", "Accounts payable"));
}

static void levels_are_counted_and_walked(void **state)
{
    (void)state;
    assert_int_equal(topic_levels(slice_text("a")), 1);
    assert_int_equal(topic_levels(slice_text("/a//")), 4);
    static const char *const wanted[] = {"", "a", "", "b"};
    struct slice rest = slice_text("/a//b");
    bool done = false;
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        assert_false(done);
        assert_true(slice_equal(topic_next_level(&rest, &done), slice_text(wanted[i])));
    }
    assert_true(done);
    assert_int_equal(rest.len, 0);
}

static void a_topic_without_bytes_has_one_empty_level(void **state)
{
    (void)state;
    struct slice rest = slice_of(NULL, 0);
    bool done = false;
    assert_int_equal(topic_levels(rest), 1);
    assert_int_equal(topic_next_level(&rest, &done).len, 0);
    assert_true(done);
}

/* ---- a naive model: recursion over levels as C strings ------------------------------------------
 */

static bool model_levels_match(const char *filter, const char *name)
{
    if (strcmp(filter, "#") == 0) {
        return true;
    }
    size_t filter_len = strcspn(filter, "/");
    size_t name_len = strcspn(name, "/");
    bool plus = filter_len == 1 && filter[0] == '+';
    if (!plus && (filter_len != name_len || strncmp(filter, name, name_len) != 0)) {
        return false;
    }
    filter += filter_len;
    name += name_len;
    if (*filter == '\0' || *name == '\0') {
        return *filter == *name || (*name == '\0' && strcmp(filter, "/#") == 0);
    }
    return model_levels_match(filter + 1, name + 1);
}

static bool model_matches(const char *filter, const char *name)
{
    bool hidden = name[0] == '$' && (filter[0] == '+' || filter[0] == '#');
    return !hidden && model_levels_match(filter, name);
}

static void random_text(uint64_t *random, const char *pool, char *out, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        out[i] = pool[random_below(random, (uint32_t)strlen(pool))];
    }
    out[len] = '\0';
}

static void matching_agrees_with_a_naive_model(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    size_t tried = 0;
    size_t matched = 0;
    while (tried < 100000) {
        char filter[10];
        char name[10];
        struct topic_filter parsed;
        random_text(&random, "ab//++#$", filter, 1 + random_below(&random, 8));
        random_text(&random, "ab//$", name, 1 + random_below(&random, 8));
        if (!topic_filter_parse(slice_text(filter), &parsed)) {
            continue;
        }
        tried++;
        bool match = topic_matches(slice_text(filter), slice_text(name));
        if (match != model_matches(filter, name)) {
            fail_msg("filter %s, name %s: %d", filter, name, match);
        }
        matched += match;
    }
    assert_true(matched > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_topic_name_is_not_empty_and_has_no_wildcards),
        cmocka_unit_test(a_wildcard_is_found_at_every_place_of_names_of_every_length),
        cmocka_unit_test(the_multi_level_wildcard_stands_alone_in_the_last_level),
        cmocka_unit_test(the_single_level_wildcard_fills_its_level),
        cmocka_unit_test(an_empty_filter_is_refused),
        cmocka_unit_test(wildcards_are_told_from_plain_filters),
        cmocka_unit_test(a_shared_filter_has_a_group_and_a_filter),
        cmocka_unit_test(what_only_resembles_a_shared_filter_is_an_ordinary_one),
        cmocka_unit_test(a_refused_filter_leaves_the_result_alone),
        cmocka_unit_test(the_multi_level_wildcard_matches_the_parent_and_all_below),
        cmocka_unit_test(the_single_level_wildcard_matches_exactly_one_level),
        cmocka_unit_test(a_leading_wildcard_does_not_match_names_that_start_with_a_dollar),
        cmocka_unit_test(levels_are_compared_byte_by_byte),
        cmocka_unit_test(levels_are_counted_and_walked),
        cmocka_unit_test(a_topic_without_bytes_has_one_empty_level),
        cmocka_unit_test(matching_agrees_with_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
