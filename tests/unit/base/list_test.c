#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

struct item {
    int value;
    struct list node;
};

static void assert_values(const struct list *head, const int *values, size_t count)
{
    size_t seen = 0;
    list_foreach(node, (struct list *)head)
    {
        assert_true(seen < count);
        assert_int_equal(list_entry(node, struct item, node)->value, values[seen]);
        seen++;
    }
    assert_int_equal(seen, count);

    /* The other way round the same ones are there. */
    for (const struct list *node = head->prev; node != head; node = node->prev) {
        seen--;
        assert_int_equal(list_entry(node, struct item, node)->value, values[seen]);
    }
    assert_int_equal(seen, 0);
}

static void a_new_list_is_empty(void **state)
{
    (void)state;
    struct list head;
    list_init(&head);
    assert_true(list_empty(&head));
    assert_values(&head, NULL, 0);
}

static void items_keep_the_order_in_which_they_came(void **state)
{
    (void)state;
    struct list head;
    struct item items[3] = {{.value = 1}, {.value = 2}, {.value = 3}};
    list_init(&head);
    for (size_t i = 0; i < ARRAY_COUNT(items); i++) {
        list_append(&head, &items[i].node);
    }
    assert_false(list_empty(&head));
    assert_values(&head, (const int[]){1, 2, 3}, 3);
}

static void items_can_be_removed_at_every_place(void **state)
{
    (void)state;
    struct list head;
    struct item items[4] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
    list_init(&head);
    for (size_t i = 0; i < ARRAY_COUNT(items); i++) {
        list_append(&head, &items[i].node);
    }
    list_remove(&items[1].node);
    assert_values(&head, (const int[]){1, 3, 4}, 3);
    list_remove(&items[0].node);
    assert_values(&head, (const int[]){3, 4}, 2);
    list_remove(&items[3].node);
    assert_values(&head, (const int[]){3}, 1);
    list_remove(&items[2].node);
    assert_true(list_empty(&head));
}

static void removing_twice_is_harmless(void **state)
{
    (void)state;
    struct list head;
    struct item items[2] = {{.value = 1}, {.value = 2}};
    list_init(&head);
    list_append(&head, &items[0].node);
    list_append(&head, &items[1].node);
    list_remove(&items[0].node);
    list_remove(&items[0].node);
    assert_values(&head, (const int[]){2}, 1);
}

static void a_removed_item_can_join_again(void **state)
{
    (void)state;
    struct list head;
    struct item items[2] = {{.value = 1}, {.value = 2}};
    list_init(&head);
    list_append(&head, &items[0].node);
    list_append(&head, &items[1].node);
    list_remove(&items[0].node);
    list_append(&head, &items[0].node);
    assert_values(&head, (const int[]){2, 1}, 2);
}

static void the_visited_item_may_be_removed(void **state)
{
    (void)state;
    struct list head;
    struct item items[5] = {{.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}, {.value = 5}};
    list_init(&head);
    for (size_t i = 0; i < ARRAY_COUNT(items); i++) {
        list_append(&head, &items[i].node);
    }
    list_foreach(node, &head)
    {
        if (list_entry(node, struct item, node)->value % 2 == 1) {
            list_remove(node);
        }
    }
    assert_values(&head, (const int[]){2, 4}, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_list_is_empty),
        cmocka_unit_test(items_keep_the_order_in_which_they_came),
        cmocka_unit_test(items_can_be_removed_at_every_place),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(a_removed_item_can_join_again),
        cmocka_unit_test(the_visited_item_may_be_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
