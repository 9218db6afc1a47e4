/*
 * publisher: one publishing client: its packet, its window, its unacknowledged messages.
 *
 * Owns      the head of its packet and its packet ids. Its link belongs to the scenario.
 * Thread    the loop's.
 * Errors    loop_fail() for acknowledgements that the broker should not have sent.
 * Source    MQTT 5.0 section 4.3, sender's side of the three qualities of service.
 */
#ifndef TESTS_BENCH_PUBLISHER_H
#define TESTS_BENCH_PUBLISHER_H

#include "tests/bench/link.h"
#include "tests/bench/stamp.h"

enum { PUBLISHER_HEAD_BYTES_MAX = 256 };

/* What all publishers of a run have in common. */
struct publisher_plan {
    size_t payload_len;
    uint8_t *body;    /* the payload's pattern; its seal is overwritten for each message */
    uint32_t window;  /* 0: none */
    uint32_t copies;  /* deliveries of each message */
    uint32_t lag_max; /* QoS 1 and 2: messages that may be acknowledged and not yet delivered */
    uint32_t refill;  /* QoS 0: send no fewer than this many messages at a time */
    uint32_t count_max;
    uint8_t qos;
};

struct publisher {
    struct link *link;
    const struct publisher_plan *plan;
    uint64_t delivered; /* copies of our messages, at all subscribers */
    uint16_t *ids;      /* a stack of `ids_free` unused packet ids */
    uint8_t *id_states;
    uint64_t *id_times_ns; /* [id]: when the message under it was sent, or due */
    size_t head_len;       /* with the stamp */
    size_t id_offset;
    uint32_t number;
    uint32_t sent;
    uint32_t ids_free;
    uint32_t id_count;
    bool is_listed; /* for the scenario: waits for publisher_fill() */
    uint8_t head[PUBLISHER_HEAD_BYTES_MAX];
};

/* For a link that is READY: the broker's receive maximum may make the window smaller. */
bool publisher_init(struct publisher *publisher, struct link *link, uint32_t number,
                    const char *topic, const struct publisher_plan *plan);
void publisher_fini(struct publisher *publisher);

/* Sends what the window and the socket allow, stamped `now_ns`. */
void publisher_fill(struct publisher *publisher, uint64_t now_ns);

/* Sends one message, stamped `due_ns`, or returns false if it has to wait. */
bool publisher_send_one(struct publisher *publisher, uint64_t due_ns);

void publisher_on_ack(struct publisher *publisher, enum wire_type type, uint16_t id,
                      uint8_t reason);

/* How long the message under `id` has waited; 0 for an id that awaits nothing. */
uint64_t publisher_waited_ns(const struct publisher *publisher, uint16_t id);

/* True when nothing waits for the socket or for an acknowledgement. */
bool publisher_is_done(const struct publisher *publisher);

#endif
