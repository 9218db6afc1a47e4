#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/mem.h"
#include "base/reclaim.h"

#define ALIVE 0x616c697665u

struct thing {
    struct reclaim_head reclaim;
    uint64_t value; /* ALIVE until it is destroyed */
    struct thing *next;
};

static _Atomic unsigned destroyed;

static struct thing *thing_create(void)
{
    struct thing *thing = mem_alloc(sizeof(*thing));
    thing->value = ALIVE;
    return thing;
}

static void thing_destroy(struct reclaim_head *head)
{
    struct thing *thing = container_of(head, struct thing, reclaim);
    thing->value = 0;
    mem_free(thing);
    atomic_fetch_add(&destroyed, 1);
}

/* Retires the next thing, too. */
static void chain_destroy(struct reclaim_head *head)
{
    struct thing *thing = container_of(head, struct thing, reclaim);
    reclaim_retire(&thing->next->reclaim, thing_destroy);
    thing_destroy(head);
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&destroyed, 0);
    return 0;
}

static void the_barrier_returns_when_all_that_was_retired_is_destroyed(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        reclaim_retire(&thing_create()->reclaim, thing_destroy);
    }
    reclaim_barrier();
    assert_int_equal(atomic_load(&destroyed), 100);
}

static void *retire_unregistered(void *arg)
{
    (void)arg;
    reclaim_retire(&thing_create()->reclaim, thing_destroy);
    return NULL;
}

static void a_thread_that_never_registered_may_retire(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, retire_unregistered, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    reclaim_barrier();
    assert_int_equal(atomic_load(&destroyed), 1);
}

static void destroying_one_thing_may_retire_another(void **state)
{
    (void)state;
    struct thing *thing = thing_create();
    thing->next = thing_create();
    reclaim_retire(&thing->reclaim, chain_destroy);
    reclaim_barrier();
    reclaim_barrier(); /* the second thing was retired after the first barrier began */
    assert_int_equal(atomic_load(&destroyed), 2);
}

struct holder {
    _Atomic(struct thing *) published;
    _Atomic bool holding;
    _Atomic bool retired;
    bool nested;
    unsigned destroyed_while_held;
    uint64_t value;
};

static void *hold(void *arg)
{
    struct holder *holder = arg;
    reclaim_thread_register();
    reclaim_enter();
    struct thing *thing = atomic_load_explicit(&holder->published, memory_order_acquire);
    if (holder->nested) {
        reclaim_enter();
        reclaim_leave();
    }
    atomic_store(&holder->holding, true);
    while (!atomic_load(&holder->retired)) {
    }
    /* The library would have had the time to destroy it. */
    for (uint64_t end = clock_mono_ms() + 50; clock_mono_ms() < end;) {
        holder->destroyed_while_held = atomic_load(&destroyed);
    }
    holder->value = thing->value;
    reclaim_leave();
    reclaim_thread_unregister();
    return NULL;
}

static void check_that_a_reader_keeps_it_alive(bool nested)
{
    struct holder holder = {.published = thing_create(), .nested = nested};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hold, &holder), 0);
    while (!atomic_load(&holder.holding)) {
    }
    struct thing *thing = atomic_exchange(&holder.published, NULL);
    reclaim_retire(&thing->reclaim, thing_destroy);
    atomic_store(&holder.retired, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(holder.destroyed_while_held, 0);
    assert_int_equal(holder.value, ALIVE);
    reclaim_barrier();
    assert_int_equal(atomic_load(&destroyed), 1);
}

static void a_reader_keeps_alive_what_it_sees(void **state)
{
    (void)state;
    check_that_a_reader_keeps_it_alive(false);
}

static void the_end_of_an_inner_section_is_not_the_end_of_the_outer_one(void **state)
{
    (void)state;
    check_that_a_reader_keeps_it_alive(true);
}

#define READERS 3
#define REPLACEMENTS 5000

static _Atomic(struct thing *) current;
static _Atomic bool stop;

static void *read_current(void *arg)
{
    unsigned *wrong = arg;
    reclaim_thread_register();
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        reclaim_enter();
        for (int i = 0; i < 8; i++) {
            const struct thing *thing = atomic_load_explicit(&current, memory_order_acquire);
            *wrong += thing->value != ALIVE;
        }
        reclaim_leave();
    }
    reclaim_thread_unregister();
    return NULL;
}

static void readers_never_see_a_dead_thing_while_it_is_replaced(void **state)
{
    (void)state;
    atomic_store(&current, thing_create());
    pthread_t threads[READERS];
    unsigned wrong[READERS] = {0};
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_current, &wrong[i]), 0);
    }
    for (int i = 0; i < REPLACEMENTS; i++) {
        struct thing *old =
            atomic_exchange_explicit(&current, thing_create(), memory_order_acq_rel);
        reclaim_retire(&old->reclaim, thing_destroy);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(wrong[i], 0);
    }
    reclaim_barrier();
    assert_int_equal(atomic_load(&destroyed), REPLACEMENTS);
    mem_free(atomic_load(&current));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_barrier_returns_when_all_that_was_retired_is_destroyed, set_up),
        cmocka_unit_test_setup(a_thread_that_never_registered_may_retire, set_up),
        cmocka_unit_test_setup(destroying_one_thing_may_retire_another, set_up),
        cmocka_unit_test_setup(a_reader_keeps_alive_what_it_sees, set_up),
        cmocka_unit_test_setup(the_end_of_an_inner_section_is_not_the_end_of_the_outer_one, set_up),
        cmocka_unit_test_setup(readers_never_see_a_dead_thing_while_it_is_replaced, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
