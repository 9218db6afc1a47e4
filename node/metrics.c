#include "node/metrics.h"

#include <string.h>

#include "base/macros.h"

/* What the word of a row's kind means for struct metric_info. */
#define KIND_COUNTER true
#define KIND_GAUGE false

static const struct metric_info infos[METRIC_COUNT] = {
#define X(id, kind, name, labels, help) [METRIC_##id] = {name, labels, help, KIND_##kind},
#include "node/metrics.def"
#undef X
};

static const uint64_t latency_bounds_ns[] = {
#define X(us) (us) * UINT64_C(1000),
    METRIC_LATENCY_BUCKETS_US(X)
#undef X
        UINT64_MAX,
};
static_assert(ARRAY_COUNT(latency_bounds_ns) == METRIC_LATENCY_BUCKETS, "one bound per bucket");

const struct metric_info *metric_info(enum metric id)
{
    return &infos[id];
}

uint64_t metric_latency_bound_ns(unsigned index)
{
    return latency_bounds_ns[index];
}

/* As in metric_add: the owner is the only writer. */
static void count(_Atomic uint64_t *value, uint64_t n)
{
    uint64_t now = atomic_load_explicit(value, memory_order_relaxed);
    atomic_store_explicit(value, now + n, memory_order_relaxed);
}

void metric_observe_latency(struct metrics *metrics, uint64_t ns)
{
    unsigned bucket = 0;
    while (ns > latency_bounds_ns[bucket]) {
        bucket++;
    }
    count(&metrics->latency[bucket], 1);
    count(&metrics->latency_sum_ns, ns);
}

int64_t metric_sum(struct metrics *const *sets, unsigned set_count, enum metric id)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < set_count; i++) {
        sum += atomic_load_explicit(&sets[i]->values[id], memory_order_relaxed);
    }
    return sum;
}

int64_t metric_sum_name(struct metrics *const *sets, unsigned set_count, enum metric id)
{
    int64_t sum = 0;
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        if (strcmp(infos[i].name, infos[id].name) == 0) {
            sum += metric_sum(sets, set_count, (enum metric)i);
        }
    }
    return sum;
}
