/*
 * outbound: the QoS 1 and 2 messages of one session on their way to its client: those in flight
 * (sent, not finished) first, then those that wait, all in the order of their positions.
 *
 *     head                      inflight                    count
 *      | sent | done | released | ... | waiting | waiting | ... |
 *
 * A position is a number that no other message of the session has had. The packet id follows from
 * it: storage, which knows positions, need not be told of packet ids, and a message that was sent
 * before a restart has the same one afterwards. An entry that is finished out of order stays as
 * `done` until all before it are finished too.
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

/* From the first to the last position in flight: fewer than there are packet ids. */
#define OUTBOUND_INFLIGHT_MAX 65534u

enum outbound_state {
    OUTBOUND_WAITING,   /* not sent yet */
    OUTBOUND_SENT,      /* PUBLISH sent, PUBACK or PUBREC awaited */
    OUTBOUND_RELEASING, /* QoS 2: PUBREC came, storage is being told; no message any more */
    OUTBOUND_RELEASED,  /* QoS 2: PUBREL sent, PUBCOMP awaited; no message any more */
    OUTBOUND_DONE,      /* finished out of order; no message any more */
};

/* More than one Subscription Identifier, rare: beside the entry. */
struct subscription_ids {
    size_t count;
    uint32_t ids[];
};

/* Positions have 48 bits: at 1,000,000 messages a second they last 8 years. */
#define OUTBOUND_POSITION_MAX (((uint64_t)1 << 48) - 1)

/* What keeps an entry from being sent at all. */
enum outbound_gate {
    OUTBOUND_OPEN,
    OUTBOUND_UNTIL_HELD,   /* QoS 2: until storage holds it (session.held_to) */
    OUTBOUND_UNTIL_PLACED, /* as before, and its publish involves other workers (placement.h) */
};

struct outbound_entry {
    struct message *message;
    uint64_t position : 48;
    uint64_t state : 3; /* enum outbound_state */
    uint64_t gate : 2;  /* enum outbound_gate */
    uint64_t qos_2 : 1; /* else QoS 1 */
    uint64_t retain : 1;
    uint64_t shared : 1; /* came by a shared subscription: another member may have it */
    uint64_t many_ids : 1;
    union {
        uint32_t subscription_id; /* 0: none */
        uint32_t ids_index;       /* + 1 into the extra list when `many_ids` */
    };
    uint32_t change; /* + 1 of its push in what the worker has not handed to storage (journal.h) */
};

static_assert(sizeof(struct outbound_entry) == 24, "what a queued message costs beside itself");

struct outbound {
    struct outbound_entry *ring;     /* NULL until first used; a power of two */
    struct subscription_ids **extra; /* of entries with many_ids; NULL: free place */
    uint32_t extra_cap;
    uint32_t cap;
    uint32_t head;
    uint32_t count;
    uint32_t inflight; /* entries from the head that are not WAITING */
    uint32_t next;     /* the first entry not sent on this connection */
    uint32_t window;   /* PUBLISH sent on this connection and not finished: the client's quota */
    uint64_t last_position; /* given out last; 0: none */
    size_t bytes;           /* of the messages held */
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

static inline uint16_t outbound_packet_id(const struct outbound_entry *entry)
{
    return (uint16_t)(1 + (entry->position - 1) % UINT16_MAX);
}

/*
 * Puts `entry` (waiting, its message's reference is taken) at the end, under a new position. `ids`
 * (count over 1) go with it, else `entry.subscription_id` counts. On ERR_MEMORY the reference stays
 * with the caller.
 */
must_check enum err outbound_push(struct outbound *out, struct outbound_entry entry,
                                  const uint32_t *ids, size_t id_count);

/* The subscription identifiers of `entry`, borrowed until it changes. */
size_t outbound_ids(const struct outbound *out, const struct outbound_entry *entry,
                    const uint32_t **ids);

/* As outbound_push, for an entry that an earlier process had: its position, greater than those
 * before, is kept. Of RELEASED ones `message` is NULL. */
must_check enum err outbound_restore(struct outbound *out, struct outbound_entry entry,
                                     const uint32_t *ids, size_t id_count);

/* Whether there is a free packet id for the first waiting entry, which must be there. */
bool outbound_may_start(const struct outbound *out);

/* The first waiting entry is in flight from now on. There must be one that may start. */
struct outbound_entry *outbound_start(struct outbound *out);

/* The entry in flight under `packet_id`, or NULL (unknown, or done). */
struct outbound_entry *outbound_find(const struct outbound *out, uint16_t packet_id);

/* The entry at `position`, whatever its state, or NULL. */
struct outbound_entry *outbound_find_position(const struct outbound *out, uint64_t position);

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
