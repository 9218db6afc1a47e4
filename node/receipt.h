/*
 * receipt: what an acknowledgement waits for: other workers that a message was posted to, and
 * storage that must hold it. Who is waited for counts in; when the last one is done the receipt
 * goes home, to the worker of the publisher, and the acknowledgement may go out.
 *
 * A receipt with a placement also makes the publish all or nothing in storage: what each worker
 * would write for it (queue entries) is carried home first and written there in one part, together
 * with what says that the publish is done (the QoS 2 packet id, the end of a will, ...). So after a
 * crash it was placed everywhere, or nowhere and comes again. Until then the entries are not sent:
 * see OUTBOUND_UNTIL_PLACED.
 *
 * Owns      a placement's carried entries and closing changes.
 * Thread    hold, done: any worker that was counted in. The rest: the home worker.
 * Errors    none.
 */
#ifndef PULSE_NODE_RECEIPT_H
#define PULSE_NODE_RECEIPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "node/worker.h"
#include "storage/part.h"

struct change_ids;
struct message;

/* A queue entry on its way to the home worker, and later the news for its own that it is held. */
struct carried {
    struct mail mail;
    struct carried *next;
    unsigned worker;      /* of the session */
    uint64_t session;     /* its handle */
    struct change change; /* QUEUE_PUSH */
};

struct placement {
    struct mailbox arriving;     /* struct carried, from all workers */
    struct storage_part closing; /* written behind the carried entries */
    struct carried *carried;     /* being written */
    uint64_t will_of;            /* session whose will ends with it; 0: none */
    bool placed;                 /* handed to the journal */
};

struct receipt {
    struct mail mail;
    _Atomic uint32_t waiting;
    uint32_t ack_serial; /* inbound_owe */
    uint64_t session;    /* of the publisher; 0: no acknowledgement waits */
    unsigned home;
    struct placement *placement; /* NULL: each change is written for itself */
};

/* Both count the caller in: end that with receipt_await or receipt_done. */
struct receipt *receipt_create(struct worker *home);
struct receipt *receipt_create_placement(struct worker *home);

/* The receipt that `*slot` has, or a new one, with one more who is waited for. NULL when `slot` is:
 * nobody waits. */
struct receipt *receipt_hold(struct worker *worker, struct receipt **slot);

/* One of those waited for is done. NULL is allowed. */
void receipt_done(struct worker *worker, struct receipt *receipt);

/* The publisher's acknowledgement `ack_serial` of session `session` waits for `receipt`; the caller
 * is done. */
void receipt_await(struct worker *worker, struct receipt *receipt, uint64_t session,
                   uint32_t ack_serial);

/* `change` (taken) belongs to the placement of `receipt`, which must have one. */
void receipt_carry(struct worker *worker, struct receipt *receipt, uint64_t session,
                   const struct change *change);

/* Storage stopped: nothing is acknowledged. */
void receipt_abandon(struct receipt *receipt);

static inline bool receipt_places(struct receipt *const *slot)
{
    return slot != NULL && *slot != NULL && (*slot)->placement != NULL;
}

#endif
