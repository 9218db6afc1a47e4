/*
 * batch: operations that are committed together, all or none, in their order.
 *
 * Whoever makes a batch gives it `next` and `rewind`. An engine may walk it several times (SQL
 * engines gather rows by kind; a retry begins anew); each walk gives the same operations, whose
 * slices are good until the next call.
 *
 * Thread    the storage writer.
 */
#ifndef PULSE_STORAGE_BATCH_H
#define PULSE_STORAGE_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/operation.h"

struct batch {
    bool (*next)(struct batch *batch, struct operation *operation); /* false: the end */
    void (*rewind)(struct batch *batch);
    uint64_t now_ms;  /* the storage clock when it was made: engines keep the latest one */
    uint64_t next_id; /* ids from here on are not in use yet, by this batch or an earlier one */
};

/* A batch over an array, for imports and tests. `now_ms` and `next_id` are the caller's to set. */
struct array_batch {
    struct batch batch;
    const struct operation *operations;
    size_t count;
    size_t at;
};

void array_batch_init(struct array_batch *batch, const struct operation *operations, size_t count);

#endif
