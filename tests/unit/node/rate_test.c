#include "node/rate.h"

#include "tests/unit/node/node_support.h"

static const struct rate_limit ten_a_second = {.per_second = 10, .burst = 5};

static void a_zeroed_rate_is_a_full_bucket(void **state)
{
    (void)state;
    struct rate rate = {0};
    assert_true(rate_full(&rate, &ten_a_second, 0));
    for (int i = 0; i < 5; i++) {
        assert_true(rate_try(&rate, &ten_a_second, 1, 7));
    }
    assert_false(rate_try(&rate, &ten_a_second, 1, 7));
    assert_false(rate_full(&rate, &ten_a_second, 7));
}

static void a_bucket_fills_as_time_goes_by(void **state)
{
    (void)state;
    struct rate rate = {0};
    assert_true(rate_try(&rate, &ten_a_second, 5, 1000));
    assert_false(rate_try(&rate, &ten_a_second, 1, 1099));
    assert_true(rate_try(&rate, &ten_a_second, 1, 1100));
    assert_false(rate_try(&rate, &ten_a_second, 1, 1100));
    assert_true(rate_try(&rate, &ten_a_second, 2, 1300));
    assert_false(rate_full(&rate, &ten_a_second, 1799));
    assert_true(rate_full(&rate, &ten_a_second, 1800));
}

static void a_bucket_holds_no_more_than_its_burst(void **state)
{
    (void)state;
    struct rate rate = {0};
    assert_true(rate_try(&rate, &ten_a_second, 1, 1000));
    assert_false(rate_try(&rate, &ten_a_second, 6, 1000000));
    assert_true(rate_try(&rate, &ten_a_second, 5, 1000000));
    assert_false(rate_try(&rate, &ten_a_second, 1, 1000000));
}

static void what_is_refused_takes_nothing(void **state)
{
    (void)state;
    struct rate rate = {0};
    for (int i = 0; i < 100; i++) {
        assert_false(rate_try(&rate, &ten_a_second, 6, 1000));
    }
    assert_true(rate_try(&rate, &ten_a_second, 5, 1000));
}

static void what_was_taken_too_much_has_to_be_waited_for(void **state)
{
    (void)state;
    struct rate rate = {0};
    assert_int_equal(rate_take(&rate, &ten_a_second, 5, 1000), 0);
    assert_int_equal(rate_take(&rate, &ten_a_second, 1, 1000), 100);
    assert_int_equal(rate_take(&rate, &ten_a_second, 0, 1060), 40);
    assert_int_equal(rate_take(&rate, &ten_a_second, 0, 1099), 1);
    assert_int_equal(rate_take(&rate, &ten_a_second, 0, 1100), 0);
    assert_int_equal(rate_take(&rate, &ten_a_second, 1000, 1100), 100000);
    assert_false(rate_try(&rate, &ten_a_second, 1, 101100));
    assert_true(rate_try(&rate, &ten_a_second, 1, 101200));
}

/* A third of a thousandth is missing after 333 ms. */
static void a_wait_is_rounded_up(void **state)
{
    (void)state;
    struct rate_limit three = {.per_second = 3, .burst = 0};
    struct rate rate = {0};
    assert_int_equal(rate_take(&rate, &three, 1, 1000), 334);
    assert_int_equal(rate_take(&rate, &three, 0, 1333), 1);
    assert_int_equal(rate_take(&rate, &three, 0, 1334), 0);
}

static void no_limit_is_no_limit(void **state)
{
    (void)state;
    struct rate_limit none = {0};
    struct rate rate = {0};
    assert_int_equal(rate_take(&rate, &none, UINT64_MAX, 1), 0);
    assert_true(rate_try(&rate, &none, UINT64_MAX, 1));
    assert_true(rate_full(&rate, &none, 1));
}

static void time_that_goes_back_stands_still(void **state)
{
    (void)state;
    struct rate rate = {0};
    assert_true(rate_try(&rate, &ten_a_second, 5, 1000));
    assert_false(rate_try(&rate, &ten_a_second, 1, 0));
    assert_false(rate_try(&rate, &ten_a_second, 1, 1099));
    assert_true(rate_try(&rate, &ten_a_second, 1, 1100));
}

static void large_numbers_saturate(void **state)
{
    (void)state;
    struct rate_limit huge = {.per_second = UINT64_MAX, .burst = UINT64_MAX};
    struct rate rate = {0};
    assert_int_equal(rate_take(&rate, &huge, UINT64_MAX, 1), 0);
    assert_int_equal(rate_take(&rate, &huge, UINT64_MAX, 2), 0);

    struct rate_limit slow = {.per_second = 1, .burst = 1};
    struct rate debtor = {0};
    uint64_t wait = rate_take(&debtor, &slow, UINT64_MAX, 1);
    assert_true(wait == UINT64_MAX - 1000);
    assert_true(rate_take(&debtor, &slow, UINT64_MAX, 1) == wait);
    assert_false(rate_full(&debtor, &slow, UINT64_MAX));
}

/* Over a long time exactly what the limit says passes, whatever the steps are. */
static void in_the_long_run_the_limit_is_met(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    for (int round = 0; round < 100; round++) {
        struct rate_limit limit = {.per_second = 1 + random_below(&random, 5000),
                                   .burst = 6 + random_below(&random, 100)};
        struct rate rate = {0};
        uint64_t now_ms = random_below(&random, 1000000);
        uint64_t start_ms = now_ms;
        uint64_t passed = 0;
        while (now_ms < start_ms + 100000) {
            uint64_t count = random_below(&random, 20);
            passed += count;
            now_ms += rate_take(&rate, &limit, count, now_ms);
        }
        uint64_t due = (now_ms - start_ms) * limit.per_second / 1000 + limit.burst;
        assert_in_range(
            passed, due > limit.per_second / 500 + 20 ? due - limit.per_second / 500 - 20 : 0, due);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_zeroed_rate_is_a_full_bucket),
        cmocka_unit_test(a_bucket_fills_as_time_goes_by),
        cmocka_unit_test(a_bucket_holds_no_more_than_its_burst),
        cmocka_unit_test(what_is_refused_takes_nothing),
        cmocka_unit_test(what_was_taken_too_much_has_to_be_waited_for),
        cmocka_unit_test(a_wait_is_rounded_up),
        cmocka_unit_test(no_limit_is_no_limit),
        cmocka_unit_test(time_that_goes_back_stands_still),
        cmocka_unit_test(large_numbers_saturate),
        cmocka_unit_test(in_the_long_run_the_limit_is_met),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
