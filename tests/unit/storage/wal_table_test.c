#include "storage/wal_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#define THINGS 500u

struct thing {
    struct wal_node node;
    unsigned key;
    bool in;
};

static struct wal_table table;
static struct thing things[THINGS];

static int set_up(void **state)
{
    (void)state;
    for (unsigned i = 0; i < THINGS; i++) {
        things[i] = (struct thing){.key = i, .node.hash = i / 5}; /* five share a hash */
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wal_table_fini(&table);
    return 0;
}

static struct thing *find(unsigned key)
{
    struct wal_node *node = wal_table_first(&table, key / 5);
    while (node != NULL && container_of(node, struct thing, node)->key != key) {
        node = wal_table_next(node, key / 5);
    }
    return node != NULL ? container_of(node, struct thing, node) : NULL;
}

static void an_empty_table_has_nothing(void **state)
{
    (void)state;
    assert_null(find(7));
    assert_int_equal(table.count, 0);
}

static void things_with_one_hash_are_told_apart(void **state)
{
    (void)state;
    unsigned seed = (unsigned)time(NULL);
    print_message("seed %u\n", seed);
    for (unsigned step = 0; step < 20000; step++) {
        struct thing *thing = &things[(unsigned)rand_r(&seed) % THINGS];
        if (thing->in) {
            wal_table_remove(&table, &thing->node);
        } else {
            assert_int_equal(wal_table_reserve(&table), ERR_OK);
            wal_table_add(&table, &thing->node);
        }
        thing->in = !thing->in;
        unsigned key = (unsigned)rand_r(&seed) % THINGS;
        assert_ptr_equal(find(key), things[key].in ? &things[key] : NULL);
    }
}

static void count_node(void *context, struct wal_node *node)
{
    (void)node;
    (*(unsigned *)context)++;
}

static void each_thing_is_visited_once(void **state)
{
    (void)state;
    unsigned count = 0;
    for (unsigned i = 0; i < THINGS; i++) {
        assert_int_equal(wal_table_reserve(&table), ERR_OK);
        wal_table_add(&table, &things[i].node);
    }
    wal_table_each(&table, count_node, &count);
    assert_int_equal(count, THINGS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_table_has_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(things_with_one_hash_are_told_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_thing_is_visited_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
