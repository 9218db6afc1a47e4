#include "tests/unit/node/config_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What stands in the lists of a file, and what print-config makes of it. */

#include "node/config_source_priv.h"

static void lists_that_are_not_there_are_empty(void **state)
{
    (void)state;
    struct config_run result = config_good_file("listeners:\nauth:\n  users: []\n  acl: ~\n", "");
    assert_int_equal(result.config.user_count, 0);
    assert_int_equal(result.config.acl_rule_count, 0);
    assert_int_equal(result.config.listener_count, 1); /* server.bind */
    config_run_end(&result);
}

static void a_listener_has_defaults_for_all_but_its_address(void **state)
{
    (void)state;
    struct config_run result = config_good_file("listeners:\n  - bind: a:1\n", "");
    const struct config_listener *listener = &result.config.listeners[0];
    assert_string_equal(listener->bind, "a:1");
    assert_string_equal(listener->name, "a:1");
    assert_int_equal(listener->protocol, CONFIG_PROTOCOL_MQTT);
    assert_int_equal(listener->max_connections, 0);
    assert_int_equal(listener->proxy_protocol, PROXY_OFF);
    assert_int_equal(listener->unix_mode, 660);
    assert_string_equal(listener->path, "/mqtt");
    assert_string_equal(listener->origins, "");
    assert_false(listener->tls);
    assert_string_equal(listener->certificate_chain, "");
    assert_int_equal(listener->client_auth, TLS_CLIENT_AUTH_DISABLED);
    assert_int_equal(listener->identity, TLS_IDENTITY_NONE);
    assert_int_equal(listener->min_version, TLS_VERSION_1_2);
    assert_string_equal(listener->ciphers, "");
    assert_true(listener->session_tickets);
    config_run_end(&result);
}

static void every_key_of_a_listener_is_kept(void **state)
{
    (void)state;
    struct config_run result = config_good_file("listeners:\n"
                                                "- name: outside\n"
                                                "  bind: \"[::]:8884\"\n"
                                                "  protocol: ws\n"
                                                "  max_connections: 12\n"
                                                "  proxy_protocol: v2\n"
                                                "  unix_mode: 600\n"
                                                "  path: /chat\n"
                                                "  origins: https://example.org\n"
                                                "  tls: yes\n"
                                                "  certificate_chain: c.pem\n"
                                                "  private_key: k.pem\n"
                                                "  client_auth: required\n"
                                                "  client_ca: ca.pem\n"
                                                "  client_crl: crl.pem\n"
                                                "  identity: san-dns\n"
                                                "  min_version: 1.3\n"
                                                "  ciphers: ECDHE+AESGCM\n"
                                                "  ciphersuites: TLS_AES_128_GCM_SHA256\n"
                                                "  groups: X25519\n"
                                                "  session_tickets: no\n",
                                                "");
    const struct config_listener *listener = &result.config.listeners[0];
    assert_int_equal(result.config.listener_count, 1);
    assert_string_equal(listener->name, "outside");
    assert_string_equal(listener->bind, "[::]:8884");
    assert_int_equal(listener->protocol, CONFIG_PROTOCOL_WS);
    assert_int_equal(listener->max_connections, 12);
    assert_int_equal(listener->proxy_protocol, PROXY_V2);
    assert_int_equal(listener->unix_mode, 600);
    assert_string_equal(listener->path, "/chat");
    assert_string_equal(listener->origins, "https://example.org");
    assert_true(listener->tls);
    assert_string_equal(listener->certificate_chain, "c.pem");
    assert_string_equal(listener->private_key, "k.pem");
    assert_int_equal(listener->client_auth, TLS_CLIENT_AUTH_REQUIRED);
    assert_string_equal(listener->client_ca, "ca.pem");
    assert_string_equal(listener->client_crl, "crl.pem");
    assert_int_equal(listener->identity, TLS_IDENTITY_SAN_DNS);
    assert_int_equal(listener->min_version, TLS_VERSION_1_3);
    assert_string_equal(listener->ciphers, "ECDHE+AESGCM");
    assert_string_equal(listener->ciphersuites, "TLS_AES_128_GCM_SHA256");
    assert_string_equal(listener->groups, "X25519");
    assert_false(listener->session_tickets);
    config_run_end(&result);
}

static void users_and_rules_keep_their_order_and_their_place(void **state)
{
    (void)state;
    struct config_run result = config_run_file("auth:\n"
                                               "  enabled: true\n"
                                               "  users:\n"
                                               "    - username: anna\n"
                                               "      password: a b\n"
                                               "    - {username: \"off\", password: \"off\", "
                                               "groups: \"x,y\"}\n"
                                               "  acl:\n"
                                               "    - topic_filter: a/%c/#\n"
                                               "    -\n"
                                               "      action: publish\n"
                                               "      permission: deny\n"
                                               "      group: x\n"
                                               "      topic_filter: \"#\"\n",
                                               "");
    const struct config *config = &result.config;
    assert_int_equal(result.action, CONFIG_RUN);
    assert_int_equal(config->user_count, 2);
    assert_string_equal(config->users[0].username, "anna");
    assert_string_equal(config->users[0].password, "a b");
    assert_string_equal(config->users[0].groups, "");
    assert_string_equal(config->users[1].username, "off"); /* a name like others */
    assert_string_equal(config->users[1].password, "off");
    assert_string_equal(config->users[1].groups, "x,y");
    assert_non_null(strstr(config->users[0].place, ":4"));
    assert_non_null(strstr(config->users[1].place, ":6"));
    assert_int_equal(config->acl_rule_count, 2);
    assert_int_equal(config->acl_rules[0].permission, ACL_ALLOW);
    assert_int_equal(config->acl_rules[0].action, ACL_ALL);
    assert_string_equal(config->acl_rules[0].topic_filter, "a/%c/#");
    assert_int_equal(config->acl_rules[1].permission, ACL_DENY);
    assert_int_equal(config->acl_rules[1].action, ACL_PUBLISH);
    assert_string_equal(config->acl_rules[1].group, "x");
    assert_string_equal(config->acl_rules[1].username, "");
    assert_non_null(strstr(config->acl_rules[1].place, ":10"));
    config_run_end(&result);
}

static void a_bad_value_is_told_with_its_entry(void **state)
{
    (void)state;
    assert_config_file_refused("listeners:\n  - bind: a:1\n  - bind: b:1\n\n    protocol: http\n",
                               "",
                               "FILE:5: listeners[1].protocol: \"http\" is not one of the words "
                               "(allowed: mqtt, ws)");
    assert_config_file_refused("listeners: [{bind: a:1, max_connections: -1}]\n", "",
                               "FILE:1: listeners[0].max_connections: \"-1\" is not a number "
                               "(allowed: 0 to 10000000)");
    assert_config_file_refused(
        "auth:\n  acl:\n  - topic_filter: a#\n", "",
        "FILE:3: auth.acl[0].topic_filter: \"a#\" is not the topic filter of "
        "an access rule (allowed: a topic filter without $share; in a level "
        "of it one of %c, %u, %C, %O, %U, and %% for a percent sign)");
}

static void keys_that_must_be_given_are_missed(void **state)
{
    (void)state;
    assert_config_file_refused("listeners:\n  - bind: a:1\n  - tls: true\n", "",
                               "FILE:3: listeners[1]: bind must be given");
    assert_config_file_refused("listeners: [{}]\n", "", "FILE:1: listeners[0]: bind must be given");
    assert_config_file_refused("listeners: [{bind: ~}]\n", "",
                               "FILE:1: listeners[0]: bind must be given");
    assert_config_file_refused("auth:\n  users:\n  - username: a\n", "",
                               "FILE:3: auth.users[0]: password must be given");
    assert_config_file_refused("auth: {users: [{username: a, password: \"\"}]}\n", "",
                               "FILE:1: auth.users[0]: password must be given");
    assert_config_file_refused("auth: {users: [{username: , password: a}]}\n", "",
                               "FILE:1: auth.users[0]: username must be given");
    assert_config_file_refused("auth: {acl: [{username: a}]}\n", "",
                               "FILE:1: auth.acl[0]: topic_filter must be given");
}

static void unknown_and_repeated_keys_are_refused(void **state)
{
    (void)state;
    assert_config_file_refused("listeners:\n- bind: a:1\n  max_conections: 1\n", "",
                               "FILE:3: unknown key \"listeners[0].max_conections\"; did you mean "
                               "\"max_connections\"?");
    assert_config_file_refused("auth: {users: [{frobnicate: 1}]}\n", "",
                               "FILE:1: unknown key \"auth.users[0].frobnicate\"");
    assert_config_file_refused("listeners:\n- bind: a:1\n  bind: b:1\n", "",
                               "FILE:3: listeners[0].bind: given twice, first in line 2");
    assert_config_file_refused("listeners: []\nlisteners: []\n", "",
                               "FILE:2: listeners: given twice, first in line 1");
    assert_config_file_refused("listner:\n- bind: a:1\n", "",
                               "FILE:1: unknown section \"listner\"; did you mean \"listeners\"?");
    assert_config_file_refused("listners:\n- bind: a:1\n", "",
                               "FILE:1: unknown section \"listners\"; did you mean "
                               "\"listeners\"?");
    assert_config_file_refused("auth:\n  user: []\n", "",
                               "FILE:2: unknown key \"auth.user\"; did you mean \"auth.users\"?");
    assert_config_file_refused("users: []\n", "", "FILE:1: unknown section \"users\"");
}

/* A blank too few makes a key of a value, and complaints of a reload go to the log. */
static void a_secret_that_became_a_key_is_not_told(void **state)
{
    (void)state;
    assert_config_file_refused("auth: {users: [{username: a, password:tulips}]}\n", "",
                               "FILE:1: unknown key \"auth.users[0].password...\"");
    assert_config_file_refused("storage: {mysql:mysql://u:tulips@h/d}\n", "",
                               "FILE:1: unknown key \"storage.mysql...\"");
    assert_config_file_refused("{auth tulips: 1}\n", "", "FILE:1: unknown section \"auth...\"");
}

static void what_is_no_list_of_mappings_is_refused(void **state)
{
    (void)state;
    const char *no_list = "FILE:1: listeners: a list is expected below it, each entry with a \"-\"";
    const char *no_keys = "FILE:1: listeners[0]: keys and values are expected here";
    assert_config_file_refused("listeners: a:1\n", "", no_list);
    assert_config_file_refused("listeners: {bind: a:1}\n", "", no_list);
    assert_config_file_refused("listeners: [a:1]\n", "", no_keys);
    assert_config_file_refused("listeners: [[]]\n", "", no_keys);
    assert_config_file_refused("listeners: [~]\n", "", no_keys);
    assert_config_file_refused("listeners: [{? [a] : b}]\n", "", "FILE:1: a key is expected here");
    assert_config_file_refused("listeners: [{bind: [a]}]\n", "",
                               "FILE:1: listeners[0].bind: one value is expected here");
    assert_config_file_refused("listeners: [{bind: \"a:1\\0\"}]\n", "",
                               "FILE:1: listeners[0].bind: one value is expected here");
}

static void the_tls_section_stands_inside_of_server(void **state)
{
    (void)state;
    struct config_run result = config_good_file("server:\n"
                                                "  tls:\n"
                                                "    enabled: true\n"
                                                "    certificate_chain: c\n"
                                                "    private_key: k\n"
                                                "  bind: a:1\n",
                                                "");
    assert_true(result.config.server_tls_enabled);
    assert_string_equal(result.config.server_tls_private_key, "k");
    assert_string_equal(result.config.server_bind, "a:1");
    config_run_end(&result);
    assert_config_file_refused("server:\n  tls:\n    enable: x\n", "",
                               "FILE:3: unknown key \"server.tls.enable\"; did you mean "
                               "\"server.tls.enabled\"?");
    assert_config_file_refused("server: {tls: true}\n", "",
                               "FILE:1: server.tls: keys and values are expected below it");
    assert_config_file_refused("server: {tls: {}, tls: {}}\n", "",
                               "FILE:1: server.tls: given twice, first in line 1");
    assert_config_file_refused("server_tls: {enabled: true}\n", "",
                               "FILE:1: unknown section \"server_tls\"; did you mean "
                               "\"server.tls\"?");
    assert_config_file_refused("server.tls: {enabled: true}\n", "",
                               "FILE:1: unknown section \"server.tls\"; did you mean "
                               "\"server.tls\"?");
}

/* Aliases make much of little, so the length of the file bounds nothing. */
static void aliases_work_in_lists_and_cannot_blow_them_up(void **state)
{
    (void)state;
    struct config_run result = config_run_file("auth:\n"
                                               "  users:\n"
                                               "    - &u {username: a, password: &p secret}\n"
                                               "    - {username: b, password: *p}\n",
                                               "");
    assert_int_equal(result.action, CONFIG_RUN);
    assert_string_equal(result.config.users[1].password, "secret");
    config_run_end(&result);

    struct text yaml = {0};
    text_add(&yaml, "observability:\n  log: &l ");
    for (int i = 0; i < 200000; i++) {
        text_add(&yaml, "a");
    }
    text_add(&yaml, "\nlisteners:\n");
    for (int i = 0; i < 5; i++) {
        text_add(&yaml, "- {bind: *l, name: *l, path: *l, origins: *l, certificate_chain: *l, "
                        "private_key: *l, client_ca: *l, client_crl: *l, ciphers: *l, "
                        "ciphersuites: *l, groups: *l, unix_mode: *l, protocol: *l, tls: *l, "
                        "identity: *l, min_version: *l, client_auth: *l}\n");
    }
    assert_config_file_refused(yaml.data, "",
                               "FILE:8: listeners[4].identity: with its aliases the file is too "
                               "long");
    text_fini(&yaml);
}

static char *many(const char *head, const char *entry, size_t count)
{
    struct text yaml = {0};
    text_add(&yaml, head);
    for (size_t i = 0; i < count; i++) {
        text_printf(&yaml, entry, i, i);
    }
    return yaml.data;
}

static void a_list_has_at_most_so_many_entries(void **state)
{
    (void)state;
    char *yaml = many("listeners:\n", "- {bind: \"a:1%zu\", name: n%zu}\n", 64);
    struct config_run result = config_good_file(yaml, "");
    assert_int_equal(result.config.listener_count, 64);
    config_run_end(&result);
    free(yaml);
    yaml = many("listeners:\n", "- {bind: \"a:1%zu\", name: n%zu}\n", 65);
    assert_config_file_refused(yaml, "", "FILE:1: listeners: more than 64 entries");
    free(yaml);
    yaml = many("auth:\n  acl:\n", "  - topic_filter: a\n", 100001);
    assert_config_file_refused(yaml, "", "FILE:2: auth.acl: more than 100000 entries");
    free(yaml);
}

static void twenty_thousand_users_with_their_rules_are_read(void **state)
{
    (void)state;
    struct text yaml = {0};
    char *users = many("auth:\n  enabled: true\n  users:\n",
                       "  - {username: user%zu, password: secret%zu}\n", 20000);
    char *rules = many("  acl:\n", "  - {username: user%zu, topic_filter: \"a/%zu\"}\n", 20000);
    text_add(&yaml, users);
    text_add(&yaml, rules);
    struct config_run result = config_run_file(yaml.data, "");
    assert_int_equal(result.action, CONFIG_RUN);
    assert_int_equal(result.config.user_count, 20000);
    assert_string_equal(result.config.users[19999].password, "secret19999");
    assert_string_equal(result.config.acl_rules[19999].topic_filter, "a/19999");
    assert_non_null(strstr(result.complaints, "\"user4\" and 19995 more\n"));
    config_run_end(&result);
    text_fini(&yaml);
    free(users);
    free(rules);
}

/* The output without its comments. */
static char *values_only(const char *yaml)
{
    struct text text = {0};
    for (const char *from = yaml; *from != '\0'; from++) {
        if (from[0] == ' ' && from[1] == '#') {
            from += strcspn(from, "\n");
        }
        text_add_bytes(&text, from, 1);
    }
    return text.data;
}

static const char everything[] =
    "listeners:\n"
    "  - name: \"tls \\\"1\\\" # not a comment\"\n"
    "    bind: \"[::]:8883\"\n"
    "    tls: true\n"
    "    certificate_chain: c.pem\n"
    "    private_key: k.pem\n"
    "    client_auth: optional\n"
    "    client_ca: ca.pem\n"
    "    identity: cn\n"
    "  - bind: unix:/run/pulse.sock\n"
    "    unix_mode: 600\n"
    "websocket:\n"
    "  enabled: true\n"
    "  tls: true\n"
    "server:\n"
    "  tls:\n"
    "    certificate_chain: c2.pem\n"
    "    private_key: k2.pem\n"
    "auth:\n"
    "  enabled: true\n"
    "  users:\n"
    "    - {username: anna, password: tulips}\n"
    "    - {username: \"b\\u00f6b\", password: roses, groups: \"x\"}\n"
    "  acl:\n"
    "    - {permission: deny, username: anna, topic_filter: \"a/+/#\"}\n"
    "    - {anonymous: true, action: subscribe, topic_filter: \"$SYS/#\"}\n";

static void what_print_config_prints_loads_to_the_same_lists(void **state)
{
    (void)state;
    struct config_run first = config_run_file(everything, "--print-config");
    assert_int_equal(first.action, CONFIG_EXIT_OK);
    assert_null(strstr(first.out, "tulips"));
    assert_null(strstr(first.out, "roses"));
    assert_null(strstr(first.out, "0.0.0.0:1883")); /* server.bind is off */
    char *hidden = strstr(first.out, "\"***\"");
    memcpy(hidden, "\"tul\"", 5);
    memcpy(strstr(first.out, "\"***\""), "\"ros\"", 5);

    struct config_run second = config_run_file(first.out, "--print-config");
    memcpy(strstr(second.out, "\"***\""), "\"tul\"", 5);
    memcpy(strstr(second.out, "\"***\""), "\"ros\"", 5);
    char *before = values_only(first.out);
    char *after = values_only(second.out);
    assert_string_equal(before, after);
    assert_int_equal(second.config.listener_count, first.config.listener_count);
    assert_string_equal(second.config.listeners[0].name, "tls \"1\" # not a comment");
    assert_string_equal(second.config.users[1].username, "b\xc3\xb6"
                                                         "b");
    free(before);
    free(after);
    config_run_end(&second);
    config_run_end(&first);
}

/* Else whoever starts with the output of --print-config lets everybody in who sends three stars. */
static void the_stars_of_print_config_are_no_password(void **state)
{
    (void)state;
    struct config_run first = config_run_file(everything, "--print-config");
    struct config_run second = config_run_file(first.out, "");
    assert_int_equal(second.action, CONFIG_EXIT_ERROR);
    assert_non_null(
        strstr(second.complaints, "auth.users[0].password: the value is not a password"));
    config_run_end(&second);
    config_run_end(&first);
}

static void print_config_names_the_place_of_each_entry(void **state)
{
    (void)state;
    struct config_run result = config_run_file(everything, "--print-config");
    char line[200];
    snprintf(line, sizeof(line), "    - username: \"anna\" # %s:22\n", config_file_name());
    assert_non_null(strstr(result.out, line));
    snprintf(line, sizeof(line), "  - name: \"unix:/run/pulse.sock\" # %s:10\n",
             config_file_name());
    assert_non_null(strstr(result.out, line));
    assert_non_null(strstr(result.out, "  bind: \"off\" # off, because there are listeners\n"));
    config_run_end(&result);
}

static void the_reference_describes_every_key_of_every_list(void **state)
{
    (void)state;
    struct config_run result = config_run("", "--print-reference");
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        const struct config_list *list = &config__lists[i];
        assert_non_null(strstr(result.out, list->path));
        for (size_t k = 0; k < list->key_count; k++) {
            struct text row = {0};
            text_printf(&row, "\n| %s | %s | ", list->keys[k].key, list->keys[k].help);
            assert_non_null(strstr(result.out, row.data));
            text_fini(&row);
        }
    }
    assert_non_null(strstr(result.out, "\n## Section `server.tls`\n"));
    assert_non_null(strstr(result.out, "`PULSE_SERVER_TLS_ENABLED`, `MQTT_RS_TLS_ENABLED`"));
    assert_non_null(strstr(result.out, "`--server-tls-enabled`, `--tls`"));
    config_run_end(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_that_are_not_there_are_empty),
        cmocka_unit_test(a_listener_has_defaults_for_all_but_its_address),
        cmocka_unit_test(every_key_of_a_listener_is_kept),
        cmocka_unit_test(users_and_rules_keep_their_order_and_their_place),
        cmocka_unit_test(a_bad_value_is_told_with_its_entry),
        cmocka_unit_test(keys_that_must_be_given_are_missed),
        cmocka_unit_test(unknown_and_repeated_keys_are_refused),
        cmocka_unit_test(a_secret_that_became_a_key_is_not_told),
        cmocka_unit_test(what_is_no_list_of_mappings_is_refused),
        cmocka_unit_test(the_tls_section_stands_inside_of_server),
        cmocka_unit_test(aliases_work_in_lists_and_cannot_blow_them_up),
        cmocka_unit_test(a_list_has_at_most_so_many_entries),
        cmocka_unit_test(twenty_thousand_users_with_their_rules_are_read),
        cmocka_unit_test(what_print_config_prints_loads_to_the_same_lists),
        cmocka_unit_test(the_stars_of_print_config_are_no_password),
        cmocka_unit_test(print_config_names_the_place_of_each_entry),
        cmocka_unit_test(the_reference_describes_every_key_of_every_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
