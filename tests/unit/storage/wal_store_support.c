#include "tests/unit/storage/wal_store_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "storage/batch.h"
#include "tests/unit/storage/operation_text_support.h"

#define SEGMENT_BYTES (64u << 10)

void wal_store_init(struct wal_store *store)
{
    memset(store, 0, sizeof(*store));
    faulty_files_init(&store->disk);
    store->config = (struct storage_config){.engine = STORAGE_WAL,
                                            .wal_dir = WAL_STORE_DIR,
                                            .wal_segment_bytes = SEGMENT_BYTES,
                                            .wal_damage = DAMAGE_QUARANTINE,
                                            .files = &store->disk.files};
    store->now_ms = 1000;
    store->next_id = 1;
}

void wal_store_fini(struct wal_store *store)
{
    wal_store_close(store);
    text_fini(&store->content);
    faulty_files_fini(&store->disk);
}

static enum err take(void *context, const struct operation *operation)
{
    operation_text_add(context, operation);
    return ERR_OK;
}

enum err wal_store_open(struct wal_store *store)
{
    text_fini(&store->content);
    store->content = (struct text){0};
    enum err err = engine_wal.open(&store->config, &store->stats, &store->engine);
    if (err != ERR_OK) {
        store->engine = NULL;
        return err;
    }
    const struct operation_sink sink = {.context = &store->content, .take = take};
    err = engine_wal.load(store->engine, &sink, &store->loaded);
    if (err != ERR_OK) {
        wal_store_close(store);
        return err;
    }
    operation_text_sort(&store->content);
    return ERR_OK;
}

void wal_store_close(struct wal_store *store)
{
    if (store->engine != NULL) {
        engine_wal.close(store->engine);
        store->engine = NULL;
    }
}

enum err wal_store_apply(struct wal_store *store, const struct operation *operations, size_t count)
{
    struct array_batch batch;
    array_batch_init(&batch, operations, count);
    batch.batch.now_ms = ++store->now_ms;
    batch.batch.next_id = store->next_id;
    return engine_wal.apply(store->engine, &batch.batch);
}

bool wal_store_compact(struct wal_store *store)
{
    int64_t before = stat_get(&store->stats, STAT_COMPACTIONS);
    struct wal_engine *wal = wal_store_engine(store);
    if (wal_engine__compact(wal) != ERR_OK) {
        return false;
    }
    wal_engine__end_compaction(wal, false);
    return stat_get(&store->stats, STAT_COMPACTIONS) > before;
}

void wal_store_apply_random(struct wal_store *store, struct wal_random *random)
{
    wal_random_batch(random);
    store->next_id = random->next_id;
    assert_int_equal(wal_store_apply(store, random->operations, random->count), ERR_OK);
}

void wal_store_fill(struct wal_store *store, struct wal_random *random)
{
    random->payload_max = 1500;
    for (unsigned i = 0; i < 60; i++) {
        wal_store_apply_random(store, random);
        if (i == 40) {
            assert_true(wal_store_compact(store));
        }
    }
    assert_int_equal(engine_wal.sync(store->engine), ERR_OK);
}

void wal_store_reopen(struct wal_store *store)
{
    wal_store_close(store);
    assert_int_equal(wal_store_open(store), ERR_OK);
}

uint64_t wal_store_seed(void)
{
    const char *given = getenv("PULSE_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("PULSE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

void wal_store_expect(const struct wal_store *store, const struct wal_model *model)
{
    struct text wanted = {0};
    wal_model_print(model, &wanted);
    assert_string_equal(store->content.data != NULL ? store->content.data : "",
                        wanted.data != NULL ? wanted.data : "");
    text_fini(&wanted);
}

void wal_store_set_room(struct wal_store *store, uint64_t room)
{
    (void)pthread_mutex_lock(&store->disk.mutex);
    store->disk.room = room;
    (void)pthread_mutex_unlock(&store->disk.mutex);
}

void wal_store_freeze(struct wal_store *store, unsigned at)
{
    (void)pthread_mutex_lock(&store->disk.mutex);
    store->disk.frozen_at = store->disk.calls + at;
    (void)pthread_mutex_unlock(&store->disk.mutex);
}

void wal_store_fail(struct wal_store *store, unsigned at, unsigned count, int error)
{
    (void)pthread_mutex_lock(&store->disk.mutex);
    store->disk.fail_at = store->disk.calls + at;
    store->disk.fail_count = count;
    store->disk.error = error;
    store->disk.torn = true;
    store->disk.failed = 0;
    (void)pthread_mutex_unlock(&store->disk.mutex);
}

bool wal_store_end_faults(struct wal_store *store)
{
    (void)pthread_mutex_lock(&store->disk.mutex);
    bool failed = store->disk.failed > 0;
    store->disk.fail_at = 0;
    (void)pthread_mutex_unlock(&store->disk.mutex);
    return failed;
}

struct name_count {
    const char *prefix;
    size_t count;
};

static void count_name(void *argument, const char *name)
{
    struct name_count *names = argument;
    names->count += strncmp(name, names->prefix, strlen(names->prefix)) == 0 ? 1 : 0;
}

size_t wal_store_count(struct wal_store *store, const char *prefix)
{
    struct name_count names = {.prefix = prefix};
    const struct files *files = &store->disk.files;
    assert_int_equal(files->list(files->context, WAL_STORE_DIR, count_name, &names), 0);
    return names.count;
}

const char *wal_store_path(const char *name)
{
    static char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", WAL_STORE_DIR, name);
    return path;
}

struct wal_engine *wal_store_engine(struct wal_store *store)
{
    return wal_engine__of(store->engine);
}
