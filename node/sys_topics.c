#include "node/metrics_page.h"

#include <stdio.h>

#include "base/mem.h"
#include "node/metrics_process_priv.h"

#define VALUE_SIZE 48        /* of a payload, its NUL included */
#define TOPIC_SIZE 64        /* of a topic, its NUL included */
#define FADE_STEPS_MAX 30000 /* after a longer sleep nothing older is left of any average */

/* What a value is taken from. */
struct reading {
    const struct metrics_context *context;
    uint64_t now_mono_ms;
    int64_t connections_max;
};

/* ---- single values --------------------------------------------------------------------------- */

static int64_t sum(const struct reading *reading, enum metric id)
{
    return metric_sum(reading->context->sets, reading->context->count, id);
}

static int64_t sum_name(const struct reading *reading, enum metric id)
{
    return metric_sum_name(reading->context->sets, reading->context->count, id);
}

static int64_t uptime_s(const struct reading *reading)
{
    return (int64_t)((reading->now_mono_ms - reading->context->started_mono_ms) / 1000);
}

static int64_t sessions(const struct reading *reading)
{
    return sum(reading, METRIC_SESSIONS);
}

static int64_t connected(const struct reading *reading)
{
    return sum(reading, METRIC_CONNECTIONS);
}

/* The two gauges are not read at one moment: a difference below 0 is possible, and means 0. */
static int64_t disconnected(const struct reading *reading)
{
    int64_t away = sessions(reading) - connected(reading);
    return away > 0 ? away : 0;
}

static int64_t connected_max(const struct reading *reading)
{
    return reading->connections_max;
}

static int64_t sessions_expired(const struct reading *reading)
{
    return sum(reading, METRIC_SESSIONS_EXPIRED);
}

static int64_t packets_in(const struct reading *reading)
{
    return sum(reading, METRIC_PACKETS_IN);
}

static int64_t packets_out(const struct reading *reading)
{
    return sum(reading, METRIC_PACKETS_OUT);
}

static int64_t inflight(const struct reading *reading)
{
    return sum(reading, METRIC_QOS1_INFLIGHT) + sum(reading, METRIC_QOS2_INFLIGHT);
}

static int64_t stored(const struct reading *reading)
{
    return (int64_t)reading->context->retained_messages + sum(reading, METRIC_QUEUED);
}

static int64_t stored_bytes(const struct reading *reading)
{
    return (int64_t)reading->context->retained_bytes + sum(reading, METRIC_QUEUED_BYTES);
}

static int64_t retained(const struct reading *reading)
{
    return (int64_t)reading->context->retained_messages;
}

static int64_t subscriptions(const struct reading *reading)
{
    return sum(reading, METRIC_SUBSCRIPTIONS);
}

static int64_t subscriptions_shared(const struct reading *reading)
{
    return sum(reading, METRIC_SUBSCRIPTIONS_SHARED);
}

static int64_t memory(const struct reading *reading)
{
    (void)reading;
    return (int64_t)process__resident_bytes();
}

static int64_t memory_max(const struct reading *reading)
{
    (void)reading;
    return (int64_t)process__resident_bytes_max();
}

static int64_t bytes_in(const struct reading *reading)
{
    return sum(reading, METRIC_BYTES_IN);
}

static int64_t bytes_out(const struct reading *reading)
{
    return sum(reading, METRIC_BYTES_OUT);
}

static int64_t publishes_in(const struct reading *reading)
{
    return sum_name(reading, METRIC_PUBLISH_IN_QOS0);
}

static int64_t publishes_out(const struct reading *reading)
{
    return sum_name(reading, METRIC_PUBLISH_OUT_QOS0);
}

static int64_t publishes_dropped(const struct reading *reading)
{
    return sum_name(reading, METRIC_DROPPED_QUEUE_FULL);
}

static int64_t sockets(const struct reading *reading)
{
    return sum(reading, METRIC_SOCKETS_TOTAL);
}

static int64_t connects(const struct reading *reading)
{
    return sum(reading, METRIC_CONNECTIONS_TOTAL);
}

/* ---- the tables ------------------------------------------------------------------------------ */

#define PREFIX "$SYS/broker/"

/* clang-format off */
static const struct value_topic {
    const char *name; /* behind PREFIX */
    const char *unit;
    int64_t (*value)(const struct reading *reading);
    const char *help;
} value_topics[] = {
    {"uptime",                       " seconds", uptime_s, "Time since the broker started"},
    {"clients/total",                "", sessions, "Sessions, connected or kept"},
    {"clients/connected",            "", connected, "Connected clients"},
    {"clients/active",               "", connected, "The same, by its older name"},
    {"clients/disconnected",         "", disconnected, "Sessions kept for clients that are not connected"},
    {"clients/inactive",             "", disconnected, "The same, by its older name"},
    {"clients/maximum",              "", connected_max, "The most clients connected at a time when these topics were brought up to date"},
    {"clients/expired",              "", sessions_expired, "Sessions ended by their expiry interval"},
    {"messages/received",            "", packets_in, "MQTT packets of all types received"},
    {"messages/sent",                "", packets_out, "MQTT packets of all types sent"},
    {"messages/inflight",            "", inflight, "QoS 1 and 2 messages that wait for an acknowledgement"},
    {"messages/stored",              "", stored, "Retained messages, and those queued for sessions"},
    {"store/messages/count",         "", stored, "The same, by its newer name"},
    {"store/messages/bytes",         "", stored_bytes, "Bytes of the retained messages: payload, topic and properties, and of the messages that sessions hold"},
    {"retained messages/count",      "", retained, "Retained messages"},
    {"subscriptions/count",          "", subscriptions, "Subscriptions"},
    {"shared_subscriptions/count",   "", subscriptions_shared, "Shared subscriptions"},
    {"heap/current",                 "", memory, "Resident memory of the process, in bytes"},
    {"heap/maximum",                 "", memory_max, "The most that this has been"},
    {"bytes/received",               "", bytes_in, "Bytes received from clients"},
    {"bytes/sent",                   "", bytes_out, "Bytes written to clients"},
    {"publish/messages/received",    "", publishes_in, "PUBLISH packets received"},
    {"publish/messages/sent",        "", publishes_out, "PUBLISH packets sent"},
    {"publish/messages/dropped",     "", publishes_dropped, "Messages dropped, for all the reasons of `pulse_messages_dropped_total`"},
};

static const struct load_topic {
    const char *name; /* behind PREFIX "load/" */
    int64_t (*total)(const struct reading *reading);
    const char *help;
} load_topics[] = {
    {"messages/received", packets_in,        "MQTT packets of all types received"},
    {"messages/sent",     packets_out,       "MQTT packets of all types sent"},
    {"publish/received",  publishes_in,      "PUBLISH packets received"},
    {"publish/sent",      publishes_out,     "PUBLISH packets sent"},
    {"publish/dropped",   publishes_dropped, "Messages dropped"},
    {"bytes/received",    bytes_in,          "Bytes received from clients"},
    {"bytes/sent",        bytes_out,         "Bytes written to clients"},
    {"sockets",           sockets,           "Client sockets accepted"},
    {"connections",       connects,          "Client connections accepted"},
};

/* Over how long a load is averaged, and the part of the average that a second replaces. */
static const struct window {
    const char *name;
    double fade; /* 1 - e^(-1 s / window) */
} windows[] = {
    {"1min", 0.0165285462},
    {"5min", 0.0033277839},
    {"15min", 0.0011104941},
};
/* clang-format on */

#define VALUE_TOPICS ARRAY_COUNT(value_topics)
#define LOAD_TOPICS ARRAY_COUNT(load_topics)
#define WINDOWS ARRAY_COUNT(windows)

/* What was last published; an empty text is different from every payload. */
struct published {
    char payload[VALUE_SIZE];
};

struct load {
    int64_t total;           /* when it was last averaged */
    double average[WINDOWS]; /* per minute */
    struct published published[WINDOWS];
};

struct sys_topics {
    bool started;         /* there was an update: the loads' totals mean something */
    uint64_t averaged_ms; /* when the loads were; monotonic */
    int64_t connections_max;
    struct published version;
    struct published values[VALUE_TOPICS];
    struct load loads[LOAD_TOPICS];
};

struct sys_topics *sys_topics_create(void)
{
    return mem_alloc(sizeof(struct sys_topics));
}

void sys_topics_destroy(struct sys_topics *topics)
{
    mem_free(topics);
}

/* ---- an update ------------------------------------------------------------------------------- */

struct outlet {
    void (*publish)(void *arg, struct slice topic, struct slice payload);
    void *arg;
};

static void publish_changed(const struct outlet *outlet, struct published *last, const char *topic,
                            const char *payload)
{
    if (strcmp(last->payload, payload) == 0) {
        return;
    }
    snprintf(last->payload, sizeof(last->payload), "%s", payload);
    outlet->publish(outlet->arg, slice_text(topic), slice_text(last->payload));
}

static void update_value(struct published *last, const struct value_topic *row,
                         const struct reading *reading, const struct outlet *outlet)
{
    char topic[TOPIC_SIZE];
    char payload[VALUE_SIZE];
    snprintf(topic, sizeof(topic), PREFIX "%s", row->name);
    snprintf(payload, sizeof(payload), "%lld%s", (long long)row->value(reading), row->unit);
    publish_changed(outlet, last, topic, payload);
}

/* An exponentially weighted moving average, second by second: what is old fades away. */
static void average_load(struct load *load, int64_t total, uint64_t elapsed_ms)
{
    double rate = (double)(total - load->total) * 60e3 / (double)elapsed_ms;
    uint64_t seconds = elapsed_ms / 1000;
    uint64_t steps = seconds < FADE_STEPS_MAX ? seconds : FADE_STEPS_MAX;
    for (size_t i = 0; i < WINDOWS; i++) {
        for (uint64_t step = 0; step < steps; step++) {
            load->average[i] += windows[i].fade * (rate - load->average[i]);
        }
    }
    load->total = total;
}

static void publish_load(struct load *load, const struct load_topic *row,
                         const struct outlet *outlet)
{
    for (size_t i = 0; i < WINDOWS; i++) {
        char topic[TOPIC_SIZE];
        char payload[VALUE_SIZE];
        snprintf(topic, sizeof(topic), PREFIX "load/%s/%s", row->name, windows[i].name);
        snprintf(payload, sizeof(payload), "%.2f", load->average[i]);
        publish_changed(outlet, &load->published[i], topic, payload);
    }
}

/* Brings the averages up to now: nothing happens before a whole second has passed. */
static void update_loads(struct sys_topics *topics, const struct reading *reading)
{
    uint64_t elapsed_ms = reading->now_mono_ms - topics->averaged_ms;
    if (topics->started && elapsed_ms < 1000) {
        return;
    }
    for (size_t i = 0; i < LOAD_TOPICS; i++) {
        int64_t total = load_topics[i].total(reading);
        if (topics->started) {
            average_load(&topics->loads[i], total, elapsed_ms);
        } else {
            topics->loads[i].total = total;
        }
    }
    topics->started = true;
    topics->averaged_ms = reading->now_mono_ms;
}

void sys_topics_update(struct sys_topics *topics, const struct metrics_context *context,
                       uint64_t now_mono_ms,
                       void (*publish)(void *arg, struct slice topic, struct slice payload),
                       void *arg)
{
    const struct outlet outlet = {.publish = publish, .arg = arg};
    struct reading reading = {.context = context, .now_mono_ms = now_mono_ms};
    int64_t now_connected = connected(&reading);
    if (now_connected > topics->connections_max) {
        topics->connections_max = now_connected;
    }
    reading.connections_max = topics->connections_max;

    publish_changed(&outlet, &topics->version, PREFIX "version", "pulse version " PULSE_VERSION);
    for (size_t i = 0; i < VALUE_TOPICS; i++) {
        update_value(&topics->values[i], &value_topics[i], &reading, &outlet);
    }
    update_loads(topics, &reading);
    for (size_t i = 0; i < LOAD_TOPICS; i++) {
        publish_load(&topics->loads[i], &load_topics[i], &outlet);
    }
}

/* ---- the reference page ---------------------------------------------------------------------- */

void sys_topics_reference(struct text *page)
{
    text_add(page, "## $SYS topics\n\n"
                   "Retained messages that the broker publishes every "
                   "`observability.sys_interval`, those whose value has changed. The names are "
                   "those of Mosquitto.\n\n"
                   "| topic | meaning |\n|---|---|\n"
                   "| `" PREFIX "version` | `pulse version ` and the version |\n");
    for (size_t i = 0; i < VALUE_TOPICS; i++) {
        text_printf(page, "| `" PREFIX "%s` | %s |\n", value_topics[i].name, value_topics[i].help);
    }
    text_add(page, "\nPer minute, as a moving average over 1, 5 and 15 minutes (`+` is `1min`, "
                   "`5min` or `15min`):\n\n| topic | of what |\n|---|---|\n");
    for (size_t i = 0; i < LOAD_TOPICS; i++) {
        text_printf(page, "| `" PREFIX "load/%s/+` | %s |\n", load_topics[i].name,
                    load_topics[i].help);
    }
}
