/*
 * message: one application message: immutable, reference-counted, allocated once and shared by
 * every session that gets it.
 *
 * A message made by message_borrow lives on the stack and points into a read buffer: good for
 * delivering at once. Whoever wants to keep it calls message_keep, which makes the one copy on the
 * heap, at the first call, and hands out references on that.
 *
 * Owns      its bytes (a heap message), nothing (a borrowed one).
 * Thread    any for heap messages; a borrowed one stays on its thread.
 * Errors    message_keep gives NULL when there is no memory: the payload's size is the client's
 * choice.
 */
#ifndef PULSE_BASE_MESSAGE_H
#define PULSE_BASE_MESSAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/slice.h"

struct message {
    _Atomic uint32_t refs; /* 0: borrowed */
    uint32_t payload_len;
    uint32_t props_len; /* forwardable properties, MQTT 5.0 bytes without the length in front */
    uint16_t topic_len;
    uint8_t qos;            /* of the PUBLISH that brought it */
    bool retain;            /* RETAIN as published */
    uint64_t expires_at_ms; /* monotonic; CLOCK_NEVER */
    uint64_t publisher;     /* session handle, for flow control; 0: none (the node itself) */
    uint64_t publisher_id;  /* hash_identity of the client id, for No Local; 0: none */
    const uint8_t *topic;
    const uint8_t *props;
    const uint8_t *payload;
    /* of the storage writer alone: the number it is stored under, and what stored refers to it */
    uint64_t stored_id; /* 0: not stored */
    uint32_t stored_refs;
    void *adopted;        /* heap: a buffer that the slices point into, freed with the message */
    struct message *kept; /* borrowed: its copy on the heap, once somebody wanted it */
};

/*
 * Free blocks of small messages, one pool per worker. A message may be freed by another thread than
 * the one that made it: its block then goes to that thread's pool. Without a pool the allocator is
 * asked.
 */
#define MESSAGE_POOL_CLASSES 8
struct message_pool {
    struct message_block *free[MESSAGE_POOL_CLASSES];
    uint16_t count[MESSAGE_POOL_CLASSES];
};
/* The calling thread uses `pool` from now on; NULL: none. */
void message_pool_use(struct message_pool *pool);
/* Frees the blocks; no thread uses it any more. */
void message_pool_fini(struct message_pool *pool);

/* A message on the caller's stack over bytes that outlive it; other fields are set by the caller.
 */
struct message message_borrow(struct slice topic, struct slice props, struct slice payload);

/* Lets a borrowed message take `buffer` (from mem_try_alloc), into which its payload points, when
 * it is kept: large payloads are then not copied. The caller frees `buffer` itself if
 * message_release says false. */
void message_offer_buffer(struct message *message, void *buffer);

/* Gives a reference: of itself, or of the heap copy of a borrowed one (NULL: no memory). */
struct message *message_keep(struct message *message);

/* Ends a borrowed message; whoever kept it still holds the copy. True when its offered buffer was
 * taken. */
bool message_release(struct message *borrowed);

/* Ends a reference that message_keep gave. NULL is allowed. */
void message_unref(struct message *message);

/* Bytes that a kept copy takes, for accounting. */
size_t message_bytes(const struct message *message);

static inline struct slice message_topic(const struct message *message)
{
    return slice_of(message->topic, message->topic_len);
}

static inline struct slice message_payload(const struct message *message)
{
    return slice_of(message->payload, message->payload_len);
}

static inline struct slice message_props(const struct message *message)
{
    return slice_of(message->props, message->props_len);
}

static inline bool message_expired(const struct message *message, uint64_t now_ms)
{
    return message->expires_at_ms <= now_ms;
}

/* Whole seconds that remain, rounded up, for Message Expiry Interval; not for CLOCK_NEVER. */
static inline uint32_t message_seconds_left(const struct message *message, uint64_t now_ms)
{
    return message->expires_at_ms <= now_ms
               ? 0
               : (uint32_t)((message->expires_at_ms - now_ms + 999) / 1000);
}

#endif
