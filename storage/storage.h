/*
 * storage: the writer thread, which gathers what workers hand over, commits it in groups as the
 * policy says, and gives it back; and the way to what an earlier process left.
 *
 *     storage_open, storage_load, storage_start, storage_submit ..., storage_stop, storage_destroy
 *
 * Owns      the engine, the writer's thread, the parts that it holds.
 * Thread    open, load: one thread (they block). start, stop, destroy: main. submit, now, next_id,
 *           healthy, stats: any.
 * Errors    storage_open, storage_load: as engine.h says. Later ones don't come out: the writer
 *           tries again, first soon, then every few seconds; parts are given back late, and
 *           storage_healthy says why.
 */
#ifndef PULSE_STORAGE_STORAGE_H
#define PULSE_STORAGE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "storage/config.h"
#include "storage/operation.h"
#include "storage/part.h"
#include "storage/stats.h"

struct message;
struct storage;

struct storage_hooks {
    void *context;
    /*
     * On the writer's thread, which is registered for read sections (base/reclaim.h): a change
     * RETAINED_PUT says only that the retained message of a topic changed; what it is now is asked
     * here, so that the latest always wins, whichever worker was first. Gives a reference, or NULL:
     * the topic has none.
     */
    struct message *(*retained)(void *context, struct slice topic);
};

/* Opens the store of `config` (kept, with its strings). Without an engine that keeps anything
 * `*out` is NULL. */
must_check enum err storage_open(const struct storage_config *config,
                                 const struct storage_hooks *hooks, struct storage **out);

/*
 * Gives all that is kept to `sink`; see engine.h for the order. Logs progress. Whoever makes
 * messages of it sets stored_id to the operation's `message`, and stored_refs to how many
 * QUEUE_PUSH and WILL_PUT named it: the writer goes on counting from there.
 */
must_check enum err storage_load(struct storage *storage, const struct operation_sink *sink);

must_check enum err storage_start(struct storage *storage);

/*
 * Hands over `part`, which has at least one live change; parts of one thread are committed in the
 * order of their submission. `part->done(part, ERR_OK)` follows on the writer's thread when the
 * part is committed: written (balanced, fast), or written and synced (strict). Under `fast` the
 * caller need not wait for it to acknowledge. `done(part, ERR_STOPPED)`: it never will be,
 * storage_stop gave up.
 */
void storage_submit(struct storage *storage, struct storage_part *part);

/*
 * Commits and syncs what was submitted, and ends the writer's thread and the engine. Gives up after
 * `timeout_ms`, as soon as the engine returns from what it does then: ERR_STOPPED, not all was
 * written and synced. Without storage_start before it nothing is written.
 */
must_check enum err storage_stop(struct storage *storage, uint64_t timeout_ms);

/* Takes `storage`, which is stopped or was never started. NULL is allowed. */
void storage_destroy(struct storage *storage);

enum storage_policy storage_policy(const struct storage *storage);

/* An id for a session that was never used before. After storage_load. */
uint64_t storage_next_id(struct storage *storage);

/*
 * The storage clock: wall clock milliseconds that never go back: taken once at load (not before
 * what the store has seen last: a gateway may start without a valid clock), then following the
 * monotonic clock. `wall` and `mono` convert moments; CLOCK_NEVER stays.
 */
uint64_t storage_now_ms(const struct storage *storage);
uint64_t storage_wall_ms(const struct storage *storage, uint64_t mono_ms);
/* A moment that is past gives `now` of the monotonic clock at the time of the call. */
uint64_t storage_mono_ms(const struct storage *storage, uint64_t wall_ms);

/* False: the store can't be written now, or takes very long; `why` says what happened. */
bool storage_healthy(struct storage *storage, char *why, size_t size);

struct storage_stats *storage_stats(struct storage *storage);

#endif
