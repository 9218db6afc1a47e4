#include "tests/unit/storage/storage_stage_support.h"

#include "base/clock.h"
#include "base/mem.h"

/* What an engine is given for what workers hand over. When it is given is in storage_test.c. */

static struct stage stage;
static struct stage_part part;
static struct stage_part second;
static struct message *message; /* one reference of ours */

static int set_up(void **state)
{
    (void)state;
    stage_open(&stage, COMMIT_STRICT);
    stage_part_init(&stage, &part);
    stage_part_init(&stage, &second);
    message = stage_message("a/b", "payload");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_part_fini(&part);
    stage_part_fini(&second);
    message_unref(message);
    stage_close(&stage);
    return 0;
}

/* Commits both parts in one batch: behind one that the engine is held up with. */
static void commit_both(void)
{
    struct stage_part stopper;
    stage_part_init(&stage, &stopper);
    part_add(&stopper.part, OPERATION_INBOUND_QOS2_DROP, 1000)->packet_id = 1;
    fake_store_block(stage.store, FAKE_APPLY);
    stage_submit(&stopper);
    assert_true(fake_store_wait_blocked(stage.store, STAGE_WAIT_MS));
    stage_submit(&part);
    stage_submit(&second);
    fake_store_unblock(stage.store);
    assert_int_equal(stage_wait(&part), ERR_OK);
    assert_int_equal(stage_wait(&second), ERR_OK);
    part_clear(&part.part);
    part_clear(&second.part);
    stage_part_fini(&stopper);
}

/* ---- each change ----------------------------------------------------------------------------- */

static void each_kind_of_change_becomes_its_operation(void **state)
{
    (void)state;
    static const char filter[] = "s/#";
    struct change_subscription *subscription = mem_alloc(sizeof(*subscription) + 3);
    *subscription = (struct change_subscription){.subscription_id = 4,
                                                 .qos = 2,
                                                 .no_local = true,
                                                 .retain_as_published = true,
                                                 .retain_handling = 1,
                                                 .filter_len = 3};
    memcpy(subscription->filter, filter, 3);
    struct change_subscription *same = mem_alloc(sizeof(*same) + 3);
    memcpy(same, subscription, sizeof(*same) + 3);

    stage_session_put(&part, 1, "client");
    part_add(&part.part, OPERATION_SUBSCRIPTION_PUT, 1)->owned = subscription;
    part_add(&part.part, OPERATION_SUBSCRIPTION_DROP, 1)->owned = same;
    part_add(&part.part, OPERATION_INBOUND_QOS2_PUT, 1)->packet_id = 5;
    part_add(&part.part, OPERATION_INBOUND_QOS2_DROP, 1)->packet_id = 5;
    (void)part_add(&part.part, OPERATION_SESSION_DROP, 1);
    stage_commit(&part);
    stage_assert_batch(&stage, "session_put session=1 client_id=client expiry_s=60\n"
                               "subscription_put session=1 filter=s/# qos=2 no_local=1 "
                               "retain_as_published=1 retain_handling=1 subscription_id=4\n"
                               "subscription_drop session=1 filter=s/#\n"
                               "inbound_qos2_put session=1 packet_id=5\n"
                               "inbound_qos2_drop session=1 packet_id=5\n"
                               "session_drop session=1\n");
    stage_assert_contents(&stage, "");
}

static void the_fields_of_a_session_are_all_told(void **state)
{
    (void)state;
    stage_session_put(&part, 1, "client");
    struct change_session *own = part.part.changes[0].owned;
    own->offline_since_ms = 1000;
    own->sent_to = 17;
    own->expiry_s = UINT32_MAX;
    stage_commit(&part);
    stage_assert_contents(&stage, "session_put session=1 client_id=client expiry_s=4294967295 "
                                  "offline_since_ms=1000 sent_to=17\n");
}

static void a_push_says_how_the_message_is_to_be_sent(void **state)
{
    (void)state;
    struct change *change = stage_push(&part, 1, 1, message);
    change->qos_2 = true;
    change->retain = true;
    change->shared = true;
    change->subscription_id = 268435455;
    change = stage_push(&part, 1, 2, message);
    struct change_ids *ids = mem_alloc(sizeof(*ids) + 2 * sizeof(uint32_t));
    ids->count = 2;
    ids->ids[0] = 8;
    ids->ids[1] = 9;
    change->owned = ids;
    stage_commit(&part);
    stage_assert_batch(&stage,
                       "message_put message=1 topic=a/b payload=payload expires_at_ms=never\n"
                       "queue_push session=1 position=1 message=1 qos=2 retain=1 shared=1 "
                       "ids=268435455\n"
                       "queue_push session=1 position=2 message=1 qos=1 ids=8,9\n");
}

static void a_message_is_told_as_it_was_published(void **state)
{
    (void)state;
    struct message borrowed =
        message_borrow(slice_text("t"), slice_of("\x01\x00", 2), slice_of("\x00\xff", 2));
    borrowed.qos = 2;
    borrowed.retain = true;
    borrowed.publisher_id = 77;
    borrowed.publisher = 5; /* a handle of this process: not stored */
    struct message *own = message_keep(&borrowed);
    (void)stage_push(&part, 1, 1, own);
    message_unref(own);
    (void)message_release(&borrowed);
    stage_commit(&part);
    stage_assert_batch(&stage,
                       "message_put message=1 topic=t properties=\\x01\\x00 payload=\\x00\\xff "
                       "qos=2 retain=1 expires_at_ms=never publisher=77\n"
                       "queue_push session=1 position=1 message=1 qos=1\n");
}

static void moments_are_told_by_the_wall_clock(void **state)
{
    (void)state;
    uint64_t at_ms = clock_mono_ms() + 5000;
    message->expires_at_ms = at_ms;
    (void)stage_push(&part, 1, 1, message);
    stage_commit(&part);
    char lines[200];
    (void)snprintf(lines, sizeof(lines),
                   "message_put message=1 topic=a/b payload=payload expires_at_ms=%llu\n"
                   "queue_push session=1 position=1 message=1 qos=1\n",
                   (unsigned long long)storage_wall_ms(stage.storage, at_ms));
    stage_assert_batch(&stage, lines);
    uint64_t wall_ms = storage_wall_ms(stage.storage, at_ms);
    assert_in_range(wall_ms, clock_wall_ms() + 1000, clock_wall_ms() + 9000);
}

static void an_entry_without_a_message_is_a_released_one(void **state)
{
    (void)state;
    stage_push(&part, 1, 1, NULL)->qos_2 = true;
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_push session=1 position=1 qos=2 released=1\n");
}

static void what_was_taken_back_is_not_written(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    part_add(&part.part, OPERATION_INBOUND_QOS2_PUT, 1)->packet_id = 5;
    part_cancel(&part.part, &part.part.changes[0]);
    stage_commit(&part);
    stage_assert_batch(&stage, "inbound_qos2_put session=1 packet_id=5\n");
    assert_int_equal(message->stored_id, 0);
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_CANCELLED), 0); /* the caller's */
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_OPERATIONS), 1);
}

/* ---- messages come and go -------------------------------------------------------------------- */

static void a_message_is_stored_once_for_all_queues(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    (void)stage_push(&part, 2, 1, message);
    stage_commit(&part);
    stage_assert_batch(&stage,
                       "message_put message=1 topic=a/b payload=payload expires_at_ms=never\n"
                       "queue_push session=1 position=1 message=1 qos=1\n"
                       "queue_push session=2 position=1 message=1 qos=1\n");
    (void)stage_push(&part, 3, 1, message);
    stage_commit(&part); /* in a later batch, too */
    stage_assert_batch(&stage, "queue_push session=3 position=1 message=1 qos=1\n");
}

static void it_goes_with_the_last_that_refers_to_it(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    (void)stage_push(&part, 2, 1, message);
    stage_will_put(&part, 3, message);
    stage_commit(&part);
    stage_pop(&part, 1, 1, message);
    stage_will_drop(&part, 3, message);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_pop session=1 position=1 last=1\nwill_drop session=3\n");
    stage_pop(&part, 2, 1, message);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_pop session=2 position=1 last=1\nmessage_drop message=1\n");
    stage_assert_contents(&stage, "");
}

static void what_comes_again_later_is_stored_again_under_another_number(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    stage_commit(&part);
    stage_pop(&part, 1, 1, message);
    (void)stage_push(&part, 1, 2, message);
    stage_commit(&part);
    stage_assert_batch(&stage,
                       "queue_pop session=1 position=1 last=1\nmessage_drop message=1\n"
                       "message_put message=2 topic=a/b payload=payload expires_at_ms=never\n"
                       "queue_push session=1 position=2 message=2 qos=1\n");
}

static void what_comes_before_the_last_goes_is_not_stored_again(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    stage_commit(&part);
    (void)stage_push(&part, 1, 2, message);
    stage_pop(&part, 1, 1, message);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_push session=1 position=2 message=1 qos=1\n"
                               "queue_pop session=1 position=1 last=1\n");
}

static void a_released_entry_keeps_its_place_without_the_message(void **state)
{
    (void)state;
    stage_push(&part, 1, 1, message)->qos_2 = true;
    stage_commit(&part);
    stage_release(&part, 1, 1, message);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_release session=1 position=1\nmessage_drop message=1\n");
    stage_assert_contents(&stage, "queue_push session=1 position=1 qos=2 released=1\n");
    stage_pop(&part, 1, 1, NULL);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_pop session=1 position=1 last=1\n");
}

static void a_will_takes_the_place_of_an_earlier_one(void **state)
{
    (void)state;
    struct message *later = stage_message("w", "later");
    stage_will_put(&part, 1, message);
    stage_commit(&part);
    stage_will_drop(&part, 1, message);
    stage_will_put(&part, 1, later);
    message_unref(later);
    stage_commit(&part);
    stage_assert_batch(&stage, "will_drop session=1\nmessage_drop message=1\n"
                               "message_put message=2 topic=w payload=later expires_at_ms=never\n"
                               "will_put session=1 message=2 delay_s=5\n");
}

/* ---- what comes to nothing within a batch ---------------------------------------------------- */

static void what_came_and_went_within_a_batch_is_never_written(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    (void)stage_push(&part, 2, 1, message);
    part_add(&part.part, OPERATION_INBOUND_QOS2_PUT, 9)->packet_id = 5;
    stage_pop(&second, 2, 1, message);
    stage_pop(&second, 1, 1, message);
    commit_both();
    stage_assert_batch(&stage, "inbound_qos2_put session=9 packet_id=5\n");
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_CANCELLED), 4);
}

static void a_batch_of_which_nothing_is_left_does_not_reach_the_engine(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    stage_pop(&second, 1, 1, message);
    commit_both();
    assert_int_equal(fake_store_calls(stage.store, FAKE_APPLY), 1); /* the one in front of them */
    assert_int_equal(fake_store_calls(stage.store, FAKE_SYNC), 1);
    assert_int_equal(stat_get(storage_stats(stage.storage), STAT_BATCHES), 1);
}

static void one_entry_that_stays_keeps_the_others_written(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    (void)stage_push(&part, 2, 1, message);
    stage_pop(&second, 1, 1, message);
    commit_both();
    stage_assert_contents(&stage, "message_put message=1 topic=a/b payload=payload "
                                  "expires_at_ms=never\n"
                                  "queue_push session=2 position=1 message=1 qos=1\n");
}

/* Its packet id is still in use, and the client relies on that [MQTT-4.3.3-7]. */
static void a_released_entry_outlives_a_message_that_came_and_went(void **state)
{
    (void)state;
    stage_push(&part, 1, 1, message)->qos_2 = true;
    (void)stage_push(&part, 2, 1, message);
    stage_release(&second, 1, 1, message);
    stage_pop(&second, 2, 1, message);
    commit_both();
    stage_assert_contents(&stage, "queue_push session=1 position=1 qos=2 released=1\n");
}

static void what_comes_again_within_the_batch_is_written(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    stage_pop(&part, 1, 1, message);
    (void)stage_push(&second, 1, 2, message);
    commit_both();
    assert_int_equal(fake_store_count(stage.store, OPERATION_QUEUE_PUSH), 1);
    assert_int_equal(fake_store_count(stage.store, OPERATION_MESSAGE_PUT), 1);
}

/* ---- pops in ranges -------------------------------------------------------------------------- */

static void pops_of_neighbours_are_one_range(void **state)
{
    (void)state;
    struct message *other = stage_message("c", "other");
    for (unsigned i = 1; i <= 4; i++) {
        (void)stage_push(&part, 1, i, i % 2 == 0 ? message : other);
    }
    (void)stage_push(&part, 2, 5, message);
    stage_commit(&part);
    for (unsigned i = 1; i <= 4; i++) {
        stage_pop(&part, 1, i, i % 2 == 0 ? message : other);
    }
    stage_pop(&part, 2, 5, message); /* of another session */
    message_unref(other);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_pop session=1 position=1 last=4\nmessage_drop message=1\n"
                               "queue_pop session=2 position=5 last=5\nmessage_drop message=2\n");
}

static void a_gap_ends_a_range(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 5; i++) {
        (void)stage_push(&part, 1, i, message);
    }
    stage_commit(&part);
    stage_pop(&part, 1, 1, message);
    stage_pop(&part, 1, 2, message);
    stage_pop(&part, 1, 4, message);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_pop session=1 position=1 last=2\n"
                               "queue_pop session=1 position=4 last=4\n");
    assert_int_equal(fake_store_count(stage.store, OPERATION_QUEUE_PUSH), 2);
}

static void something_else_between_them_ends_a_range(void **state)
{
    (void)state;
    (void)stage_push(&part, 1, 1, message);
    (void)stage_push(&part, 1, 2, message);
    stage_commit(&part);
    stage_pop(&part, 1, 1, message);
    (void)stage_push(&part, 1, 3, message);
    stage_pop(&part, 1, 2, message);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_pop session=1 position=1 last=1\n"
                               "queue_push session=1 position=3 message=1 qos=1\n"
                               "queue_pop session=1 position=2 last=2\n");
}

static void what_is_not_written_does_not_end_a_range(void **state)
{
    (void)state;
    struct message *brief = stage_message("c", "brief");
    (void)stage_push(&part, 1, 1, message);
    (void)stage_push(&part, 1, 3, message);
    stage_commit(&part);
    (void)stage_push(&part, 1, 2, brief);
    stage_pop(&part, 1, 1, message);
    stage_pop(&part, 1, 2, brief);
    message_unref(brief);
    (void)stage_push(&part, 1, 4, message);
    part_cancel(&part.part, &part.part.changes[3]);
    stage_pop(&part, 1, 3, message);
    stage_commit(&part);
    stage_assert_batch(&stage, "queue_pop session=1 position=1 last=3\nmessage_drop message=1\n");
}

/* ---- retained messages ----------------------------------------------------------------------- */

static void a_retained_message_is_the_latest_when_it_is_written(void **state)
{
    (void)state;
    stage_retain(&part, 1, "first");
    stage_retain(&second, 1, "second");
    part_clear(&second.part); /* its worker is not that far yet */
    stage_commit(&part);
    stage_assert_batch(&stage,
                       "retained_put topic=retained/1 payload=second expires_at_ms=never\n");
}

static void a_topic_is_written_once_in_a_batch(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        char payload[8];
        (void)snprintf(payload, sizeof(payload), "%u", i);
        stage_retain(i % 3 == 0 ? &part : &second, i % 2, payload);
    }
    commit_both();
    stage_assert_batch(&stage, "retained_put topic=retained/0 payload=198 expires_at_ms=never\n"
                               "retained_put topic=retained/1 payload=199 expires_at_ms=never\n");
    assert_int_equal(stage.asked, 2);
}

static void and_again_in_the_next_one(void **state)
{
    (void)state;
    stage_retain(&part, 1, "one");
    stage_retain(&part, 2, "one");
    stage_commit(&part);
    stage_retain(&part, 1, "two");
    stage_retain(&part, 2, "two");
    stage_commit(&part);
    stage_assert_contents(&stage,
                          "retained_put topic=retained/1 payload=two expires_at_ms=never\n"
                          "retained_put topic=retained/2 payload=two expires_at_ms=never\n");
}

static void a_topic_without_a_retained_message_is_dropped(void **state)
{
    (void)state;
    stage_retain(&part, 1, "one");
    stage_commit(&part);
    stage_retain(&part, 1, NULL);
    stage_retain(&part, 1, NULL);
    stage_commit(&part);
    stage_assert_batch(&stage, "retained_drop topic=retained/1\n");
    stage_assert_contents(&stage, "");
}

static void many_topics_of_one_batch_are_told_apart(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3 * STAGE_TOPICS; i++) {
        stage_retain(&part, i % STAGE_TOPICS, "x");
    }
    stage_commit(&part);
    assert_int_equal(fake_store_count(stage.store, OPERATION_RETAINED_PUT), STAGE_TOPICS);
    assert_int_equal(stage.asked, STAGE_TOPICS);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void a_batch_names_the_ids_that_are_in_use(void **state)
{
    (void)state;
    assert_int_equal(storage_next_id(stage.storage), 1);
    (void)stage_push(&part, 1, 1, message);
    stage_commit(&part);
    assert_int_equal(message->stored_id, 2);
    assert_int_equal(fake_store_next_id(stage.store), 3);
    assert_int_equal(storage_next_id(stage.storage), 3);
}

/* Sessions take numbers from the same counter while a batch is made. */
static void numbers_of_messages_may_have_gaps(void **state)
{
    (void)state;
    struct message *messages[50];
    stage.ids_per_question = 3;
    for (unsigned i = 0; i < 50; i++) {
        messages[i] = stage_message("m", "x");
        (void)stage_push(&part, 1, i + 1, messages[i]);
        stage_retain(&part, i % STAGE_TOPICS, "x");
    }
    for (unsigned i = 0; i < 50; i += 2) {
        stage_pop(&second, 1, i + 1, messages[i]);
    }
    commit_both();
    assert_int_equal(fake_store_count(stage.store, OPERATION_MESSAGE_PUT), 25);
    assert_int_equal(fake_store_next_id(stage.store), 1 + 50 + 3 * STAGE_TOPICS);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(messages[i]->stored_refs, i % 2);
        message_unref(messages[i]);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(each_kind_of_change_becomes_its_operation),
        TEST(the_fields_of_a_session_are_all_told),
        TEST(a_push_says_how_the_message_is_to_be_sent),
        TEST(a_message_is_told_as_it_was_published),
        TEST(moments_are_told_by_the_wall_clock),
        TEST(an_entry_without_a_message_is_a_released_one),
        TEST(what_was_taken_back_is_not_written),
        TEST(a_message_is_stored_once_for_all_queues),
        TEST(it_goes_with_the_last_that_refers_to_it),
        TEST(what_comes_again_later_is_stored_again_under_another_number),
        TEST(what_comes_before_the_last_goes_is_not_stored_again),
        TEST(a_released_entry_keeps_its_place_without_the_message),
        TEST(a_will_takes_the_place_of_an_earlier_one),
        TEST(what_came_and_went_within_a_batch_is_never_written),
        TEST(a_batch_of_which_nothing_is_left_does_not_reach_the_engine),
        TEST(one_entry_that_stays_keeps_the_others_written),
        TEST(a_released_entry_outlives_a_message_that_came_and_went),
        TEST(what_comes_again_within_the_batch_is_written),
        TEST(pops_of_neighbours_are_one_range),
        TEST(a_gap_ends_a_range),
        TEST(something_else_between_them_ends_a_range),
        TEST(what_is_not_written_does_not_end_a_range),
        TEST(a_retained_message_is_the_latest_when_it_is_written),
        TEST(a_topic_is_written_once_in_a_batch),
        TEST(and_again_in_the_next_one),
        TEST(a_topic_without_a_retained_message_is_dropped),
        TEST(many_topics_of_one_batch_are_told_apart),
        TEST(a_batch_names_the_ids_that_are_in_use),
        TEST(numbers_of_messages_may_have_gaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
