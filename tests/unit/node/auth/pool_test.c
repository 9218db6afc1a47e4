#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/auth/pool_priv.h"

#define JOBS 200
#define THREADS 3

struct counted {
    struct auth_job job;
    atomic_bool cancelled;
    atomic_uint worked;
    unsigned thread;
    int nice;
    unsigned thens;
};

static struct counted jobs[JOBS];
static atomic_uint wakes;
static atomic_bool blocked;
static atomic_uint running;

static void wake(void *user)
{
    assert_ptr_equal(user, &wakes);
    atomic_fetch_add(&wakes, 1);
}

static void work(struct auth_job *job, unsigned thread)
{
    struct counted *counted = job->user;
    atomic_fetch_add(&running, 1);
    while (atomic_load(&blocked)) {
        usleep(200);
    }
    counted->thread = thread;
    counted->nice = getpriority(PRIO_PROCESS, (id_t)gettid());
    atomic_fetch_add(&counted->worked, 1);
}

static void then(struct auth_job *job)
{
    struct counted *counted = job->user;
    counted->thens++;
}

static struct auth_job *job_of(size_t i)
{
    jobs[i].job = (struct auth_job){
        .work = work, .then = then, .cancelled = &jobs[i].cancelled, .user = &jobs[i]};
    return &jobs[i].job;
}

static int reset(void **state)
{
    (void)state;
    memset(jobs, 0, sizeof(jobs));
    atomic_store(&wakes, 0);
    atomic_store(&running, 0);
    atomic_store(&blocked, false);
    return 0;
}

static unsigned thens(void)
{
    unsigned count = 0;
    for (size_t i = 0; i < JOBS; i++) {
        count += jobs[i].thens;
    }
    return count;
}

static void wait_for(atomic_uint *counter, unsigned wanted)
{
    for (int i = 0; i < 50000 && atomic_load(counter) < wanted; i++) {
        usleep(200);
    }
    assert_true(atomic_load(counter) >= wanted);
}

static void all_jobs_are_done_once_at_low_priority_and_come_back(void **state)
{
    (void)state;
    struct pool *pool = pool_create(THREADS, wake, &wakes);
    for (size_t i = 0; i < JOBS; i++) {
        pool_add(pool, i % 2 == 0 ? AUTH_LANE_COMPUTE : AUTH_LANE_WAIT, job_of(i));
    }
    for (int i = 0; i < 10000 && thens() < JOBS; i++) {
        usleep(1000);
        pool_take(pool);
    }
    assert_true(atomic_load(&wakes) > 0);
    for (size_t i = 0; i < JOBS; i++) {
        assert_int_equal(atomic_load(&jobs[i].worked), 1);
        assert_int_equal(jobs[i].thens, 1);
        assert_int_equal(jobs[i].nice, 19);
        assert_true(jobs[i].thread < THREADS);
    }
    pool_destroy(pool);
}

static void a_lane_that_hangs_does_not_hold_up_the_other(void **state)
{
    (void)state;
    struct pool *pool = pool_create(1, wake, &wakes);
    atomic_store(&blocked, true);
    pool_add(pool, AUTH_LANE_WAIT, job_of(0));
    wait_for(&running, 1);
    pool_add(pool, AUTH_LANE_WAIT, job_of(1));
    pool_add(pool, AUTH_LANE_COMPUTE, job_of(2));
    wait_for(&running, 2);
    atomic_store(&blocked, false);
    wait_for(&jobs[1].worked, 1);
    wait_for(&jobs[2].worked, 1);
    pool_stop(pool);
    pool_take(pool);
    assert_int_equal(thens(), 3);
    pool_destroy(pool);
}

static void cancelled_jobs_come_back_without_their_work(void **state)
{
    (void)state;
    struct pool *pool = pool_create(1, wake, &wakes);
    atomic_store(&blocked, true);
    for (size_t i = 0; i < 10; i++) {
        pool_add(pool, AUTH_LANE_COMPUTE, job_of(i));
    }
    wait_for(&running, 1);
    for (size_t i = 0; i < 9; i++) { /* the first is running already */
        atomic_store(&jobs[i].cancelled, true);
    }
    atomic_store(&blocked, false);
    wait_for(&jobs[9].worked, 1);
    pool_stop(pool);
    pool_take(pool);
    assert_int_equal(atomic_load(&running), 2);
    assert_int_equal(thens(), 10);
    pool_destroy(pool);
}

static void stopping_leaves_out_what_has_not_begun_and_all_that_comes(void **state)
{
    (void)state;
    struct pool *pool = pool_create(1, wake, &wakes);
    atomic_store(&blocked, true);
    pool_add(pool, AUTH_LANE_COMPUTE, job_of(0));
    wait_for(&running, 1);
    pool_add(pool, AUTH_LANE_COMPUTE, job_of(1));
    atomic_store(&jobs[1].cancelled, true);
    atomic_store(&blocked, false);
    pool_stop(pool);
    pool_add(pool, AUTH_LANE_WAIT, job_of(2));
    pool_take(pool);
    assert_int_equal(thens(), 3);
    assert_int_equal(atomic_load(&running), 1);
    pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(all_jobs_are_done_once_at_low_priority_and_come_back, reset),
        cmocka_unit_test_setup(a_lane_that_hangs_does_not_hold_up_the_other, reset),
        cmocka_unit_test_setup(cancelled_jobs_come_back_without_their_work, reset),
        cmocka_unit_test_setup(stopping_leaves_out_what_has_not_begun_and_all_that_comes, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
