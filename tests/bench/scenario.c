#include "tests/bench/scenario.h"
#include "tests/bench/histogram.h"

#include <stdio.h>
#include <stdlib.h>

/* clang-format off */
#define TIMES(warmup, duration) .warmup_ms = (warmup), .duration_ms = (duration)
#define TRAFFIC(pubs, subs, window_, rate_, read_rate_, count_)                                    \
    .publishers = (pubs), .subscribers = (subs), .payload = 128, .qos = 0, .window = (window_),    \
    .rate = (rate_), .read_rate = (read_rate_), .count = (count_),                                 \
    .connections = OPTION_UNSET, .topics = OPTION_UNSET, .parallel = OPTION_UNSET
#define NO_TRAFFIC                                                                                 \
    .publishers = OPTION_UNSET, .window = OPTION_UNSET, .rate = OPTION_UNSET,                      \
    .read_rate = OPTION_UNSET, .count = OPTION_UNSET
#define NO_MESSAGES NO_TRAFFIC,                                                                    \
    .subscribers = OPTION_UNSET, .payload = OPTION_UNSET, .qos = OPTION_UNSET,                     \
    .topics = OPTION_UNSET

#define OFFLINE(window_, count_)                                                                   \
    .publishers = 50, .subscribers = 10, .payload = 128, .qos = 1, .window = (window_),            \
    .count = (count_), .rate = OPTION_UNSET, .read_rate = OPTION_UNSET,                            \
    .connections = OPTION_UNSET, .topics = OPTION_UNSET, .parallel = OPTION_UNSET,                 \
    TIMES(OPTION_UNSET, OPTION_UNSET)

const struct scenario scenarios[] = {
    {"fan-out", "every subscriber gets all of one publisher", traffic_run_all,
     {TRAFFIC(1, 100, 100, 0, 0, 0), TIMES(500, 5000)}},
    {"fan-in", "one subscriber gets all of many publishers", traffic_run_all,
     {TRAFFIC(50, 1, 100, 0, 0, 0), TIMES(500, 5000)}},
    {"pairs", "subscriber N gets publisher N", traffic_run_pairs,
     {TRAFFIC(50, 50, 100, 0, 0, 0), TIMES(500, 5000)}},
    {"shared", "the members of a shared subscription divide all messages", traffic_run_shared,
     {TRAFFIC(10, 10, 100, 0, 0, 0), TIMES(500, 5000)}},
    {"latency", "pairs at a fixed rate, timed from the moment a message was due", traffic_run_pairs,
     {TRAFFIC(10, 10, 1000, 5000, 0, 0), TIMES(1000, 5000)}},
    {"crowd", "latency, before and while many clients connect at once", traffic_run_pairs,
     {.publishers = 10, .subscribers = 10, .payload = 128, .qos = 0, .window = 1000, .rate = 1000,
      .read_rate = 0, .count = 0, .connections = 2000, .topics = OPTION_UNSET,
      .parallel = OPTION_UNSET, TIMES(1000, 3000)}},
    {"overload", "a publisher without a limit, and subscribers that read slowly", traffic_run_all,
     {TRAFFIC(1, 10, 0, 0, 2000, 100000), TIMES(0, 5000)}},
    {"retained", "subscribers ask for all retained messages, again and again", replay_run,
     {NO_TRAFFIC, .subscribers = 50, .payload = 128, .qos = 0, .topics = 1000,
      .connections = OPTION_UNSET, .parallel = OPTION_UNSET, TIMES(500, 3000)}},
    {"retain", "set retained messages, and leave them", replay_run_leave,
     {NO_TRAFFIC, .subscribers = OPTION_UNSET, .payload = 128, .qos = OPTION_UNSET, .topics = 1000,
      .connections = OPTION_UNSET, .parallel = OPTION_UNSET, TIMES(OPTION_UNSET, OPTION_UNSET)}},
    {"store", "publish to kept sessions whose clients are away", offline_run_store,
     {OFFLINE(20, 10000)}},
    {"drain", "come back for what a store of the same --run-id left", offline_run_drain,
     {OFFLINE(OPTION_UNSET, 10000)}},
    {"revisit", "come again, find nothing more, and end the sessions", offline_run_revisit,
     {OFFLINE(OPTION_UNSET, 10000)}},
    {"disk", "write a little to --file and sync it, again and again", disk_run,
     {.publishers = OPTION_UNSET, .subscribers = OPTION_UNSET, .payload = 256, .qos = OPTION_UNSET,
      .window = OPTION_UNSET, .rate = OPTION_UNSET, .read_rate = OPTION_UNSET, .count = 2000,
      .connections = OPTION_UNSET, .topics = OPTION_UNSET, .parallel = OPTION_UNSET,
      TIMES(OPTION_UNSET, OPTION_UNSET)}},
    {"handshake", "OpenSSL's server side of a TLS handshake, alone: needs no broker", handshake_run,
     {NO_MESSAGES, .connections = OPTION_UNSET, .parallel = OPTION_UNSET, TIMES(200, 2000)}},
    {"connect", "connect, CONNACK, DISCONNECT, again and again", storm_run,
     {NO_MESSAGES, .connections = OPTION_UNSET, .parallel = 50, TIMES(500, 3000)}},
    {"idle", "memory of connections that have a subscription and no traffic", idle_run_connections,
     {NO_MESSAGES, .connections = 20000, .parallel = OPTION_UNSET, TIMES(0, 1000)}},
    {"node", "memory and wake-ups of a broker with nothing to do", idle_run_node,
     {NO_MESSAGES, .connections = OPTION_UNSET, .parallel = OPTION_UNSET, TIMES(500, 5000)}},
};
/* clang-format on */

const unsigned scenario_count = sizeof(scenarios) / sizeof(scenarios[0]);

const struct scenario *scenario_find(const char *name)
{
    for (unsigned i = 0; i < scenario_count; i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            return &scenarios[i];
        }
    }
    return NULL;
}

/* Writes `text` with the first %u in it replaced; NULL stays NULL. */
static const char *numbered(const char *text, uint32_t index, char *to, size_t size)
{
    const char *mark = text != NULL ? strstr(text, "%u") : NULL;
    if (mark == NULL) {
        return text;
    }
    snprintf(to, size, "%.*s%u%s", (int)(mark - text), text, index, mark + 2);
    return to;
}

void scenario_fill_setup(const struct bench *bench, const char *kind, uint32_t index,
                         struct link_setup *setup)
{
    static char client_id[48]; /* both are borrowed by link_open() for the call only */
    static char username[WIRE_STRING_BYTES_MAX];
    snprintf(client_id, sizeof(client_id), "b%llu-%s%u", (unsigned long long)bench->run_id, kind,
             index);
    *setup = (struct link_setup){
        .client_id = client_id,
        .username = numbered(bench->options->username, index, username, sizeof(username)),
        .password = bench->options->password,
        .version = (uint8_t)bench->options->version,
        .out_bytes = 1024,
        .packet_max = 64 * 1024,
    };
}

void scenario_topic(const struct bench *bench, char name[SCENARIO_NAME_BYTES_MAX], const char *tail)
{
    snprintf(name, SCENARIO_NAME_BYTES_MAX, "%s/%llu/%s", bench->options->prefix,
             (unsigned long long)bench->run_id, tail);
}

void scenario_begin(struct bench *bench)
{
    bench->outcome.span = probe_clocks((pid_t)bench->options->broker_pid);
}

void scenario_end(struct bench *bench, uint64_t units)
{
    struct outcome *outcome = &bench->outcome;
    outcome->span = probe_since((pid_t)bench->options->broker_pid, &outcome->span);
    outcome->units = units;
}

struct latency scenario_latency(const struct histogram *histogram)
{
    return (struct latency){
        .count = histogram->total,
        .p50_ns = histogram_quantile(histogram, 0.50),
        .p99_ns = histogram_quantile(histogram, 0.99),
        .p999_ns = histogram_quantile(histogram, 0.999),
        .max_ns = histogram->max,
    };
}

static void fill_last_visit(void *context, uint32_t index, struct link_setup *setup)
{
    static const struct link_handler handler = {0};
    scenario_fill_setup(context, "s", index, setup);
    setup->is_patient = true;
    setup->handler = &handler;
}

void scenario_end_sessions(struct bench *bench, uint32_t count)
{
    struct link *links = calloc(count, sizeof(*links));
    if (links == NULL) {
        loop_fail(&bench->loop, "out of memory");
        return;
    }
    /* A clean start ends the old session, and the new one ends with its connection. */
    if (link_open_all(links, count, &bench->loop, fill_last_visit, bench)) {
        link_leave_all(links, count);
    }
    link_fini_all(links, count);
    free(links);
}
