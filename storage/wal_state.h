/*
 * wal_state: what a replay of the log makes: sessions with their subscriptions, wills, inbound ids
 * and queues, retained messages, and messages with where their bodies stand. No body is in memory.
 *
 * It lives while the store is loaded or compacted, not longer. It takes some 60 bytes for a queue
 * entry whose message nobody else has (24 of wal_queue, 36 of wal_messages), 60 and the topic for a
 * retained message, 100 and the filter for a subscription, 250 and the client id for a session, and
 * 256 KiB in any case: a gateway with 100 sessions and 10,000 queued messages needs one megabyte.
 *
 * Replaying what was replayed before (a batch that stands in the log twice) changes nothing, if all
 * that followed is replayed too. What refers to what isn't there is harmless and left out.
 *
 * Owns      all of it.
 * Thread    the owner's.
 * Errors    ERR_MEMORY; ERR_DAMAGED: not a record of ours; of a run the start may have been
 * applied.
 */
#ifndef PULSE_STORAGE_WAL_STATE_H
#define PULSE_STORAGE_WAL_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "storage/operation.h"
#include "storage/wal_log.h"
#include "storage/wal_packed.h"

struct wal_state;

/* An empty state. NULL: no memory. End it with wal_state_destroy. */
struct wal_state *wal_state_create(void);

/* Takes `state`. NULL is allowed. */
void wal_state_destroy(struct wal_state *state);

/* Applies `record`, an operation or one of wal_packed.h, which stands at `place`. */
must_check enum err wal_state_apply(struct wal_state *state, struct wal_place place,
                                    struct slice record);

/* The latest clock; `next_id` is above every id that was met. */
struct wal_clock wal_state_clock(const struct wal_state *state);
void wal_state_set_clock(struct wal_state *state, struct wal_clock clock);

struct wal_counts {
    uint64_t sessions;
    uint64_t subscriptions;
    uint64_t inbound_ids;
    uint64_t queued; /* entries, those that refer to nothing included */
    uint64_t messages;
    uint64_t retained;
};

struct wal_counts wal_state_counts(const struct wal_state *state);

/* What a whole log doesn't have, but for a message or two: so it tells what damage led to. */
struct wal_ignored {
    uint64_t by_type[OPERATION_TYPES]; /* operations of sessions that aren't known */
    uint64_t references;               /* queue entries and wills whose message was never there */
    uint64_t messages;                 /* that nothing refers to */
};

struct wal_ignored wal_state_ignored(const struct wal_state *state);

/* ---- bodies ---------------------------------------------------------------------------------- */

/* A file that bodies stand in. */
struct wal_file_use {
    uint64_t segment;  /* its number, or wal_snapshot_segment of a snapshot's */
    uint64_t messages; /* bytes of the bodies in it that something refers to */
    uint64_t retained; /* bytes of retained messages in it */
};

/* The files that have live bodies, sorted. `*uses` is given: mem_free. */
must_check enum err wal_state_files(const struct wal_state *state, struct wal_file_use **uses,
                                    size_t *count);

enum wal_want { WAL_WANT_NOTHING, WAL_WANT_MESSAGE, WAL_WANT_RETAINED };

/*
 * Whether `record`, which stands at `place`, is the body of a message or retained message that is
 * live and was not asked for before; then `operation` is what it says, with slices into `record`.
 */
enum wal_want wal_state_want(struct wal_state *state, struct wal_place place, struct slice record,
                             struct operation *operation);

/* How many live bodies were not asked for: after a reading of all files they are lost. */
uint64_t wal_state_missing(const struct wal_state *state);

/* ---- giving it back -------------------------------------------------------------------------- */

/* SESSION_PUT, and that session's SUBSCRIPTION_PUT, INBOUND_QOS2_PUT. */
must_check enum err wal_state_give_sessions(struct wal_state *state,
                                            const struct operation_sink *sink);

/* WILL_PUT and QUEUE_PUSH, queues in order; of messages that wal_state_want gave. */
must_check enum err wal_state_give_queues(struct wal_state *state,
                                          const struct operation_sink *sink);

/* A record for a snapshot; borrowed. */
struct wal_record_sink {
    void *context;
    enum err (*take)(void *context, struct slice record);
};

/*
 * For a snapshot: sessions with all that belongs to them, and references to the bodies of messages
 * that stand in segments for which `stays` is true. Queues come as runs. What refers to a message
 * without a body is left out.
 */
must_check enum err wal_state_save(struct wal_state *state, const struct wal_record_sink *sink,
                                   bool (*stays)(void *context, uint64_t segment));

#endif
