/* The contract, part 1: what each operation does, what a store remembers and whom it refuses. */
#include "tests/unit/storage/contract_cases.h"

#include <string.h>

#include "base/macros.h"
#include "tests/unit/storage/contract_support.h"

/* Opens the store of `state`. */
static struct store *opened(void **state)
{
    struct store *store = *state;
    store_open(store);
    return store;
}

/* ---- a store --------------------------------------------------------------------------------- */

static void memory_has_no_engine(void **state)
{
    (void)state;
    assert_null(engine_type_of(STORAGE_MEMORY));
}

static void the_name_of_an_engine_is_the_word_that_chooses_it(void **state)
{
    struct store *store = *state;
#define X(constant, word)                               \
    if (store->config.engine == (constant)) {           \
        assert_string_equal(store->type->name, (word)); \
    }
    STORAGE_ENGINES(X)
#undef X
}

static void a_new_store_is_empty_and_was_never_seen(void **state)
{
    struct store *store = opened(state);
    assert_int_equal(store->loaded.last_seen_ms, 0);
    store_reopen(store);
    assert_int_equal(store->loaded.last_seen_ms, 0);
}

static void is_locked(struct store *store)
{
    assert_int_equal(store_try_open(store), ERR_LOCKED);
}

static void a_store_is_locked_against_another_process(void **state)
{
    struct store *store = opened(state);
    store_close(store);
    store_while_open_elsewhere(store, is_locked);
    assert_int_equal(store_try_open(store), ERR_OK); /* a killed process leaves no lock behind */
}

static void the_store_of_a_newer_version_is_refused_and_left_alone(void **state)
{
    struct store *store = opened(state);
    store_close(store);
    store_make_newer(store);
    assert_int_equal(store_try_open(store), ERR_VERSION);
    assert_int_equal(store_try_open(store), ERR_VERSION);
}

static enum err refuse(void *context, const struct operation *operation)
{
    (void)operation;
    unsigned *left = context;
    return (*left)-- > 0 ? ERR_OK : ERR_STOPPED;
}

static void an_error_of_the_sink_ends_loading(void **state)
{
    struct store *store = opened(state);
    const struct operation sessions[] = {session_put(1, "a"), session_put(2, "b"),
                                         session_put(3, "c")};
    store_apply_all(store, sessions);
    store_close(store);
    unsigned left = 1;
    struct engine_loaded loaded;
    assert_int_equal(store->type->open(&store->config, &store->stats, &store->engine), ERR_OK);
    assert_int_equal(
        store->type->load(store->engine, &(struct operation_sink){&left, refuse}, &loaded),
        ERR_STOPPED);
    assert_int_equal(left, UINT32_MAX); /* asked twice, not a third time */
    store_reopen(store);
}

/* ---- each operation -------------------------------------------------------------------------- */

static const uint32_t some_ids[] = {7, 268435455, 1};

/* Session 1 has one of everything, session 2 a little. */
static const struct operation *base_state(size_t *count)
{
    static struct operation operations[16];
    size_t n = 0;
    operations[n++] = session_put(1, "one");
    operations[n++] = session_put(2, "two");
    operations[n++] = subscription_put(1, "a/+");
    operations[n++] = subscription_put(2, "a/+");
    operations[n++] = message_put(10, "a/b", "ten");
    operations[n++] = message_put(11, "a/c", "eleven");
    operations[n++] = message_put(12, "will", "twelve");
    operations[n++] = will_put(1, 12);
    operations[n++] = queue_push(1, 1, 10);
    operations[n++] = queue_push(1, 2, 11);
    operations[n++] = queue_push(1, 5, 11);
    operations[n++] = queue_push(2, 1, 10);
    operations[n++] = inbound_put(1, 65535);
    operations[n++] = retained_put("a/b", "kept");
    *count = n;
    return operations;
}

/* A batch with every field of every put set to something unusual. */
static const struct operation *unusual(size_t *count)
{
    static struct operation operations[16];
    size_t n = 0;
    operations[n] = session_put(3, "three");
    operations[n].expiry_s = UINT32_MAX;
    operations[n].offline_since_ms = 0;
    operations[n++].sent_to = 1u << 30;
    operations[n] = subscription_put(3, "$share/group/#");
    operations[n].qos = 2;
    operations[n].no_local = true;
    operations[n].retain_as_published = true;
    operations[n].retain_handling = 2;
    operations[n++].subscription_id = 268435455;
    operations[n] = message_put(20, "t", "p");
    operations[n].properties = slice_of("\x01\x01", 2);
    operations[n].qos = 2;
    operations[n].retain = true;
    operations[n].publisher = UINT64_MAX;
    operations[n++].expires_at_ms = 1800000000000u;
    operations[n] = will_put(3, 20);
    operations[n].delay_s = UINT32_MAX;
    operations[n].has_expiry = true;
    operations[n++].message_expiry_s = UINT32_MAX;
    operations[n] = queue_push(3, 9, 20);
    operations[n].qos = 2;
    operations[n].retain = true;
    operations[n].shared = true;
    operations[n].subscription_ids = some_ids;
    operations[n++].subscription_id_count = ARRAY_COUNT(some_ids);
    operations[n] = queue_push(3, 10, 0);
    operations[n].qos = 2;
    operations[n++].released = true;
    operations[n++] = inbound_put(3, 1);
    operations[n] = retained_put("t", "p");
    operations[n].properties = slice_of("\x01\x00", 2);
    operations[n].qos = 2;
    operations[n].publisher = 1;
    operations[n++].expires_at_ms = 1800000000000u;
    *count = n;
    return operations;
}

static void every_field_comes_back(void **state)
{
    struct store *store = opened(state);
    size_t count;
    const struct operation *operations = unusual(&count);
    store_apply(store, operations, count);
    store_reopen(store);
    store_reopen(store); /* loading changes nothing */
}

static void the_state_survives(void **state)
{
    struct store *store = opened(state);
    size_t count;
    const struct operation *operations = base_state(&count);
    store_apply(store, operations, count);
    store_reopen(store);
}

/* One change of the base state each. */
static const struct operation *changes(size_t *count)
{
    static struct operation operations[24];
    size_t n = 0;
    operations[n++] = session_put(1, "other id");
    operations[n++] = session_drop(1);
    operations[n] = subscription_put(1, "a/+");
    operations[n++].qos = 2;
    operations[n++] = (struct operation){
        .type = OPERATION_SUBSCRIPTION_DROP, .session = 1, .filter = slice_text("a/+")};
    operations[n++] = will_put(1, 10);
    operations[n++] = (struct operation){.type = OPERATION_WILL_DROP, .session = 1};
    operations[n++] = message_put(10, "a/b", "again");
    operations[n++] = message_drop(10);
    operations[n++] = queue_push(1, 6, 10);
    operations[n++] = queue_push(1, 2, 10); /* the same position: replaced */
    operations[n++] = queue_release(1, 2);
    operations[n++] = queue_pop(1, 1, 1);
    operations[n++] = queue_pop(1, 2, 5);
    operations[n++] = queue_pop(1, 1, UINT64_MAX);
    operations[n++] = inbound_put(1, 7);
    operations[n++] =
        (struct operation){.type = OPERATION_INBOUND_QOS2_DROP, .session = 1, .packet_id = 65535};
    operations[n++] = retained_put("a/b", "");
    operations[n++] =
        (struct operation){.type = OPERATION_RETAINED_DROP, .topic = slice_text("a/b")};
    *count = n;
    return operations;
}

/* Each change on its own store would take long; so the base state is put before each. */
static void each_operation_does_what_it_says(void **state)
{
    struct store *store = opened(state);
    size_t count, base_count;
    const struct operation *operations = changes(&count);
    const struct operation *base = base_state(&base_count);
    for (size_t i = 0; i < count; i++) {
        store_apply(store, base, base_count);
        store_apply(store, &operations[i], 1);
        store_reopen(store);
    }
}

static void each_operation_twice_is_as_good_as_once(void **state)
{
    struct store *store = opened(state);
    size_t count, base_count;
    const struct operation *operations = changes(&count);
    const struct operation *base = base_state(&base_count);
    for (size_t i = 0; i < count; i++) {
        store_apply(store, base, base_count);
        store_apply(store, &operations[i], 1);
        store_repeat(store, &operations[i], 1);
        store_reopen(store);
    }
}

static void a_batch_twice_is_as_good_as_once(void **state)
{
    struct store *store = opened(state);
    size_t count;
    const struct operation *base = base_state(&count);
    struct operation batch[32];
    memcpy(batch, base, count * sizeof(batch[0]));
    batch[count++] = queue_release(1, 5);
    batch[count++] = queue_pop(1, 1, 2);
    batch[count++] = session_drop(2);
    batch[count++] = message_drop(10);
    batch[count++] = message_drop(11);
    batch[count++] = session_put(4, "two"); /* the client id of the one that was dropped */
    batch[count++] =
        (struct operation){.type = OPERATION_RETAINED_DROP, .topic = slice_text("a/b")};
    batch[count++] = retained_put("a/b", "newer");
    store_apply(store, batch, count);
    store_repeat(store, batch, count);
    store_reopen(store);
    store_repeat(store, batch, count); /* also behind a restart */
    store_reopen(store);
}

static void operations_on_what_is_not_there_are_harmless(void **state)
{
    struct store *store = opened(state);
    const struct operation batch[] = {
        session_put(1, "one"),
        session_put(2, "gone"),
        session_drop(2),
        session_drop(2),
        session_drop(77),
        message_put(10, "t", "p"),
        queue_push(2, 1, 10),
        subscription_put(2, "f"),
        inbound_put(2, 1),
        will_put(2, 10),
        queue_pop(1, 1, 10),
        queue_pop(2, 1, 1),
        queue_release(1, 1),
        queue_release(2, 9),
        message_drop(99),
        {.type = OPERATION_WILL_DROP, .session = 1},
        {.type = OPERATION_SUBSCRIPTION_DROP, .session = 1, .filter = slice_text("none")},
        {.type = OPERATION_INBOUND_QOS2_DROP, .session = 1, .packet_id = 3},
        {.type = OPERATION_RETAINED_DROP, .topic = slice_text("none")},
    };
    store_apply_all(store, batch);
    store_reopen(store);
    store_apply_all(store, batch);
    store_reopen(store);
}

static void what_refers_to_nothing_and_what_nothing_refers_to_is_left_out(void **state)
{
    struct store *store = opened(state);
    const struct operation batch[] = {
        session_put(1, "one"),
        session_put(2, "two"),
        message_put(10, "used", "p"),
        message_put(11, "unused", "p"),
        message_put(12, "dropped too early", "p"),
        queue_push(1, 1, 10),
        queue_push(1, 2, 12),
        queue_push(1, 3, 10),
        will_put(1, 12),
        will_put(2, 13),
        message_drop(12),
    };
    store_apply_all(store, batch);
    store_reopen(store);
    store_tend(store);
    store_reopen(store);
}

/* Everything of a session goes with it; the messages are dropped by whoever counts references. */
static void a_dropped_session_takes_everything_with_it(void **state)
{
    struct store *store = opened(state);
    size_t count;
    const struct operation *base = base_state(&count);
    store_apply(store, base, count);
    store_reopen(store);
    const struct operation drop[] = {session_drop(1), message_drop(11), message_drop(12)};
    store_apply_all(store, drop);
    store_reopen(store);
    store_tend(store);
    store_reopen(store);
    const struct operation rest[] = {session_drop(2), message_drop(10)};
    store_apply_all(store, rest);
    store_reopen(store);
}

static void a_new_session_of_a_client_starts_empty(void **state)
{
    struct store *store = opened(state);
    size_t count;
    const struct operation *base = base_state(&count);
    store_apply(store, base, count);
    const struct operation again[] = {session_drop(1), session_put(3, "one")};
    store_apply_all(store, again);
    store_reopen(store);
}

static void an_empty_batch_is_applied(void **state)
{
    struct store *store = opened(state);
    store->now_ms += 60000;
    store->next_id = 500;
    store_apply(store, NULL, 0);
    store_reopen(store);
    assert_true(store->loaded.next_id >= 500);
}

/* ---- clocks and ids -------------------------------------------------------------------------- */

static void ids_and_the_clock_survive(void **state)
{
    struct store *store = opened(state);
    const struct operation session = session_put(41, "one");
    store->next_id = 42;
    store_apply(store, &session, 1);
    store_reopen(store);
    assert_true(store->loaded.next_id >= 42);
    /* "About": a second is near enough, the future isn't. */
    assert_true(store->loaded.last_seen_ms <= store->now_ms);
    assert_true(store->loaded.last_seen_ms + 1000 >= store->now_ms);
    store->now_ms += 123456789;
    store->next_id = 1u << 20;
    store_apply(store, &session, 1);
    store_reopen(store);
    assert_true(store->loaded.next_id >= 1u << 20);
    assert_true(store->loaded.last_seen_ms <= store->now_ms);
    assert_true(store->loaded.last_seen_ms + 1000 >= store->now_ms);
}

/* A gateway without a battery starts in 1970. */
static void a_clock_that_goes_back_leaves_the_latest_moment(void **state)
{
    struct store *store = opened(state);
    const struct operation session = session_put(1, "one");
    uint64_t latest_ms = store->now_ms;
    store->next_id = 100;
    store_apply(store, &session, 1);
    store_reopen(store);
    store->now_ms = 1000;
    store->next_id = 2;
    store_apply(store, &session, 1);
    store_tend(store);
    store_reopen(store);
    assert_true(store->loaded.last_seen_ms <= latest_ms);
    assert_true(store->loaded.last_seen_ms + 1000 >= latest_ms);
    assert_true(store->loaded.next_id >= 100);
}

/* What ends while nobody is there is still given, with its times: whether a session or a message is
 * over, and what follows from it, is for the broker to say. Only retained messages may be gone. */
static void what_expired_while_down_comes_with_its_times(void **state)
{
    struct store *store = opened(state);
    struct operation batch[] = {
        session_put(1, "one"),      message_put(10, "t", "stays"), message_put(11, "t", "ends"),
        queue_push(1, 1, 10),       queue_push(1, 2, 11),          retained_put("t", "ends"),
        retained_put("u", "stays"),
    };
    batch[0].expiry_s = 1;
    batch[2].expires_at_ms = store->now_ms + 1000;
    batch[5].expires_at_ms = store->now_ms + 1000;
    store_apply_all(store, batch);
    store_close(store);
    store->now_ms += 3600 * 1000;
    struct model found = {0};
    store_open_into(store, &found);
    if (model_find(&found, &batch[5]) == NULL) {
        model_apply(&store->expected,
                    &(struct operation){.type = OPERATION_RETAINED_DROP, .topic = slice_text("t")});
    }
    char why[WHY_BYTES] = "";
    bool equal = model_equal(&store->expected, &found, why);
    model_fini(&found);
    if (!equal) {
        fail_msg("%s", why);
    }
}

static void tending_removes_nothing_that_counts(void **state)
{
    struct store *store = opened(state);
    size_t count;
    const struct operation *base = base_state(&count);
    store_apply(store, base, count);
    struct operation ends[] = {message_put(30, "t", "ends"), queue_push(2, 7, 30)};
    ends[0].expires_at_ms = store->now_ms + 1;
    store_apply_all(store, ends);
    store->now_ms += 7200 * 1000;
    store_tend(store);
    store_reopen(store);
    store_tend(store);
    store_reopen(store);
}

int contract_operations(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_has_no_engine),
        with_store(the_name_of_an_engine_is_the_word_that_chooses_it),
        with_store(a_new_store_is_empty_and_was_never_seen),
        with_store(a_store_is_locked_against_another_process),
        with_store(the_store_of_a_newer_version_is_refused_and_left_alone),
        with_store(an_error_of_the_sink_ends_loading),
        with_store(every_field_comes_back),
        with_store(the_state_survives),
        with_store(each_operation_does_what_it_says),
        with_store(each_operation_twice_is_as_good_as_once),
        with_store(a_batch_twice_is_as_good_as_once),
        with_store(operations_on_what_is_not_there_are_harmless),
        with_store(what_refers_to_nothing_and_what_nothing_refers_to_is_left_out),
        with_store(a_dropped_session_takes_everything_with_it),
        with_store(a_new_session_of_a_client_starts_empty),
        with_store(an_empty_batch_is_applied),
        with_store(ids_and_the_clock_survive),
        with_store(a_clock_that_goes_back_leaves_the_latest_moment),
        with_store(what_expired_while_down_comes_with_its_times),
        with_store(tending_removes_nothing_that_counts),
    };
    return cmocka_run_group_tests_name("operations", tests, NULL, NULL);
}
