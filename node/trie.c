#include "node/trie.h"

#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "codec/topic.h"

/*
 * The children of a node: 0 for none; the only child's address plus ONLY; or the address of a
 * table. The first child needs no table, which is what the long tails of a tree are made of.
 *
 * A table is open-addressed with linear probing over a power of two of slots.
 *
 * Invariants:
 *   a slot that was used never becomes NULL again, so that a reader's probe never ends too early;
 *   count <= used <= used_max(capacity); what passes that is rebuilt in a new table;
 *   a published table has at least one child; `mask` never changes.
 */
#define ONLY 1u

struct trie_children {
    union {
        struct {
            uint32_t count;          /* children */
            uint32_t used;           /* slots that are not NULL: children, and what is gone */
        };                           /* of the writer, while the table is published */
        struct reclaim_head reclaim; /* afterwards */
    };
    uint32_t mask;
    _Atomic(struct trie_node *) slots[];
};

/* In the slot of a removed child. */
static struct trie_node gone;

/* ---- tables ---------------------------------------------------------------------------------- */

/* Slots that may be used: small tables may be full, since a probe ends after all slots anyway. */
static uint32_t used_max(uint32_t capacity)
{
    return capacity - capacity / 4;
}

static struct trie_children *table_create(uint32_t count)
{
    uint32_t capacity = 2;
    while (used_max(capacity) < count) {
        capacity *= 2;
    }
    struct trie_children *table = mem_alloc(sizeof(*table) + capacity * sizeof(table->slots[0]));
    table->mask = capacity - 1;
    return table;
}

static void table_destroy(struct reclaim_head *head)
{
    mem_free(container_of(head, struct trie_children, reclaim));
}

static bool is_level(const struct trie_node *node, struct slice level, uint32_t hash)
{
    return node->hash == hash && slice_equal(trie_level(node), level);
}

static struct trie_node *table_find(const struct trie_children *table, struct slice level,
                                    uint32_t hash)
{
    for (uint32_t i = 0; i <= table->mask; i++) {
        struct trie_node *node =
            atomic_load_explicit(&table->slots[(hash + i) & table->mask], memory_order_acquire);
        if (node == NULL) {
            return NULL;
        }
        if (node != &gone && is_level(node, level, hash)) {
            return node;
        }
    }
    return NULL;
}

/* Puts `child`, which is not there, into a table that has room. */
static void table_put(struct trie_children *table, struct trie_node *child)
{
    uint32_t at = child->hash & table->mask;
    struct trie_node *old;
    while ((old = atomic_load_explicit(&table->slots[at], memory_order_relaxed)) != NULL &&
           old != &gone) {
        at = (at + 1) & table->mask;
    }
    table->used += old == NULL;
    table->count++;
    atomic_store_explicit(&table->slots[at], child, memory_order_release);
}

static void table_take(struct trie_children *table, const struct trie_node *child)
{
    uint32_t at = child->hash & table->mask;
    while (atomic_load_explicit(&table->slots[at], memory_order_relaxed) != child) {
        at = (at + 1) & table->mask;
    }
    table->count--;
    atomic_store_explicit(&table->slots[at], &gone, memory_order_release);
}

/* ---- children -------------------------------------------------------------------------------- */

static uintptr_t children_of(const struct trie_node *node)
{
    return atomic_load_explicit(&node->children, memory_order_acquire);
}

/* The only child; NULL if there are none, or a table. */
static struct trie_node *only_of(uintptr_t children)
{
    return (children & ONLY) != 0 ? (struct trie_node *)(children - ONLY) : NULL;
}

/* The table; NULL if there is none. */
static struct trie_children *table_of(uintptr_t children)
{
    return (children & ONLY) == 0 ? (struct trie_children *)children : NULL;
}

static uint32_t child_count(const struct trie_node *node)
{
    uintptr_t children = children_of(node);
    const struct trie_children *table = table_of(children);
    return table != NULL ? table->count : children != 0;
}

/* Replaces the children of `node`, of which there are some, by a table with room for `count`. */
static struct trie_children *rebuild(struct trie_node *node, uint32_t count)
{
    struct trie_children *table = table_create(count);
    struct trie_cursor cursor = trie_children(node);
    struct trie_children *old = table_of(cursor.children);
    for (struct trie_node *child; (child = trie_next_child(&cursor)) != NULL;) {
        table_put(table, child);
    }
    atomic_store_explicit(&node->children, (uintptr_t)table, memory_order_release);
    if (old != NULL) {
        reclaim_retire(&old->reclaim, table_destroy);
    }
    return table;
}

static void link_child(struct trie_node *node, struct trie_node *child)
{
    uintptr_t children = children_of(node);
    if (children == 0) {
        atomic_store_explicit(&node->children, (uintptr_t)child + ONLY, memory_order_release);
        return;
    }
    struct trie_children *table = table_of(children);
    if (table == NULL || table->used == used_max(table->mask + 1)) {
        /* A quarter more than now: a table full of what is gone isn't rebuilt soon again. */
        uint32_t count = child_count(node);
        table = rebuild(node, count + 1 + count / 4);
    }
    table_put(table, child);
}

static void unlink_child(struct trie_node *node, const struct trie_node *child)
{
    struct trie_children *table = table_of(children_of(node));
    if (table == NULL) {
        atomic_store_explicit(&node->children, 0, memory_order_release);
        return;
    }
    table_take(table, child);
    if (table->count == 0) {
        atomic_store_explicit(&node->children, 0, memory_order_release);
        reclaim_retire(&table->reclaim, table_destroy);
    } else if (table->count < (table->mask + 1) / 8) {
        (void)rebuild(node, table->count * 2);
    }
}

static uint8_t wildcard_flag(const struct trie_node *node)
{
    if (node->level_len != 1) {
        return 0;
    }
    uint8_t byte = trie_level(node).data[0];
    return byte == '+' ? TRIE_HAS_PLUS : byte == '#' ? TRIE_HAS_HASH : 0;
}

static struct trie_node *add_child(struct trie *trie, struct trie_node *node, struct slice level,
                                   uint32_t hash)
{
    struct trie_node *child = mem_alloc(trie->node_size + level.len);
    if (level.len > 0) {
        memcpy((char *)child + trie->node_size, level.data, level.len);
    }
    child->parent = node;
    child->hash = hash;
    child->level_len = (uint16_t)level.len;
    child->level_offset = (uint8_t)(trie->node_size / 8);
    link_child(node, child);
    atomic_fetch_or_explicit(&node->flags, wildcard_flag(child), memory_order_relaxed);
    trie->nodes++;
    return child;
}

static void remove_child(struct trie_node *node, const struct trie_node *child)
{
    unlink_child(node, child);
    atomic_fetch_and_explicit(&node->flags, (uint8_t)~wildcard_flag(child), memory_order_relaxed);
}

/* ---- the whole ------------------------------------------------------------------------------- */

void trie_init(struct trie *trie, size_t node_size)
{
    ASSERT(node_size % 8 == 0 && node_size / 8 <= UINT8_MAX);
    *trie = (struct trie){.node_size = node_size};
}

static void free_node(struct trie_node *node)
{
    mem_free(table_of(children_of(node)));
    mem_free(node);
}

/* While the trie ends, `used` is the number of slots whose children are still to be freed. */
static struct trie_node *fini_enter(struct trie_node *node)
{
    struct trie_children *table = table_of(children_of(node));
    if (table != NULL) {
        table->used = table->mask + 1;
    }
    return node;
}

static struct trie_node *fini_next_child(struct trie_node *node)
{
    struct trie_node *child = only_of(children_of(node));
    if (child != NULL) {
        atomic_store_explicit(&node->children, 0, memory_order_relaxed);
        return child;
    }
    struct trie_children *table = table_of(children_of(node));
    while (table != NULL && table->used > 0) {
        child = atomic_load_explicit(&table->slots[--table->used], memory_order_relaxed);
        if (child != NULL && child != &gone) {
            return child;
        }
    }
    return NULL;
}

void trie_fini(struct trie *trie, void (*fini_node)(struct trie_node *node))
{
    struct trie_node *node = fini_enter(&trie->root);
    for (;;) {
        struct trie_node *child = fini_next_child(node);
        if (child != NULL) {
            node = fini_enter(child);
            continue;
        }
        if (node == &trie->root) {
            break;
        }
        struct trie_node *parent = node->parent;
        if (fini_node != NULL) {
            fini_node(node);
        }
        free_node(node);
        node = parent;
    }
    mem_free(table_of(children_of(node)));
    *trie = (struct trie){.node_size = 0};
}

struct trie_node *trie_child_hashed(const struct trie_node *node, struct slice level, uint32_t hash)
{
    uintptr_t children = children_of(node);
    struct trie_node *only = only_of(children);
    if (only != NULL) {
        return is_level(only, level, hash) ? only : NULL;
    }
    const struct trie_children *table = table_of(children);
    return table == NULL ? NULL : table_find(table, level, hash);
}

struct trie_node *trie_child(const struct trie_node *node, struct slice level)
{
    return trie_child_hashed(node, level, trie_hash(level));
}

struct trie_node *trie_find(struct trie *trie, struct slice path)
{
    struct trie_node *node = &trie->root;
    for (bool done = false; !done && node != NULL;) {
        node = trie_child(node, topic_next_level(&path, &done));
    }
    return node;
}

struct trie_cursor trie_children(const struct trie_node *node)
{
    return (struct trie_cursor){.children = children_of(node)};
}

struct trie_node *trie_next_child(struct trie_cursor *cursor)
{
    struct trie_node *child = only_of(cursor->children);
    if (child != NULL) {
        cursor->children = 0;
        return child;
    }
    const struct trie_children *table = table_of(cursor->children);
    while (table != NULL && cursor->next <= table->mask) {
        child = atomic_load_explicit(&table->slots[cursor->next++], memory_order_acquire);
        if (child != NULL && child != &gone) {
            return child;
        }
    }
    return NULL;
}

struct trie_node *trie_insert(struct trie *trie, struct slice path)
{
    struct trie_node *node = &trie->root;
    for (bool done = false; !done;) {
        struct slice level = topic_next_level(&path, &done);
        uint32_t hash = trie_hash(level);
        struct trie_node *child = trie_child_hashed(node, level, hash);
        node = child != NULL ? child : add_child(trie, node, level, hash);
    }
    return node;
}

struct trie_node *trie_detach(struct trie *trie, struct trie_node *node,
                              bool (*is_empty)(const struct trie_node *node))
{
    if (child_count(node) > 0 || !is_empty(node)) {
        return NULL;
    }
    /* The highest one that holds nothing but the way down to `node`: unlinking it unlinks all. */
    struct trie_node *top = node;
    trie->nodes--;
    while (top->parent != &trie->root && child_count(top->parent) == 1 && is_empty(top->parent)) {
        top = top->parent;
        trie->nodes--;
    }
    remove_child(top->parent, top);
    return top;
}

static void node_destroy(struct reclaim_head *head)
{
    free_node(container_of(head, struct trie_node, reclaim));
}

void trie_retire(struct trie_node *node, struct trie_node *top)
{
    for (struct trie_node *parent; node != NULL; node = parent) {
        parent = node == top ? NULL : node->parent;
        reclaim_retire(&node->reclaim, node_destroy);
    }
}

bool trie_prune(struct trie *trie, struct trie_node *node,
                bool (*is_empty)(const struct trie_node *node))
{
    struct trie_node *top = trie_detach(trie, node, is_empty);
    if (top == NULL) {
        return false;
    }
    trie_retire(node, top);
    return true;
}
