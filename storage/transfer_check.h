/*
 * transfer_check: whether operations that come one after the other make a state out of nothing:
 * values that a broker can have stored, references to what came before, nothing twice.
 *
 * Ids are only names in the file. Sessions and messages are numbered anew, from 1 on in the order
 * in which they come, because the ids of the file may be taken where they go to.
 *
 * Owns      what it remembers: 32 bytes for each session, message, subscription and so on.
 * Thread    the caller's.
 * Errors    ERR_RANGE, ERR_INVALID, ERR_EXISTS, with the reason added to `error`; ERR_MEMORY.
 * Not here  what a line looks like (transfer_json.h).
 */
#ifndef PULSE_STORAGE_TRANSFER_CHECK_H
#define PULSE_STORAGE_TRANSFER_CHECK_H

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"
#include "storage/operation.h"

struct transfer_check;

/* NULL: no memory. End with transfer_check_destroy. */
struct transfer_check *transfer_check_create(void);

/* NULL is allowed. */
void transfer_check_destroy(struct transfer_check *check);

/* Judges the next operation, and remembers it on ERR_OK. After an error all is over. */
must_check enum err transfer_check_operation(struct transfer_check *check,
                                             const struct operation *operation, struct text *error);

/* Judges the end. */
must_check enum err transfer_check_end(const struct transfer_check *check, struct text *error);

/* Sessions and messages that were numbered. */
uint64_t transfer_check_numbered(const struct transfer_check *check);

/* Adds `base` to the numbers of the session and the message of an operation that was judged, and
 * puts them in place of their ids. ERR_MEMORY. */
must_check enum err transfer_check_renumber(struct transfer_check *check, uint64_t base,
                                            struct operation *operation);

#endif
