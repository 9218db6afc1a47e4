#include "storage/stats.h"

#include "base/macros.h"

static const uint64_t commit_bounds_us[] = {
#define X(us) us,
    STATS_COMMIT_BOUNDS_US(X)
#undef X
        UINT64_MAX,
};
static_assert(ARRAY_COUNT(commit_bounds_us) == STATS_COMMIT_BUCKETS, "one bound per bucket");

static const uint64_t batch_bounds[] = {
#define X(operations) operations,
    STATS_BATCH_BOUNDS(X)
#undef X
        UINT64_MAX,
};
static_assert(ARRAY_COUNT(batch_bounds) == STATS_BATCH_BUCKETS, "one bound per bucket");

uint64_t stats_commit_bound_us(unsigned index)
{
    return commit_bounds_us[index];
}

uint64_t stats_batch_bound(unsigned index)
{
    return batch_bounds[index];
}

static void observe(_Atomic uint64_t *buckets, const uint64_t *bounds, _Atomic uint64_t *sum,
                    uint64_t value)
{
    unsigned bucket = 0;
    while (value > bounds[bucket]) {
        bucket++;
    }
    atomic_fetch_add_explicit(&buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(sum, value, memory_order_relaxed);
}

void stats_observe_commit(struct storage_stats *stats, uint64_t us, uint64_t operations)
{
    observe(stats->commit, commit_bounds_us, &stats->commit_sum_us, us);
    observe(stats->batch, batch_bounds, &stats->batch_sum, operations);
    stat_add(stats, STAT_BATCHES, 1);
    stat_add(stats, STAT_OPERATIONS, (int64_t)operations);
}
