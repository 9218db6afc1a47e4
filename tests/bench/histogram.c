#include "tests/bench/histogram.h"

#include <string.h>

void histogram_reset(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

/* The middle of the values that share a bucket. */
static uint64_t bucket_value(unsigned index)
{
    unsigned shift = index >> HISTOGRAM_STEP_BITS;
    if (shift == 0) {
        return index;
    }
    shift--; /* the lowest two rows both have steps of 1: a row's values start at 128 << shift */
    uint64_t low = (uint64_t)(index - (shift << HISTOGRAM_STEP_BITS)) << shift;
    return low + ((1ull << shift) >> 1);
}

uint64_t histogram_quantile(const struct histogram *histogram, double fraction)
{
    uint64_t below = (uint64_t)(fraction * (double)histogram->total);
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > below) {
            uint64_t value = bucket_value(i);
            return value < histogram->max ? value : histogram->max;
        }
    }
    return histogram->max;
}
