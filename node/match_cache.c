#include <string.h>

#include "base/hash.h"
#include "base/macros.h"
#include "base/mem.h"
#include "codec/topic.h"
#include "node/sub_index.h"

/*
 * An entry is valid while the generation of the index is what it was before the walk that filled
 * it. Its node pointers are safe to use then: see the order of changes in sub_index.c.
 */

#define ENTRIES 1024
#define TOPIC_LEN_MAX 256 /* longer ones, and those that match more, are not remembered */
#define NODES_MAX 256

struct entry {
    uint64_t generation;
    uint64_t hash;
    struct match match;
    uint32_t nodes_cap;
    uint16_t topic_len;
    uint16_t topic_cap;
    struct index_node *nodes[]; /* nodes_cap of them, and then the topic */
};

struct level {
    struct slice text;
    uint32_t hash;
};

/* A node of the filters, and the number of levels of the topic that lead there. */
struct step {
    struct trie_node *node;
    uint32_t depth;
};

struct match_cache {
    struct sub_index *index;
    struct entry **entries; /* NULL until the first topic */
    struct match found;     /* of the last walk */
    uint32_t found_cap;
    /* The walk's: levels of the topic as far as some filter needed them, and steps to be taken. */
    struct level *levels;
    uint32_t level_count;
    uint32_t level_cap;
    bool levels_done;
    struct slice rest;
    struct step *steps;
    uint32_t step_count;
    uint32_t step_cap;
};

struct match_cache *match_cache_create(struct sub_index *index)
{
    struct match_cache *cache = mem_alloc(sizeof(*cache));
    cache->index = index;
    return cache;
}

void match_cache_destroy(struct match_cache *cache)
{
    for (size_t i = 0; cache->entries != NULL && i < ENTRIES; i++) {
        mem_free(cache->entries[i]);
    }
    mem_free(cache->entries);
    mem_free(cache->found.nodes);
    mem_free(cache->levels);
    mem_free(cache->steps);
    mem_free(cache);
}

/* ---- the walk -------------------------------------------------------------------------------- */

/* The arrays are bounded: levels and steps by the depth of the tree, found nodes by their number.
 */

/* Level number `i` of the topic, where all before it have been asked for; NULL: it has no more. */
static const struct level *level_at(struct match_cache *cache, uint32_t i)
{
    if (i < cache->level_count) {
        return &cache->levels[i];
    }
    if (cache->levels_done) {
        return NULL;
    }
    cache->levels = mem_grow(cache->levels, i, &cache->level_cap, sizeof(struct level));
    struct slice text = topic_next_level(&cache->rest, &cache->levels_done);
    cache->levels[i] = (struct level){.text = text, .hash = trie_hash(text)};
    cache->level_count++;
    return &cache->levels[i];
}

static void step_to(struct match_cache *cache, struct trie_node *node, uint32_t depth)
{
    if (node == NULL) {
        return;
    }
    cache->steps = mem_grow(cache->steps, cache->step_count, &cache->step_cap, sizeof(struct step));
    cache->steps[cache->step_count++] = (struct step){.node = node, .depth = depth};
}

static void found_node(struct match_cache *cache, struct trie_node *trie_node)
{
    if (trie_node == NULL) {
        return;
    }
    struct index_node *node = container_of(trie_node, struct index_node, trie);
    uint64_t workers = atomic_load_explicit(&node->workers, memory_order_acquire);
    bool shared = atomic_load_explicit(&node->groups, memory_order_acquire) != NULL;
    if (workers == 0 && !shared) {
        return;
    }
    struct match *found = &cache->found;
    found->nodes = mem_grow(found->nodes, found->count, &cache->found_cap, sizeof(node));
    found->nodes[found->count++] = node;
    found->workers |= workers;
    found->shared |= shared;
}

static void walk(struct match_cache *cache, struct slice topic)
{
    static const struct slice plus = {.data = (const uint8_t *)"+", .len = 1};
    static const struct slice hash = {.data = (const uint8_t *)"#", .len = 1};
    /* Wildcards of the first level don't match $SYS and the like [MQTT-4.7.2-1]. */
    bool hidden = topic.len > 0 && topic.data[0] == '$';

    cache->found.workers = 0;
    cache->found.shared = false;
    cache->found.count = 0;
    cache->level_count = 0;
    cache->levels_done = false;
    cache->rest = topic;
    step_to(cache, &cache->index->trie.root, 0);
    while (cache->step_count > 0) {
        struct step at = cache->steps[--cache->step_count];
        uint8_t flags = atomic_load_explicit(&at.node->flags, memory_order_relaxed);
        if (hidden && at.depth == 0) {
            flags = 0;
        }
        if ((flags & TRIE_HAS_HASH) != 0) {
            found_node(cache, trie_child(at.node, hash));
        }
        const struct level *level = level_at(cache, at.depth);
        if (level == NULL) {
            found_node(cache, at.node); /* not the root: a topic has at least one level */
            continue;
        }
        if ((flags & TRIE_HAS_PLUS) != 0) {
            step_to(cache, trie_child(at.node, plus), at.depth + 1);
        }
        step_to(cache, trie_child_hashed(at.node, level->text, level->hash), at.depth + 1);
    }
}

/* ---- the cache ------------------------------------------------------------------------------- */

static uint8_t *entry_topic(struct entry *entry)
{
    return (uint8_t *)(entry->nodes + entry->nodes_cap);
}

static bool entry_is(struct entry *entry, uint64_t hash, struct slice topic)
{
    return entry->hash == hash && entry->topic_len == topic.len &&
           memcmp(entry_topic(entry), topic.data, topic.len) == 0;
}

/* Gives `entry` (NULL: none yet) or another in its place, with room for these. */
static struct entry *entry_with_room(struct entry *entry, uint32_t nodes, size_t topic_len)
{
    if (entry != NULL && entry->nodes_cap >= nodes && entry->topic_cap >= topic_len) {
        return entry;
    }
    mem_free(entry);
    uint32_t nodes_cap = nodes <= 2 ? 2 : nodes + nodes / 2;
    size_t topic_cap = (topic_len + 31) / 32 * 32;
    entry = mem_alloc(sizeof(*entry) + nodes_cap * sizeof(entry->nodes[0]) + topic_cap);
    entry->nodes_cap = nodes_cap;
    entry->topic_cap = (uint16_t)topic_cap;
    return entry;
}

static struct entry *remember(struct entry *entry, uint64_t generation, uint64_t hash,
                              struct slice topic, const struct match *found)
{
    entry = entry_with_room(entry, found->count, topic.len);
    entry->generation = generation;
    entry->hash = hash;
    entry->topic_len = (uint16_t)topic.len;
    entry->match = *found;
    entry->match.nodes = entry->nodes;
    if (found->count > 0) {
        memcpy(entry->nodes, found->nodes, found->count * sizeof(found->nodes[0]));
    }
    memcpy(entry_topic(entry), topic.data, topic.len);
    return entry;
}

const struct match *match_topic(struct match_cache *cache, struct slice topic)
{
    if (unlikely(topic.len > TOPIC_LEN_MAX)) {
        walk(cache, topic);
        return &cache->found;
    }
    if (unlikely(cache->entries == NULL)) {
        cache->entries = mem_alloc_array(ENTRIES, sizeof(struct entry *));
    }
    uint64_t hash = hash_slice(topic);
    struct entry **place = &cache->entries[hash % ENTRIES];
    /* Before the walk, so that a change during the walk makes the entry invalid. Sequentially
     * consistent: see move_generation in sub_index.c. */
    uint64_t generation = atomic_load(&cache->index->generation);
    if (likely(*place != NULL && (*place)->generation == generation &&
               entry_is(*place, hash, topic))) {
        return &(*place)->match;
    }
    walk(cache, topic);
    if (cache->found.count > NODES_MAX) {
        return &cache->found;
    }
    *place = remember(*place, generation, hash, topic, &cache->found);
    return &(*place)->match;
}
