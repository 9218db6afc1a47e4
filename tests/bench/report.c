#include "tests/bench/report.h"

#include <stdio.h>

#define US_PER_NS 1e-3
#define MIB (1024.0 * 1024.0)

bool report_is_good(const struct bench *bench)
{
    const struct ledger_faults *faults = &bench->outcome.faults;
    return !bench->loop.failed &&
           faults->lost + faults->doubled + faults->misrouted + faults->damaged == 0;
}

static double ratio(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

/* Texts come from the command line and from our own messages: escaping quotes is enough. */
static void print_json_text(const char *key, const char *text)
{
    printf("\"%s\":\"", key);
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar((unsigned char)*text < ' ' ? ' ' : *text);
    }
    printf("\"");
}

static void print_json_setting(const char *key, uint64_t value)
{
    if (value != OPTION_UNSET) {
        printf(",\"%s\":%llu", key, (unsigned long long)value);
    }
}

static void print_json_number(const char *key, double value)
{
    printf(",\"%s\":%.6g", key, value);
}

static void print_json_crowd(const struct crowd_outcome *crowd)
{
    print_json_setting("crowd_connects", crowd->connects);
    print_json_number("crowd_seconds", (double)crowd->wall_ns / (double)NS_PER_S);
    print_json_number("crowd_broker_cpu_us_per_connect",
                      ratio((double)crowd->broker_ns, (double)crowd->connects) * US_PER_NS);
    print_json_setting("crowd_latency_count", crowd->latency.count);
    print_json_number("crowd_p50_us", (double)crowd->latency.p50_ns * US_PER_NS);
    print_json_number("crowd_p99_us", (double)crowd->latency.p99_ns * US_PER_NS);
    print_json_number("crowd_p999_us", (double)crowd->latency.p999_ns * US_PER_NS);
    print_json_number("crowd_max_us", (double)crowd->latency.max_ns * US_PER_NS);
}

static void print_json(const struct bench *bench)
{
    const struct options *options = bench->options;
    const struct outcome *outcome = &bench->outcome;
    double wall_ns = (double)outcome->span.wall_ns;

    printf("{");
    print_json_text("scenario", options->scenario->name);
    printf(",\"ok\":%s,", report_is_good(bench) ? "true" : "false");
    print_json_text("error", bench->loop.error);
    print_json_setting("mqtt_version", options->version);
    print_json_setting("publishers", options->publishers);
    print_json_setting("subscribers", options->subscribers);
    print_json_setting("payload_bytes", options->payload);
    print_json_setting("qos", options->qos);
    printf(",");
    print_json_text("transport", options->transport);
    print_json_setting("window", options->window);
    print_json_setting("units", outcome->units);
    print_json_number("seconds", wall_ns / (double)NS_PER_S);
    print_json_number("units_per_s", ratio((double)outcome->units, wall_ns) * (double)NS_PER_S);
    print_json_number("broker_cpu_us_per_unit",
                      ratio((double)outcome->span.broker_ns, (double)outcome->units) * US_PER_NS);
    print_json_number("broker_busy", ratio((double)outcome->span.broker_ns, wall_ns));
    print_json_number("generator_busy", ratio((double)outcome->span.own_ns, wall_ns));
    print_json_setting("latency_count", outcome->latency.count);
    print_json_number("p50_us", (double)outcome->latency.p50_ns * US_PER_NS);
    print_json_number("p99_us", (double)outcome->latency.p99_ns * US_PER_NS);
    print_json_number("p999_us", (double)outcome->latency.p999_ns * US_PER_NS);
    print_json_number("max_us", (double)outcome->latency.max_ns * US_PER_NS);
    print_json_setting("rss_bytes", outcome->memory.rss_bytes);
    print_json_setting("rss_peak_bytes", outcome->memory.rss_peak_bytes);
    print_json_number("bytes_per_unit", outcome->bytes_per_unit);
    print_json_number("message_bytes", outcome->message_bytes);
    print_json_number("wakeups_per_s", outcome->wakeups_per_s);
    print_json_setting("threads", outcome->threads);
    print_json_setting("handshakes", outcome->handshakes);
    print_json_setting("resumed", outcome->resumed);
    if (outcome->crowd.connects > 0) {
        print_json_crowd(&outcome->crowd);
    }
    print_json_setting("refused", bench->loop.refused);
    print_json_setting("lost", outcome->faults.lost);
    print_json_setting("doubled", outcome->faults.doubled);
    print_json_setting("misrouted", outcome->faults.misrouted);
    print_json_setting("damaged", outcome->faults.damaged);
    printf("}\n");
}

static void print_rate(const struct bench *bench)
{
    const struct outcome *outcome = &bench->outcome;
    double wall_ns = (double)outcome->span.wall_ns;
    if (outcome->units == 0) {
        return;
    }
    printf(" %.0f %ss/s", ratio((double)outcome->units, wall_ns) * (double)NS_PER_S, outcome->unit);
    if (bench->options->broker_pid != 0) {
        printf(", broker %.3f us CPU per %s, %.0f %% busy",
               ratio((double)outcome->span.broker_ns, (double)outcome->units) * US_PER_NS,
               outcome->unit, 100 * ratio((double)outcome->span.broker_ns, wall_ns));
    }
    printf(", generator %.0f %% busy", 100 * ratio((double)outcome->span.own_ns, wall_ns));
}

static void print_line(const struct bench *bench)
{
    const struct options *options = bench->options;
    const struct outcome *outcome = &bench->outcome;
    printf("%s:", options->scenario->name);
    print_rate(bench);
    if (outcome->latency.count > 0) {
        printf(", p50/p99/p99.9 %.0f/%.0f/%.0f us", (double)outcome->latency.p50_ns * US_PER_NS,
               (double)outcome->latency.p99_ns * US_PER_NS,
               (double)outcome->latency.p999_ns * US_PER_NS);
    }
    if (outcome->crowd.connects > 0) {
        const struct crowd_outcome *crowd = &outcome->crowd;
        printf(", while %llu connected in %.2f s: p50/p99/p99.9 %.0f/%.0f/%.0f us",
               (unsigned long long)crowd->connects, (double)crowd->wall_ns / (double)NS_PER_S,
               (double)crowd->latency.p50_ns * US_PER_NS, (double)crowd->latency.p99_ns * US_PER_NS,
               (double)crowd->latency.p999_ns * US_PER_NS);
    }
    if (outcome->handshakes > 0) {
        printf(", %llu TLS handshakes, %llu resumed", (unsigned long long)outcome->handshakes,
               (unsigned long long)outcome->resumed);
    }
    if (outcome->bytes_per_unit > 0) {
        printf(", %.0f bytes per %s", outcome->bytes_per_unit, outcome->unit);
    }
    if (outcome->threads > 0) {
        printf(" %u threads, %.1f wake-ups/s", outcome->threads, outcome->wakeups_per_s);
    }
    if (bench->loop.refused > 0) {
        printf(", %llu connections refused at first", (unsigned long long)bench->loop.refused);
    }
    if (outcome->memory.rss_bytes > 0) {
        printf(", RSS %.1f MiB, peak %.1f", (double)outcome->memory.rss_bytes / MIB,
               (double)outcome->memory.rss_peak_bytes / MIB);
    }
    if (report_is_good(bench)) {
        printf(", all checks passed\n");
        return;
    }
    const struct ledger_faults *faults = &outcome->faults;
    printf(", FAILED: lost %llu, doubled or late %llu, misrouted %llu, damaged %llu%s%s\n",
           (unsigned long long)faults->lost, (unsigned long long)faults->doubled,
           (unsigned long long)faults->misrouted, (unsigned long long)faults->damaged,
           bench->loop.failed ? "; " : "", bench->loop.error);
}

void report_print(const struct bench *bench)
{
    if (bench->options->json) {
        print_json(bench);
    } else {
        print_line(bench);
    }
    fflush(stdout);
}
