/*
 * engine: where operations are kept. One interface, several engines (wal, sqlite, mysql).
 *
 * Thread    one at a time: the loader's until the writer starts, then the writer's. An engine may
 *           have threads of its own for work in the background.
 * Errors    ERR_IO, ERR_FULL (disk full), ERR_UNAVAILABLE (database gone): for now; the caller
 *           tries again later. ERR_DAMAGED, ERR_VERSION, ERR_LOCKED, ERR_INVALID: for good. Before
 *           `apply` or `sync` returns an error it leaves the words of the system or the library
 *           behind with engine_trouble(): the writer logs them, once, not at each retry.
 */
#ifndef PULSE_STORAGE_ENGINE_H
#define PULSE_STORAGE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/batch.h"
#include "storage/config.h"
#include "storage/stats.h"

#define ENGINE_TROUBLE_BYTES 200

/* The beginning of every engine's own structure. */
struct engine {
    const struct engine_type *type;
    char trouble[ENGINE_TROUBLE_BYTES]; /* what the last error was, in its library's words */
};

/* What a store knew when it was last written. */
struct engine_loaded {
    uint64_t last_seen_ms; /* the latest batch.now_ms, or up to 1 s before it; 0: a new store */
    uint64_t next_id;      /* it and all above are free; at least 1; numbers may be left out */
};

struct engine_type {
    const char *name;

    /* Opens or makes the store: locks it, checks format or schema, migrates. `*out` on ERR_OK. */
    enum err (*open)(const struct storage_config *config, struct storage_stats *stats,
                     struct engine **out);

    /*
     * Gives everything that is kept, as operations that make the state out of nothing: SESSION_PUT
     * before what belongs to the session, MESSAGE_PUT before the first that refers to it, a queue
     * in the order of its positions. Never a drop or pop. Leaves out what nothing refers to, and
     * what refers to nothing. `loaded` is set before the first operation is given: the sink needs
     * the storage clock for moments. Once, after open and before the first apply.
     *
     * Of a released queue entry only session, position, qos, released and message = 0 count. What
     * has expired is given with its times; only expired retained messages may be missing.
     */
    enum err (*load)(struct engine *engine, const struct operation_sink *sink,
                     struct engine_loaded *loaded);

    /*
     * Rewinds `batch` and applies it, all or nothing: afterwards it survives a kill -9 of this
     * process. After an error the same batch comes again, and no other before it.
     */
    enum err (*apply)(struct engine *engine, struct batch *batch);

    /* All that was applied survives a power loss afterwards. After an error: apply may be called
     * with the next batch, and sync comes again. */
    enum err (*sync)(struct engine *engine);

    /* Work in the background, in small portions: no longer than one batch takes. Called now and
     * then, also after errors. `now_ms` as in batches. True: there is more to do at once. */
    bool (*tend)(struct engine *engine, uint64_t now_ms);

    /* From `mono_ms` on no call, `close` included, waits for anybody else: it fails instead. Called
     * once, from any thread, also while another call runs. NULL: the engine waits for nobody. */
    void (*hurry)(struct engine *engine, uint64_t mono_ms);

    /* Ends it: what is applied and not synced is synced. */
    void (*close)(struct engine *engine);
};

extern const struct engine_type engine_wal;
extern const struct engine_type engine_sqlite;
extern const struct engine_type engine_mysql;

/* Sets `trouble`, cut to its size. On the thread that calls the engine. */
void engine_trouble(struct engine *engine, const char *format, ...) printf_like(2, 3);

/* NULL: the engine keeps nothing (memory). */
const struct engine_type *engine_type_of(enum storage_engine_kind kind);

#endif
