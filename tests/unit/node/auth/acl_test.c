/* Rules: whom they concern, which decides, what they cover. */
#include "node/auth/acl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/unit/node/auth/acl_support.h"

/* ---- who is concerned ------------------------------------------------------------------------ */

static void rules_of_others_do_not_count(void **state)
{
    (void)state;
    static const char rules[] = "allow user alice all a\n"
                                "allow user bob all b\n"
                                "allow group g all g\n"
                                "allow anonymous all n\n"
                                "allow all all e\n";
    struct slice groups[] = {slice_text("g"), slice_text("")};
    const struct {
        struct acl_subject subject;
        const char *allowed;
    } cases[] = {
        {{.username = slice_text("alice")}, "ae"},
        {{.username = slice_text("bob"), .groups = groups, .group_count = 2}, "bge"},
        {{.username = slice_text("g")}, "e"},
        {{.username = slice_text("ALICE")}, "e"},
        {{.username = slice_of("alice\0", 6)}, "e"},
        {{.group_count = 0}, "ne"},
        {{.groups = groups, .group_count = 1}, "gne"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct acl_view *view = acl_view_of(rules, &cases[i].subject);
        for (const char *topic = "abgne"; *topic != '\0'; topic++) {
            char name[2] = {*topic, '\0'};
            bool wanted = strchr(cases[i].allowed, *topic) != NULL;
            assert_int_equal(acl_publishes(view, name), wanted);
            assert_int_equal(acl_subscribes(view, name), wanted);
        }
        acl_view_unref(view);
    }
}

static void the_first_rule_that_fits_decides_across_users_groups_and_everybody(void **state)
{
    (void)state;
    struct slice groups[] = {slice_text("g")};
    const struct acl_subject alice = {
        .username = slice_text("alice"), .groups = groups, .group_count = 1};
    static const struct {
        const char *rules;
        bool wanted;
    } cases[] = {
        {"deny all all x\nallow user alice all x\n", false},
        {"allow user alice all x\ndeny all all x\n", true},
        {"deny group g all +\nallow user alice all x\nallow all all #\n", false},
        {"allow group g all #\ndeny user alice all x\n", true},
        {"deny all publish y\nallow all all #\n", true},
        {"deny user bob all #\nallow all all x\n", true},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct acl_view *view = acl_view_of(cases[i].rules, &alice);
        assert_int_equal(acl_publishes(view, "x"), cases[i].wanted);
        assert_int_equal(acl_subscribes(view, "x"), cases[i].wanted);
        acl_view_unref(view);
    }
}

static void a_rule_for_publishing_says_nothing_about_subscribing(void **state)
{
    (void)state;
    const struct acl_subject nobody = {.group_count = 0};
    struct acl_view *view = acl_view_of("allow all publish p\nallow all subscribe s\n", &nobody);
    assert_true(acl_publishes(view, "p"));
    assert_false(acl_subscribes(view, "p"));
    assert_false(acl_may_receive(view, slice_text("p")));
    assert_false(acl_publishes(view, "s"));
    assert_true(acl_subscribes(view, "s"));
    assert_true(acl_may_receive(view, slice_text("s")));
    acl_view_unref(view);
}

static void where_no_rule_fits_the_default_holds(void **state)
{
    (void)state;
    const struct acl_subject nobody = {.group_count = 0};
    struct acl *acl = acl_of("deny all all secret/#\n", true);
    struct acl_view *view = acl_view_create(acl, &nobody, NULL);
    assert_true(acl_publishes(view, "a"));
    assert_true(acl_subscribes(view, "a/#"));
    assert_false(acl_publishes(view, "secret/a"));
    assert_false(acl_subscribes(view, "#")); /* some of it is denied */
    assert_false(acl_subscribes(view, "+/a"));
    acl_view_unref(view);
    acl_unref(acl);
}

static void without_any_rule_everything_is_denied(void **state)
{
    (void)state;
    const struct acl_subject nobody = {.group_count = 0};
    const struct acl_rules none = {.count = 0};
    struct acl *acl = acl_create(&none, false);
    struct acl_view *view = acl_view_create(acl, &nobody, &none);
    assert_false(acl_publishes(view, "a"));
    assert_false(acl_subscribes(view, "a"));
    assert_false(acl_subscribes(view, "#"));
    acl_view_unref(view);
    acl_unref(acl);
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static void a_filter_must_be_covered_as_a_whole(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        const char *filter;
        bool wanted;
    } cases[] = {
        {"a/#", "a/b/+", true},   {"a/#", "a/+", true},   {"a/#", "a", true},
        {"a/#", "a/#", true},     {"a/#", "#", false},    {"a/#", "+", false},
        {"+/b", "a/b", true},     {"+/b", "a/#", false},  {"+/b", "+/b", true},
        {"#", "$SYS/#", false},   {"#", "$SYS/a", false}, {"$SYS/#", "$SYS/+/x", true},
        {"+/#", "#", true},       {"a/+", "a/#", false},  {"a/+/#", "a/#", false},
        {"a", "a/#", false},      {"a/b", "a/+", false},  {"#", "#", true},
        {"#", "+/a/#", true},     {"+/+", "+/#", false},  {"$SYS/+/a", "$SYS/b/a", true},
        {"+/#", "$SYS/a", false},
    };
    const struct acl_subject nobody = {.group_count = 0};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char rule[100];
        snprintf(rule, sizeof(rule), "allow all subscribe %s\n", cases[i].rule);
        struct acl_view *view = acl_view_of(rule, &nobody);
        if (acl_subscribes(view, cases[i].filter) != cases[i].wanted) {
            fail_msg("%s covers %s?", cases[i].rule, cases[i].filter);
        }
        acl_view_unref(view);
    }
}

static void an_earlier_denying_rule_that_overlaps_refuses_the_filter(void **state)
{
    (void)state;
    const struct acl_subject nobody = {.group_count = 0};
    struct acl_view *view = acl_view_of("allow all subscribe plant/open/#\n"
                                        "deny all subscribe plant/+/secret\n"
                                        "allow all subscribe plant/#\n",
                                        &nobody);
    assert_true(acl_subscribes(view, "plant/open/#"));
    assert_true(acl_subscribes(view, "plant/open/secret"));
    assert_false(acl_subscribes(view, "plant/#"));
    assert_false(acl_subscribes(view, "plant/1/+"));
    assert_false(acl_subscribes(view, "plant/+/secret"));
    assert_true(acl_subscribes(view, "plant/1/temp"));
    assert_true(acl_subscribes(view, "plant/+/temp"));
    assert_true(acl_subscribes(view, "plant/+/secret/deep"));
    acl_view_unref(view);
}

static void a_later_denying_rule_refuses_nothing(void **state)
{
    (void)state;
    const struct acl_subject nobody = {.group_count = 0};
    struct acl_view *view = acl_view_of("deny all subscribe a/secret\n"
                                        "allow all subscribe #\n"
                                        "deny all subscribe a/#\n"
                                        "deny all subscribe a/+/x\n"
                                        "deny all subscribe a/b\n",
                                        &nobody);
    assert_true(acl_subscribes(view, "a/b"));
    assert_true(acl_subscribes(view, "a/b/x"));
    assert_true(acl_subscribes(view, "a/+/x"));
    assert_true(acl_subscribes(view, "a/b/#"));
    assert_false(acl_subscribes(view, "a/+"));
    assert_false(acl_subscribes(view, "a/#"));
    acl_view_unref(view);
}

static void what_is_no_topic_or_filter_is_refused(void **state)
{
    (void)state;
    static const struct slice bad[] = {
        {.data = (const uint8_t *)"", .len = 0},
        {.data = (const uint8_t *)"a/#/b", .len = 5},
        {.data = (const uint8_t *)"a+", .len = 2},
        {.data = (const uint8_t *)"$share/g/a", .len = 10},
        {.data = (const uint8_t *)"$share", .len = 6},
        {.data = (const uint8_t *)"a\xff", .len = 2},
        {.data = (const uint8_t *)"a\0b", .len = 3},
    };
    const struct acl_subject nobody = {.group_count = 0};
    struct acl *acl = acl_of("allow all all #\n", true);
    struct acl_view *view = acl_view_create(acl, &nobody, NULL);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        assert_false(acl_may_subscribe(view, bad[i]));
    }
    assert_false(acl_publishes(view, ""));
    assert_false(acl_publishes(view, "a/+"));
    assert_false(acl_publishes(view, "#"));
    size_t len = 65536;
    char *large = mem_alloc(len);
    memset(large, 'a', len);
    assert_false(acl_may_publish(view, slice_of(large, len)));
    assert_false(acl_may_subscribe(view, slice_of(large, len)));
    assert_true(acl_may_publish(view, slice_of(large, len - 1)));
    assert_true(acl_may_subscribe(view, slice_of(large, len - 1)));
    mem_free(large);
    acl_view_unref(view);
    acl_unref(acl);
}

/* ---- rules of the list ----------------------------------------------------------------------- */

static void filters_that_can_not_be_meant_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",     "a/#/b", "a+",         "+a",  "##",    "a/b#",  "%",   "%x",          "a%",
        "%c%u", "%u-%c", "$share/g/a", "%c+", "%C/%d", "a\xff", "%%%", "$share/%c/#",
    };
    static const char *const good[] = {"%c/%u",  "%%", "%%c", "$SYS/#",
                                       "$share", "#",  "/",   "%c/+/#"};
    struct acl_rules rules = {.count = 0};
    struct acl_rule rule = {.action = ACL_ALL};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        rule.filter = slice_text(bad[i]);
        if (acl_filter_complaint(rule.filter) == NULL) {
            fail_msg("%s is taken", bad[i]);
        }
        assert_int_equal(acl_rules_add(&rules, &rule), ERR_SYNTAX);
    }
    assert_int_equal(rules.count, 0);
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        rule.filter = slice_text(good[i]);
        bool taken = strcmp(good[i], "$share") != 0;
        assert_int_equal(acl_filter_complaint(rule.filter) == NULL, taken);
        assert_int_equal(acl_rules_add(&rules, &rule), taken ? ERR_OK : ERR_SYNTAX);
    }
    rule.anonymous = true;
    rule.username = slice_text("u");
    assert_int_equal(acl_rules_add(&rules, &rule), ERR_SYNTAX);
    acl_rules_fini(&rules);
}

static void a_filter_may_have_256_levels(void **state)
{
    (void)state;
    char levels[2 * ACL_LEVELS_MAX + 2];
    for (size_t i = 0; i < sizeof(levels); i++) {
        levels[i] = i % 2 == 0 ? '+' : '/';
    }
    struct acl_rules rules = {.count = 0};
    struct acl_rule rule = {.action = ACL_ALL};
    rule.filter = slice_of(levels, 2 * ACL_LEVELS_MAX + 1);
    assert_int_equal(acl_rules_add(&rules, &rule), ERR_SYNTAX);
    rule.filter = slice_of(levels, 2 * ACL_LEVELS_MAX - 1);
    assert_int_equal(acl_rules_add(&rules, &rule), ERR_OK);
    const struct acl_subject nobody = {.group_count = 0};
    struct acl *acl = acl_create(&rules, false);
    struct acl_view *view = acl_view_create(acl, &nobody, NULL);
    assert_true(acl_may_subscribe(view, rule.filter));
    for (size_t i = 0; i < sizeof(levels); i += 2) {
        levels[i] = 'x';
    }
    assert_true(acl_may_publish(view, slice_of(levels, 2 * ACL_LEVELS_MAX - 1)));
    assert_false(acl_may_publish(view, slice_of(levels, 2 * ACL_LEVELS_MAX - 3)));
    assert_false(acl_may_publish(view, slice_of(levels, 2 * ACL_LEVELS_MAX + 1)));
    acl_view_unref(view);
    acl_unref(acl);
    acl_rules_fini(&rules);
}

static void rules_are_copies(void **state)
{
    (void)state;
    char filter[] = "a/b";
    char name[] = "bob";
    struct acl_rules rules = {.count = 0};
    struct acl_rule rule = {
        .action = ACL_ALL, .username = slice_text(name), .filter = slice_text(filter)};
    assert_int_equal(acl_rules_add(&rules, &rule), ERR_OK);
    memset(filter, 'x', 3);
    memset(name, 'x', 3);
    assert_true(slice_equal(rules.items[0].filter, slice_text("a/b")));
    assert_true(slice_equal(rules.items[0].username, slice_text("bob")));
    acl_rules_fini(&rules);
    assert_int_equal(rules.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_of_others_do_not_count),
        cmocka_unit_test(the_first_rule_that_fits_decides_across_users_groups_and_everybody),
        cmocka_unit_test(a_rule_for_publishing_says_nothing_about_subscribing),
        cmocka_unit_test(where_no_rule_fits_the_default_holds),
        cmocka_unit_test(without_any_rule_everything_is_denied),
        cmocka_unit_test(a_filter_must_be_covered_as_a_whole),
        cmocka_unit_test(an_earlier_denying_rule_that_overlaps_refuses_the_filter),
        cmocka_unit_test(a_later_denying_rule_refuses_nothing),
        cmocka_unit_test(what_is_no_topic_or_filter_is_refused),
        cmocka_unit_test(filters_that_can_not_be_meant_are_refused),
        cmocka_unit_test(a_filter_may_have_256_levels),
        cmocka_unit_test(rules_are_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
