/*
 * stats: what storage counts about itself.
 *
 * Owns      nothing: part of the storage.
 * Thread    adding and reading: any.
 */
#ifndef PULSE_STORAGE_STATS_H
#define PULSE_STORAGE_STATS_H

#include <stdatomic.h>
#include <stdint.h>

enum storage_stat {
#define X(id, kind, name, help) STAT_##id,
#include "storage/stats.def"
#undef X
    STAT_COUNT
};

/* Upper bounds; a last bucket without a bound follows. */
#define STATS_COMMIT_BOUNDS_US(X) \
    X(100) X(250) X(500) X(1000) X(2500) X(5000) X(10000) X(50000) X(250000) X(1000000) X(10000000)
#define STATS_COMMIT_BUCKETS 12
#define STATS_BATCH_BOUNDS(X) X(1) X(3) X(10) X(30) X(100) X(300) X(1000) X(3000) X(10000)
#define STATS_BATCH_BUCKETS 10

struct storage_stats {
    _Atomic int64_t values[STAT_COUNT];
    _Atomic uint64_t commit[STATS_COMMIT_BUCKETS]; /* not cumulative */
    _Atomic uint64_t commit_sum_us;
    _Atomic uint64_t batch[STATS_BATCH_BUCKETS]; /* operations in a batch */
    _Atomic uint64_t batch_sum;
};

static inline void stat_add(struct storage_stats *stats, enum storage_stat id, int64_t n)
{
    atomic_fetch_add_explicit(&stats->values[id], n, memory_order_relaxed);
}

static inline void stat_set(struct storage_stats *stats, enum storage_stat id, int64_t value)
{
    atomic_store_explicit(&stats->values[id], value, memory_order_relaxed);
}

static inline int64_t stat_get(const struct storage_stats *stats, enum storage_stat id)
{
    return atomic_load_explicit(&stats->values[id], memory_order_relaxed);
}

/* One committed batch of `operations` that took `us` from hand-over to commit. */
void stats_observe_commit(struct storage_stats *stats, uint64_t us, uint64_t operations);

/* The upper bound of a bucket; UINT64_MAX for the last one. */
uint64_t stats_commit_bound_us(unsigned index);
uint64_t stats_batch_bound(unsigned index);

#endif
