/*
 * part: what one worker hands to the writer at once: changes in order, compact, with references on
 * messages instead of copies. All of a part is committed in one batch.
 *
 * A worker fills a part, may take back what is still in it (part_cancel: a message that was queued,
 * sent and acknowledged meanwhile is never written), hands it over with storage_submit, and gets it
 * back by `done`.
 *
 * Owns      its changes: a reference on each message, and each `owned` block.
 * Thread    whoever holds it: the worker; from storage_submit until `done` the writer.
 * Errors    none: what goes in is bounded by whoever puts it in (sessions, queues, windows).
 */
#ifndef PULSE_STORAGE_PART_H
#define PULSE_STORAGE_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mailbox.h"
#include "base/slice.h"
#include "storage/operation.h"

struct message;

/* A change that was taken back. */
#define CHANGE_NONE OPERATION_TYPES

/*
 * What a change carries besides `session`:
 *
 *     SESSION_PUT            owned: change_session
 *     SUBSCRIPTION_PUT/DROP  owned: change_subscription
 *     WILL_PUT               message; owned: change_will. An earlier will is dropped before.
 *     WILL_DROP              message: that of the will
 *     QUEUE_PUSH             position, qos_2, retain, shared, subscription_id or owned: change_ids;
 *                            message (NULL: an entry that is released already)
 *     QUEUE_RELEASE          position; message: that of the entry
 *     QUEUE_POP              position; message: that of the entry, NULL when it was released
 *     SESSION_DROP           nothing. Its entries and its will are popped and dropped before.
 *     INBOUND_QOS2_PUT/DROP  packet_id
 *     RETAINED_PUT/DROP      message: anything with that topic, see storage_hooks. The writer may
 *                            put the one into the other.
 *
 * So each reference from what is stored to a message that goes is told with the message it goes
 * from: that is how the writer knows when the message may go, too.
 */

struct change {
    uint8_t type; /* enum operation_type, or CHANGE_NONE; never MESSAGE_PUT, MESSAGE_DROP */
    bool qos_2 : 1;
    bool retain : 1;
    bool shared : 1;
    bool first : 1;  /* of the writer: nothing stored referred to the message before */
    bool last : 1;   /* of the writer: nothing stored refers to it afterwards */
    bool merged : 1; /* of the writer: an earlier change of the batch says it all */
    uint16_t packet_id;
    uint32_t subscription_id; /* QUEUE_PUSH: the only one, or 0 and `owned` has them */
    uint64_t session;
    uint64_t position;
    uint64_t message_id;     /* of the writer */
    struct message *message; /* a reference, or NULL */
    void *owned;             /* one of the structs below, from mem_*, or NULL */
    void *waiter;            /* of whoever made the change; storage doesn't look at it */
};

/* What `owned` is, by type. */
struct change_session { /* SESSION_PUT */
    uint64_t offline_since_ms;
    uint64_t sent_to;
    uint32_t expiry_s;
    uint16_t client_id_len;
    char client_id[];
};

struct change_subscription { /* SUBSCRIPTION_PUT, SUBSCRIPTION_DROP */
    uint32_t subscription_id;
    uint8_t qos;
    bool no_local;
    bool retain_as_published;
    uint8_t retain_handling;
    uint16_t filter_len;
    char filter[];
};

struct change_will { /* WILL_PUT */
    uint32_t delay_s;
    bool has_expiry;
    uint32_t message_expiry_s;
};

struct change_ids { /* QUEUE_PUSH with several subscription identifiers */
    size_t count;
    uint32_t ids[];
};

struct storage_part {
    struct letter letter; /* of the writer's mailbox */
    struct change *changes;
    uint32_t count;
    uint32_t cap;
    uint32_t live;         /* not CHANGE_NONE */
    uint64_t submitted_ns; /* of storage_submit */
    void (*done)(struct storage_part *part,
                 enum err err); /* on the writer's thread; see storage.h */
};

void part_init(struct storage_part *part, void (*done)(struct storage_part *part, enum err err));
void part_fini(struct storage_part *part);

/* Adds a change; its fields other than `type` and `session` are zero and the caller's to fill in.
 * Borrowed until the next call. */
struct change *part_add(struct storage_part *part, enum operation_type type, uint64_t session);

/* Takes `change` back; its message and `owned` are dropped, `waiter` is left alone. The caller
 * counts it (STAT_CANCELLED): storage doesn't see a part of which nothing is left. */
void part_cancel(struct storage_part *part, struct change *change);

/* Drops all changes; the room that they had stays for the next ones, unless it was very much. */
void part_clear(struct storage_part *part);

#endif
