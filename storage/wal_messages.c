/*
 * Invariants:
 *   slot 0 is never used; slots come in chunks that never move;
 *   `index` is a table with linear probing, at most 7/10 full; it holds exactly the used slots.
 */
#include "storage/wal_messages.h"

#include <string.h>

#include "base/mem.h"

#define CHUNK_BITS 12u
#define CHUNK_SLOTS (1u << CHUNK_BITS)
#define INDEX_BITS_MIN 8u
#define INDEX_BITS_MAX 31u
#define GOLDEN 0x9e3779b97f4a7c15u /* 2^64 / golden ratio: spreads consecutive ids evenly */

static_assert(sizeof(struct wal_message) == 24, "the memory of a compaction");

struct wal_message *wal_messages_at(const struct wal_messages *messages, uint32_t slot)
{
    return &messages->chunks[slot >> CHUNK_BITS][slot & (CHUNK_SLOTS - 1)];
}

void wal_messages_fini(struct wal_messages *messages)
{
    for (uint32_t i = 0; i < messages->chunk_count; i++) {
        mem_free(messages->chunks[i]);
    }
    mem_free(messages->chunks);
    mem_free(messages->index);
    *messages = (struct wal_messages){0};
}

static uint32_t index_mask(const struct wal_messages *messages)
{
    return (1u << messages->index_bits) - 1;
}

static uint32_t home_of(const struct wal_messages *messages, uint64_t id)
{
    return (uint32_t)((id * GOLDEN) >> (64 - messages->index_bits));
}

/* Where in the index `id` stands, or the empty place where it would. */
static uint32_t place_of(const struct wal_messages *messages, uint64_t id)
{
    uint32_t mask = index_mask(messages);
    uint32_t place = home_of(messages, id);
    while (messages->index[place] != 0 &&
           wal_messages_at(messages, messages->index[place])->id != id) {
        place = (place + 1) & mask;
    }
    return place;
}

uint32_t wal_messages_find(struct wal_messages *messages, uint64_t id)
{
    if (messages->count == 0 || id == 0) {
        return 0;
    }
    if (messages->last == 0 || wal_messages_at(messages, messages->last)->id != id) {
        messages->last = messages->index[place_of(messages, id)];
    }
    return messages->last;
}

static enum err index_resize(struct wal_messages *messages, uint8_t bits)
{
    size_t size = sizeof(uint32_t) << bits;
    uint32_t *index = bits <= INDEX_BITS_MAX ? mem_try_alloc(size) : NULL;
    if (index == NULL) {
        return ERR_MEMORY;
    }
    memset(index, 0, size);
    uint32_t *old = messages->index;
    uint32_t old_size = old != NULL ? 1u << messages->index_bits : 0;
    messages->index = index;
    messages->index_bits = bits;
    for (uint32_t i = 0; i < old_size; i++) {
        if (old[i] != 0) {
            index[place_of(messages, wal_messages_at(messages, old[i])->id)] = old[i];
        }
    }
    mem_free(old);
    return ERR_OK;
}

static enum err reserve_index(struct wal_messages *messages)
{
    if (messages->index == NULL) {
        return index_resize(messages, INDEX_BITS_MIN);
    }
    if ((uint64_t)messages->count * 10 >= (7ull << messages->index_bits)) {
        return index_resize(messages, (uint8_t)(messages->index_bits + 1));
    }
    return ERR_OK;
}

static enum err add_chunk(struct wal_messages *messages)
{
    if (messages->chunk_count == UINT32_MAX >> CHUNK_BITS) {
        return ERR_MEMORY;
    }
    struct wal_message **chunks = mem_try_resize(
        messages->chunks, (messages->chunk_count + 1) * sizeof(struct wal_message *));
    if (chunks == NULL) {
        return ERR_MEMORY;
    }
    messages->chunks = chunks;
    chunks[messages->chunk_count] = mem_try_alloc(CHUNK_SLOTS * sizeof(struct wal_message));
    if (chunks[messages->chunk_count] == NULL) {
        return ERR_MEMORY;
    }
    messages->chunk_count++;
    return ERR_OK;
}

static enum err unused_slot(struct wal_messages *messages, uint32_t *slot)
{
    if (messages->free != 0) {
        *slot = messages->free;
        messages->free = wal_messages_at(messages, *slot)->offset;
        return ERR_OK;
    }
    if (messages->slot_count == messages->chunk_count << CHUNK_BITS) {
        enum err err = add_chunk(messages);
        if (err != ERR_OK) {
            return err;
        }
    }
    messages->slot_count += messages->slot_count == 0; /* slot 0 stays unused */
    *slot = messages->slot_count++;
    return ERR_OK;
}

enum err wal_messages_add(struct wal_messages *messages, uint64_t id, uint32_t *slot)
{
    ASSERT(id != 0);
    if (messages->last != 0 && wal_messages_at(messages, messages->last)->id == id) {
        *slot = messages->last;
        return ERR_OK;
    }
    enum err err = reserve_index(messages);
    if (err != ERR_OK) {
        return err;
    }
    uint32_t place = place_of(messages, id);
    if (messages->index[place] == 0) {
        err = unused_slot(messages, slot);
        if (err != ERR_OK) {
            return err;
        }
        *wal_messages_at(messages, *slot) = (struct wal_message){.id = id, .file = WAL_FILE_NONE};
        messages->index[place] = *slot;
        messages->count++;
    }
    *slot = messages->last = messages->index[place];
    return ERR_OK;
}

/* Empties the place of the index, and closes the gap for those that had to step over it. */
static void index_remove(struct wal_messages *messages, uint32_t gap)
{
    uint32_t mask = index_mask(messages);
    for (uint32_t at = (gap + 1) & mask; messages->index[at] != 0; at = (at + 1) & mask) {
        uint32_t home = home_of(messages, wal_messages_at(messages, messages->index[at])->id);
        if (((at - home) & mask) >= ((at - gap) & mask)) {
            messages->index[gap] = messages->index[at];
            gap = at;
        }
    }
    messages->index[gap] = 0;
}

void wal_messages_remove(struct wal_messages *messages, uint32_t slot)
{
    struct wal_message *message = wal_messages_at(messages, slot);
    ASSERT(message->id != 0);
    index_remove(messages, place_of(messages, message->id));
    *message = (struct wal_message){.offset = messages->free};
    messages->free = slot;
    messages->count--;
    messages->last = 0;
}
