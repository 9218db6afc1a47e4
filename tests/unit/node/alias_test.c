#include "tests/unit/node/node_support.h"

#include "base/hash.h"
#include "base/macros.h"
#include "base/mem.h"
#include "node/alias.h"

#define MAXIMUM 20

static struct alias_in *in;
static struct alias_out *out;

static int set_up(void **state)
{
    (void)state;
    in = NULL;
    out = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    alias_in_destroy(in);
    alias_out_destroy(out);
    return 0;
}

/* An impossible size makes malloc return NULL also below a sanitizer: a way to see what happens
 * when there is no memory. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* ---- from the client ------------------------------------------------------------------------- */

static void set(uint16_t alias, const char *text)
{
    struct slice topic = slice_text(text);
    assert_int_equal(alias_in_apply(&in, MAXIMUM, alias, &topic), MQTT_REASON_SUCCESS);
    assert_true(slice_equal(topic, slice_text(text))); /* a topic that is there stays */
}

static enum mqtt_reason resolve(uint16_t alias, struct slice *topic)
{
    *topic = slice_of("", 0);
    return alias_in_apply(&in, MAXIMUM, alias, topic);
}

static void assert_resolves(uint16_t alias, const char *text)
{
    struct slice topic;
    assert_int_equal(resolve(alias, &topic), MQTT_REASON_SUCCESS);
    assert_true(slice_equal(topic, slice_text(text)));
}

static void a_topic_is_remembered_under_its_alias(void **state)
{
    (void)state;
    set(3, "sensor/one");
    set(1, "sensor/two");
    assert_resolves(3, "sensor/one");
    assert_resolves(1, "sensor/two");
    assert_resolves(3, "sensor/one"); /* for the life of the connection */
}

/* The packet's bytes are gone when the alias is used. */
static void the_topic_is_copied(void **state)
{
    (void)state;
    char bytes[] = "sensor";
    struct slice topic = slice_text(bytes);
    assert_int_equal(alias_in_apply(&in, MAXIMUM, 1, &topic), MQTT_REASON_SUCCESS);
    memset(bytes, 'x', sizeof(bytes) - 1);
    assert_resolves(1, "sensor");
}

static void an_alias_may_be_set_anew(void **state)
{
    (void)state;
    set(1, "old");
    set(2, "other");
    set(1, "a longer new one");
    assert_resolves(1, "a longer new one");
    assert_resolves(2, "other");
    set(1, "n");
    assert_resolves(1, "n");
}

/* MQTT 5.0 section 3.3.2.3.4: 0x94 for 0 [MQTT-3.3.2-8] and over the maximum [MQTT-3.3.2-9]. */
static void an_alias_out_of_range_is_invalid(void **state)
{
    (void)state;
    struct slice topic = slice_text("t");
    assert_int_equal(alias_in_apply(&in, MAXIMUM, 0, &topic), MQTT_REASON_TOPIC_ALIAS_INVALID);
    assert_int_equal(alias_in_apply(&in, MAXIMUM, MAXIMUM + 1, &topic),
                     MQTT_REASON_TOPIC_ALIAS_INVALID);
    assert_int_equal(alias_in_apply(&in, MAXIMUM, 65535, &topic), MQTT_REASON_TOPIC_ALIAS_INVALID);
    assert_int_equal(alias_in_apply(&in, 0, 1, &topic), MQTT_REASON_TOPIC_ALIAS_INVALID);
    assert_int_equal(resolve(0, &topic), MQTT_REASON_TOPIC_ALIAS_INVALID);
    assert_null(in);
}

/* All from 1 to the maximum are accepted, also in an order that makes the table grow oddly
 * [MQTT-3.3.2-12]. */
static void every_alias_up_to_the_maximum_is_accepted(void **state)
{
    (void)state;
    static const uint16_t order[] = {2, 7, MAXIMUM, 1, MAXIMUM - 1};
    for (unsigned i = 0; i < ARRAY_COUNT(order); i++) {
        char text[16];
        snprintf(text, sizeof(text), "t/%u", order[i]);
        set(order[i], text);
    }
    assert_resolves(2, "t/2");
    assert_resolves(7, "t/7");
    assert_resolves(MAXIMUM, "t/20");
    assert_resolves(1, "t/1");
    assert_resolves(MAXIMUM - 1, "t/19");
}

static void the_largest_table_there_can_be_works(void **state)
{
    (void)state;
    struct slice topic = slice_text("first");
    assert_int_equal(alias_in_apply(&in, 65535, 1, &topic), MQTT_REASON_SUCCESS);
    topic = slice_text("last");
    assert_int_equal(alias_in_apply(&in, 65535, 65535, &topic), MQTT_REASON_SUCCESS);
    topic = slice_of("", 0);
    assert_int_equal(alias_in_apply(&in, 65535, 65535, &topic), MQTT_REASON_SUCCESS);
    assert_true(slice_equal(topic, slice_text("last")));
    topic = slice_of("", 0);
    assert_int_equal(alias_in_apply(&in, 65535, 40000, &topic), MQTT_REASON_PROTOCOL_ERROR);
}

/* MQTT 5.0 section 3.3.2.3.4: an unknown alias without a topic is a Protocol Error. */
static void an_alias_that_was_never_set_is_a_protocol_error(void **state)
{
    (void)state;
    struct slice topic;
    assert_int_equal(resolve(1, &topic), MQTT_REASON_PROTOCOL_ERROR); /* no table yet */
    set(5, "t");
    assert_int_equal(resolve(4, &topic), MQTT_REASON_PROTOCOL_ERROR); /* a hole in it */
    assert_int_equal(resolve(6, &topic), MQTT_REASON_PROTOCOL_ERROR); /* behind its end */
    assert_int_equal(topic.len, 0);
}

/* The table may have moved by then: nothing of it may be lost. */
static void a_topic_there_is_no_memory_for_leaves_the_others_alone(void **state)
{
    (void)state;
    set(1, "kept");
    volatile size_t too_much = SIZE_MAX / 4;
    struct slice topic = slice_of("", too_much);
    assert_int_equal(alias_in_apply(&in, MAXIMUM, 15, &topic), MQTT_REASON_QUOTA_EXCEEDED);
    assert_resolves(1, "kept");
    assert_int_equal(resolve(15, &topic), MQTT_REASON_PROTOCOL_ERROR);
}

static void random_aliases_resolve_as_in_a_plain_table(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < 50; round++) {
        uint16_t maximum = (uint16_t)random_between(&seed, 1, 300);
        char(*model)[32] = mem_alloc_array(301, sizeof(*model));
        for (unsigned step = 0; step < 500; step++) {
            uint16_t alias = (uint16_t)random_below(&seed, maximum + 2u);
            char text[32] = "";
            if (random_below(&seed, 2) == 0) {
                snprintf(text, sizeof(text), "t/%x", random_below(&seed, UINT32_MAX));
            }
            struct slice topic = slice_text(text);
            enum mqtt_reason reason = alias_in_apply(&in, maximum, alias, &topic);
            if (alias == 0 || alias > maximum) {
                assert_int_equal(reason, MQTT_REASON_TOPIC_ALIAS_INVALID);
                continue;
            }
            if (text[0] != '\0') {
                strcpy(model[alias], text);
            }
            assert_int_equal(reason, model[alias][0] != '\0' ? MQTT_REASON_SUCCESS
                                                             : MQTT_REASON_PROTOCOL_ERROR);
            assert_true(slice_equal(topic, slice_text(model[alias])));
        }
        mem_free(model);
        alias_in_destroy(in);
        in = NULL;
    }
}

/* ---- to the client --------------------------------------------------------------------------- */

static uint16_t get(const char *text, bool *known)
{
    return alias_out_get(&out, MAXIMUM, slice_text(text), known);
}

static void an_alias_is_set_when_a_topic_comes_for_the_second_time(void **state)
{
    (void)state;
    bool known = true;
    assert_int_equal(get("sensor/one", &known), 0); /* a topic used once would only cost */
    assert_false(known);
    uint16_t alias = get("sensor/one", &known);
    assert_in_range(alias, 1, MAXIMUM);
    assert_false(known); /* this packet carries both */
    assert_int_equal(get("sensor/one", &known), alias);
    assert_true(known); /* and from now on the alias is enough */
}

/* [MQTT-3.3.2-10], [MQTT-3.3.2-11]. */
static void nothing_is_set_for_a_client_that_allows_none(void **state)
{
    (void)state;
    bool known = true;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(alias_out_get(&out, 0, slice_text("sensor/one"), &known), 0);
        assert_false(known);
    }
    assert_null(out);
}

static void a_topic_that_is_hardly_longer_than_its_alias_gets_none(void **state)
{
    (void)state;
    bool known;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(get("abc", &known), 0);
        assert_false(known);
    }
    get("abcd", &known);
    assert_int_not_equal(get("abcd", &known), 0);
}

/* A topic that has the same place among `maximum` as `like`. */
static void find_rival(const char *like, uint16_t maximum, char rival[32])
{
    uint64_t place = hash_slice(slice_text(like)) % maximum;
    unsigned i = 0;
    do {
        snprintf(rival, 32, "rival/%u", i++);
    } while (hash_slice(slice_text(rival)) % maximum != place);
}

static void a_topic_that_comes_twice_takes_the_place_of_another(void **state)
{
    (void)state;
    char rival[32];
    find_rival("sensor/one", MAXIMUM, rival);
    bool known;
    get("sensor/one", &known);
    uint16_t alias = get("sensor/one", &known);
    assert_int_equal(get(rival, &known), 0); /* once: not yet */
    assert_false(known);
    assert_int_equal(get("sensor/one", &known), alias);
    assert_true(known);
    assert_int_equal(get(rival, &known), alias); /* again: the client is told the new topic */
    assert_false(known);
    assert_int_equal(get(rival, &known), alias);
    assert_true(known);
    assert_int_equal(get("sensor/one", &known), 0); /* and the old one goes in full */
    assert_false(known);
}

/* Up to 1,024 bytes: longer ones would cost memory for each connection. */
static void a_long_topic_is_told_apart_and_a_longer_one_gets_no_alias(void **state)
{
    (void)state;
    char text[1025];
    memset(text, 'x', sizeof(text));
    struct slice topic = slice_of(text, 1024);
    bool known;
    alias_out_get(&out, 1, topic, &known);
    assert_int_equal(alias_out_get(&out, 1, topic, &known), 1);
    assert_int_equal(alias_out_get(&out, 1, topic, &known), 1);
    assert_true(known);
    text[1023] = 'y';
    assert_int_equal(alias_out_get(&out, 1, topic, &known), 0);
    assert_false(known);
    topic.len = 1025;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(alias_out_get(&out, 1, topic, &known), 0);
    }
}

/* Whatever topics come: the client, which remembers what it was told, always finds the right one.
 */
static void random_topics_are_understood_by_the_client(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < 50; round++) {
        uint16_t maximum = (uint16_t)random_between(&seed, 1, 16);
        uint32_t topics = random_between(&seed, 1, 40);
        char told[17][32] = {{0}};
        unsigned saved = 0;
        for (unsigned step = 0; step < 1000; step++) {
            char text[32];
            snprintf(text, sizeof(text), "topic/%u", random_below(&seed, topics));
            bool known;
            uint16_t alias = alias_out_get(&out, maximum, slice_text(text), &known);
            assert_true(alias <= maximum);
            if (known) {
                assert_int_not_equal(alias, 0);
                assert_string_equal(told[alias], text);
                saved++;
            } else if (alias != 0) {
                strcpy(told[alias], text);
            }
        }
        assert_true(topics > 1 || saved == 998);
        alias_out_destroy(out);
        out = NULL;
    }
}

static void ending_without_a_table_is_harmless(void **state)
{
    (void)state;
    alias_in_destroy(NULL);
    alias_out_destroy(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_topic_is_remembered_under_its_alias),
        TEST(the_topic_is_copied),
        TEST(an_alias_may_be_set_anew),
        TEST(an_alias_out_of_range_is_invalid),
        TEST(every_alias_up_to_the_maximum_is_accepted),
        TEST(the_largest_table_there_can_be_works),
        TEST(an_alias_that_was_never_set_is_a_protocol_error),
        TEST(a_topic_there_is_no_memory_for_leaves_the_others_alone),
        TEST(random_aliases_resolve_as_in_a_plain_table),
        TEST(an_alias_is_set_when_a_topic_comes_for_the_second_time),
        TEST(nothing_is_set_for_a_client_that_allows_none),
        TEST(a_topic_that_is_hardly_longer_than_its_alias_gets_none),
        TEST(a_topic_that_comes_twice_takes_the_place_of_another),
        TEST(a_long_topic_is_told_apart_and_a_longer_one_gets_no_alias),
        TEST(random_topics_are_understood_by_the_client),
        TEST(ending_without_a_table_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
