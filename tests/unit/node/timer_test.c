#include "tests/unit/node/node_support.h"

#include <limits.h>
#include <uv.h>

#include "base/macros.h"
#include "base/mem.h"
#include "node/timer.h"

/*
 * Nothing here depends on how fast the machine is: a timer may fire late, never early, and never
 * before one that was due sooner.
 */

#define HOUR_MS 3600000u
#define PROBES_MAX 64

/* A timer that notes when it fires. */
struct probe {
    struct timer timer;
    unsigned fired;
    void (*then)(struct probe *probe); /* NULL, or what it does besides */
    struct probe *other;
};

static uv_loop_t loop;
static struct timers timers;
static struct probe probes[PROBES_MAX];
static struct probe *order[1024];
static unsigned order_count;
static unsigned wanted_count;

static uint64_t now(void)
{
    return uv_now(&loop);
}

static void fire(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    assert_false(timer_armed(timer));
    assert_true(timer->deadline_ms <= now());
    probe->fired++;
    assert_true(order_count < ARRAY_COUNT(order));
    order[order_count++] = probe;
    if (order_count >= wanted_count) {
        uv_stop(&loop);
    }
    if (probe->then != NULL) {
        probe->then(probe);
    }
}

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    timers_init(&timers, &loop);
    memset(probes, 0, sizeof(probes));
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        probes[i].timer.fire = fire;
    }
    order_count = 0;
    wanted_count = UINT_MAX;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    timers_fini(&timers);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static void arm(unsigned index, uint64_t deadline_ms)
{
    timer_arm(&timers, &probes[index].timer, deadline_ms);
}

static void run_until_fired(unsigned count)
{
    wanted_count = count;
    uv_run(&loop, UV_RUN_DEFAULT);
    wanted_count = UINT_MAX;
    assert_true(order_count >= count);
}

static void assert_heap(void)
{
    for (uint32_t i = 0; i < timers.count; i++) {
        assert_int_equal(timers.heap[i]->place, i + 1);
        if (i > 0) {
            assert_true(timers.heap[(i - 1) / 2]->deadline_ms <= timers.heap[i]->deadline_ms);
        }
    }
}

/* ---- firing ---------------------------------------------------------------------------------- */

static void timers_fire_in_the_order_of_their_deadlines(void **state)
{
    (void)state;
    uint64_t start = now();
    arm(0, start + 4);
    arm(1, start + 1);
    arm(2, start + 3);
    arm(3, start + 2);
    run_until_fired(4);
    assert_ptr_equal(order[0], &probes[1]);
    assert_ptr_equal(order[1], &probes[3]);
    assert_ptr_equal(order[2], &probes[2]);
    assert_ptr_equal(order[3], &probes[0]);
}

static void a_timer_fires_once(void **state)
{
    (void)state;
    arm(0, now());
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(probes[0].fired, 1);
}

/* The caller may hold half-changed state: it fires from the loop. */
static void a_deadline_that_has_passed_does_not_fire_inside_timer_arm(void **state)
{
    (void)state;
    arm(0, 0);
    assert_int_equal(probes[0].fired, 0);
    assert_true(timer_armed(&probes[0].timer));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(probes[0].fired, 1);
}

static void equal_deadlines_all_fire(void **state)
{
    (void)state;
    uint64_t due = now() + 2;
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        arm(i, due);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        assert_int_equal(probes[i].fired, 1);
    }
}

static void neighbours_share_a_wake_up(void **state)
{
    (void)state;
    uint64_t start = now();
    for (unsigned i = 0; i < TIMER_SLACK_MS; i++) {
        arm(i, start + 1 + i); /* the clock rings at start + 1 + TIMER_SLACK_MS at the earliest */
    }
    run_until_fired(1);
    assert_int_equal(order_count, TIMER_SLACK_MS);
}

/* ---- the clock ------------------------------------------------------------------------------- */

static void nothing_armed_means_no_wake_ups(void **state)
{
    (void)state;
    assert_false(uv_is_active((uv_handle_t *)&timers.clock));
    arm(0, now());
    assert_true(uv_is_active((uv_handle_t *)&timers.clock));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_false(uv_is_active((uv_handle_t *)&timers.clock));
}

static void the_clock_goes_quiet_when_all_are_disarmed(void **state)
{
    (void)state;
    arm(0, now() + 1);
    timer_disarm(&timers, &probes[0].timer);
    uv_run(&loop, UV_RUN_DEFAULT); /* returns: the clock stopped itself */
    assert_false(uv_is_active((uv_handle_t *)&timers.clock));
    assert_int_equal(probes[0].fired, 0);
}

static void the_clock_waits_for_the_earliest_only(void **state)
{
    (void)state;
    arm(0, now() + HOUR_MS);
    arm(1, now() + 1);
    run_until_fired(1);
    assert_ptr_equal(order[0], &probes[1]);
    assert_true(timer_armed(&probes[0].timer));
    assert_true(uv_timer_get_due_in(&timers.clock) > HOUR_MS / 2);
}

static void a_deadline_that_never_comes_does_not_keep_the_clock_busy(void **state)
{
    (void)state;
    arm(0, UINT64_MAX);
    arm(1, now());
    run_until_fired(1);
    assert_true(timer_armed(&probes[0].timer));
    assert_true(!uv_is_active((uv_handle_t *)&timers.clock) ||
                uv_timer_get_due_in(&timers.clock) > HOUR_MS);
}

/* ---- moving ---------------------------------------------------------------------------------- */

static void a_timer_moves_to_an_earlier_deadline(void **state)
{
    (void)state;
    arm(0, now() + HOUR_MS);
    arm(0, now() + 1);
    assert_int_equal(timers.count, 1);
    run_until_fired(1);
    assert_int_equal(timers.count, 0);
}

static void one_of_many_moves_in_front_of_the_first(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 10; i++) {
        arm(i, now() + HOUR_MS + i);
    }
    arm(9, now() + 1);
    run_until_fired(1);
    assert_ptr_equal(order[0], &probes[9]);
    assert_int_equal(timers.count, 9);
}

/* fire() checks that it is not called before the deadline. */
static void a_timer_moves_to_a_later_deadline(void **state)
{
    (void)state;
    uint64_t start = now();
    arm(0, start + 1);
    arm(0, start + 2 + 2 * TIMER_SLACK_MS); /* the clock still rings for start + 1, in vain */
    run_until_fired(1);
    assert_int_equal(probes[0].fired, 1);
}

static void the_first_moves_behind_the_others(void **state)
{
    (void)state;
    uint64_t start = now();
    arm(0, start + 1);
    arm(1, start + 2);
    arm(0, start + 3);
    run_until_fired(2);
    assert_ptr_equal(order[0], &probes[1]);
    assert_ptr_equal(order[1], &probes[0]);
}

static void a_disarmed_timer_does_not_fire(void **state)
{
    (void)state;
    uint64_t start = now();
    for (unsigned i = 0; i < 8; i++) {
        arm(i, start + 1 + i);
    }
    timer_disarm(&timers, &probes[0].timer); /* the first, one in the middle, and the last */
    timer_disarm(&timers, &probes[3].timer);
    timer_disarm(&timers, &probes[7].timer);
    assert_false(timer_armed(&probes[3].timer));
    assert_heap();
    run_until_fired(5);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(order_count, 5);
    assert_int_equal(probes[0].fired + probes[3].fired + probes[7].fired, 0);
}

static void disarming_a_timer_that_is_not_armed_is_harmless(void **state)
{
    (void)state;
    timer_disarm(&timers, &probes[0].timer);
    arm(1, now());
    timer_disarm(&timers, &probes[0].timer);
    assert_int_equal(timers.count, 1);
    uv_run(&loop, UV_RUN_DEFAULT);
    timer_disarm(&timers, &probes[1].timer);
    assert_int_equal(timers.count, 0);
}

/* ---- inside fire ----------------------------------------------------------------------------- */

static void arm_soon(struct probe *probe)
{
    if (probe->fired < 3) {
        timer_arm(&timers, &probe->timer, now() + 1);
    }
}

static void a_timer_may_arm_itself_again_while_it_fires(void **state)
{
    (void)state;
    probes[0].then = arm_soon;
    arm(0, now());
    arm(1, now() + HOUR_MS);
    run_until_fired(3);
    assert_int_equal(probes[0].fired, 3);
    assert_false(timer_armed(&probes[0].timer));
}

static void arm_other(struct probe *probe)
{
    timer_arm(&timers, &probe->other->timer, now() + 1);
}

static void a_timer_may_arm_another_one_while_it_fires(void **state)
{
    (void)state;
    probes[0].then = arm_other;
    probes[0].other = &probes[1];
    arm(0, now());
    arm(1, now() + HOUR_MS); /* comes forward */
    run_until_fired(2);
    assert_ptr_equal(order[1], &probes[1]);
}

static void disarm_other(struct probe *probe)
{
    timer_disarm(&timers, &probe->other->timer);
}

static void a_timer_that_is_due_can_still_be_disarmed_by_one_before_it(void **state)
{
    (void)state;
    probes[0].then = disarm_other;
    probes[0].other = &probes[1];
    arm(0, 0);
    arm(1, 1);
    arm(2, 2);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(probes[1].fired, 0);
    assert_int_equal(probes[2].fired, 1);
}

static void free_both(struct probe *probe)
{
    timer_disarm(&timers, &probe->other->timer);
    mem_free(probe->other);
    mem_free(probe);
}

/* A session ends in its timer, and takes other timers with it. */
static void a_timer_may_end_its_object_while_it_fires(void **state)
{
    (void)state;
    struct probe *first = mem_alloc(sizeof(*first));
    struct probe *second = mem_alloc(sizeof(*second));
    *first = (struct probe){.timer.fire = fire, .then = free_both, .other = second};
    second->timer.fire = fire;
    timer_arm(&timers, &first->timer, 0);
    timer_arm(&timers, &second->timer, 1);
    arm(0, 2);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(order_count, 2);
    assert_int_equal(probes[0].fired, 1);
}

static unsigned turns;
static bool starved;

static void on_turn(uv_check_t *check)
{
    (void)check;
    turns++;
}

static void arm_for_the_past(struct probe *probe)
{
    starved = starved || turns + 1 < probe->fired;
    if (probe->fired < 5) {
        timer_arm(&timers, &probe->timer, 0);
    }
}

/* A deadline that is over when it is set must not starve everything else on the loop: sockets have
 * their turn before it fires. */
static void arming_for_the_past_while_firing_lets_the_loop_turn_first(void **state)
{
    (void)state;
    uv_check_t check;
    uv_check_init(&loop, &check);
    uv_check_start(&check, on_turn);
    turns = 0;
    probes[0].then = arm_for_the_past;
    arm(0, 0);
    run_until_fired(5);
    uv_close((uv_handle_t *)&check, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_false(starved);
}

/* ---- many ------------------------------------------------------------------------------------ */

/* The model: what is armed, in no order. */
static uint64_t model_due[PROBES_MAX]; /* 0: not armed */
static uint64_t model_seed;
static unsigned model_steps;

static void model_arm(unsigned index)
{
    uint64_t due = now() + random_below(&model_seed, 5);
    model_due[index] = due;
    arm(index, due);
}

static void model_change(void)
{
    unsigned index = random_below(&model_seed, PROBES_MAX);
    if (random_below(&model_seed, 3) > 0) {
        model_arm(index);
    } else {
        model_due[index] = 0;
        timer_disarm(&timers, &probes[index].timer);
    }
    assert_heap();
}

static void model_fired(struct probe *probe)
{
    unsigned index = (unsigned)(probe - probes);
    uint64_t due = model_due[index];
    assert_true(due > 0 && due == probe->timer.deadline_ms);
    model_due[index] = 0;
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        assert_true(model_due[i] == 0 || model_due[i] >= due);
        assert_int_equal(timer_armed(&probes[i].timer), model_due[i] != 0);
    }
    order_count = 0;
    if (model_steps > 0) {
        model_steps--;
        uint64_t due_ms = now() + random_between(&model_seed, 1, 4);
        model_due[index] = due_ms;
        arm(index, due_ms);
    }
}

static void random_changes_fire_what_a_plain_list_would(void **state)
{
    (void)state;
    model_seed = test_seed();
    model_steps = 300;
    memset(model_due, 0, sizeof(model_due));
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        probes[i].then = model_fired;
    }
    for (unsigned round = 0; round < 100; round++) {
        for (unsigned i = 0; i < 20; i++) {
            model_change();
        }
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    uv_run(&loop, UV_RUN_DEFAULT); /* until nothing is armed */
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        assert_int_equal(model_due[i], 0);
    }
    assert_int_equal(timers.count, 0);
}

static void timers_still_armed_at_the_end_are_forgotten(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PROBES_MAX; i++) {
        arm(i, now() + HOUR_MS);
    }
    /* tear_down: nothing fires, nothing leaks, and the loop closes */
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(timers_fire_in_the_order_of_their_deadlines),
        TEST(a_timer_fires_once),
        TEST(a_deadline_that_has_passed_does_not_fire_inside_timer_arm),
        TEST(equal_deadlines_all_fire),
        TEST(neighbours_share_a_wake_up),
        TEST(nothing_armed_means_no_wake_ups),
        TEST(the_clock_goes_quiet_when_all_are_disarmed),
        TEST(the_clock_waits_for_the_earliest_only),
        TEST(a_deadline_that_never_comes_does_not_keep_the_clock_busy),
        TEST(a_timer_moves_to_an_earlier_deadline),
        TEST(one_of_many_moves_in_front_of_the_first),
        TEST(a_timer_moves_to_a_later_deadline),
        TEST(the_first_moves_behind_the_others),
        TEST(a_disarmed_timer_does_not_fire),
        TEST(disarming_a_timer_that_is_not_armed_is_harmless),
        TEST(a_timer_may_arm_itself_again_while_it_fires),
        TEST(a_timer_may_arm_another_one_while_it_fires),
        TEST(a_timer_that_is_due_can_still_be_disarmed_by_one_before_it),
        TEST(a_timer_may_end_its_object_while_it_fires),
        TEST(arming_for_the_past_while_firing_lets_the_loop_turn_first),
        TEST(random_changes_fire_what_a_plain_list_would),
        TEST(timers_still_armed_at_the_end_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
