/*
 * replay: retained messages, asked for by many subscribers again and again.
 *
 * Owns      its connections, and the retained messages, which it removes at the end.
 * Thread    the loop's.
 * Errors    loop_fail(); missing and doubled messages are counted as faults.
 * Source    [MQTT-3.8.4-3] of 3.1.1: a repeated SUBSCRIBE gets the retained messages again; so does
 *           retain handling 0 of 5.0.
 */
#include "tests/bench/scenario.h"
#include "tests/bench/stamp.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    QUIET_MS = 50,
    STORE_WINDOW = 10,
    LEAVE_WINDOW = 1000, /* brokers allow 1,024 and more, but for Mosquitto's 20 of QoS 2 */
    PACKET_SLACK_BYTES = 64 * 1024,
};

/* One subscriber's current round: which topics it has seen. */
struct round {
    uint32_t *seen_in; /* [topic]: number of the round in which it was last seen */
    uint32_t number;
    uint32_t received;
};

struct replay {
    struct bench *bench;
    const struct options *options;
    struct link *links;
    struct round *rounds;
    struct link storer; /* sets and removes the messages, QoS 1 */
    uint8_t *body;
    uint64_t delivered;
    uint32_t subscriber_count;
    uint32_t topic_count;
    uint32_t store_next;
    uint32_t store_acked;
    uint32_t store_window;
    size_t store_payload_len; /* 0 while removing */
    uint32_t finished;        /* subscribers that have stopped */
    bool is_ending;
    char filter[SCENARIO_NAME_BYTES_MAX];
};

/* The publisher's number in a stamp is of no use here: the sequence is the topic. */
static void store_one(struct replay *replay)
{
    char number[16];
    char topic[SCENARIO_NAME_BYTES_MAX];
    uint8_t head[WIRE_SETUP_BYTES_MAX];
    snprintf(number, sizeof(number), "%u", replay->store_next);
    scenario_topic(replay->bench, topic, number);
    struct wire_outline outline = {
        .topic = topic,
        .payload_len = replay->store_payload_len,
        .version = replay->storer.version,
        .qos = 1,
        .retain = true,
    };
    size_t id_offset = 0;
    size_t head_len = wire_put_publish_head(head, &outline, &id_offset);
    wire_put_u16(head + id_offset, (uint16_t)(1 + replay->store_next % replay->store_window));
    memcpy(link_reserve(&replay->storer, head_len), head, head_len);
    if (replay->store_payload_len > 0) {
        struct stamp stamp = {.sequence = replay->store_next};
        size_t body_len = replay->store_payload_len - STAMP_BYTES;
        uint8_t *to = link_reserve(&replay->storer, replay->store_payload_len);
        memcpy(to, &stamp, STAMP_BYTES);
        memcpy(to + STAMP_BYTES, replay->body, body_len);
        stamp_put_seal(to + STAMP_BYTES, body_len, &stamp);
    }
    replay->store_next++;
}

static void on_stored(struct link *link, enum wire_type type, uint16_t id, uint8_t reason)
{
    struct replay *replay = link->owner;
    if (type != WIRE_PUBACK || reason >= WIRE_REASON_FAILED) {
        loop_fail(link->loop, "retained message %u refused: code 0x%02x", id, reason);
        return;
    }
    replay->store_acked++;
}

static void store_all(struct replay *replay, size_t payload_len)
{
    struct loop *loop = &replay->bench->loop;
    replay->store_payload_len = payload_len;
    replay->store_next = replay->store_acked = 0;
    loop_mark_progress(loop);
    while (!loop->failed && replay->store_acked < replay->topic_count) {
        while (replay->store_next < replay->topic_count &&
               replay->store_next - replay->store_acked < replay->store_window) {
            store_one(replay);
        }
        loop_flush(loop);
        loop_turn(loop, NS_PER_S);
    }
}

static void begin_round(struct replay *replay, struct link *link)
{
    struct round *round = &replay->rounds[link - replay->links];
    if (replay->is_ending) {
        replay->finished++;
        return;
    }
    round->number++;
    round->received = 0;
    link_subscribe(link, replay->filter, (uint8_t)replay->options->qos);
}

static void on_message(struct link *link, const struct wire_publish *publish)
{
    struct replay *replay = link->owner;
    struct round *round = &replay->rounds[link - replay->links];
    struct ledger_faults *faults = &replay->bench->outcome.faults;
    struct stamp stamp;
    if (publish->payload_len != replay->options->payload || !publish->retain ||
        !stamp_read(publish->payload, publish->payload_len, replay->body, &stamp) ||
        stamp.sequence >= replay->topic_count) {
        faults->damaged++;
        return;
    }
    if (round->seen_in[stamp.sequence] == round->number) {
        faults->doubled++;
        return;
    }
    round->seen_in[stamp.sequence] = round->number;
    replay->delivered++;
    if (++round->received == replay->topic_count) {
        begin_round(replay, link);
    }
}

static const struct link_handler storer_handler = {.ack = on_stored};
static const struct link_handler subscriber_handler = {.publish = on_message};

static void fill_storer(void *context, uint32_t index, struct link_setup *setup)
{
    struct replay *replay = context;
    scenario_fill_setup(replay->bench, "p", index, setup);
    setup->handler = &storer_handler;
    setup->owner = replay;
}

static void fill_subscriber(void *context, uint32_t index, struct link_setup *setup)
{
    struct replay *replay = context;
    scenario_fill_setup(replay->bench, "s", index, setup);
    setup->handler = &subscriber_handler;
    setup->owner = replay;
    setup->packet_max = (size_t)replay->options->payload + PACKET_SLACK_BYTES;
}

static void measure(struct replay *replay)
{
    struct loop *loop = &replay->bench->loop;
    const struct options *options = replay->options;
    for (uint32_t i = 0; i < replay->subscriber_count; i++) {
        begin_round(replay, &replay->links[i]);
    }
    loop_run_until(loop, loop_clock(loop) + options->warmup_ms * NS_PER_MS);
    uint64_t before = replay->delivered;
    scenario_begin(replay->bench);
    loop_run_until(loop, loop_clock(loop) + options->duration_ms * NS_PER_MS);
    scenario_end(replay->bench, replay->delivered - before);
    replay->bench->outcome.memory = probe_memory((pid_t)options->broker_pid);

    replay->is_ending = true;
    loop_mark_progress(loop);
    while (!loop->failed && replay->finished < replay->subscriber_count) {
        loop_flush(loop);
        loop_turn(loop, NS_PER_S);
    }
    if (loop->failed) {
        for (uint32_t i = 0; i < replay->subscriber_count; i++) {
            replay->bench->outcome.faults.lost += replay->topic_count - replay->rounds[i].received;
        }
        return;
    }
    loop_run_quietly(loop, QUIET_MS * NS_PER_MS);
}

static bool allocate(struct replay *replay)
{
    size_t body_len = (size_t)replay->options->payload - STAMP_BYTES;
    size_t subscribers = replay->subscriber_count > 0 ? replay->subscriber_count : 1;
    replay->links = calloc(subscribers, sizeof(*replay->links));
    replay->rounds = calloc(subscribers, sizeof(*replay->rounds));
    replay->body = malloc(body_len + 1);
    bool has_memory = replay->links != NULL && replay->rounds != NULL && replay->body != NULL;
    for (uint32_t i = 0; has_memory && i < replay->subscriber_count; i++) {
        replay->rounds[i].seen_in = calloc(replay->topic_count, sizeof(uint32_t));
        has_memory = replay->rounds[i].seen_in != NULL;
    }
    if (!has_memory) {
        loop_fail(&replay->bench->loop, "out of memory");
        return false;
    }
    stamp_fill_body(replay->body, body_len);
    return true;
}

static void release(struct replay *replay)
{
    for (uint32_t i = 0; replay->rounds != NULL && i < replay->subscriber_count; i++) {
        free(replay->rounds[i].seen_in);
    }
    if (replay->links != NULL) {
        link_fini_all(replay->links, replay->subscriber_count);
    }
    link_fini_all(&replay->storer, 1);
    free(replay->body);
    free(replay->rounds);
    free(replay->links);
}

void replay_run_leave(struct bench *bench)
{
    struct replay replay = {
        .bench = bench,
        .options = bench->options,
        .topic_count = (uint32_t)bench->options->topics,
        .store_window = LEAVE_WINDOW,
    };
    bench->outcome.unit = "message";
    if (allocate(&replay) && link_open_all(&replay.storer, 1, &bench->loop, fill_storer, &replay)) {
        scenario_begin(bench);
        store_all(&replay, (size_t)bench->options->payload);
        scenario_end(bench, replay.store_acked);
        bench->outcome.faults.lost = replay.topic_count - replay.store_acked;
        bench->outcome.memory = probe_memory((pid_t)bench->options->broker_pid);
    }
    release(&replay);
}

void replay_run(struct bench *bench)
{
    struct replay replay = {
        .bench = bench,
        .options = bench->options,
        .subscriber_count = (uint32_t)bench->options->subscribers,
        .topic_count = (uint32_t)bench->options->topics,
        .store_window = STORE_WINDOW,
    };
    bench->outcome.unit = "message";
    scenario_topic(bench, replay.filter, "+");
    if (allocate(&replay) && link_open_all(&replay.storer, 1, &bench->loop, fill_storer, &replay)) {
        store_all(&replay, (size_t)bench->options->payload);
        if (!bench->loop.failed && link_open_all(replay.links, replay.subscriber_count,
                                                 &bench->loop, fill_subscriber, &replay)) {
            measure(&replay);
        }
        /* Subscribers leave first: they would get the removal as a message. */
        link_fini_all(replay.links, replay.subscriber_count);
        if (!bench->loop.failed) {
            store_all(&replay, 0);
        }
    }
    release(&replay);
}
