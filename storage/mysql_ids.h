/*
 * mysql_ids: sets of ids as sorted arrays: 8 bytes for each of a million.
 *
 * Owns      its array.
 * Thread    the caller's.
 * Errors    ERR_MEMORY.
 */
#ifndef PULSE_STORAGE_MYSQL_IDS_H
#define PULSE_STORAGE_MYSQL_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

/* A zeroed one is empty. */
struct mysql_ids {
    uint64_t *items;
    size_t count;
    size_t cap;
};

void mysql_ids_fini(struct mysql_ids *ids);

/* Adds `id` at the end; mysql_ids_sort makes a set of it. */
must_check enum err mysql_ids_add(struct mysql_ids *ids, uint64_t id);
void mysql_ids_sort(struct mysql_ids *ids);

/* Of a set: is `id` in it, and at which index? */
bool mysql_ids_find(const struct mysql_ids *ids, uint64_t id, size_t *index);

/* The same, for a caller that asks for ids that don't go down: `*cursor` begins with 0. */
bool mysql_ids_advance(const struct mysql_ids *ids, uint64_t id, size_t *cursor);

#endif
