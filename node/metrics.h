/*
 * metrics: counters and gauges, one set per worker, summed when somebody reads.
 *
 * Owns      nothing: a set is part of its worker.
 * Thread    metric_add and the histogram: the set's owner only. Reading: any thread.
 * Errors    none.
 */
#ifndef PULSE_NODE_METRICS_H
#define PULSE_NODE_METRICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum metric {
#define X(id, kind, name, labels, help) METRIC_##id,
#include "node/metrics.def"
#undef X
    METRIC_COUNT
};

/* Upper bounds of the latency buckets, in microseconds; a last one without a bound follows. */
#define METRIC_LATENCY_BUCKETS_US(X) \
    X(10)                            \
    X(25) X(50) X(100) X(250) X(500) X(1000) X(2500) X(5000) X(10000) X(50000) X(250000) X(1000000)
#define METRIC_LATENCY_BUCKETS 14

struct metrics {
    _Atomic int64_t values[METRIC_COUNT];
    _Atomic uint64_t latency[METRIC_LATENCY_BUCKETS];
    _Atomic uint64_t latency_sum_ns;
};

/* Adds `n` (a gauge may go down). No other thread writes, so a plain load and store are enough. */
static inline void metric_add(struct metrics *metrics, enum metric id, int64_t n)
{
    int64_t now = atomic_load_explicit(&metrics->values[id], memory_order_relaxed);
    atomic_store_explicit(&metrics->values[id], now + n, memory_order_relaxed);
}

/* One observation of mqtt_publish_latency_seconds. */
void metric_observe_latency(struct metrics *metrics, uint64_t ns);

/* The sum of `id` over `count` sets. */
int64_t metric_sum(struct metrics *const *sets, unsigned count, enum metric id);

/* As metric_sum, over all rows that share the name of `id`, whatever their labels. */
int64_t metric_sum_name(struct metrics *const *sets, unsigned count, enum metric id);

/* A row of metrics.def. */
struct metric_info {
    const char *name;
    const char *labels;
    const char *help;
    bool counter; /* else a gauge */
};

/* Borrows the row of `id`; constant. */
const struct metric_info *metric_info(enum metric id);

/* The upper bound of latency bucket `index` in nanoseconds; UINT64_MAX for the last one. */
uint64_t metric_latency_bound_ns(unsigned index);

#endif
