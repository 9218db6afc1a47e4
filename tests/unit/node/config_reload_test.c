#include "tests/unit/node/config_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

/* What of `after` takes a restart when `before` is running. */
static void assert_changes(const char *before, const char *after, const char *expected)
{
    struct config_run running = config_run_file(before, "");
    struct config_run fresh = config_run_file(after, "");
    struct text changes = {0};
    assert_int_equal(running.action, CONFIG_RUN);
    assert_int_equal(fresh.action, CONFIG_RUN);
    config_reload_changes(&running.config, &fresh.config, &changes);
    assert_string_equal(changes.len == 0 ? "" : changes.data, expected);
    text_fini(&changes);
    config_run_end(&running);
    config_run_end(&fresh);
}

static void equal_configurations_differ_in_nothing(void **state)
{
    (void)state;
    const char *yaml = "listeners: [{bind: a:1}]\nauth: {enabled: true, allow_anonymous: true}\n";
    assert_changes("{}\n", "{}\n", "");
    assert_changes(yaml, yaml, "");
    assert_changes("limits: {max_inflight: 65535}\n", "{}\n", "");
}

static void most_options_take_a_restart(void **state)
{
    (void)state;
    assert_changes("{}\n", "limits: {max_inflight: 7, connect_timeout: 9s}\nserver: {bind: a:1}\n",
                   "server.bind, limits.connect_timeout, limits.max_inflight");
    assert_changes("auth: {enabled: true, allow_anonymous: true}\n", "{}\n", "auth.enabled");
    assert_changes("{}\n", "auth: {threads: 3}\nobservability: {log_format: json}\n",
                   "auth.threads, observability.log_format");
    assert_changes("{}\n", "server: {tls: {enabled: true, certificate_chain: c, private_key: k}}\n",
                   "server.tls.enabled");
}

static void who_may_do_what_is_taken_over(void **state)
{
    (void)state;
    assert_changes("auth: {enabled: true, users: [{username: a, password: b}]}\n",
                   "auth: {enabled: true, users: [{username: b, password: c}], password_file: x,\n"
                   "  acl: [{topic_filter: a}], allow_anonymous: true, cache_ttl: 3s, chain: "
                   "users}\n",
                   "");
}

static void certificates_tokens_and_log_levels_are_taken_over(void **state)
{
    (void)state;
    assert_changes("server: {tls: {enabled: true, certificate_chain: c, private_key: k}}\n",
                   "server: {tls: {enabled: true, certificate_chain: d, private_key: l,\n"
                   "  client_auth: required, client_ca: x, min_version: 1.3}}\n"
                   "observability: {log: debug}\nadmin: {token_file: t}\n",
                   "");
    assert_changes("listeners: [{bind: a:1, tls: true, certificate_chain: c, private_key: k}]\n",
                   "listeners: [{bind: a:1, tls: true, certificate_chain: d, private_key: l,\n"
                   "  client_auth: optional, client_ca: x, identity: cn, session_tickets: no}]\n",
                   "");
}

static void listeners_are_known_by_their_address(void **state)
{
    (void)state;
    assert_changes("listeners: [{bind: a:1}, {bind: b:1}]\n",
                   "listeners: [{bind: b:1}, {bind: a:1}]\n", "");
    assert_changes("listeners: [{bind: a:1}]\n", "listeners: [{bind: b:1}, {bind: a:1}]\n",
                   "listeners[0]");
    assert_changes("listeners: [{bind: a:1}, {bind: b:1}]\n", "listeners: [{bind: b:1}]\n",
                   "listeners (without a:1)");
    assert_changes("listeners: [{bind: a:1}, {bind: b:1}]\n",
                   "listeners: [{bind: a:1}, {bind: b:1, max_connections: 3, path: /x, name: x}]\n",
                   "listeners[1].name, listeners[1].max_connections, listeners[1].path");
    assert_changes("listeners: [{bind: a:1}]\n",
                   "listeners: [{bind: a:1, tls: true, certificate_chain: c, private_key: k}]\n",
                   "listeners[0].tls");
    assert_changes("{}\n", "websocket: {enabled: true}\n", "websocket.enabled");
}

static enum config_action reload(struct config *config, const char *yaml, char **complaints)
{
    char *argv[] = {"pulse", "-c", NULL, NULL};
    char *envp[] = {NULL};
    size_t len = 0;
    config_file_write(yaml);
    argv[2] = (char *)config_file_name();
    FILE *out = open_memstream(complaints, &len);
    enum config_action action = config_reload(config, 3, argv, envp, out);
    fclose(out);
    config_file_remove();
    return action;
}

/* The levels are the only thing that counts outside of struct config. */
static void a_reload_leaves_the_log_as_it_is(void **state)
{
    (void)state;
    struct config config;
    char *complaints = NULL;
    assert_int_equal(log_set_filter("warning,conn=debug"), ERR_OK);
    assert_int_equal(reload(&config, "observability: {log: error}\n", &complaints), CONFIG_RUN);
    assert_string_equal(complaints, "");
    assert_string_equal(config.observability_log, "error");
    assert_int_equal(log_level_of(LOG_MAIN), LOG_LEVEL_WARNING);
    assert_int_equal(log_level_of(LOG_CONN), LOG_LEVEL_DEBUG);
    config_fini(&config);
    free(complaints);

    const char *bad = "observability: {log: error}\nserver: {worker_threads: many}\n";
    assert_int_equal(reload(&config, bad, &complaints), CONFIG_EXIT_ERROR);
    assert_non_null(strstr(complaints, ":2: server.worker_threads: \"many\" is not a number"));
    assert_int_equal(log_level_of(LOG_MAIN), LOG_LEVEL_WARNING);
    assert_int_equal(log_level_of(LOG_CONN), LOG_LEVEL_DEBUG);
    config_fini(&config);
    free(complaints);
}

static void only_a_start_puts_the_log_filter_into_effect(void **state)
{
    (void)state;
    assert_int_equal(log_set_filter("warning"), ERR_OK);
    struct config_run result = config_run("", "--log debug --check-config");
    assert_int_equal(log_level_of(LOG_MAIN), LOG_LEVEL_WARNING);
    config_run_end(&result);
    result = config_run("", "--log debug --worker-threads many");
    assert_int_equal(log_level_of(LOG_MAIN), LOG_LEVEL_WARNING);
    config_run_end(&result);
    result = config_good("PULSE_OBSERVABILITY_LOG=debug", "--log error");
    assert_int_equal(log_level_of(LOG_MAIN), LOG_LEVEL_ERROR);
    config_run_end(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_configurations_differ_in_nothing),
        cmocka_unit_test(most_options_take_a_restart),
        cmocka_unit_test(who_may_do_what_is_taken_over),
        cmocka_unit_test(certificates_tokens_and_log_levels_are_taken_over),
        cmocka_unit_test(listeners_are_known_by_their_address),
        cmocka_unit_test(a_reload_leaves_the_log_as_it_is),
        cmocka_unit_test(only_a_start_puts_the_log_filter_into_effect),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
