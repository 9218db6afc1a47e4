#include "tests/crash/killer.h"

enum {
    LIFE_MIN_MS = 5,
    LIFE_MAX_MS = 500,
    LONG_LIFE_MAX_MS = 5000,
    LONG_LIFE_PERCENT = 10,
    AT_START_PERCENT = 20,
    DOWN_MAX_MS = 50,
    LONG_DOWN_MAX_MS = 2000,
    LONG_DOWN_PERCENT = 8,
    STOP_PERCENT = 8,
    START_GUESS_MS = 30
};

void killer_init(struct killer *killer, struct broker *broker)
{
    *killer = (struct killer){.broker = broker};
}

static void plan(struct killer *killer, uint32_t min_ms, uint32_t max_ms)
{
    struct world *world = killer->broker->world;
    killer->has_plan = true;
    killer->at_ms = world_now_ms(world) + random_between(&world->dice, min_ms, max_ms);
}

static uint32_t last_recovery_ms(const struct broker *broker)
{
    size_t count = broker->recovery_count;
    return count == 0 ? START_GUESS_MS : broker->recoveries_ms[count - 1];
}

/* Now and then the next kill comes while it is still recovering from this one. */
static void start(struct killer *killer)
{
    struct broker *broker = killer->broker;
    broker_start(broker);
    killer->has_plan = false;
    if (random_chance(&broker->world->dice, AT_START_PERCENT)) {
        plan(killer, 0, last_recovery_ms(broker) + LIFE_MIN_MS);
    }
}

static void strike(struct killer *killer)
{
    struct random *dice = &killer->broker->world->dice;
    if (killer->broker->is_ready && random_chance(dice, STOP_PERCENT)) {
        broker_stop(killer->broker);
        killer->has_plan = false; /* it starts again when it has ended */
        return;
    }
    broker_kill(killer->broker);
    plan(killer, 0, random_chance(dice, LONG_DOWN_PERCENT) ? LONG_DOWN_MAX_MS : DOWN_MAX_MS);
}

void killer_turn(struct killer *killer)
{
    struct broker *broker = killer->broker;
    struct random *dice = &broker->world->dice;
    bool is_time = killer->has_plan && world_now_ms(broker->world) >= killer->at_ms;
    if (!broker_is_running(broker)) {
        if (is_time || !killer->has_plan) {
            start(killer);
        }
    } else if (broker->world->stopping) {
        return;
    } else if (!killer->has_plan && broker->is_ready) {
        bool is_long = random_chance(dice, LONG_LIFE_PERCENT);
        plan(killer, LIFE_MIN_MS, is_long ? LONG_LIFE_MAX_MS : LIFE_MAX_MS);
    } else if (is_time) {
        strike(killer);
    }
}

void killer_spare(struct killer *killer)
{
    killer->has_plan = false;
    if (!broker_is_running(killer->broker)) {
        broker_start(killer->broker);
    }
}
