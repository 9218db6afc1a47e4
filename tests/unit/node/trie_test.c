#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "node/trie.h"
#include "tests/unit/node/index_support.h"

struct own_node {
    struct trie_node trie;
    _Atomic uint32_t used;
};

static struct trie trie;

static bool is_empty(const struct trie_node *node)
{
    return atomic_load(&container_of(node, const struct own_node, trie)->used) == 0;
}

static struct trie_node *insert(const char *path)
{
    struct trie_node *node = trie_insert(&trie, slice_text(path));
    atomic_store(&container_of(node, struct own_node, trie)->used, 1);
    return node;
}

static struct trie_node *find(const char *path)
{
    return trie_find(&trie, slice_text(path));
}

static bool release(struct trie_node *node)
{
    atomic_store(&container_of(node, struct own_node, trie)->used, 0);
    return trie_prune(&trie, node, is_empty);
}

static int set_up(void **state)
{
    (void)state;
    reclaim_thread_register();
    trie_init(&trie, sizeof(struct own_node));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    reclaim_thread_unregister();
    reclaim_barrier();
    trie_fini(&trie, NULL);
    return 0;
}

static void a_path_is_found_after_it_was_inserted(void **state)
{
    (void)state;
    assert_null(find("a/b/c"));
    struct trie_node *node = insert("a/b/c");
    assert_ptr_equal(find("a/b/c"), node);
    assert_ptr_equal(trie_insert(&trie, slice_text("a/b/c")), node);
    assert_non_null(find("a/b"));
    assert_null(find("a/b/c/d"));
    assert_null(find("a/c"));
    assert_null(find("b"));
    assert_int_equal(trie.nodes, 3);
}

static void a_new_node_is_zero_behind_the_part_of_the_trie(void **state)
{
    (void)state;
    struct trie_node *node = trie_insert(&trie, slice_text("x"));
    assert_int_equal(container_of(node, struct own_node, trie)->used, 0);
}

static void empty_levels_are_levels(void **state)
{
    (void)state;
    struct trie_node *both = insert("/");
    struct trie_node *before = insert("/a");
    struct trie_node *after = insert("a/");
    struct trie_node *between = insert("a//b");
    assert_ptr_equal(find("/"), both);
    assert_ptr_equal(find("/a"), before);
    assert_ptr_equal(find("a/"), after);
    assert_ptr_equal(find("a//b"), between);
    assert_ptr_equal(between->parent, after);
    assert_null(find("a/b"));
    assert_null(find("//"));
}

static void wildcards_among_the_children_are_flagged(void **state)
{
    (void)state;
    struct trie_node *plus = insert("a/+");
    struct trie_node *hash = insert("a/#");
    insert("a/b");
    struct trie_node *a = find("a");
    assert_int_equal(a->flags, TRIE_HAS_PLUS | TRIE_HAS_HASH);
    assert_true(release(plus));
    assert_int_equal(a->flags, TRIE_HAS_HASH);
    assert_true(release(hash));
    assert_int_equal(a->flags, 0);
}

static void pruning_takes_what_is_empty_and_nothing_else(void **state)
{
    (void)state;
    struct trie_node *deep = insert("a/b/c/d");
    struct trie_node *used = insert("a/b");
    struct trie_node *other = insert("x");
    assert_true(release(deep));
    assert_int_equal(trie.nodes, 3);
    assert_null(find("a/b/c"));
    assert_ptr_equal(find("a/b"), used);
    assert_true(release(used));
    assert_null(find("a"));
    assert_ptr_equal(find("x"), other);
    assert_int_equal(trie.nodes, 1);
}

static void a_node_with_children_stays(void **state)
{
    (void)state;
    struct trie_node *parent = insert("a");
    struct trie_node *child = insert("a/b");
    assert_false(release(parent));
    assert_ptr_equal(find("a"), parent);
    assert_true(release(child));
    assert_null(find("a"));
    assert_int_equal(trie.nodes, 0);
}

static void a_used_node_stays(void **state)
{
    (void)state;
    struct trie_node *node = insert("a");
    assert_false(trie_prune(&trie, node, is_empty));
    assert_ptr_equal(find("a"), node);
}

static void what_a_reader_holds_is_whole_until_the_end_of_its_section(void **state)
{
    (void)state;
    struct trie_node *node = insert("a/b");
    reclaim_enter();
    assert_true(release(node));
    assert_true(slice_equal(trie_level(node), slice_text("b")));
    reclaim_leave();
}

#define WIDE 10000

static void check_children_once(const struct trie_node *node, uint32_t expected)
{
    uint32_t seen = 0;
    struct trie_cursor cursor = trie_children(node);
    for (struct trie_node *child; (child = trie_next_child(&cursor)) != NULL;) {
        assert_ptr_equal(trie_child(node, trie_level(child)), child);
        assert_ptr_equal(child->parent, node);
        seen++;
    }
    assert_int_equal(seen, expected);
}

static void a_wide_node_grows_and_shrinks(void **state)
{
    (void)state;
    static struct trie_node *nodes[WIDE];
    char path[32];
    for (int i = 0; i < WIDE; i++) {
        (void)snprintf(path, sizeof(path), "wide/%d", i);
        nodes[i] = insert(path);
    }
    check_children_once(find("wide"), WIDE);
    for (int i = 0; i < WIDE; i++) {
        if (i % 100 != 0) {
            assert_true(release(nodes[i]));
        }
    }
    check_children_once(find("wide"), WIDE / 100);
    for (int i = 0; i < WIDE; i++) {
        (void)snprintf(path, sizeof(path), "wide/%d", i);
        assert_ptr_equal(find(path), i % 100 == 0 ? nodes[i] : NULL);
    }
}

static void children_that_come_and_go_leave_no_trace(void **state)
{
    (void)state;
    char path[32];
    insert("busy/stays");
    for (int i = 0; i < 20000; i++) {
        (void)snprintf(path, sizeof(path), "busy/%d", i);
        assert_true(release(insert(path)));
    }
    check_children_once(find("busy"), 1);
    assert_non_null(find("busy/stays"));
}

/* A limit of levels is the caller's business; without one nothing may overflow the stack. */
static void a_path_of_thirty_thousand_levels_is_a_path(void **state)
{
    (void)state;
    static char path[60001];
    for (size_t i = 0; i < sizeof(path) - 2; i += 2) {
        path[i] = 'x';
        path[i + 1] = '/';
    }
    path[sizeof(path) - 2] = '\0';
    struct trie_node *node = insert(path);
    assert_ptr_equal(find(path), node);
    assert_true(release(node));
    assert_int_equal(trie.nodes, 0);
    insert(path); /* and trie_fini has to take it apart */
}

/* ---- against a naive model ------------------------------------------------------------------- */

#define MODEL_MAX 400

struct model_path {
    char path[RANDOM_TEXT_MAX];
    struct trie_node *node; /* NULL: not inserted */
};

static struct model_path model[MODEL_MAX];
static int model_count;

static struct model_path *model_of(const char *path)
{
    for (int i = 0; i < model_count; i++) {
        if (strcmp(model[i].path, path) == 0) {
            return &model[i];
        }
    }
    if (model_count == MODEL_MAX) {
        return NULL;
    }
    strcpy(model[model_count].path, path);
    return &model[model_count++];
}

static void check_model(void)
{
    for (int i = 0; i < model_count; i++) {
        struct trie_node *node = find(model[i].path);
        if (model[i].node != NULL) {
            assert_ptr_equal(node, model[i].node);
        } else {
            /* Not there, or a part of longer paths only. */
            assert_true(node == NULL || (is_empty(node) && trie_children(node).children != 0));
        }
    }
}

static void random_changes_agree_with_a_list_of_paths(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    model_count = 0;
    for (int round = 0; round < 20000; round++) {
        char path[RANDOM_TEXT_MAX];
        random_filter(&random, path);
        struct model_path *entry = model_of(path);
        if (entry == NULL) {
            entry = &model[random_below(&random, MODEL_MAX)];
        }
        if (entry->node == NULL) {
            entry->node = insert(entry->path);
        } else {
            (void)release(entry->node);
            entry->node = NULL;
        }
        if (round % 200 == 0) {
            check_model();
        }
    }
    for (int i = 0; i < model_count; i++) {
        if (model[i].node != NULL) {
            (void)release(model[i].node);
        }
    }
    assert_int_equal(trie.nodes, 0);
}

/* ---- readers meanwhile ----------------------------------------------------------------------- */

#define READERS 3
#define STABLE 64

static _Atomic bool stop;

struct reader {
    pthread_t thread;
    unsigned lost;   /* stable paths that were not found */
    unsigned broken; /* nodes that were not what they should be */
};

static void *read_paths(void *arg)
{
    struct reader *reader = arg;
    char path[32];
    reclaim_thread_register();
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        reclaim_enter();
        for (int i = 0; i < STABLE; i++) {
            (void)snprintf(path, sizeof(path), "s/%d/end", i);
            reader->lost += find(path) == NULL;
            (void)snprintf(path, sizeof(path), "s/%d/moving/x", i);
            const struct trie_node *node = find(path);
            reader->broken += node != NULL && !slice_equal(trie_level(node), slice_text("x"));
        }
        unsigned seen = 0;
        struct trie_cursor cursor = trie_children(find("s"));
        for (struct trie_node *child; (child = trie_next_child(&cursor)) != NULL;) {
            seen += child->level_len <= 2; /* the stable ones; those that come and go are longer */
        }
        reader->lost += seen != STABLE;
        reclaim_leave();
    }
    reclaim_thread_unregister();
    return NULL;
}

static void readers_always_find_what_stays_while_a_writer_changes_the_rest(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    char path[32];
    for (int i = 0; i < STABLE; i++) {
        (void)snprintf(path, sizeof(path), "s/%d/end", i);
        insert(path);
    }
    struct reader readers[READERS] = {0};
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_paths, &readers[i]), 0);
    }
    static struct trie_node *moving[STABLE];
    static struct trie_node *wide[STABLE * 4];
    for (int round = 0; round < 30000; round++) {
        uint32_t i = random_below(&random, STABLE);
        (void)snprintf(path, sizeof(path), "s/%u/moving/x", (unsigned)i);
        if (moving[i] == NULL) {
            moving[i] = insert(path);
        } else {
            (void)release(moving[i]);
            moving[i] = NULL;
        }
        i = random_below(&random, STABLE * 4);
        (void)snprintf(path, sizeof(path), "s/wide%u", (unsigned)i);
        if (wide[i] == NULL) {
            wide[i] = insert(path);
        } else {
            (void)release(wide[i]);
            wide[i] = NULL;
        }
    }
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_int_equal(readers[i].lost, 0);
        assert_int_equal(readers[i].broken, 0);
    }
}

#define TRIE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRIE_TEST(a_path_is_found_after_it_was_inserted),
        TRIE_TEST(a_new_node_is_zero_behind_the_part_of_the_trie),
        TRIE_TEST(empty_levels_are_levels),
        TRIE_TEST(wildcards_among_the_children_are_flagged),
        TRIE_TEST(pruning_takes_what_is_empty_and_nothing_else),
        TRIE_TEST(a_node_with_children_stays),
        TRIE_TEST(a_used_node_stays),
        TRIE_TEST(what_a_reader_holds_is_whole_until_the_end_of_its_section),
        TRIE_TEST(a_wide_node_grows_and_shrinks),
        TRIE_TEST(children_that_come_and_go_leave_no_trace),
        TRIE_TEST(a_path_of_thirty_thousand_levels_is_a_path),
        TRIE_TEST(random_changes_agree_with_a_list_of_paths),
        TRIE_TEST(readers_always_find_what_stays_while_a_writer_changes_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
