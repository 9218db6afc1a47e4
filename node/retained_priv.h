/*
 * What retained.c and replay.c know about one another: the store as readers see it.
 *
 * A retained message is an entry, reachable in two ways: from the node of its topic in the tree,
 * and from its slot, a small number that stays the same as long as the topic has a retained
 * message. An entry never changes; a newer message is a new entry with a higher sequence, in the
 * same slot.
 */
#ifndef PULSE_NODE_RETAINED_PRIV_H
#define PULSE_NODE_RETAINED_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/reclaim.h"
#include "base/message.h"
#include "node/retained.h"
#include "node/trie.h"

/* Page n of the slots has RETAINED_PAGE_MIN << n of them and never moves. */
#define RETAINED_PAGE_MIN 64u
#define RETAINED_PAGES 24

struct retained_node {
    struct trie_node trie;
    _Atomic(struct retained_entry *) entry; /* NULL: a topic on the way to others */
};

struct retained_entry {
    struct reclaim_head reclaim;
    struct message *message; /* a reference */
    struct retained_node *node;
    uint64_t sequence;
    uint32_t slot;
};

struct retained_slot {
    _Atomic(struct retained_entry *) entry; /* NULL: free */
};

struct retained {
    pthread_mutex_t mutex;
    struct trie trie;
    size_t messages_max;
    size_t payload_bytes_max;
    _Atomic size_t count; /* these two without $SYS/ */
    _Atomic size_t bytes;
    size_t expiring; /* entries that will expire */
    /* Of the newest entry; entries up to here are visible to who reads it. */
    _Atomic uint64_t sequence;
    _Atomic(struct retained_slot *) pages[RETAINED_PAGES];
    _Atomic uint32_t slot_count; /* in use, or free again */
    uint32_t *free_slots;
    uint32_t free_count;
    uint32_t free_cap;
    uint32_t expire_cursor; /* the slot at which the next sweep begins */
};

/* The slot of number `slot`, which is less than slot_count. */
static inline struct retained_slot *retained__slot(const struct retained *store, uint32_t slot)
{
    unsigned page = 31u - (unsigned)__builtin_clz(slot / RETAINED_PAGE_MIN + 1);
    uint32_t first = ((1u << page) - 1) * RETAINED_PAGE_MIN;
    struct retained_slot *slots = atomic_load_explicit(&store->pages[page], memory_order_acquire);
    return &slots[slot - first];
}

#endif
