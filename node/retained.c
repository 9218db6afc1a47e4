#include "node/retained.h"

#include "base/mem.h"
#include "node/retained_priv.h"

/*
 * Invariants, under the mutex:
 *   a node has an entry exactly when the slot of that entry holds it;
 *   slots below slot_count are either held by an entry or listed in free_slots;
 *   the tree has no leaf without an entry.
 */

#define SLOTS_MAX (RETAINED_PAGE_MIN * ((1u << RETAINED_PAGES) - 1))

/* What counts against the limit: all that the client chose. */
static size_t kept_bytes(const struct message *message)
{
    return (size_t)message->topic_len + message->props_len + message->payload_len;
}

/* ---- slots ----------------------------------------------------------------------------------- */

/* Gives a free slot in `*slot`, or false. */
static bool slot_take(struct retained *store, uint32_t *slot)
{
    if (store->free_count > 0) {
        *slot = store->free_slots[--store->free_count];
        return true;
    }
    uint32_t next = atomic_load_explicit(&store->slot_count, memory_order_relaxed);
    if (next == SLOTS_MAX) {
        return false;
    }
    unsigned page = 31u - (unsigned)__builtin_clz(next / RETAINED_PAGE_MIN + 1);
    if (atomic_load_explicit(&store->pages[page], memory_order_relaxed) == NULL) {
        struct retained_slot *slots = mem_alloc_array(RETAINED_PAGE_MIN << page, sizeof(*slots));
        atomic_store_explicit(&store->pages[page], slots, memory_order_release);
    }
    atomic_store_explicit(&store->slot_count, next + 1, memory_order_release);
    *slot = next;
    return true;
}

static void slot_free(struct retained *store, uint32_t slot)
{
    if (store->free_count == store->free_cap) {
        store->free_cap = store->free_cap == 0 ? 16 : store->free_cap * 2;
        store->free_slots =
            mem_resize(store->free_slots, store->free_cap * sizeof(store->free_slots[0]));
    }
    store->free_slots[store->free_count++] = slot;
}

/* ---- entries --------------------------------------------------------------------------------- */

static bool is_counted(struct slice topic)
{
    return !slice_starts_with(topic, "$SYS/");
}

static void entry_destroy(struct reclaim_head *head)
{
    struct retained_entry *entry = container_of(head, struct retained_entry, reclaim);
    message_unref(entry->message);
    mem_free(entry);
}

/* Counts `entry` in, or with `sign` -1 out again. */
static void account(struct retained *store, const struct retained_entry *entry, int sign)
{
    const struct message *message = entry->message;
    if (message->expires_at_ms != CLOCK_NEVER) {
        store->expiring += (size_t)sign;
    }
    if (is_counted(message_topic(message))) {
        size_t bytes = (size_t)sign * kept_bytes(message);
        atomic_fetch_add_explicit(&store->count, (size_t)sign, memory_order_relaxed);
        atomic_fetch_add_explicit(&store->bytes, bytes, memory_order_relaxed);
    }
}

/* Shows `entry` (NULL: nothing) to readers in place of `old` (NULL: nothing). */
static void replace(struct retained *store, struct retained_node *node, uint32_t slot,
                    struct retained_entry *old, struct retained_entry *entry)
{
    atomic_store_explicit(&node->entry, entry, memory_order_release);
    atomic_store_explicit(&retained__slot(store, slot)->entry, entry, memory_order_release);
    if (entry != NULL) {
        account(store, entry, 1);
    }
    if (old != NULL) {
        account(store, old, -1);
        reclaim_retire(&old->reclaim, entry_destroy);
    }
}

static bool is_empty(const struct trie_node *node)
{
    const struct retained_node *own = container_of(node, const struct retained_node, trie);
    return atomic_load_explicit(&own->entry, memory_order_relaxed) == NULL;
}

static void remove_entry(struct retained *store, struct retained_entry *entry)
{
    struct retained_node *node = entry->node;
    uint32_t slot = entry->slot;
    replace(store, node, slot, entry, NULL);
    slot_free(store, slot);
    (void)trie_prune(&store->trie, &node->trie, is_empty); /* it may have topics below */
}

static struct retained_entry *find(struct retained *store, struct slice topic)
{
    struct trie_node *found = trie_find(&store->trie, topic);
    if (found == NULL) {
        return NULL;
    }
    struct retained_node *node = container_of(found, struct retained_node, trie);
    return atomic_load_explicit(&node->entry, memory_order_relaxed);
}

/* Whether `message` in place of `old` (NULL: nothing) keeps within the limits. */
static bool fits(const struct retained *store, const struct message *message,
                 const struct retained_entry *old)
{
    if (!is_counted(message_topic(message))) {
        return true;
    }
    size_t bytes = retained_bytes(store);
    size_t old_len = old == NULL ? 0 : kept_bytes(old->message);
    if (old == NULL && retained_count(store) >= store->messages_max) {
        return false;
    }
    size_t len = kept_bytes(message);
    return len <= old_len || bytes - old_len + len <= store->payload_bytes_max;
}

static void remove_topic(struct retained *store, struct slice topic)
{
    (void)pthread_mutex_lock(&store->mutex);
    struct retained_entry *entry = find(store, topic);
    if (entry != NULL) {
        remove_entry(store, entry);
    }
    (void)pthread_mutex_unlock(&store->mutex);
}

/* Makes `kept` the message of its topic; under the mutex. Takes the reference on ERR_OK only. */
static enum err set_locked(struct retained *store, struct message *kept)
{
    struct slice topic = message_topic(kept);
    struct retained_entry *old = find(store, topic);
    uint32_t slot;
    if (!fits(store, kept, old)) {
        return ERR_FULL;
    }
    if (old != NULL) {
        slot = old->slot;
    } else if (!slot_take(store, &slot)) {
        return ERR_FULL;
    }
    struct trie_node *node = old != NULL ? &old->node->trie : trie_insert(&store->trie, topic);
    struct retained_entry *entry = mem_alloc(sizeof(*entry));
    uint64_t sequence = atomic_load_explicit(&store->sequence, memory_order_relaxed) + 1;
    *entry = (struct retained_entry){
        .message = kept,
        .node = container_of(node, struct retained_node, trie),
        .sequence = sequence,
        .slot = slot,
    };
    replace(store, entry->node, slot, old, entry);
    /* Last: who reads this sequence sees the entry. Sequentially consistent: see replay_create. */
    atomic_store(&store->sequence, sequence);
    return ERR_OK;
}

enum err retained_set(struct retained *store, struct message *message)
{
    if (message->payload_len == 0) {
        remove_topic(store, message_topic(message));
        return ERR_OK;
    }
    struct message *kept = message_keep(message);
    if (kept == NULL) {
        return ERR_MEMORY;
    }
    (void)pthread_mutex_lock(&store->mutex);
    enum err err = set_locked(store, kept);
    (void)pthread_mutex_unlock(&store->mutex);
    if (err != ERR_OK) {
        message_unref(kept);
    }
    return err;
}

struct message *retained_get(struct retained *store, struct slice topic)
{
    (void)pthread_mutex_lock(&store->mutex);
    struct retained_entry *entry = find(store, topic);
    struct message *message = entry != NULL ? message_keep(entry->message) : NULL;
    (void)pthread_mutex_unlock(&store->mutex);
    return message;
}

size_t retained_expire(struct retained *store, uint64_t now_ms, size_t budget)
{
    size_t dropped = 0;
    (void)pthread_mutex_lock(&store->mutex);
    uint32_t count = atomic_load_explicit(&store->slot_count, memory_order_relaxed);
    if (budget > count) {
        budget = count;
    }
    for (; budget > 0 && store->expiring > 0; budget--) {
        if (store->expire_cursor >= count) {
            store->expire_cursor = 0;
        }
        struct retained_entry *entry = atomic_load_explicit(
            &retained__slot(store, store->expire_cursor++)->entry, memory_order_relaxed);
        if (entry != NULL && message_expired(entry->message, now_ms)) {
            remove_entry(store, entry);
            dropped++;
        }
    }
    (void)pthread_mutex_unlock(&store->mutex);
    return dropped;
}

/* ---- the store ------------------------------------------------------------------------------- */

struct retained *retained_create(size_t messages_max, size_t payload_bytes_max)
{
    struct retained *store = mem_alloc(sizeof(*store));
    store->messages_max = messages_max;
    store->payload_bytes_max = payload_bytes_max;
    (void)pthread_mutex_init(&store->mutex, NULL); /* can't fail with default attributes */
    trie_init(&store->trie, sizeof(struct retained_node));
    return store;
}

static void fini_node(struct trie_node *node)
{
    struct retained_node *own = container_of(node, struct retained_node, trie);
    struct retained_entry *entry = atomic_load_explicit(&own->entry, memory_order_relaxed);
    if (entry != NULL) {
        entry_destroy(&entry->reclaim);
    }
}

void retained_destroy(struct retained *store)
{
    trie_fini(&store->trie, fini_node);
    for (unsigned i = 0; i < RETAINED_PAGES; i++) {
        mem_free(atomic_load_explicit(&store->pages[i], memory_order_relaxed));
    }
    mem_free(store->free_slots);
    (void)pthread_mutex_destroy(&store->mutex); /* nobody holds it any more */
    mem_free(store);
}

size_t retained_count(const struct retained *store)
{
    return atomic_load_explicit(&store->count, memory_order_relaxed);
}

size_t retained_bytes(const struct retained *store)
{
    return atomic_load_explicit(&store->bytes, memory_order_relaxed);
}
