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
#include "codec/topic.h"
#include "node/session.h"
#include "node/sub_index.h"
#include "tests/unit/node/index_support.h"

#define WORKERS 3

static struct sub_index subs_index;
static struct match_cache *caches[WORKERS];

static int set_up(void **state)
{
    (void)state;
    reclaim_thread_register();
    sub_index_init(&subs_index, WORKERS);
    for (unsigned i = 0; i < WORKERS; i++) {
        caches[i] = match_cache_create(&subs_index);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reclaim_thread_unregister();
    reclaim_barrier();
    for (unsigned i = 0; i < WORKERS; i++) {
        match_cache_destroy(caches[i]);
    }
    assert_int_equal(subs_index.trie.nodes, 0);
    assert_int_equal(sub_index_filters(&subs_index), 0);
    sub_index_fini(&subs_index);
    return 0;
}

static void add(unsigned worker, struct subscription *sub, const char *filter)
{
    sub_index_add(&subs_index, worker, sub, slice_text(filter), slice_of(NULL, 0), true);
}

static void drop(unsigned worker, struct subscription *sub)
{
    sub_index_remove(&subs_index, worker, sub);
}

/* How often `sub` of `worker` is among what `topic` matches. In a read section. */
static unsigned times_matched(struct match_cache *cache, unsigned worker,
                              const struct subscription *sub, const char *topic)
{
    unsigned times = 0;
    const struct match *match = match_topic(cache, slice_text(topic));
    for (uint32_t i = 0; i < match->count; i++) {
        const struct sub_list *list = &match->nodes[i]->lists[worker];
        for (uint32_t k = 0; k < list->count; k++) {
            times += sub_list_at(list, k) == sub;
        }
    }
    return times;
}

static bool matches(const char *filter, const char *topic)
{
    struct subscription sub = {.qos = 0};
    add(0, &sub, filter);
    reclaim_enter();
    unsigned times = times_matched(caches[0], 0, &sub, topic);
    reclaim_leave();
    drop(0, &sub);
    assert_true(times <= 1);
    assert_int_equal(times, topic_matches(slice_text(filter), slice_text(topic)));
    return times == 1;
}

/* MQTT 5.0 section 4.7.1. */
static void filters_match_as_the_specification_says(void **state)
{
    (void)state;
    assert_true(matches("sport/tennis/player1/#", "sport/tennis/player1"));
    assert_true(matches("sport/tennis/player1/#", "sport/tennis/player1/ranking"));
    assert_true(matches("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"));
    assert_true(matches("sport/#", "sport"));
    assert_true(matches("#", "sport"));
    assert_true(matches("#", "/"));
    assert_true(matches("sport/tennis/+", "sport/tennis/player1"));
    assert_false(matches("sport/tennis/+", "sport/tennis/player1/ranking"));
    assert_false(matches("sport/+", "sport"));
    assert_true(matches("sport/+", "sport/"));
    assert_true(matches("+/+", "/finance"));
    assert_true(matches("/+", "/finance"));
    assert_false(matches("+", "/finance"));
    assert_true(matches("+/#", "a"));
    assert_false(matches("a", "A"));
    assert_false(matches("a", "a/"));
}

/* [MQTT-4.7.2-1] */
static void wildcards_in_front_do_not_match_topics_that_start_with_a_dollar(void **state)
{
    (void)state;
    assert_false(matches("#", "$SYS/broker/uptime"));
    assert_false(matches("+/broker/uptime", "$SYS/broker/uptime"));
    assert_false(matches("+/#", "$SYS"));
    assert_true(matches("$SYS/#", "$SYS/broker/uptime"));
    assert_true(matches("$SYS/broker/+", "$SYS/broker/uptime"));
    assert_true(matches("a/+", "a/$SYS"));
    assert_true(matches("a/#", "a/$SYS"));
}

static void a_match_names_the_workers_that_have_subscribers(void **state)
{
    (void)state;
    struct subscription first = {.qos = 0};
    struct subscription second = {.qos = 0};
    struct subscription third = {.qos = 0};
    add(0, &first, "a/b");
    add(2, &second, "a/+");
    add(2, &third, "c");
    reclaim_enter();
    const struct match *match = match_topic(caches[1], slice_text("a/b"));
    assert_int_equal(match->workers, 5);
    assert_int_equal(match->count, 2);
    assert_false(match->shared);
    assert_int_equal(match_topic(caches[1], slice_text("c"))->workers, 4);
    assert_int_equal(match_topic(caches[1], slice_text("x"))->workers, 0);
    assert_int_equal(match_topic(caches[1], slice_text("x"))->count, 0);
    reclaim_leave();
    drop(2, &second);
    reclaim_enter();
    assert_int_equal(match_topic(caches[1], slice_text("a/b"))->workers, 1);
    reclaim_leave();
    drop(0, &first);
    drop(2, &third);
}

static void a_subscription_knows_its_filter(void **state)
{
    (void)state;
    static const char *const filters[] = {"a",  "a/b/c", "/",     "//",  "/a",
                                          "a/", "#",     "+/+/#", "a//b"};
    static char out[65536];
    for (size_t i = 0; i < ARRAY_COUNT(filters); i++) {
        struct subscription sub = {.qos = 0};
        add(1, &sub, filters[i]);
        size_t len = sub_index_filter(&sub, out);
        assert_true(slice_equal(slice_of(out, len), slice_text(filters[i])));
        assert_int_equal(sub_index_share_name(&sub).len, 0);
        drop(1, &sub);
        assert_null(sub.node);
    }
}

static void a_list_keeps_every_subscription_at_its_position(void **state)
{
    (void)state;
    static struct subscription subs[100];
    memset(subs, 0, sizeof(subs));
    for (int i = 0; i < 100; i++) {
        add(0, &subs[i], "t");
    }
    uint64_t random = random_seed();
    for (int left = 100; left > 0; left--) {
        const struct sub_list *list = &subs[99].node->lists[0];
        assert_int_equal(list->count, left);
        for (uint32_t k = 0; k < list->count; k++) {
            assert_int_equal(sub_list_at(list, k)->position, k);
        }
        struct subscription *victim = sub_list_at(list, random_below(&random, list->count));
        if (victim == &subs[99] && left > 1) {
            victim = sub_list_at(list, victim->position == 0 ? 1 : 0);
        }
        drop(0, victim);
    }
}

static void distinct_filters_are_counted(void **state)
{
    (void)state;
    struct subscription subs[3] = {{.qos = 0}};
    add(0, &subs[0], "a/b");
    add(1, &subs[1], "a/b");
    add(1, &subs[2], "a");
    assert_int_equal(sub_index_filters(&subs_index), 2);
    drop(0, &subs[0]);
    assert_int_equal(sub_index_filters(&subs_index), 2);
    drop(1, &subs[1]);
    assert_int_equal(sub_index_filters(&subs_index), 1);
    drop(1, &subs[2]);
}

/* Else a storm of subscriptions to one topic would empty every cache each time. */
static void one_more_subscriber_of_a_worker_leaves_the_caches_valid(void **state)
{
    (void)state;
    struct subscription first = {.qos = 0};
    struct subscription second = {.qos = 0};
    add(0, &first, "t");
    reclaim_enter();
    const struct match *before = match_topic(caches[0], slice_text("t"));
    uint64_t generation = atomic_load(&subs_index.generation);
    add(0, &second, "t");
    assert_int_equal(atomic_load(&subs_index.generation), generation);
    assert_ptr_equal(match_topic(caches[0], slice_text("t")), before);
    assert_int_equal(times_matched(caches[0], 0, &second, "t"), 1);
    drop(0, &second);
    assert_int_equal(atomic_load(&subs_index.generation), generation);
    reclaim_leave();
    drop(0, &first);
    assert_int_not_equal(atomic_load(&subs_index.generation), generation);
}

static void topics_too_long_to_remember_match_as_well(void **state)
{
    (void)state;
    char topic[400];
    memset(topic, 'x', sizeof(topic) - 1);
    topic[sizeof(topic) - 1] = '\0';
    topic[100] = '/';
    topic[200] = '/';
    assert_true(matches(topic, topic));
    assert_true(matches("+/+/#", topic));
    assert_false(matches("+/+", topic));
}

/* 2^9 filters of `a` and `+`: more nodes than an entry of the cache takes. */
static void five_hundred_filters_on_one_topic_are_all_found(void **state)
{
    (void)state;
    static struct subscription subs[512];
    memset(subs, 0, sizeof(subs));
    for (unsigned i = 0; i < 512; i++) {
        char filter[20] = "";
        for (unsigned level = 0; level < 9; level++) {
            strcat(filter, level > 0 ? "/" : "");
            strcat(filter, (i >> level & 1) != 0 ? "+" : "a");
        }
        add(i % WORKERS, &subs[i], filter);
    }
    for (int again = 0; again < 2; again++) {
        reclaim_enter();
        const struct match *match = match_topic(caches[0], slice_text("a/a/a/a/a/a/a/a/a"));
        assert_int_equal(match->count, 512);
        assert_int_equal(match->workers, 7);
        for (unsigned i = 0; i < 512; i += 37) {
            assert_int_equal(times_matched(caches[0], i % WORKERS, &subs[i], "a/a/a/a/a/a/a/a/a"),
                             1);
        }
        reclaim_leave();
    }
    for (unsigned i = 0; i < 512; i++) {
        drop(i % WORKERS, &subs[i]);
    }
}

static void topics_that_share_a_place_in_the_cache_do_not_mix(void **state)
{
    (void)state;
    enum { TOPICS = 5000 };
    static struct subscription subs[TOPICS];
    char topic[32];
    for (int i = 0; i < TOPICS; i++) {
        subs[i] = (struct subscription){.qos = 0};
        (void)snprintf(topic, sizeof(topic), "topic/%d", i);
        add(0, &subs[i], topic);
    }
    for (int round = 0; round < 2; round++) {
        reclaim_enter();
        for (int i = 0; i < TOPICS; i++) {
            (void)snprintf(topic, sizeof(topic), "topic/%d", i);
            assert_int_equal(match_topic(caches[0], slice_text(topic))->count, 1);
            assert_int_equal(times_matched(caches[0], 0, &subs[i], topic), 1);
        }
        reclaim_leave();
    }
    for (int i = 0; i < TOPICS; i++) {
        drop(0, &subs[i]);
    }
}

/* ---- against topic_matches over a list ------------------------------------------------------- */

#define MODEL_SUBS 300

struct model_sub {
    struct subscription sub;
    char filter[RANDOM_TEXT_MAX];
    bool there;
};

/* Adds or removes one at random. */
static void change_one(struct model_sub *model, unsigned count, unsigned worker, uint64_t *random)
{
    struct model_sub *entry = &model[random_below(random, count)];
    if (entry->there) {
        sub_index_remove(&subs_index, worker, &entry->sub);
    } else {
        random_filter(random, entry->filter);
        sub_index_add(&subs_index, worker, &entry->sub, slice_text(entry->filter),
                      slice_of(NULL, 0), true);
    }
    entry->there = !entry->there;
}

/* Number of subscriptions in `model` about which the index and topic_matches disagree. */
static unsigned wrong_matches(struct match_cache *cache, const struct model_sub *model,
                              unsigned count, unsigned worker, const char *topic)
{
    unsigned wrong = 0;
    unsigned expected = 0;
    for (unsigned i = 0; i < count; i++) {
        bool should =
            model[i].there && topic_matches(slice_text(model[i].filter), slice_text(topic));
        expected += should;
        wrong += times_matched(cache, worker, &model[i].sub, topic) != should;
    }
    const struct match *match = match_topic(cache, slice_text(topic));
    wrong += expected > 0 && (match->workers >> worker & 1) == 0;
    return wrong;
}

static void random_subscriptions_match_what_a_list_of_filters_would(void **state)
{
    (void)state;
    static struct model_sub model[WORKERS][MODEL_SUBS];
    memset(model, 0, sizeof(model));
    uint64_t random = random_seed();
    for (int round = 0; round < 4000; round++) {
        unsigned worker = random_below(&random, WORKERS);
        change_one(model[worker], MODEL_SUBS, worker, &random);
        char topic[RANDOM_TEXT_MAX];
        random_topic(&random, topic);
        reclaim_enter();
        for (unsigned other = 0; other < WORKERS; other++) {
            assert_int_equal(wrong_matches(caches[worker], model[other], MODEL_SUBS, other, topic),
                             0);
        }
        reclaim_leave();
    }
    for (unsigned worker = 0; worker < WORKERS; worker++) {
        for (int i = 0; i < MODEL_SUBS; i++) {
            if (model[worker][i].there) {
                drop(worker, &model[worker][i].sub);
            }
        }
    }
}

/* ---- several workers at once ----------------------------------------------------------------- */

#define OWN_SUBS 20
#define ROUNDS 6000

struct worker_run {
    pthread_t thread;
    unsigned worker;
    uint64_t random;
    unsigned wrong;
};

/* A worker knows exactly what itself subscribed to, whatever the others do at the same nodes. */
static void *churn(void *arg)
{
    struct worker_run *run = arg;
    struct model_sub *model = mem_alloc_array(OWN_SUBS, sizeof(*model));
    reclaim_thread_register();
    for (int round = 0; round < ROUNDS; round++) {
        reclaim_enter();
        change_one(model, OWN_SUBS, run->worker, &run->random);
        for (int i = 0; i < 3; i++) {
            char topic[RANDOM_TEXT_MAX];
            random_topic(&run->random, topic);
            run->wrong += wrong_matches(caches[run->worker], model, OWN_SUBS, run->worker, topic);
        }
        reclaim_leave();
    }
    for (int i = 0; i < OWN_SUBS; i++) {
        if (model[i].there) {
            sub_index_remove(&subs_index, run->worker, &model[i].sub);
        }
    }
    reclaim_thread_unregister();
    mem_free(model);
    return NULL;
}

static void workers_match_their_own_while_all_of_them_change_the_tree(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    struct worker_run runs[WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        runs[i] = (struct worker_run){.worker = i, .random = random_next(&random) | 1};
        assert_int_equal(pthread_create(&runs[i].thread, NULL, churn, &runs[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(runs[i].thread, NULL), 0);
        assert_int_equal(runs[i].wrong, 0);
    }
}

#define INDEX_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        INDEX_TEST(filters_match_as_the_specification_says),
        INDEX_TEST(wildcards_in_front_do_not_match_topics_that_start_with_a_dollar),
        INDEX_TEST(a_match_names_the_workers_that_have_subscribers),
        INDEX_TEST(a_subscription_knows_its_filter),
        INDEX_TEST(a_list_keeps_every_subscription_at_its_position),
        INDEX_TEST(distinct_filters_are_counted),
        INDEX_TEST(one_more_subscriber_of_a_worker_leaves_the_caches_valid),
        INDEX_TEST(topics_too_long_to_remember_match_as_well),
        INDEX_TEST(five_hundred_filters_on_one_topic_are_all_found),
        INDEX_TEST(topics_that_share_a_place_in_the_cache_do_not_mix),
        INDEX_TEST(random_subscriptions_match_what_a_list_of_filters_would),
        INDEX_TEST(workers_match_their_own_while_all_of_them_change_the_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
