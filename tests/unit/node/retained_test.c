#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/reclaim.h"
#include "codec/topic.h"
#include "base/message.h"
#include "node/retained.h"
#include "tests/unit/node/index_support.h"

#define NO_LIMIT SIZE_MAX
#define NOW 1000

static struct retained *store;

static int set_up(void **state)
{
    (void)state;
    reclaim_thread_register();
    store = retained_create(NO_LIMIT, NO_LIMIT);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reclaim_thread_unregister();
    reclaim_barrier();
    retained_destroy(store);
    return 0;
}

static void limit(size_t messages_max, size_t payload_bytes_max)
{
    retained_destroy(store);
    store = retained_create(messages_max, payload_bytes_max);
}

static enum err set_until(const char *topic, const char *payload, uint64_t expires_at_ms)
{
    struct message message =
        message_borrow(slice_text(topic), slice_of(NULL, 0), slice_text(payload));
    message.expires_at_ms = expires_at_ms;
    reclaim_enter();
    enum err err = retained_set(store, &message);
    reclaim_leave();
    assert_false(message_release(&message));
    return err;
}

static void set(const char *topic, const char *payload)
{
    assert_int_equal(set_until(topic, payload, CLOCK_NEVER), ERR_OK);
}

static struct replay *begin(const char *filter)
{
    reclaim_enter();
    struct replay *replay = replay_create(store, slice_text(filter));
    reclaim_leave();
    return replay;
}

/* The next message, however many calls it takes; NULL at the end. Each call in a section of its
 * own. */
static struct message *next_at(struct replay *replay, uint64_t now_ms)
{
    bool done = false;
    struct message *message = NULL;
    while (message == NULL && !done) {
        reclaim_enter();
        message = replay_next(replay, now_ms, &done);
        reclaim_leave();
    }
    return message;
}

static unsigned count_rest(struct replay *replay, uint64_t now_ms)
{
    unsigned count = 0;
    for (struct message *message; (message = next_at(replay, now_ms)) != NULL; count++) {
        message_unref(message);
    }
    return count;
}

static unsigned count_matching(const char *filter)
{
    struct replay *replay = begin(filter);
    unsigned count = count_rest(replay, NOW);
    replay_destroy(replay);
    return count;
}

static void assert_retained(const char *topic, const char *payload)
{
    struct replay *replay = begin(topic);
    struct message *message = next_at(replay, NOW);
    assert_non_null(message);
    assert_true(slice_equal(message_topic(message), slice_text(topic)));
    assert_true(slice_equal(message_payload(message), slice_text(payload)));
    message_unref(message);
    assert_null(next_at(replay, NOW));
    replay_destroy(replay);
}

/* ---- setting --------------------------------------------------------------------------------- */

static void the_last_message_of_a_topic_is_retained(void **state)
{
    (void)state;
    set("a/b", "first");
    set("a/b", "second");
    assert_retained("a/b", "second");
    assert_int_equal(retained_count(store), 1);
    assert_int_equal(retained_bytes(store), 3 + 6); /* topic and payload */
}

/* [MQTT-3.3.1-6] */
static void an_empty_payload_removes_what_was_retained(void **state)
{
    (void)state;
    set("a/b", "x");
    set("a/b/c", "y");
    set("a/b", "");
    assert_int_equal(count_matching("a/b"), 0);
    assert_retained("a/b/c", "y");
    set("a/b/c", "");
    set("never/there", "");
    assert_int_equal(count_matching("#"), 0);
    assert_int_equal(retained_count(store), 0);
    assert_int_equal(retained_bytes(store), 0);
}

static void the_number_of_messages_is_limited(void **state)
{
    (void)state;
    limit(2, NO_LIMIT);
    set("a", "1");
    set("b", "1");
    assert_int_equal(set_until("c", "1", CLOCK_NEVER), ERR_FULL);
    assert_int_equal(count_matching("c"), 0);
    set("a", "2"); /* replacing one is no new message */
    set("$SYS/uptime", "1");
    assert_int_equal(retained_count(store), 2);
    set("b", "");
    set("c", "1");
    assert_int_equal(set_until("d", "1", CLOCK_NEVER), ERR_FULL);
}

static void the_bytes_of_topics_and_payloads_are_limited(void **state)
{
    (void)state;
    limit(NO_LIMIT, 12);
    set("a", "12345");
    set("b", "12345");
    assert_int_equal(set_until("c", "1", CLOCK_NEVER), ERR_FULL);
    assert_int_equal(set_until("a", "123456", CLOCK_NEVER), ERR_FULL);
    assert_retained("a", "12345"); /* what was there stays */
    set("a", "123");
    set("c", "1");
    set("$SYS/version", "a long text from the node itself");
    assert_int_equal(retained_bytes(store), 12);
}

static void a_limit_of_zero_retains_nothing(void **state)
{
    (void)state;
    limit(0, NO_LIMIT);
    assert_int_equal(set_until("a", "1", CLOCK_NEVER), ERR_FULL);
    set("a", "");
    assert_int_equal(retained_count(store), 0);
}

/* ---- expiry ---------------------------------------------------------------------------------- */

static void an_expired_message_is_not_replayed(void **state)
{
    (void)state;
    assert_int_equal(set_until("a", "x", NOW + 1), ERR_OK);
    struct replay *before = begin("a");
    struct replay *after = begin("+");
    assert_int_equal(count_rest(before, NOW), 1);
    assert_int_equal(count_rest(after, NOW + 1), 0);
    replay_destroy(before);
    replay_destroy(after);
}

static void the_sweep_drops_what_has_expired_and_stays_in_its_budget(void **state)
{
    (void)state;
    char topic[32];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(topic, sizeof(topic), "t/%d", i);
        assert_int_equal(set_until(topic, "x", i % 2 == 0 ? 500 : 5000), ERR_OK);
    }
    set("forever", "x");
    assert_int_equal(retained_expire(store, 499, 1000), 0);
    size_t first = retained_expire(store, NOW, 10);
    assert_true(first <= 10);
    for (int i = 0; i < 10; i++) {
        first += retained_expire(store, NOW, 10);
    }
    assert_int_equal(first, 50);
    assert_int_equal(retained_count(store), 51);
    assert_int_equal(count_matching("t/#"), 50);
    assert_int_equal(retained_expire(store, 5000, 1000), 50);
    assert_int_equal(retained_expire(store, UINT64_MAX - 1, 1000), 0);
    assert_retained("forever", "x");
}

/* ---- replay ---------------------------------------------------------------------------------- */

static void a_filter_replays_what_it_matches(void **state)
{
    (void)state;
    static const char *const topics[] = {"a", "a/b", "a/b/c", "b", "/", "a/", "$SYS/x", "$SYS"};
    static const char *const filters[] = {"#",   "+",     "a/#",    "a/+",    "+/b",    "+/+/+",
                                          "/",   "/#",    "$SYS/#", "+/x",    "a",      "x",
                                          "+/#", "a/b/#", "a/+/c",  "$SYS/+", "a/b/+/#"};
    for (size_t i = 0; i < ARRAY_COUNT(topics); i++) {
        set(topics[i], "x");
    }
    for (size_t i = 0; i < ARRAY_COUNT(filters); i++) {
        unsigned expected = 0;
        for (size_t k = 0; k < ARRAY_COUNT(topics); k++) {
            expected += topic_matches(slice_text(filters[i]), slice_text(topics[k]));
        }
        assert_int_equal(count_matching(filters[i]), expected);
    }
}

static void what_changes_after_the_start_is_not_part_of_the_replay(void **state)
{
    (void)state;
    set("t/replaced", "old");
    set("t/removed", "old");
    set("t/stays", "old");
    struct replay *replay = begin("t/#");
    set("t/replaced", "new");
    set("t/removed", "");
    set("t/added", "new"); /* in the slot that became free */
    struct message *message = next_at(replay, NOW);
    assert_non_null(message);
    assert_true(slice_equal(message_topic(message), slice_text("t/stays")));
    message_unref(message);
    assert_null(next_at(replay, NOW));
    replay_destroy(replay);
    assert_int_equal(count_matching("t/#"), 3);
}

static void a_message_that_was_given_outlives_its_removal(void **state)
{
    (void)state;
    set("t", "payload");
    struct replay *replay = begin("t");
    struct message *message = next_at(replay, NOW);
    replay_destroy(replay);
    set("t", "");
    reclaim_barrier();
    assert_true(slice_equal(message_payload(message), slice_text("payload")));
    message_unref(message);
}

#define MANY 6000

static void set_many(void)
{
    char topic[32];
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(topic, sizeof(topic), "wide/%d/x", i);
        set(topic, "x");
    }
}

static void a_filter_too_wide_to_be_collected_replays_each_message_once(void **state)
{
    (void)state;
    set_many();
    set("other", "x");
    set("$SYS/x", "x");
    static bool seen[MANY];
    memset(seen, 0, sizeof(seen));
    struct replay *replay = begin("wide/+/x");
    unsigned count = 0;
    for (struct message *message; (message = next_at(replay, NOW)) != NULL; count++) {
        int i = -1;
        char *topic = mem_copy_text(message_topic(message).data, message->topic_len);
        assert_int_equal(sscanf(topic, "wide/%d/x", &i), 1);
        mem_free(topic);
        assert_true(i >= 0 && i < MANY && !seen[i]);
        seen[i] = true;
        message_unref(message);
    }
    assert_int_equal(count, MANY);
    replay_destroy(replay);
    assert_int_equal(count_matching("#"), MANY + 1);
    assert_int_equal(count_matching("wide/77/+"), 1);
    assert_int_equal(count_matching("wide/+/y"), 0);
}

static void a_wide_replay_passes_over_what_changed_as_well(void **state)
{
    (void)state;
    set_many();
    struct replay *replay = begin("#");
    set("wide/5999/x", "new");
    set("wide/5998/x", "");
    set("wide/new/x", "new");
    assert_int_equal(count_rest(replay, NOW), MANY - 2);
    replay_destroy(replay);
}

/* "Call again" instead of a long search in one go. */
static void a_search_without_results_is_cut_into_portions(void **state)
{
    (void)state;
    set_many();
    struct replay *replay = begin("wide/+/nothing");
    unsigned calls = 0;
    for (bool done = false; !done; calls++) {
        reclaim_enter();
        assert_null(replay_next(replay, NOW, &done));
        reclaim_leave();
    }
    assert_in_range(calls, 3, 100);
    replay_destroy(replay);
}

static void a_replay_may_end_in_the_middle(void **state)
{
    (void)state;
    set_many();
    struct replay *replay = begin("#");
    for (int i = 0; i < 10; i++) {
        message_unref(next_at(replay, NOW));
    }
    replay_destroy(replay);
}

/* ---- against a naive map --------------------------------------------------------------------- */

#define MODEL_MAX 600

struct model_topic {
    char topic[RANDOM_TEXT_MAX];
    char payload[16]; /* empty: not retained */
};

static struct model_topic model[MODEL_MAX];
static int model_count;

static struct model_topic *model_of(const char *topic)
{
    for (int i = 0; i < model_count; i++) {
        if (strcmp(model[i].topic, topic) == 0) {
            return &model[i];
        }
    }
    if (model_count == MODEL_MAX) {
        return &model[0];
    }
    strcpy(model[model_count].topic, topic);
    return &model[model_count++];
}

static void check_replay(const char *filter)
{
    unsigned expected = 0;
    for (int i = 0; i < model_count; i++) {
        expected += model[i].payload[0] != '\0' &&
                    topic_matches(slice_text(filter), slice_text(model[i].topic));
    }
    struct replay *replay = begin(filter);
    unsigned count = 0;
    for (struct message *message; (message = next_at(replay, NOW)) != NULL; count++) {
        char topic[RANDOM_TEXT_MAX] = "";
        memcpy(topic, message_topic(message).data, message->topic_len);
        assert_true(slice_equal(message_payload(message), slice_text(model_of(topic)->payload)));
        assert_true(topic_matches(slice_text(filter), message_topic(message)));
        message_unref(message);
    }
    replay_destroy(replay);
    assert_int_equal(count, expected);
}

static void random_changes_agree_with_a_list_of_topics(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    model_count = 0;
    memset(model, 0, sizeof(model));
    for (int round = 0; round < 5000; round++) {
        char text[RANDOM_TEXT_MAX];
        random_topic(&random, text);
        struct model_topic *entry = model_of(text);
        if (random_below(&random, 3) == 0) {
            entry->payload[0] = '\0';
        } else {
            (void)snprintf(entry->payload, sizeof(entry->payload), "p%d", round);
        }
        set(entry->topic, entry->payload);
        random_filter(&random, text);
        check_replay(text);
    }
    size_t count = 0;
    size_t bytes = 0;
    for (int i = 0; i < model_count; i++) {
        count += model[i].payload[0] != '\0';
        size_t len = strlen(model[i].payload);
        bytes += len > 0 ? len + strlen(model[i].topic) : 0;
    }
    assert_int_equal(retained_count(store), count);
    assert_int_equal(retained_bytes(store), bytes);
}

/* ---- several threads ------------------------------------------------------------------------- */

#define SETTERS 2
#define READERS 2
#define STABLE 50
#define CHANGES 6000

static _Atomic unsigned setters_left;

struct run {
    pthread_t thread;
    unsigned number;
    uint64_t random;
    unsigned wrong;
};

static void *change_topics(void *arg)
{
    struct run *run = arg;
    char topic[32];
    reclaim_thread_register();
    for (int i = 0; i < CHANGES; i++) {
        (void)snprintf(topic, sizeof(topic), "moving/%u/x",
                       (unsigned)random_below(&run->random, 200));
        bool remove = random_below(&run->random, 3) == 0;
        struct message message =
            message_borrow(slice_text(topic), slice_of(NULL, 0), slice_text(remove ? "" : topic));
        message.expires_at_ms = random_below(&run->random, 4) == 0 ? NOW : CLOCK_NEVER;
        reclaim_enter();
        run->wrong += retained_set(store, &message) != ERR_OK;
        (void)retained_expire(store, NOW, 3);
        reclaim_leave();
        run->wrong += message_release(&message);
    }
    atomic_fetch_sub(&setters_left, 1);
    reclaim_thread_unregister();
    return NULL;
}

/* What stays is replayed exactly once; all the rest is whole. Several sections for each replay. */
static void *replay_topics(void *arg)
{
    struct run *run = arg;
    static const char *const filters[] = {"#", "+/+/x", "stable/#", "moving/+/x"};
    reclaim_thread_register();
    for (unsigned round = 0; atomic_load(&setters_left) > 0; round++) {
        struct replay *replay = begin(filters[round % ARRAY_COUNT(filters)]);
        unsigned stable = 0;
        for (struct message *message; (message = next_at(replay, NOW - 1)) != NULL;) {
            run->wrong += !slice_equal(message_topic(message), message_payload(message));
            stable += slice_starts_with(message_topic(message), "stable/");
            message_unref(message);
        }
        run->wrong += stable != (round % ARRAY_COUNT(filters) == 3 ? 0 : STABLE);
        replay_destroy(replay);
    }
    reclaim_thread_unregister();
    return NULL;
}

static void replays_are_exact_about_what_stays_while_others_set_and_expire(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    char topic[32];
    for (int i = 0; i < STABLE; i++) {
        (void)snprintf(topic, sizeof(topic), "stable/%d/x", i);
        set(topic, topic);
    }
    atomic_store(&setters_left, SETTERS);
    struct run setters[SETTERS];
    struct run readers[READERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct run){.number = i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, replay_topics, &readers[i]), 0);
    }
    for (unsigned i = 0; i < SETTERS; i++) {
        setters[i] = (struct run){.number = i, .random = random_next(&random) | 1};
        assert_int_equal(pthread_create(&setters[i].thread, NULL, change_topics, &setters[i]), 0);
    }
    for (unsigned i = 0; i < SETTERS; i++) {
        assert_int_equal(pthread_join(setters[i].thread, NULL), 0);
        assert_int_equal(setters[i].wrong, 0);
    }
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_int_equal(readers[i].wrong, 0);
    }
}

#define RETAINED_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RETAINED_TEST(the_last_message_of_a_topic_is_retained),
        RETAINED_TEST(an_empty_payload_removes_what_was_retained),
        RETAINED_TEST(the_number_of_messages_is_limited),
        RETAINED_TEST(the_bytes_of_topics_and_payloads_are_limited),
        RETAINED_TEST(a_limit_of_zero_retains_nothing),
        RETAINED_TEST(an_expired_message_is_not_replayed),
        RETAINED_TEST(the_sweep_drops_what_has_expired_and_stays_in_its_budget),
        RETAINED_TEST(a_filter_replays_what_it_matches),
        RETAINED_TEST(what_changes_after_the_start_is_not_part_of_the_replay),
        RETAINED_TEST(a_message_that_was_given_outlives_its_removal),
        RETAINED_TEST(a_filter_too_wide_to_be_collected_replays_each_message_once),
        RETAINED_TEST(a_wide_replay_passes_over_what_changed_as_well),
        RETAINED_TEST(a_search_without_results_is_cut_into_portions),
        RETAINED_TEST(a_replay_may_end_in_the_middle),
        RETAINED_TEST(random_changes_agree_with_a_list_of_topics),
        RETAINED_TEST(replays_are_exact_about_what_stays_while_others_set_and_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
