#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/mem.h"
#include "base/message.h"

static struct message borrow(const char *topic, const char *props, const char *payload)
{
    return message_borrow(slice_text(topic), slice_text(props), slice_text(payload));
}

static unsigned refs(const struct message *message)
{
    return atomic_load(&message->refs);
}

static void a_borrowed_message_points_into_the_callers_bytes(void **state)
{
    (void)state;
    const char *payload = "21.5";
    struct message message =
        message_borrow(slice_text("t"), slice_of(NULL, 0), slice_text(payload));
    assert_ptr_equal(message_payload(&message).data, payload);
    assert_int_equal(message.payload_len, 4);
    assert_int_equal(message.topic_len, 1);
    assert_int_equal(message.props_len, 0);
    assert_true(message.expires_at_ms == CLOCK_NEVER);
    assert_false(message_release(&message));
}

static void a_kept_copy_outlives_the_bytes_it_was_made_of(void **state)
{
    (void)state;
    char bytes[] = "a/bPROPSpayload";
    struct message borrowed =
        message_borrow(slice_of(bytes, 3), slice_of(bytes + 3, 5), slice_of(bytes + 8, 7));
    borrowed.qos = 2;
    borrowed.retain = true;
    borrowed.publisher = 77;
    borrowed.expires_at_ms = 5000;
    struct message *kept = message_keep(&borrowed);
    assert_non_null(kept);
    assert_false(message_release(&borrowed));
    memset(bytes, 'x', sizeof(bytes));

    assert_int_equal(refs(kept), 1);
    assert_true(slice_equal(message_topic(kept), slice_text("a/b")));
    assert_true(slice_equal(message_props(kept), slice_text("PROPS")));
    assert_true(slice_equal(message_payload(kept), slice_text("payload")));
    assert_int_equal(kept->qos, 2);
    assert_true(kept->retain);
    assert_int_equal(kept->publisher, 77);
    assert_int_equal(kept->expires_at_ms, 5000);
    message_unref(kept);
}

static void keeping_a_borrowed_message_twice_makes_one_copy(void **state)
{
    (void)state;
    struct message borrowed = borrow("t", "", "p");
    struct message *first = message_keep(&borrowed);
    struct message *second = message_keep(&borrowed);
    assert_ptr_equal(first, second);
    assert_int_equal(refs(first), 3); /* these two, and the borrowed message's until its end */
    assert_false(message_release(&borrowed));
    assert_int_equal(refs(first), 2);
    message_unref(second);
    message_unref(first);
}

static void keeping_a_heap_message_gives_itself(void **state)
{
    (void)state;
    struct message borrowed = borrow("t", "", "p");
    struct message *kept = message_keep(&borrowed);
    assert_false(message_release(&borrowed));
    assert_ptr_equal(message_keep(kept), kept);
    assert_int_equal(refs(kept), 2);
    message_unref(kept);
    message_unref(kept);
}

static void a_message_nobody_kept_ends_without_a_trace(void **state)
{
    (void)state;
    struct message borrowed = borrow("t", "", "p");
    assert_false(message_release(&borrowed));
    message_unref(NULL);
}

static void an_offered_buffer_is_taken_when_the_message_is_kept(void **state)
{
    (void)state;
    char *buffer = mem_try_alloc(100);
    assert_non_null(buffer);
    memset(buffer, 'z', 100);
    struct message borrowed =
        message_borrow(slice_text("big"), slice_of("PP", 2), slice_of(buffer + 10, 90));
    message_offer_buffer(&borrowed, buffer);
    struct message *kept = message_keep(&borrowed);
    assert_non_null(kept);
    assert_true(message_release(&borrowed)); /* no longer ours to free */
    assert_ptr_equal(message_payload(kept).data, buffer + 10);
    assert_true(slice_equal(message_topic(kept), slice_text("big")));
    assert_true(slice_equal(message_props(kept), slice_text("PP")));
    assert_int_equal(message_payload(kept).data[89], 'z');
    message_unref(kept); /* and the buffer: the leak checker watches */
}

static void an_offered_buffer_stays_with_its_owner_when_nobody_kept_the_message(void **state)
{
    (void)state;
    char *buffer = mem_try_alloc(100);
    assert_non_null(buffer);
    struct message borrowed =
        message_borrow(slice_text("t"), slice_of(NULL, 0), slice_of(buffer, 100));
    message_offer_buffer(&borrowed, buffer);
    assert_false(message_release(&borrowed));
    mem_free(buffer);
}

static void the_size_counts_everything_a_copy_takes(void **state)
{
    (void)state;
    struct message borrowed = borrow("abc", "PP", "payload");
    assert_int_equal(message_bytes(&borrowed), MESSAGE_HEAD + 3 + 2 + 7);
    assert_false(message_release(&borrowed));
}

/* The interval sent on is the received one minus the time waited [MQTT-3.3.2-6]. */
static void the_remaining_time_is_in_whole_seconds_rounded_up(void **state)
{
    (void)state;
    struct message message = borrow("t", "", "p");
    assert_false(message_expired(&message, UINT64_MAX - 1));
    message.expires_at_ms = 10000;
    assert_int_equal(message_seconds_left(&message, 0), 10);
    assert_int_equal(message_seconds_left(&message, 1), 10);
    assert_int_equal(message_seconds_left(&message, 9000), 1);
    assert_int_equal(message_seconds_left(&message, 9999), 1);
    assert_int_equal(message_seconds_left(&message, 10000), 0);
    assert_false(message_expired(&message, 9999));
    assert_true(message_expired(&message, 10000));
    assert_false(message_release(&message));
}

static void *ref_and_unref(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        message_unref(message_keep(arg));
    }
    message_unref(arg);
    return NULL;
}

static void threads_share_references(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    struct message borrowed = borrow("t", "", "p");
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        struct message *kept = message_keep(&borrowed);
        assert_int_equal(pthread_create(&threads[i], NULL, ref_and_unref, kept), 0);
    }
    assert_false(message_release(&borrowed));
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_borrowed_message_points_into_the_callers_bytes),
        cmocka_unit_test(a_kept_copy_outlives_the_bytes_it_was_made_of),
        cmocka_unit_test(keeping_a_borrowed_message_twice_makes_one_copy),
        cmocka_unit_test(keeping_a_heap_message_gives_itself),
        cmocka_unit_test(a_message_nobody_kept_ends_without_a_trace),
        cmocka_unit_test(an_offered_buffer_is_taken_when_the_message_is_kept),
        cmocka_unit_test(an_offered_buffer_stays_with_its_owner_when_nobody_kept_the_message),
        cmocka_unit_test(the_size_counts_everything_a_copy_takes),
        cmocka_unit_test(the_remaining_time_is_in_whole_seconds_rounded_up),
        cmocka_unit_test(threads_share_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
