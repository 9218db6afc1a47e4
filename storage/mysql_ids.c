#include "storage/mysql_ids.h"

#include <stdlib.h>

#include "base/mem.h"

void mysql_ids_fini(struct mysql_ids *ids)
{
    mem_free(ids->items);
    *ids = (struct mysql_ids){.items = NULL};
}

enum err mysql_ids_add(struct mysql_ids *ids, uint64_t id)
{
    if (ids->count == ids->cap) {
        size_t cap = ids->cap > 0 ? ids->cap * 2 : 1024;
        uint64_t *items = mem_try_resize(ids->items, cap * sizeof *items);
        if (items == NULL) {
            return ERR_MEMORY;
        }
        ids->items = items;
        ids->cap = cap;
    }
    ids->items[ids->count++] = id;
    return ERR_OK;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

void mysql_ids_sort(struct mysql_ids *ids)
{
    size_t kept = 0;
    if (ids->count == 0) {
        return;
    }
    qsort(ids->items, ids->count, sizeof *ids->items, compare);
    for (size_t i = 0; i < ids->count; i++) {
        if (kept == 0 || ids->items[kept - 1] != ids->items[i]) {
            ids->items[kept++] = ids->items[i];
        }
    }
    ids->count = kept;
}

bool mysql_ids_find(const struct mysql_ids *ids, uint64_t id, size_t *index)
{
    if (ids->count == 0) {
        return false;
    }
    const uint64_t *item = bsearch(&id, ids->items, ids->count, sizeof *ids->items, compare);
    if (item == NULL) {
        return false;
    }
    *index = (size_t)(item - ids->items);
    return true;
}

bool mysql_ids_advance(const struct mysql_ids *ids, uint64_t id, size_t *cursor)
{
    while (*cursor < ids->count && ids->items[*cursor] < id) {
        (*cursor)++;
    }
    return *cursor < ids->count && ids->items[*cursor] == id;
}
