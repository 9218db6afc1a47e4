#include "tests/unit/node/index_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

uint64_t random_seed(void)
{
    const char *given = getenv("PULSE_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : clock_mono_ns();
    seed |= 1;
    fprintf(stderr, "PULSE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x * 0x2545f4914f6cdd1du;
}

uint32_t random_below(uint64_t *state, uint32_t limit)
{
    return (uint32_t)((random_next(state) >> 32) % limit);
}

void random_topic(uint64_t *state, char out[RANDOM_TEXT_MAX])
{
    static const char *const levels[] = {"a", "b", "c", "", "dd", "$e"};
    uint32_t count = 1 + random_below(state, 5);
    do {
        out[0] = '\0';
        for (uint32_t i = 0; i < count; i++) {
            strcat(out, i > 0 ? "/" : "");
            strcat(out, levels[random_below(state, 6)]);
        }
    } while (out[0] == '\0');
}

void random_filter(uint64_t *state, char out[RANDOM_TEXT_MAX])
{
    char topic[RANDOM_TEXT_MAX];
    random_topic(state, topic);
    char *rest = topic;
    out[0] = '\0';
    for (;;) {
        char *level = strsep(&rest, "/");
        if (rest == NULL && random_below(state, 4) == 0) {
            strcat(out, "#");
        } else {
            strcat(out, random_below(state, 4) == 0 ? "+" : level);
        }
        if (rest == NULL) {
            break;
        }
        strcat(out, "/");
    }
    if (out[0] == '\0') {
        strcpy(out, "#");
    }
}
