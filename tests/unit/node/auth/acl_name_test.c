/* Rules with values of the client, and clients with strange ones. */
#include "node/auth/acl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/unit/node/auth/acl_support.h"

/* ---- strange names --------------------------------------------------------------------------- */

static void a_strange_client_id_gains_nothing_and_escapes_nothing(void **state)
{
    (void)state;
    static const char *const strange[] = {
        "",    "#",  "+",  "a/b", "/",    "a/",   "/a",      "a/#",
        "+/+", "x+", "#x", "//",  "../a", "a/%c", "b/own/#",
    };
    static const char *const topics[] = {"own/b", "own/a/b", "own/b/c", "own", "own/%c", "own/x"};
    for (size_t i = 0; i < ARRAY_COUNT(strange); i++) {
        struct acl_subject subject = {.client_id = slice_text(strange[i]),
                                      .username = slice_text(strange[i])};
        struct acl_view *view = acl_view_of("allow all all own/%c/#\n"
                                            "allow all all own/%c\n"
                                            "allow all all own/%u\n"
                                            "allow all all x%c/#\n",
                                            &subject);
        for (size_t t = 0; t < ARRAY_COUNT(topics); t++) {
            assert_false(acl_publishes(view, topics[t]));
            assert_false(acl_subscribes(view, topics[t]));
        }
        assert_false(acl_subscribes(view, "#"));
        assert_false(acl_subscribes(view, "own/#"));
        assert_false(acl_subscribes(view, "own/+"));
        acl_view_unref(view);

        view = acl_view_of("deny all all own/%c/secret\nallow all all #\n", &subject);
        char own[100];
        snprintf(own, sizeof(own), "own/%s/secret", strange[i]);
        assert_false(acl_publishes(view, own)); /* not even when it is spelled out */
        assert_false(acl_publishes(view, "own/b/secret"));
        assert_false(acl_subscribes(view, "own/b/secret"));
        assert_false(acl_subscribes(view, "own/+/secret"));
        assert_false(acl_subscribes(view, "own/#"));
        assert_true(acl_publishes(view, "other/b/secret"));
        assert_true(acl_publishes(view, "own"));
        acl_view_unref(view);
    }
}

static void values_with_percent_signs_are_only_text(void **state)
{
    (void)state;
    const struct acl_subject subject = {.client_id = slice_text("%u"),
                                        .username = slice_text("root")};
    struct acl_view *view = acl_view_of("allow all all d/%c\nallow all all 100%%/x%%c\n", &subject);
    assert_true(acl_publishes(view, "d/%u"));
    assert_false(acl_publishes(view, "d/root"));
    assert_true(acl_publishes(view, "100%/x%c"));
    assert_false(acl_publishes(view, "100%/x%u"));
    acl_view_unref(view);
}

static void a_value_can_stand_between_other_text(void **state)
{
    (void)state;
    const struct acl_subject subject = {
        .client_id = slice_text("7"),
        .username = slice_text("u"),
        .common_name = slice_text("cn"),
        .organization = slice_text("org"),
        .organizational_unit = slice_text("unit"),
    };
    struct acl_view *view = acl_view_of("allow all all dev-%c/up\n"
                                        "allow all all %C-x/%O/%U/<%u>\n",
                                        &subject);
    assert_true(acl_publishes(view, "dev-7/up"));
    assert_false(acl_publishes(view, "dev-/up"));
    assert_false(acl_publishes(view, "dev-77/up"));
    assert_false(acl_publishes(view, "xev-7/up"));
    assert_false(acl_publishes(view, "cn-y/org/unit/<u>"));
    assert_false(acl_publishes(view, "dev-%c/up"));
    assert_false(acl_publishes(view, "7/up"));
    assert_true(acl_publishes(view, "cn-x/org/unit/<u>"));
    assert_false(acl_publishes(view, "cn-x/org/unit/u"));
    acl_view_unref(view);
}

static void a_missing_value_makes_an_allowing_rule_silent_and_a_denying_one_general(void **state)
{
    (void)state;
    const struct acl_subject nobody = {.client_id = slice_text("c")};
    struct acl_view *view =
        acl_view_of("deny all all %u/keys\nallow all all %C/#\nallow all all a/#\n", &nobody);
    assert_false(acl_publishes(view, "a/keys"));
    assert_false(acl_publishes(view, "x/keys"));
    assert_false(acl_publishes(view, "x/y"));
    assert_true(acl_publishes(view, "a/y"));
    assert_false(acl_subscribes(view, "a/+"));
    assert_true(acl_subscribes(view, "a/y/#"));
    acl_view_unref(view);
}

static void a_name_that_begins_with_a_dollar_opens_no_system_topics(void **state)
{
    (void)state;
    const struct acl_subject subject = {.client_id = slice_text("$SYS"),
                                        .username = slice_text("SYS")};
    struct acl_view *view = acl_view_of("allow all all %c/#\nallow all all $x%u/#\n", &subject);
    assert_false(acl_publishes(view, "$SYS/a"));
    assert_false(acl_subscribes(view, "$SYS/#"));
    assert_false(acl_subscribes(view, "$SYS"));
    assert_true(acl_subscribes(view, "$xSYS/#")); /* the rule has the dollar */
    acl_view_unref(view);
    view = acl_view_of("deny all all %c/#\nallow all all $SYS/#\n", &subject);
    assert_false(acl_subscribes(view, "$SYS/#"));
    assert_false(acl_publishes(view, "$SYS/a"));
    acl_view_unref(view);
}

static void a_very_long_name_is_only_a_name(void **state)
{
    (void)state;
    size_t len = 65535;
    char *large = mem_alloc(len + 1);
    memset(large, 'n', len);
    struct acl_subject subject = {.client_id = slice_of(large, len)};
    struct acl_view *view =
        acl_view_of("allow all all %c\ndeny all all x/%c\nallow all all x/+\n", &subject);
    assert_true(acl_may_publish(view, slice_of(large, len)));
    assert_false(acl_may_publish(view, slice_of(large, len - 1)));
    assert_true(acl_publishes(view, "x/y"));
    acl_view_unref(view);
    subject.client_id.len = len + 1; /* longer than any level */
    view = acl_view_of("allow all all %c\ndeny all all x/%c\nallow all all x/+\n", &subject);
    assert_false(acl_may_publish(view, slice_of(large, len)));
    assert_false(acl_publishes(view, "x/y"));
    acl_view_unref(view);
    mem_free(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_strange_client_id_gains_nothing_and_escapes_nothing),
        cmocka_unit_test(values_with_percent_signs_are_only_text),
        cmocka_unit_test(a_value_can_stand_between_other_text),
        cmocka_unit_test(a_missing_value_makes_an_allowing_rule_silent_and_a_denying_one_general),
        cmocka_unit_test(a_name_that_begins_with_a_dollar_opens_no_system_topics),
        cmocka_unit_test(a_very_long_name_is_only_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
