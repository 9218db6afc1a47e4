/*
 * wal_model_support: what a WAL should hold, in the plainest way: a list of the operations that
 * make the state, searched from end to end. And batches of random operations as a writer makes
 * them.
 *
 * Owns      copies of all operations.
 * Thread    the test's.
 */
#ifndef PULSE_TESTS_WAL_MODEL_SUPPORT_H
#define PULSE_TESTS_WAL_MODEL_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "storage/operation.h"

struct wal_model_row {
    struct operation operation; /* its slices point into `bytes` */
    uint8_t *bytes;
    uint32_t *ids;
};

/* A zeroed one is empty and ready. */
struct wal_model {
    struct wal_model_row *rows;
    uint32_t count;
    uint32_t cap;
};

void wal_model_fini(struct wal_model *model);
void wal_model_apply(struct wal_model *model, const struct operation *operation);

/* Adds the state as sorted lines (operation_text_support.h), without what refers to nothing and
 * what nothing refers to. */
void wal_model_print(const struct wal_model *model, struct text *text);

/* ---- random operations ----------------------------------------------------------------------- */

#define WAL_RANDOM_MAX 40u

struct wal_random {
    struct wal_model model; /* what was made so far, applied */
    uint64_t seed;
    uint64_t next_id;
    uint64_t position;
    size_t payload_max;
    struct operation operations[WAL_RANDOM_MAX]; /* the last batch */
    size_t count;
    uint8_t bytes[WAL_RANDOM_MAX][4200];
    uint32_t ids[WAL_RANDOM_MAX][4];
};

void wal_random_init(struct wal_random *random, uint64_t seed);
void wal_random_fini(struct wal_random *random);

/* A number below `limit`. */
uint64_t wal_random_below(struct wal_random *random, uint64_t limit);

/* Makes a batch and applies it to the model. Ids are never used again; a message is put before it
 * is referred to, and dropped with its last reference, most of the time. */
void wal_random_batch(struct wal_random *random);

#endif
