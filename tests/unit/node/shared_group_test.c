#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "node/session.h"
#include "node/sub_index.h"
#include "tests/unit/node/index_support.h"

#define WORKERS 2

static struct sub_index subs_index;

struct member {
    struct subscription sub;
    struct session session; /* of which only the handle is used */
};

static int set_up(void **state)
{
    (void)state;
    reclaim_thread_register();
    sub_index_init(&subs_index, WORKERS);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reclaim_thread_unregister();
    reclaim_barrier();
    assert_int_equal(subs_index.trie.nodes, 0);
    assert_int_equal(sub_index_filters(&subs_index), 0);
    sub_index_fini(&subs_index);
    return 0;
}

static void join(struct member *member, uint64_t handle, const char *filter, const char *share,
                 bool connected)
{
    member->session.handle = handle;
    member->sub.session = &member->session;
    sub_index_add(&subs_index, 0, &member->sub, slice_text(filter), slice_text(share), connected);
}

static void leave(struct member *member)
{
    sub_index_remove(&subs_index, 0, &member->sub);
}

static struct share_group *find(const char *filter, const char *share)
{
    return share_group_find(&subs_index, slice_text(filter), slice_text(share));
}

/* The session that gets the next message, 0: nobody. In a read section. */
static uint64_t pick(struct share_group *group, uint64_t except)
{
    struct share_member picked;
    return share_group_pick(group, except, &picked) ? picked.session : 0;
}

static void connected_members_take_turns(void **state)
{
    (void)state;
    struct member members[3] = {{.sub = {.qos = 0}}};
    for (unsigned i = 0; i < 3; i++) {
        join(&members[i], i + 1, "jobs/+", "g", true);
    }
    unsigned times[4] = {0};
    reclaim_enter();
    struct share_group *group = find("jobs/+", "g");
    for (int i = 0; i < 30; i++) {
        times[pick(group, 0)]++;
    }
    reclaim_leave();
    assert_int_equal(times[1], 10);
    assert_int_equal(times[2], 10);
    assert_int_equal(times[3], 10);
    for (int i = 0; i < 3; i++) {
        leave(&members[i]);
    }
}

static void a_member_is_picked_with_the_options_of_its_subscription(void **state)
{
    (void)state;
    struct member member = {.sub = {.qos = 2, .id = 99, .retain_as_published = true}};
    join(&member, 7, "t", "g", true);
    reclaim_enter();
    struct share_member picked;
    assert_true(share_group_pick(find("t", "g"), 0, &picked));
    reclaim_leave();
    assert_int_equal(picked.session, 7);
    assert_int_equal(picked.id, 99);
    assert_int_equal(picked.qos, 2);
    assert_true(picked.retain_as_published);
    assert_true(picked.connected);
    leave(&member);
}

static void an_offline_member_gets_something_only_when_nobody_is_connected(void **state)
{
    (void)state;
    struct member members[2] = {{.sub = {.qos = 0}}};
    join(&members[0], 1, "t", "g", false);
    join(&members[1], 2, "t", "g", true);
    reclaim_enter();
    struct share_group *group = find("t", "g");
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pick(group, 0), 2);
    }
    share_group_set_connected(&members[1].sub, false);
    unsigned times[3] = {0};
    for (int i = 0; i < 10; i++) {
        times[pick(group, 0)]++;
    }
    assert_int_equal(times[1], 5);
    assert_int_equal(times[2], 5);
    share_group_set_connected(&members[0].sub, true);
    share_group_set_connected(&members[0].sub, true); /* twice is once */
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pick(group, 0), 1);
    }
    reclaim_leave();
    leave(&members[0]);
    leave(&members[1]);
}

static void the_excepted_session_is_passed_over(void **state)
{
    (void)state;
    struct member members[3] = {{.sub = {.qos = 0}}};
    join(&members[0], 1, "t", "g", true);
    reclaim_enter();
    assert_int_equal(pick(find("t", "g"), 1), 0);
    join(&members[1], 2, "t", "g", false);
    assert_int_equal(pick(find("t", "g"), 1), 2); /* better offline than the excepted one */
    join(&members[2], 3, "t", "g", true);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pick(find("t", "g"), 1), 3);
    }
    reclaim_leave();
    for (int i = 0; i < 3; i++) {
        leave(&members[i]);
    }
}

static void a_group_is_a_name_on_a_filter(void **state)
{
    (void)state;
    struct member members[4] = {{.sub = {.qos = 0}}};
    join(&members[0], 1, "t", "g", true);
    join(&members[1], 2, "t", "h", true);
    join(&members[2], 3, "t/+", "g", true);
    join(&members[3], 4, "t", "g", true);
    assert_int_equal(sub_index_filters(&subs_index), 3);
    assert_ptr_equal(members[0].sub.group, members[3].sub.group);
    assert_true(slice_equal(sub_index_share_name(&members[1].sub), slice_text("h")));
    char out[65536];
    assert_true(
        slice_equal(slice_of(out, sub_index_filter(&members[2].sub, out)), slice_text("t/+")));
    reclaim_enter();
    assert_ptr_equal(find("t", "g"), members[0].sub.group);
    assert_ptr_equal(find("t", "h"), members[1].sub.group);
    assert_ptr_equal(find("t/+", "g"), members[2].sub.group);
    assert_null(find("t", "i"));
    assert_null(find("u", "g"));
    assert_null(find("t/+/x", "g"));
    reclaim_leave();
    leave(&members[0]);
    reclaim_enter();
    assert_int_equal(pick(find("t", "g"), 0), 4);
    reclaim_leave();
    leave(&members[3]);
    reclaim_enter();
    assert_null(find("t", "g"));
    assert_int_equal(pick(find("t", "h"), 0), 2);
    reclaim_leave();
    leave(&members[1]);
    leave(&members[2]);
}

static void a_match_leads_to_every_group_on_its_nodes(void **state)
{
    (void)state;
    struct match_cache *cache = match_cache_create(&subs_index);
    struct member members[3] = {{.sub = {.qos = 0}}};
    struct subscription own = {.qos = 0};
    sub_index_add(&subs_index, 1, &own, slice_text("t"), slice_of(NULL, 0), true);
    reclaim_enter();
    assert_false(match_topic(cache, slice_text("t"))->shared);
    join(&members[0], 1, "t", "g", true);
    join(&members[1], 2, "t", "h", true);
    join(&members[2], 4, "+", "g", true);
    const struct match *match = match_topic(cache, slice_text("t"));
    assert_true(match->shared);
    assert_int_equal(match->workers, 2);
    assert_int_equal(match->count, 2);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < match->count; i++) {
        struct share_group *group = atomic_load(&match->nodes[i]->groups);
        for (; group != NULL; group = share_group_next(group)) {
            seen += pick(group, 0);
        }
    }
    assert_int_equal(seen, 7);
    reclaim_leave();
    for (int i = 0; i < 3; i++) {
        leave(&members[i]);
    }
    reclaim_enter();
    match = match_topic(cache, slice_text("t"));
    assert_false(match->shared);
    assert_int_equal(match->count, 1);
    reclaim_leave();
    sub_index_remove(&subs_index, 1, &own);
    match_cache_destroy(cache);
}

#define MEMBERS 200

static void random_comings_and_goings_agree_with_a_list_of_members(void **state)
{
    (void)state;
    static struct member members[MEMBERS];
    static bool there[MEMBERS];
    static bool connected[MEMBERS];
    memset(members, 0, sizeof(members));
    uint64_t random = random_seed();
    for (int round = 0; round < 3000; round++) {
        uint32_t i = random_below(&random, MEMBERS);
        bool online = random_below(&random, 2) == 0;
        if (!there[i]) {
            join(&members[i], i + 1, "t", "g", online);
            there[i] = true;
        } else if (random_below(&random, 2) == 0) {
            share_group_set_connected(&members[i].sub, online);
        } else {
            leave(&members[i]);
            there[i] = false;
        }
        connected[i] = there[i] && online;
        unsigned expected = 0;
        unsigned all = 0;
        for (uint32_t k = 0; k < MEMBERS; k++) {
            expected += connected[k];
            all += there[k];
        }
        bool any_connected = expected > 0;
        expected = any_connected ? expected : all;
        unsigned times[MEMBERS + 1] = {0};
        reclaim_enter();
        struct share_group *group = find("t", "g");
        for (unsigned k = 0; k < expected; k++) {
            times[pick(group, 0)]++;
        }
        reclaim_leave();
        for (uint32_t k = 0; k < MEMBERS; k++) {
            assert_int_equal(times[k + 1], any_connected ? connected[k] : there[k]);
        }
    }
    for (uint32_t i = 0; i < MEMBERS; i++) {
        if (there[i]) {
            leave(&members[i]);
        }
    }
}

/* A message on its way to a member keeps the group to look for another one. */
static void a_held_group_outlives_its_last_member(void **state)
{
    (void)state;
    struct member member = {.sub = {.qos = 0}};
    join(&member, 1, "t", "g", true);
    struct share_group *group = member.sub.group;
    reclaim_enter();
    share_group_hold(group);
    reclaim_leave();
    leave(&member);
    reclaim_barrier();
    reclaim_enter();
    assert_int_equal(pick(group, 0), 0);
    reclaim_leave();
    join(&member, 2, "t", "g", true); /* a new group of that name is another one */
    assert_ptr_not_equal(member.sub.group, group);
    reclaim_enter();
    assert_int_equal(pick(group, 0), 0);
    reclaim_leave();
    leave(&member);
    share_group_drop(group);
}

/* ---- readers meanwhile ----------------------------------------------------------------------- */

#define READERS 2
#define CHURN 8
#define CHANGES 10000

static _Atomic unsigned writers_left;

struct run {
    pthread_t thread;
    unsigned worker;
    uint64_t random;
    unsigned wrong;
};

static void *pick_members(void *arg)
{
    struct run *run = arg;
    struct match_cache *cache = match_cache_create(&subs_index);
    reclaim_thread_register();
    struct share_group *held = NULL;
    while (atomic_load(&writers_left) > 0) {
        reclaim_enter();
        struct share_group *group = find("t", "g");
        struct share_member picked;
        /* One member stays connected all the time: somebody must be found, among the known ones. */
        if (!share_group_pick(group, 0, &picked) || picked.session == 0 ||
            picked.session > 1 + WORKERS * CHURN || picked.id != picked.session) {
            run->wrong++;
        }
        run->wrong += !match_topic(cache, slice_text("t"))->shared;
        const struct match *match = match_topic(cache, slice_text("u"));
        for (uint32_t i = 0; i < match->count; i++) {
            group = atomic_load_explicit(&match->nodes[i]->groups, memory_order_acquire);
            if (group != NULL && share_group_pick(group, 0, &picked)) {
                run->wrong += picked.id != picked.session;
                share_group_hold(group);
                if (held != NULL) {
                    run->wrong += share_group_pick(held, 0, &picked) && picked.session == 0;
                    share_group_drop(held);
                }
                held = group;
            }
        }
        reclaim_leave();
    }
    reclaim_thread_unregister();
    if (held != NULL) {
        share_group_drop(held);
    }
    match_cache_destroy(cache);
    return NULL;
}

static void *come_and_go(void *arg)
{
    struct run *run = arg;
    struct member *members = mem_alloc_array(CHURN, sizeof(*members));
    reclaim_thread_register();
    for (int round = 0; round < CHANGES; round++) {
        uint32_t i = random_below(&run->random, CHURN);
        struct member *member = &members[i];
        bool online = random_below(&run->random, 2) == 0;
        if (member->sub.node == NULL) {
            member->session.handle = 2 + run->worker * CHURN + i;
            member->sub.session = &member->session;
            member->sub.id = (uint32_t)member->session.handle;
            /* The group on `u` ends and begins again now and then. */
            sub_index_add(&subs_index, run->worker, &member->sub,
                          slice_text(i < CHURN / 2 ? "t" : "u"), slice_text("g"), online);
        } else if (random_below(&run->random, 2) == 0) {
            share_group_set_connected(&member->sub, online);
        } else {
            sub_index_remove(&subs_index, run->worker, &member->sub);
        }
    }
    for (uint32_t i = 0; i < CHURN; i++) {
        if (members[i].sub.node != NULL) {
            sub_index_remove(&subs_index, run->worker, &members[i].sub);
        }
    }
    atomic_fetch_sub(&writers_left, 1);
    reclaim_thread_unregister();
    mem_free(members);
    return NULL;
}

static void picking_goes_on_while_members_come_and_go(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    struct member stays = {.sub = {.id = 1}};
    join(&stays, 1, "t", "g", true);
    atomic_store(&writers_left, WORKERS);
    struct run readers[READERS];
    struct run writers[WORKERS];
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct run){.worker = i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, pick_members, &readers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        writers[i] = (struct run){.worker = i, .random = random_next(&random) | 1};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, come_and_go, &writers[i]), 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
    }
    for (unsigned i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_int_equal(readers[i].wrong, 0);
    }
    leave(&stays);
}

#define GROUP_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GROUP_TEST(connected_members_take_turns),
        GROUP_TEST(a_member_is_picked_with_the_options_of_its_subscription),
        GROUP_TEST(an_offline_member_gets_something_only_when_nobody_is_connected),
        GROUP_TEST(the_excepted_session_is_passed_over),
        GROUP_TEST(a_group_is_a_name_on_a_filter),
        GROUP_TEST(a_match_leads_to_every_group_on_its_nodes),
        GROUP_TEST(a_held_group_outlives_its_last_member),
        GROUP_TEST(random_comings_and_goings_agree_with_a_list_of_members),
        GROUP_TEST(picking_goes_on_while_members_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
