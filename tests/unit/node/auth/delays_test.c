#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/macros.h"
#include "node/auth/delays_priv.h"

struct waiting {
    struct delay delay;
    uint64_t called_at_ms;
};

static uv_loop_t loop;
static struct delays delays;

static void on_due(struct delay *delay)
{
    struct waiting *waiting = container_of(delay, struct waiting, delay);
    assert_int_equal(waiting->called_at_ms, 0);
    waiting->called_at_ms = clock_mono_ms();
}

static int make(void **state)
{
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    delays_init(&delays, &loop, on_due);
    return 0;
}

static int end(void **state)
{
    (void)state;
    delays_fini(&delays);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static void each_is_due_once_and_never_early(void **state)
{
    (void)state;
    static const uint64_t after_ms[] = {0, 1, 49, 50, 51, 120, 300, 299, 5};
    struct waiting all[ARRAY_COUNT(after_ms)] = {0};
    uint64_t start_ms = clock_mono_ms();
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        delays_add(&delays, &all[i].delay, start_ms + after_ms[i]);
    }
    uv_run(&loop, UV_RUN_DEFAULT); /* until the timer stops */
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        assert_true(all[i].called_at_ms >= start_ms + after_ms[i]);
        assert_in_range(all[i].called_at_ms - start_ms, after_ms[i],
                        after_ms[i] + 3 * DELAY_STEP_MS);
    }
}

static void what_is_taken_out_is_never_due(void **state)
{
    (void)state;
    struct waiting first = {.called_at_ms = 0};
    struct waiting second = {.called_at_ms = 0};
    uint64_t start_ms = clock_mono_ms();
    delays_add(&delays, &first.delay, start_ms + 20);
    delays_add(&delays, &second.delay, start_ms + 20);
    delays_remove(&delays, &first.delay);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(first.called_at_ms, 0);
    assert_true(second.called_at_ms > 0);
}

/* A round is 6.4 s: what is due in the next one must not come in this one. */
static void more_than_a_round_away_is_not_early(void **state)
{
    (void)state;
    struct waiting waiting = {.called_at_ms = 0};
    struct waiting near = {.called_at_ms = 0};
    uint64_t start_ms = clock_mono_ms();
    delays_add(&delays, &waiting.delay, start_ms + DELAY_SLOTS * DELAY_STEP_MS + 100);
    delays_add(&delays, &near.delay, start_ms + 300);
    while (near.called_at_ms == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(waiting.called_at_ms, 0);
    delays_remove(&delays, &waiting.delay);
    uv_run(&loop, UV_RUN_DEFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_is_due_once_and_never_early, make, end),
        cmocka_unit_test_setup_teardown(what_is_taken_out_is_never_due, make, end),
        cmocka_unit_test_setup_teardown(more_than_a_round_away_is_not_early, make, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
