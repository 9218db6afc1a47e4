/*
 * wal_record: an operation as bytes, and back. The table operations.def says what an operation
 * consists of; one byte of type, then its fields in the order of the table.
 *
 * Thread    any: no state.
 * Errors    decoding: ERR_DAMAGED for anything that encoding doesn't produce. Never reads outside.
 */
#ifndef PULSE_STORAGE_WAL_RECORD_H
#define PULSE_STORAGE_WAL_RECORD_H

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "storage/operation.h"

/* Subscription identifiers in one record; what is more than that is left out. */
#define WAL_RECORD_IDS_MAX 65535u

/* Bytes that `operation` takes. */
size_t wal_record_size(const struct operation *operation);

/* Writes them to `at`, which has room; returns the end. */
uint8_t *wal_record_encode(const struct operation *operation, uint8_t *at);

/*
 * Reads the record at the start of `bytes`. Slices point into `bytes`; subscription identifiers are
 * put into `ids` (room for WAL_RECORD_IDS_MAX). `*len` is the record's length.
 */
must_check enum err wal_record_decode(struct slice bytes, struct operation *operation,
                                      uint32_t *ids, size_t *len);

#endif
