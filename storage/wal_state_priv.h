/*
 * wal_state_priv: what applying records and giving the state back share.
 *
 * Invariants:
 *   a message's `refs` is the number of queue entries that aren't gone and wills with its slot;
 *   a message that has no body and no references does not exist;
 *   all that belongs to a session is reached from it.
 */
#ifndef PULSE_STORAGE_WAL_STATE_PRIV_H
#define PULSE_STORAGE_WAL_STATE_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "storage/wal_messages.h"
#include "storage/wal_queue.h"
#include "storage/wal_record.h"
#include "storage/wal_state.h"
#include "storage/wal_table.h"

struct wal_will {
    uint32_t message; /* its slot; 0: there is no will */
    uint32_t delay_s;
    uint32_t message_expiry_s;
    bool has_expiry;
};

struct wal_session {
    struct wal_node node;
    struct list link; /* in all sessions, in the order in which they were made */
    uint64_t id;
    uint64_t offline_since_ms;
    uint64_t sent_to;
    struct list subscriptions;
    struct wal_queue queue;
    struct wal_will will;
    uint16_t *inbound; /* packet ids, sorted */
    uint32_t inbound_count;
    uint32_t inbound_cap;
    uint32_t expiry_s;
    uint32_t client_id_len;
    char *client_id;
};

struct wal_subscription {
    struct wal_node node;
    struct list link; /* in its session */
    struct wal_session *session;
    uint32_t subscription_id;
    uint32_t filter_len;
    uint8_t qos;
    uint8_t retain_handling;
    bool no_local;
    bool retain_as_published;
    char filter[];
};

struct wal_retained {
    struct wal_node node;
    uint32_t file;
    uint32_t offset;
    uint32_t len;
    uint16_t topic_len;
    bool given;
    char topic[];
};

/* Several subscription identifiers of one queue entry. */
struct wal_id_list {
    size_t count;
    uint32_t ids[];
};

/* A numbered list, or the next free number; 0 is never used. */
union wal_id_slot {
    struct wal_id_list *list;
    uint64_t next_free;
};

struct wal_state {
    struct wal_clock clock;
    uint64_t id_max; /* the highest that was met */
    struct wal_table sessions;
    struct wal_table subscriptions;
    struct wal_table retained;
    struct list session_list;
    struct wal_session *last_session; /* that was looked up, or NULL */
    struct wal_messages messages;
    uint64_t *files; /* `segment` of places, by number */
    uint32_t file_count;
    uint32_t file_cap;
    uint32_t last_file; /* that was looked up */
    union wal_id_slot *id_lists;
    uint32_t id_list_count;
    uint32_t id_list_cap;
    uint32_t id_list_free; /* the first free number, or 0 */
    uint64_t queued;
    uint64_t inbound;
    uint64_t ignored[OPERATION_TYPES]; /* of sessions that aren't known */
    uint32_t ids[WAL_RECORD_IDS_MAX];  /* room for decoding */
};

/* The number of the file of places in `segment`; WAL_FILE_NONE: nothing stands there. */
uint32_t wal_state__find_file(struct wal_state *state, uint64_t segment);
/* The same, and makes one. */
must_check enum err wal_state__add_file(struct wal_state *state, uint64_t segment, uint32_t *file);

/* Keeps the subscription identifiers of a queue entry as a list; gives its number. */
must_check enum err wal_state__keep_ids(struct wal_state *state, const struct operation *operation,
                                        uint32_t *number);

/* One queue entry or will less has the message in `slot`; 0 is allowed. */
void wal_state__unref(struct wal_state *state, uint32_t slot);

/* What is called so, or NULL. */
struct wal_session *wal_state__find_session(struct wal_state *state, uint64_t id);
struct wal_subscription *wal_state__find_subscription(struct wal_state *state,
                                                      const struct wal_session *session,
                                                      struct slice filter);
struct wal_retained *wal_state__find_retained(struct wal_state *state, struct slice topic);

/* Makes one that isn't there yet. */
must_check enum err wal_state__make_session(struct wal_state *state, uint64_t id,
                                            struct wal_session **out);
must_check enum err wal_state__make_subscription(struct wal_state *state,
                                                 struct wal_session *session, struct slice filter,
                                                 struct wal_subscription **out);
must_check enum err wal_state__make_retained(struct wal_state *state, struct slice topic,
                                             struct wal_retained **out);

/* Takes one, with all that belongs to it. */
void wal_state__free_session(struct wal_state *state, struct wal_session *session);
void wal_state__free_subscription(struct wal_state *state, struct wal_subscription *subscription);

/* Drops what `entry` refers to. */
void wal_state__release(struct wal_state *state, struct wal_entry *entry);

/* Pops all entries from position to last. */
void wal_state__pop(struct wal_state *state, struct wal_queue *queue, uint64_t position,
                    uint64_t last);

/* Whether something refers to it and it has a body. */
static inline bool wal_state__live(const struct wal_message *message)
{
    return message->id != 0 && message->refs > 0 && message->file != WAL_FILE_NONE;
}

#endif
