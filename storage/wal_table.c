#include "storage/wal_table.h"

#include <string.h>

#include "base/mem.h"

#define BUCKETS_MIN 64u

static struct wal_node **bucket_of(const struct wal_table *table, uint64_t hash)
{
    return &table->buckets[hash & (table->bucket_count - 1)];
}

void wal_table_fini(struct wal_table *table)
{
    mem_free(table->buckets);
    *table = (struct wal_table){0};
}

enum err wal_table_reserve(struct wal_table *table)
{
    if (table->count < table->bucket_count) {
        return ERR_OK;
    }
    size_t count = table->bucket_count > 0 ? table->bucket_count * 2 : BUCKETS_MIN;
    struct wal_table bigger = {.buckets = mem_try_alloc(count * sizeof(struct wal_node *)),
                               .bucket_count = count};
    if (bigger.buckets == NULL) {
        return ERR_MEMORY;
    }
    memset(bigger.buckets, 0, count * sizeof(struct wal_node *));
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (struct wal_node *node = table->buckets[i], *next; node != NULL; node = next) {
            next = node->next;
            wal_table_add(&bigger, node);
        }
    }
    wal_table_fini(table);
    *table = bigger;
    return ERR_OK;
}

void wal_table_add(struct wal_table *table, struct wal_node *node)
{
    ASSERT(table->count < table->bucket_count);
    struct wal_node **bucket = bucket_of(table, node->hash);
    node->next = *bucket;
    *bucket = node;
    table->count++;
}

void wal_table_remove(struct wal_table *table, struct wal_node *node)
{
    struct wal_node **link = bucket_of(table, node->hash);
    while (*link != node) {
        ASSERT(*link != NULL);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    table->count--;
}

/* The first of `node` and those behind it that has this hash. */
static struct wal_node *same_hash(struct wal_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash) {
        node = node->next;
    }
    return node;
}

struct wal_node *wal_table_first(const struct wal_table *table, uint64_t hash)
{
    return table->count > 0 ? same_hash(*bucket_of(table, hash), hash) : NULL;
}

struct wal_node *wal_table_next(const struct wal_node *node, uint64_t hash)
{
    return same_hash(node->next, hash);
}

void wal_table_each(struct wal_table *table, void (*visit)(void *context, struct wal_node *node),
                    void *context)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        for (struct wal_node *node = table->buckets[i], *next; node != NULL; node = next) {
            next = node->next;
            visit(context, node);
        }
    }
}
