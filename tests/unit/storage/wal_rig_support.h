/*
 * wal_rig_support: a log on a faulty disk, and batches that can be recognised again: each record
 * follows from its batch and its place in it.
 *
 * Thread    the test's.
 */
#ifndef PULSE_TESTS_WAL_RIG_SUPPORT_H
#define PULSE_TESTS_WAL_RIG_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/wal_log.h"
#include "tests/unit/storage/faulty_files_support.h"

#define RIG_DIR "wal"
#define RIG_BATCHES_MAX 1000
#define RIG_DAMAGES_MAX 64

struct rig_damage {
    uint64_t segment;
    uint64_t offset;
    uint64_t len;
    char path[200]; /* "" for NULL */
    bool is_cut;
};

struct wal_rig {
    struct faulty_files faulty;
    struct storage_stats stats;
    struct wal_log *log;
    struct wal_log_config config;

    /* what was read last */
    unsigned found[RIG_BATCHES_MAX];
    size_t found_count;
    unsigned partial; /* records of the batch that has begun to come */
    struct rig_damage damages[RIG_DAMAGES_MAX];
    size_t damage_count;
    struct wal_place first_place; /* of the first record */
};

void rig_init(struct wal_rig *rig, uint64_t segment_bytes);
void rig_fini(struct wal_rig *rig);

/* A log of small segments with batches 1 to `batches`, of 67 bytes each, closed. */
void rig_init_filled(struct wal_rig *rig, unsigned batches);

/* Opens the log and reads it; fails the test when a record is not one that was written, or a batch
 * comes in part. */
enum err rig_open(struct wal_rig *rig);

/* Ends the log in an orderly way. */
void rig_close(struct wal_rig *rig);

/* Ends the log as a kill or a power loss does. */
void rig_kill(struct wal_rig *rig, enum faulty_loss loss, uint64_t seed);

/* Reads with wal_log_scan into `found`. */
enum err rig_scan(struct wal_rig *rig, const struct wal_scan *scan);

/* Appends batch number `batch`, of `count` records of about `len` bytes. */
enum err rig_append(struct wal_rig *rig, unsigned batch, unsigned count, size_t len);

/* Appends and syncs batches `from` to `to`, of two records each; all must work. */
void rig_fill(struct wal_rig *rig, unsigned from, unsigned to, size_t len);

/* Fails unless the batches `from` to `to` were found, and no others. */
void assert_found(const struct wal_rig *rig, unsigned from, unsigned to);

/* Which of the batches 1 to `count` was not found; 0: none. Fails when several are. */
unsigned rig_missing(const struct wal_rig *rig, unsigned count);

/* The path of a segment; good until the next call. */
const char *rig_path(uint64_t segment);

#endif
