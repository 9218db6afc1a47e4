#include "storage/wal_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "storage/wal_record.h"
#include "storage/wal_snapshot.h"
#include "tests/unit/storage/operation_text_support.h"
#include "tests/unit/storage/wal_model_support.h"

/* A log in memory: records, one behind the other, in one segment after the other. */
struct tape {
    uint8_t *bytes;
    size_t len;
    size_t cap;
    struct wal_place *places;
    uint32_t count;
    uint32_t place_cap;
    uint64_t segment;
};

static struct wal_state *replayed;
static struct tape tape;
static struct wal_random batches;

static void tape_fini(struct tape *t)
{
    mem_free(t->bytes);
    mem_free(t->places);
    *t = (struct tape){0};
}

static int set_up(void **state)
{
    (void)state;
    const char *given = getenv("PULSE_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("PULSE_TEST_SEED=%llu\n", (unsigned long long)seed);
    replayed = wal_state_create();
    assert_non_null(replayed);
    tape = (struct tape){.segment = 1};
    wal_random_init(&batches, seed);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wal_state_destroy(replayed);
    tape_fini(&tape);
    wal_random_fini(&batches);
    return 0;
}

static struct slice tape_record(const struct tape *t, uint32_t i)
{
    return slice_of(t->bytes + t->places[i].offset, t->places[i].len);
}

static struct wal_place tape_add(struct tape *t, struct slice record)
{
    if (t->len + record.len > t->cap) {
        t->cap = 2 * (t->len + record.len);
        t->bytes = mem_resize(t->bytes, t->cap);
    }
    memcpy(t->bytes + t->len, record.data, record.len);
    t->places = mem_grow(t->places, t->count, &t->place_cap, sizeof(struct wal_place));
    t->places[t->count] = (struct wal_place){
        .segment = t->segment, .offset = (uint32_t)t->len, .len = (uint32_t)record.len};
    t->len += record.len;
    return t->places[t->count++];
}

static struct wal_place put_on_tape(const struct operation *operation)
{
    static uint8_t room[1 << 20];
    size_t len = wal_record_size(operation);
    assert_true(len <= sizeof(room));
    (void)wal_record_encode(operation, room);
    return tape_add(&tape, slice_of(room, len));
}

static void apply(const struct operation *operation)
{
    struct wal_place place = put_on_tape(operation);
    assert_int_equal(wal_state_apply(replayed, place, tape_record(&tape, tape.count - 1)), ERR_OK);
}

static void apply_batch(void)
{
    wal_random_batch(&batches);
    for (size_t i = 0; i < batches.count; i++) {
        apply(&batches.operations[i]);
    }
}

/* ---- giving back ----------------------------------------------------------------------------- */

static enum err take(void *context, const struct operation *operation)
{
    operation_text_add(context, operation);
    return ERR_OK;
}

/* All that `state` gives, as a loader asks for it. */
static void print_state(struct wal_state *state, const struct tape *t, struct text *text)
{
    const struct operation_sink sink = {.context = text, .take = take};
    assert_int_equal(wal_state_give_sessions(state, &sink), ERR_OK);
    for (uint32_t i = 0; i < t->count; i++) {
        struct operation operation;
        if (wal_state_want(state, t->places[i], tape_record(t, i), &operation)) {
            operation_text_add(text, &operation);
        }
    }
    assert_int_equal(wal_state_missing(state), 0);
    assert_int_equal(wal_state_give_queues(state, &sink), ERR_OK);
    operation_text_sort(text);
}

static void expect_same(const struct text *found, const struct text *wanted)
{
    assert_string_equal(found->data != NULL ? found->data : "",
                        wanted->data != NULL ? wanted->data : "");
}

static void expect_model(struct wal_state *state, const struct tape *t)
{
    struct text found = {0}, wanted = {0};
    print_state(state, t, &found);
    wal_model_print(&batches.model, &wanted);
    expect_same(&found, &wanted);
    text_fini(&found);
    text_fini(&wanted);
}

static void random_operations_make_what_the_model_has(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 400; i++) {
        tape.segment = 1 + i / 50;
        apply_batch();
    }
    expect_model(replayed, &tape);
    assert_int_equal(wal_state_clock(replayed).next_id <= batches.next_id, true);
}

static void a_tail_that_is_replayed_twice_changes_nothing(void **state)
{
    (void)state;
    uint32_t from = 0;
    for (unsigned i = 0; i < 200; i++) {
        apply_batch();
        if (wal_random_below(&batches, 20) == 0) {
            from = (uint32_t)wal_random_below(&batches, tape.count);
            for (uint32_t at = from; at < tape.count; at++) {
                assert_int_equal(wal_state_apply(replayed, tape.places[at], tape_record(&tape, at)),
                                 ERR_OK);
            }
        }
    }
    expect_model(replayed, &tape);
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static struct tape saved;

static enum err save_record(void *context, struct slice record)
{
    (void)context;
    (void)tape_add(&saved, record);
    return ERR_OK;
}

static bool first_segments_stay(void *context, uint64_t segment)
{
    (void)context;
    return segment <= 4;
}

/* The state after saving `replayed` and reading that back; bodies are where they were, or copied as
 * a compaction does. */
static struct wal_state *save_and_replay(void)
{
    const struct wal_record_sink sink = {.take = save_record};
    saved = (struct tape){.segment = wal_snapshot_segment(1)};
    assert_int_equal(wal_state_save(replayed, &sink, first_segments_stay), ERR_OK);
    for (uint32_t i = 0; i < tape.count; i++) {
        struct operation operation;
        enum wal_want want =
            wal_state_want(replayed, tape.places[i], tape_record(&tape, i), &operation);
        if (want == WAL_WANT_RETAINED ||
            (want == WAL_WANT_MESSAGE && !first_segments_stay(NULL, tape.places[i].segment))) {
            (void)tape_add(&saved, tape_record(&tape, i));
        }
    }
    struct wal_state *state = wal_state_create();
    for (uint32_t i = 0; i < saved.count; i++) {
        assert_int_equal(wal_state_apply(state, saved.places[i], tape_record(&saved, i)), ERR_OK);
    }
    return state;
}

static void a_saved_state_comes_back_with_its_bodies_where_they_are(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        tape.segment = 1 + i / 40;
        apply_batch();
    }
    struct wal_state *again = save_and_replay();
    struct text found = {0}, wanted = {0};
    const struct operation_sink sink = {.context = &found, .take = take};
    assert_int_equal(wal_state_give_sessions(again, &sink), ERR_OK);
    for (uint32_t i = 0; i < tape.count + saved.count; i++) {
        struct operation operation;
        bool old = i < tape.count;
        struct wal_place place = old ? tape.places[i] : saved.places[i - tape.count];
        struct slice record = old ? tape_record(&tape, i) : tape_record(&saved, i - tape.count);
        if (wal_state_want(again, place, record, &operation)) {
            assert_true(!old || place.segment <= 4);
            operation_text_add(&found, &operation);
        }
    }
    assert_int_equal(wal_state_missing(again), 0);
    assert_int_equal(wal_state_give_queues(again, &sink), ERR_OK);
    operation_text_sort(&found);
    wal_model_print(&batches.model, &wanted);
    expect_same(&found, &wanted);
    text_fini(&found);
    text_fini(&wanted);
    tape_fini(&saved);
    wal_state_destroy(again);
}

static void a_queue_of_100000_is_saved_in_few_bytes(void **state)
{
    (void)state;
    apply(&(struct operation){
        .type = OPERATION_SESSION_PUT, .session = 1, .client_id = slice_text("c")});
    for (uint64_t i = 1; i <= 100000; i++) {
        apply(&(struct operation){.type = OPERATION_MESSAGE_PUT,
                                  .message = i,
                                  .topic = slice_text("t"),
                                  .payload = slice_text("payload")});
        apply(&(struct operation){
            .type = OPERATION_QUEUE_PUSH, .session = 1, .position = i, .message = i, .qos = 1});
    }
    struct wal_state *again = save_and_replay();
    assert_int_equal(wal_state_counts(again).queued, 100000);
    assert_in_range(saved.len / 100000, 4, 10);
    tape_fini(&saved);
    for (uint64_t i = 1; i <= 100000; i += 1000) {
        apply(&(struct operation){
            .type = OPERATION_QUEUE_POP, .session = 1, .position = i, .last = i + 999});
    }
    assert_int_equal(wal_state_counts(replayed).queued, 0);
    wal_state_destroy(again);
}

/* ---- single rules ---------------------------------------------------------------------------- */

static void bodies_are_counted_by_file_while_something_refers_to_them(void **state)
{
    (void)state;
    apply(&(struct operation){
        .type = OPERATION_SESSION_PUT, .session = 1, .client_id = slice_text("c")});
    tape.segment = 5;
    apply(&(struct operation){
        .type = OPERATION_MESSAGE_PUT, .message = 2, .payload = slice_text("12345")});
    uint32_t len = tape.places[tape.count - 1].len;
    apply(&(struct operation){.type = OPERATION_MESSAGE_PUT, .message = 3});
    apply(&(struct operation){
        .type = OPERATION_QUEUE_PUSH, .session = 1, .position = 1, .message = 2});
    struct wal_file_use *uses = NULL;
    size_t count = 0;
    assert_int_equal(wal_state_files(replayed, &uses, &count), ERR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(uses[0].segment, 5);
    assert_int_equal(uses[0].messages, len);
    assert_int_equal(uses[0].retained, 0);
    mem_free(uses);
    apply(&(struct operation){.type = OPERATION_QUEUE_POP, .session = 1, .position = 1, .last = 1});
    assert_int_equal(wal_state_files(replayed, &uses, &count), ERR_OK);
    assert_int_equal(count, 0);
    mem_free(uses);
}

static void the_parts_of_a_large_snapshot_are_one_file(void **state)
{
    (void)state;
    apply(&(struct operation){
        .type = OPERATION_SESSION_PUT, .session = 1, .client_id = slice_text("c")});
    for (uint64_t i = 0; i < 3; i++) {
        tape.segment = wal_snapshot_segment(9) | i << 32;
        apply(&(struct operation){.type = OPERATION_MESSAGE_PUT, .message = 10 + i});
        apply(&(struct operation){
            .type = OPERATION_QUEUE_PUSH, .session = 1, .position = 1 + i, .message = 10 + i});
        apply(&(struct operation){.type = OPERATION_RETAINED_PUT, .topic = slice_text("t")});
    }
    struct wal_file_use *uses = NULL;
    size_t count = 0;
    assert_int_equal(wal_state_files(replayed, &uses, &count), ERR_OK);
    assert_int_equal(count, 1);
    assert_true(uses[0].segment == wal_snapshot_segment(9));
    assert_int_equal(uses[0].messages, 3 * tape.places[1].len);
    assert_int_equal(uses[0].retained, tape.places[3].len);
    mem_free(uses);
}

static void a_lost_body_takes_its_queue_entries_with_it(void **state)
{
    (void)state;
    struct text text = {0};
    const struct operation_sink sink = {.context = &text, .take = take};
    apply(&(struct operation){
        .type = OPERATION_SESSION_PUT, .session = 1, .client_id = slice_text("c")});
    apply(&(struct operation){.type = OPERATION_MESSAGE_PUT, .message = 2});
    apply(&(struct operation){
        .type = OPERATION_QUEUE_PUSH, .session = 1, .position = 1, .message = 2});
    apply(&(struct operation){.type = OPERATION_WILL_PUT, .session = 1, .message = 2});
    assert_int_equal(wal_state_missing(replayed), 1);
    assert_int_equal(wal_state_give_queues(replayed, &sink), ERR_OK);
    assert_int_equal(text.len, 0);
}

static void the_clock_only_goes_forward(void **state)
{
    (void)state;
    uint8_t bytes[WAL_CLOCK_BYTES];
    const struct wal_place nowhere = {.segment = 1};
    wal_clock_encode((struct wal_clock){.now_ms = 500, .next_id = 70}, bytes);
    assert_int_equal(wal_state_apply(replayed, nowhere, slice_of(bytes, sizeof(bytes))), ERR_OK);
    wal_clock_encode((struct wal_clock){.now_ms = 400, .next_id = 60}, bytes);
    assert_int_equal(wal_state_apply(replayed, nowhere, slice_of(bytes, sizeof(bytes))), ERR_OK);
    assert_int_equal(wal_state_clock(replayed).now_ms, 500);
    assert_int_equal(wal_state_clock(replayed).next_id, 70);
    apply(&(struct operation){
        .type = OPERATION_SESSION_PUT, .session = 99, .client_id = slice_text("c")});
    assert_int_equal(wal_state_clock(replayed).next_id, 100);
}

static void what_is_no_record_is_refused(void **state)
{
    (void)state;
    const struct wal_place place = {.segment = 1};
    const uint8_t unknown[] = {OPERATION_TYPES, 1, 2, 3};
    const uint8_t unknown_packed[] = {0xff, 1, 2, 3};
    assert_int_equal(wal_state_apply(replayed, place, slice_of(NULL, 0)), ERR_DAMAGED);
    assert_int_equal(wal_state_apply(replayed, place, slice_of(unknown, 4)), ERR_DAMAGED);
    assert_int_equal(wal_state_apply(replayed, place, slice_of(unknown_packed, 4)), ERR_DAMAGED);
    (void)put_on_tape(&(struct operation){.type = OPERATION_MESSAGE_DROP, .message = 7});
    struct slice drop = tape_record(&tape, 0);
    assert_int_equal(wal_state_apply(replayed, place, slice_of(drop.data, drop.len - 1)),
                     ERR_DAMAGED);
    (void)tape_add(&tape, slice_text("x"));
    drop = tape_record(&tape, 0);
    assert_int_equal(wal_state_apply(replayed, place, slice_of(drop.data, drop.len + 1)),
                     ERR_DAMAGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_operations_make_what_the_model_has, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_tail_that_is_replayed_twice_changes_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_saved_state_comes_back_with_its_bodies_where_they_are,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_queue_of_100000_is_saved_in_few_bytes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bodies_are_counted_by_file_while_something_refers_to_them,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_parts_of_a_large_snapshot_are_one_file, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_lost_body_takes_its_queue_entries_with_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_clock_only_goes_forward, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_record_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
