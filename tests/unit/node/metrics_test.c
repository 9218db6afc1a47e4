#include "node/metrics_page.h"

#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"

/* Two workers, zeroed before each test. */
static struct metrics sets[2];
static struct metrics *const set_list[] = {&sets[0], &sets[1]};
static struct storage_stats stored;
static struct text page;

static struct metrics_context context(void)
{
    return (struct metrics_context){
        .sets = set_list,
        .workers = ARRAY_COUNT(set_list),
        .count = ARRAY_COUNT(set_list),
        .started_mono_ms = clock_mono_ms(),
        .retained_messages = 7,
        .retained_bytes = 700,
        .filters = 70,
        .storage = &stored,
    };
}

static int clear(void **state)
{
    (void)state;
    memset(sets, 0, sizeof(sets));
    memset(&stored, 0, sizeof(stored));
    text_fini(&page);
    return 0;
}

static const char *make_page(void)
{
    struct metrics_context now = context();
    text_fini(&page);
    metrics_page(&now, &page);
    return page.data;
}

/* The value of the sample `series`, written as on the page; fails when it is there not exactly
 * once. */
static double sample(const char *series)
{
    char line[256];
    snprintf(line, sizeof(line), "\n%s ", series);
    const char *at = strstr(page.data, line);
    if (at == NULL || strstr(at + 1, line) != NULL) {
        fail_msg("not once on the page: %s", series);
    }
    return strtod(at + strlen(line), NULL);
}

static void assert_sample(const char *series, double expected)
{
    double actual = sample(series);
    if (actual < expected - 1e-9 || actual > expected + 1e-9) {
        fail_msg("%s is %g, not %g", series, actual, expected);
    }
}

static void a_counter_is_the_sum_of_all_workers(void **state)
{
    (void)state;
    metric_add(&sets[0], METRIC_BYTES_IN, 100);
    metric_add(&sets[1], METRIC_BYTES_IN, 23);
    metric_add(&sets[1], METRIC_BYTES_IN, 1);
    assert_int_equal(metric_sum(set_list, 2, METRIC_BYTES_IN), 124);
    make_page();
    assert_sample("pulse_bytes_in_total", 124);
}

/* A session may begin on one worker's books and end on another's. */
static void a_gauge_may_be_negative_on_one_worker(void **state)
{
    (void)state;
    metric_add(&sets[0], METRIC_SESSIONS, 5);
    metric_add(&sets[1], METRIC_SESSIONS, -2);
    make_page();
    assert_sample("pulse_sessions_current", 3);
}

static void labels_tell_the_rows_of_one_name_apart(void **state)
{
    (void)state;
    metric_add(&sets[0], METRIC_PUBLISH_IN_QOS0, 1);
    metric_add(&sets[0], METRIC_PUBLISH_IN_QOS1, 2);
    metric_add(&sets[1], METRIC_PUBLISH_IN_QOS2, 4);
    metric_add(&sets[1], METRIC_PUBLISH_OUT_QOS2, 8);
    make_page();
    assert_sample("mqtt_publish_in_total{qos=\"0\"}", 1);
    assert_sample("mqtt_publish_in_total{qos=\"1\"}", 2);
    assert_sample("mqtt_publish_in_total{qos=\"2\"}", 4);
    assert_int_equal(metric_sum_name(set_list, 2, METRIC_PUBLISH_IN_QOS1), 7);
}

static void large_counters_are_written_without_loss(void **state)
{
    (void)state;
    metric_add(&sets[0], METRIC_BYTES_OUT, INT64_C(9007199254740993));
    assert_non_null(strstr(make_page(), "\npulse_bytes_out_total 9007199254740993\n"));
}

static void what_is_no_counter_comes_from_the_broker(void **state)
{
    (void)state;
    make_page();
    assert_sample("mqtt_retained_messages_current", 7);
    assert_sample("pulse_retained_bytes", 700);
    assert_sample("pulse_topic_filters_current", 70);
    assert_sample("pulse_workers", 2);
    assert_sample("pulse_info{version=\"" PULSE_VERSION "\"}", 1);
    assert_true(sample("pulse_uptime_seconds") < 60);
}

static void the_process_describes_itself(void **state)
{
    (void)state;
    make_page();
    assert_true(sample("process_resident_memory_bytes") > 100e3);
    assert_true(sample("process_cpu_seconds_total") > 0);
    assert_true(sample("process_open_fds") >= 3);
    assert_true(sample("process_max_fds") >= sample("process_open_fds"));
    double started = sample("process_start_time_seconds");
    double now = (double)clock_wall_ms() / 1e3;
    assert_true(started > now - 600 && started < now + 2);
    make_page();
    assert_sample("process_start_time_seconds", started); /* the same at every look */
}

static void an_open_file_is_counted(void **state)
{
    (void)state;
    make_page();
    double before = sample("process_open_fds");
    FILE *file = fopen("/dev/null", "r");
    assert_non_null(file);
    make_page();
    assert_sample("process_open_fds", before + 1);
    fclose(file);
}

static void latency_lands_in_the_bucket_that_holds_it(void **state)
{
    (void)state;
    metric_observe_latency(&sets[0], 0);
    metric_observe_latency(&sets[0], 10000); /* a bound belongs to its bucket */
    metric_observe_latency(&sets[0], 10001);
    metric_observe_latency(&sets[1], 700000);
    metric_observe_latency(&sets[1], UINT64_C(5000000000));
    make_page();
    assert_sample("mqtt_publish_latency_seconds_bucket{le=\"1e-05\"}", 2);
    assert_sample("mqtt_publish_latency_seconds_bucket{le=\"2.5e-05\"}", 3);
    assert_sample("mqtt_publish_latency_seconds_bucket{le=\"0.0005\"}", 3);
    assert_sample("mqtt_publish_latency_seconds_bucket{le=\"0.001\"}", 4);
    assert_sample("mqtt_publish_latency_seconds_bucket{le=\"1\"}", 4);
    assert_sample("mqtt_publish_latency_seconds_bucket{le=\"+Inf\"}", 5);
    assert_sample("mqtt_publish_latency_seconds_count", 5);
    assert_sample("mqtt_publish_latency_seconds_sum", 5.000720001);
}

static void bucket_bounds_grow(void **state)
{
    (void)state;
    for (unsigned i = 1; i < METRIC_LATENCY_BUCKETS; i++) {
        assert_true(metric_latency_bound_ns(i) > metric_latency_bound_ns(i - 1));
    }
}

/* ---- storage --------------------------------------------------------------------------------- */

static void storage_says_what_it_counts(void **state)
{
    (void)state;
    stat_add(&stored, STAT_BYTES_WRITTEN, INT64_C(1) << 40);
    stat_set(&stored, STAT_FAILING, 1);
    stat_add(&stored, STAT_PENDING, 5);
    stat_add(&stored, STAT_PENDING, -3);
    stat_set(&stored, STAT_LOAD_SECONDS, 1250000);
    make_page();
    assert_sample("pulse_storage_written_bytes_total", 1099511627776.0);
    assert_sample("pulse_storage_failing", 1);
    assert_sample("pulse_storage_pending_operations", 2);
    assert_sample("pulse_storage_load_seconds", 1.25);
    assert_sample("pulse_storage_compactions_total", 0);
}

static void commits_land_in_the_buckets_that_hold_them(void **state)
{
    (void)state;
    stats_observe_commit(&stored, 100, 1); /* a bound belongs to its bucket */
    stats_observe_commit(&stored, 101, 3);
    stats_observe_commit(&stored, 999999, 4);
    stats_observe_commit(&stored, 20000000, 20000);
    make_page();
    assert_sample("pulse_storage_commit_seconds_bucket{le=\"0.0001\"}", 1);
    assert_sample("pulse_storage_commit_seconds_bucket{le=\"0.00025\"}", 2);
    assert_sample("pulse_storage_commit_seconds_bucket{le=\"1\"}", 3);
    assert_sample("pulse_storage_commit_seconds_bucket{le=\"10\"}", 3);
    assert_sample("pulse_storage_commit_seconds_bucket{le=\"+Inf\"}", 4);
    assert_sample("pulse_storage_commit_seconds_count", 4);
    assert_sample("pulse_storage_commit_seconds_sum", 21.0002);
    assert_sample("pulse_storage_batch_operations_bucket{le=\"1\"}", 1);
    assert_sample("pulse_storage_batch_operations_bucket{le=\"3\"}", 2);
    assert_sample("pulse_storage_batch_operations_bucket{le=\"10000\"}", 3);
    assert_sample("pulse_storage_batch_operations_bucket{le=\"+Inf\"}", 4);
    assert_sample("pulse_storage_batch_operations_sum", 20008);
    assert_sample("pulse_storage_batches_total", 4);
    assert_sample("pulse_storage_operations_total", 20008);
}

static void the_bounds_of_storage_grow(void **state)
{
    (void)state;
    for (unsigned i = 1; i < STATS_COMMIT_BUCKETS; i++) {
        assert_true(stats_commit_bound_us(i) > stats_commit_bound_us(i - 1));
    }
    for (unsigned i = 1; i < STATS_BATCH_BUCKETS; i++) {
        assert_true(stats_batch_bound(i) > stats_batch_bound(i - 1));
    }
}

static void without_storage_nothing_is_said_about_it(void **state)
{
    (void)state;
    struct metrics_context now = context();
    now.storage = NULL;
    metrics_page(&now, &page);
    assert_null(strstr(page.data, "pulse_storage"));
    assert_non_null(strstr(page.data, "mqtt_connections_current"));
}

/* ---- the syntax of the page ------------------------------------------------------------------ */

#define NAME "[a-zA-Z_:][a-zA-Z0-9_:]*"
#define LABEL "[a-zA-Z_][a-zA-Z0-9_]*=\"[^\"\\]*\""
#define VALUE "(NaN|[+-]?Inf|[+-]?[0-9]+(\\.[0-9]+)?(e[+-]?[0-9]+)?)"

static bool matches(const char *pattern, const char *line)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&regex, line, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

static void each_line_is_of_the_exposition_format(void **state)
{
    (void)state;
    metric_observe_latency(&sets[0], 12345);
    char *lines = strdup(make_page());
    assert_int_equal(lines[strlen(lines) - 1], '\n');
    char *rest = lines;
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        if (!matches("^# HELP " NAME " [^ ].*$", line) &&
            !matches("^# TYPE " NAME " (counter|gauge|histogram)$", line) &&
            !matches("^" NAME "(\\{" LABEL "(," LABEL ")*\\})? " VALUE "$", line)) {
            fail_msg("not of the format: %s", line);
        }
    }
    free(lines);
}

/* The name that a sample belongs to: that of a histogram is without _bucket, _sum and _count. */
static void family_of(const char *line, char *name, size_t size)
{
    size_t len = strcspn(line, "{ ");
    snprintf(name, size, "%.*s", (int)len, line);
    static const char *const endings[] = {"_bucket", "_sum", "_count"};
    for (size_t i = 0; i < ARRAY_COUNT(endings); i++) {
        size_t ending = strlen(endings[i]);
        if (len > ending && strcmp(name + len - ending, endings[i]) == 0) {
            name[len - ending] = '\0';
            return;
        }
    }
}

static unsigned occurrences(const char *words)
{
    unsigned count = 0;
    for (const char *at = strstr(page.data, words); at != NULL; at = strstr(at + 1, words)) {
        count++;
    }
    return count;
}

static void help_and_type_stand_once_and_before_their_samples(void **state)
{
    (void)state;
    char name[128] = "";
    char *lines = strdup(make_page());
    char *rest = lines;
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            char head[160];
            snprintf(name, sizeof(name), "%.*s", (int)strcspn(line + 7, " "), line + 7);
            snprintf(head, sizeof(head), "# HELP %s ", name);
            assert_int_equal(occurrences(head), 1);
            snprintf(head, sizeof(head), "# TYPE %s ", name);
            assert_int_equal(occurrences(head), 1);
            assert_int_equal(strncmp(rest, head, strlen(head)), 0); /* the next line */
        } else if (line[0] != '#') {
            char family[128];
            family_of(line, family, sizeof(family));
            assert_string_equal(family, name);
        }
    }
    free(lines);
}

static void no_series_stands_twice(void **state)
{
    (void)state;
    char *lines = strdup(make_page());
    char *rest = lines;
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        if (line[0] != '#') {
            *strrchr(line, ' ') = '\0';
            sample(line);
        }
    }
    free(lines);
}

static void counters_are_named_as_such(void **state)
{
    (void)state;
    char *lines = strdup(make_page());
    char *rest = lines;
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            bool counter = matches(" counter$", line);
            assert_int_equal(counter, matches("_total ", line));
        }
    }
    free(lines);
}

/* Dashboards of users depend on these. */
static void the_names_that_users_know_are_there(void **state)
{
    (void)state;
    static const char *const known[] = {
        "mqtt_connections_current gauge",
        "mqtt_connections_total counter",
        "mqtt_publish_in_total counter",
        "mqtt_publish_out_total counter",
        "mqtt_subscriptions_current gauge",
        "mqtt_session_queue_size gauge",
        "mqtt_retained_messages_current gauge",
        "mqtt_auth_failures_total counter",
        "mqtt_qos1_inflight_current gauge",
        "mqtt_qos2_inflight_current gauge",
        "mqtt_shared_subscription_dispatch_total counter",
        "mqtt_publish_latency_seconds histogram",
        "mqtt_packet_parse_errors_total counter",
        "mqtt_delivery_flush_failures_total counter",
    };
    make_page();
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        char line[128];
        snprintf(line, sizeof(line), "# TYPE %s\n", known[i]);
        assert_int_equal(occurrences(line), 1);
    }
}

/* ---- the reference page ---------------------------------------------------------------------- */

static void the_reference_describes_everything_on_the_page(void **state)
{
    (void)state;
    struct text reference = {0};
    metrics_reference(&reference);
    char *lines = strdup(make_page());
    char *rest = lines;
    for (char *line = strsep(&rest, "\n"); rest != NULL; line = strsep(&rest, "\n")) {
        if (strncmp(line, "# TYPE ", 7) == 0) {
            char row[160];
            size_t name_len = strcspn(line + 7, " ");
            snprintf(row, sizeof(row), "| `%.*s` | %s | ", (int)name_len, line + 7,
                     line + 7 + name_len + 1);
            if (strstr(reference.data, row) == NULL) {
                fail_msg("not in the reference: %s", row);
            }
        }
    }
    assert_non_null(strstr(reference.data, "`qos=\"0\"`<br>`qos=\"1\"`<br>`qos=\"2\"`"));
    free(lines);
    text_fini(&reference);
}

/* The page is kept in the repository: it must not differ from build to build. */
static void the_reference_does_not_hold_the_version(void **state)
{
    (void)state;
    struct text reference = {0};
    metrics_reference(&reference);
    assert_null(strstr(reference.data, PULSE_VERSION "\""));
    text_fini(&reference);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_counter_is_the_sum_of_all_workers, clear),
        cmocka_unit_test_setup(a_gauge_may_be_negative_on_one_worker, clear),
        cmocka_unit_test_setup(labels_tell_the_rows_of_one_name_apart, clear),
        cmocka_unit_test_setup(large_counters_are_written_without_loss, clear),
        cmocka_unit_test_setup(what_is_no_counter_comes_from_the_broker, clear),
        cmocka_unit_test_setup(the_process_describes_itself, clear),
        cmocka_unit_test_setup(an_open_file_is_counted, clear),
        cmocka_unit_test_setup(latency_lands_in_the_bucket_that_holds_it, clear),
        cmocka_unit_test_setup(bucket_bounds_grow, clear),
        cmocka_unit_test_setup(storage_says_what_it_counts, clear),
        cmocka_unit_test_setup(commits_land_in_the_buckets_that_hold_them, clear),
        cmocka_unit_test_setup(the_bounds_of_storage_grow, clear),
        cmocka_unit_test_setup(without_storage_nothing_is_said_about_it, clear),
        cmocka_unit_test_setup(each_line_is_of_the_exposition_format, clear),
        cmocka_unit_test_setup(help_and_type_stand_once_and_before_their_samples, clear),
        cmocka_unit_test_setup(no_series_stands_twice, clear),
        cmocka_unit_test_setup(counters_are_named_as_such, clear),
        cmocka_unit_test_setup(the_names_that_users_know_are_there, clear),
        cmocka_unit_test_setup(the_reference_describes_everything_on_the_page, clear),
        cmocka_unit_test_setup_teardown(the_reference_does_not_hold_the_version, clear, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
