#include "tests/unit/node/config_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What texts must look like. Each rule is asked through the option that has it. */

#include "base/log.h"
#include "node/config_list_priv.h"
#include "node/config_value_priv.h"

static const struct config_option *option_of(const char *path)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        if (strcmp(config__options[i].path, path) == 0) {
            return &config__options[i];
        }
    }
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        for (size_t k = 0; k < config__lists[i].key_count; k++) {
            if (strcmp(config__lists[i].keys[k].path, path) == 0) {
                return &config__lists[i].keys[k];
            }
        }
    }
    fail_msg("there is no %s", path);
    return NULL;
}

static bool is_good(const char *path, const char *words)
{
    struct config_value value;
    struct text reason = {0};
    enum err err = config__value_parse(option_of(path), words, &value, &reason);
    text_fini(&reason);
    return err == ERR_OK;
}

/* Lists end with NULL. */
static void assert_good(const char *path, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (!is_good(path, *words)) {
            fail_msg("%s: \"%s\" was refused", path, *words);
        }
    }
}

static void assert_bad(const char *path, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (is_good(path, *words)) {
            fail_msg("%s: \"%s\" was taken", path, *words);
        }
    }
}

#define LIST(...)         \
    (const char *const[]) \
    {                     \
        __VA_ARGS__, NULL \
    }

static void assert_shown(const char *path, const char *words, const char *shown)
{
    struct text text = {0};
    config__value_add(option_of(path), (struct config_value){.text = words}, &text);
    assert_string_equal(text.data, shown);
    assert_int_equal(config__value_has_secret(option_of(path), words), strcmp(words, shown) != 0);
    text_fini(&text);
}

static void a_listener_is_at_host_and_port_or_a_socket(void **state)
{
    (void)state;
    char longest[200] = "unix:/";
    memset(longest + 6, 'a', 106);
    assert_good("listeners.bind", LIST("0.0.0.0:1883", "[::]:8883", "broker.example:1",
                                       "unix:/run/pulse.sock", longest));
    longest[6 + 106] = 'a';
    assert_bad("listeners.bind", LIST(longest, "unix:", "unix:/", "unix:/run/", "unix:relative",
                                      "unix:/a\nb", "/run/pulse.sock", "1883", "off", "a:0"));
}

static void a_chain_names_each_provider_once(void **state)
{
    (void)state;
    assert_good("auth.chain", LIST("default", "users", "http,users",
                                   "certificate, users,password-file, jwt, sql, http"));
    assert_bad("auth.chain", LIST("", "users,", ",users", "users,users", "Users", "ldap",
                                  "users;http", "password_file"));
}

static void algorithms_are_those_that_are_known(void **state)
{
    (void)state;
    assert_good("auth.jwt_algorithms", LIST("HS256", "RS256,ES256", "ES256, RS256"));
    assert_bad("auth.jwt_algorithms", LIST("none", "HS512", "hs256", "RS256,", "", "RS256 ES256"));
}

static void networks_are_addresses_with_or_without_a_length(void **state)
{
    (void)state;
    assert_good("limits.exempt_addresses", LIST("off", "127.0.0.0/8,::1/128", "10.0.0.1",
                                                "0.0.0.0/0", "fd00::/8, 10.0.0.0/8"));
    assert_bad("limits.exempt_addresses", LIST("", "localhost", "10.0.0.0/33", "::/129", "10.0.0/8",
                                               "10.0.0.0/8,", "10.0.0.0/08", "10.0.0.0/-1"));
}

static void an_origin_is_a_scheme_and_a_host(void **state)
{
    (void)state;
    assert_good("websocket.origins",
                LIST("any", "https://example.org", "http://a:8080, https://[::1]:1", "null",
                     "chrome-extension://abc"));
    assert_bad("websocket.origins",
               LIST("", "example.org", "https://", "https://a/", "https://a/b", "https://*.a",
                    "https://u@a", "https://a b", "://a", "https://a,", "http//a"));
}

static void a_path_begins_with_a_slash(void **state)
{
    (void)state;
    assert_good("websocket.path", LIST("/", "/mqtt", "/a/b-c_d.~%20"));
    assert_bad("websocket.path", LIST("mqtt", "", "/a b", "/a?b", "/a#b", "/\xc3\xa4", "/a\n"));
}

static void names_for_openssl_cannot_bring_anything_else(void **state)
{
    (void)state;
    assert_good("server.tls.ciphers", LIST("default", "ECDHE+AESGCM:!aNULL:@SECLEVEL=2", "a"));
    assert_bad("server.tls.ciphers", LIST("", "a\nb", "a;b", "$a", "a\"b"));
}

static void an_http_server_has_a_url_without_secrets(void **state)
{
    (void)state;
    assert_good("auth.http_url", LIST("off", "http://127.0.0.1:8080/auth", "https://a.example",
                                      "https://[::1]:1/a?b=c"));
    assert_bad("auth.http_url",
               LIST("", "a.example/auth", "ftp://a/", "file:///etc/passwd", "http://", "http:///a",
                    "http://u:p@a/", "http://u@a/", "https://a:99999/", "https://a/ b",
                    "https://a/#b", "https://a\n/"));
    assert_shown("auth.http_url", "https://a/b?key=1", "https://a/b?***");
    assert_shown("auth.http_url", "https://a/b", "https://a/b");
}

static void a_database_is_a_url_or_a_file(void **state)
{
    (void)state;
    assert_good("auth.sql_database",
                LIST("off", "mysql://u:p@h/d", "mariadb://u@h:1/d", "users.db", "/a b/users.db"));
    assert_bad("auth.sql_database", LIST("", "mysql://u:p@h", "postgres://u:p@h/d", "a\nb"));
    assert_shown("auth.sql_database", "mysql://u:p:@q@h/d", "mysql://u:***@h/d");
    assert_shown("auth.sql_database", "mysql://u@h/d", "mysql://u@h/d");
    assert_shown("auth.sql_database", "users:a@b.db", "users:a@b.db");
}

static void a_password_is_any_text_but_three_stars(void **state)
{
    (void)state;
    assert_good("auth.users.password", LIST("a", "off", "****", "a b", "\xc3\xa4", "$6$x$y"));
    assert_bad("auth.users.password", LIST("", "***", "a\nb", "\xff"));
    assert_shown("auth.users.password", "a", "***");
    struct config_value value;
    struct text reason = {0};
    assert_int_equal(
        config__value_parse(option_of("auth.users.password"), "tulips\n", &value, &reason),
        ERR_SYNTAX);
    assert_null(strstr(reason.data, "tulips"));
    text_fini(&reason);
}

static void an_access_rule_has_a_filter_without_share(void **state)
{
    (void)state;
    assert_good("auth.acl.topic_filter",
                LIST("#", "a/+/b", "a/%c/#", "%u", "100%%/x", "$SYS/#", "off"));
    assert_bad("auth.acl.topic_filter",
               LIST("", "a/#/b", "a#", "$share/g/a", "%x", "a%", "a\nb", "\xff", "%u%c"));
}

static void plain_text_is_utf8_without_control_characters(void **state)
{
    (void)state;
    assert_good("auth.jwt_issuer", LIST("off", "a b", "\xe2\x82\xac"));
    assert_bad("auth.jwt_issuer", LIST("", "a\nb", "\x7f", "\xff", "\xed\xa0\x80"));
}

/* The configuration is judged before it is in effect, so its rule is not the log's own function. */
static void a_log_filter_is_good_where_the_log_takes_it(void **state)
{
    (void)state;
    static const char *const words[] = {"info",
                                        "off",
                                        "warn",
                                        "trace",
                                        "DEBUG",
                                        "info,conn=debug",
                                        "conn=debug",
                                        "conn = debug , warning",
                                        " info ",
                                        "conn=warn,http=off",
                                        "loud",
                                        "info,",
                                        ",info",
                                        "conn",
                                        "conn=",
                                        "conn=loud",
                                        "=info",
                                        "bus=info",
                                        "info conn=debug",
                                        "conn=debug=info",
                                        "info;conn=debug",
                                        "conn==debug",
                                        "CONN=Info",
                                        "info,,debug",
                                        "warnings"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        bool expected = log_set_filter(words[i]) == ERR_OK;
        if (is_good("observability.log", words[i]) != expected) {
            fail_msg("\"%s\"", words[i]);
        }
    }
    for (int area = 0; area < LOG_AREA_COUNT; area++) {
        for (int level = 0; level < LOG_LEVELS; level++) {
            char filter[64];
            snprintf(filter, sizeof(filter), "%s=%s", log_area_name((enum log_area)area),
                     log_level_name((enum log_level)level));
            assert_true(is_good("observability.log", filter));
            assert_int_equal(log_set_filter(filter), ERR_OK);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listener_is_at_host_and_port_or_a_socket),
        cmocka_unit_test(a_chain_names_each_provider_once),
        cmocka_unit_test(algorithms_are_those_that_are_known),
        cmocka_unit_test(networks_are_addresses_with_or_without_a_length),
        cmocka_unit_test(an_origin_is_a_scheme_and_a_host),
        cmocka_unit_test(a_path_begins_with_a_slash),
        cmocka_unit_test(names_for_openssl_cannot_bring_anything_else),
        cmocka_unit_test(an_http_server_has_a_url_without_secrets),
        cmocka_unit_test(a_database_is_a_url_or_a_file),
        cmocka_unit_test(a_password_is_any_text_but_three_stars),
        cmocka_unit_test(an_access_rule_has_a_filter_without_share),
        cmocka_unit_test(plain_text_is_utf8_without_control_characters),
        cmocka_unit_test(a_log_filter_is_good_where_the_log_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
