#include "node/rate.h"

#define MILLI 1000u

static uint64_t add_capped(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t times_capped(uint64_t a, uint64_t b)
{
    uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* So many a second are as many thousandths a millisecond. */
static uint64_t missing_at(const struct rate *rate, const struct rate_limit *limit, uint64_t now_ms)
{
    uint64_t passed_ms = now_ms > rate->at_ms ? now_ms - rate->at_ms : 0;
    uint64_t refilled = times_capped(passed_ms, limit->per_second);
    return rate->used_milli > refilled ? rate->used_milli - refilled : 0;
}

static void settle(struct rate *rate, const struct rate_limit *limit, uint64_t now_ms)
{
    rate->used_milli = missing_at(rate, limit, now_ms);
    if (now_ms > rate->at_ms) {
        rate->at_ms = now_ms;
    }
}

uint64_t rate_take(struct rate *rate, const struct rate_limit *limit, uint64_t count,
                   uint64_t now_ms)
{
    if (limit->per_second == 0) {
        return 0;
    }
    settle(rate, limit, now_ms);
    rate->used_milli = add_capped(rate->used_milli, times_capped(count, MILLI));
    uint64_t burst = times_capped(limit->burst, MILLI);
    if (rate->used_milli <= burst) {
        return 0;
    }
    uint64_t debt = rate->used_milli - burst;
    return debt / limit->per_second + (debt % limit->per_second != 0);
}

bool rate_try(struct rate *rate, const struct rate_limit *limit, uint64_t count, uint64_t now_ms)
{
    if (limit->per_second == 0) {
        return true;
    }
    settle(rate, limit, now_ms);
    uint64_t used = add_capped(rate->used_milli, times_capped(count, MILLI));
    if (used > times_capped(limit->burst, MILLI)) {
        return false;
    }
    rate->used_milli = used;
    return true;
}

bool rate_full(const struct rate *rate, const struct rate_limit *limit, uint64_t now_ms)
{
    return limit->per_second == 0 || missing_at(rate, limit, now_ms) == 0;
}
