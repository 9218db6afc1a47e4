#include "tests/unit/node/config_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_tls(const char *environment, const char *arguments, bool tls)
{
    char all[400];
    snprintf(all, sizeof(all), "--tls-certificate-chain c --tls-private-key k --websocket %s",
             arguments);
    struct config_run result = config_run(environment, all);
    assert_int_equal(result.action, CONFIG_RUN);
    assert_int_equal(result.config.server_tls_enabled, tls);
    config_run_end(&result);
}

static void a_yes_or_no_is_a_flag_with_or_without_no(void **state)
{
    (void)state;
    assert_tls("", "--tls", true);
    assert_tls("", "--no-tls", false);
    assert_tls("", "--tls=true", true);
    assert_tls("", "--tls=no", false);
    assert_tls("", "--server-tls-enabled", true);
    assert_tls("", "--server-tls-enabled=false", false);
    assert_tls("", "--tls --no-server-tls-enabled", false);
    assert_tls("", "--no-tls --tls", true);
    assert_tls("PULSE_SERVER_TLS_ENABLED=true", "", true);
    assert_tls("PULSE_SERVER_TLS_ENABLED=true", "--no-tls", false);
    assert_tls("MQTT_RS_TLS_ENABLED=true", "", true);
    assert_tls("MQTT_RS_TLS_ENABLED=true PULSE_SERVER_TLS_ENABLED=false", "", false);
}

static void a_yes_or_no_takes_no_word_behind_it(void **state)
{
    (void)state;
    assert_config_refused("", "--tls true",
                          "pulse: --tls: its value stands behind a =, as in --tls=true\n");
    assert_config_refused("", "--no-tls off",
                          "pulse: --no-tls: its value stands behind a =, as in --tls=true\n");
    assert_config_refused("", "--no-tls=true", "pulse: --no-tls: no value is expected\n");
    assert_config_refused("", "--tls=maybe",
                          "pulse: --tls: \"maybe\" is not a yes or no (allowed: true, false)\n");
    assert_config_refused(
        "", "--tls=", "pulse: --tls: \"\" is not a yes or no (allowed: true, false)\n");
    assert_config_refused("", "--tls please",
                          "pulse: unexpected argument \"please\"; --help lists what there is\n");
}

static void only_a_yes_or_no_has_a_no(void **state)
{
    (void)state;
    assert_config_refused("", "--no-bind",
                          "pulse: unknown flag \"--no-bind\"; --help lists what there is\n");
    assert_config_refused("", "--no-auth-enabeld",
                          "pulse: unknown flag \"--no-auth-enabeld\"; did you mean "
                          "\"--no-auth-enabled\"?\n");
    assert_config_refused("", "--no-",
                          "pulse: unknown flag \"--no-\"; --help lists what there "
                          "is\n");
}

static void the_predecessors_names_for_tls_and_websocket_work(void **state)
{
    (void)state;
    struct config_run result =
        config_good("MQTT_RS_TLS_ENABLED=true MQTT_RS_TLS_CERTIFICATE_CHAIN=c "
                    "MQTT_RS_TLS_PRIVATE_KEY=k MQTT_RS_TLS_CLIENT_AUTH=required "
                    "MQTT_RS_TLS_CLIENT_CA=a MQTT_RS_WEBSOCKET_ENABLED=true "
                    "MQTT_RS_WEBSOCKET_BIND=w:1 MQTT_RS_WEBSOCKET_PATH=/w "
                    "MQTT_RS_WEBSOCKET_TLS_ENABLED=true",
                    "");
    assert_true(result.config.server_tls_enabled);
    assert_string_equal(result.config.server_tls_certificate_chain, "c");
    assert_string_equal(result.config.server_tls_private_key, "k");
    assert_int_equal(result.config.server_tls_client_auth, TLS_CLIENT_AUTH_REQUIRED);
    assert_string_equal(result.config.server_tls_client_ca, "a");
    assert_true(result.config.websocket_enabled);
    assert_string_equal(result.config.websocket_bind, "w:1");
    assert_string_equal(result.config.websocket_path, "/w");
    assert_true(result.config.websocket_tls);
    config_run_end(&result);
    result = config_good("", "--tls --tls-certificate-chain c --tls-private-key k "
                             "--tls-client-auth optional --tls-client-ca a --websocket "
                             "--websocket-bind w:1 --websocket-path /w --websocket-tls");
    assert_int_equal(result.config.server_tls_client_auth, TLS_CLIENT_AUTH_OPTIONAL);
    assert_true(result.config.websocket_enabled);
    assert_true(result.config.websocket_tls);
    config_run_end(&result);
    result = config_good("MQTT_RS_WEBSOCKET_ENABLED=true", "--no-websocket");
    assert_false(result.config.websocket_enabled);
    config_run_end(&result);
}

/* Everybody on the machine can see the arguments of a process. */
static void a_secret_in_a_flag_is_warned_of(void **state)
{
    (void)state;
    assert_config_file_warned(
        "{}\n", "--mysql mysql://u:p@h/d",
        "--mysql: others on this machine can see the secret in the arguments; "
        "give it in the environment or in the file");
    assert_config_file_warned("{}\n", "--auth-enabled --auth-sql-database=mysql://u:p@h/d",
                              "--auth-sql-database: others on this machine can see the secret in "
                              "the arguments; give it in the environment or in the file");
    struct config_run result = config_good("PULSE_STORAGE_MYSQL=mysql://u:p@h/d", "");
    config_run_end(&result);
    result = config_good("", "--mysql mysql://u@h/d");
    config_run_end(&result);
    result =
        config_good("PULSE_STORAGE_MYSQL=mysql://u:p@h/d", "--mysql off --storage-engine memory");
    config_run_end(&result);
}

static void help_shows_how_to_say_no(void **state)
{
    (void)state;
    struct config_run result = config_run("", "--help");
    assert_non_null(strstr(result.out, "\n  --[no-]tls, --[no-]server-tls-enabled\n"));
    assert_non_null(strstr(result.out, "\n  --[no-]websocket-tls\n"));
    assert_non_null(strstr(result.out, "\nserver.tls: "));
    config_run_end(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_yes_or_no_is_a_flag_with_or_without_no),
        cmocka_unit_test(a_yes_or_no_takes_no_word_behind_it),
        cmocka_unit_test(only_a_yes_or_no_has_a_no),
        cmocka_unit_test(the_predecessors_names_for_tls_and_websocket_work),
        cmocka_unit_test(a_secret_in_a_flag_is_warned_of),
        cmocka_unit_test(help_shows_how_to_say_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
