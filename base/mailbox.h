/*
 * mailbox: many producers, one consumer. Producers push letters without a lock; the consumer takes
 * all that is there at once, in the order in which they were pushed.
 *
 * Owns      nothing: letters are intrusive and belong to whoever holds them.
 * Thread    push: any. take: the one consumer.
 * Errors    none.
 * Not here  waking the consumer (push says when it is needed); bounds (the sender's flow control).
 */
#ifndef PULSE_BASE_MAILBOX_H
#define PULSE_BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/macros.h"

struct letter {
    struct letter *next;
};

/* A private list of letters in order, gathered by one thread to be pushed with one operation.
 * `first` is the oldest; the links go from the last to the first, as in the box. */
struct letter_batch {
    struct letter *first;
    struct letter *last;
};

struct mailbox {
    _Atomic(struct letter *) newest;
};

/* A zeroed struct mailbox is empty and ready. */

/* Puts `letter` behind those of `batch`. */
void letter_batch_add(struct letter_batch *batch, struct letter *letter);

/* Pushes one letter. True when the box was empty: the consumer must be woken. */
must_check bool mailbox_push(struct mailbox *box, struct letter *letter);

/* Pushes all of `batch`, which is not empty, in its order, and empties it. True: wake the consumer.
 */
must_check bool mailbox_push_batch(struct mailbox *box, struct letter_batch *batch);

/* Takes all letters, oldest first, linked by `next`; NULL when there are none. */
struct letter *mailbox_take(struct mailbox *box);

#endif
