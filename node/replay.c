#include <string.h>

#include "base/mem.h"
#include "codec/topic.h"
#include "node/retained_priv.h"

/*
 * A replay holds nothing but slot numbers, so it may live as long as a slow client wants. What it
 * found in a slot belongs to it exactly when its sequence is not above the one at which the replay
 * began: every later change of a slot, its reuse for another topic included, has a higher one.
 *
 * Which slots: those collected by a walk of the tree, or, when the filter is so wide that the walk
 * would take too long, all of them, each compared with the filter.
 */

#define VISITS_MAX 4096     /* nodes of the tree that replay_create looks at, at most */
#define LOOKS_PER_CALL 1024 /* slots that replay_next looks at, at most */

struct replay {
    struct retained *store;
    uint64_t sequence;
    uint32_t next; /* index into `slots`, or, when scanning, a slot */
    uint32_t count;
    uint32_t *slots; /* NULL when scanning, or when nothing was found */
    uint8_t *filter; /* NULL when not scanning */
    size_t filter_len;
};

/* ---- the walk -------------------------------------------------------------------------------- */

struct step {
    const struct trie_node *node;
    size_t depth; /* levels of the filter that lead here */
};

struct walk {
    const struct trie_node *root;
    const struct slice *levels; /* of the filter */
    size_t level_count;
    uint32_t visits; /* steps made or waiting: more than there are of these two */
    struct step *steps;
    uint32_t step_count;
    uint32_t step_cap;
    uint32_t *slots;
    uint32_t slot_count;
    uint32_t slot_cap;
};

static bool is_level(struct slice level, char wildcard)
{
    return level.len == 1 && level.data[0] == wildcard;
}

/* In a valid filter these two are nowhere but where they are wildcards. */
static bool has_wildcards(struct slice filter)
{
    return memchr(filter.data, '+', filter.len) != NULL ||
           memchr(filter.data, '#', filter.len) != NULL;
}

/* False when this is one too many. */
static bool step_to(struct walk *walk, const struct trie_node *node, size_t depth)
{
    if (node == NULL) {
        return true;
    }
    if (walk->visits == VISITS_MAX) {
        return false;
    }
    walk->visits++;
    walk->steps = mem_grow(walk->steps, walk->step_count, &walk->step_cap, sizeof(struct step));
    walk->steps[walk->step_count++] = (struct step){.node = node, .depth = depth};
    return true;
}

static bool step_to_children(struct walk *walk, const struct trie_node *node, size_t depth)
{
    struct trie_cursor cursor = trie_children(node);
    for (struct trie_node *child; (child = trie_next_child(&cursor)) != NULL;) {
        /* [MQTT-4.7.2-1] */
        bool hidden = node == walk->root && slice_starts_with(trie_level(child), "$");
        if (!hidden && !step_to(walk, child, depth)) {
            return false;
        }
    }
    return true;
}

static void collect(struct walk *walk, const struct trie_node *node)
{
    if (node == walk->root) {
        return;
    }
    const struct retained_node *own = container_of(node, const struct retained_node, trie);
    struct retained_entry *entry = atomic_load_explicit(&own->entry, memory_order_acquire);
    if (entry != NULL) {
        walk->slots = mem_grow(walk->slots, walk->slot_count, &walk->slot_cap, sizeof(uint32_t));
        walk->slots[walk->slot_count++] = entry->slot;
    }
}

/* False when the filter is too wide for a walk. */
static bool walk_run(struct walk *walk)
{
    (void)step_to(walk, walk->root, 0); /* the first one always fits */
    while (walk->step_count > 0) {
        struct step at = walk->steps[--walk->step_count];
        if (at.depth == walk->level_count) {
            collect(walk, at.node);
            continue;
        }
        struct slice level = walk->levels[at.depth];
        bool fits;
        if (is_level(level, '#')) {
            collect(walk, at.node);
            fits = step_to_children(walk, at.node, at.depth);
        } else if (is_level(level, '+')) {
            fits = step_to_children(walk, at.node, at.depth + 1);
        } else {
            fits = step_to(walk, trie_child(at.node, level), at.depth + 1);
        }
        if (!fits) {
            return false;
        }
    }
    return true;
}

static void scan_all(struct replay *replay, struct slice filter)
{
    replay->count = atomic_load_explicit(&replay->store->slot_count, memory_order_acquire);
    replay->filter = (uint8_t *)mem_copy_text(filter.data, filter.len);
    replay->filter_len = filter.len;
}

static void find_matching(struct replay *replay, struct slice filter)
{
    struct walk walk = {.root = &replay->store->trie.root, .level_count = topic_levels(filter)};
    struct slice *levels = mem_alloc_array(walk.level_count, sizeof(*levels));
    struct slice rest = filter;
    bool done = false;
    for (size_t i = 0; i < walk.level_count; i++) {
        levels[i] = topic_next_level(&rest, &done);
    }
    walk.levels = levels;
    if (walk_run(&walk)) {
        replay->slots = walk.slots;
        replay->count = walk.slot_count;
    } else {
        mem_free(walk.slots);
        scan_all(replay, filter);
    }
    mem_free(walk.steps);
    mem_free(levels);
}

static void find_one(struct replay *replay, struct slice topic)
{
    struct walk walk = {.root = &replay->store->trie.root};
    const struct trie_node *node = trie_find(&replay->store->trie, topic);
    if (node != NULL) {
        collect(&walk, node);
    }
    replay->slots = walk.slots;
    replay->count = walk.slot_count;
}

/* ---- the replay ------------------------------------------------------------------------------ */

struct replay *replay_create(struct retained *store, struct slice filter)
{
    struct replay *replay = mem_alloc(sizeof(*replay));
    replay->store = store;
    /*
     * Before the walk. Sequentially consistent: either a message set meanwhile is seen here, or
     * whoever set it, and looks for subscribers afterwards, sees the subscription made before this
     * call.
     */
    replay->sequence = atomic_load(&store->sequence);
    if (has_wildcards(filter)) {
        find_matching(replay, filter);
    } else {
        find_one(replay, filter);
    }
    return replay;
}

void replay_destroy(struct replay *replay)
{
    mem_free(replay->slots);
    mem_free(replay->filter);
    mem_free(replay);
}

/* The entry in slot `slot` if it belongs to the replay, else NULL. */
static const struct retained_entry *entry_at(const struct replay *replay, uint32_t slot)
{
    const struct retained_entry *entry =
        atomic_load_explicit(&retained__slot(replay->store, slot)->entry, memory_order_acquire);
    if (entry == NULL || entry->sequence > replay->sequence) {
        return NULL;
    }
    struct slice filter = slice_of(replay->filter, replay->filter_len);
    if (replay->filter != NULL && !topic_matches(filter, message_topic(entry->message))) {
        return NULL;
    }
    return entry;
}

struct message *replay_next(struct replay *replay, uint64_t now_ms, bool *done)
{
    *done = false;
    for (unsigned looks = 0; looks < LOOKS_PER_CALL; looks++) {
        if (replay->next == replay->count) {
            *done = true;
            return NULL;
        }
        uint32_t i = replay->next++;
        const struct retained_entry *entry =
            entry_at(replay, replay->filter != NULL ? i : replay->slots[i]);
        if (entry != NULL && !message_expired(entry->message, now_ms)) {
            return message_keep(entry->message);
        }
    }
    return NULL;
}
