#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "base/hash.h"
#include "base/macros.h"
#include "node/auth/turns_priv.h"

static struct turns *turns;

static int make(void **state)
{
    (void)state;
    turns = turns_create();
    return 0;
}

static int end(void **state)
{
    (void)state;
    turns_destroy(turns);
    return 0;
}

static struct sockaddr_storage v4(uint32_t host)
{
    struct sockaddr_storage address = {0};
    *(struct sockaddr_in *)&address = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = (in_port_t)host, .sin_addr = {htonl(host)}};
    return address;
}

static struct sockaddr_storage v6(const char *text)
{
    struct sockaddr_storage address = {.ss_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&address)->sin6_addr), 1);
    return address;
}

static void wait_for(struct turn *turn, uint32_t host, uint64_t now_ms)
{
    struct sockaddr_storage address = v4(host);
    turns_wait(turns, &(struct turns_peer){.address = &address}, turn, now_ms);
}

static uint64_t fail_as(const struct turns_peer *peer, uint64_t name, uint64_t now_ms)
{
    struct turn turn = {.state = TURN_NONE};
    turns_wait(turns, peer, &turn, now_ms);
    assert_ptr_equal(turns_next(turns), &turn);
    uint64_t delay = turns_fail(turns, &turn, name, 100, 1000, now_ms);
    turns_leave(turns, &turn);
    return delay;
}

static uint64_t fail_once(struct sockaddr_storage address, uint64_t name, uint64_t now_ms)
{
    return fail_as(&(struct turns_peer){.address = &address}, name, now_ms);
}

static void delays_double_up_to_the_longest_and_are_forgotten(void **state)
{
    (void)state;
    static const uint64_t wanted[] = {100, 200, 400, 800, 1000, 1000, 1000};
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        assert_int_equal(fail_once(v4(1), 7, 1000), wanted[i]);
    }
    assert_int_equal(fail_once(v4(2), 7, 1000), 100);
    assert_int_equal(fail_once(v4(1), 7, 999 + TURNS_FORGET_MS), 1000);
    assert_int_equal(fail_once(v4(1), 7, 999 + 2 * TURNS_FORGET_MS), 100);
}

static void many_failures_do_not_wrap_around(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        (void)fail_once(v4(1), 7, 1000);
    }
    assert_int_equal(fail_once(v4(1), 7, 1000), 1000);
}

static void only_the_success_of_the_name_that_failed_last_forgives(void **state)
{
    (void)state;
    struct turn turn = {.state = TURN_NONE};
    (void)fail_once(v4(1), 7, 1000);
    wait_for(&turn, 1, 1000);
    assert_ptr_equal(turns_next(turns), &turn);
    turns_succeed(&turn, 8); /* somebody with an account of its own */
    turns_leave(turns, &turn);
    assert_int_equal(fail_once(v4(1), 7, 1000), 200);
    wait_for(&turn, 1, 1000);
    assert_ptr_equal(turns_next(turns), &turn);
    turns_succeed(&turn, 7);
    turns_leave(turns, &turn);
    assert_int_equal(turns_count(turns), 0);
    assert_int_equal(fail_once(v4(1), 7, 1000), 100);
}

static void so_many_are_judged_at_a_time_and_no_more(void **state)
{
    (void)state;
    struct turn all[TURNS_JUDGED + 1] = {{.state = TURN_NONE}};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        wait_for(&all[i], 1, 1000);
    }
    for (size_t i = 0; i < TURNS_JUDGED; i++) {
        assert_ptr_equal(turns_next(turns), &all[i]); /* in the order in which they came */
    }
    assert_null(turns_next(turns));
    turns_leave(turns, &all[3]);
    assert_ptr_equal(turns_next(turns), &all[TURNS_JUDGED]);
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        turns_leave(turns, &all[i]);
    }
    assert_int_equal(turns_count(turns), 0);
}

static void refusals_that_are_kept_back_hold_places(void **state)
{
    (void)state;
    struct turn all[TURNS_HELD + 1] = {{.state = TURN_NONE}};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        wait_for(&all[i], 1, 1000);
    }
    for (size_t i = 0; i < TURNS_HELD; i++) {
        struct turn *turn = turns_next(turns);
        assert_ptr_equal(turn, &all[i]);
        (void)turns_fail(turns, turn, 7, 100, 1000, 1000);
    }
    assert_null(turns_next(turns));
    turns_leave(turns, &all[0]);
    assert_ptr_equal(turns_next(turns), &all[TURNS_HELD]);
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        turns_leave(turns, &all[i]);
    }
}

static void addresses_take_turns(void **state)
{
    (void)state;
    struct turn crowd[8] = {{.state = TURN_NONE}};
    struct turn one = {.state = TURN_NONE};
    for (size_t i = 0; i < ARRAY_COUNT(crowd); i++) {
        wait_for(&crowd[i], 1, 1000);
    }
    wait_for(&one, 2, 1000);
    assert_ptr_equal(turns_next(turns), &crowd[0]);
    assert_ptr_equal(turns_next(turns), &one);
    assert_ptr_equal(turns_next(turns), &crowd[1]);
    turns_leave(turns, &one);
    for (size_t i = 0; i < ARRAY_COUNT(crowd); i++) {
        turns_leave(turns, &crowd[i]); /* most of them still in line */
    }
    assert_null(turns_next(turns));
    assert_int_equal(turns_count(turns), 0);
}

static void a_network_of_ipv6_and_a_mapped_address_count_as_one(void **state)
{
    (void)state;
    struct sockaddr_storage local = {.ss_family = AF_UNIX};
    assert_int_equal(fail_once(v6("2001:db8:1:2::1"), 7, 1000), 100);
    assert_int_equal(fail_once(v6("2001:db8:1:2:ffff::9"), 7, 1000), 200);
    assert_int_equal(fail_once(v6("2001:db8:1:3::1"), 7, 1000), 100);
    assert_int_equal(fail_once(v6("::ffff:0.0.0.5"), 7, 1000), 100);
    assert_int_equal(fail_once(v4(5), 7, 1000), 200);
    assert_int_equal(fail_once(local, 7, 1000), 100);
    assert_int_equal(fail_once(local, 7, 1000), 200);
}

static void a_shared_address_is_taken_apart_by_names(void **state)
{
    (void)state;
    struct sockaddr_storage proxy = v4(1);
    const struct turns_peer alice = {.address = &proxy, .name = 7};
    const struct turns_peer bob = {.address = &proxy, .name = 8};
    assert_int_equal(fail_as(&alice, 7, 1000), 100);
    assert_int_equal(fail_as(&alice, 7, 1000), 200);
    assert_int_equal(fail_as(&bob, 8, 1000), 100);
    assert_int_equal(fail_once(proxy, 7, 1000), 100);
}

static void the_table_is_bounded_and_cleans_itself(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < TURNS_ADDRESSES_MAX + 1000; i++) {
        (void)fail_once(v4(i), 7, 1000);
    }
    assert_int_equal(turns_count(turns), TURNS_ADDRESSES_MAX);
    uint32_t after = TURNS_ADDRESSES_MAX;
    for (uint32_t i = 0; i < 1000; i++) { /* each new one takes two old ones along */
        (void)fail_once(v4(0x10000000 + i), 7, 2000 + TURNS_FORGET_MS);
        assert_true(turns_count(turns) < after);
        after = turns_count(turns);
    }
}

int main(void)
{
    hash_seed_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(delays_double_up_to_the_longest_and_are_forgotten, make,
                                        end),
        cmocka_unit_test_setup_teardown(many_failures_do_not_wrap_around, make, end),
        cmocka_unit_test_setup_teardown(only_the_success_of_the_name_that_failed_last_forgives,
                                        make, end),
        cmocka_unit_test_setup_teardown(so_many_are_judged_at_a_time_and_no_more, make, end),
        cmocka_unit_test_setup_teardown(refusals_that_are_kept_back_hold_places, make, end),
        cmocka_unit_test_setup_teardown(addresses_take_turns, make, end),
        cmocka_unit_test_setup_teardown(a_network_of_ipv6_and_a_mapped_address_count_as_one, make,
                                        end),
        cmocka_unit_test_setup_teardown(a_shared_address_is_taken_apart_by_names, make, end),
        cmocka_unit_test_setup_teardown(the_table_is_bounded_and_cleans_itself, make, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
