/* Files of rules: our own format, Mosquitto's, and what is wrong with them. */
#include "node/auth/acl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "tests/unit/node/auth/acl_support.h"

static void assert_rule(const struct acl_rules *rules, size_t index, const struct acl_rule *wanted)
{
    assert_in_range(index, 0, rules->count - 1);
    const struct acl_rule *rule = &rules->items[index];
    assert_int_equal(rule->permission, wanted->permission);
    assert_int_equal(rule->action, wanted->action);
    assert_int_equal(rule->anonymous, wanted->anonymous);
    assert_true(slice_equal(rule->username, wanted->username));
    assert_true(slice_equal(rule->group, wanted->group));
    assert_true(slice_equal(rule->filter, wanted->filter));
}

static void each_line_is_a_rule(void **state)
{
    (void)state;
    struct acl_rules rules = acl_rules_of("# who may what\n"
                                          "\n"
                                          "allow user alice publish sensors/#\r\n"
                                          "  deny\tgroup  guests all  admin/#  \n"
                                          "   # indented\n"
                                          "allow anonymous subscribe public/#\n"
                                          "allow all publish devices/%c/#\n"
                                          "allow user \"Ann \\\"A\\\" \\\\ Lee\" all \"a b/#\"\n"
                                          "deny all all #"); /* and no line feed */
    const struct acl_rule wanted[] = {
        {.action = ACL_PUBLISH, .username = slice_text("alice"), .filter = slice_text("sensors/#")},
        {.permission = ACL_DENY,
         .action = ACL_ALL,
         .group = slice_text("guests"),
         .filter = slice_text("admin/#")},
        {.action = ACL_SUBSCRIBE, .anonymous = true, .filter = slice_text("public/#")},
        {.action = ACL_PUBLISH, .filter = slice_text("devices/%c/#")},
        {.action = ACL_ALL,
         .username = slice_text("Ann \"A\" \\ Lee"),
         .filter = slice_text("a b/#")},
        {.permission = ACL_DENY, .action = ACL_ALL, .filter = slice_text("#")},
    };
    assert_int_equal(rules.count, ARRAY_COUNT(wanted));
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        assert_rule(&rules, i, &wanted[i]);
    }
    acl_rules_fini(&rules);
}

static void users_may_have_the_names_of_our_words(void **state)
{
    (void)state;
    struct acl_rules rules = acl_rules_of("allow user all all all\n"
                                          "allow group anonymous publish publish\n"
                                          "allow all all format\n");
    assert_true(slice_equal(rules.items[0].username, slice_text("all")));
    assert_true(slice_equal(rules.items[0].filter, slice_text("all")));
    assert_true(slice_equal(rules.items[1].group, slice_text("anonymous")));
    assert_int_equal(rules.count, 3);
    acl_rules_fini(&rules);
}

/* ---- what is wrong --------------------------------------------------------------------------- */

static void assert_refused(const char *text, size_t len, const char *place)
{
    struct acl_rules rules = {.count = 0};
    struct text error = {.len = 0};
    enum err err = acl_rules_read(&rules, slice_of(text, len), "acl.txt", &error);
    if (err != ERR_SYNTAX || error.data == NULL || strncmp(error.data, place, strlen(place)) != 0) {
        fail_msg("%s: %s, not %s", text, error.data != NULL ? error.data : "taken", place);
    }
    assert_null(strchr(error.data, '\n'));
    text_fini(&error);
    acl_rules_fini(&rules);
}

static void a_malformed_line_is_an_error_with_its_number(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "allow",
        "allow all",
        "allow all all",
        "allow user alice all",
        "allow user alice",
        "allow user \"\" all a",
        "allow group \"\" all a",
        "allow all all \"\"",
        "permit all all a",
        "Allow all all a",
        "allow everybody all a",
        "allow all read a",
        "allow user alice read a",
        "allow all all a b",
        "allow all all a # comment",
        "allow user alice all a b",
        "allow user alice all a b c d e f",
        "allow all all a/#/b",
        "allow all all a+",
        "allow all all %x",
        "allow all all %c%u",
        "allow all all $share/g/a",
        "allow all all \"a",
        "allow all all \"a\"b",
        "allow all all a\"b\"",
        "allow all all \"a\\n\"",
        "allow all all \"a\\",
        "allow all all a\xff",
        "allow all all \xc0\x80",
        ("\xef\xbb\xbf"
         "allow all all a"),
        "allow, all all a",
        "topic read a",
        "user alice",
        "pattern read a",
        "format",
        "format mosquitto2",
        "format mosquitto",
        "\"",
        "#\xff",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        char text[200];
        int len =
            snprintf(text, sizeof(text), "allow all all x\n\n%s\nallow all all y\n", lines[i]);
        assert_refused(text, (size_t)len, "acl.txt:3: ");
    }
    static const char nul[] = "allow all all x\nallow all all a\0b\n";
    assert_refused(nul, sizeof(nul) - 1, "acl.txt:2: ");
}

static void a_text_without_rules_is_an_error(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",   "\n\n", "# only this\n", "format mosquitto\n", "format mosquitto\nuser alice\n",
        "  ", "\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        assert_refused(texts[i], strlen(texts[i]), "acl.txt: there is no rule in it");
    }
}

static void what_a_file_may_have_is_bounded(void **state)
{
    (void)state;
    struct acl_rules rules = {.count = 0};
    struct text error = {.len = 0};
    size_t len = ACL_FILE_BYTES_MAX + 1u;
    char *large = mem_try_alloc(len);
    memset(large, '\n', len);
    assert_int_equal(acl_rules_read(&rules, slice_of(large, len), "f", &error), ERR_FULL);
    text_fini(&error);
    static const char line[] = "deny all all #\n"; /* 15 bytes: a million fit into the file */
    error = (struct text){.len = 0};
    for (size_t i = 0; i < ACL_RULES_MAX + 1; i++) {
        memcpy(large + i * (sizeof(line) - 1), line, sizeof(line) - 1);
    }
    size_t bytes = (ACL_RULES_MAX + 1) * (sizeof(line) - 1);
    assert_int_equal(acl_rules_read(&rules, slice_of(large, bytes), "f", &error), ERR_FULL);
    assert_string_equal(error.data, "f:1000001: limit reached");
    assert_int_equal(rules.count, ACL_RULES_MAX);
    text_fini(&error);
    acl_rules_fini(&rules);
    mem_free(large);
}

static void the_texts_of_all_rules_are_bounded(void **state)
{
    (void)state;
    struct acl_rules rules = {.count = 0};
    char *name = mem_try_alloc(ACL_RULES_BYTES_MAX + 1u);
    memset(name, 'n', ACL_RULES_BYTES_MAX + 1u);
    struct acl_rule rule = {.username = slice_of(name, ACL_RULES_BYTES_MAX - 1),
                            .filter = slice_text("a")};
    assert_int_equal(acl_rules_add(&rules, &rule), ERR_OK);
    rule.username.len = 0;
    assert_int_equal(acl_rules_add(&rules, &rule), ERR_FULL);
    acl_rules_fini(&rules);
    rule.group = slice_of(name, ACL_RULES_BYTES_MAX);
    assert_int_equal(acl_rules_add(&rules, &rule), ERR_FULL);
    acl_rules_fini(&rules);
    mem_free(name);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static enum err read_file(const char *path, struct text *error)
{
    struct acl_rules rules = {.count = 0};
    *error = (struct text){.len = 0};
    enum err err = acl_rules_read_file(&rules, path, error);
    acl_rules_fini(&rules);
    return err;
}

static void a_file_is_read_or_the_reason_is_told(void **state)
{
    (void)state;
    char folder[] = "/tmp/pulse-acl-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char path[64];
    struct text error;
    snprintf(path, sizeof(path), "%s/rules", folder);
    assert_int_equal(read_file(path, &error), ERR_IO);
    assert_non_null(strstr(error.data, "No such file"));
    text_fini(&error);
    assert_int_equal(read_file(folder, &error), ERR_IO);
    assert_non_null(strstr(error.data, "not a file"));
    text_fini(&error);
    assert_int_equal(read_file("/dev/zero", &error), ERR_IO);
    text_fini(&error);
    write_file(path, "");
    assert_int_equal(read_file(path, &error), ERR_SYNTAX);
    text_fini(&error);
    write_file(path, "allow all all a\nallow all al b\n");
    assert_int_equal(read_file(path, &error), ERR_SYNTAX);
    assert_non_null(strstr(error.data, "/rules:2: "));
    text_fini(&error);
    write_file(path, "allow all all a\n");
    assert_int_equal(read_file(path, &error), ERR_OK);
    assert_null(error.data);
    assert_int_equal(truncate(path, ACL_FILE_BYTES_MAX + 1), 0);
    assert_int_equal(read_file(path, &error), ERR_RANGE);
    text_fini(&error);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(read_file(path, &error), ERR_IO); /* and does not wait for a writer */
    text_fini(&error);
    unlink(path);
    rmdir(folder);
}

/* ---- Mosquitto ------------------------------------------------------------------------------- */

static void a_mosquitto_file_gives_rules_in_the_order_in_which_it_asks_them(void **state)
{
    (void)state;
    struct acl_rules rules = acl_rules_of("# from another broker\n"
                                          "format mosquitto\n"
                                          "topic read public/#\n"
                                          "pattern write dev/%c/50%/up\n"
                                          "topic deny public/a b\n"
                                          "user Ann Lee \n"
                                          "topic  readwrite   own/%c\n"
                                          "topic #\n"
                                          "#topic x\n"
                                          "topic deny own/secret\r\n"
                                          "pattern deny dev/+/%u\n");
    const struct acl_rule wanted[] = {
        {.permission = ACL_DENY,
         .action = ACL_ALL,
         .anonymous = true,
         .filter = slice_text("public/a b")},
        {.permission = ACL_DENY,
         .action = ACL_ALL,
         .username = slice_text("Ann Lee"),
         .filter = slice_text("own/secret")},
        {.action = ACL_SUBSCRIBE, .anonymous = true, .filter = slice_text("public/#")},
        {.action = ACL_ALL, .username = slice_text("Ann Lee"), .filter = slice_text("own/%%c")},
        {.action = ACL_ALL, .username = slice_text("Ann Lee"), .filter = slice_text("#")},
        {.permission = ACL_DENY, .action = ACL_ALL, .filter = slice_text("dev/+/%u")},
        {.action = ACL_PUBLISH, .filter = slice_text("dev/%c/50%%/up")},
    };
    assert_int_equal(rules.count, ARRAY_COUNT(wanted));
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        assert_rule(&rules, i, &wanted[i]);
    }
    acl_rules_fini(&rules);
}

static void a_malformed_mosquitto_line_is_an_error_with_its_number(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "topic",
        "topic write",
        "user",
        "user  ",
        "topics a",
        "topic reads a",
        "topic a b",
        "pattern read %c%u",
        "topic read a/#/b",
        "allow all all a",
        "  # indented",
        "pattern",
        "topic read $share/g/a",
        "topic a\xff",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        char text[100];
        int len = snprintf(text, sizeof(text), "format mosquitto\ntopic a\n%s\n", lines[i]);
        if (strcmp(lines[i], "topic write") != 0) { /* that is the topic `write` */
            assert_refused(text, (size_t)len, "acl.txt:3: ");
        }
    }
}

static void a_denied_topic_of_a_mosquitto_file_wins_wherever_it_stands(void **state)
{
    (void)state;
    const struct acl_subject alice = {.username = slice_text("alice"),
                                      .client_id = slice_text("c1")};
    struct acl_view *view = acl_view_of("format mosquitto\n"
                                        "pattern deny dev/c1/#\n"
                                        "pattern dev/%c/#\n"
                                        "topic anonymous/#\n"
                                        "user alice\n"
                                        "topic a/#\n"
                                        "topic dev/c1/up\n"
                                        "topic deny a/secret\n",
                                        &alice);
    assert_true(acl_publishes(view, "a/x"));
    assert_false(acl_publishes(view, "a/secret"));
    assert_false(acl_publishes(view, "anonymous/x"));
    assert_true(acl_publishes(view, "dev/c1/up")); /* topics come before patterns */
    assert_false(acl_publishes(view, "dev/c1/down"));
    assert_false(acl_publishes(view, "dev/c2/up"));
    acl_view_unref(view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_is_a_rule),
        cmocka_unit_test(users_may_have_the_names_of_our_words),
        cmocka_unit_test(a_malformed_line_is_an_error_with_its_number),
        cmocka_unit_test(a_text_without_rules_is_an_error),
        cmocka_unit_test(what_a_file_may_have_is_bounded),
        cmocka_unit_test(the_texts_of_all_rules_are_bounded),
        cmocka_unit_test(a_file_is_read_or_the_reason_is_told),
        cmocka_unit_test(a_mosquitto_file_gives_rules_in_the_order_in_which_it_asks_them),
        cmocka_unit_test(a_malformed_mosquitto_line_is_an_error_with_its_number),
        cmocka_unit_test(a_denied_topic_of_a_mosquitto_file_wins_wherever_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
