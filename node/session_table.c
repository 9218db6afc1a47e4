#include "node/session_table.h"

#include "base/hash.h"
#include "base/mem.h"
#include "node/session.h"
#include "node/session_handle.h"

static uint32_t hash_id(struct slice client_id)
{
    return (uint32_t)hash_slice(client_id);
}

static struct session *at_slot(const struct session_table *table, uint32_t slot_plus_1)
{
    return table->slots[slot_plus_1 - 1].session;
}

void session_table_fini(struct session_table *table)
{
    mem_free(table->slots);
    mem_free(table->entries);
    *table = (struct session_table){0};
}

static void enter(struct session_table *table, struct session_entry entry)
{
    uint32_t mask = table->entry_cap - 1;
    uint32_t at = entry.hash & mask;
    while (table->entries[at].slot != 0) {
        at = (at + 1) & mask;
    }
    table->entries[at] = entry;
}

/* At most three quarters full. */
static void make_room(struct session_table *table)
{
    if ((table->count + 1) * 4 <= table->entry_cap * 3) {
        return;
    }
    struct session_entry *old = table->entries;
    uint32_t old_cap = table->entry_cap;
    table->entry_cap = old_cap > 0 ? old_cap * 2 : 16;
    table->entries = mem_alloc_array(table->entry_cap, sizeof(*table->entries));
    for (uint32_t i = 0; i < old_cap; i++) {
        if (old[i].slot != 0) {
            enter(table, old[i]);
        }
    }
    mem_free(old);
}

static uint32_t take_slot(struct session_table *table)
{
    if (table->free_slot != 0) {
        uint32_t slot = table->free_slot - 1;
        table->free_slot = table->slots[slot].next_free;
        return slot;
    }
    if (table->slot_count == table->slot_cap) {
        table->slot_cap = table->slot_cap > 0 ? table->slot_cap + table->slot_cap / 2 : 16;
        table->slots = mem_resize(table->slots, table->slot_cap * sizeof(*table->slots));
    }
    table->slots[table->slot_count] = (struct session_slot){0};
    return table->slot_count++;
}

void session_table_add(struct session_table *table, unsigned worker, struct session *session)
{
    make_room(table);
    uint32_t slot = take_slot(table);
    ASSERT(slot < SESSION_SLOTS_MAX);
    table->slots[slot].session = session;
    table->slots[slot].generation++;
    session->handle = session_handle_make(worker, slot, table->slots[slot].generation);
    enter(table,
          (struct session_entry){.hash = hash_id(session_client_id(session)), .slot = slot + 1});
    table->count++;
}

static uint32_t find_entry(const struct session_table *table, struct slice client_id)
{
    if (table->entry_cap == 0) {
        return UINT32_MAX;
    }
    uint32_t hash = hash_id(client_id);
    uint32_t mask = table->entry_cap - 1;
    for (uint32_t at = hash & mask; table->entries[at].slot != 0; at = (at + 1) & mask) {
        const struct session_entry *entry = &table->entries[at];
        if (entry->hash == hash &&
            slice_equal(session_client_id(at_slot(table, entry->slot)), client_id)) {
            return at;
        }
    }
    return UINT32_MAX;
}

/* Closes the gap at `hole`, so that every entry stays reachable from its home. */
static void close_gap(struct session_table *table, uint32_t hole)
{
    uint32_t mask = table->entry_cap - 1;
    for (uint32_t at = (hole + 1) & mask; table->entries[at].slot != 0; at = (at + 1) & mask) {
        uint32_t home = table->entries[at].hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->entries[hole] = table->entries[at];
            hole = at;
        }
    }
    table->entries[hole] = (struct session_entry){0};
}

void session_table_remove(struct session_table *table, struct session *session)
{
    uint32_t at = find_entry(table, session_client_id(session));
    ASSERT(at != UINT32_MAX);
    uint32_t slot = table->entries[at].slot - 1;
    close_gap(table, at);
    table->slots[slot].session = NULL;
    table->slots[slot].next_free = table->free_slot;
    table->free_slot = slot + 1;
    table->count--;
}

struct session *session_table_find(const struct session_table *table, struct slice client_id)
{
    uint32_t at = find_entry(table, client_id);
    return at == UINT32_MAX ? NULL : at_slot(table, table->entries[at].slot);
}

struct session *session_table_get(const struct session_table *table, uint64_t handle)
{
    uint32_t slot = session_handle_slot(handle);
    struct session *session = slot < table->slot_count ? table->slots[slot].session : NULL;
    return session != NULL && session->handle == handle ? session : NULL;
}

struct session *session_table_next(const struct session_table *table, uint32_t *cursor)
{
    while (*cursor < table->slot_count) {
        struct session *session = table->slots[(*cursor)++].session;
        if (session != NULL) {
            return session;
        }
    }
    return NULL;
}
