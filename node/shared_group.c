#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/reclaim.h"
#include "node/session.h"
#include "node/sub_index_priv.h"

/*
 * A group keeps its members in two arrays, all and the connected ones, that readers use without a
 * lock: they read the count, then a slot below it.
 *
 * Invariants, under the index's mutex:
 *   slots below the count hold each member once; subscription.position is its place in `all`;
 *   what is above the count may be a member that left: a reader that still looks there read
 *   the count in a section that the member's grace period waits for.
 */

#define SHARE_LIST_CAP_MIN 4

struct member {
    struct reclaim_head reclaim;
    uint64_t session;
    struct subscription *sub;
    uint32_t id;
    uint32_t connected_position;
    uint8_t qos;
    bool retain_as_published;
    _Atomic bool connected;
};

struct share_list {
    struct reclaim_head reclaim;
    uint32_t cap;
    _Atomic uint32_t count;
    _Atomic(struct member *) slots[];
};

struct share_group {
    _Atomic(struct share_group *) next;
    struct sub_index *index;
    struct index_node *node;
    _Atomic(struct share_list *) all;
    _Atomic(struct share_list *) connected;
    struct reclaim_head reclaim;
    _Atomic uint32_t turn;
    _Atomic uint32_t holds; /* of the index, until no reader is left; one per share_group_hold */
    uint16_t name_len;
    char name[];
};

/* ---- lists ----------------------------------------------------------------------------------- */

static void list_destroy(struct reclaim_head *head)
{
    mem_free(container_of(head, struct share_list, reclaim));
}

static struct share_list *list_create(uint32_t cap)
{
    struct share_list *list = mem_alloc(sizeof(*list) + cap * sizeof(list->slots[0]));
    list->cap = cap;
    return list;
}

static uint32_t list_count(const struct share_list *list)
{
    return atomic_load_explicit(&list->count, memory_order_relaxed);
}

static struct member *list_at(const struct share_list *list, uint32_t i)
{
    return atomic_load_explicit(&list->slots[i], memory_order_relaxed);
}

/* Replaces the list in `place` by a copy with room for `cap` members. */
static struct share_list *list_resize(_Atomic(struct share_list *) *place, uint32_t cap)
{
    struct share_list *old = atomic_load_explicit(place, memory_order_relaxed);
    struct share_list *list = list_create(cap);
    uint32_t count = list_count(old);
    for (uint32_t i = 0; i < count; i++) {
        atomic_store_explicit(&list->slots[i], list_at(old, i), memory_order_relaxed);
    }
    atomic_store_explicit(&list->count, count, memory_order_relaxed);
    atomic_store_explicit(place, list, memory_order_release);
    reclaim_retire(&old->reclaim, list_destroy);
    return list;
}

/* Appends; returns the position. */
static uint32_t list_add(_Atomic(struct share_list *) *place, struct member *member)
{
    struct share_list *list = atomic_load_explicit(place, memory_order_relaxed);
    uint32_t count = list_count(list);
    if (count == list->cap) {
        list = list_resize(place, list->cap * 2);
    }
    atomic_store_explicit(&list->slots[count], member, memory_order_release);
    atomic_store_explicit(&list->count, count + 1, memory_order_release);
    return count;
}

/* Puts the last member in the place of the one at `position`, and returns it. */
static struct member *list_remove_at(_Atomic(struct share_list *) *place, uint32_t position)
{
    struct share_list *list = atomic_load_explicit(place, memory_order_relaxed);
    uint32_t count = list_count(list) - 1;
    struct member *last = list_at(list, count);
    atomic_store_explicit(&list->slots[position], last, memory_order_release);
    atomic_store_explicit(&list->count, count, memory_order_release);
    if (list->cap > SHARE_LIST_CAP_MIN && count < list->cap / 4) {
        (void)list_resize(place, list->cap / 2);
    }
    return last;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static struct share_group *find_at(const struct index_node *node, struct slice share)
{
    struct share_group *group = atomic_load_explicit(&node->groups, memory_order_acquire);
    while (group != NULL && !slice_equal(slice_of(group->name, group->name_len), share)) {
        group = share_group_next(group);
    }
    return group;
}

static struct share_group *group_create(struct sub_index *index, struct index_node *node,
                                        struct slice share)
{
    struct share_group *group = mem_alloc(sizeof(*group) + share.len);
    group->index = index;
    group->node = node;
    group->all = list_create(1);
    group->connected = list_create(1);
    group->holds = 1;
    group->name_len = (uint16_t)share.len;
    memcpy(group->name, share.data, share.len);
    struct share_group *first = atomic_load_explicit(&node->groups, memory_order_relaxed);
    atomic_store_explicit(&group->next, first, memory_order_relaxed);
    atomic_store_explicit(&node->groups, group, memory_order_release);
    atomic_fetch_add_explicit(&index->filters, 1, memory_order_relaxed);
    return group;
}

static void group_destroy(struct reclaim_head *head)
{
    share_group_drop(container_of(head, struct share_group, reclaim));
}

static void group_unlink(struct share_group *group)
{
    _Atomic(struct share_group *) *place = &group->node->groups;
    struct share_group *at;
    while ((at = atomic_load_explicit(place, memory_order_relaxed)) != group) {
        place = &at->next;
    }
    struct share_group *next = atomic_load_explicit(&group->next, memory_order_relaxed);
    atomic_store_explicit(place, next, memory_order_release);
    atomic_fetch_sub_explicit(&group->index->filters, 1, memory_order_relaxed);
    reclaim_retire(&group->reclaim, group_destroy);
}

/* ---- members --------------------------------------------------------------------------------- */

static void member_destroy(struct reclaim_head *head)
{
    mem_free(container_of(head, struct member, reclaim));
}

static void set_connected(struct share_group *group, struct member *member, bool connected)
{
    if (atomic_load_explicit(&member->connected, memory_order_relaxed) == connected) {
        return;
    }
    atomic_store_explicit(&member->connected, connected, memory_order_relaxed);
    if (connected) {
        member->connected_position = list_add(&group->connected, member);
    } else {
        struct member *moved = list_remove_at(&group->connected, member->connected_position);
        moved->connected_position = member->connected_position;
    }
}

static struct member *member_of(const struct subscription *sub)
{
    return list_at(atomic_load_explicit(&sub->group->all, memory_order_relaxed), sub->position);
}

void share_group__join(struct sub_index *index, struct index_node *node, struct subscription *sub,
                       struct slice share, bool connected)
{
    struct share_group *group = find_at(node, share);
    if (group == NULL) {
        group = group_create(index, node, share);
    }
    struct member *member = mem_alloc(sizeof(*member));
    *member = (struct member){
        .session = sub->session->handle,
        .sub = sub,
        .id = sub->id,
        .qos = sub->qos,
        .retain_as_published = sub->retain_as_published,
    };
    sub->group = group;
    sub->position = list_add(&group->all, member);
    set_connected(group, member, connected);
}

void share_group__leave(struct subscription *sub)
{
    struct share_group *group = sub->group;
    struct member *member = member_of(sub);
    set_connected(group, member, false);
    struct member *moved = list_remove_at(&group->all, sub->position);
    moved->sub->position = sub->position;
    sub->group = NULL;
    reclaim_retire(&member->reclaim, member_destroy);
    if (list_count(atomic_load_explicit(&group->all, memory_order_relaxed)) == 0) {
        group_unlink(group);
    }
}

void share_group_set_connected(struct subscription *sub, bool connected)
{
    struct share_group *group = sub->group;
    (void)pthread_mutex_lock(&group->index->mutex);
    set_connected(group, member_of(sub), connected);
    (void)pthread_mutex_unlock(&group->index->mutex);
}

/* ---- for readers ----------------------------------------------------------------------------- */

/* The first one from `turn` on that is not `except`, of whom there is at most one. */
static struct member *pick(_Atomic(struct share_list *) *place, uint32_t turn, uint64_t except)
{
    const struct share_list *list = atomic_load_explicit(place, memory_order_acquire);
    uint32_t count = atomic_load_explicit(&list->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        struct member *member =
            atomic_load_explicit(&list->slots[(turn + i) % count], memory_order_acquire);
        if (member->session != except) {
            return member;
        }
    }
    return NULL;
}

bool share_group_pick(struct share_group *group, uint64_t except, struct share_member *out)
{
    uint32_t turn = atomic_fetch_add_explicit(&group->turn, 1, memory_order_relaxed);
    struct member *member = pick(&group->connected, turn, except);
    if (member == NULL) {
        member = pick(&group->all, turn, except);
    }
    if (member == NULL) {
        return false;
    }
    *out = (struct share_member){
        .session = member->session,
        .id = member->id,
        .qos = member->qos,
        .retain_as_published = member->retain_as_published,
        .connected = atomic_load_explicit(&member->connected, memory_order_relaxed),
    };
    return true;
}

void share_group_hold(struct share_group *group)
{
    atomic_fetch_add_explicit(&group->holds, 1, memory_order_relaxed);
}

void share_group_drop(struct share_group *group)
{
    if (atomic_fetch_sub_explicit(&group->holds, 1, memory_order_acq_rel) == 1) {
        mem_free(atomic_load_explicit(&group->all, memory_order_relaxed));
        mem_free(atomic_load_explicit(&group->connected, memory_order_relaxed));
        mem_free(group);
    }
}

struct share_group *share_group_next(const struct share_group *group)
{
    return atomic_load_explicit(&group->next, memory_order_acquire);
}

struct share_group *share_group_find(struct sub_index *index, struct slice filter,
                                     struct slice share)
{
    struct trie_node *found = trie_find(&index->trie, filter);
    return found == NULL ? NULL : find_at(container_of(found, struct index_node, trie), share);
}

struct slice sub_index_share_name(const struct subscription *sub)
{
    return sub->group == NULL ? slice_of(NULL, 0)
                              : slice_of(sub->group->name, sub->group->name_len);
}
