/*
 * wal_store_support: the WAL engine on a file system in memory, compared with a model.
 *
 * Thread    the test's.
 * Errors    none: what goes wrong fails the test.
 */
#ifndef PULSE_TESTS_WAL_STORE_SUPPORT_H
#define PULSE_TESTS_WAL_STORE_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "storage/engine.h"
#include "storage/wal_engine_priv.h"
#include "tests/unit/storage/faulty_files_support.h"
#include "tests/unit/storage/wal_model_support.h"

#define WAL_STORE_DIR "/wal"

struct wal_store {
    struct faulty_files disk;
    struct storage_config config;
    struct storage_stats stats;
    struct engine *engine; /* NULL: closed */
    struct engine_loaded loaded;
    struct text content; /* what the last load gave, as sorted lines */
    uint64_t now_ms;
    uint64_t next_id;
};

/* An empty disk with small segments; quarantine; compaction only when the test asks. */
void wal_store_init(struct wal_store *store);
void wal_store_fini(struct wal_store *store);

/* Opens and loads. On an error the store is closed. */
must_check enum err wal_store_open(struct wal_store *store);
void wal_store_close(struct wal_store *store);

must_check enum err wal_store_apply(struct wal_store *store, const struct operation *operations,
                                    size_t count);

/* Compacts now, to the end. False: it failed. */
bool wal_store_compact(struct wal_store *store);

/* Makes a random batch and applies it. */
void wal_store_apply_random(struct wal_store *store, struct wal_random *random);

/* Fills it so that a compaction has everything to do: an old snapshot, kept segments, bodies to
 * copy; and syncs it. */
void wal_store_fill(struct wal_store *store, struct wal_random *random);

/* Closes and opens it, without an error. */
void wal_store_reopen(struct wal_store *store);

/* A seed of the environment (PULSE_TEST_SEED) or of the clock; prints it. */
uint64_t wal_store_seed(void);

/* Whether the last load gave what the model says. */
void wal_store_expect(const struct wal_store *store, const struct wal_model *model);

/* The bytes that all files may have together; UINT64_MAX: any number. */
void wal_store_set_room(struct wal_store *store, uint64_t room);

/* As faulty_files_freeze and faulty_files_fail, while threads of the log are at work. */
void wal_store_freeze(struct wal_store *store, unsigned at);
void wal_store_fail(struct wal_store *store, unsigned at, unsigned count, int error);

/* Whether a call was made to fail since wal_store_fail; no more are from now on. */
bool wal_store_end_faults(struct wal_store *store);

/* How many files in the store's folder have names that start with `prefix`. */
size_t wal_store_count(struct wal_store *store, const char *prefix);

/* The path of a file in the store's folder; borrowed until the next call. */
const char *wal_store_path(const char *name);

struct wal_engine *wal_store_engine(struct wal_store *store);

#endif
