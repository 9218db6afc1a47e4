/*
 * delays: things that become due later, in steps of DELAY_STEP_MS: coarse on purpose, so that the
 * moment of an answer says nothing of how long its making took.
 *
 * Owns      a timer that runs while anything waits. Entries are the caller's.
 * Thread    that of the loop.
 * Errors    none.
 */
#ifndef PULSE_NODE_AUTH_DELAYS_PRIV_H
#define PULSE_NODE_AUTH_DELAYS_PRIV_H

#include <stdint.h>
#include <uv.h>

#include "base/list.h"

#define DELAY_STEP_MS 50
#define DELAY_SLOTS 128

struct delay {
    struct list link;
    uint64_t due_ms;
};

typedef void delays_due(struct delay *delay);

struct delays {
    uv_timer_t timer;
    delays_due *due;
    uint64_t step; /* the last one that was looked at */
    uint32_t count;
    struct list slots[DELAY_SLOTS];
};

void delays_init(struct delays *delays, uv_loop_t *loop, delays_due *due);
/* Nothing waits; closes the timer, which the loop still has to see. */
void delays_fini(struct delays *delays);

/* `due` is called for `delay` at `due_ms` (clock_mono_ms) or up to a step later, by the loop. */
void delays_add(struct delays *delays, struct delay *delay, uint64_t due_ms);
/* Takes it out before it is due. */
void delays_remove(struct delays *delays, struct delay *delay);

#endif
