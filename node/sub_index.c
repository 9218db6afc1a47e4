#include "node/sub_index.h"

#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "node/sub_index_priv.h"

/*
 * Invariants:
 *   bit n of a node's mask is set while lists[n] is not empty; only worker n sets and clears it;
 *   a node whose mask or groups say that it is used is never pruned, so its worker may use lists[n]
 *   without the mutex;
 *   the order of a change is: make it visible, move the generation, retire. A reader that still
 *   saw the old generation is then waited for; what it cached before is not used after the move.
 */

#define LIST_CAP_MIN 4

void sub_index_init(struct sub_index *index, unsigned workers)
{
    ASSERT(workers >= 1 && workers <= WORKERS_MAX);
    *index = (struct sub_index){.workers = workers, .generation = 1};
    (void)pthread_mutex_init(&index->mutex, NULL); /* can't fail with default attributes */
    trie_init(&index->trie, sizeof(struct index_node) + workers * sizeof(struct sub_list));
}

void sub_index_fini(struct sub_index *index)
{
    trie_fini(&index->trie, NULL);
    (void)pthread_mutex_destroy(&index->mutex); /* nobody holds it any more */
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void list_resize(struct sub_list *list, uint32_t cap)
{
    list->many = mem_resize(list->many, cap * sizeof(struct subscription *));
    list->cap = cap;
}

static void list_add(struct sub_list *list, struct subscription *sub)
{
    sub->position = list->count++;
    if (list->count == 1) {
        list->one = sub;
        return;
    }
    if (list->cap == 0) {
        struct subscription *one = list->one;
        list->many = NULL;
        list_resize(list, LIST_CAP_MIN);
        list->many[0] = one;
    } else if (list->count > list->cap) {
        list_resize(list, list->cap * 2);
    }
    list->many[sub->position] = sub;
}

/* Removes `sub` by putting the last one in its place. */
static void list_remove_sub(struct sub_list *list, const struct subscription *sub)
{
    struct subscription *last = sub_list_at(list, --list->count);
    if (list->cap == 0) {
        list->one = NULL;
        return;
    }
    list->many[sub->position] = last;
    last->position = sub->position;
    if (list->count == 1) {
        struct subscription *one = list->many[0];
        mem_free(list->many);
        list->cap = 0;
        list->one = one;
    } else if (list->count < list->cap / 4) {
        list_resize(list, list->cap / 2);
    }
}

/* ---- changes --------------------------------------------------------------------------------- */

static struct index_node *index_node_of(struct trie_node *node)
{
    return container_of(node, struct index_node, trie);
}

static bool is_empty(const struct trie_node *trie_node)
{
    const struct index_node *node = container_of(trie_node, const struct index_node, trie);
    return atomic_load_explicit(&node->workers, memory_order_relaxed) == 0 &&
           atomic_load_explicit(&node->groups, memory_order_relaxed) == NULL;
}

/* Sequentially consistent, as is the load in match_topic: who subscribes and then looks for
 * retained messages, and who sets a retained message and then looks for subscribers, can't both
 * come too early. */
static void move_generation(struct sub_index *index)
{
    atomic_fetch_add(&index->generation, 1);
}

static void count_filters(struct sub_index *index, size_t change)
{
    atomic_fetch_add_explicit(&index->filters, change, memory_order_relaxed);
}

void sub_index_add(struct sub_index *index, unsigned worker, struct subscription *sub,
                   struct slice filter, struct slice share, bool connected)
{
    ASSERT(sub->node == NULL && worker < index->workers);
    uint64_t bit = (uint64_t)1 << worker;
    bool shared = share.len > 0;

    (void)pthread_mutex_lock(&index->mutex);
    struct index_node *node = index_node_of(trie_insert(&index->trie, filter));
    uint64_t workers = atomic_load_explicit(&node->workers, memory_order_relaxed);
    bool first;
    if (shared) {
        first = atomic_load_explicit(&node->groups, memory_order_relaxed) == NULL;
        share_group__join(index, node, sub, share, connected);
    } else {
        first = (workers & bit) == 0;
        atomic_store_explicit(&node->workers, workers | bit, memory_order_release);
        count_filters(index, workers == 0);
    }
    if (first) {
        move_generation(index);
    }
    (void)pthread_mutex_unlock(&index->mutex);

    sub->node = node;
    if (!shared) {
        list_add(&node->lists[worker], sub);
    }
}

/* Under the mutex: after `node` lost its last subscriber of some kind. */
static void prune(struct sub_index *index, struct index_node *node)
{
    struct trie_node *top = trie_detach(&index->trie, &node->trie, is_empty);
    move_generation(index);
    if (top != NULL) {
        trie_retire(&node->trie, top);
    }
}

static void remove_shared(struct sub_index *index, struct subscription *sub)
{
    (void)pthread_mutex_lock(&index->mutex);
    share_group__leave(sub);
    if (atomic_load_explicit(&sub->node->groups, memory_order_relaxed) == NULL) {
        prune(index, sub->node);
    }
    (void)pthread_mutex_unlock(&index->mutex);
}

static void remove_own(struct sub_index *index, unsigned worker, struct subscription *sub)
{
    struct index_node *node = sub->node;
    struct sub_list *list = &node->lists[worker];
    list_remove_sub(list, sub);
    if (list->count > 0) {
        return;
    }
    (void)pthread_mutex_lock(&index->mutex);
    uint64_t workers =
        atomic_load_explicit(&node->workers, memory_order_relaxed) & ~((uint64_t)1 << worker);
    atomic_store_explicit(&node->workers, workers, memory_order_release);
    if (workers == 0) {
        count_filters(index, (size_t)-1);
    }
    prune(index, node);
    (void)pthread_mutex_unlock(&index->mutex);
}

void sub_index_remove(struct sub_index *index, unsigned worker, struct subscription *sub)
{
    ASSERT(sub->node != NULL && worker < index->workers);
    if (sub->group != NULL) {
        remove_shared(index, sub);
    } else {
        remove_own(index, worker, sub);
    }
    sub->node = NULL;
}

/* ---- looking --------------------------------------------------------------------------------- */

size_t sub_index_filter(const struct subscription *sub, char *out)
{
    size_t len = 0;
    for (const struct trie_node *node = &sub->node->trie; node->parent != NULL;
         node = node->parent) {
        len += node->level_len + 1u;
    }
    len--; /* no slash in front of the first level */

    size_t end = len;
    for (const struct trie_node *node = &sub->node->trie;; node = node->parent) {
        end -= node->level_len;
        memcpy(out + end, trie_level(node).data, node->level_len);
        if (node->parent->parent == NULL) {
            return len;
        }
        out[--end] = '/';
    }
}

size_t sub_index_filters(struct sub_index *index)
{
    return atomic_load_explicit(&index->filters, memory_order_relaxed);
}
