/* Views: extra rules, fingerprints, caches, bounds, threads. */
#include "node/auth/acl.h"

#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/unit/node/auth/acl_support.h"

/* ---- views ----------------------------------------------------------------------------------- */

static void extra_rules_come_first(void **state)
{
    (void)state;
    const struct acl_subject subject = {.client_id = slice_text("c1"),
                                        .username = slice_text("alice")};
    struct acl_rules extra = acl_rules_of("deny all all a/secret\nallow all all mine/%c/#\n"
                                          "allow user bob all bob\n");
    struct acl *acl = acl_of("allow user alice all a/#\ndeny all all mine/c1/no\n", false);
    struct acl_view *view = acl_view_create(acl, &subject, &extra);
    acl_rules_fini(&extra);
    assert_true(acl_publishes(view, "a/x"));
    assert_false(acl_publishes(view, "a/secret"));
    assert_true(acl_publishes(view, "mine/c1/no"));
    assert_false(acl_publishes(view, "bob"));
    assert_false(acl_subscribes(view, "a/#"));
    assert_true(acl_subscribes(view, "a/x"));
    assert_true(acl_subscribes(view, "mine/c1/#"));

    acl_view_unref(view);
    acl_unref(acl);
}

static void a_fingerprint_changes_when_an_answer_can(void **state)
{
    (void)state;
    struct slice groups[] = {slice_text("g")};
    const struct acl_subject alice = {.client_id = slice_text("c"),
                                      .username = slice_text("alice")};
    struct acl_subject member = alice;
    member.groups = groups;
    member.group_count = 1;
    struct acl_subject other_id = alice;
    other_id.client_id = slice_text("d");
    struct acl_subject strange_id = alice;
    strange_id.client_id = slice_text("d/");
    struct acl_subject no_id = alice;
    no_id.client_id = slice_text("");
    static const char rules[] = "allow group g all g\nallow all all x/%c\ndeny all publish y\n";
    const struct acl_subject *const subjects[] = {&alice, &member, &other_id, &strange_id, &no_id};
    static const char *const others[] = {
        "allow group g all g\nallow all all x/%c\ndeny all all y\n",
        "allow group g all g\nallow all all x/%c\nallow all publish y\n",
        "allow group g all g\nallow all all x/%c\ndeny all publish z\n",
        "deny all publish y\nallow all all x/%c\nallow group g all g\n",
        "allow group g all g\nallow all all x/%c\ndeny all publish y\ndeny user alice all q\n",
    };
    uint64_t seen[16];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_COUNT(subjects); i++) {
        struct acl_view *view = acl_view_of(rules, subjects[i]);
        struct acl_view *again = acl_view_of(rules, subjects[i]);
        seen[count++] = acl_view_fingerprint(view);
        assert_int_equal(acl_view_fingerprint(view), acl_view_fingerprint(again));
        acl_view_unref(view);
        acl_view_unref(again);
    }
    for (size_t i = 0; i < ARRAY_COUNT(others); i++) {
        struct acl_view *view = acl_view_of(others[i], &alice);
        seen[count++] = acl_view_fingerprint(view);
        acl_view_unref(view);
    }
    struct acl *allowing = acl_of(rules, true);
    struct acl_view *view = acl_view_create(allowing, &alice, NULL);
    seen[count++] = acl_view_fingerprint(view);
    acl_view_unref(view);
    struct acl_rules extra = acl_rules_of("allow all all e\n");
    view = acl_view_create(allowing, &alice, &extra);
    seen[count++] = acl_view_fingerprint(view);
    acl_view_unref(view);
    acl_rules_fini(&extra);
    acl_unref(allowing);
    for (size_t i = 0; i < count; i++) {
        assert_int_not_equal(seen[i], 0);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(seen[i], seen[j]);
        }
    }
}

static void rules_of_other_users_leave_the_fingerprint_alone(void **state)
{
    (void)state;
    const struct acl_subject alice = {.username = slice_text("alice")};
    struct acl_view *one = acl_view_of("allow user alice all a\n", &alice);
    struct acl_view *two = acl_view_of("allow user alice all a\nallow user bob all #\n", &alice);
    assert_int_equal(acl_view_fingerprint(one), acl_view_fingerprint(two));
    acl_view_unref(one);
    acl_view_unref(two);
}

static void a_view_holds_only_the_values_that_its_rules_ask_for(void **state)
{
    (void)state;
    char large[5000];
    memset(large, 'u', sizeof(large));
    const struct acl_subject subject = {.client_id = slice_text("c1"),
                                        .username = slice_of(large, sizeof(large))};
    struct acl_view *view = acl_view_of("allow all all %c/#\nallow user bob all %u/#\n", &subject);
    assert_in_range(malloc_usable_size(view), 1, 100);
    acl_view_unref(view);
}

static void the_cache_answers_as_the_view_does(void **state)
{
    (void)state;
    const struct acl_subject nobody = {.group_count = 0};
    struct acl_view *view = acl_view_of("deny all publish t/+/7\nallow all publish t/#\n", &nobody);
    struct acl_cache cache = {.topics = {0}};
    for (unsigned round = 0; round < 4000; round++) {
        char topic[40];
        snprintf(topic, sizeof(topic), "%s/%u/%u", round % 3 == 0 ? "t" : "u", round % 5,
                 round % (round < 2000 ? 8 : 40));
        bool wanted = acl_publishes(view, topic);
        assert_int_equal(acl_cache_may_publish(&cache, view, slice_text(topic)), wanted);
        assert_int_equal(acl_cache_may_publish(&cache, view, slice_text(topic)), wanted);
    }
    acl_view_unref(view);
}

/* Eight topics in turn are all in the cache: another view's answers are not asked for. */
static void the_cache_keeps_eight_topics(void **state)
{
    (void)state;
    const struct acl_subject nobody = {.group_count = 0};
    struct acl_view *open = acl_view_of("allow all publish #\n", &nobody);
    struct acl_view *closed = acl_view_of("deny all publish #\n", &nobody);
    struct acl_cache cache = {.topics = {0}};
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < ACL_CACHE_SIZE; i++) {
            char topic[20];
            snprintf(topic, sizeof(topic), "topic/%u", i);
            assert_true(
                acl_cache_may_publish(&cache, round == 0 ? open : closed, slice_text(topic)));
        }
    }
    acl_view_unref(open);
    acl_view_unref(closed);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

/* Rules that fork at each level: refused in bounded time, not searched for ever. */
static void a_search_that_takes_too_long_is_a_refusal(void **state)
{
    (void)state;
    struct acl_rules rules = {.count = 0};
    for (unsigned bits = 0; bits < 1u << 15; bits++) {
        char filter[64] = "";
        for (unsigned i = 0; i < 15; i++) {
            strcat(filter, (bits & BIT(i)) != 0 ? "a/" : "+/");
        }
        strcat(filter, "z");
        struct acl_rule rule = {.action = ACL_ALL, .filter = slice_text(filter)};
        assert_int_equal(acl_rules_add(&rules, &rule), ERR_OK);
    }
    const struct acl_subject nobody = {.group_count = 0};
    struct acl *acl = acl_create(&rules, true);
    struct acl_view *view = acl_view_create(acl, &nobody, NULL);
    assert_false(acl_publishes(view, "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/y"));
    assert_true(acl_publishes(view, "b/b/b/b/b/b/b/b/b/b/b/b/b/b/b/y"));
    acl_view_unref(view);
    acl_unref(acl);
    acl_rules_fini(&rules);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS 4

struct shared {
    struct acl *acl;
    struct acl_view *view;
};

static void *ask_much(void *user)
{
    struct shared *shared = user;
    const struct acl_subject subject = {.client_id = slice_text("c1")};
    struct acl_cache cache = {.topics = {0}};
    unsigned wrong = 0;
    for (unsigned i = 0; i < 2000; i++) {
        acl_view_ref(shared->view);
        wrong += !acl_cache_may_publish(&cache, shared->view, slice_text("d/c1/up"));
        wrong += !acl_subscribes(shared->view, "d/c1/#");
        wrong += acl_subscribes(shared->view, "d/#");
        acl_view_unref(shared->view);
        struct acl_view *own = acl_view_create(shared->acl, &subject, NULL);
        wrong += !acl_publishes(own, "d/c1/up");
        acl_view_unref(own);
    }
    acl_view_unref(shared->view);
    return wrong == 0 ? NULL : shared;
}

static void threads_share_views(void **state)
{
    (void)state;
    const struct acl_subject subject = {.client_id = slice_text("c1")};
    struct acl_rules extra = acl_rules_of("deny all all d/c2/#\n");
    struct shared shared = {.acl = acl_of("allow all all d/%c/#\n", false)};
    shared.view = acl_view_create(shared.acl, &subject, &extra);
    acl_rules_fini(&extra);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        acl_view_ref(shared.view);
        assert_int_equal(pthread_create(&threads[i], NULL, ask_much, &shared), 0);
    }
    acl_view_unref(shared.view); /* the last thread ends it */
    for (unsigned i = 0; i < THREADS; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    acl_unref(shared.acl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extra_rules_come_first),
        cmocka_unit_test(a_fingerprint_changes_when_an_answer_can),
        cmocka_unit_test(rules_of_other_users_leave_the_fingerprint_alone),
        cmocka_unit_test(a_view_holds_only_the_values_that_its_rules_ask_for),
        cmocka_unit_test(the_cache_answers_as_the_view_does),
        cmocka_unit_test(the_cache_keeps_eight_topics),
        cmocka_unit_test(a_search_that_takes_too_long_is_a_refusal),
        cmocka_unit_test(threads_share_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
