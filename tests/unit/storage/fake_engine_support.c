#include "tests/unit/storage/fake_engine_support.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/text.h"
#include "tests/unit/storage/fake_memory_support.h"
#include "tests/unit/storage/operation_text_support.h"

struct fake_failure {
    enum err err;
    unsigned times;
    char words[80];
};

struct fake_store {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct fake_memory memory;
    unsigned calls[FAKE_CALLS];
    uint64_t call_ms[FAKE_CALLS];
    struct fake_failure failures[FAKE_CALLS];
    unsigned fail_percent;
    uint64_t random;
    bool block[FAKE_CALLS];
    bool blocked;
    char history[1001];
    size_t history_len;
    bool forget;
    unsigned tend_more;
    uint64_t last_seen_ms;
    uint64_t next_id;
    struct text last_batch;
    struct text contents;
    struct text shown_batch;
};

struct engine_of_store {
    struct engine engine;
    struct fake_store *store;
};

static struct fake_store *current;

static void lock(struct fake_store *store)
{
    (void)pthread_mutex_lock(&store->mutex);
}

static void unlock(struct fake_store *store)
{
    (void)pthread_cond_broadcast(&store->changed);
    (void)pthread_mutex_unlock(&store->mutex);
}

/* ---- the engine ------------------------------------------------------------------------------ */

static struct fake_store *store_of(struct engine *engine)
{
    return container_of(engine, struct engine_of_store, engine)->store;
}

static bool fails_at_random(struct fake_store *store)
{
    store->random = store->random * 6364136223846793005u + 1442695040888963407u;
    return (store->random >> 33) % 100 < store->fail_percent;
}

/* Lets a call begin, counts it, and says what it shall give. Locked. */
static enum err outcome(struct fake_store *store, struct engine *engine, enum fake_call call)
{
    static const char letters[FAKE_CALLS] = {
        [FAKE_APPLY] = 'A', [FAKE_SYNC] = 'S', [FAKE_TEND] = 'T'};
    while (store->block[call]) {
        store->blocked = true;
        (void)pthread_cond_broadcast(&store->changed);
        (void)pthread_cond_wait(&store->changed, &store->mutex);
    }
    store->blocked = false;
    if (letters[call] != '\0' && store->history_len < sizeof(store->history) - 1) {
        store->history[store->history_len++] = letters[call];
    }
    store->calls[call]++;
    store->call_ms[call] = clock_mono_ms();
    struct fake_failure *failure = &store->failures[call];
    if (failure->times > 0) {
        failure->times -= failure->times < UINT32_MAX;
        if (engine != NULL) {
            engine_trouble(engine, "%s", failure->words);
        }
        return failure->err;
    }
    if ((call == FAKE_APPLY || call == FAKE_SYNC) && fails_at_random(store)) {
        return ERR_IO;
    }
    return ERR_OK;
}

static enum err fake_open(const struct storage_config *config, struct storage_stats *stats,
                          struct engine **out)
{
    (void)config;
    (void)stats;
    struct fake_store *store = current;
    lock(store);
    enum err err = outcome(store, NULL, FAKE_OPEN);
    unlock(store);
    if (err != ERR_OK) {
        return err;
    }
    struct engine_of_store *engine = calloc(1, sizeof(*engine));
    engine->engine.type = &fake_engine;
    engine->store = store;
    *out = &engine->engine;
    return ERR_OK;
}

static enum err fake_load(struct engine *engine, const struct operation_sink *sink,
                          struct engine_loaded *loaded)
{
    static const enum operation_type order[] = {OPERATION_SESSION_PUT, OPERATION_SUBSCRIPTION_PUT,
                                                OPERATION_MESSAGE_PUT, OPERATION_WILL_PUT,
                                                OPERATION_QUEUE_PUSH,  OPERATION_INBOUND_QOS2_PUT,
                                                OPERATION_RETAINED_PUT};
    struct fake_store *store = store_of(engine);
    lock(store);
    enum err err = outcome(store, engine, FAKE_LOAD);
    *loaded =
        (struct engine_loaded){.last_seen_ms = store->last_seen_ms, .next_id = store->next_id};
    for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
        for (struct kept *kept = store->memory.kept[order[i]]; err == ERR_OK && kept != NULL;
             kept = kept->next) {
            err = sink->take(sink->context, &kept->operation);
        }
    }
    unlock(store);
    return err;
}

/* Both walks over a batch give the same. */
static void write_down(struct fake_store *store, struct batch *batch)
{
    struct text again = {0};
    struct operation operation;
    text_fini(&store->last_batch);
    store->last_batch = (struct text){0};
    while (batch->next(batch, &operation)) {
        operation_text_add(&store->last_batch, &operation);
    }
    batch->rewind(batch);
    while (batch->next(batch, &operation)) {
        operation_text_add(&again, &operation);
    }
    batch->rewind(batch);
    if (again.len != store->last_batch.len ||
        memcmp(again.data, store->last_batch.data, again.len) != 0) {
        fake_memory_complain(&store->memory, "the second walk differs", &operation);
    }
    text_fini(&again);
}

static enum err fake_apply(struct engine *engine, struct batch *batch)
{
    struct fake_store *store = store_of(engine);
    lock(store);
    enum err err = outcome(store, engine, FAKE_APPLY);
    if (!store->forget) {
        write_down(store, batch);
    }
    struct operation operation;
    while (err == ERR_OK && batch->next(batch, &operation)) {
        if (!store->forget) {
            fake_memory_apply(&store->memory, &operation);
        }
    }
    if (err == ERR_OK) {
        fake_memory_check(&store->memory);
        store->last_seen_ms = batch->now_ms;
        store->next_id = batch->next_id;
    }
    unlock(store);
    return err;
}

static enum err fake_sync(struct engine *engine)
{
    struct fake_store *store = store_of(engine);
    lock(store);
    enum err err = outcome(store, engine, FAKE_SYNC);
    unlock(store);
    return err;
}

static bool fake_tend(struct engine *engine, uint64_t now_ms)
{
    (void)now_ms;
    struct fake_store *store = store_of(engine);
    lock(store);
    (void)outcome(store, engine, FAKE_TEND);
    bool more = store->tend_more > 0;
    store->tend_more -= more;
    unlock(store);
    return more;
}

static void fake_close(struct engine *engine)
{
    struct fake_store *store = store_of(engine);
    lock(store);
    (void)outcome(store, NULL, FAKE_CLOSE);
    unlock(store);
    free(container_of(engine, struct engine_of_store, engine));
}

const struct engine_type fake_engine = {
    .name = "fake",
    .open = fake_open,
    .load = fake_load,
    .apply = fake_apply,
    .sync = fake_sync,
    .tend = fake_tend,
    .close = fake_close,
};

/* ---- the store ------------------------------------------------------------------------------- */

struct fake_store *fake_store_create(void)
{
    struct fake_store *store = calloc(1, sizeof(*store));
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&store->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)pthread_mutex_init(&store->mutex, NULL);
    store->next_id = 1;
    return store;
}

void fake_store_destroy(struct fake_store *store)
{
    fake_memory_fini(&store->memory);
    text_fini(&store->last_batch);
    text_fini(&store->shown_batch);
    text_fini(&store->contents);
    (void)pthread_cond_destroy(&store->changed);
    (void)pthread_mutex_destroy(&store->mutex);
    free(store);
}

void fake_store_use(struct fake_store *store)
{
    current = store;
}

void fake_store_fail(struct fake_store *store, enum fake_call call, enum err err, unsigned times,
                     const char *words)
{
    lock(store);
    store->failures[call] = (struct fake_failure){.err = err, .times = times};
    (void)snprintf(store->failures[call].words, sizeof(store->failures[call].words), "%s", words);
    unlock(store);
}

void fake_store_fail_at_random(struct fake_store *store, unsigned percent, uint64_t seed)
{
    lock(store);
    store->fail_percent = percent;
    store->random = seed;
    unlock(store);
}

void fake_store_block(struct fake_store *store, enum fake_call call)
{
    lock(store);
    store->block[call] = true;
    unlock(store);
}

void fake_store_unblock(struct fake_store *store)
{
    lock(store);
    memset(store->block, 0, sizeof(store->block));
    unlock(store);
}

/* Waits for a change until `deadline_ms`; false when it is past. Locked. */
static bool wait_changed(struct fake_store *store, uint64_t deadline_ms)
{
    struct timespec until = {.tv_sec = (time_t)(deadline_ms / 1000),
                             .tv_nsec = (long)(deadline_ms % 1000) * 1000000};
    return pthread_cond_timedwait(&store->changed, &store->mutex, &until) != ETIMEDOUT;
}

bool fake_store_wait_blocked(struct fake_store *store, uint64_t timeout_ms)
{
    uint64_t deadline_ms = clock_mono_ms() + timeout_ms;
    lock(store);
    while (!store->blocked && wait_changed(store, deadline_ms)) {
    }
    bool blocked = store->blocked;
    unlock(store);
    return blocked;
}

bool fake_store_wait(struct fake_store *store, enum fake_call call, unsigned count,
                     uint64_t timeout_ms)
{
    uint64_t deadline_ms = clock_mono_ms() + timeout_ms;
    lock(store);
    while (store->calls[call] < count && wait_changed(store, deadline_ms)) {
    }
    bool reached = store->calls[call] >= count;
    unlock(store);
    return reached;
}

void fake_store_set_tend_more(struct fake_store *store, unsigned times)
{
    lock(store);
    store->tend_more = times;
    unlock(store);
}

unsigned fake_store_calls(struct fake_store *store, enum fake_call call)
{
    lock(store);
    unsigned calls = store->calls[call];
    unlock(store);
    return calls;
}

const char *fake_store_history(struct fake_store *store)
{
    lock(store); /* what is there stays */
    unlock(store);
    return store->history;
}

uint64_t fake_store_call_ms(struct fake_store *store, enum fake_call call)
{
    lock(store);
    uint64_t ms = store->call_ms[call];
    unlock(store);
    return ms;
}

const char *fake_store_last_batch(struct fake_store *store)
{
    lock(store);
    text_fini(&store->shown_batch);
    store->shown_batch = (struct text){0};
    text_add_bytes(&store->shown_batch, store->last_batch.data, store->last_batch.len);
    unlock(store);
    return store->shown_batch.data != NULL ? store->shown_batch.data : "";
}

static const char *show(struct fake_store *store,
                        void (*how)(const struct fake_memory *memory, struct text *text))
{
    lock(store);
    text_fini(&store->contents);
    store->contents = (struct text){0};
    how(&store->memory, &store->contents);
    unlock(store);
    return store->contents.data != NULL ? store->contents.data : "";
}

const char *fake_store_contents(struct fake_store *store)
{
    return show(store, fake_memory_show);
}

const char *fake_store_contents_with_payloads(struct fake_store *store)
{
    return show(store, fake_memory_show_payloads);
}

unsigned fake_store_count(struct fake_store *store, enum operation_type type)
{
    lock(store);
    unsigned count = fake_memory_count(&store->memory, type);
    unlock(store);
    return count;
}

uint64_t fake_store_now_ms(struct fake_store *store)
{
    lock(store);
    uint64_t now_ms = store->last_seen_ms;
    unlock(store);
    return now_ms;
}

uint64_t fake_store_next_id(struct fake_store *store)
{
    lock(store);
    uint64_t next_id = store->next_id;
    unlock(store);
    return next_id;
}

void fake_store_set_last_seen(struct fake_store *store, uint64_t ms)
{
    lock(store);
    store->last_seen_ms = ms;
    unlock(store);
}

void fake_store_set_next_id(struct fake_store *store, uint64_t id)
{
    lock(store);
    store->next_id = id;
    unlock(store);
}

const char *fake_store_complaint(struct fake_store *store)
{
    lock(store); /* it is written once */
    unlock(store);
    return store->memory.complaint;
}

void fake_store_forget(struct fake_store *store)
{
    lock(store);
    store->forget = true;
    unlock(store);
}
