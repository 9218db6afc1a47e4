#include "node/metrics_page.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/log.h"
#include "node/auth/auth.h"
#include "node/metrics_process_priv.h"

#define LATENCY_NAME "mqtt_publish_latency_seconds"
#define LATENCY_HELP                                                                               \
    "Time that the broker takes to deliver a PUBLISH (with several workers: to hand it to them), " \
    "for a sample of them"

/* ---- what is computed when the page is asked for --------------------------------------------- */

static double info(const struct metrics_context *context)
{
    (void)context;
    return 1;
}

static double uptime(const struct metrics_context *context)
{
    return (double)(clock_mono_ms() - context->started_mono_ms) / 1e3;
}

static double workers(const struct metrics_context *context)
{
    return context->workers;
}

static double retained_messages(const struct metrics_context *context)
{
    return (double)context->retained_messages;
}

static double retained_size(const struct metrics_context *context)
{
    return (double)context->retained_bytes;
}

static double filters(const struct metrics_context *context)
{
    return (double)context->filters;
}

static double log_lines_lost(const struct metrics_context *context)
{
    (void)context;
    return (double)log_lost();
}

static double resident_memory(const struct metrics_context *context)
{
    (void)context;
    return (double)process__resident_bytes();
}

static double cpu_seconds(const struct metrics_context *context)
{
    (void)context;
    return (double)process__cpu_ns() / 1e9;
}

static double open_fds(const struct metrics_context *context)
{
    (void)context;
    return (double)process__fds();
}

static double max_fds(const struct metrics_context *context)
{
    (void)context;
    return (double)process__fds_max();
}

static double start_time(const struct metrics_context *context)
{
    (void)context;
    return process__start_time();
}

/* clang-format off */
static const struct computed {
    struct metric_info info;
    double (*value)(const struct metrics_context *context);
} computed[] = {
    {{"mqtt_retained_messages_current", "", "Retained messages", false}, retained_messages},
    {{"pulse_retained_bytes", "", "Bytes of the retained messages: payload, topic and properties", false}, retained_size},
    {{"pulse_topic_filters_current", "", "Distinct topic filters in the subscription index", false}, filters},
    {{"pulse_workers", "", "Worker threads", false}, workers},
    {{"pulse_info", "version=\"" PULSE_VERSION "\"", "Always 1; the label names the version", false}, info},
    {{"pulse_uptime_seconds", "", "Seconds since the broker started", false}, uptime},
    {{"pulse_log_lines_lost_total", "", "Log lines that could not be written", true}, log_lines_lost},
    {{"process_resident_memory_bytes", "", "Resident memory of the process", false}, resident_memory},
    {{"process_cpu_seconds_total", "", "User and system time of the process", true}, cpu_seconds},
    {{"process_open_fds", "", "Open file descriptors", false}, open_fds},
    {{"process_max_fds", "", "Limit on open file descriptors", false}, max_fds},
    {{"process_start_time_seconds", "", "When the process started, in seconds since 1970-01-01 UTC", false}, start_time},
};
/* clang-format on */

/* ---- what is counted ------------------------------------------------------------------------- */

static const char *type_name(const struct metric_info *row)
{
    return row->counter ? "counter" : "gauge";
}

/* Whether the row of `id` begins a name; the rows of one name follow one another. */
static bool begins_name(unsigned id)
{
    return id == 0 || strcmp(metric_info((enum metric)id)->name,
                             metric_info((enum metric)(id - 1))->name) != 0;
}

static void add_head(struct text *page, const char *name, const char *help, const char *type)
{
    text_printf(page, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_series(struct text *page, const struct metric_info *row)
{
    if (row->labels[0] != '\0') {
        text_printf(page, "%s{%s} ", row->name, row->labels);
    } else {
        text_printf(page, "%s ", row->name);
    }
}

static void add_counted(const struct metrics_context *context, struct text *page)
{
    for (unsigned id = 0; id < METRIC_COUNT; id++) {
        const struct metric_info *row = metric_info((enum metric)id);
        if (begins_name(id)) {
            add_head(page, row->name, row->help, type_name(row));
        }
        add_series(page, row);
        text_printf(page, "%lld\n",
                    (long long)metric_sum(context->sets, context->count, (enum metric)id));
    }
}

/* ---- histograms ------------------------------------------------------------------------------ */

#define BUCKETS_MAX 16
static_assert(METRIC_LATENCY_BUCKETS <= BUCKETS_MAX, "room for the latency");
static_assert(STATS_COMMIT_BUCKETS <= BUCKETS_MAX, "room for the commits");
static_assert(STATS_BATCH_BUCKETS <= BUCKETS_MAX, "room for the batches");

/* One that was read, in the units of the page. */
struct histogram {
    const char *name;
    const char *help;
    unsigned buckets;
    double bounds[BUCKETS_MAX];   /* upper ones; the last bucket has none */
    uint64_t counts[BUCKETS_MAX]; /* without those of lower buckets */
    double sum;
};

static void add_histogram(struct text *page, const struct histogram *histogram)
{
    uint64_t count = 0;
    add_head(page, histogram->name, histogram->help, "histogram");
    for (unsigned i = 0; i < histogram->buckets; i++) {
        count += histogram->counts[i];
        if (i + 1 < histogram->buckets) {
            text_printf(page, "%s_bucket{le=\"%g\"} %llu\n", histogram->name, histogram->bounds[i],
                        (unsigned long long)count);
        } else {
            text_printf(page, "%s_bucket{le=\"+Inf\"} %llu\n", histogram->name,
                        (unsigned long long)count);
        }
    }
    text_printf(page, "%s_sum %.15g\n%s_count %llu\n", histogram->name, histogram->sum,
                histogram->name, (unsigned long long)count);
}

static uint64_t read_count(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* The sum over all workers. */
static void add_latency(const struct metrics_context *context, struct text *page)
{
    struct histogram latency = {
        .name = LATENCY_NAME, .help = LATENCY_HELP, .buckets = METRIC_LATENCY_BUCKETS};
    for (unsigned i = 0; i < latency.buckets; i++) {
        latency.bounds[i] = (double)metric_latency_bound_ns(i) / 1e9;
    }
    for (unsigned set = 0; set < context->count; set++) {
        for (unsigned i = 0; i < latency.buckets; i++) {
            latency.counts[i] += read_count(&context->sets[set]->latency[i]);
        }
        latency.sum += (double)read_count(&context->sets[set]->latency_sum_ns) / 1e9;
    }
    add_histogram(page, &latency);
}

/* ---- storage --------------------------------------------------------------------------------- */

#define COMMIT_NAME "pulse_storage_commit_seconds"
#define COMMIT_HELP \
    "Time from the hand-over of the first operation of a batch to the commit of the batch"
#define BATCH_NAME "pulse_storage_batch_operations"
#define BATCH_HELP "Operations that are committed together"

/* What the word of a row's kind means: a counter or a gauge, and by what its value is divided. */
#define KIND_COUNTER true, 1
#define KIND_GAUGE false, 1
#define KIND_SECONDS false, 1e6

static const struct stored {
    const char *name;
    const char *help;
    bool counter;
    double unit;
} stored[] = {
#define X(id, kind, name, help) [STAT_##id] = {name, help, KIND_##kind},
#include "storage/stats.def"
#undef X
};

static const char *stored_type(const struct stored *row)
{
    return row->counter ? "counter" : "gauge";
}

static void add_commits(const struct storage_stats *stats, struct text *page)
{
    struct histogram commits = {
        .name = COMMIT_NAME, .help = COMMIT_HELP, .buckets = STATS_COMMIT_BUCKETS};
    struct histogram batches = {
        .name = BATCH_NAME, .help = BATCH_HELP, .buckets = STATS_BATCH_BUCKETS};
    for (unsigned i = 0; i < commits.buckets; i++) {
        commits.bounds[i] = (double)stats_commit_bound_us(i) / 1e6;
        commits.counts[i] = read_count(&stats->commit[i]);
    }
    for (unsigned i = 0; i < batches.buckets; i++) {
        batches.bounds[i] = (double)stats_batch_bound(i);
        batches.counts[i] = read_count(&stats->batch[i]);
    }
    commits.sum = (double)read_count(&stats->commit_sum_us) / 1e6;
    batches.sum = (double)read_count(&stats->batch_sum);
    add_histogram(page, &commits);
    add_histogram(page, &batches);
}

static void add_storage(const struct storage_stats *stats, struct text *page)
{
    for (unsigned id = 0; id < STAT_COUNT; id++) {
        const struct stored *row = &stored[id];
        add_head(page, row->name, row->help, stored_type(row));
        text_printf(page, "%s %.15g\n", row->name,
                    (double)stat_get(stats, (enum storage_stat)id) / row->unit);
    }
    add_commits(stats, page);
}

/* ---- auth ------------------------------------------------------------------------------------ */

#define AUTH_NAME "pulse_auth_answers_total"
#define AUTH_HELP "Attempts to log in, by what became of them"
#define AUTH_CURRENT_NAME "pulse_auth_attempts_current"
#define AUTH_CURRENT_HELP "Attempts to log in that are under way"

static void add_auth(struct auth *auth, struct text *page)
{
    struct auth_counts counts;
    auth_read_counts(auth, &counts);
    add_head(page, AUTH_NAME, AUTH_HELP, "counter");
#define X(answer, what) \
    text_printf(page, AUTH_NAME "{answer=\"" #answer "\"} %" PRIu64 "\n", counts.answer);
    AUTH_COUNTERS(X)
#undef X
    add_head(page, AUTH_CURRENT_NAME, AUTH_CURRENT_HELP, "gauge");
    text_printf(page, AUTH_CURRENT_NAME " %" PRIu64 "\n", counts.under_way);
}

/* ---- the page -------------------------------------------------------------------------------- */

static void add_computed(const struct metrics_context *context, struct text *page)
{
    for (size_t i = 0; i < ARRAY_COUNT(computed); i++) {
        const struct metric_info *row = &computed[i].info;
        add_head(page, row->name, row->help, type_name(row));
        add_series(page, row);
        text_printf(page, "%.15g\n", computed[i].value(context));
    }
}

void metrics_page(const struct metrics_context *context, struct text *page)
{
    add_counted(context, page);
    add_latency(context, page);
    add_computed(context, page);
    if (context->storage != NULL) {
        add_storage(context->storage, page);
    }
    if (context->auth != NULL) {
        add_auth(context->auth, page);
    }
}

/* ---- the reference page ---------------------------------------------------------------------- */

static void add_reference_row(struct text *page, const char *name, const char *type,
                              const char *labels, const char *help)
{
    text_printf(page, "| `%s` | %s | %s%s%s | %s |\n", name, type, labels[0] != '\0' ? "`" : "",
                labels, labels[0] != '\0' ? "`" : "", help);
}

/* The labels of all rows that share the name of `first`, as one column. */
static void add_labels(struct text *page, unsigned first)
{
    for (unsigned id = first; id == first || (id < METRIC_COUNT && !begins_name(id)); id++) {
        text_printf(page, id == first ? "`%s`" : "<br>`%s`", metric_info((enum metric)id)->labels);
    }
}

static void add_counted_reference(struct text *page)
{
    for (unsigned id = 0; id < METRIC_COUNT; id++) {
        const struct metric_info *row = metric_info((enum metric)id);
        if (!begins_name(id)) {
            continue;
        }
        text_printf(page, "| `%s` | %s | ", row->name, type_name(row));
        if (row->labels[0] != '\0') {
            add_labels(page, id);
        }
        text_printf(page, " | %s |\n", row->help);
    }
}

static void add_storage_reference(struct text *page)
{
    for (unsigned id = 0; id < STAT_COUNT; id++) {
        add_reference_row(page, stored[id].name, stored_type(&stored[id]), "", stored[id].help);
    }
    add_reference_row(page, COMMIT_NAME, "histogram", "le", COMMIT_HELP);
    add_reference_row(page, BATCH_NAME, "histogram", "le", BATCH_HELP);
}

static void add_auth_reference(struct text *page)
{
    text_add(page, "| `" AUTH_NAME "` | counter | ");
    const char *between = "";
#define X(answer, what)                                       \
    text_printf(page, "%s`answer=\"" #answer "\"`", between); \
    between = "<br>";
    AUTH_COUNTERS(X)
#undef X
    text_add(page, " | " AUTH_HELP " |\n");
    add_reference_row(page, AUTH_CURRENT_NAME, "gauge", "", AUTH_CURRENT_HELP);
}

void metrics_reference(struct text *page)
{
    text_add(page,
             "# Metrics\n\n"
             "<!-- Generated from node/metrics.def, node/metrics_page.c, "
             "storage/stats.def and node/sys_topics.c: `pulse --print-metrics-reference`. -->\n\n"
             "`GET /metrics` at `observability.metrics_bind` answers in the Prometheus text "
             "format, version 0.0.4. Counters start at 0 with the process. What begins with "
             "`pulse_storage_` is "
             "there when something is stored (`storage.engine` is not `memory`), what begins with "
             "`pulse_auth_` with `auth.enabled`.\n\n"
             "| name | type | labels | meaning |\n|---|---|---|---|\n");
    add_counted_reference(page);
    add_reference_row(page, LATENCY_NAME, "histogram", "le", LATENCY_HELP);
    for (size_t i = 0; i < ARRAY_COUNT(computed); i++) {
        const struct metric_info *row = &computed[i].info;
        /* A label of ours here holds what differs from build to build: name it, don't print it. */
        add_reference_row(page, row->name, type_name(row), row->labels[0] != '\0' ? "version" : "",
                          row->help);
    }
    add_storage_reference(page);
    add_auth_reference(page);
    text_add(page, "\n");
    sys_topics_reference(page);
}
