#include "storage/mysql_changes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct mysql_changes changes;

static int create(void **state)
{
    (void)state;
    changes = (struct mysql_changes){.owner = "node", .row_max = 100000, .new_from = 1000};
    return 0;
}

static int destroy(void **state)
{
    (void)state;
    mysql_changes_fini(&changes);
    return 0;
}

static void gather(const struct operation *operations, size_t count)
{
    struct array_batch batch;
    array_batch_init(&batch, operations, count);
    assert_int_equal(mysql_changes_gather(&changes, &batch.batch), ERR_OK);
}

#define gather_all(operations) gather(operations, sizeof(operations) / sizeof((operations)[0]))

static uint32_t count_of(enum mysql_table table)
{
    return changes.lists[table].count;
}

static struct mysql_change only(enum mysql_table table)
{
    assert_int_equal(count_of(table), 1);
    return changes.lists[table].items[0];
}

static struct slice text_of(const struct mysql_change *change)
{
    return slice_of(changes.text.data + change->text_at, change->text_len);
}

static void assert_text(const struct mysql_change *change, const char *expected)
{
    struct slice text = text_of(change);
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
}

static struct operation on_message(enum operation_type type, uint64_t message)
{
    return (struct operation){.type = type,
                              .message = message,
                              .topic = slice_text("t"),
                              .expires_at_ms = OPERATION_NEVER_MS};
}

static struct operation on_entry(enum operation_type type, uint64_t session, uint64_t first,
                                 uint64_t last)
{
    return (struct operation){
        .type = type, .session = session, .position = first, .last = last, .message = 7};
}

static struct operation on_session(enum operation_type type, uint64_t session)
{
    return (struct operation){.type = type, .session = session, .client_id = slice_text("c")};
}

/* ---- bytes become SQL ------------------------------------------------------------------------ */

static void data_is_quoted_and_escaped(void **state)
{
    (void)state;
    struct operation put = on_message(OPERATION_MESSAGE_PUT, 1);
    put.topic = slice_text("it's");
    put.properties = slice_text("a\\b\n\"");
    put.payload = slice_of("\0x\xff'", 4);
    gather(&put, 1);
    struct mysql_change change = only(MYSQL_MESSAGES);
    assert_text(&change, "(1,'it\\'s','a\\\\b\n\"','\\0x\xff\\'',0,0,NULL,0,NULL)");
}

static void the_largest_numbers_are_written_whole(void **state)
{
    (void)state;
    struct operation put = on_message(OPERATION_MESSAGE_PUT, UINT64_MAX);
    put.publisher = UINT64_MAX - 1;
    put.expires_at_ms = 0;
    gather(&put, 1);
    struct mysql_change change = only(MYSQL_MESSAGES);
    assert_text(&change, "(18446744073709551615,'t','','',0,0,0,18446744073709551614,NULL)");
}

static void a_body_that_is_too_large_for_a_row_stands_beside_it(void **state)
{
    (void)state;
    struct operation put = on_message(OPERATION_MESSAGE_PUT, 1);
    put.properties = slice_text("abc");
    put.payload = slice_text("0123456789");
    changes.row_max = 280;
    gather(&put, 1);
    struct mysql_change change = only(MYSQL_MESSAGES);
    assert_text(&change, "(1,'t','','',0,0,NULL,0,3)");
    assert_int_equal(change.body_len, 13);
    assert_memory_equal(changes.text.data + change.body_at, "abc0123456789", 13);
}

/* ---- the last word --------------------------------------------------------------------------- */

static void rows_are_sorted_by_their_key(void **state)
{
    (void)state;
    const struct operation operations[] = {
        on_message(OPERATION_MESSAGE_PUT, 9), on_message(OPERATION_MESSAGE_PUT, 3),
        on_message(OPERATION_MESSAGE_DROP, 5), on_message(OPERATION_MESSAGE_PUT, 1)};
    gather_all(operations);
    static const uint64_t ids[] = {1, 3, 5, 9};
    assert_int_equal(count_of(MYSQL_MESSAGES), 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(changes.lists[MYSQL_MESSAGES].items[i].id, ids[i]);
    }
}

static void the_last_change_of_a_key_counts(void **state)
{
    (void)state;
    struct operation operations[3] = {on_session(OPERATION_SESSION_PUT, 1),
                                      on_session(OPERATION_SESSION_PUT, 1),
                                      on_session(OPERATION_SESSION_PUT, 2)};
    operations[1].sent_to = 77;
    gather_all(operations);
    assert_int_equal(count_of(MYSQL_SESSIONS), 2);
    assert_int_equal(changes.lists[MYSQL_SESSIONS].items[0].order, 1);
}

static void a_new_message_that_goes_at_once_leaves_nothing(void **state)
{
    (void)state;
    const struct operation operations[] = {on_message(OPERATION_MESSAGE_PUT, 1000),
                                           on_message(OPERATION_MESSAGE_DROP, 1000)};
    gather_all(operations);
    assert_int_equal(count_of(MYSQL_MESSAGES), 0);
}

static void an_old_message_that_goes_is_deleted_even_if_it_was_put_again(void **state)
{
    (void)state;
    const struct operation operations[] = {on_message(OPERATION_MESSAGE_PUT, 999),
                                           on_message(OPERATION_MESSAGE_DROP, 999)};
    gather_all(operations);
    assert_int_equal(only(MYSQL_MESSAGES).verb, MYSQL_DROP);
}

/* ---- queues ---------------------------------------------------------------------------------- */

static void what_is_pushed_and_popped_is_not_sent(void **state)
{
    (void)state;
    const struct operation operations[] = {
        on_entry(OPERATION_QUEUE_PUSH, 1, 5, 0), on_entry(OPERATION_QUEUE_PUSH, 1, 6, 0),
        on_entry(OPERATION_QUEUE_PUSH, 2, 5, 0), on_entry(OPERATION_QUEUE_POP, 1, 4, 5)};
    gather_all(operations);
    const struct mysql_change_list *queue = &changes.lists[MYSQL_QUEUE];
    assert_int_equal(queue->count, 2);
    assert_int_equal(queue->items[0].number, 6);
    assert_int_equal(queue->items[1].id, 2);
    assert_int_equal(count_of(MYSQL_QUEUE_POPS), 1);
}

static void a_push_after_the_pop_stays(void **state)
{
    (void)state;
    const struct operation operations[] = {on_entry(OPERATION_QUEUE_POP, 1, 1, 9),
                                           on_entry(OPERATION_QUEUE_PUSH, 1, 5, 0)};
    gather_all(operations);
    assert_int_equal(only(MYSQL_QUEUE).verb, MYSQL_PUT);
    assert_int_equal(only(MYSQL_QUEUE_POPS).value, 9);
}

static void a_release_of_a_push_changes_the_push(void **state)
{
    (void)state;
    const struct operation operations[] = {on_entry(OPERATION_QUEUE_PUSH, 1, 5, 0),
                                           on_entry(OPERATION_QUEUE_RELEASE, 1, 5, 0)};
    gather_all(operations);
    struct mysql_change change = only(MYSQL_QUEUE);
    assert_int_equal(change.verb, MYSQL_PUT);
    assert_true(change.released);
    assert_int_equal(change.value, 0);
}

static void a_release_alone_is_sent_unless_the_entry_is_popped(void **state)
{
    (void)state;
    const struct operation operations[] = {
        on_entry(OPERATION_QUEUE_RELEASE, 1, 5, 0), on_entry(OPERATION_QUEUE_RELEASE, 1, 6, 0),
        on_entry(OPERATION_QUEUE_POP, 1, 6, 6), on_entry(OPERATION_QUEUE_POP, 1, 8, 8),
        on_entry(OPERATION_QUEUE_RELEASE, 1, 8, 0)};
    gather_all(operations);
    struct mysql_change change = only(MYSQL_QUEUE);
    assert_int_equal(change.verb, MYSQL_RELEASE);
    assert_int_equal(change.number, 5);
}

static void pops_that_touch_become_one(void **state)
{
    (void)state;
    const struct operation operations[] = {
        on_entry(OPERATION_QUEUE_POP, 1, 3, 4), on_entry(OPERATION_QUEUE_POP, 1, 1, 2),
        on_entry(OPERATION_QUEUE_POP, 1, 2, 3), on_entry(OPERATION_QUEUE_POP, 1, 6, 6),
        on_entry(OPERATION_QUEUE_POP, 2, 7, 7)};
    gather_all(operations);
    const struct mysql_change_list *pops = &changes.lists[MYSQL_QUEUE_POPS];
    assert_int_equal(pops->count, 3);
    assert_int_equal(pops->items[0].number, 1);
    assert_int_equal(pops->items[0].value, 4);
    assert_int_equal(pops->items[1].number, 6);
    assert_int_equal(pops->items[2].id, 2);
}

/* Against a naive model: an array of what each position holds, told one operation after another. */
static void random_queues_come_to_what_they_should(void **state)
{
    (void)state;
    enum { POSITIONS = 12, OPERATIONS = 30 };
    uint64_t random = 88172645463325252u;
    for (unsigned round = 0; round < 3000; round++) {
        struct operation operations[OPERATIONS];
        /* 0: untouched, 1: gone, 2: pushed, 3: pushed and released, 4: released where it was */
        unsigned model[POSITIONS + 1] = {0};
        for (unsigned i = 0; i < OPERATIONS; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            unsigned at = 1 + (unsigned)(random >> 8) % POSITIONS;
            unsigned last = at + (unsigned)(random >> 16) % (POSITIONS + 1 - at);
            switch (random % 4) {
            case 0:
            case 1:
                operations[i] = on_entry(OPERATION_QUEUE_PUSH, 1, at, 0);
                model[at] = 2;
                break;
            case 2:
                operations[i] = on_entry(OPERATION_QUEUE_RELEASE, 1, at, 0);
                model[at] = model[at] == 2 ? 3 : (model[at] == 0 ? 4 : model[at]);
                break;
            default:
                operations[i] = on_entry(OPERATION_QUEUE_POP, 1, at, last);
                for (unsigned j = at; j <= last; j++) {
                    model[j] = 1;
                }
            }
        }
        gather_all(operations);
        unsigned found[POSITIONS + 1] = {0};
        for (uint32_t i = 0; i < count_of(MYSQL_QUEUE_POPS); i++) {
            const struct mysql_change *pop = &changes.lists[MYSQL_QUEUE_POPS].items[i];
            for (uint64_t j = pop->number; j <= pop->value; j++) {
                found[j] = 1;
            }
        }
        for (uint32_t i = 0; i < count_of(MYSQL_QUEUE); i++) {
            const struct mysql_change *change = &changes.lists[MYSQL_QUEUE].items[i];
            found[change->number] = change->verb == MYSQL_RELEASE ? 4 : 2u + change->released;
        }
        for (unsigned at = 1; at <= POSITIONS; at++) {
            if (found[at] != model[at]) {
                fail_msg("round %u position %u: %u, not %u", round, at, found[at], model[at]);
            }
        }
    }
}

/* ---- sessions that go ------------------------------------------------------------------------ */

static void nothing_is_left_of_a_session_that_goes(void **state)
{
    (void)state;
    struct operation operations[] = {
        on_session(OPERATION_SESSION_PUT, 1),
        {.type = OPERATION_SUBSCRIPTION_PUT, .session = 1, .filter = slice_text("a/#")},
        {.type = OPERATION_WILL_PUT, .session = 1, .message = 7},
        {.type = OPERATION_INBOUND_QOS2_PUT, .session = 1, .packet_id = 3},
        on_entry(OPERATION_QUEUE_PUSH, 1, 5, 0),
        on_entry(OPERATION_QUEUE_POP, 1, 1, 4),
        on_session(OPERATION_SESSION_DROP, 1),
        on_entry(OPERATION_QUEUE_PUSH, 1, 6, 0), /* late: refers to nothing */
        on_entry(OPERATION_QUEUE_PUSH, 2, 1, 0),
    };
    gather_all(operations);
    assert_int_equal(only(MYSQL_SESSIONS).verb, MYSQL_DROP);
    assert_int_equal(changes.dropped_count, 1);
    assert_int_equal(count_of(MYSQL_SUBSCRIPTIONS), 0);
    assert_int_equal(count_of(MYSQL_WILLS), 0);
    assert_int_equal(count_of(MYSQL_INBOUND_QOS2), 0);
    assert_int_equal(count_of(MYSQL_QUEUE_POPS), 0);
    assert_int_equal(only(MYSQL_QUEUE).id, 2);
}

static void a_session_that_is_put_again_has_only_what_came_later(void **state)
{
    (void)state;
    const struct operation operations[] = {
        on_entry(OPERATION_QUEUE_PUSH, 1, 5, 0), on_session(OPERATION_SESSION_DROP, 1),
        on_session(OPERATION_SESSION_PUT, 1),    on_entry(OPERATION_QUEUE_RELEASE, 1, 5, 0),
        on_entry(OPERATION_QUEUE_PUSH, 1, 6, 0),
    };
    gather_all(operations);
    assert_int_equal(only(MYSQL_SESSIONS).verb, MYSQL_PUT);
    assert_int_equal(changes.dropped_count, 1);
    assert_true(changes.dropped[0].again);
    assert_int_equal(only(MYSQL_QUEUE).number, 6);
}

static void nothing_is_left_of_the_batch_before(void **state)
{
    (void)state;
    const struct operation operations[] = {on_session(OPERATION_SESSION_DROP, 1),
                                           on_message(OPERATION_MESSAGE_PUT, 1)};
    gather_all(operations);
    gather(NULL, 0);
    for (unsigned table = 0; table < MYSQL_TABLES; table++) {
        assert_int_equal(count_of(table), 0);
    }
    assert_int_equal(changes.dropped_count, 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, create, destroy)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(data_is_quoted_and_escaped),
        test(the_largest_numbers_are_written_whole),
        test(a_body_that_is_too_large_for_a_row_stands_beside_it),
        test(rows_are_sorted_by_their_key),
        test(the_last_change_of_a_key_counts),
        test(a_new_message_that_goes_at_once_leaves_nothing),
        test(an_old_message_that_goes_is_deleted_even_if_it_was_put_again),
        test(what_is_pushed_and_popped_is_not_sent),
        test(a_push_after_the_pop_stays),
        test(a_release_of_a_push_changes_the_push),
        test(a_release_alone_is_sent_unless_the_entry_is_popped),
        test(pops_that_touch_become_one),
        test(random_queues_come_to_what_they_should),
        test(nothing_is_left_of_a_session_that_goes),
        test(a_session_that_is_put_again_has_only_what_came_later),
        test(nothing_is_left_of_the_batch_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
