/*
 * journal: what this worker tells storage. Changes gather during a loop iteration and are handed
 * over in its end, a few parts at a time; while storage is busy, later changes go on gathering.
 * When a part is held, what waited for it goes on: receipts, answers to clients, QoS 2 messages.
 *
 * A change that is undone while it still gathers is never written. To make that the usual case for
 * connected subscribers, QoS 1 messages that were sent at once gather apart for
 * storage.undo_window_ms: most are acknowledged by then.
 *
 * Sessions without a stored_id are not kept; for them, and without storage, all functions do
 * nothing.
 *
 * Owns      the parts that gather or are on their way.
 * Thread    the worker.
 * Errors    none. While storage can't write, changes gather up to a limit, at which publishers are
 * not read from any more (journal_hold_up).
 */
#ifndef PULSE_NODE_JOURNAL_H
#define PULSE_NODE_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/slice.h"
#include "codec/packet_types.h"
#include "node/sub_index.h"

struct change;
struct conn;
struct journal_part;
struct message;
struct outbound_entry;
struct receipt;
struct session;
struct storage;
struct worker;

struct journal {
    struct storage *storage;       /* NULL: nothing is kept */
    struct journal_part *filling;  /* goes with the next hand-over */
    struct journal_part *latest;   /* the last one that was filled, while storage has it; or NULL */
    struct journal_part *undoable; /* pushes that will probably be undone soon */
    struct journal_part *spare;    /* a list of empty ones */
    uint64_t *held_up;             /* session handles of publishers that wait for room */
    uint32_t held_up_count;
    uint32_t held_up_cap;
    uint32_t under_way;   /* parts that storage has */
    uint64_t part_number; /* of `filling`, from 1; see session.introduced */
    uint64_t undoable_since_ms;
    uint32_t undoable_free; /* a change in `undoable` that was taken back, + 1; see journal.c */
    uv_timer_t clock;       /* for the end of the undo window */
};

void journal_init(struct worker *worker, struct storage *storage);
/* After everything was opened that storage gave back. */
void journal_fini(struct worker *worker);

/* Hands over what may go, unless enough is under way; called at the end of an iteration. True: the
 * policy is `fast`, and things that waited went on. */
bool journal_flush(struct worker *worker);
/* Hands over the rest, at shutdown; by main, after the workers' threads have ended. */
void journal_flush_all(struct worker *worker);

/* ---- sessions -------------------------------------------------------------------------------- */

/* Its own fields changed. */
void journal_session(struct session *session);
/* It is not kept any more; with `placement` (NULL allowed) once that is placed. */
void journal_session_drop(struct session *session, struct receipt *placement);
/* A session that an earlier process left, and that is not to be loaded again. */
void journal_outdated(struct worker *worker, uint64_t stored_id);
void journal_subscription(struct session *session, const struct subscription *sub,
                          struct slice filter, struct slice share);
void journal_subscription_drop(struct session *session, const struct subscription *sub);
/* session->will is new. */
void journal_will(struct session *session);
/* session->will is going; with `placement` (NULL allowed) once that is placed. */
void journal_will_drop(struct session *session, struct receipt *placement);

/* ---- queues ---------------------------------------------------------------------------------- */

/*
 * `entry` was pushed. With a placement in `*receipt` it is carried there and gated; else `*receipt`
 * (NULL slot: nobody waits) waits for it. `undoable`: it is QoS 1 and being sent this moment.
 */
void journal_push(struct session *session, struct outbound_entry *entry, struct receipt **receipt,
                  bool undoable);
/* `entry` leaves the queue, and still has its message unless it was released. */
void journal_pop(struct session *session, const struct outbound_entry *entry);
/* As journal_pop, but written with `placement`: another session is to have it. */
void journal_pop_placed(struct session *session, const struct outbound_entry *entry,
                        struct receipt *placement);
/* PUBREC came for `entry`, which still has its message. True: session_released follows when that is
 * held; false: it need not be. */
bool journal_release(struct session *session, struct outbound_entry *entry);
/* For receipt.c: the carried `change` of session `handle` is held. */
void journal_placed(struct worker *worker, uint64_t handle, const struct change *change);
/* For receipt.c: writes a placement, and calls receipt_done when it is held. */
void journal_place(struct worker *worker, struct receipt *receipt);

/* ---- the client's own publishes -------------------------------------------------------------- */

/* For a QoS 2 publish of `session`: gives a receipt whose placement remembers the packet id, or
 * NULL: not kept. */
struct receipt *journal_inbound(struct session *session, uint16_t packet_id);
void journal_inbound_drop(struct session *session, uint16_t packet_id);
/* Under `fast` a restart may bring packet ids back that were released. */
bool journal_forgets(const struct worker *worker);
/* The retained message of its topic is `message` now (or gone, when its payload is empty). */
void journal_retained(struct worker *worker, struct message *message, struct receipt **receipt);

/* ---- waiting --------------------------------------------------------------------------------- */

/* Sends PUBCOMP, or SUBACK or UNSUBACK with `count` reasons, when all changes so far are held (also
 * for what changes nothing: it may be asked again): at once if they are. */
void journal_answer(struct conn *conn, enum mqtt_packet type, uint16_t packet_id,
                    const uint8_t *reasons, size_t count);

/* If too much gathers, the client of `session` is not read from until there is room. */
void journal_hold_up(struct session *session);
/* Too much gathers, and storage can't write: no new sessions should be accepted that are to be
 * kept. */
bool journal_refuses(const struct worker *worker);

#endif
