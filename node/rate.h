/*
 * rate: a limit of so many a second, as a token bucket. Plain data: time is what the caller says it
 * is, in milliseconds of any clock that does not go back (if it does, it counts as standing still).
 *
 * Thread    the caller's.
 * Errors    none. Numbers too large saturate.
 */
#ifndef PULSE_NODE_RATE_H
#define PULSE_NODE_RATE_H

#include <stdbool.h>
#include <stdint.h>

/* A burst that is less than what a millisecond brings, or than what comes while a waiter
 * oversleeps, lowers the rate. */
struct rate_limit {
    uint64_t per_second; /* 0: no limit */
    uint64_t burst;      /* that many at once, after a pause */
};

/* A zeroed one is a full bucket. */
struct rate {
    uint64_t used_milli; /* thousandths that are missing in the bucket; more than `burst`: a debt */
    uint64_t at_ms;      /* when that was so */
};

/*
 * Takes `count`, even when so many are not there: then the bucket is in debt. Returns in how many
 * milliseconds the debt is paid, 0 when there is none. For who can't refuse what has come, but can
 * wait before taking more.
 */
uint64_t rate_take(struct rate *rate, const struct rate_limit *limit, uint64_t count,
                   uint64_t now_ms);

/* Takes `count` if so many are there. For who can refuse. `burst` should be at least `count`. */
bool rate_try(struct rate *rate, const struct rate_limit *limit, uint64_t count, uint64_t now_ms);

/* Whether nothing is missing: a rate that nothing has to be remembered of. */
bool rate_full(const struct rate *rate, const struct rate_limit *limit, uint64_t now_ms);

#endif
