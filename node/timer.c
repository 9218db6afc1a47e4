#include "node/timer.h"

#include "base/macros.h"
#include "base/mem.h"

/* A binary heap; heap[i]->place == i + 1. */

static void put(struct timers *timers, uint32_t at, struct timer *timer)
{
    timers->heap[at] = timer;
    timer->place = at + 1;
}

static void sift_up(struct timers *timers, uint32_t at, struct timer *timer)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (timers->heap[parent]->deadline_ms <= timer->deadline_ms) {
            break;
        }
        put(timers, at, timers->heap[parent]);
        at = parent;
    }
    put(timers, at, timer);
}

static void sift_down(struct timers *timers, uint32_t at, struct timer *timer)
{
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= timers->count) {
            break;
        }
        if (child + 1 < timers->count &&
            timers->heap[child + 1]->deadline_ms < timers->heap[child]->deadline_ms) {
            child++;
        }
        if (timer->deadline_ms <= timers->heap[child]->deadline_ms) {
            break;
        }
        put(timers, at, timers->heap[child]);
        at = child;
    }
    put(timers, at, timer);
}

static void take_out(struct timers *timers, struct timer *timer)
{
    uint32_t at = timer->place - 1;
    timer->place = 0;
    struct timer *last = timers->heap[--timers->count];
    if (last == timer) {
        return;
    }
    if (at > 0 && last->deadline_ms < timers->heap[(at - 1) / 2]->deadline_ms) {
        sift_up(timers, at, last);
    } else {
        sift_down(timers, at, last);
    }
}

static void set_clock(struct timers *timers);

static void on_clock(uv_timer_t *clock)
{
    struct timers *timers = container_of(clock, struct timers, clock);
    uint64_t now = uv_now(clock->loop);
    /* No more than were there: one that arms itself for the past must not keep the loop here. */
    for (uint32_t left = timers->count; left > 0 && timers->count > 0; left--) {
        struct timer *timer = timers->heap[0];
        if (timer->deadline_ms > now) {
            break;
        }
        take_out(timers, timer);
        timer->fire(timer);
    }
    set_clock(timers);
}

static void set_clock(struct timers *timers)
{
    if (timers->count == 0) {
        uv_timer_stop(&timers->clock);
        return;
    }
    uint64_t now = uv_now(timers->clock.loop);
    uint64_t due = timers->heap[0]->deadline_ms;
    /* At least 1: a clock set to 0 inside its own callback rings again before anything else has its
     * turn. */
    uint64_t wait = due > now ? due - now + TIMER_SLACK_MS : 1;
    uv_timer_start(&timers->clock, on_clock, wait, 0);
}

void timers_init(struct timers *timers, uv_loop_t *loop)
{
    *timers = (struct timers){0};
    uv_timer_init(loop, &timers->clock);
}

void timers_fini(struct timers *timers)
{
    uv_close((uv_handle_t *)&timers->clock, NULL);
    mem_free(timers->heap);
    timers->heap = NULL;
    timers->count = 0;
    timers->cap = 0;
}

void timer_arm(struct timers *timers, struct timer *timer, uint64_t deadline_ms)
{
    struct timer *first = timers->count > 0 ? timers->heap[0] : NULL;
    uint64_t first_due = first != NULL ? first->deadline_ms : UINT64_MAX;
    if (timer->place != 0) {
        take_out(timers, timer);
    }
    if (timers->count == timers->cap) {
        timers->cap = timers->cap > 0 ? timers->cap * 2 : 16;
        timers->heap = mem_resize(timers->heap, timers->cap * sizeof(struct timer *));
    }
    timer->deadline_ms = deadline_ms;
    timers->count++;
    sift_up(timers, timers->count - 1, timer);
    if (deadline_ms < first_due) {
        set_clock(timers);
    }
}

void timer_disarm(struct timers *timers, struct timer *timer)
{
    if (timer->place != 0) {
        take_out(timers, timer); /* the clock may ring once for nothing */
    }
}
