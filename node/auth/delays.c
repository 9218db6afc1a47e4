#include "node/auth/delays_priv.h"

#include "base/clock.h"
#include "base/macros.h"

void delays_init(struct delays *delays, uv_loop_t *loop, delays_due *due)
{
    *delays = (struct delays){.due = due};
    uv_timer_init(loop, &delays->timer);
    for (int i = 0; i < DELAY_SLOTS; i++) {
        list_init(&delays->slots[i]);
    }
}

void delays_fini(struct delays *delays)
{
    ASSERT(delays->count == 0);
    uv_close((uv_handle_t *)&delays->timer, NULL);
}

/* A slot also holds what is due a round or more later. */
static void run_slot(struct delays *delays, uint64_t step, uint64_t now_ms)
{
    struct list *slot = &delays->slots[step % DELAY_SLOTS];
    list_foreach(item, slot)
    {
        struct delay *delay = list_entry(item, struct delay, link);
        if (delay->due_ms <= now_ms) {
            delays_remove(delays, delay);
            delays->due(delay);
        }
    }
}

/* After a pause of the process many steps may be behind; one round sees all slots. */
static void on_timer(uv_timer_t *timer)
{
    struct delays *delays = container_of(timer, struct delays, timer);
    uint64_t now_ms = clock_mono_ms();
    uint64_t last = now_ms / DELAY_STEP_MS;
    if (last - delays->step > DELAY_SLOTS) {
        delays->step = last - DELAY_SLOTS;
    }
    while (delays->step < last) {
        delays->step++;
        run_slot(delays, delays->step, now_ms);
    }
    if (delays->count == 0) {
        uv_timer_stop(&delays->timer);
    }
}

void delays_add(struct delays *delays, struct delay *delay, uint64_t due_ms)
{
    uint64_t step = (due_ms + DELAY_STEP_MS - 1) / DELAY_STEP_MS;
    if (delays->count == 0) {
        delays->step = clock_mono_ms() / DELAY_STEP_MS;
        uv_timer_start(&delays->timer, on_timer, DELAY_STEP_MS, DELAY_STEP_MS);
    }
    step = step > delays->step ? step : delays->step + 1;
    delay->due_ms = due_ms;
    list_init(&delay->link);
    list_append(&delays->slots[step % DELAY_SLOTS], &delay->link);
    delays->count++;
}

void delays_remove(struct delays *delays, struct delay *delay)
{
    list_remove(&delay->link);
    delays->count--;
}
