#include "node/metrics_page.h"

#include "base/clock.h"
#include "base/log.h"
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

/* ---- the page -------------------------------------------------------------------------------- */

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

/* The sum over all workers of bucket `index`, without those below. */
static uint64_t bucket_sum(const struct metrics_context *context, unsigned index)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < context->count; i++) {
        sum += atomic_load_explicit(&context->sets[i]->latency[index], memory_order_relaxed);
    }
    return sum;
}

static double latency_sum_s(const struct metrics_context *context)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < context->count; i++) {
        sum += atomic_load_explicit(&context->sets[i]->latency_sum_ns, memory_order_relaxed);
    }
    return (double)sum / 1e9;
}

static void add_latency(const struct metrics_context *context, struct text *page)
{
    uint64_t count = 0;
    add_head(page, LATENCY_NAME, LATENCY_HELP, "histogram");
    for (unsigned i = 0; i < METRIC_LATENCY_BUCKETS; i++) {
        count += bucket_sum(context, i);
        if (i + 1 < METRIC_LATENCY_BUCKETS) {
            text_printf(page, LATENCY_NAME "_bucket{le=\"%g\"} %llu\n",
                        (double)metric_latency_bound_ns(i) / 1e9, (unsigned long long)count);
        } else {
            text_printf(page, LATENCY_NAME "_bucket{le=\"+Inf\"} %llu\n",
                        (unsigned long long)count);
        }
    }
    text_printf(page, LATENCY_NAME "_sum %.9f\n" LATENCY_NAME "_count %llu\n",
                latency_sum_s(context), (unsigned long long)count);
}

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

void metrics_reference(struct text *page)
{
    text_add(page, "# Metrics\n\n"
                   "<!-- Generated from node/metrics.def, node/metrics_page.c and "
                   "node/sys_topics.c: `pulse --print-metrics-reference`. -->\n\n"
                   "`GET /metrics` at `observability.metrics_bind` answers in the Prometheus text "
                   "format, version 0.0.4. Counters start at 0 with the process.\n\n"
                   "| name | type | labels | meaning |\n|---|---|---|---|\n");
    add_counted_reference(page);
    add_reference_row(page, LATENCY_NAME, "histogram", "le", LATENCY_HELP);
    for (size_t i = 0; i < ARRAY_COUNT(computed); i++) {
        const struct metric_info *row = &computed[i].info;
        /* A label of ours here holds what differs from build to build: name it, don't print it. */
        add_reference_row(page, row->name, type_name(row), row->labels[0] != '\0' ? "version" : "",
                          row->help);
    }
    text_add(page, "\n");
    sys_topics_reference(page);
}
