/*
 * What the tests of the subscription index and of the retained store share: random topics and
 * filters over a small alphabet, so that they meet often.
 */
#ifndef PULSE_TESTS_INDEX_SUPPORT_H
#define PULSE_TESTS_INDEX_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>

#define RANDOM_TEXT_MAX 64

/* A seed for a random test: of the environment (PULSE_TEST_SEED) or of the clock; prints it. */
uint64_t random_seed(void);

/* The next number of the generator `state`, which is not 0. */
uint64_t random_next(uint64_t *state);
/* A number below `limit`. */
uint32_t random_below(uint64_t *state, uint32_t limit);

/* A valid topic name of one to five levels, some of them empty or beginning with `$`. */
void random_topic(uint64_t *state, char out[RANDOM_TEXT_MAX]);
/* A valid filter of the same kind. */
void random_filter(uint64_t *state, char out[RANDOM_TEXT_MAX]);

#endif
