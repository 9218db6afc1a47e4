#include "tests/unit/node/config_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOBODY                                                                       \
    "nobody could connect; give auth.users, auth.password_file, auth.jwt_key_file, " \
    "auth.sql_database, auth.http_url, identity of a TLS listener, or auth.allow_anonymous"
#define HASH               \
    "$6$MDEyMzQ1Njc4OWFi$" \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="

static void somebody_must_be_able_to_connect(void **state)
{
    (void)state;
    assert_config_refused("", "--auth-enabled",
                          "pulse: --auth-enabled: auth.enabled: " NOBODY "\n");
    static const char *const enough[] = {"--auth-allow-anonymous", "--auth-password-file p",
                                         "--auth-jwt-key-file p", "--auth-sql-database p",
                                         "--auth-http-url https://a/"};
    for (size_t i = 0; i < sizeof(enough) / sizeof(enough[0]); i++) {
        char arguments[100];
        snprintf(arguments, sizeof(arguments), "--auth-enabled %s", enough[i]);
        struct config_run result = config_good("", arguments);
        config_run_end(&result);
    }
}

static void assert_chain(const char *arguments, size_t count, const enum auth_provider_kind *kinds)
{
    enum auth_provider_kind chain[AUTH_PROVIDER_COUNT];
    struct config_run result = config_good("", arguments);
    assert_int_equal(config_auth_chain(&result.config, chain), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(chain[i], kinds[i]);
    }
    config_run_end(&result);
}

static void the_chain_is_what_is_configured_or_as_it_is_given(void **state)
{
    (void)state;
    const enum auth_provider_kind all[] = {AUTH_CERTIFICATE, AUTH_PASSWORD_FILE, AUTH_JWT, AUTH_SQL,
                                           AUTH_HTTP};
    const enum auth_provider_kind some[] = {AUTH_HTTP, AUTH_PASSWORD_FILE};
    assert_chain("--auth-enabled --tls --tls-certificate-chain c --tls-private-key k "
                 "--tls-client-auth optional --tls-client-ca a --server-tls-identity cn "
                 "--auth-password-file p --auth-jwt-key-file j --auth-sql-database s "
                 "--auth-http-url https://h",
                 5, all);
    assert_chain("--auth-enabled --auth-password-file p --auth-http-url https://h "
                 "--auth-chain http,password-file",
                 2, some);
    assert_chain("--auth-enabled --auth-allow-anonymous", 0, NULL);
    assert_chain("", 0, NULL);
}

static void the_chain_and_what_is_configured_fit(void **state)
{
    (void)state;
    assert_config_refused("",
                          "--auth-enabled --auth-password-file p --auth-chain password-file,sql",
                          "pulse: --auth-chain: auth.chain: sql needs auth.sql_database\n");
    assert_config_refused("", "--auth-enabled --auth-password-file p --auth-chain certificate",
                          "pulse: --auth-chain: auth.chain: certificate needs identity of a TLS "
                          "listener\n");
    assert_config_file_warned("{}\n",
                              "--auth-enabled --auth-password-file p --auth-jwt-key-file j "
                              "--auth-chain jwt",
                              "auth.password_file is not used, because auth.chain does not name "
                              "password-file");
}

static void names_of_users_differ(void **state)
{
    (void)state;
    assert_config_file_refused("auth:\n"
                               "  enabled: true\n"
                               "  users:\n"
                               "  - {username: b, password: " HASH "}\n"
                               "  - {username: a, password: " HASH "}\n"
                               "  - {username: b, password: " HASH "}\n",
                               "", "FILE:6: auth.users[2].username: auth.users[0] has this name");
    struct config_run result = config_good_file("auth:\n"
                                                "  enabled: true\n"
                                                "  users:\n"
                                                "  - {username: b, password: " HASH "}\n"
                                                "  - {username: B, password: " HASH "}\n",
                                                "");
    config_run_end(&result);
}

static void passwords_as_they_are_get_a_warning_with_names_only(void **state)
{
    (void)state;
    assert_config_file_warned(
        "auth:\n"
        "  enabled: true\n"
        "  users:\n"
        "  - {username: anna, password: tulips}\n"
        "  - {username: bob, password: " HASH "}\n"
        "  - {username: c\"c, password: roses}\n",
        "",
        "the passwords of these users stand in the configuration as they are; "
        "pulse passwd makes hashes: \"anna\", \"c\\\"c\"");
}

/* A hash with a slip in it would lock its user out, and a password that looks like one is not
 * taken for a password. */
static void what_begins_like_a_hash_must_be_one(void **state)
{
    (void)state;
    struct config_run result = config_run_file("auth:\n"
                                               "  enabled: true\n"
                                               "  users:\n"
                                               "  - {username: anna, password: $7$101$abc$def}\n",
                                               "");
    assert_int_equal(result.action, CONFIG_EXIT_ERROR);
    assert_non_null(strstr(result.complaints, ":4: auth.users[0].password: "));
    assert_null(strstr(result.complaints, "abc"));
    config_run_end(&result);
}

#define USERS                                    \
    "auth:\n"                                    \
    "  enabled: true\n"                          \
    "  users:\n"                                 \
    "  - {username: anna, password: " HASH "}\n" \
    "  acl:\n"

static void a_rule_for_nobody_is_refused_when_there_are_no_other_users(void **state)
{
    (void)state;
    assert_config_file_refused(USERS "  - {username: anna, topic_filter: a}\n"
                                     "  - {username: ann, topic_filter: a}\n",
                               "", "FILE:7: auth.acl[1].username: auth.users has no user \"ann\"");
    assert_config_file_warned(
        USERS "  - {username: ann, topic_filter: a}\n"
              "  - {username: anna, topic_filter: a}\n"
              "  - {username: tom, topic_filter: a}\n",
        "--auth-password-file p",
        "FILE:6: auth.acl[0]: auth.users has no user \"ann\"; rules like this "
        "one: 2");
    struct config_run result = config_good_file("auth: {enabled: true, password_file: p, "
                                                "acl: [{username: tom, topic_filter: a}]}\n",
                                                "");
    config_run_end(&result);
}

static void anonymous_clients_have_no_name_and_no_group(void **state)
{
    (void)state;
    const char *why = "FILE:6: auth.acl[0].anonymous: clients without a user name have no name and "
                      "no group";
    assert_config_file_refused(USERS "  - {username: anna, anonymous: true, topic_filter: a}\n", "",
                               why);
    assert_config_file_refused(USERS "  - {group: x, anonymous: true, topic_filter: a}\n", "", why);
    struct config_run result =
        config_good_file(USERS "  - {anonymous: true, topic_filter: a}\n", "");
    config_run_end(&result);
}

static void rules_that_do_not_hold_are_warned_of(void **state)
{
    (void)state;
    assert_config_file_warned("auth: {users: [{username: a, password: " HASH "}]}\n", "",
                              "FILE:1: auth.users is not used, because auth.enabled is false: "
                              "everybody may do everything");
    assert_config_file_warned("auth: {acl: [{topic_filter: a}]}\n", "",
                              "FILE:1: auth.acl is not used, because auth.enabled is false: "
                              "everybody may do everything");
    assert_config_file_warned("auth: {password_file: p, enabled: false}\n", "",
                              "FILE:1: auth.password_file: is not used, because auth.enabled is "
                              "false: everybody may do everything");
    struct config_run result = config_good_file("auth: {enabled: false, threads: 0}\n", "");
    config_run_end(&result);
}

static void tls_to_the_database_of_users_needs_a_server(void **state)
{
    (void)state;
    assert_config_refused("",
                          "--auth-enabled --auth-sql-database mysql://u@h/d --auth-sql-tls-ca c",
                          "pulse: auth.sql_tls: must be required or verify when auth.sql_tls_ca is "
                          "given\n");
    assert_config_refused(
        "", "--auth-enabled --auth-sql-database u.db --auth-sql-tls verify",
        "pulse: --auth-sql-tls: auth.sql_tls: needs a server: auth.sql_database is "
        "a file\n");
    struct config_run result =
        config_good("", "--auth-enabled --auth-sql-database mysql://u@h/d --auth-sql-tls verify "
                        "--auth-sql-tls-ca c");
    assert_int_equal(result.config.auth_sql_tls, MYSQL_TLS_VERIFY);
    config_run_end(&result);
}

static void passwords_in_the_clear_are_warned_of(void **state)
{
    (void)state;
    static const char *const bad[] = {"http://auth.example/a", "HTTP://10.0.0.1:8080",
                                      "http://[fd00::1]/", "http://127.0.0.1.example:1?a"};
    static const char *const fine[] = {"https://auth.example/a", "http://127.0.0.1:8080/a",
                                       "http://[::1]/", "http://localhost?a"};
    char arguments[100];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(arguments, sizeof(arguments), "--auth-enabled --auth-http-url %s", bad[i]);
        struct config_run result = config_run("", arguments);
        assert_non_null(strstr(result.complaints,
                               "--auth-http-url: auth.http_url: passwords go over "
                               "the network in the clear; use https\n"));
        config_run_end(&result);
        snprintf(arguments, sizeof(arguments), "--auth-enabled --auth-http-url %s", fine[i]);
        result = config_run("", arguments);
        assert_null(strstr(result.complaints, "in the clear"));
        config_run_end(&result);
    }
}

/* The connection would be closed before the client learns that it was refused. */
static void refusals_come_before_the_connection_is_given_up(void **state)
{
    (void)state;
    assert_config_refused("", "--auth-enabled --auth-allow-anonymous --auth-wait-max 5s",
                          "pulse: auth.failure_delay_max: must be below auth.wait_max\n");
    assert_config_refused("", "--auth-enabled --auth-allow-anonymous --auth-failure-delay 6s",
                          "pulse: --auth-failure-delay: auth.failure_delay: must not be above "
                          "auth.failure_delay_max\n");
    struct config_run result =
        config_good("", "--auth-enabled --auth-allow-anonymous --auth-wait-max 5s "
                        "--auth-failure-delay 0");
    config_run_end(&result);
    result = config_good("", "--limits-connect-timeout 1s");
    config_run_end(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(somebody_must_be_able_to_connect),
        cmocka_unit_test(the_chain_is_what_is_configured_or_as_it_is_given),
        cmocka_unit_test(the_chain_and_what_is_configured_fit),
        cmocka_unit_test(names_of_users_differ),
        cmocka_unit_test(passwords_as_they_are_get_a_warning_with_names_only),
        cmocka_unit_test(what_begins_like_a_hash_must_be_one),
        cmocka_unit_test(a_rule_for_nobody_is_refused_when_there_are_no_other_users),
        cmocka_unit_test(anonymous_clients_have_no_name_and_no_group),
        cmocka_unit_test(rules_that_do_not_hold_are_warned_of),
        cmocka_unit_test(tls_to_the_database_of_users_needs_a_server),
        cmocka_unit_test(passwords_in_the_clear_are_warned_of),
        cmocka_unit_test(refusals_come_before_the_connection_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
