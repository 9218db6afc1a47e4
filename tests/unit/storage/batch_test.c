#include "tests/unit/storage/storage_stage_support.h"

#include "storage/batch.h"

static const struct operation three[] = {
    {.type = OPERATION_SESSION_PUT, .session = 1},
    {.type = OPERATION_MESSAGE_PUT, .message = 2},
    {.type = OPERATION_QUEUE_PUSH, .session = 1, .position = 3, .message = 2},
};

static void assert_walk(struct batch *batch, const struct operation *expected, size_t count)
{
    struct operation operation;
    for (size_t i = 0; i < count; i++) {
        assert_true(batch->next(batch, &operation));
        assert_int_equal(operation.type, expected[i].type);
        assert_int_equal(operation.message, expected[i].message);
        assert_int_equal(operation.position, expected[i].position);
    }
    assert_false(batch->next(batch, &operation));
}

static void an_array_comes_out_in_its_order(void **state)
{
    (void)state;
    struct array_batch batch;
    array_batch_init(&batch, three, 3);
    assert_walk(&batch.batch, three, 3);
}

static void the_end_stays_the_end(void **state)
{
    (void)state;
    struct array_batch batch;
    array_batch_init(&batch, three, 1);
    assert_walk(&batch.batch, three, 1);
    struct operation operation;
    assert_false(batch.batch.next(&batch.batch, &operation));
}

static void rewound_it_begins_anew(void **state)
{
    (void)state;
    struct array_batch batch;
    struct operation operation;
    array_batch_init(&batch, three, 3);
    assert_true(batch.batch.next(&batch.batch, &operation));
    batch.batch.rewind(&batch.batch); /* in the middle */
    assert_walk(&batch.batch, three, 3);
    batch.batch.rewind(&batch.batch); /* at the end */
    assert_walk(&batch.batch, three, 3);
}

static void an_empty_one_has_nothing(void **state)
{
    (void)state;
    struct array_batch batch;
    array_batch_init(&batch, NULL, 0);
    assert_walk(&batch.batch, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_array_comes_out_in_its_order),
        cmocka_unit_test(the_end_stays_the_end),
        cmocka_unit_test(rewound_it_begins_anew),
        cmocka_unit_test(an_empty_one_has_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
