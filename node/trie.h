/*
 * trie: a tree of topic levels that many threads read without locks: the shape under the
 * subscription index and the retained store.
 *
 * Owns      its nodes. A user of the trie embeds struct trie_node first in a node of its own.
 * Thread    reading: inside a read section (base/reclaim.h). Changing: one at a time, under the
 * user's mutex. What a change takes away is retired, never freed at once. Errors    none: the
 * caller has checked its own limits before it inserts.
 */
#ifndef PULSE_NODE_TRIE_H
#define PULSE_NODE_TRIE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/reclaim.h"
#include "base/slice.h"

enum trie_flag {
    TRIE_HAS_PLUS = 1, /* among the children is a `+` */
    TRIE_HAS_HASH = 2, /* among the children is a `#` */
};

/* The bytes of the level are in the same allocation, behind the user's node. */
struct trie_node {
    union {
        struct trie_node *parent;    /* NULL at the root; for who changes the trie */
        struct reclaim_head reclaim; /* once it is retired */
    };
    _Atomic uintptr_t children; /* see trie.c */
    uint32_t hash;              /* of the level */
    uint16_t level_len;
    _Atomic uint8_t flags; /* enum trie_flag */
    uint8_t level_offset;  /* of the level's bytes from here, in units of 8 */
};

struct trie {
    struct trie_node root;
    size_t node_size; /* sizeof of the user's node */
    size_t nodes;     /* without the root; under the user's mutex */
};

/* `node_size` is the size of the user's node, a multiple of 8 below 2048, whose first member is a
 * struct trie_node. */
void trie_init(struct trie *trie, size_t node_size);
/* No reader may be left; frees at once. `fini_node` (NULL allowed) is called for each node before.
 */
void trie_fini(struct trie *trie, void (*fini_node)(struct trie_node *node));

static inline struct slice trie_level(const struct trie_node *node)
{
    return slice_of((const char *)node + node->level_offset * 8u, node->level_len);
}

static inline uint32_t trie_hash(struct slice level)
{
    return (uint32_t)hash_slice(level);
}

/* Reading. Borrow until the end of the read section. */
struct trie_node *trie_child(const struct trie_node *node, struct slice level);
/* As trie_child, for who looks for one level below many nodes: `hash` is trie_hash(level). */
struct trie_node *trie_child_hashed(const struct trie_node *node, struct slice level,
                                    uint32_t hash);
struct trie_node *trie_find(struct trie *trie, struct slice path);

/* The children that `node` has at this moment, one after another; NULL at the end. One that is
 * there all the time is seen exactly once. */
struct trie_cursor {
    uintptr_t children;
    uint32_t next;
};
struct trie_cursor trie_children(const struct trie_node *node);
struct trie_node *trie_next_child(struct trie_cursor *cursor);

/* Changing. Gives the node of `path`, made (zeroed behind the trie_node) where it was not there. */
struct trie_node *trie_insert(struct trie *trie, struct slice path);
/* Removes `node`, and then every ancestor, as long as they have no children and `is_empty` says so.
 * True when at least one node went. Their memory is retired. */
bool trie_prune(struct trie *trie, struct trie_node *node,
                bool (*is_empty)(const struct trie_node *node));
/* The two halves of trie_prune, for who has to tell its caches in between: trie_detach gives the
 * highest node that went, or NULL; trie_retire takes those from `node` up to `top`. */
struct trie_node *trie_detach(struct trie *trie, struct trie_node *node,
                              bool (*is_empty)(const struct trie_node *node));
void trie_retire(struct trie_node *node, struct trie_node *top);

#endif
