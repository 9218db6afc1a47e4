/*
 * wal_packed: the records that are not operations: the clock, first in each batch, and what a
 * snapshot writes instead of a million operations: runs of queue entries, and runs of references
 * to message bodies that stay in their segments. Differences between neighbours, as varints: some
 * 6 bytes each instead of 30.
 *
 * Thread    any: no state.
 * Errors    reading: ERR_DAMAGED for what writing doesn't produce. Never reads outside.
 */
#ifndef PULSE_STORAGE_WAL_PACKED_H
#define PULSE_STORAGE_WAL_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"

/* The first byte of these records; smaller ones are of an enum operation_type. */
enum wal_packed_type { WAL_PACKED_CLOCK = 0xf0, WAL_PACKED_BODIES = 0xf1, WAL_PACKED_QUEUE = 0xf2 };

#define WAL_PACKED_MIN WAL_PACKED_CLOCK
#define WAL_CLOCK_BYTES 17u
#define WAL_RUN_BYTES 8192u

/* What batch.h says of a batch. */
struct wal_clock {
    uint64_t now_ms;
    uint64_t next_id;
};

/* Writes the record, WAL_CLOCK_BYTES, to `at`. */
void wal_clock_encode(struct wal_clock clock, uint8_t *at);
must_check enum err wal_clock_decode(struct slice record, struct wal_clock *clock);

/* A run that is being written; `data` and `len` are the record so far. */
struct wal_run {
    uint64_t position; /* of the previous item */
    uint64_t message;
    uint64_t offset;
    size_t len;
    uint8_t data[WAL_RUN_BYTES];
};

/* No more items fit: write the record and begin another. */
bool wal_run_full(const struct wal_run *run);

/* A message's body that stays in its segment. */
struct wal_body_ref {
    uint64_t message;
    uint32_t offset;
    uint32_t len;
};

void wal_bodies_begin(struct wal_run *run, uint64_t segment);
void wal_bodies_add(struct wal_run *run, struct wal_body_ref ref);

/* An entry of a queue that has at most one subscription identifier. */
struct wal_queued {
    uint64_t position; /* greater than that of the one before */
    uint64_t message;
    uint32_t subscription_id;
    uint8_t qos;
    bool retain;
    bool shared;
    bool released;
};

void wal_queued_begin(struct wal_run *run, uint64_t session);
void wal_queued_add(struct wal_run *run, const struct wal_queued *entry);

/* A run that is being read: call `next` until `rest` is empty. */
struct wal_run_reader {
    struct slice rest;
    uint64_t owner; /* the segment, the session */
    uint64_t position;
    uint64_t message;
    uint64_t offset;
};

must_check enum err wal_run_open(struct slice record, struct wal_run_reader *reader);
must_check enum err wal_bodies_next(struct wal_run_reader *reader, struct wal_body_ref *ref);
must_check enum err wal_queued_next(struct wal_run_reader *reader, struct wal_queued *entry);

#endif
