#include "base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>
#include <uv.h>

static uint64_t seed = 0x9e3779b97f4a7c15u;

void hash_seed_init(void)
{
    /* Without a random source the constant stays: tables still work, only less well defended. */
    (void)uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL);
}

uint64_t hash_bytes(const void *data, size_t len)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

uint64_t hash_identity(struct slice client_id)
{
    return XXH3_64bits(client_id.data, client_id.len) | 1;
}
