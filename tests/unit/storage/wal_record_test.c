#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "storage/wal_record.h"

static uint32_t room[WAL_RECORD_IDS_MAX];
static uint32_t some_ids[WAL_RECORD_IDS_MAX + 10];

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static uint64_t seed_of_run(void)
{
    const char *given = getenv("PULSE_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 88172645463325252u;
    print_message("PULSE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

/* ---- operations, field by field -------------------------------------------------------------- */

/* A number of at most `bits` bits: often small, often the highest. */
static uint64_t random_number(uint64_t *state, unsigned bits)
{
    uint64_t highest = bits == 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
    switch (random_next(state) % 8) {
    case 0:
        return 0;
    case 1:
        return highest;
    case 2:
        return highest - 1;
    default:
        return (random_next(state) & highest) >> random_next(state) % bits;
    }
}

static void put_random(struct operation *operation, const struct operation_field *field,
                       uint64_t *state)
{
    static const uint8_t text[300] = "payload and topic and whatever else";
    uint8_t *at = (uint8_t *)operation + field->offset;
    uint64_t number = random_number(state, field->kind == OPERATION_U16   ? 16
                                           : field->kind == OPERATION_U32 ? 32
                                           : field->kind == OPERATION_U64 ? 64
                                                                          : 8);
    switch (field->kind) {
    case OPERATION_U8:
        *at = (uint8_t)number;
        break;
    case OPERATION_BOOL:
        *(bool *)at = number % 2 == 1;
        break;
    case OPERATION_U16:
        *(uint16_t *)(void *)at = (uint16_t)number;
        break;
    case OPERATION_U32:
        *(uint32_t *)(void *)at = (uint32_t)number;
        break;
    case OPERATION_U64:
        *(uint64_t *)(void *)at = number;
        break;
    case OPERATION_TEXT:
    case OPERATION_BYTES:
        *(struct slice *)(void *)at = slice_of(text, number % 3 == 0 ? number : number % 40);
        break;
    case OPERATION_IDS:
        *(const uint32_t **)(void *)at = some_ids;
        operation->subscription_id_count = number % 20;
        break;
    }
}

static void assert_same_field(const struct operation *a, const struct operation *b,
                              const struct operation_field *field)
{
    const uint8_t *left = (const uint8_t *)a + field->offset;
    const uint8_t *right = (const uint8_t *)b + field->offset;
    static const size_t sizes[] = {[OPERATION_U8] = 1,
                                   [OPERATION_BOOL] = sizeof(bool),
                                   [OPERATION_U16] = 2,
                                   [OPERATION_U32] = 4,
                                   [OPERATION_U64] = 8};
    switch (field->kind) {
    case OPERATION_U8:
    case OPERATION_BOOL:
    case OPERATION_U16:
    case OPERATION_U32:
    case OPERATION_U64:
        assert_memory_equal(left, right, sizes[field->kind]);
        break;
    case OPERATION_TEXT:
    case OPERATION_BYTES:
        assert_true(slice_equal(*(const struct slice *)(const void *)left,
                                *(const struct slice *)(const void *)right));
        break;
    case OPERATION_IDS:
        assert_int_equal(a->subscription_id_count, b->subscription_id_count);
        for (size_t i = 0; i < a->subscription_id_count; i++) {
            assert_int_equal(a->subscription_ids[i], b->subscription_ids[i]);
        }
        break;
    }
}

static void assert_same(const struct operation *a, const struct operation *b)
{
    assert_int_equal(a->type, b->type);
    const struct operation_info *info = operation_info(a->type);
    for (size_t i = 0; i < info->field_count; i++) {
        assert_same_field(a, b, &info->fields[i]);
    }
}

static struct operation random_operation(uint64_t *state)
{
    struct operation operation = {.type =
                                      (enum operation_type)(random_next(state) % OPERATION_TYPES)};
    const struct operation_info *info = operation_info(operation.type);
    for (size_t i = 0; i < info->field_count; i++) {
        put_random(&operation, &info->fields[i], state);
    }
    return operation;
}

/* A block of exactly the record's size, so that a write or read outside shows. */
static struct slice encoded(const struct operation *operation)
{
    size_t size = wal_record_size(operation);
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    assert_ptr_equal(wal_record_encode(operation, bytes), bytes + size);
    return slice_of(bytes, size);
}

static void drop(struct slice record)
{
    free((void *)(uintptr_t)record.data);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void what_was_encoded_means_the_same_again(void **state)
{
    (void)state;
    uint64_t random = seed_of_run();
    for (unsigned round = 0; round < 20000; round++) {
        struct operation operation = random_operation(&random);
        struct slice record = encoded(&operation);
        struct operation again;
        size_t len = 0;
        assert_int_equal(wal_record_decode(record, &again, room, &len), ERR_OK);
        assert_int_equal(len, record.len);
        assert_same(&operation, &again);
        drop(record);
    }
}

static void a_record_that_is_cut_short_is_refused(void **state)
{
    (void)state;
    uint64_t random = seed_of_run();
    for (unsigned round = 0; round < 500; round++) {
        struct operation operation = random_operation(&random);
        struct slice record = encoded(&operation);
        for (size_t len = 0; len < record.len; len++) {
            uint8_t *part = malloc(len);
            assert_true(part != NULL || len == 0);
            if (len > 0) {
                memcpy(part, record.data, len);
            }
            struct operation again;
            size_t taken = 12345;
            assert_int_equal(wal_record_decode(slice_of(part, len), &again, room, &taken),
                             ERR_DAMAGED);
            assert_int_equal(taken, 12345);
            free(part);
        }
        drop(record);
    }
}

static void what_is_accepted_is_what_encoding_gives(void **state)
{
    (void)state;
    uint64_t random = seed_of_run();
    unsigned accepted = 0;
    for (unsigned round = 0; round < 20000; round++) {
        struct operation operation = random_operation(&random);
        struct slice record = encoded(&operation);
        uint8_t *bytes = (uint8_t *)(uintptr_t)record.data;
        bytes[random_next(&random) % record.len] = (uint8_t)random_next(&random);
        struct operation read;
        size_t len = 0;
        if (wal_record_decode(record, &read, room, &len) == ERR_OK) {
            struct slice again = encoded(&read);
            assert_true(slice_equal(again, slice_of(record.data, len)));
            drop(again);
            accepted++;
        }
        drop(record);
    }
    assert_in_range(accepted, 1000, 19999);
}

static void assert_refused(const void *bytes, size_t len)
{
    struct operation operation;
    size_t taken;
    assert_int_equal(wal_record_decode(slice_of(bytes, len), &operation, room, &taken),
                     ERR_DAMAGED);
}

static void numbers_are_accepted_in_their_shortest_form_only(void **state)
{
    (void)state;
    struct operation operation;
    size_t len;
    const uint8_t shortest[] = {OPERATION_SESSION_DROP, 6 << 1 | 1}; /* plus one: session 5 */
    assert_int_equal(wal_record_decode(slice_of(shortest, 2), &operation, room, &len), ERR_OK);
    assert_int_equal(operation.session, 5);
    const uint8_t two[] = {OPERATION_SESSION_DROP, 6 << 2 | 2, 0};
    assert_refused(two, sizeof(two));
    const uint8_t nine[] = {OPERATION_SESSION_DROP, 0, 6, 0, 0, 0, 0, 0, 0, 0};
    assert_refused(nine, sizeof(nine));
}

static void values_out_of_range_are_refused(void **state)
{
    (void)state;
    const uint8_t unknown[] = {OPERATION_TYPES, 3};
    assert_refused(unknown, sizeof(unknown));
    const uint8_t engines_own[] = {0xf0, 3};
    assert_refused(engines_own, sizeof(engines_own));
    /* a boolean of 2 */
    const uint8_t will[] = {OPERATION_WILL_PUT, 3, 3, 3, 2, 3};
    assert_refused(will, sizeof(will));
    /* a packet id of 65,536 */
    const uint8_t packet_id[] = {OPERATION_INBOUND_QOS2_PUT, 3, 0x04, 0x00, 0x08};
    assert_refused(packet_id, sizeof(packet_id));
    /* a text that is longer than all there is */
    const uint8_t text[] = {OPERATION_RETAINED_DROP, 5 << 1 | 1, 'a', 'b', 'c', 'd'};
    assert_refused(text, sizeof(text));
}

static void frequent_records_are_small(void **state)
{
    (void)state;
    struct operation push = {.type = OPERATION_QUEUE_PUSH,
                             .session = 9000,
                             .position = 100,
                             .message = 1000000,
                             .qos = 1};
    assert_int_equal(wal_record_size(&push), 1 + 2 + 1 + 3 + 4 + 1);
    struct operation put = {.type = OPERATION_MESSAGE_PUT,
                            .message = 1000000,
                            .topic = slice_text("a/topic"),
                            .expires_at_ms = OPERATION_NEVER_MS};
    assert_int_equal(wal_record_size(&put), 1 + 3 + 8 + 1 + 1 + 2 + 1 + 1);
}

static void subscription_identifiers_beyond_the_limit_are_left_out(void **state)
{
    (void)state;
    struct operation push = {.type = OPERATION_QUEUE_PUSH,
                             .session = 1,
                             .position = 1,
                             .subscription_ids = some_ids,
                             .subscription_id_count = ARRAY_COUNT(some_ids)};
    struct slice record = encoded(&push);
    struct operation again;
    size_t len;
    assert_int_equal(wal_record_decode(record, &again, room, &len), ERR_OK);
    assert_int_equal(again.subscription_id_count, WAL_RECORD_IDS_MAX);
    assert_int_equal(again.subscription_ids[WAL_RECORD_IDS_MAX - 1],
                     some_ids[WAL_RECORD_IDS_MAX - 1]);
    drop(record);
}

static int fill_ids(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(some_ids); i++) {
        some_ids[i] = (uint32_t)(i * i + 1);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_encoded_means_the_same_again),
        cmocka_unit_test(a_record_that_is_cut_short_is_refused),
        cmocka_unit_test(what_is_accepted_is_what_encoding_gives),
        cmocka_unit_test(numbers_are_accepted_in_their_shortest_form_only),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(frequent_records_are_small),
        cmocka_unit_test(subscription_identifiers_beyond_the_limit_are_left_out),
    };
    return cmocka_run_group_tests(tests, fill_ids, NULL);
}
