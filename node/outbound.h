/*
 * outbound: the QoS 1 and 2 messages of one session on their way to its client: those in flight
 * (sent, not finished) first, in the order of their packet ids, then those that wait.
 *
 *     head                      inflight                    count
 *      | sent | done | released | ... | waiting | waiting | ... |
 *
 * Packet ids are given out in sequence, so the entry of an id is found by its distance from the
 * first. An entry that is finished out of order stays as `done` until all before it are finished
 * too.
 *
 * Owns      one reference on each message.
 * Thread    the worker of the session.
 * Errors    ERR_MEMORY when the ring can't grow.
 * Source    MQTT 5.0 sections 4.3, 4.4, 4.6, 4.9.
 * Not here  limits, and writing packets (delivery.h, session_send.c).
 */
#ifndef PULSE_NODE_OUTBOUND_H
#define PULSE_NODE_OUTBOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct message;

/* Packet ids in flight at once: one less than there are, so that first and last never meet. */
#define OUTBOUND_INFLIGHT_MAX 65534u

enum outbound_state {
    OUTBOUND_WAITING,  /* no packet id yet */
    OUTBOUND_SENT,     /* PUBLISH sent, PUBACK or PUBREC awaited */
    OUTBOUND_RELEASED, /* QoS 2: PUBREC came, PUBREL sent, PUBCOMP awaited; no message any more */
    OUTBOUND_DONE,     /* finished out of order; no message any more */
};

/* More than one Subscription Identifier, rare: beside the entry. */
struct subscription_ids {
    size_t count;
    uint32_t ids[];
};

struct outbound_entry {
    struct message *message;
    union {
        uint32_t subscription_id; /* 0: none */
        uint32_t ids_index;       /* + 1 into the extra list when `many_ids` */
    };
    uint16_t packet_id;
    uint8_t state;  /* enum outbound_state */
    bool qos_2 : 1; /* else QoS 1 */
    bool retain : 1;
    bool shared : 1; /* came by a shared subscription: another member may have it */
    bool many_ids : 1;
};

static_assert(sizeof(struct outbound_entry) == 16, "what a queued message costs beside itself");

struct outbound {
    struct outbound_entry *ring;     /* NULL until first used; a power of two */
    struct subscription_ids **extra; /* of entries with many_ids; NULL: free place */
    uint32_t extra_cap;
    uint32_t cap;
    uint32_t head;
    uint32_t count;
    uint32_t inflight; /* entries from the head that have a packet id */
    uint32_t next;     /* the first entry not sent on this connection */
    uint32_t window;   /* PUBLISH sent on this connection and not finished: the client's quota */
    uint16_t last_id;  /* the packet id given out last */
    size_t bytes;      /* of the messages held */
};

void outbound_fini(struct outbound *out);

/* Waiting entries. */
static inline uint32_t outbound_waiting(const struct outbound *out)
{
    return out->count - out->inflight;
}

/* Entry `i` from the head. */
static inline struct outbound_entry *outbound_at(const struct outbound *out, uint32_t i)
{
    return &out->ring[(out->head + i) & (out->cap - 1)];
}

/*
 * Puts `entry` (waiting, its message's reference is taken) at the end. `ids` (count over 1) go with
 * it, else `entry.subscription_id` counts. On ERR_MEMORY the reference stays with the caller.
 */
must_check enum err outbound_push(struct outbound *out, struct outbound_entry entry,
                                  const uint32_t *ids, size_t id_count);

/* The subscription identifiers of `entry`, borrowed until it changes. */
size_t outbound_ids(const struct outbound *out, const struct outbound_entry *entry,
                    const uint32_t **ids);

/* The first waiting entry gets the next packet id and is in flight. There must be one, and room. */
struct outbound_entry *outbound_start(struct outbound *out);

/* The entry in flight under `packet_id`, or NULL (unknown, or done). */
struct outbound_entry *outbound_find(const struct outbound *out, uint16_t packet_id);

/* Drops the message of `entry`; it stays in its place as `state` (RELEASED or DONE). */
void outbound_drop_message(struct outbound *out, struct outbound_entry *entry,
                           enum outbound_state state);

/* Removes the done entries at the head. */
void outbound_trim(struct outbound *out);

/* Drops the first waiting entry; there must be one. */
void outbound_drop_first_waiting(struct outbound *out);

/* Removes entries that were marked DONE while they waited. */
void outbound_compact_waiting(struct outbound *out);

/* A new connection: everything in flight is to be sent again, in order. */
void outbound_rewind(struct outbound *out);

#endif
