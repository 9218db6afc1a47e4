/*
 * wal_queue: the queue of one session in a wal_state, in the order of its positions.
 *
 * 24 bytes an entry, and what the array has in reserve: up to half as much.
 *
 * Owns      its array. What entries refer to (messages, lists of identifiers) is the caller's.
 * Thread    the owner's.
 * Errors    ERR_MEMORY of wal_queue_put.
 */
#ifndef PULSE_STORAGE_WAL_QUEUE_H
#define PULSE_STORAGE_WAL_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct wal_entry {
    uint64_t position;
    uint32_t message; /* its slot; 0: none, the entry is released */
    uint32_t ids;     /* the subscription identifier, 0: none; with `many` the number of a list */
    uint8_t qos;
    bool retain : 1;
    bool shared : 1;
    bool released : 1;
    bool many : 1;
    bool gone : 1; /* popped; nothing else counts any more */
};

/* A zeroed queue is empty and ready. */
struct wal_queue {
    struct wal_entry *entries;
    uint32_t cap;
    uint32_t head; /* of the array; entries head to head + count - 1 are there, some may be gone */
    uint32_t count;
    uint32_t gone;
};

void wal_queue_fini(struct wal_queue *queue);

/*
 * The entry at `position`: the one that is there (`*fresh` false), or a new one, zero but for its
 * position. Borrowed until the next change of the queue. Cheap at the end, where queues grow.
 */
must_check enum err wal_queue_put(struct wal_queue *queue, uint64_t position,
                                  struct wal_entry **entry, bool *fresh);

/* The first entry at or behind `position`, or NULL; entries to the end of the array follow it. It
 * may be gone. Borrowed until the next change. */
struct wal_entry *wal_queue_seek(struct wal_queue *queue, uint64_t position);

/* The entry at `position` that isn't gone, or NULL. */
struct wal_entry *wal_queue_find(struct wal_queue *queue, uint64_t position);

/* Behind the last entry. */
const struct wal_entry *wal_queue_end(const struct wal_queue *queue);

/* Marks `entry` as gone. Ends nothing: call wal_queue_tidy after some. */
void wal_queue_drop(struct wal_queue *queue, struct wal_entry *entry);

/* Gives up the room of entries that are gone, when it is worth it. Moves entries. */
void wal_queue_tidy(struct wal_queue *queue);

/* Entries that are not gone. */
static inline uint32_t wal_queue_live(const struct wal_queue *queue)
{
    return queue->count - queue->gone;
}

#endif
