/*
 * hash: XXH3 with a seed drawn at start, so that clients can't choose keys that collide.
 */
#ifndef PULSE_BASE_HASH_H
#define PULSE_BASE_HASH_H

#include <stdint.h>

#include "base/slice.h"

/* Draws the seed of this process. Call once, before any thread is started. */
void hash_seed_init(void);

/* Any thread. Differs from process to process: never store or send the result. */
uint64_t hash_bytes(const void *data, size_t len);

/* Names a client by its id, the same in every process and on every node; never 0. Clients can
 * choose ids that collide: not for tables. Any thread. */
uint64_t hash_identity(struct slice client_id);

static inline uint64_t hash_slice(struct slice s)
{
    return hash_bytes(s.data, s.len);
}

#endif
