/*
 * wal_table: a hash table of things that carry their own link: sessions, subscriptions and retained
 * messages of a wal_state. Whoever owns the things compares keys.
 *
 *     for (struct wal_node *node = wal_table_first(table, hash); node != NULL;
 *          node = wal_table_next(node, hash)) { ... is it the one? ... }
 *
 * Owns      its buckets; never the things.
 * Thread    the owner's.
 * Errors    ERR_MEMORY of wal_table_reserve; nothing else allocates.
 */
#ifndef PULSE_STORAGE_WAL_TABLE_H
#define PULSE_STORAGE_WAL_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

struct wal_node {
    struct wal_node *next; /* in its bucket */
    uint64_t hash;
};

/* A zeroed table is empty and ready. */
struct wal_table {
    struct wal_node **buckets;
    size_t bucket_count; /* a power of two, or 0 */
    size_t count;
};

/* Takes the buckets; the things are the caller's. */
void wal_table_fini(struct wal_table *table);

/* Makes room for one more. */
must_check enum err wal_table_reserve(struct wal_table *table);

/* Adds `node`, whose hash is set, after wal_table_reserve. */
void wal_table_add(struct wal_table *table, struct wal_node *node);

/* Takes `node`, which is in `table`, out. */
void wal_table_remove(struct wal_table *table, struct wal_node *node);

/* The first and the next node with this hash; NULL: no more. */
struct wal_node *wal_table_first(const struct wal_table *table, uint64_t hash);
struct wal_node *wal_table_next(const struct wal_node *node, uint64_t hash);

/* Calls `visit` for every node; it may free the node. */
void wal_table_each(struct wal_table *table, void (*visit)(void *context, struct wal_node *node),
                    void *context);

#endif
