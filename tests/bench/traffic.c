/*
 * traffic: publishers and subscribers in one process, so that the loop can be closed: fan-out,
 * fan-in, pairs, shared, latency, overload.
 *
 * Owns      its connections, from the first CONNECT to the last DISCONNECT.
 * Thread    the loop's.
 * Errors    loop_fail(); what was lost by then is counted all the same.
 * Not here  one publisher's window (publisher.h), who must get what (ledger.h).
 */
#include "tests/bench/crowd.h"
#include "tests/bench/histogram.h"
#include "tests/bench/publisher.h"
#include "tests/bench/scenario.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SAMPLE_EVERY = 16, /* latency of one message in this many, unless at a fixed rate */
    READ_TICK_MS = 10, /* slow subscribers read a little this often */
    SLOW_RECEIVE_BYTES = 64 * 1024,
    QUIET_MS = 50, /* after the last message: what comes now came twice */
    LAG_MIN = 1000,
    PACKET_SLACK_BYTES = 64 * 1024, /* topic and properties */
};

enum phase { PHASE_WARMUP, PHASE_MEASURE, PHASE_CROWD, PHASE_DRAIN };

struct traffic {
    struct bench *bench;
    const struct options *options;
    struct link *subscribers;
    struct link *links; /* of the publishers */
    struct publisher *publishers;
    struct publisher **listed; /* publishers that may have something to send */
    uint32_t listed_count;
    uint32_t publisher_count;
    uint32_t subscriber_count;
    struct publisher_plan plan;
    struct ledger ledger;
    struct histogram histogram;
    struct crowd crowd;
    char (*filters)[SCENARIO_NAME_BYTES_MAX];
    uint64_t delivered;
    uint64_t delivered_before; /* up to the start of the measured span */
    uint64_t measure_from_ns;
    uint64_t phase_end_ns;
    uint64_t start_ns;
    uint64_t next_read_ns;
    uint64_t due_count; /* at a fixed rate: messages sent so far */
    enum ledger_route route;
    enum phase phase;
    uint32_t sample_mask;
};

static void list_publisher(struct traffic *traffic, struct publisher *publisher)
{
    if (!publisher->is_listed) {
        publisher->is_listed = true;
        traffic->listed[traffic->listed_count++] = publisher;
    }
}

static struct publisher *publisher_of(struct link *link)
{
    struct traffic *traffic = link->owner;
    return &traffic->publishers[link - traffic->links];
}

static void on_publisher_ack(struct link *link, enum wire_type type, uint16_t id, uint8_t reason)
{
    publisher_on_ack(publisher_of(link), type, id, reason);
    list_publisher(link->owner, publisher_of(link));
}

static void on_publisher_drained(struct link *link)
{
    list_publisher(link->owner, publisher_of(link));
}

static const struct link_handler publisher_handler = {
    .ack = on_publisher_ack,
    .drained = on_publisher_drained,
};

static void note_latency(struct traffic *traffic, const struct stamp *stamp, uint64_t now_ns)
{
    bool is_sampled = (stamp->sequence & traffic->sample_mask) == 0;
    bool is_measured = traffic->phase == PHASE_MEASURE || traffic->phase == PHASE_CROWD;
    if (is_sampled && is_measured && stamp->time_ns >= traffic->measure_from_ns) {
        histogram_record(&traffic->histogram, now_ns - stamp->time_ns);
    }
}

static void on_message(struct link *link, const struct wire_publish *publish)
{
    struct traffic *traffic = link->owner;
    struct stamp stamp;
    bool is_ours = publish->payload_len == traffic->plan.payload_len && !publish->retain &&
                   publish->qos == traffic->plan.qos &&
                   stamp_read(publish->payload, publish->payload_len, traffic->plan.body, &stamp) &&
                   stamp.publisher < traffic->publisher_count &&
                   stamp.sequence < traffic->publishers[stamp.publisher].sent;
    if (!is_ours) {
        traffic->ledger.faults.damaged++;
        return;
    }
    struct publisher *publisher = &traffic->publishers[stamp.publisher];
    ledger_note(&traffic->ledger, (uint32_t)(link - traffic->subscribers), stamp.publisher,
                stamp.sequence);
    note_latency(traffic, &stamp, link->loop->now_ns);
    traffic->delivered++;
    publisher->delivered++;
    list_publisher(traffic, publisher);
}

static const struct link_handler subscriber_handler = {.publish = on_message};

/* What subscriber `index` asks for. A single publisher's topic is named without a wildcard. */
static void fill_filter(struct traffic *traffic, uint32_t index)
{
    char *filter = traffic->filters[index];
    char tail[32] = "+";
    if (traffic->route == LEDGER_PAIRS || traffic->publisher_count == 1) {
        snprintf(tail, sizeof(tail), "%u", traffic->route == LEDGER_PAIRS ? index : 0);
    }
    if (traffic->route == LEDGER_SHARED) {
        char topic[SCENARIO_NAME_BYTES_MAX];
        scenario_topic(traffic->bench, topic, tail);
        snprintf(filter, SCENARIO_NAME_BYTES_MAX, "$share/bench/%.100s", topic);
    } else {
        scenario_topic(traffic->bench, filter, tail);
    }
}

static void fill_subscriber(void *context, uint32_t index, struct link_setup *setup)
{
    struct traffic *traffic = context;
    scenario_fill_setup(traffic->bench, "s", index, setup);
    fill_filter(traffic, index);
    setup->handler = &subscriber_handler;
    setup->owner = traffic;
    setup->filter = traffic->filters[index];
    setup->filter_qos = traffic->plan.qos;
    setup->keep_session = traffic->options->persistent;
    setup->packet_max = traffic->plan.payload_len + PACKET_SLACK_BYTES;
    setup->receive_bytes = traffic->options->read_rate > 0 ? SLOW_RECEIVE_BYTES : 0;
}

static void fill_publisher(void *context, uint32_t index, struct link_setup *setup)
{
    struct traffic *traffic = context;
    scenario_fill_setup(traffic->bench, "p", index, setup);
    setup->handler = &publisher_handler;
    setup->owner = traffic;
    setup->out_bytes = 16 * 1024;
}

static void plan_fill(struct traffic *traffic)
{
    const struct options *options = traffic->options;
    struct publisher_plan *plan = &traffic->plan;
    plan->payload_len = (size_t)options->payload;
    plan->qos = (uint8_t)options->qos;
    plan->window = (uint32_t)options->window;
    plan->copies = traffic->route == LEDGER_ALL ? traffic->subscriber_count : 1;
    plan->lag_max = 10 * plan->window > LAG_MIN ? 10 * plan->window : LAG_MIN;
    /* With many copies a window opens drop by drop, which would make batches of one. */
    plan->refill = plan->copies > 1 && options->rate == 0 ? (plan->window + 1) / 2 : 1;
    plan->count_max = options->count > 0 ? (uint32_t)options->count : UINT32_MAX;
}

static bool allocate(struct traffic *traffic)
{
    uint32_t publishers = traffic->publisher_count;
    uint32_t subscribers = traffic->subscriber_count;
    size_t body_len = traffic->plan.payload_len - STAMP_BYTES;
    traffic->links = calloc(publishers, sizeof(*traffic->links));
    traffic->publishers = calloc(publishers, sizeof(*traffic->publishers));
    traffic->listed = calloc(publishers, sizeof(struct publisher *));
    traffic->subscribers = calloc(subscribers, sizeof(*traffic->subscribers));
    traffic->filters = calloc(subscribers, sizeof(*traffic->filters));
    traffic->plan.body = malloc(body_len + 1);
    if (traffic->links == NULL || traffic->publishers == NULL || traffic->listed == NULL ||
        traffic->subscribers == NULL || traffic->filters == NULL || traffic->plan.body == NULL ||
        !ledger_init(&traffic->ledger, traffic->route, publishers, subscribers)) {
        loop_fail(&traffic->bench->loop, "out of memory");
        return false;
    }
    stamp_fill_body(traffic->plan.body, body_len);
    return true;
}

static bool open_publishers(struct traffic *traffic)
{
    if (!link_open_all(traffic->links, traffic->publisher_count, &traffic->bench->loop,
                       fill_publisher, traffic)) {
        return false;
    }
    for (uint32_t i = 0; i < traffic->publisher_count; i++) {
        char number[16];
        char topic[SCENARIO_NAME_BYTES_MAX];
        snprintf(number, sizeof(number), "%u", i);
        scenario_topic(traffic->bench, topic, number);
        if (!publisher_init(&traffic->publishers[i], &traffic->links[i], i, topic,
                            &traffic->plan)) {
            return false;
        }
    }
    return true;
}

static void release(struct traffic *traffic)
{
    if (traffic->publishers != NULL) {
        for (uint32_t i = 0; i < traffic->publisher_count; i++) {
            publisher_fini(&traffic->publishers[i]);
        }
    }
    if (traffic->links != NULL && traffic->subscribers != NULL) {
        link_fini_all(traffic->links, traffic->publisher_count);
        link_fini_all(traffic->subscribers, traffic->subscriber_count);
    }
    ledger_fini(&traffic->ledger);
    free(traffic->plan.body);
    free(traffic->filters);
    free(traffic->subscribers);
    free(traffic->listed);
    free(traffic->publishers);
    free(traffic->links);
}

/* At a fixed rate: sends what is due. Gives the time until the next message is. */
static uint64_t send_due(struct traffic *traffic)
{
    uint64_t now_ns = traffic->bench->loop.now_ns;
    double step_ns = (double)NS_PER_S / (double)traffic->options->rate;
    for (;;) {
        uint64_t due_ns = traffic->start_ns + (uint64_t)((double)traffic->due_count * step_ns);
        if (due_ns > now_ns) {
            return due_ns - now_ns;
        }
        uint64_t number = traffic->due_count % traffic->publisher_count;
        if (!publisher_send_one(&traffic->publishers[number], due_ns)) {
            return NS_PER_MS; /* late, and the message's stamp will say so */
        }
        traffic->due_count++;
    }
}

static void fill_listed(struct traffic *traffic)
{
    for (uint32_t i = 0; i < traffic->listed_count; i++) {
        struct publisher *publisher = traffic->listed[i];
        publisher->is_listed = false;
        publisher_fill(publisher, traffic->bench->loop.now_ns);
    }
    traffic->listed_count = 0;
}

/* Publishers without a window are asked again and again: only their sockets hold them back. */
static uint64_t fill_unlimited(struct traffic *traffic)
{
    uint64_t wait_ns = NS_PER_S;
    for (uint32_t i = 0; i < traffic->publisher_count; i++) {
        struct publisher *publisher = &traffic->publishers[i];
        publisher_fill(publisher, traffic->bench->loop.now_ns);
        if (!publisher->link->is_blocked && publisher->sent < traffic->plan.count_max) {
            wait_ns = 0;
        }
    }
    return wait_ns;
}

/* Slow subscribers take their ration. Gives the time until the next one. */
static uint64_t read_slowly(struct traffic *traffic)
{
    struct loop *loop = &traffic->bench->loop;
    if (loop->now_ns >= traffic->next_read_ns) {
        uint64_t before = traffic->delivered;
        size_t packet_bytes = traffic->publishers[0].head_len + traffic->plan.payload_len;
        size_t ration = (size_t)traffic->options->read_rate * packet_bytes * READ_TICK_MS / 1000;
        for (uint32_t i = 0; i < traffic->subscriber_count && !loop->failed; i++) {
            link_read(&traffic->subscribers[i], ration > 0 ? ration : 1);
        }
        if (traffic->delivered > before) {
            loop_mark_progress(loop);
        }
        traffic->next_read_ns += READ_TICK_MS * NS_PER_MS;
    }
    return traffic->next_read_ns > loop->now_ns ? traffic->next_read_ns - loop->now_ns : 0;
}

static void pause_subscribers(struct traffic *traffic, bool is_paused)
{
    for (uint32_t i = 0; i < traffic->subscriber_count; i++) {
        link_pause(&traffic->subscribers[i], is_paused);
    }
}

static bool is_all_sent(const struct traffic *traffic)
{
    for (uint32_t i = 0; i < traffic->publisher_count; i++) {
        if (traffic->publishers[i].sent < traffic->plan.count_max) {
            return false;
        }
    }
    return true;
}

static bool is_all_done(const struct traffic *traffic)
{
    uint64_t sent = 0;
    for (uint32_t i = 0; i < traffic->publisher_count; i++) {
        if (!publisher_is_done(&traffic->publishers[i])) {
            return false;
        }
        sent += traffic->publishers[i].sent;
    }
    return traffic->delivered >= sent * traffic->plan.copies;
}

static void begin_measure(struct traffic *traffic)
{
    traffic->phase = PHASE_MEASURE;
    traffic->delivered_before = traffic->delivered;
    traffic->measure_from_ns = loop_clock(&traffic->bench->loop);
    traffic->phase_end_ns = traffic->measure_from_ns + traffic->options->duration_ms * NS_PER_MS;
    scenario_begin(traffic->bench);
}

static bool has_crowd(const struct traffic *traffic)
{
    return traffic->options->connections != OPTION_UNSET;
}

/* What was measured so far was "before"; from now on it is "during". */
static void begin_crowd(struct traffic *traffic)
{
    struct bench *bench = traffic->bench;
    scenario_end(bench, traffic->delivered - traffic->delivered_before);
    bench->outcome.latency = scenario_latency(&traffic->histogram);
    histogram_reset(&traffic->histogram);
    if (crowd_start(&traffic->crowd, bench)) {
        traffic->phase = PHASE_CROWD;
        traffic->measure_from_ns = loop_clock(&bench->loop);
        traffic->phase_end_ns = UINT64_MAX;
    }
}

static void begin_drain(struct traffic *traffic)
{
    if (traffic->phase == PHASE_MEASURE) {
        scenario_end(traffic->bench, traffic->delivered - traffic->delivered_before);
    }
    traffic->phase = PHASE_DRAIN;
    if (traffic->options->read_rate > 0) {
        pause_subscribers(traffic, false);
    }
    loop_mark_progress(&traffic->bench->loop);
}

static uint64_t send_more(struct traffic *traffic)
{
    if (traffic->options->rate > 0) {
        return send_due(traffic);
    }
    if (traffic->plan.window == 0) {
        return fill_unlimited(traffic);
    }
    fill_listed(traffic);
    return NS_PER_S;
}

/* One turn of the measured load. A count ends it when all is delivered, else the clock does. */
static void step(struct traffic *traffic)
{
    struct loop *loop = &traffic->bench->loop;
    uint64_t wait_ns = traffic->phase_end_ns - loop->now_ns;
    uint64_t next_ns = send_more(traffic);
    wait_ns = next_ns < wait_ns ? next_ns : wait_ns;
    if (traffic->options->read_rate > 0) {
        next_ns = read_slowly(traffic);
        wait_ns = next_ns < wait_ns ? next_ns : wait_ns;
    }
    loop_flush(loop);
    loop_turn(loop, wait_ns);
}

static bool is_phase_over(const struct traffic *traffic)
{
    return traffic->bench->loop.now_ns >= traffic->phase_end_ns ||
           (is_all_sent(traffic) && is_all_done(traffic));
}

static void run_load(struct traffic *traffic)
{
    struct loop *loop = &traffic->bench->loop;
    traffic->start_ns = loop_clock(loop);
    traffic->next_read_ns = traffic->start_ns;
    traffic->phase_end_ns = traffic->start_ns + traffic->options->warmup_ms * NS_PER_MS;
    for (uint32_t i = 0; i < traffic->publisher_count; i++) {
        list_publisher(traffic, &traffic->publishers[i]);
    }
    while (!loop->failed && traffic->phase != PHASE_DRAIN) {
        bool is_over =
            traffic->phase == PHASE_CROWD ? crowd_is_over(&traffic->crowd) : is_phase_over(traffic);
        if (!is_over) {
            step(traffic);
        } else if (traffic->phase == PHASE_WARMUP) {
            begin_measure(traffic);
        } else if (traffic->phase == PHASE_MEASURE && has_crowd(traffic)) {
            begin_crowd(traffic);
        } else {
            begin_drain(traffic);
        }
    }
}

static void drain(struct traffic *traffic)
{
    struct loop *loop = &traffic->bench->loop;
    loop->spin = false;
    while (!loop->failed && !is_all_done(traffic)) {
        loop_flush(loop);
        loop_turn(loop, NS_PER_S);
    }
    if (!loop->failed) {
        loop_run_quietly(loop, QUIET_MS * NS_PER_MS);
    }
    for (uint32_t i = 0; i < traffic->publisher_count; i++) {
        ledger_settle(&traffic->ledger, i, traffic->publishers[i].sent);
    }
}

static void fill_outcome(struct traffic *traffic)
{
    struct outcome *outcome = &traffic->bench->outcome;
    outcome->faults = traffic->ledger.faults;
    outcome->memory = probe_memory((pid_t)traffic->options->broker_pid);
    struct latency latency = scenario_latency(&traffic->histogram);
    if (has_crowd(traffic)) {
        outcome->crowd.latency = latency;
    } else {
        outcome->latency = latency;
    }
}

static void run(struct bench *bench, enum ledger_route route)
{
    const struct options *options = bench->options;
    struct traffic *traffic = calloc(1, sizeof(*traffic));
    if (traffic == NULL) {
        loop_fail(&bench->loop, "out of memory");
        return;
    }
    traffic->bench = bench;
    traffic->options = options;
    traffic->route = route;
    traffic->publisher_count = (uint32_t)options->publishers;
    traffic->subscriber_count = (uint32_t)options->subscribers;
    traffic->sample_mask = options->rate > 0 ? 0 : SAMPLE_EVERY - 1;
    bench->outcome.unit = "message";
    plan_fill(traffic);

    if (allocate(traffic) &&
        link_open_all(traffic->subscribers, traffic->subscriber_count, &bench->loop,
                      fill_subscriber, traffic) &&
        open_publishers(traffic)) {
        if (options->read_rate > 0) {
            pause_subscribers(traffic, true);
        }
        bool leaves_room = options->no_spin || has_crowd(traffic); /* the crowd needs the core */
        bench->loop.spin = options->spin || (options->rate > 0 && !leaves_room);
        run_load(traffic);
        drain(traffic);
        fill_outcome(traffic);
    }
    crowd_fini(&traffic->crowd);
    release(traffic);
    free(traffic);
    if (options->persistent && !bench->loop.failed) {
        scenario_end_sessions(bench, (uint32_t)options->subscribers);
    }
}

void traffic_run_pairs(struct bench *bench)
{
    run(bench, LEDGER_PAIRS);
}

void traffic_run_all(struct bench *bench)
{
    run(bench, LEDGER_ALL);
}

void traffic_run_shared(struct bench *bench)
{
    run(bench, LEDGER_SHARED);
}
