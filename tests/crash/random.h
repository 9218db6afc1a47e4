/*
 * random: the driver's dice. One seed decides all choices; what the broker does meanwhile it can't
 * decide, so a seed repeats a kind of run, not every step of it.
 *
 * Owns      its state.
 * Thread    the driver's.
 * Errors    none.
 */
#ifndef TESTS_CRASH_RANDOM_H
#define TESTS_CRASH_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

/* Mixes all bits of `value` into each other (splitmix64). */
static inline uint64_t random_mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

static inline void random_init(struct random *dice, uint64_t seed)
{
    dice->state = random_mix(seed);
}

static inline uint64_t random_next(struct random *dice)
{
    dice->state += 0x9e3779b97f4a7c15u;
    return random_mix(dice->state);
}

/* 0 to `count` - 1; `count` is not 0. */
static inline uint32_t random_below(struct random *dice, uint32_t count)
{
    return (uint32_t)((random_next(dice) >> 32) * count >> 32);
}

/* `low` to `high`, both included. */
static inline uint32_t random_between(struct random *dice, uint32_t low, uint32_t high)
{
    return low + random_below(dice, high - low + 1);
}

static inline bool random_chance(struct random *dice, uint32_t percent)
{
    return random_below(dice, 100) < percent;
}

#endif
