/*
 * killer: when the broker is killed, now and then told to end instead, and when it may start again.
 *
 * Owns      its schedule.
 * Thread    the driver's.
 * Errors    none.
 */
#ifndef TESTS_CRASH_KILLER_H
#define TESTS_CRASH_KILLER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/broker.h"

struct killer {
    struct broker *broker;
    bool has_plan;
    uint32_t at_ms; /* of the next kill, or start */
};

void killer_init(struct killer *killer, struct broker *broker);

/* Each turn, while the broker may be killed. */
void killer_turn(struct killer *killer);

/* Each turn, while it must live: starts it when it is down. */
void killer_spare(struct killer *killer);

#endif
