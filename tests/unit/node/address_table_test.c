#include "node/address_table.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/un.h>

#include "tests/unit/node/node_support.h"

static struct address_table *table_with(struct address_limits limits, const char *exempt)
{
    struct address_table *table;
    struct text error = {0};
    assert_int_equal(address_table_create(&limits, exempt, &table, &error), ERR_OK);
    return table;
}

static struct address_table *table_of_at_most(uint32_t connections_max)
{
    return table_with((struct address_limits){.connections_max = connections_max}, NULL);
}

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out;
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        out.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        out.ss_family = AF_INET6;
    }
    return out;
}

/* The n-th address of some. */
static struct sockaddr_storage numbered(uint32_t number, bool v6)
{
    struct sockaddr_storage out = {.ss_family = v6 ? AF_INET6 : AF_INET};
    uint32_t bytes = htonl(number);
    if (v6) {
        memcpy(((struct sockaddr_in6 *)&out)->sin6_addr.s6_addr + 4, &bytes, 4);
    } else {
        ((struct sockaddr_in *)&out)->sin_addr.s_addr = bytes;
    }
    return out;
}

static enum address_verdict enter_at(struct address_table *table, const char *text, uint64_t now_ms)
{
    struct sockaddr_storage from = address(text);
    return address_table_enter(table, (struct sockaddr *)&from, now_ms);
}

static enum address_verdict enter(struct address_table *table, const char *text)
{
    return enter_at(table, text, 1000);
}

static void leave(struct address_table *table, const char *text)
{
    struct sockaddr_storage from = address(text);
    address_table_leave(table, (struct sockaddr *)&from);
}

static void an_address_has_so_many_connections_at_the_same_time(void **state)
{
    (void)state;
    struct address_table *table = table_of_at_most(2);
    assert_int_equal(enter(table, "192.0.2.1"), ADDRESS_COUNTED);
    assert_int_equal(enter(table, "192.0.2.1"), ADDRESS_COUNTED);
    assert_int_equal(enter(table, "192.0.2.1"), ADDRESS_TOO_MANY);
    assert_int_equal(enter(table, "192.0.2.2"), ADDRESS_COUNTED);
    leave(table, "192.0.2.1");
    assert_int_equal(enter(table, "192.0.2.1"), ADDRESS_COUNTED);
    assert_int_equal(enter(table, "192.0.2.1"), ADDRESS_TOO_MANY);
    address_table_destroy(table);
}

static void an_address_makes_so_many_connections_a_second(void **state)
{
    (void)state;
    struct address_table *table =
        table_with((struct address_limits){.rate = {.per_second = 10, .burst = 2}}, NULL);
    assert_int_equal(enter_at(table, "192.0.2.1", 1000), ADDRESS_COUNTED);
    leave(table, "192.0.2.1");
    assert_int_equal(enter_at(table, "192.0.2.1", 1000), ADDRESS_COUNTED);
    assert_int_equal(enter_at(table, "192.0.2.1", 1099), ADDRESS_TOO_FAST);
    assert_int_equal(enter_at(table, "192.0.2.2", 1099), ADDRESS_COUNTED);
    assert_int_equal(enter_at(table, "192.0.2.1", 1100), ADDRESS_COUNTED);
    assert_int_equal(enter_at(table, "192.0.2.1", 1100), ADDRESS_TOO_FAST);
    address_table_destroy(table);
}

/* Who knocks all the time is let in as often as the limit says, not never. */
static void refused_attempts_do_not_count(void **state)
{
    (void)state;
    struct address_table *table = table_with(
        (struct address_limits){.connections_max = 1, .rate = {.per_second = 10, .burst = 1}},
        NULL);
    assert_int_equal(enter_at(table, "192.0.2.1", 1000), ADDRESS_COUNTED);
    for (uint64_t now_ms = 1000; now_ms < 1200; now_ms++) {
        assert_int_equal(enter_at(table, "192.0.2.1", now_ms), ADDRESS_TOO_MANY);
    }
    leave(table, "192.0.2.1");
    assert_int_equal(enter_at(table, "192.0.2.1", 1200), ADDRESS_COUNTED);
    leave(table, "192.0.2.1");
    for (uint64_t now_ms = 1200; now_ms < 1300; now_ms++) {
        assert_int_equal(enter_at(table, "192.0.2.1", now_ms), ADDRESS_TOO_FAST);
    }
    assert_int_equal(enter_at(table, "192.0.2.1", 1300), ADDRESS_COUNTED);
    address_table_destroy(table);
}

static void ipv6_is_counted_by_its_first_64_bits(void **state)
{
    (void)state;
    struct address_table *table = table_of_at_most(1);
    assert_int_equal(enter(table, "2001:db8:0:1::1"), ADDRESS_COUNTED);
    assert_int_equal(enter(table, "2001:db8:0:1:ffff:ffff:ffff:ffff"), ADDRESS_TOO_MANY);
    assert_int_equal(enter(table, "2001:db8:0:2::1"), ADDRESS_COUNTED);
    leave(table, "2001:db8:0:1::2");
    assert_int_equal(enter(table, "2001:db8:0:1::3"), ADDRESS_COUNTED);
    address_table_destroy(table);
}

static void ipv4_in_ipv6_is_counted_as_ipv4(void **state)
{
    (void)state;
    struct address_table *table = table_of_at_most(1);
    assert_int_equal(enter(table, "::ffff:192.0.2.1"), ADDRESS_COUNTED);
    assert_int_equal(enter(table, "192.0.2.1"), ADDRESS_TOO_MANY);
    assert_int_equal(enter(table, "::ffff:192.0.2.2"), ADDRESS_COUNTED);
    assert_int_equal(enter(table, "c000:201::"), ADDRESS_COUNTED); /* the same bits as 192.0.2.1 */
    leave(table, "192.0.2.1");
    assert_int_equal(enter(table, "::ffff:192.0.2.1"), ADDRESS_COUNTED);
    address_table_destroy(table);
}

static void exempt_networks_and_unix_sockets_are_not_counted(void **state)
{
    (void)state;
    struct address_table *table =
        table_with((struct address_limits){.connections_max = 1}, "127.0.0.0/8,::1/128");
    struct sockaddr_un unix_socket = {.sun_family = AF_UNIX};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(enter(table, "127.0.0.1"), ADDRESS_UNCOUNTED);
        assert_int_equal(enter(table, "::ffff:127.0.0.1"), ADDRESS_UNCOUNTED);
        assert_int_equal(enter(table, "::1"), ADDRESS_UNCOUNTED);
        assert_int_equal(address_table_enter(table, (struct sockaddr *)&unix_socket, 1),
                         ADDRESS_UNCOUNTED);
    }
    assert_int_equal(enter(table, "128.0.0.1"), ADDRESS_COUNTED);
    assert_int_equal(address_table_count(table), 1);
    address_table_destroy(table);
}

static void without_limits_nothing_is_counted(void **state)
{
    (void)state;
    struct address_table *table = table_of_at_most(0);
    assert_int_equal(enter(table, "192.0.2.1"), ADDRESS_UNCOUNTED);
    assert_int_equal(address_table_count(table), 0);
    address_table_destroy(table);
}

static void networks_that_are_none_are_refused(void **state)
{
    (void)state;
    struct address_table *table = NULL;
    struct text error = {0};
    struct address_limits limits = {.connections_max = 1};
    assert_int_equal(address_table_create(&limits, "10.0.0.0/33", &table, &error), ERR_SYNTAX);
    assert_non_null(strstr(error.data, "10.0.0.0/33"));
    assert_null(table);
    text_fini(&error);
    address_table_destroy(NULL);
}

/* ---- a full table ---------------------------------------------------------------------------- */

/* How many of `count` addresses are counted. */
static uint32_t enter_many(struct address_table *table, uint32_t first, uint32_t count,
                           uint64_t now_ms)
{
    uint32_t counted = 0;
    for (uint32_t i = first; i < first + count; i++) {
        struct sockaddr_storage from = numbered(i, i % 2 == 0);
        enum address_verdict verdict = address_table_enter(table, (struct sockaddr *)&from, now_ms);
        assert_true(verdict == ADDRESS_COUNTED || verdict == ADDRESS_UNCOUNTED);
        counted += verdict == ADDRESS_COUNTED;
    }
    return counted;
}

static void leave_many(struct address_table *table, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        struct sockaddr_storage from = numbered(i, i % 2 == 0);
        address_table_leave(table, (struct sockaddr *)&from);
    }
}

static void a_table_full_of_connections_lets_others_in_uncounted(void **state)
{
    (void)state;
    struct address_table *table =
        table_with((struct address_limits){.connections_max = 1, .entries_max = 1600}, NULL);
    uint32_t counted = enter_many(table, 1, 10000, 1000);
    assert_in_range(counted, 1500, 1600);
    assert_int_equal(address_table_count(table), counted);
    /* who is known is still held to its limit */
    uint32_t refused = 0;
    for (uint32_t i = 1; i <= 10000; i++) {
        struct sockaddr_storage from = numbered(i, i % 2 == 0);
        refused += address_table_enter(table, (struct sockaddr *)&from, 1000) == ADDRESS_TOO_MANY;
    }
    assert_int_equal(refused, counted);
    address_table_destroy(table);
}

static void addresses_without_connections_make_room(void **state)
{
    (void)state;
    struct address_table *table =
        table_with((struct address_limits){.connections_max = 1, .entries_max = 1600}, NULL);
    for (uint32_t round = 0; round < 20; round++) {
        assert_int_equal(enter_many(table, round * 1000 + 1, 1000, 1000 + round * 2000), 1000);
        leave_many(table, round * 1000 + 1, 1000);
    }
    assert_in_range(address_table_count(table), 1000, 1600);
    address_table_destroy(table);
}

/* A table that is attacked is not searched at each attempt. */
static void a_full_table_is_searched_once_a_second(void **state)
{
    (void)state;
    struct address_table *table =
        table_with((struct address_limits){.connections_max = 1, .entries_max = 16}, NULL);
    uint32_t counted[16];
    uint32_t count = 0;
    for (uint32_t i = 1; i <= 1000; i++) {
        if (enter_many(table, i, 1, 1000) == 1) {
            assert_true(count < 16);
            counted[count++] = i;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        leave_many(table, counted[i], 1);
    }
    assert_int_equal(count, 16);
    assert_int_equal(enter_many(table, 2000, 1000, 1999), 0);
    assert_int_equal(enter_many(table, 2000, 1000, 2000), 16);
    address_table_destroy(table);
}

/* Forgetting an address that was fast would let it be fast again. */
static void addresses_that_were_fast_are_remembered_until_they_may_be_again(void **state)
{
    (void)state;
    struct address_table *table = table_with(
        (struct address_limits){.entries_max = 16, .rate = {.per_second = 1, .burst = 10}}, NULL);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(enter_at(table, "192.0.2.1", 100000), ADDRESS_COUNTED);
        leave(table, "192.0.2.1");
    }
    assert_int_equal(enter_at(table, "192.0.2.1", 100000), ADDRESS_TOO_FAST);
    /* 16 entries, one in each part of the table: the part of this address is full */
    (void)enter_many(table, 1, 1000, 105000);
    assert_int_equal(enter_at(table, "192.0.2.1", 105000), ADDRESS_COUNTED); /* five of ten */
    for (int i = 0; i < 4; i++) {
        assert_int_equal(enter_at(table, "192.0.2.1", 105000), ADDRESS_COUNTED);
    }
    assert_int_equal(enter_at(table, "192.0.2.1", 105000), ADDRESS_TOO_FAST);
    address_table_destroy(table);
}

/* ---- against a model ------------------------------------------------------------------------- */

#define MODEL_ADDRESSES 200

struct model {
    uint32_t live;
    uint64_t used_milli;
    uint64_t at_ms;
};

static enum address_verdict model_enter(struct model *model, const struct address_limits *limits,
                                        uint64_t now_ms)
{
    uint64_t refilled = (now_ms - model->at_ms) * limits->rate.per_second;
    model->used_milli = model->used_milli > refilled ? model->used_milli - refilled : 0;
    model->at_ms = now_ms;
    if (limits->connections_max > 0 && model->live >= limits->connections_max) {
        return ADDRESS_TOO_MANY;
    }
    if (limits->rate.per_second > 0) {
        if (model->used_milli + 1000 > limits->rate.burst * 1000) {
            return ADDRESS_TOO_FAST;
        }
        model->used_milli += 1000;
    }
    model->live++;
    return ADDRESS_COUNTED;
}

/* Of a random table with random steps; it is small enough to be swept and to grow, and never full
 * of addresses that may not be forgotten. */
static void play(uint64_t *random)
{
    struct address_limits limits = {
        .connections_max = random_below(random, 6),
        .entries_max = MODEL_ADDRESSES * 16,
        .rate = {.per_second = random_below(random, 20), .burst = 1 + random_below(random, 8)}};
    if (limits.connections_max == 0 && limits.rate.per_second == 0) {
        limits.connections_max = 1;
    }
    struct address_table *table = table_with(limits, NULL);
    struct model models[MODEL_ADDRESSES] = {0};
    uint64_t now_ms = 1000;
    for (int step = 0; step < 5000; step++) {
        uint32_t i = random_below(random, MODEL_ADDRESSES);
        struct sockaddr_storage from = numbered(i, i % 3 == 0);
        if (models[i].live > 0 && random_below(random, 2) == 0) {
            models[i].live--;
            address_table_leave(table, (struct sockaddr *)&from);
        } else {
            assert_int_equal(address_table_enter(table, (struct sockaddr *)&from, now_ms),
                             model_enter(&models[i], &limits, now_ms));
        }
        now_ms += random_below(random, 10) == 0 ? random_below(random, 300) : 0;
    }
    assert_in_range(address_table_count(table), 0, MODEL_ADDRESSES);
    address_table_destroy(table);
}

static void a_table_says_what_a_naive_model_says(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (int round = 0; round < 50; round++) {
        play(&random);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

#define THREADS 4
#define STEPS 20000
#define SHARED_ADDRESSES 37
#define SHARED_MOST 2

struct contest {
    struct address_table *table;
    pthread_barrier_t start;
    _Atomic int32_t live[SHARED_ADDRESSES];
    _Atomic uint32_t refused;
    _Atomic uint32_t wrong;
};

static void contend_leave(struct contest *contest, uint32_t i)
{
    struct sockaddr_storage from = numbered(i, false);
    atomic_fetch_sub(&contest->live[i], 1);
    address_table_leave(contest->table, (struct sockaddr *)&from);
}

/* `live` is never more than what the table counts, so what it says is too many is too many. */
static bool contend_enter(struct contest *contest, uint32_t i, uint64_t now_ms)
{
    struct sockaddr_storage from = numbered(i, false);
    enum address_verdict verdict =
        address_table_enter(contest->table, (struct sockaddr *)&from, now_ms);
    if (verdict == ADDRESS_TOO_MANY) {
        atomic_fetch_add(&contest->refused, 1);
        return false;
    }
    if (verdict != ADDRESS_COUNTED || atomic_fetch_add(&contest->live[i], 1) + 1 > SHARED_MOST) {
        atomic_fetch_add(&contest->wrong, 1);
    }
    return true;
}

static void *contend(void *user)
{
    struct contest *contest = user;
    bool held[SHARED_ADDRESSES] = {0};
    uint64_t random = (uint64_t)(uintptr_t)&random;
    pthread_barrier_wait(&contest->start);
    for (uint32_t step = 0; step < STEPS; step++) {
        uint32_t i = random_below(&random, SHARED_ADDRESSES);
        if (step % 16 == 0) {
            sched_yield(); /* so that they meet, on a machine with few cores too */
        }
        if (held[i]) {
            contend_leave(contest, i);
            held[i] = false;
        } else {
            held[i] = contend_enter(contest, i, step);
        }
    }
    for (uint32_t i = 0; i < SHARED_ADDRESSES; i++) {
        if (held[i]) {
            contend_leave(contest, i);
        }
    }
    return NULL;
}

static void threads_share_the_counts(void **state)
{
    (void)state;
    static struct contest contest;
    pthread_t threads[THREADS];
    contest.table = table_of_at_most(SHARED_MOST);
    assert_int_equal(pthread_barrier_init(&contest.start, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, contend, &contest), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(contest.wrong, 0);
    assert_true(contest.refused > 0);
    /* nobody is left: each has all of its connections again, and not one more */
    for (uint32_t i = 0; i < SHARED_ADDRESSES; i++) {
        struct sockaddr_storage from = numbered(i, false);
        for (int n = 0; n < SHARED_MOST; n++) {
            assert_int_equal(address_table_enter(contest.table, (struct sockaddr *)&from, STEPS),
                             ADDRESS_COUNTED);
        }
        assert_int_equal(address_table_enter(contest.table, (struct sockaddr *)&from, STEPS),
                         ADDRESS_TOO_MANY);
    }
    pthread_barrier_destroy(&contest.start);
    address_table_destroy(contest.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_so_many_connections_at_the_same_time),
        cmocka_unit_test(an_address_makes_so_many_connections_a_second),
        cmocka_unit_test(refused_attempts_do_not_count),
        cmocka_unit_test(ipv6_is_counted_by_its_first_64_bits),
        cmocka_unit_test(ipv4_in_ipv6_is_counted_as_ipv4),
        cmocka_unit_test(exempt_networks_and_unix_sockets_are_not_counted),
        cmocka_unit_test(without_limits_nothing_is_counted),
        cmocka_unit_test(networks_that_are_none_are_refused),
        cmocka_unit_test(a_table_full_of_connections_lets_others_in_uncounted),
        cmocka_unit_test(addresses_without_connections_make_room),
        cmocka_unit_test(a_full_table_is_searched_once_a_second),
        cmocka_unit_test(addresses_that_were_fast_are_remembered_until_they_may_be_again),
        cmocka_unit_test(a_table_says_what_a_naive_model_says),
        cmocka_unit_test(threads_share_the_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
