/*
 * Invariants:
 *   positions of entries[head .. head + count - 1] grow, gone ones included;
 *   `gone` of them are gone; after wal_queue_tidy neither the first nor the last one is.
 */
#include "storage/wal_queue.h"

#include <string.h>

#include "base/mem.h"

#define CAP_MIN 8u
#define CAP_MAX (UINT32_MAX / 2)
#define EMPTY_CAP_MAX 64u /* of a queue that became empty: the room that it keeps */
#define GONE_MIN 64u      /* fewer are not worth moving the others */

static_assert(sizeof(struct wal_entry) == 24, "the memory of a compaction");

void wal_queue_fini(struct wal_queue *queue)
{
    mem_free(queue->entries);
    *queue = (struct wal_queue){0};
}

const struct wal_entry *wal_queue_end(const struct wal_queue *queue)
{
    return queue->entries != NULL ? queue->entries + queue->head + queue->count : NULL;
}

/* How many entries stand before `position`. */
static uint32_t count_before(const struct wal_queue *queue, uint64_t position)
{
    if (queue->count == 0) {
        return 0;
    }
    const struct wal_entry *entries = queue->entries + queue->head;
    if (entries[queue->count - 1].position < position) {
        return queue->count;
    }
    uint32_t low = 0, high = queue->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (entries[middle].position < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct wal_entry *wal_queue_seek(struct wal_queue *queue, uint64_t position)
{
    uint32_t before = count_before(queue, position);
    return before < queue->count ? queue->entries + queue->head + before : NULL;
}

struct wal_entry *wal_queue_find(struct wal_queue *queue, uint64_t position)
{
    struct wal_entry *entry = wal_queue_seek(queue, position);
    return entry != NULL && entry->position == position && !entry->gone ? entry : NULL;
}

/* Makes room for one more behind the last entry. */
static enum err reserve_end(struct wal_queue *queue)
{
    if (queue->head + queue->count < queue->cap) {
        return ERR_OK;
    }
    if (queue->head > queue->cap / 2) {
        memmove(queue->entries, queue->entries + queue->head,
                queue->count * sizeof(struct wal_entry));
        queue->head = 0;
        return ERR_OK;
    }
    uint32_t cap = queue->cap > 0 ? queue->cap + queue->cap / 2 : CAP_MIN;
    struct wal_entry *entries =
        cap < CAP_MAX ? mem_try_resize(queue->entries, cap * sizeof(*entries)) : NULL;
    if (entries == NULL) {
        return ERR_MEMORY;
    }
    queue->entries = entries;
    queue->cap = cap;
    return ERR_OK;
}

/* Makes a hole behind the first `before` entries: moves those on the shorter side by one. */
static struct wal_entry *open_hole(struct wal_queue *queue, uint32_t before)
{
    struct wal_entry *first = queue->entries + queue->head;
    if (before < queue->count / 2 && queue->head > 0) {
        memmove(first - 1, first, before * sizeof(*first));
        queue->head--;
        first--;
    } else {
        memmove(first + before + 1, first + before, (queue->count - before) * sizeof(*first));
    }
    queue->count++;
    return first + before;
}

enum err wal_queue_put(struct wal_queue *queue, uint64_t position, struct wal_entry **entry,
                       bool *fresh)
{
    struct wal_entry *found = wal_queue_seek(queue, position);
    *fresh = found == NULL || found->position != position || found->gone;
    if (found != NULL && found->position == position) {
        if (found->gone) {
            queue->gone--;
            *found = (struct wal_entry){.position = position};
        }
        *entry = found;
        return ERR_OK;
    }
    enum err err = reserve_end(queue);
    if (err != ERR_OK) {
        return err;
    }
    *entry = open_hole(queue, count_before(queue, position));
    **entry = (struct wal_entry){.position = position};
    return ERR_OK;
}

void wal_queue_drop(struct wal_queue *queue, struct wal_entry *entry)
{
    ASSERT(!entry->gone);
    entry->gone = true;
    queue->gone++;
}

/* Moves the entries that are left to the start of the array. */
static void squeeze(struct wal_queue *queue)
{
    struct wal_entry *to = queue->entries;
    const struct wal_entry *end = wal_queue_end(queue);
    for (const struct wal_entry *from = queue->entries + queue->head; from < end; from++) {
        if (!from->gone) {
            *to++ = *from;
        }
    }
    queue->head = 0;
    queue->count = (uint32_t)(to - queue->entries);
    queue->gone = 0;
}

void wal_queue_tidy(struct wal_queue *queue)
{
    while (queue->count > 0 && queue->entries[queue->head].gone) {
        queue->head++;
        queue->count--;
        queue->gone--;
    }
    while (queue->count > 0 && queue->entries[queue->head + queue->count - 1].gone) {
        queue->count--;
        queue->gone--;
    }
    if (queue->count == 0 && queue->cap > EMPTY_CAP_MAX) {
        wal_queue_fini(queue);
    } else if (queue->count == 0) {
        queue->head = 0;
    } else if (queue->gone >= GONE_MIN && queue->gone > queue->count / 2) {
        squeeze(queue);
    }
}
