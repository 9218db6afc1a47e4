/*
 * wal_check: reads all of a WAL, as a start would, without changing anything, and says what is in
 * it and what is wrong with it. What `pulse wal inspect` and `verify` print.
 *
 * Owns      struct wal_check: its lists.
 * Thread    the caller's.
 * Errors    in `err` of the result, for damage is data here.
 */
#ifndef PULSE_STORAGE_WAL_CHECK_H
#define PULSE_STORAGE_WAL_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/files.h"
#include "storage/wal_manifest.h"
#include "storage/wal_replay.h"
#include "storage/wal_state.h"

/* Damage that is listed one by one; the rest is only counted. */
#define WAL_CHECK_DAMAGES 20u

struct wal_check_file {
    uint64_t segment; /* as in a struct wal_damage */
    uint64_t records;
    uint64_t bytes; /* of records */
};

struct wal_check {
    enum err err; /* ERR_OK: all could be read, damaged or not; else what prevented it */
    struct wal_manifest manifest;
    bool manifest_found;
    bool manifest_sound;
    bool empty; /* there is no WAL in the folder */
    struct wal_counts counts;
    struct wal_clock clock;
    uint64_t missing; /* messages and retained messages without a body */
    struct wal_damage damages[WAL_CHECK_DAMAGES];
    uint64_t damage_count;
    struct wal_check_file *files; /* those that were replayed, in that order */
    uint32_t file_count;
    uint32_t file_cap;
};

/* Where `seen` gets each record; NULL: nowhere. */
struct wal_check_sink {
    void *context;
    void (*seen)(void *context, struct wal_place place, struct slice record);
};

/* Reads everything in `dir`. End with wal_check_fini. */
void wal_check_init(struct wal_check *check, const struct files *files, const char *dir,
                    const struct wal_check_sink *sink);
void wal_check_fini(struct wal_check *check);

/* There is nothing wrong. */
bool wal_check_fine(const struct wal_check *check);

#endif
