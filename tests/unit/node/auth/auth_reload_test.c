#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/log.h"
#include "node/auth/auth.h"
#include "node/auth/password.h"
#include "tests/unit/node/auth/auth_rig_support.h"

static struct auth *auth;
static const struct acl_subject subject = {.client_id = {(const uint8_t *)"client", 6}};

static int start(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    auth = rig_start(&settings);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(auth);
    rig_remove_files();
    return 0;
}

static void reload(const struct auth_settings *settings)
{
    struct text error = {0};
    if (auth_reload(auth, settings, &error) != ERR_OK) {
        fail_msg("%s", error.data);
    }
    text_fini(&error);
}

static struct auth_identity *identity_of(const char *username, const char *password)
{
    struct auth_request request = rig_request(username, password, 1);
    struct heard heard = rig_hear(auth, &request);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    return heard.identity;
}

static void a_user_that_is_unchanged_gets_its_new_groups_and_rules(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    const struct auth_user user = {"alice", "wonderland", "guests"};
    struct auth_identity *before = identity_of("alice", "wonderland");
    assert_true(acl_may_publish(before->view, slice_text("a/b")));
    settings.users = &user;
    settings.default_allow = false;
    reload(&settings);
    struct auth_identity *after = auth_refresh(auth, before, &subject);
    assert_non_null(after);
    assert_true(slice_equal(after->groups_text, slice_text("guests")));
    assert_false(acl_may_publish(after->view, slice_text("a/b")));
    assert_true(acl_may_publish(before->view, slice_text("a/b")));
    auth_identity_unref(after);
    auth_identity_unref(before);
}

static void a_user_that_is_gone_or_has_another_password_is_not_known_any_more(void **state)
{
    (void)state;
    const struct auth_user changed[] = {{"alice", "looking-glass", "readers,writers"}};
    const struct auth_user gone[] = {{"bob", "wonderland", ""}};
    const struct auth_user *const lists[] = {changed, gone};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        struct auth_settings settings = rig_settings();
        reload(&settings);
        struct auth_identity *identity = identity_of("alice", "wonderland");
        settings.users = lists[i];
        reload(&settings);
        assert_null(auth_refresh(auth, identity, &subject));
        auth_identity_unref(identity);
        struct auth_request request = rig_request("alice", "wonderland", 1);
        assert_int_equal(rig_ask(auth, &request), AUTH_DENIED);
    }
}

static void who_is_anonymous_stays_only_as_long_as_that_is_allowed(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    settings.allow_anonymous = true;
    reload(&settings);
    struct auth_identity *identity = identity_of(NULL, NULL);
    struct auth_identity *same = auth_refresh(auth, identity, &subject);
    assert_non_null(same);
    auth_identity_unref(same);
    settings.allow_anonymous = false;
    reload(&settings);
    assert_null(auth_refresh(auth, identity, &subject));
    auth_identity_unref(identity);
}

static void a_provider_that_is_not_asked_any_more_takes_its_clients_along(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    settings.chain[0] = AUTH_CERTIFICATE;
    reload(&settings);
    struct auth_request request = rig_request(NULL, NULL, 1);
    request.certificate_identity = slice_text("device");
    struct heard heard = rig_hear(auth, &request);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    settings = rig_settings();
    reload(&settings);
    assert_null(auth_refresh(auth, heard.identity, &subject));
    auth_identity_unref(heard.identity);
}

static void a_reload_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    struct text error = {0};
    struct auth_identity *identity = identity_of("alice", "wonderland");
    settings.password_file = rig_write_file("users", "bob:no-hash\n");
    settings.chain[0] = AUTH_PASSWORD_FILE;
    assert_int_not_equal(auth_reload(auth, &settings, &error), ERR_OK);
    assert_non_null(strstr(error.data, "users:1:"));
    text_fini(&error);
    struct auth_identity *same = auth_refresh(auth, identity, &subject);
    assert_non_null(same);
    auth_identity_unref(same);
    auth_identity_unref(identity);
    auth_identity_unref(identity_of("alice", "wonderland"));
}

/* A hash that takes long enough for a reload to come in between. */
static void an_attempt_that_began_before_is_judged_by_the_new_rules(void **state)
{
    (void)state;
    struct password_hash hash;
    struct text text = {0};
    struct auth_settings settings = rig_settings();
    assert_int_equal(password_make(PASSWORD_PBKDF2, 400000, slice_text("builder"), &hash), ERR_OK);
    password_print(&hash, &text);
    const struct auth_user slow[] = {{"bob", text.data, ""}};
    settings.users = slow;
    reload(&settings);
    struct auth_request request = rig_request("bob", "builder", 1);
    struct rig_client *client = rig_begin(auth, &request);
    if (!rig_answered(client, 20)) {
        settings = rig_settings();
        reload(&settings);
        assert_int_equal(rig_wait(client).verdict, AUTH_DENIED);
    }
    rig_end(client);
    text_fini(&text);
}

static void after_the_end_an_identity_stays_as_it_is(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    struct text error = {0};
    struct auth_identity *identity = identity_of("alice", "wonderland");
    auth_stop(auth);
    assert_int_equal(auth_reload(auth, &settings, &error), ERR_STOPPED);
    text_fini(&error);
    struct auth_identity *same = auth_refresh(auth, identity, &subject);
    assert_ptr_equal(same, identity);
    auth_identity_unref(same);
    auth_identity_unref(identity);
}

int main(void)
{
    hash_seed_init();
    assert_int_equal(log_set_filter("error"), ERR_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_user_that_is_unchanged_gets_its_new_groups_and_rules,
                                        start, stop),
        cmocka_unit_test_setup_teardown(
            a_user_that_is_gone_or_has_another_password_is_not_known_any_more, start, stop),
        cmocka_unit_test_setup_teardown(who_is_anonymous_stays_only_as_long_as_that_is_allowed,
                                        start, stop),
        cmocka_unit_test_setup_teardown(
            a_provider_that_is_not_asked_any_more_takes_its_clients_along, start, stop),
        cmocka_unit_test_setup_teardown(a_reload_that_fails_changes_nothing, start, stop),
        cmocka_unit_test_setup_teardown(an_attempt_that_began_before_is_judged_by_the_new_rules,
                                        start, stop),
        cmocka_unit_test_setup_teardown(after_the_end_an_identity_stays_as_it_is, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
