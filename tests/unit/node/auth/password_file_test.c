#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/log.h"
#include "node/auth/user_store_priv.h"
#include "tests/unit/node/auth/auth_rig_support.h"

/* The password of both is "builder". */
#define HASH6                                                                                      \
    "$6$9BGh/vdopaOtB8Rb$UGux9l+VrRD0zKOYo+Hhn41/ZnPvwEJKqxF/OPQIg+txry2rjJJLJRxC7z2k4CuZc1z8WnI8" \
    "SWPZApnSRjTwDw=="
#define HASH7                                                                                      \
    "$7$101$oYZ0M5w149mE/agN$t61tpMd3GmRE9/yqYl3forqUrV8F7aQAGiSN/JxcaUvwz2d0V7MExzqVq8rGcJDMecuQ" \
    "dfGyM/IjyvONm9It1Q=="

static struct user_store *read_text(const char *text)
{
    struct user_store *store = NULL;
    struct text error = {0};
    if (user_store_create_text(slice_text(text), "users", &store, &error) != ERR_OK) {
        fail_msg("%s", error.data);
    }
    return store;
}

static void refused(struct slice text, const char *because)
{
    struct user_store *store = NULL;
    struct text error = {0};
    assert_int_not_equal(user_store_create_text(text, "users", &store, &error), ERR_OK);
    assert_null(store);
    if (strstr(error.data, because) == NULL) {
        fail_msg("'%s' is not in '%s'", because, error.data);
    }
    assert_null(strstr(error.data, "builder"));
    text_fini(&error);
}

static void users_comments_groups_and_line_ends_are_read(void **state)
{
    (void)state;
    struct user_store *store =
        read_text("# people\n\n  \t\nbob:" HASH7 "\nalice:" HASH6 ":admins,devices\r\n"
                  "na me/\xc3\xa9:" HASH6 ":\nlast:" HASH6);
    assert_int_equal(user_store_count(store), 4);
    const struct stored_user *alice = user_store_find(store, slice_text("alice"));
    assert_non_null(alice);
    assert_true(slice_equal(alice->groups, slice_text("admins,devices")));
    assert_true(password_hash_fits(&alice->hash, slice_text("builder")));
    assert_null(alice->scram);
    assert_non_null(user_store_find(store, slice_text("na me/\xc3\xa9")));
    assert_non_null(user_store_find(store, slice_text("last")));
    assert_null(user_store_find(store, slice_text("Alice")));
    assert_null(user_store_find(store, slice_text("")));
    user_store_unref(store);
}

static void bad_lines_are_refused_with_their_number(void **state)
{
    (void)state;
    refused(slice_text("a:" HASH6 "\nbob\n"), "users:2: expected user:hash");
    refused(slice_text("bob:\n"), "users:1: not a hash");
    refused(slice_text("bob:builder\n"), "users:1: not a hash");
    refused(slice_text(":" HASH6 "\n"), "users:1: the user name is empty");
    refused(slice_text("# x\n\nbob:" HASH6 "x\n"), "users:3:");
    refused(slice_text("bob:" HASH6 ":a,,b\n"), "users:1: a group is empty");
    refused(slice_text("bob:" HASH6 ":a,\n"), "users:1: a group is empty");
    refused(slice_text("bob:" HASH6 ":a b\n"), "users:1: a group has a blank");
    refused(slice_text("bob:" HASH6 ":a:b\n"), "users:1: a group has a blank or a colon");
    refused(slice_text("bob:" HASH6 "\nbob:" HASH7 "\n"), "users:2: this user was there before");
    refused(slice_text("bo\tb:" HASH6 "\n"), "users:1: the user name is not UTF-8");
    refused(slice_text("bo\xff"
                       "b:" HASH6 "\n"),
            "users:1: the user name is not UTF-8");
    refused(slice_of("b\0b:" HASH6 "\n", sizeof("b\0b:" HASH6)), "users:1: the user name");
    refused(slice_text(" bob:$7$9999999$a$b\n"), "users:1: the number of iterations");
}

static void a_file_without_users_is_refused(void **state)
{
    (void)state;
    refused(slice_text(""), "there is no user");
    refused(slice_text("\n# only words\n"), "there is no user");
}

static void lines_and_names_are_bounded(void **state)
{
    (void)state;
    static char line[PASSWORD_FILE_LINE_MAX + 100];
    memset(line, 'a', sizeof(line) - 1);
    refused(slice_text(line), "users:1: the line is longer");
    line[1001] = '\0';
    struct text text = {0};
    text_printf(&text, "%s:" HASH6, line);
    refused(slice_of(text.data, text.len), "the user name is longer");
    text_fini(&text);
}

static void the_usual_hash_is_that_of_most_users(void **state)
{
    (void)state;
    struct password_hash usual;
    struct user_store *store =
        read_text("a:" HASH7 "\nb:" HASH6 "\nc:" HASH7 "\nd:" HASH7 "\ne:" HASH6 "\n");
    user_store_usual_hash(store, &usual);
    assert_int_equal(usual.kind, PASSWORD_MOSQUITTO7);
    assert_int_equal(usual.cost[0], 101);
    user_store_unref(store);
}

static void fingerprints_tell_a_change_of_the_hash_and_nothing_else(void **state)
{
    (void)state;
    struct user_store *first = read_text("a:" HASH7 ":x\nb:" HASH6 "\n");
    struct user_store *second = read_text("b:" HASH7 "\na:" HASH7 ":y\n");
    assert_int_equal(user_store_find(first, slice_text("a"))->fingerprint,
                     user_store_find(second, slice_text("a"))->fingerprint);
    assert_int_not_equal(user_store_find(first, slice_text("b"))->fingerprint,
                         user_store_find(second, slice_text("b"))->fingerprint);
    user_store_unref(first);
    user_store_unref(second);
}

static void thousands_of_users_are_all_found(void **state)
{
    (void)state;
    enum { USERS = 20000 };
    char name[32];
    struct text text = {0};
    for (int i = 0; i < USERS; i++) {
        text_printf(&text, "user-%d:" HASH7 "\n", i);
    }
    struct user_store *store = read_text(text.data);
    assert_int_equal(user_store_count(store), USERS);
    for (int i = 0; i < USERS; i++) {
        snprintf(name, sizeof(name), "user-%d", i);
        assert_non_null(user_store_find(store, slice_text(name)));
    }
    assert_null(user_store_find(store, slice_text("user-20000")));
    user_store_unref(store);
    text_fini(&text);
}

static void files_that_cannot_be_read_are_told(void **state)
{
    (void)state;
    struct user_store *store = NULL;
    const char *const paths[] = {"/nowhere/users", "/tmp", "/dev/zero", ""};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        struct text error = {0};
        assert_int_equal(user_store_create_file(paths[i], &store, &error), ERR_IO);
        assert_non_null(strstr(error.data, "cannot read the password file"));
        text_fini(&error);
    }
}

static void a_file_that_everybody_can_read_is_noticed(void **state)
{
    (void)state;
    struct slice text;
    struct text error = {0};
    bool open_to_all = true;
    const char *path = rig_write_file("users", "bob:" HASH7 "\n");
    assert_int_equal(password_file_read(path, &text, &open_to_all, &error), ERR_OK);
    assert_false(open_to_all);
    password_file_free(text);
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(password_file_read(path, &text, &open_to_all, &error), ERR_OK);
    assert_true(open_to_all);
    password_file_free(text);
    rig_remove_files();
}

static void users_of_the_configuration_may_be_plain_or_hashed(void **state)
{
    (void)state;
    const struct auth_user users[] = {{"alice", "wonderland", " a, b ,c "}, {"bob", HASH7, NULL}};
    struct user_store *store = NULL;
    struct text error = {0};
    assert_int_equal(user_store_create_list(users, 2, true, &store, &error), ERR_OK);
    const struct stored_user *alice = user_store_find(store, slice_text("alice"));
    assert_int_equal(alice->hash.kind, PASSWORD_KEYED);
    assert_true(slice_equal(alice->groups, slice_text("a,b,c")));
    assert_true(password_hash_fits(&alice->hash, slice_text("wonderland")));
    assert_non_null(alice->scram);
    const struct stored_user *bob = user_store_find(store, slice_text("bob"));
    assert_true(password_hash_fits(&bob->hash, slice_text("builder")));
    assert_null(bob->scram);
    user_store_unref(store);
}

static void bad_users_of_the_configuration_are_told_by_name(void **state)
{
    (void)state;
    const struct auth_user lists[][2] = {
        {{"alice", "x", ""}, {"alice", "y", ""}},        {{"alice", "", ""}, {"bob", "y", ""}},
        {{"alice", "$6$builder", ""}, {"bob", "y", ""}}, {{"alice", "x", "a,,b"}, {"bob", "y", ""}},
        {{"alice", "x", "a b"}, {"bob", "y", ""}},
    };
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        struct user_store *store = NULL;
        struct text error = {0};
        assert_int_not_equal(user_store_create_list(lists[i], 2, true, &store, &error), ERR_OK);
        assert_non_null(strstr(error.data, "auth.users: alice: "));
        assert_null(strstr(error.data, "builder"));
        text_fini(&error);
    }
}

int main(void)
{
    hash_seed_init();
    assert_int_equal(log_set_filter("error"), ERR_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_comments_groups_and_line_ends_are_read),
        cmocka_unit_test(bad_lines_are_refused_with_their_number),
        cmocka_unit_test(a_file_without_users_is_refused),
        cmocka_unit_test(lines_and_names_are_bounded),
        cmocka_unit_test(the_usual_hash_is_that_of_most_users),
        cmocka_unit_test(fingerprints_tell_a_change_of_the_hash_and_nothing_else),
        cmocka_unit_test(thousands_of_users_are_all_found),
        cmocka_unit_test(files_that_cannot_be_read_are_told),
        cmocka_unit_test(a_file_that_everybody_can_read_is_noticed),
        cmocka_unit_test(users_of_the_configuration_may_be_plain_or_hashed),
        cmocka_unit_test(bad_users_of_the_configuration_are_told_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
