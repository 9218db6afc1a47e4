/*
 * offline: messages for sessions whose clients are away: how fast they are acknowledged (store),
 * how fast they are taken when the clients come back (drain), and that nothing is left (revisit).
 *
 * Owns      its connections. The sessions outlive store and drain on purpose; a revisit ends them.
 * Thread    the loop's.
 * Errors    loop_fail(); what is missing, doubled or in the wrong session is counted as faults.
 * Not here  what the broker wrote for it, and whether it survives a kill: `run --storage` looks.
 *
 * Publisher N publishes to session N modulo sessions. A later drain knows what it must get from
 * --run-id, --publishers, --subscribers and --count, which must be those of the
 * store.
 */
#include "tests/bench/histogram.h"
#include "tests/bench/publisher.h"
#include "tests/bench/scenario.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    QUIET_MS = 50,                 /* what a session has to give it gives within this time */
    PACKET_SLACK_BYTES = 64 * 1024 /* topic and properties */
};

struct offline {
    struct bench *bench;
    const struct options *options;
    struct link *sessions;
    struct link *links; /* of the publishers */
    struct publisher *publishers;
    struct publisher **listed; /* those that may have something to send */
    char (*filters)[SCENARIO_NAME_BYTES_MAX];
    struct publisher_plan plan;
    struct ledger ledger;
    struct histogram histogram;
    uint64_t acknowledged;
    uint64_t received;
    uint64_t expected;
    uint32_t listed_count;
    uint32_t publisher_count;
    uint32_t session_count;
};

static void list_publisher(struct offline *offline, struct publisher *publisher)
{
    if (!publisher->is_listed) {
        publisher->is_listed = true;
        offline->listed[offline->listed_count++] = publisher;
    }
}

static struct publisher *publisher_of(struct link *link)
{
    struct offline *offline = link->owner;
    return &offline->publishers[link - offline->links];
}

static void on_ack(struct link *link, enum wire_type type, uint16_t id, uint8_t reason)
{
    struct offline *offline = link->owner;
    struct publisher *publisher = publisher_of(link);
    uint64_t waited_ns = publisher_waited_ns(publisher, id);
    uint32_t ids_free = publisher->ids_free;
    publisher_on_ack(publisher, type, id, reason);
    if (publisher->ids_free > ids_free) {
        histogram_record(&offline->histogram, waited_ns);
        offline->acknowledged++;
    }
    list_publisher(offline, publisher);
}

static void on_drained(struct link *link)
{
    list_publisher(link->owner, publisher_of(link));
}

static void on_message(struct link *link, const struct wire_publish *publish)
{
    struct offline *offline = link->owner;
    struct stamp stamp;
    bool is_ours = publish->payload_len == offline->plan.payload_len && !publish->retain &&
                   publish->qos == offline->plan.qos &&
                   stamp_read(publish->payload, publish->payload_len, offline->plan.body, &stamp) &&
                   stamp.publisher < offline->publisher_count &&
                   stamp.sequence < offline->plan.count_max;
    if (!is_ours) {
        offline->ledger.faults.damaged++;
        return;
    }
    ledger_note(&offline->ledger, (uint32_t)(link - offline->sessions), stamp.publisher,
                stamp.sequence);
    offline->received++;
}

static const struct link_handler publisher_handler = {.ack = on_ack, .drained = on_drained};
static const struct link_handler session_handler = {.publish = on_message};

static void fill_visitor(void *context, uint32_t index, struct link_setup *setup)
{
    struct offline *offline = context;
    scenario_fill_setup(offline->bench, "s", index, setup);
    setup->handler = &session_handler;
    setup->owner = offline;
    setup->keep_session = true;
    setup->is_patient = true;
    setup->packet_max = offline->plan.payload_len + PACKET_SLACK_BYTES;
}

static void fill_subscriber(void *context, uint32_t index, struct link_setup *setup)
{
    struct offline *offline = context;
    char tail[32];
    fill_visitor(context, index, setup);
    snprintf(tail, sizeof(tail), "%u/+", index);
    scenario_topic(offline->bench, offline->filters[index], tail);
    setup->filter = offline->filters[index];
    setup->filter_qos = offline->plan.qos;
}

static void fill_publisher(void *context, uint32_t index, struct link_setup *setup)
{
    struct offline *offline = context;
    scenario_fill_setup(offline->bench, "p", index, setup);
    setup->handler = &publisher_handler;
    setup->owner = offline;
    setup->out_bytes = 16 * 1024;
}

static bool open_publishers(struct offline *offline)
{
    uint64_t topic_bytes = 0;
    if (!link_open_all(offline->links, offline->publisher_count, &offline->bench->loop,
                       fill_publisher, offline)) {
        return false;
    }
    for (uint32_t i = 0; i < offline->publisher_count; i++) {
        char tail[32];
        char topic[SCENARIO_NAME_BYTES_MAX];
        snprintf(tail, sizeof(tail), "%u/%u", i % offline->session_count, i);
        scenario_topic(offline->bench, topic, tail);
        topic_bytes += strlen(topic);
        if (!publisher_init(&offline->publishers[i], &offline->links[i], i, topic,
                            &offline->plan)) {
            return false;
        }
    }
    offline->bench->outcome.message_bytes =
        (double)topic_bytes / offline->publisher_count + (double)offline->plan.payload_len;
    return true;
}

static void fill_listed(struct offline *offline)
{
    for (uint32_t i = 0; i < offline->listed_count; i++) {
        struct publisher *publisher = offline->listed[i];
        publisher->is_listed = false;
        publisher_fill(publisher, offline->bench->loop.now_ns);
    }
    offline->listed_count = 0;
}

/* From the first message to the last acknowledgement. */
static void publish_all(struct offline *offline)
{
    struct bench *bench = offline->bench;
    pid_t broker = (pid_t)offline->options->broker_pid;
    uint64_t rss_before = probe_memory(broker).rss_bytes;
    for (uint32_t i = 0; i < offline->publisher_count; i++) {
        list_publisher(offline, &offline->publishers[i]);
    }
    scenario_begin(bench);
    loop_clock(&bench->loop);
    while (!bench->loop.failed && offline->acknowledged < offline->expected) {
        fill_listed(offline);
        loop_flush(&bench->loop);
        loop_turn(&bench->loop, NS_PER_S);
    }
    scenario_end(bench, offline->acknowledged);

    struct outcome *outcome = &bench->outcome;
    outcome->memory = probe_memory(broker);
    if (outcome->memory.rss_bytes > rss_before && outcome->units > 0) {
        outcome->bytes_per_unit =
            (double)(outcome->memory.rss_bytes - rss_before) / (double)outcome->units;
    }
    outcome->faults.lost = offline->expected - offline->acknowledged; /* of acknowledgements */
    bench->outcome.latency = scenario_latency(&offline->histogram);
}

static void store(struct offline *offline)
{
    struct loop *loop = &offline->bench->loop;
    if (link_open_all(offline->sessions, offline->session_count, loop, fill_subscriber, offline) &&
        link_leave_all(offline->sessions, offline->session_count) && open_publishers(offline)) {
        publish_all(offline);
    }
}

/* From the first CONNECT until the broker has taken every acknowledgement. */
static void take_all(struct offline *offline)
{
    struct loop *loop = &offline->bench->loop;
    scenario_begin(offline->bench);
    link_open_all(offline->sessions, offline->session_count, loop, fill_visitor, offline);
    while (!loop->failed && offline->received < offline->expected) {
        loop_flush(loop);
        loop_turn(loop, NS_PER_S);
    }
    if (!loop->failed) {
        link_leave_all(offline->sessions, offline->session_count);
    }
    scenario_end(offline->bench, offline->received);
    offline->bench->outcome.memory = probe_memory((pid_t)offline->options->broker_pid);
}

static void drain(struct offline *offline)
{
    take_all(offline);
    for (uint32_t i = 0; i < offline->publisher_count; i++) {
        ledger_settle(&offline->ledger, i, offline->plan.count_max);
    }
    offline->bench->outcome.faults = offline->ledger.faults;
}

/* The sessions must still be there, and have nothing left to give. Then they are ended. */
static void revisit(struct offline *offline)
{
    struct loop *loop = &offline->bench->loop;
    offline->bench->outcome.unit = "session";
    scenario_begin(offline->bench);
    if (!link_open_all(offline->sessions, offline->session_count, loop, fill_visitor, offline)) {
        return;
    }
    scenario_end(offline->bench, offline->session_count);
    loop_run_quietly(loop, QUIET_MS * NS_PER_MS);
    for (uint32_t i = 0; i < offline->session_count; i++) {
        if (!offline->sessions[i].session_present) {
            loop_fail(loop, "session %u is gone", i);
        }
    }
    offline->bench->outcome.faults = offline->ledger.faults;
    offline->bench->outcome.faults.doubled += offline->received;
    if (!loop->failed && link_leave_all(offline->sessions, offline->session_count)) {
        scenario_end_sessions(offline->bench, offline->session_count);
    }
}

static bool allocate(struct offline *offline)
{
    size_t body_len = offline->plan.payload_len - STAMP_BYTES;
    offline->sessions = calloc(offline->session_count, sizeof(*offline->sessions));
    offline->filters = calloc(offline->session_count, sizeof(*offline->filters));
    offline->links = calloc(offline->publisher_count, sizeof(*offline->links));
    offline->publishers = calloc(offline->publisher_count, sizeof(*offline->publishers));
    offline->listed = calloc(offline->publisher_count, sizeof(struct publisher *));
    offline->plan.body = malloc(body_len + 1);
    if (offline->sessions == NULL || offline->filters == NULL || offline->links == NULL ||
        offline->publishers == NULL || offline->listed == NULL || offline->plan.body == NULL ||
        !ledger_init(&offline->ledger, LEDGER_PAIRS, offline->publisher_count,
                     offline->session_count)) {
        loop_fail(&offline->bench->loop, "out of memory");
        return false;
    }
    stamp_fill_body(offline->plan.body, body_len);
    return true;
}

static void release(struct offline *offline)
{
    for (uint32_t i = 0; offline->publishers != NULL && i < offline->publisher_count; i++) {
        publisher_fini(&offline->publishers[i]);
    }
    if (offline->links != NULL && offline->sessions != NULL) {
        link_fini_all(offline->links, offline->publisher_count);
        link_fini_all(offline->sessions, offline->session_count);
    }
    ledger_fini(&offline->ledger);
    free(offline->plan.body);
    free(offline->listed);
    free(offline->publishers);
    free(offline->links);
    free(offline->filters);
    free(offline->sessions);
}

static void run(struct bench *bench, void (*work)(struct offline *offline))
{
    const struct options *options = bench->options;
    struct offline *offline = calloc(1, sizeof(*offline));
    if (offline == NULL) {
        loop_fail(&bench->loop, "out of memory");
        return;
    }
    offline->bench = bench;
    offline->options = options;
    offline->publisher_count = (uint32_t)options->publishers;
    offline->session_count = (uint32_t)options->subscribers;
    offline->expected = options->publishers * options->count;
    offline->plan = (struct publisher_plan){
        .payload_len = (size_t)options->payload,
        .window = options->window != OPTION_UNSET ? (uint32_t)options->window : 0,
        .copies = 1,
        .lag_max = UINT32_MAX, /* nobody is there to take anything */
        .refill = 1,
        .count_max = (uint32_t)options->count,
        .qos = (uint8_t)options->qos,
    };
    bench->outcome.unit = "message";
    if (allocate(offline)) {
        work(offline);
    }
    release(offline);
    free(offline);
}

void offline_run_store(struct bench *bench)
{
    run(bench, store);
}

void offline_run_drain(struct bench *bench)
{
    run(bench, drain);
}

void offline_run_revisit(struct bench *bench)
{
    run(bench, revisit);
}
