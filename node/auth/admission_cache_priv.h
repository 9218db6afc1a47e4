/*
 * admission_cache: good answers of slow providers, for a while. What is looked for is an HMAC under
 * a key of this process, so no password is kept.
 *
 * Owns      a reference on each admission in it. Bounded by entries and bytes; the oldest go first.
 * Thread    auth's.
 * Errors    none: what does not fit is not kept.
 */
#ifndef PULSE_NODE_AUTH_ADMISSION_CACHE_PRIV_H
#define PULSE_NODE_AUTH_ADMISSION_CACHE_PRIV_H

#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "node/auth/admission_priv.h"

#define ADMISSION_CACHE_ENTRIES_MAX 65536u
#define ADMISSION_CACHE_BYTES_MAX (64u * 1024 * 1024)
#define ADMISSION_KEY_LEN 32

struct admission_cache;

/* What an answer depends on: all of the request but the port it came from. */
struct admission_key {
    uint8_t bytes[ADMISSION_KEY_LEN];
};

/* ERR_UNAVAILABLE: no random numbers. */
must_check enum err admission_cache_create(struct admission_cache **out);
void admission_cache_destroy(struct admission_cache *cache); /* NULL is allowed */
void admission_cache_clear(struct admission_cache *cache);

/* False: the key can't be made; then nothing is looked for and kept. */
must_check bool admission_cache_key(const struct admission_cache *cache,
                                    enum auth_provider_kind provider,
                                    const struct auth_request *request, struct admission_key *key);

/* A reference, or NULL. `now_ms` and `until_ms`: clock_mono_ms. */
struct admission *admission_cache_find(struct admission_cache *cache,
                                       const struct admission_key *key, uint64_t now_ms);
void admission_cache_keep(struct admission_cache *cache, const struct admission_key *key,
                          struct admission *admission, uint64_t until_ms);
uint32_t admission_cache_count(const struct admission_cache *cache);

#endif
