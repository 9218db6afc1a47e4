#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/node/config_support.h"

static void without_anything_the_defaults_hold(void **state)
{
    (void)state;
    struct config_run result = config_good("", "");
    const struct config *config = &result.config;
    assert_string_equal(config->server_bind, "0.0.0.0:1883");
    assert_int_equal(config->server_worker_threads, 0);
    assert_int_equal(config->server_outbound_queue_size, 1024);
    assert_int_equal(config->server_shutdown_drain_timeout_ms, 5000);
    assert_int_equal(config->storage_engine, STORAGE_MEMORY);
    assert_int_equal(config->limits_server_receive_maximum, 1024);
    assert_int_equal(config->limits_server_maximum_packet_size, 16777216);
    assert_int_equal(config->limits_server_topic_alias_maximum, 1024);
    assert_int_equal(config->limits_max_subscriptions_per_client, 1024);
    assert_int_equal(config->limits_max_offline_queue_len, 1024);
    assert_int_equal(config->limits_max_retained_messages, 1024);
    assert_int_equal(config->limits_max_retained_payload_bytes, 16777216);
    assert_int_equal(config->limits_slow_consumer_policy, SLOW_CONSUMER_THROTTLE);
    assert_int_equal(config->limits_connect_timeout, 10000);
    assert_int_equal(config->limits_offline_queue_policy, OFFLINE_QUEUE_DROP_NEWEST);
    assert_int_equal(config->limits_shared_redispatch, SHARED_REDISPATCH_DISCONNECT);
    assert_string_equal(config->observability_log, "info");
    assert_int_equal(config->observability_log_format, CONFIG_LOG_TEXT);
    assert_string_equal(config->observability_metrics_bind, "");
    assert_int_equal(config->observability_sys_interval, 10000);
    config_run_end(&result);
}

/* [MQTT-4.4.0-1]: nothing is sent again on a connection that is alive, unless somebody asks for it.
 */
static void retransmission_is_off_by_default(void **state)
{
    (void)state;
    struct config_run result = config_good("", "");
    assert_int_equal(result.config.limits_inflight_retransmit_interval_ms, 0);
    config_run_end(&result);
}

static void the_file_beats_the_defaults(void **state)
{
    (void)state;
    config_file_write("server:\n  worker_threads: 2\n  bind: \"[::1]:1\"\n"
                      "limits:\n  slow_consumer_policy: queue_offline\n");
    struct config_run result = config_good("", "-c FILE");
    assert_int_equal(result.config.server_worker_threads, 2);
    assert_string_equal(result.config.server_bind, "[::1]:1");
    assert_int_equal(result.config.limits_slow_consumer_policy, SLOW_CONSUMER_QUEUE_OFFLINE);
    assert_int_equal(result.config.server_outbound_queue_size, 1024);
    config_run_end(&result);
    config_file_remove();
}

static void the_environment_beats_the_file(void **state)
{
    (void)state;
    config_file_write("server:\n  worker_threads: 2\n  outbound_queue_size: 20\n");
    struct config_run result = config_good("PULSE_SERVER_WORKER_THREADS=3", "--config FILE");
    assert_int_equal(result.config.server_worker_threads, 3);
    assert_int_equal(result.config.server_outbound_queue_size, 20);
    config_run_end(&result);
    config_file_remove();
}

static void flags_beat_the_environment(void **state)
{
    (void)state;
    config_file_write("server:\n  worker_threads: 2\n");
    struct config_run result =
        config_good("PULSE_SERVER_WORKER_THREADS=3", "--worker-threads 4 -c FILE");
    assert_int_equal(result.config.server_worker_threads, 4);
    config_run_end(&result);
    config_file_remove();
}

static void the_last_of_two_equal_flags_wins(void **state)
{
    (void)state;
    struct config_run result = config_good("", "--worker-threads 4 --server-worker-threads=5");
    assert_int_equal(result.config.server_worker_threads, 5);
    config_run_end(&result);
}

static void mqtt_rs_names_work_and_pulse_names_beat_them(void **state)
{
    (void)state;
    struct config_run result =
        config_good("MQTT_RS_BIND=a:1 MQTT_RS_LOG=debug MQTT_RS_STORAGE_ENGINE=memory", "");
    assert_string_equal(result.config.server_bind, "a:1");
    assert_string_equal(result.config.observability_log, "debug");
    config_run_end(&result);
    result = config_good("PULSE_SERVER_BIND=b:1 MQTT_RS_BIND=a:1", "");
    assert_string_equal(result.config.server_bind, "b:1");
    config_run_end(&result);
}

static void rust_log_is_taken_when_nothing_else_says_what_to_log(void **state)
{
    (void)state;
    struct config_run result = config_good("RUST_LOG=warn", "");
    assert_string_equal(result.config.observability_log, "warn");
    config_run_end(&result);
    result = config_good("RUST_LOG=warn MQTT_RS_LOG=debug", "");
    assert_string_equal(result.config.observability_log, "debug");
    config_run_end(&result);
}

static void a_rust_log_for_other_programs_is_ignored_with_a_warning(void **state)
{
    (void)state;
    struct config_run result = config_run("RUST_LOG=hyper=info", "");
    assert_int_equal(result.action, CONFIG_RUN);
    assert_string_equal(result.config.observability_log, "info");
    assert_non_null(strstr(result.complaints, "pulse: ignored RUST_LOG: \"hyper=info\" is not"));
    config_run_end(&result);
}

static void an_empty_variable_is_as_good_as_none(void **state)
{
    (void)state;
    struct config_run result =
        config_good("PULSE_SERVER_BIND= MQTT_RS_BIND=a:1 PULSE_LIMITS_MAX_INFLIGHT=", "");
    assert_string_equal(result.config.server_bind, "a:1");
    assert_int_equal(result.config.limits_max_inflight, 65535);
    config_run_end(&result);
}

/* A Kubernetes service called pulse brings PULSE_PORT; PulseAudio has PULSE_SERVER. */
static void variables_of_others_are_ignored_in_silence(void **state)
{
    (void)state;
    struct config_run result =
        config_good("PULSE_SERVER=unix:/a PULSE_PORT=tcp://10.0.0.1:1883 "
                    "PULSE_SERVICE_HOST=10.0.0.1 PULSE_PORT_1883_TCP_ADDR=x HOME=/",
                    "");
    config_run_end(&result);
}

static void variables_that_look_meant_for_pulse_get_a_warning(void **state)
{
    (void)state;
    struct config_run result = config_run("PULSE_SERVER_BNID=a:1 MQTT_RS_SQLITES=/x", "");
    assert_int_equal(result.action, CONFIG_RUN);
    assert_string_equal(result.complaints,
                        "pulse: ignored the unknown environment variable PULSE_SERVER_BNID; did "
                        "you mean \"PULSE_SERVER_BIND\"?\n"
                        "pulse: ignored the unknown environment variable MQTT_RS_SQLITES\n");
    config_run_end(&result);
}

static void metrics_can_be_turned_off_again(void **state)
{
    (void)state;
    struct config_run result =
        config_good("PULSE_OBSERVABILITY_METRICS_BIND=a:1", "--metrics-bind off");
    assert_string_equal(result.config.observability_metrics_bind, "");
    config_run_end(&result);
}

static void a_bad_value_is_told_with_its_place(void **state)
{
    (void)state;
    char expected[200];
    config_file_write("limits:\n\n  max_offline_queue_len: abc\n");
    snprintf(expected, sizeof(expected),
             "pulse: %s:3: limits.max_offline_queue_len: \"abc\" is not a number (allowed: 0 to "
             "4294967295)\n",
             config_file_name());
    assert_config_refused("", "-c FILE", expected);
    assert_config_refused(
        "PULSE_LIMITS_MAX_INFLIGHT=0", "",
        "pulse: PULSE_LIMITS_MAX_INFLIGHT: \"0\" is out of range (allowed: 1 to 65535)\n");
    assert_config_refused(
        "MQTT_RS_WORKER_THREADS=4s", "",
        "pulse: MQTT_RS_WORKER_THREADS: \"4s\" is not a number (allowed: 0 to 64)\n");
    assert_config_refused("", "--worker-threads=65",
                          "pulse: --worker-threads: \"65\" is out of range (allowed: 0 to 64)\n");
    assert_config_refused(
        "", "--storage-engine paper",
        "pulse: --storage-engine: \"paper\" is not one of the words (allowed: memory, "
        "wal, sqlite, mysql)\n");
    config_file_remove();
}

/* Otherwise it would come to light on the day the flag goes away. */
static void a_bad_value_in_the_file_is_told_even_if_a_flag_overrides_it(void **state)
{
    (void)state;
    config_file_write("server:\n  worker_threads: many\n");
    struct config_run result = config_run("", "-c FILE --worker-threads 1");
    assert_int_equal(result.action, CONFIG_EXIT_ERROR);
    config_run_end(&result);
    config_file_remove();
}

static void one_error_is_one_line_even_with_warnings(void **state)
{
    (void)state;
    assert_config_refused(
        "MQTT_RS_SQLITES=/x PULSE_SERVER_BIND=x", "",
        "pulse: PULSE_SERVER_BIND: \"x\" is not an address (allowed: host:port, such as "
        "127.0.0.1:1883 or [::1]:1883; off)\n");
}

static void a_log_filter_is_checked(void **state)
{
    (void)state;
    struct config_run result = config_good("", "--log warning,conn=debug");
    assert_string_equal(result.config.observability_log, "warning,conn=debug");
    config_run_end(&result);
    result = config_run("", "--log loud");
    assert_int_equal(result.action, CONFIG_EXIT_ERROR);
    assert_non_null(strstr(result.complaints, "pulse: --log: \"loud\" is not a log filter (allow"));
    config_run_end(&result);
}

static void an_unknown_flag_is_refused_with_a_guess(void **state)
{
    (void)state;
    assert_config_refused("", "--bnd a:1",
                          "pulse: unknown flag \"--bnd\"; did you mean \"--bind\"?\n");
    assert_config_refused("", "--limits-max-infligth=1",
                          "pulse: unknown flag \"--limits-max-infligth\"; did you mean "
                          "\"--limits-max-inflight\"?\n");
    assert_config_refused("", "--server-keep-alive 1",
                          "pulse: unknown flag \"--server-keep-alive\"; did you mean "
                          "\"--limits-server-keep-alive\"?\n");
    assert_config_refused("", "--check",
                          "pulse: unknown flag \"--check\"; --help lists what there is\n");
    assert_config_refused("", "-x", "pulse: unknown flag \"-x\"; --help lists what there is\n");
    assert_config_refused("", "--help=1", "pulse: --help: no value is expected\n");
    assert_config_refused(
        "", "broker.yaml",
        "pulse: unexpected argument \"broker.yaml\"; --help lists what there is\n");
}

static void a_flag_needs_its_value(void **state)
{
    (void)state;
    assert_config_refused("", "--bind", "pulse: --bind: a value is missing\n");
    assert_config_refused("", "--bind --log info", "pulse: --bind: a value is missing\n");
    assert_config_refused("", "-c", "pulse: -c: the name of a file is missing\n");
    assert_config_refused("", "--config=", "pulse: --config: the name of a file is missing\n");
    assert_config_refused("", "--worker-threads -1",
                          "pulse: --worker-threads: \"-1\" is not a number (allowed: 0 to 64)\n");
    assert_config_refused("", "--worker-threads=",
                          "pulse: --worker-threads: \"\" is not a number (allowed: 0 to 64)\n");
}

static void a_file_that_is_named_must_exist_and_only_one_can_be(void **state)
{
    (void)state;
    assert_config_refused("", "-c /nowhere/x.yaml",
                          "pulse: cannot read /nowhere/x.yaml: No such file or directory\n");
    assert_config_refused("", "-c a --config b",
                          "pulse: --config: there can be only one configuration file\n");
}

static void two_listeners_cannot_share_an_address(void **state)
{
    (void)state;
    assert_config_refused("", "--bind a:1 --metrics-bind a:1",
                          "pulse: --metrics-bind: observability.metrics_bind: must differ from "
                          "the addresses of listeners\n");
}

static void queue_offline_needs_an_offline_queue(void **state)
{
    (void)state;
    assert_config_refused("PULSE_LIMITS_SLOW_CONSUMER_POLICY=queue-offline",
                          "--max-offline-queue-len 0",
                          "pulse: PULSE_LIMITS_SLOW_CONSUMER_POLICY: limits.slow_consumer_policy: "
                          "queue-offline needs limits.max_offline_queue_len above 0\n");
}

static void check_config_says_that_all_is_well(void **state)
{
    (void)state;
    char expected[200];
    config_file_write("server:\n  bind: a:1\n");
    struct config_run result = config_run("", "--check-config -c FILE");
    snprintf(expected, sizeof(expected), "configuration is valid: %s\n", config_file_name());
    assert_int_equal(result.action, CONFIG_EXIT_OK);
    assert_string_equal(result.out, expected);
    assert_string_equal(result.complaints, "");
    config_run_end(&result);
    result = config_run("", "--check-config");
    assert_string_equal(result.out, "configuration is valid: no file\n");
    config_run_end(&result);
    result = config_run("", "--check-config -c FILE --bind x");
    assert_int_equal(result.action, CONFIG_EXIT_ERROR);
    assert_string_equal(result.out, "");
    config_run_end(&result);
    config_file_remove();
}

static void print_config_names_the_origin_of_each_value(void **state)
{
    (void)state;
    char from_file[200];
    config_file_write("limits:\n  max_inflight: 7\n");
    struct config_run result =
        config_run("PULSE_SERVER_WORKER_THREADS=3", "-c FILE --print-config --bind [::1]:1");
    snprintf(from_file, sizeof(from_file), "  max_inflight: 7 # %s:2\n", config_file_name());
    assert_non_null(strstr(result.out, from_file));
    assert_non_null(strstr(result.out, "  worker_threads: 3 # PULSE_SERVER_WORKER_THREADS\n"));
    assert_non_null(strstr(result.out, "  bind: \"[::1]:1\" # --bind\n"));
    assert_non_null(strstr(result.out, "  metrics_bind: \"off\" # default\n"));
    config_run_end(&result);
    config_file_remove();
}

/* The output without its comments. */
static char *values_only(const char *yaml)
{
    char *copy = strdup(yaml);
    char *to = copy;
    for (const char *from = yaml; *from != '\0'; from++) {
        if (from[0] == ' ' && from[1] == '#') {
            from += strcspn(from, "\n");
        }
        *to++ = *from;
    }
    *to = '\0';
    return copy;
}

static void what_print_config_prints_loads_to_the_same_values(void **state)
{
    (void)state;
    struct config_run first =
        config_run("", "--print-config --bind [::1]:1 --metrics-bind a:1 "
                       "--server-maximum-packet-size 1000 --log warning,conn=debug "
                       "--limits-connect-timeout 1500ms");
    assert_int_equal(first.action, CONFIG_EXIT_OK);
    config_file_write(first.out);
    struct config_run second = config_run("", "-c FILE --print-config");
    assert_string_equal(second.complaints, "");
    char *before = values_only(first.out);
    char *after = values_only(second.out);
    assert_string_equal(before, after);
    assert_null(strstr(second.out, "# default"));
    assert_int_equal(second.config.limits_connect_timeout, 1500);
    free(before);
    free(after);
    config_run_end(&first);
    config_run_end(&second);
    config_file_remove();
}

static void help_names_every_section_and_ends_well(void **state)
{
    (void)state;
    struct config_run result = config_run("", "--help --nonsense");
    assert_int_equal(result.action, CONFIG_EXIT_OK);
    assert_string_equal(result.complaints, "");
    assert_ptr_equal(strstr(result.out, "Pulse is an MQTT broker"), result.out);
    assert_non_null(strstr(result.out, "\nserver: "));
    assert_non_null(strstr(result.out, "\nobservability: "));
    assert_non_null(strstr(result.out, "\n  --bind, --server-bind HOST:PORT\n"));
    assert_non_null(strstr(result.out, "\n  --storage-engine WORD\n"));
    for (const char *line = result.out; *line != '\0'; line += strcspn(line, "\n") + 1) {
        assert_true(strcspn(line, "\n") <= 90);
    }
    config_run_end(&result);
}

static void help_works_while_the_environment_is_wrong(void **state)
{
    (void)state;
    struct config_run result = config_run("PULSE_SERVER_BIND=x", "-h");
    assert_int_equal(result.action, CONFIG_EXIT_OK);
    config_run_end(&result);
}

static void version_is_one_line(void **state)
{
    (void)state;
    struct config_run result = config_run("", "--version");
    assert_int_equal(result.action, CONFIG_EXIT_OK);
    assert_string_equal(result.out, "pulse " PULSE_VERSION "\n");
    config_run_end(&result);
}

static void a_page_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    char *argv[] = {"pulse", "--help", NULL};
    char *envp[] = {NULL};
    struct config config;
    FILE *full = fopen("/dev/full", "w");
    assert_int_equal(config_load(&config, 2, argv, envp, full, stderr), CONFIG_EXIT_ERROR);
    fclose(full);
    config_fini(&config);
}

/* Opens a file of the project: this one is tests/unit/node/config_test.c in it. */
static FILE *open_in_project(const char *name)
{
    char full[1024];
    const char *tail = strstr(__FILE__, "tests/unit/node/");
    assert_non_null(tail);
    snprintf(full, sizeof(full), "%.*s%s", (int)(tail - __FILE__), __FILE__, name);
    FILE *file = fopen(full, "r");
    assert_non_null(file);
    return file;
}

/* After a change of the table: pulse --print-reference > docs/configuration.md */
static void the_reference_page_in_docs_is_up_to_date(void **state)
{
    (void)state;
    struct config_run result = config_run("", "--print-reference");
    size_t size = strlen(result.out) + 100;
    char *page = calloc(1, size + 1);
    FILE *file = open_in_project("docs/configuration.md");
    assert_true(fread(page, 1, size, file) > 0);
    fclose(file);
    assert_string_equal(page, result.out);
    free(page);
    config_run_end(&result);
}

/* Who copies it is not left open. */
static void the_sample_file_is_good_and_safe(void **state)
{
    (void)state;
    char content[16384] = "";
    FILE *file = open_in_project("deploy/pulse.yaml");
    assert_true(fread(content, 1, sizeof(content) - 1, file) > 0);
    fclose(file);
    struct config_run sample = config_good_file(content, "");
    const struct config *config = &sample.config;
    assert_int_equal(config->listener_count, 3);
    for (size_t i = 0; i < config->listener_count; i++) {
        const struct config_listener *listener = &config->listeners[i];
        assert_true(listener->tls || strncmp(listener->bind, "127.", 4) == 0);
    }
    assert_true(config->auth_enabled);
    assert_false(config->auth_allow_anonymous);
    assert_int_equal(config->auth_no_match, ACL_DENY);
    assert_int_equal(config->storage_engine, STORAGE_WAL);
    config_run_end(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_anything_the_defaults_hold),
        cmocka_unit_test(retransmission_is_off_by_default),
        cmocka_unit_test(the_file_beats_the_defaults),
        cmocka_unit_test(the_environment_beats_the_file),
        cmocka_unit_test(flags_beat_the_environment),
        cmocka_unit_test(the_last_of_two_equal_flags_wins),
        cmocka_unit_test(mqtt_rs_names_work_and_pulse_names_beat_them),
        cmocka_unit_test(rust_log_is_taken_when_nothing_else_says_what_to_log),
        cmocka_unit_test(a_rust_log_for_other_programs_is_ignored_with_a_warning),
        cmocka_unit_test(an_empty_variable_is_as_good_as_none),
        cmocka_unit_test(variables_of_others_are_ignored_in_silence),
        cmocka_unit_test(variables_that_look_meant_for_pulse_get_a_warning),
        cmocka_unit_test(metrics_can_be_turned_off_again),
        cmocka_unit_test(a_bad_value_is_told_with_its_place),
        cmocka_unit_test(a_bad_value_in_the_file_is_told_even_if_a_flag_overrides_it),
        cmocka_unit_test(one_error_is_one_line_even_with_warnings),
        cmocka_unit_test(a_log_filter_is_checked),
        cmocka_unit_test(an_unknown_flag_is_refused_with_a_guess),
        cmocka_unit_test(a_flag_needs_its_value),
        cmocka_unit_test(a_file_that_is_named_must_exist_and_only_one_can_be),
        cmocka_unit_test(two_listeners_cannot_share_an_address),
        cmocka_unit_test(queue_offline_needs_an_offline_queue),
        cmocka_unit_test(check_config_says_that_all_is_well),
        cmocka_unit_test(print_config_names_the_origin_of_each_value),
        cmocka_unit_test(what_print_config_prints_loads_to_the_same_values),
        cmocka_unit_test(help_names_every_section_and_ends_well),
        cmocka_unit_test(help_works_while_the_environment_is_wrong),
        cmocka_unit_test(version_is_one_line),
        cmocka_unit_test(a_page_that_cannot_be_written_is_an_error),
        cmocka_unit_test(the_reference_page_in_docs_is_up_to_date),
        cmocka_unit_test(the_sample_file_is_good_and_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
