/*
 * The SQLite engine on a disk that fails: nothing is lost, nothing is half done, and what was
 * synced survives a power loss.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "tests/unit/storage/contract_support.h"
#include "tests/unit/storage/sqlite_disk_support.h"

#define LOSSES 20u      /* of power, in one test */
#define BATCHES_MAX 24u /* between two of them */
#define ATTEMPTS_MAX 50u

static struct {
    uint64_t random;
    uint64_t position;
} walk;

static uint64_t draw(uint64_t limit)
{
    return contract_draw(&walk.random, limit);
}

static int power_create(void **state)
{
    int result = store_create(state);
    sqlite_disk_insert();
    walk.random = contract_seed();
    walk.position = 1;
    return result;
}

static int power_destroy(void **state)
{
    struct store *store = *state;
    store_close(store);
    sqlite_disk_remove();
    return store_destroy(state);
}
#define with_power(test) cmocka_unit_test_setup_teardown(test, power_create, power_destroy)

static void begin(struct store *store, enum storage_policy policy)
{
    store->config.policy = policy;
    store_open(store);
    const struct operation sessions[] = {session_put(1, "one"), session_put(2, "two"),
                                         session_put(3, "three")};
    store_apply_all(store, sessions);
    store_sync(store);
    store->next_id = 4;
}

/* A few messages into queues, some of them large, and some taken out. */
static size_t make_batch(struct store *store, struct operation *batch)
{
    static char payload[300000]; /* so that the log is copied now and then */
    size_t n = 0;
    memset(payload, (int)('a' + draw(26)), sizeof(payload));
    for (uint64_t steps = 1 + draw(6); steps > 0; steps--) {
        uint64_t id = store->next_id++;
        walk.position++;
        batch[n] = message_put(id, "some/topic", "");
        batch[n++].payload = slice_of(payload, draw(8) == 0 ? sizeof(payload) : draw(300));
        batch[n++] = queue_push(1 + draw(3), walk.position, id);
    }
    uint64_t from = 1 + draw(walk.position);
    batch[n++] = queue_pop(1 + draw(3), from, from + draw(10));
    batch[n] = retained_put("topic", "");
    batch[n++].payload = slice_of(payload, draw(100));
    return n;
}

static enum err apply_once(struct store *store, const struct operation *operations, size_t count)
{
    struct array_batch batch;
    array_batch_init(&batch, operations, count);
    batch.batch.now_ms = store->now_ms;
    batch.batch.next_id = store->next_id;
    return store->type->apply(store->engine, &batch.batch);
}

static void tell_model(struct model *model, const struct operation *operations, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        model_apply(model, &operations[i]);
    }
}

/* As the writer does it: the same batch until it works. */
static void apply_until_done(struct store *store, const struct operation *batch, size_t count)
{
    unsigned attempts = 0;
    while (apply_once(store, batch, count) != ERR_OK) {
        assert_true(store->engine->trouble[0] != '\0');
        assert_true(++attempts < ATTEMPTS_MAX);
    }
    tell_model(&store->expected, batch, count);
}

static void sync_until_done(struct store *store)
{
    unsigned attempts = 0;
    while (store->type->sync(store->engine) != ERR_OK) {
        assert_true(++attempts < ATTEMPTS_MAX);
    }
}

/* Ends the engine without power, and gives the files what is left of them. */
static void lose_power(struct store *store)
{
    sqlite_disk_cut_power();
    store_close(store);
    sqlite_disk_restore_power(draw(UINT32_MAX));
}

static void lose_power_synced(struct store *store)
{
    store_sync(store);
    lose_power(store);
}

/* ---- power ----------------------------------------------------------------------------------- */

static void strict_batches_survive_a_power_loss(void **state)
{
    struct store *store = *state;
    struct operation batch[32];
    begin(store, COMMIT_STRICT);
    for (unsigned loss = 0; loss < LOSSES; loss++) {
        for (uint64_t batches = draw(BATCHES_MAX); batches > 0; batches--) {
            store_apply(store, batch, make_batch(store, batch));
            if (draw(6) == 0) {
                store_tend(store);
            }
        }
        lose_power(store);
        store_open(store); /* all of them */
    }
}

/* Whatever came behind the last sync may be lost, but then the last of it first. */
static void balanced_batches_survive_a_power_loss_up_to_the_last_sync(void **state)
{
    struct store *store = *state;
    struct operation batch[32];
    begin(store, COMMIT_BALANCED);
    for (unsigned loss = 0; loss < LOSSES; loss++) {
        for (uint64_t batches = draw(BATCHES_MAX); batches > 0; batches--) {
            store_apply(store, batch, make_batch(store, batch));
            if (draw(6) == 0) {
                store_tend(store);
            }
        }
        store_sync(store);
        size_t count = make_batch(store, batch);
        bool applied = draw(2) == 0 && apply_once(store, batch, count) == ERR_OK;
        lose_power(store);
        struct model found = {0};
        char why[WHY_BYTES] = "";
        store_open_into(store, &found);
        model_tidy(&store->expected);
        bool equal = model_equal(&store->expected, &found, why);
        if (!equal && applied) {
            tell_model(&store->expected, batch, count);
            model_tidy(&store->expected);
            equal = model_equal(&store->expected, &found, why);
        }
        model_fini(&found);
        if (!equal) {
            fail_msg("%s", why);
        }
    }
}

/* A sync that failed once made nothing safe, even if the next one works. */
static void a_failed_sync_is_made_good(void **state, enum storage_policy policy)
{
    struct store *store = *state;
    struct operation batch[32];
    begin(store, policy);
    for (unsigned loss = 0; loss < LOSSES; loss++) {
        for (uint64_t batches = draw(BATCHES_MAX); batches > 0; batches--) {
            sqlite_disk_fail(SQLITE_DISK_IO, draw(20), draw(3));
            apply_until_done(store, batch, make_batch(store, batch));
            if (draw(6) == 0) {
                (void)store->type->tend(store->engine, store->now_ms);
            }
            if (draw(5) == 0) {
                sync_until_done(store);
            }
        }
        sync_until_done(store);
        if (draw(3) == 0) {
            sqlite_disk_fail(SQLITE_DISK_IO, draw(10), draw(10));
            store_close(store);
        }
        sqlite_disk_fail(SQLITE_DISK_IO, 0, 0);
        lose_power(store);
        store_open(store);
    }
}

static void failed_syncs_lose_nothing_under_strict(void **state)
{
    a_failed_sync_is_made_good(state, COMMIT_STRICT);
}

static void failed_syncs_lose_nothing_under_balanced(void **state)
{
    a_failed_sync_is_made_good(state, COMMIT_BALANCED);
}

/* Opening what an earlier process left makes it safe: that process promised so. */
static void what_a_killed_process_left_is_safe_after_opening(void **state)
{
    struct store *store = *state;
    begin(store, COMMIT_BALANCED);
    uint64_t syncs = sqlite_disk_syncs();
    store_close(store);
    store_open(store);
    assert_true(sqlite_disk_syncs() > syncs);
}

/* ---- failures -------------------------------------------------------------------------------- */

/* The n-th call fails, and works when it comes again: for each n that a batch, a sync and a tending
 * with a checkpoint need. */
static void each_call_may_fail(void **state, enum sqlite_disk_fault fault, uint64_t times)
{
    struct store *store = *state;
    struct operation batch[32];
    begin(store, COMMIT_BALANCED);
    for (uint64_t n = 0; n < 60; n++) {
        uint64_t calls = sqlite_disk_calls();
        sqlite_disk_fail(fault, n, times);
        apply_until_done(store, batch, make_batch(store, batch));
        sync_until_done(store);
        (void)store->type->tend(store->engine, store->now_ms);
        assert_true(sqlite_disk_calls() > calls);
        sqlite_disk_fail(fault, 0, 0);
        if (n % 3 == 0) {
            store_reopen(store);
        }
    }
    store_reopen(store);
}

static void each_call_may_fail_once(void **state)
{
    each_call_may_fail(state, SQLITE_DISK_IO, 1);
}

static void each_call_may_fail_several_times(void **state)
{
    each_call_may_fail(state, SQLITE_DISK_IO, 7);
}

static void the_disk_may_be_full_at_each_call(void **state)
{
    each_call_may_fail(state, SQLITE_DISK_FULL, 5);
}

static enum err ignore(void *context, const struct operation *operation)
{
    (void)context;
    (void)operation;
    return ERR_OK;
}

static enum err open_and_load(struct store *store)
{
    struct engine *engine = NULL;
    struct engine_loaded loaded;
    enum err err = store->type->open(&store->config, &store->stats, &engine);
    if (err != ERR_OK) {
        return err;
    }
    err = store->type->load(engine, &(struct operation_sink){NULL, ignore}, &loaded);
    store->type->close(engine);
    return err;
}

static void opening_may_fail_at_each_call(void **state)
{
    struct store *store = *state;
    struct operation batch[32];
    unsigned failed = 0;
    begin(store, COMMIT_BALANCED);
    for (uint64_t n = 0; n < 80; n++) {
        store_apply(store, batch, make_batch(store, batch));
        if (n % 2 == 0) {
            lose_power_synced(store); /* leaves a log to be read */
        }
        store_close(store);
        sqlite_disk_fail(SQLITE_DISK_IO, n, 1);
        failed += open_and_load(store) != ERR_OK ? 1 : 0;
        sqlite_disk_fail(SQLITE_DISK_IO, 0, 0);
        store_open(store);
    }
    assert_true(failed > 20);
}

static void a_new_store_may_fail_at_each_call(void **state)
{
    struct store *store = *state;
    for (uint64_t n = 0; n < 60; n++) {
        sqlite_disk_fail(n % 2 == 0 ? SQLITE_DISK_IO : SQLITE_DISK_FULL, n / 2, 1);
        enum err err = open_and_load(store);
        assert_true(err == ERR_OK || err == ERR_IO || err == ERR_FULL);
        sqlite_disk_fail(SQLITE_DISK_IO, 0, 0);
        store_open(store);
        store_close(store);
        assert_int_equal(unlink(store->config.sqlite_path), 0);
    }
}

static void a_full_disk_is_called_full_and_the_batch_comes_again(void **state)
{
    struct store *store = *state;
    struct operation batch[32];
    begin(store, COMMIT_STRICT);
    size_t count = make_batch(store, batch);
    sqlite_disk_fail(SQLITE_DISK_FULL, 0, UINT64_MAX);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(apply_once(store, batch, count), ERR_FULL);
        assert_non_null(strstr(store->engine->trouble, "full"));
    }
    sqlite_disk_fail(SQLITE_DISK_FULL, 0, 0);
    store_apply(store, batch, count);
    store_reopen(store);
}

static void a_dead_disk_is_an_error_until_it_is_back(void **state)
{
    struct store *store = *state;
    struct operation batch[32];
    begin(store, COMMIT_BALANCED);
    size_t count = make_batch(store, batch);
    sqlite_disk_fail(SQLITE_DISK_IO, 0, UINT64_MAX);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(apply_once(store, batch, count), ERR_IO);
        assert_false(store->type->tend(store->engine, store->now_ms));
    }
    sqlite_disk_fail(SQLITE_DISK_IO, 0, 0);
    store_apply(store, batch, count);
    store_sync(store);
    store_reopen(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_power(strict_batches_survive_a_power_loss),
        with_power(balanced_batches_survive_a_power_loss_up_to_the_last_sync),
        with_power(failed_syncs_lose_nothing_under_strict),
        with_power(failed_syncs_lose_nothing_under_balanced),
        with_power(what_a_killed_process_left_is_safe_after_opening),
        with_power(each_call_may_fail_once),
        with_power(each_call_may_fail_several_times),
        with_power(the_disk_may_be_full_at_each_call),
        with_power(opening_may_fail_at_each_call),
        with_power(a_new_store_may_fail_at_each_call),
        with_power(a_full_disk_is_called_full_and_the_batch_comes_again),
        with_power(a_dead_disk_is_an_error_until_it_is_back),
    };
    if (!contract_choose("sqlite")) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    contract_end();
    return failed;
}
