/*
 * contract_model_support: a naive model of what is stored: a sorted array of rows for each kind,
 * as the operations that put them.
 *
 * Owns      copies of all bytes.
 * Thread    the test's.
 * Errors    none.
 */
#ifndef PULSE_TESTS_UNIT_STORAGE_CONTRACT_MODEL_SUPPORT_H
#define PULSE_TESTS_UNIT_STORAGE_CONTRACT_MODEL_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/operation.h"

struct model_table {
    struct operation *rows; /* sorted by their keys */
    uint32_t count;
    uint32_t cap;
};

/* A copy with bytes of its own, and its end. */
struct operation model_row_copy(const struct operation *operation);
void model_row_free(struct operation *row);

/* Zeroed it is empty. End it with model_fini. */
struct model {
    struct model_table tables[OPERATION_TYPES]; /* those of ..._PUT and QUEUE_PUSH are used */
};

void model_fini(struct model *model);

/* An operation that puts a row, such as load gives. */
bool model_is_row(enum operation_type type);

/* What operation.h says, in the plainest way. */
void model_apply(struct model *model, const struct operation *operation);

/* Adds a row as it is, whatever it refers to. False: there was one with that key. */
bool model_add(struct model *model, const struct operation *operation);

/* Borrows the row that has the same key as `like`, or NULL. */
const struct operation *model_find(const struct model *model, const struct operation *like);

/* Queue entries and wills that refer to `message`. */
size_t model_references(const struct model *model, uint64_t message);

/* Removes what load leaves out: messages without a reference, references without a message. */
void model_tidy(struct model *model);

/* False, and the first difference in `why` (size WHY_BYTES), when they differ. */
#define WHY_BYTES 400
bool model_equal(const struct model *a, const struct model *b, char *why);

#endif
