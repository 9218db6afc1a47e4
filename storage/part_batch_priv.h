/*
 * part_batch: parts as one batch: changes become operations, and messages come and go with what
 * refers to them.
 *
 * Adding a part prepares it, once: messages that nothing stored refers to get a number, and are put
 * before the first change that refers to them; retained topics are looked up; a message that came
 * and went within the batch is never written, nor what referred to it. Walking the batch after that
 * changes nothing: an engine may do it as often as it needs.
 *
 * Owns      nothing: the parts are the writer's, until part_batch__clear.
 * Thread    the storage writer.
 * Errors    none.
 */
#ifndef PULSE_STORAGE_PART_BATCH_PRIV_H
#define PULSE_STORAGE_PART_BATCH_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/batch.h"
#include "storage/part.h"
#include "storage/topic_set_priv.h"

struct storage;

/* What became of a message that got its number in this batch. */
struct part_batch_message {
    uint32_t changes : 30; /* of the batch that refer to it */
    bool released : 1;     /* one of them leaves a released entry behind */
    bool gone : 1;         /* nothing refers to it any more: none of them is written */
};

struct part_batch {
    struct batch batch;
    struct storage *storage;

    struct storage_part *first; /* linked by their letters, in the order of submission */
    struct storage_part *last;
    uint64_t live;       /* changes as submitted */
    uint64_t operations; /* changes that are written; messages not counted */
    uint64_t cancelled;  /* changes that came to nothing between them */
    uint64_t bytes;      /* of the messages that are written */

    uint64_t first_id; /* of the messages in `numbered`, by their id */
    struct part_batch_message *numbered;
    uint32_t numbered_count;
    uint32_t numbered_cap;
    struct topic_set topics;

    /* where the walk is */
    struct storage_part *part;
    uint32_t at;
    bool message_put; /* the message of the change at `at` was given */
    uint32_t drop_at; /* changes of `part` that were given, and whose messages may go */
    uint32_t drop_end;
};

void part_batch__init(struct part_batch *batch, struct storage *storage);
void part_batch__fini(struct part_batch *batch);

static inline bool part_batch__empty(const struct part_batch *batch)
{
    return batch->first == NULL;
}

/* Whether it is so large that the next part had better be in another one. */
bool part_batch__full(const struct part_batch *batch);

/* Adds `part` behind the others, before the first walk. */
void part_batch__add(struct part_batch *batch, struct storage_part *part);

/* The batch as an engine takes it, with the clock and the ids as they are now. */
struct batch *part_batch__seal(struct part_batch *batch);

/* Gives the parts, linked by their letters, and is empty. */
struct storage_part *part_batch__clear(struct part_batch *batch);

#endif
