/*
 * sub_index: who wants what. One tree of all topic filters of the node, read by every worker
 * without locks; each filter's node says which workers have subscribers there, and holds for each
 * worker the list of its own, which only that worker reads and writes.
 *
 * Owns      the tree, the lists, the shared groups. Subscriptions belong to their sessions.
 * Thread    add, remove, match: workers, each for its own subscriptions, in a read section where
 * said. The mutex inside is held for the change of the tree only. Errors    none: limits are the
 * session's. Source    MQTT 5.0 section 4.7, 4.8.
 */
#ifndef PULSE_NODE_SUB_INDEX_H
#define PULSE_NODE_SUB_INDEX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "node/trie.h"

#define WORKERS_MAX 64

struct session;
struct session_replay;
struct share_group;

/* One subscription of one session. The session owns it and links it through `next_of_session`. */
struct subscription {
    struct session *session;
    struct index_node *node;   /* NULL while it is in no index */
    struct share_group *group; /* NULL: not shared */
    struct subscription *next_of_session;
    struct session_replay *replay; /* retained messages on their way, or NULL; the session's */
    uint32_t position;             /* in the list of its worker at `node`, or of its group */
    uint32_t id;                   /* Subscription Identifier; 0: none */
    uint8_t qos;
    bool no_local;
    bool retain_as_published;
    uint8_t retain_handling;
};

/* Subscriptions of one worker at one node. One is kept without an allocation. */
struct sub_list {
    uint32_t count;
    uint32_t cap; /* 0: `one` is used */
    union {
        struct subscription *one;
        struct subscription **many;
    };
};

struct index_node {
    struct trie_node trie;
    _Atomic uint64_t workers;             /* bit n: worker n has subscribers here */
    _Atomic(struct share_group *) groups; /* shared groups on this filter, linked by `next` */
    struct sub_list lists[];              /* one per worker; entry n is worker n's alone */
};

struct sub_index {
    pthread_mutex_t mutex;
    struct trie trie;
    unsigned workers;
    /* Moves after a change of the tree or of a worker mask, and before what went is retired. */
    _Atomic uint64_t generation;
    _Atomic size_t filters; /* nodes with subscribers of their own, plus shared groups */
};

void sub_index_init(struct sub_index *index, unsigned workers);
/* All subscriptions have been removed, all readers are gone. */
void sub_index_fini(struct sub_index *index);

/*
 * Adds `sub` (of a session of `worker`) under `filter` (without $share/...). With a `share` name it
 * joins the group. `connected` says whether its session is online (shared groups prefer those).
 * Other workers see a copy of a shared subscription: to change its options, remove it and add it
 * again. The caller's other subscriptions and lists it iterates must not be this node's.
 */
void sub_index_add(struct sub_index *index, unsigned worker, struct subscription *sub,
                   struct slice filter, struct slice share, bool connected);
/* Undoes it; called outside of any iteration over the lists. */
void sub_index_remove(struct sub_index *index, unsigned worker, struct subscription *sub);

/* The filter of `sub`, without share, rebuilt into `out` (at least 65536 bytes); its length. */
size_t sub_index_filter(const struct subscription *sub, char *out);
/* The name of its group; empty when not shared. Borrowed while `sub` is in the index. */
struct slice sub_index_share_name(const struct subscription *sub);

/* Entry `i` of a list. */
static inline struct subscription *sub_list_at(const struct sub_list *list, uint32_t i)
{
    return list->cap == 0 ? list->one : list->many[i];
}

/* ---- matching -------------------------------------------------------------------------------- */

/* What a topic matched. Node pointers are good until the end of the read section. */
struct match {
    uint64_t workers; /* union of the nodes' masks */
    bool shared;      /* some node has shared groups */
    uint32_t count;
    struct index_node **nodes;
};

/* A per-worker cache of recent matches; each worker owns one. */
struct match_cache;
struct match_cache *match_cache_create(struct sub_index *index);
void match_cache_destroy(struct match_cache *cache);

/* Every filter that matches `topic`. Inside a read section. Borrowed until the next call on
 * `cache`, or the end of the section. */
const struct match *match_topic(struct match_cache *cache, struct slice topic);

/* ---- shared groups --------------------------------------------------------------------------- */

/* A member as other workers see it. */
struct share_member {
    /* handle; its worker is session_handle_worker(session) (node/session_handle.h) */
    uint64_t session;
    uint32_t id; /* Subscription Identifier */
    uint8_t qos;
    bool retain_as_published;
    bool connected;
};

/* The first group on the filter of `node`, or NULL. Read section. */
static inline struct share_group *sub_index_first_group(const struct index_node *node)
{
    return atomic_load_explicit(&node->groups, memory_order_acquire);
}

/* A held group outlives its last member (nobody is picked from it then), and the read section. */
void share_group_hold(struct share_group *group);
void share_group_drop(struct share_group *group);

struct share_group *share_group_next(const struct share_group *group); /* NULL: last */

/*
 * Picks the member that gets the next message: round robin over the connected ones, over all when
 * none is. `except` (a session handle, 0: nobody) is passed over; false when nobody is left. Read
 * section.
 */
bool share_group_pick(struct share_group *group, uint64_t except, struct share_member *out);

/* The group called `share` on exactly `filter`, or NULL. Read section. */
struct share_group *share_group_find(struct sub_index *index, struct slice filter,
                                     struct slice share);

/* The member's session went on- or offline. Any time between add and remove; by its worker. */
void share_group_set_connected(struct subscription *sub, bool connected);

/* Number of distinct filters and of shared groups, for metrics. Any thread. */
size_t sub_index_filters(struct sub_index *index);

#endif
