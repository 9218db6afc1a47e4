#include "storage/storage.h"

#include <stdatomic.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/engine.h"
#include "storage/storage_priv.h"
#include "storage/writer_priv.h"

/* Between two log lines of a load that takes long, and how often the clock is looked at for that.
 */
#define PROGRESS_MS 2000u
#define PROGRESS_OPERATIONS 4096u

/* What a sound store can't have seen or given out: the year 9999, half of all ids. */
#define SEEN_MS_MAX UINT64_C(253370764800000)
#define IDS_MAX (UINT64_C(1) << 63)

struct storage {
    struct storage_config config;
    struct storage_hooks hooks;
    struct storage_stats stats;
    struct engine *engine; /* NULL once it is closed */
    /* a pair of the same moment; written before any other thread reads it */
    uint64_t wall_ms;
    uint64_t mono_ms;
    _Atomic uint64_t next_id;
    struct writer writer;
};

/* ---- the clock ------------------------------------------------------------------------------- */

static void clock_start(struct storage *storage, uint64_t last_seen_ms)
{
    uint64_t wall_ms = clock_wall_ms();
    storage->mono_ms = clock_mono_ms();
    storage->wall_ms = wall_ms > last_seen_ms ? wall_ms : last_seen_ms;
}

uint64_t storage_wall_ms(const struct storage *storage, uint64_t mono_ms)
{
    if (mono_ms == CLOCK_NEVER) {
        return OPERATION_NEVER_MS;
    }
    if (mono_ms >= storage->mono_ms) {
        uint64_t ahead = mono_ms - storage->mono_ms;
        return ahead < OPERATION_NEVER_MS - storage->wall_ms ? storage->wall_ms + ahead
                                                             : OPERATION_NEVER_MS;
    }
    uint64_t behind = storage->mono_ms - mono_ms;
    return behind < storage->wall_ms ? storage->wall_ms - behind : 1; /* 0 has a meaning */
}

uint64_t storage_mono_ms(const struct storage *storage, uint64_t wall_ms)
{
    if (wall_ms == OPERATION_NEVER_MS) {
        return CLOCK_NEVER;
    }
    uint64_t now_ms = clock_mono_ms();
    if (wall_ms <= storage_wall_ms(storage, now_ms)) {
        return now_ms;
    }
    uint64_t ahead = wall_ms - storage->wall_ms;
    return ahead < CLOCK_NEVER - storage->mono_ms ? storage->mono_ms + ahead : CLOCK_NEVER;
}

uint64_t storage_now_ms(const struct storage *storage)
{
    return storage_wall_ms(storage, clock_mono_ms());
}

/* ---- opening and loading --------------------------------------------------------------------- */

enum err storage__open(const struct engine_type *type, const struct storage_config *config,
                       const struct storage_hooks *hooks, struct storage **out)
{
    struct storage *storage = mem_alloc(sizeof(*storage));
    storage->config = *config;
    storage->hooks = hooks != NULL ? *hooks : (struct storage_hooks){.context = NULL};
    enum err err = type->open(&storage->config, &storage->stats, &storage->engine);
    if (err != ERR_OK) {
        mem_free(storage);
        return err;
    }
    clock_start(storage, 0);
    atomic_init(&storage->next_id, 1);
    writer__init(&storage->writer, storage, storage->engine, config->policy, &storage->stats);
    *out = storage;
    return ERR_OK;
}

enum err storage_open(const struct storage_config *config, const struct storage_hooks *hooks,
                      struct storage **out)
{
    const struct engine_type *type = engine_type_of(config->engine);
    if (type == NULL) {
        *out = NULL;
        return ERR_OK;
    }
    return storage__open(type, config, hooks, out);
}

static enum err check_loaded(const struct engine_loaded *loaded)
{
    if (loaded->last_seen_ms <= SEEN_MS_MAX && loaded->next_id < IDS_MAX) {
        return ERR_OK;
    }
    log_error(LOG_STORAGE, "the store names a time or an id that can't be",
              log_uint("last_seen_ms", loaded->last_seen_ms), log_uint("next_id", loaded->next_id));
    return ERR_DAMAGED;
}

/* Passes on what the engine gives, and counts it. */
struct load {
    struct storage *storage;
    struct engine_loaded loaded;
    const struct operation_sink *sink;
    uint64_t operations;
    uint64_t progress_due_ms;
};

static void log_progress(struct load *load)
{
    const struct storage_stats *stats = &load->storage->stats;
    uint64_t now_ms = clock_mono_ms();
    if (now_ms < load->progress_due_ms) {
        return;
    }
    load->progress_due_ms = now_ms + PROGRESS_MS;
    log_notice(LOG_STORAGE, "reading the store",
               log_int("sessions", stat_get(stats, STAT_LOADED_SESSIONS)),
               log_int("queue_entries", stat_get(stats, STAT_LOADED_QUEUED)),
               log_int("retained_messages", stat_get(stats, STAT_LOADED_RETAINED)));
}

static enum err count_and_pass_on(void *context, const struct operation *operation)
{
    struct load *load = context;
    struct storage_stats *stats = &load->storage->stats;
    if (load->operations == 0) {
        enum err err = check_loaded(&load->loaded);
        if (err != ERR_OK) {
            return err;
        }
        clock_start(load->storage, load->loaded.last_seen_ms);
    }
    if (operation->type == OPERATION_SESSION_PUT) {
        stat_add(stats, STAT_LOADED_SESSIONS, 1);
    } else if (operation->type == OPERATION_QUEUE_PUSH) {
        stat_add(stats, STAT_LOADED_QUEUED, 1);
    } else if (operation->type == OPERATION_RETAINED_PUT) {
        stat_add(stats, STAT_LOADED_RETAINED, 1);
    }
    load->operations++;
    if (load->operations % PROGRESS_OPERATIONS == 0) {
        log_progress(load);
    }
    return load->sink->take(load->sink->context, operation);
}

/* What the engine's library said, where the engine has not logged it itself. */
static void say_unreadable(const struct storage *storage, enum err err)
{
    const struct engine *engine = storage->engine;
    if (engine->trouble[0] == '\0') {
        return;
    }
    log_error(LOG_STORAGE, "the store can't be read", log_text("engine", engine->type->name),
              log_text("error", err_text(err)), log_slice("reason", slice_text(engine->trouble)));
}

enum err storage_load(struct storage *storage, const struct operation_sink *sink)
{
    uint64_t began_ns = clock_mono_ns();
    struct load load = {.storage = storage,
                        .loaded = {.next_id = 1},
                        .sink = sink,
                        .progress_due_ms = clock_mono_ms() + PROGRESS_MS};
    struct operation_sink counting = {.context = &load, .take = count_and_pass_on};
    storage->engine->trouble[0] = '\0';
    enum err err = storage->engine->type->load(storage->engine, &counting, &load.loaded);
    if (err == ERR_OK && load.operations == 0) {
        err = check_loaded(&load.loaded);
    }
    if (err != ERR_OK) {
        say_unreadable(storage, err);
        return err;
    }
    if (load.operations == 0) {
        clock_start(storage, load.loaded.last_seen_ms);
    }
    atomic_store_explicit(&storage->next_id, load.loaded.next_id > 0 ? load.loaded.next_id : 1,
                          memory_order_relaxed);
    uint64_t us = (clock_mono_ns() - began_ns) / 1000;
    const struct storage_stats *stats = &storage->stats;
    stat_set(&storage->stats, STAT_LOAD_SECONDS, (int64_t)us);
    log_notice(LOG_STORAGE, "store read", log_text("engine", storage->engine->type->name),
               log_int("sessions", stat_get(stats, STAT_LOADED_SESSIONS)),
               log_int("queue_entries", stat_get(stats, STAT_LOADED_QUEUED)),
               log_int("retained_messages", stat_get(stats, STAT_LOADED_RETAINED)),
               log_uint("ms", us / 1000));
    return ERR_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

enum err storage_start(struct storage *storage)
{
    return writer__start(&storage->writer);
}

void storage_submit(struct storage *storage, struct storage_part *part)
{
    writer__submit(&storage->writer, part);
}

static void close_engine(struct storage *storage)
{
    if (storage->engine != NULL) {
        storage->engine->type->close(storage->engine);
        storage->engine = NULL;
    }
}

enum err storage_stop(struct storage *storage, uint64_t timeout_ms)
{
    uint64_t now_ms = clock_mono_ms();
    if (storage->engine != NULL && storage->engine->type->hurry != NULL &&
        timeout_ms < CLOCK_NEVER - now_ms) {
        storage->engine->type->hurry(storage->engine, now_ms + timeout_ms);
    }
    enum err err = writer__stop(&storage->writer, timeout_ms);
    close_engine(storage);
    return err;
}

void storage_destroy(struct storage *storage)
{
    if (storage == NULL) {
        return;
    }
    close_engine(storage);
    writer__fini(&storage->writer);
    mem_free(storage);
}

/* ---- answers --------------------------------------------------------------------------------- */

enum storage_policy storage_policy(const struct storage *storage)
{
    return storage->config.policy;
}

uint64_t storage_next_id(struct storage *storage)
{
    return atomic_fetch_add_explicit(&storage->next_id, 1, memory_order_relaxed);
}

bool storage_healthy(struct storage *storage, char *why, size_t size)
{
    return writer__healthy(&storage->writer, why, size);
}

struct storage_stats *storage_stats(struct storage *storage)
{
    return &storage->stats;
}

const struct storage_hooks *storage__hooks(const struct storage *storage)
{
    return &storage->hooks;
}

uint64_t storage__ids_end(const struct storage *storage)
{
    return atomic_load_explicit(&storage->next_id, memory_order_relaxed);
}
