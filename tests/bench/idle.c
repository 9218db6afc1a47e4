/*
 * idle: what a broker holds and does when nothing happens, with and without connections.
 *
 * Owns      its connections.
 * Thread    the loop's.
 * Errors    loop_fail().
 */
#include "tests/bench/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

enum {
    SPARE_DESCRIPTORS = 100, /* for everything that is not a client, here and in the broker */
    WARM_LINKS = 10,         /* connected before the first reading: one-time costs are not theirs */
    KEEP_ALIVE_S = 600,
    SETTLE_MS = 500,
};

struct idle {
    struct bench *bench;
    struct link *links;
    char (*filters)[SCENARIO_NAME_BYTES_MAX];
    uint32_t link_count;
    uint32_t opened; /* before the batch that is being opened */
};

/* A subscription without a topic that anybody publishes to: a message would be a fault. */
static void on_message(struct link *link, const struct wire_publish *publish)
{
    loop_fail(link->loop, "a message of %zu bytes on an idle connection", publish->payload_len);
}

static const struct link_handler handler = {.publish = on_message};

static void fill_link(void *context, uint32_t index, struct link_setup *setup)
{
    struct idle *idle = context;
    char number[16];
    index += idle->opened;
    scenario_fill_setup(idle->bench, "i", index, setup);
    snprintf(number, sizeof(number), "%u", index);
    scenario_topic(idle->bench, idle->filters[index], number);
    setup->handler = &handler;
    setup->owner = idle;
    setup->filter = idle->filters[index];
    setup->keep_alive_s = KEEP_ALIVE_S;
    setup->out_bytes = 256;
}

/* Descriptors that process `pid` may open, or SIZE_MAX when that cannot be read. */
static uint64_t descriptor_limit(pid_t pid)
{
    struct rlimit limit;
    if (prlimit(pid, RLIMIT_NOFILE, NULL, &limit) != 0) {
        return UINT64_MAX;
    }
    return limit.rlim_cur;
}

/* As many links as were asked for, or as the system allows here and in the broker. */
static uint32_t possible_links(const struct bench *bench)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* without it there will be fewer links */
    }
    uint64_t allowed = descriptor_limit(0);
    if (bench->options->broker_pid != 0) {
        uint64_t brokers = descriptor_limit((pid_t)bench->options->broker_pid);
        allowed = brokers < allowed ? brokers : allowed;
    }
    allowed = allowed > 2 * SPARE_DESCRIPTORS ? allowed - SPARE_DESCRIPTORS : SPARE_DESCRIPTORS;
    uint64_t wanted = bench->options->connections;
    if (wanted > allowed) {
        fprintf(stderr, "pulse-bench: %llu connections instead of %llu: the limit of open files\n",
                (unsigned long long)allowed, (unsigned long long)wanted);
        wanted = allowed;
    }
    return (uint32_t)wanted;
}

static bool open_links(struct idle *idle, uint32_t count)
{
    if (!link_open_all(idle->links + idle->opened, count, &idle->bench->loop, fill_link, idle)) {
        return false;
    }
    idle->opened += count;
    return true;
}

static void measure(struct idle *idle)
{
    struct bench *bench = idle->bench;
    pid_t broker = (pid_t)bench->options->broker_pid;
    uint32_t warm = idle->link_count > 2 * WARM_LINKS ? WARM_LINKS : 0;
    if (!open_links(idle, warm)) {
        return;
    }
    loop_run_quietly(&bench->loop, SETTLE_MS * NS_PER_MS);
    uint64_t before = probe_memory(broker).rss_bytes;
    scenario_begin(bench);
    if (!open_links(idle, idle->link_count - warm)) {
        return;
    }
    scenario_end(bench, idle->link_count - warm);
    loop_run_quietly(&bench->loop, bench->options->duration_ms * NS_PER_MS);

    struct outcome *outcome = &bench->outcome;
    outcome->memory = probe_memory(broker);
    if (outcome->memory.rss_bytes > before) {
        outcome->bytes_per_unit =
            (double)(outcome->memory.rss_bytes - before) / (double)outcome->units;
    }
}

void idle_run_connections(struct bench *bench)
{
    struct idle idle = {.bench = bench, .link_count = possible_links(bench)};
    bench->outcome.unit = "connection";
    idle.links = calloc(idle.link_count, sizeof(*idle.links));
    idle.filters = calloc(idle.link_count, sizeof(*idle.filters));
    if (idle.links != NULL && idle.filters != NULL) {
        measure(&idle);
        link_fini_all(idle.links, idle.link_count);
    } else {
        loop_fail(&bench->loop, "out of memory");
    }
    free(idle.filters);
    free(idle.links);
}

void idle_run_node(struct bench *bench)
{
    pid_t broker = (pid_t)bench->options->broker_pid;
    loop_run_quietly(&bench->loop, bench->options->warmup_ms * NS_PER_MS);
    struct probe_wakeups before = probe_wakeups(broker);
    scenario_begin(bench);
    loop_run_quietly(&bench->loop, bench->options->duration_ms * NS_PER_MS);
    scenario_end(bench, 0);
    struct probe_wakeups after = probe_wakeups(broker);

    struct outcome *outcome = &bench->outcome;
    outcome->unit = "";
    outcome->threads = after.threads;
    outcome->wakeups_per_s = (double)(after.voluntary - before.voluntary) /
                             ((double)outcome->span.wall_ns / (double)NS_PER_S);
    outcome->memory = probe_memory(broker);
    if (after.threads == 0) {
        loop_fail(&bench->loop, "the broker is gone");
    }
}
