/*
 * histogram: durations in logarithmic buckets, each less than 1 % wide.
 *
 * Owns      its counters: a fixed array, no allocation after create.
 * Thread    one.
 * Errors    none; any 64-bit value has a bucket.
 */
#ifndef TESTS_BENCH_HISTOGRAM_H
#define TESTS_BENCH_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_STEP_BITS = 7, /* 128 buckets for each power of two */
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS,
};

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
};

/* Forgets everything recorded. */
void histogram_reset(struct histogram *histogram);

/* The value below which `fraction` (0..1) of all recorded values lie; 0 when there are none. */
uint64_t histogram_quantile(const struct histogram *histogram, double fraction);

/* Inline: it runs for every message of a latency run. */
static inline void histogram_record(struct histogram *histogram, uint64_t value)
{
    unsigned shift = 0;
    if (value >> (HISTOGRAM_STEP_BITS + 1) != 0) {
        shift = 63u - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    }
    histogram->counts[((uint64_t)shift << HISTOGRAM_STEP_BITS) + (value >> shift)]++;
    histogram->total++;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

#endif
