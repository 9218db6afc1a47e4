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
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/slice.h"

struct message {
    _Atomic uint32_t refs; /* 0: borrowed */
    uint32_t payload_len;
    uint32_t props_len; /* forwardable properties, MQTT 5.0 bytes without the length in front */
    uint16_t topic_len;
    uint8_t qos;            /* of the PUBLISH that brought it */
    bool retain : 1;        /* RETAIN as published */
    bool apart : 1;         /* kept: the payload stands in a buffer of its own */
    uint64_t expires_at_ms; /* monotonic; CLOCK_NEVER */
    uint64_t publisher;     /* session handle, for flow control; 0: none (the node itself) */
    uint64_t publisher_id;  /* hash_identity of the client id, for No Local; 0: none */
    /* of the storage writer alone: the number it is stored under, and what stored refers to it */
    uint64_t stored_id; /* 0: not stored */
    uint32_t stored_refs;
    /* Of a borrowed message only. The memory of a kept one ends here, or rather goes on with topic,
     * properties and payload: millions may wait in queues. */
    struct message_source {
        const uint8_t *topic;
        const uint8_t *props;
        const uint8_t *payload;
        void *offered;        /* a buffer that a kept copy may take, with the payload in it */
        struct message *kept; /* the copy, once somebody wanted it */
    } source;
};

/* In a kept message whose payload is apart, in front of the topic. */
struct message_apart {
    void *buffer; /* freed with the message */
    const uint8_t *payload;
};

#define MESSAGE_HEAD offsetof(struct message, source)

/*
 * Free blocks of small messages, one pool per worker. A message may be freed by another thread than
 * the one that made it: its block then goes to that thread's pool. Without a pool the allocator is
 * asked.
 */
#define MESSAGE_POOL_CLASSES 32
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

static inline bool message_is_borrowed(const struct message *message)
{
    return atomic_load_explicit(&message->refs, memory_order_relaxed) == 0;
}

/* Where topic, properties and payload of a kept message begin. */
static inline const uint8_t *message__bytes(const struct message *message)
{
    return (const uint8_t *)message + MESSAGE_HEAD +
           (message->apart ? sizeof(struct message_apart) : 0);
}

/* These three are borrowed for as long as the message is there. */
static inline struct slice message_topic(const struct message *message)
{
    return slice_of(message_is_borrowed(message) ? message->source.topic : message__bytes(message),
                    message->topic_len);
}

static inline struct slice message_props(const struct message *message)
{
    const uint8_t *props = message_is_borrowed(message)
                               ? message->source.props
                               : message__bytes(message) + message->topic_len;
    return slice_of(props, message->props_len);
}

struct slice message_payload(const struct message *message);

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
