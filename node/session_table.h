/*
 * session_table: the sessions of one worker, by client id and by handle.
 *
 * Owns      its tables; sessions belong to session.c.
 * Thread    the worker.
 * Errors    none; limits are checked by the caller.
 */
#ifndef PULSE_NODE_SESSION_TABLE_H
#define PULSE_NODE_SESSION_TABLE_H

#include <stdint.h>

#include "base/slice.h"

struct session;

struct session_slot {
    struct session *session; /* NULL: free */
    uint32_t generation;     /* of the session that is or was here */
    uint32_t next_free;      /* slot + 1 */
};

struct session_entry {
    uint32_t hash;
    uint32_t slot; /* + 1; 0: empty */
};

struct session_table {
    struct session_slot *slots;
    uint32_t slot_count; /* in use or freed */
    uint32_t slot_cap;
    uint32_t free_slot;            /* + 1 */
    struct session_entry *entries; /* open-addressed, a power of two */
    uint32_t entry_cap;
    uint32_t count;
};

void session_table_fini(struct session_table *table);

/* Enters `session` (its client_id is set) of `worker`, and sets its handle. */
void session_table_add(struct session_table *table, unsigned worker, struct session *session);
void session_table_remove(struct session_table *table, struct session *session);

/* NULL when there is none. */
struct session *session_table_find(const struct session_table *table, struct slice client_id);
struct session *session_table_get(const struct session_table *table, uint64_t handle);

/* Walks all sessions: the one at or after slot `*cursor` (start with 0), or NULL at the end. */
struct session *session_table_next(const struct session_table *table, uint32_t *cursor);

#endif
