/*
 * timer: deadlines of one worker: a heap of intrusive timers under one uv_timer, which is armed for
 * the earliest only. Nothing armed: no wake-ups.
 *
 * Owns      the heap. A timer belongs to the object that it is part of.
 * Thread    the worker.
 * Errors    none. Deadlines are met late by up to TIMER_SLACK_MS, so that neighbours share a
 * wake-up.
 */
#ifndef PULSE_NODE_TIMER_H
#define PULSE_NODE_TIMER_H

#include <stdint.h>
#include <uv.h>

#define TIMER_SLACK_MS 10

struct timer {
    uint64_t deadline_ms;
    void (*fire)(struct timer *timer);
    uint32_t place; /* in the heap + 1; 0: not armed */
};

struct timers {
    uv_timer_t clock;
    struct timer **heap;
    uint32_t count;
    uint32_t cap;
};

void timers_init(struct timers *timers, uv_loop_t *loop);
/* Closes the clock's handle and frees the heap; timers still armed are forgotten. */
void timers_fini(struct timers *timers);

/* Arms `timer` for `deadline_ms` (monotonic, as uv_now), or moves it there. `fire` runs once,
 * unarmed. */
void timer_arm(struct timers *timers, struct timer *timer, uint64_t deadline_ms);
/* Harmless when it is not armed. */
void timer_disarm(struct timers *timers, struct timer *timer);

static inline int timer_armed(const struct timer *timer)
{
    return timer->place != 0;
}

#endif
