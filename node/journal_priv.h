/*
 * What journal.c, journal_queue.c and journal_wait.c know about one another: parts, and what waits
 * for them.
 */
#ifndef PULSE_NODE_JOURNAL_PRIV_H
#define PULSE_NODE_JOURNAL_PRIV_H

#include "node/journal.h"
#include "node/session.h"
#include "node/worker.h"
#include "storage/part.h"

enum journal_wait_kind {
    WAIT_HELD,    /* QoS 2 messages of `session` up to `position` may be sent */
    WAIT_RELEASE, /* PUBREL may be sent for the message at `position` */
    WAIT_ANSWER,  /* PUBCOMP, SUBACK, UNSUBACK */
};

struct journal_wait {
    uint8_t kind;
    uint8_t packet; /* WAIT_ANSWER: enum mqtt_packet */
    uint16_t packet_id;
    uint32_t reason_count;
    uint64_t session; /* handle */
    union {
        uint64_t position;
        uint64_t connection; /* WAIT_ANSWER: conn.serial */
    };
    uint8_t *reasons; /* WAIT_ANSWER: owned */
};

struct journal_part {
    struct storage_part part;
    struct mail mail;
    struct worker *worker;
    struct journal_part *next; /* while it is spare */
    struct journal_wait *waits;
    uint32_t wait_count;
    uint32_t wait_cap;
    size_t bytes; /* of the messages of its pushes and retained messages */
    enum err outcome;
};

static inline struct storage_part *journal__filling(struct session *session)
{
    return &session->worker->journal.filling->part;
}

/* The change at `index` + 1 of `part`, if it is that of `type` for `session`. */
static inline struct change *journal__change_at(const struct storage_part *part, uint32_t index,
                                                enum operation_type type, uint64_t session)
{
    if (index == 0 || index > part->count) {
        return NULL;
    }
    struct change *change = &part->changes[index - 1];
    return change->type == type && change->session == session ? change : NULL;
}

/* Whether storage has been told of `session`, or is told before all that is handed over from now
 * on, by whatever worker. */
static inline bool journal__is_introduced(const struct session *session)
{
    return session->introduced < session->worker->journal.part_number;
}

/* Hands over what is being filled, which has something live in it, in mid-iteration: nothing that
 * waits for it goes on at once. */
void journal__hand_over_early(struct worker *worker);

/* What ends the last will of session `handle` is in the part being filled. */
void journal__will_ended(struct worker *worker, uint64_t handle);

/* The undo window begins: `undoable` is empty and gets its first push. */
void journal__begin_undoable(struct worker *worker);

/* Adds a wait to `part`; fields are the caller's to fill in. */
struct journal_wait *journal__wait(struct journal_part *part);

/* Everything that waited for `part` goes on; or, with an error, is forgotten. */
void journal__complete(struct worker *worker, struct journal_part *part);

/* QoS 2 entry `position` of `session` is to be sent once the part being filled is held. */
void journal__wait_held(struct session *session, uint64_t position);

#endif
