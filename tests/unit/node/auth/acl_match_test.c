/* Searches in compiled rules against a model that tries every topic of a small world. */
#include "node/auth/acl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/unit/node/auth/acl_model_support.h"

static int set_up(void **state)
{
    *state = model_create();
    return 0;
}

static int tear_down(void **state)
{
    model_destroy(*state);
    return 0;
}

/* Asks for everything in the world; `round` names the rules when something differs. */
static void assert_as_model(struct model *model, const struct acl_subject *subject,
                            const struct acl_rules *rules, bool default_allow, unsigned round)
{
    struct acl *acl = acl_create(rules, default_allow);
    struct acl_view *view = acl_view_create(acl, subject, NULL);
    assert_non_null(view);
    model_set_rules(model, subject, rules, default_allow);
    for (size_t t = 0; t < model_topic_count(model); t++) {
        struct slice topic = model_topic(model, t);
        if (acl_may_publish(view, topic) != model_may(model, ACL_PUBLISH, t) ||
            acl_may_receive(view, topic) != model_may(model, ACL_SUBSCRIBE, t)) {
            fail_msg("round %u: topic %.*s", round, (int)topic.len, (const char *)topic.data);
        }
    }
    for (size_t f = 0; f < model_filter_count(model); f++) {
        struct slice filter = model_filter(model, f);
        if (acl_may_subscribe(view, filter) != model_may_subscribe(model, f)) {
            fail_msg("round %u: filter %.*s", round, (int)filter.len, (const char *)filter.data);
        }
    }
    acl_view_unref(view);
    acl_unref(acl);
}

/* Each filter as the one rule, allowing and denying, against each filter and topic. */
static void one_rule_covers_overlaps_and_matches_what_the_model_says(void **state)
{
    struct model *model = *state;
    const struct acl_subject nobody = {.group_count = 0};
    for (size_t f = 0; f < model_filter_count(model); f++) {
        struct acl_rule rule = {.action = ACL_ALL, .filter = model_filter(model, f)};
        for (unsigned deny = 0; deny < 2; deny++) {
            struct acl_rules rules = {.count = 0};
            rule.permission = deny ? ACL_DENY : ACL_ALLOW;
            assert_int_equal(acl_rules_add(&rules, &rule), ERR_OK);
            assert_as_model(model, &nobody, &rules, deny != 0, (unsigned)f);
            acl_rules_fini(&rules);
        }
    }
}

/* With these names each level of a rule is one of the world's texts, or not usable. */
static const char *const rule_levels[] = {"a", "b",    "",   "$s",  "%c",  "%u-a",
                                          "+", "p-%c", "%C", "p-a", "p-b", "+"};
static const char *const names[] = {"a", "b", "$s", "a/b", "+", "#", "", "$s/a", "a#", "/"};
static const char *const usernames[] = {"p", "", "p", "a/b", "+", "p#", "$s/"};

static struct slice random_name(uint64_t *seed)
{
    return slice_text(names[model_random(seed, ARRAY_COUNT(names))]);
}

static struct slice random_username(uint64_t *seed)
{
    return slice_text(usernames[model_random(seed, ARRAY_COUNT(usernames))]);
}

static void add_random_rule(struct acl_rules *rules, uint64_t *seed)
{
    char filter[64] = "";
    unsigned levels = 1 + model_random(seed, 3);
    for (unsigned i = 0; i < levels; i++) {
        const char *level = rule_levels[model_random(seed, ARRAY_COUNT(rule_levels))];
        bool last_hash = i + 1 == levels && model_random(seed, 3) == 0;
        strcat(filter, i > 0 ? "/" : "");
        strcat(filter, last_hash ? "#" : level);
    }
    struct acl_rule rule = {
        .permission = model_random(seed, 2) == 0 ? ACL_ALLOW : ACL_DENY,
        .action = (enum acl_action)model_random(seed, 3),
        .filter = slice_text(filter),
    };
    switch (model_random(seed, 8)) {
    case 0:
        rule.username = random_username(seed);
        break;
    case 1:
        rule.group = slice_text(model_random(seed, 2) == 0 ? "g" : "h");
        break;
    case 2:
        rule.anonymous = true;
        break;
    case 3:
        rule.group = slice_text("g");
        rule.username = random_username(seed);
        break;
    }
    if (filter[0] != '\0') {
        assert_int_equal(acl_rules_add(rules, &rule), ERR_OK);
    }
}

/* Many kinds of rules and strange clients. ACL_SEED chooses another sequence. */
static void random_rules_answer_as_the_model_says(void **state)
{
    const char *given = getenv("ACL_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 20;
    const char *given_rounds = getenv("ACL_ROUNDS");
    unsigned rounds = given_rounds != NULL ? (unsigned)atoi(given_rounds) : 400;
    print_message("ACL_SEED=%llu\n", (unsigned long long)seed);
    for (unsigned round = 0; round < rounds; round++) {
        struct acl_rules rules = {.count = 0};
        unsigned count = 1 + model_random(&seed, 10);
        while (rules.count < count) {
            add_random_rule(&rules, &seed);
        }
        struct slice groups[] = {slice_text("g"), slice_text("h")};
        struct acl_subject subject = {
            .client_id = random_name(&seed),
            .username = random_username(&seed),
            .common_name = random_name(&seed),
            .groups = groups,
            .group_count = model_random(&seed, 3),
        };
        assert_as_model(*state, &subject, &rules, model_random(&seed, 2) == 0, round);
        acl_rules_fini(&rules);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rule_covers_overlaps_and_matches_what_the_model_says),
        cmocka_unit_test(random_rules_answer_as_the_model_says),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
