#include "node/auth/admission_cache_priv.h"

#include <netinet/in.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/list.h"
#include "base/mem.h"

#define BUCKETS 16384u

/*
 * Invariants:
 *   every entry is in `by_age` (the oldest first) and in the bucket of its key;
 *   `count` and `bytes` are those of the entries.
 */
struct admission_cache {
    struct entry *buckets[BUCKETS];
    struct list by_age;
    uint32_t count;
    size_t bytes;
    EVP_MAC *hmac;
    uint8_t secret[32];
};

struct entry {
    struct entry *next;
    struct list by_age;
    struct admission_key key;
    struct admission *admission;
    uint64_t until_ms;
};

enum err admission_cache_create(struct admission_cache **out)
{
    struct admission_cache *cache = mem_try_alloc(sizeof(*cache));
    if (cache == NULL) {
        return ERR_MEMORY;
    }
    memset(cache, 0, sizeof(*cache));
    list_init(&cache->by_age);
    cache->hmac = EVP_MAC_fetch(NULL, OSSL_MAC_NAME_HMAC, NULL);
    if (cache->hmac == NULL || RAND_bytes(cache->secret, sizeof(cache->secret)) != 1) {
        admission_cache_destroy(cache);
        return ERR_UNAVAILABLE;
    }
    *out = cache;
    return ERR_OK;
}

/* The key is an HMAC: its first bytes are as good as any hash. */
static struct entry **bucket_of(struct admission_cache *cache, const struct admission_key *key)
{
    uint32_t start;
    memcpy(&start, key->bytes, sizeof(start));
    return &cache->buckets[start % BUCKETS];
}

/* Where the pointer to the entry of `key` is, or the NULL at the end. */
static struct entry **place_of(struct admission_cache *cache, const struct admission_key *key)
{
    struct entry **place = bucket_of(cache, key);
    while (*place != NULL && memcmp((*place)->key.bytes, key->bytes, ADMISSION_KEY_LEN) != 0) {
        place = &(*place)->next;
    }
    return place;
}

static void drop(struct admission_cache *cache, struct entry **place)
{
    struct entry *entry = *place;
    *place = entry->next;
    list_remove(&entry->by_age);
    cache->count--;
    cache->bytes -= sizeof(*entry) + entry->admission->bytes;
    admission_unref(entry->admission);
    mem_free(entry);
}

static void drop_oldest(struct admission_cache *cache)
{
    struct entry *oldest = list_entry(cache->by_age.next, struct entry, by_age);
    drop(cache, place_of(cache, &oldest->key));
}

void admission_cache_clear(struct admission_cache *cache)
{
    while (!list_empty(&cache->by_age)) {
        drop_oldest(cache);
    }
}

void admission_cache_destroy(struct admission_cache *cache)
{
    if (cache != NULL) {
        admission_cache_clear(cache);
        EVP_MAC_free(cache->hmac);
        OPENSSL_cleanse(cache->secret, sizeof(cache->secret));
        mem_free(cache);
    }
}

uint32_t admission_cache_count(const struct admission_cache *cache)
{
    return cache->count;
}

struct admission *admission_cache_find(struct admission_cache *cache,
                                       const struct admission_key *key, uint64_t now_ms)
{
    struct entry **place = place_of(cache, key);
    if (*place == NULL) {
        return NULL;
    }
    if ((*place)->until_ms <= now_ms) {
        drop(cache, place);
        return NULL;
    }
    admission_ref((*place)->admission);
    return (*place)->admission;
}

void admission_cache_keep(struct admission_cache *cache, const struct admission_key *key,
                          struct admission *admission, uint64_t until_ms)
{
    size_t bytes = sizeof(struct entry) + admission->bytes;
    struct entry **place = place_of(cache, key);
    if (*place != NULL) {
        drop(cache, place);
    }
    if (bytes > ADMISSION_CACHE_BYTES_MAX) {
        return;
    }
    while (cache->count == ADMISSION_CACHE_ENTRIES_MAX ||
           cache->bytes > ADMISSION_CACHE_BYTES_MAX - bytes) {
        drop_oldest(cache);
    }
    struct entry *entry = mem_alloc(sizeof(*entry));
    struct entry **bucket = bucket_of(cache, key);
    *entry =
        (struct entry){.next = *bucket, .key = *key, .admission = admission, .until_ms = until_ms};
    list_init(&entry->by_age);
    list_append(&cache->by_age, &entry->by_age);
    *bucket = entry;
    admission_ref(admission);
    cache->count++;
    cache->bytes += bytes;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Each text with its length before it, so that two of them can't pass for others. */
static bool add(EVP_MAC_CTX *mac, struct slice text)
{
    uint64_t len = text.len;
    return EVP_MAC_update(mac, (const uint8_t *)&len, sizeof(len)) == 1 &&
           (len == 0 || EVP_MAC_update(mac, text.data, text.len) == 1);
}

static struct slice address_bytes(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        return slice_of(&v4->sin_addr, sizeof(v4->sin_addr));
    }
    if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
        return slice_of(&v6->sin6_addr, sizeof(v6->sin6_addr));
    }
    return slice_of(NULL, 0);
}

static bool add_request(EVP_MAC_CTX *mac, enum auth_provider_kind provider,
                        const struct auth_request *request)
{
    const uint8_t flags[] = {(uint8_t)provider, request->has_username, request->has_password,
                             request->tls};
    const struct slice texts[] = {slice_of(flags, sizeof(flags)),
                                  request->username,
                                  request->password,
                                  request->client_id,
                                  request->certificate_identity,
                                  request->common_name,
                                  request->organization,
                                  request->organizational_unit,
                                  slice_text(request->listener != NULL ? request->listener : ""),
                                  address_bytes(&request->address)};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        if (!add(mac, texts[i])) {
            return false;
        }
    }
    return true;
}

bool admission_cache_key(const struct admission_cache *cache, enum auth_provider_kind provider,
                         const struct auth_request *request, struct admission_key *key)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_END};
    size_t len = 0;
    EVP_MAC_CTX *mac = EVP_MAC_CTX_new(cache->hmac);
    bool done = mac != NULL &&
                EVP_MAC_init(mac, cache->secret, sizeof(cache->secret), params) == 1 &&
                add_request(mac, provider, request) &&
                EVP_MAC_final(mac, key->bytes, &len, sizeof(key->bytes)) == 1;
    EVP_MAC_CTX_free(mac);
    return done;
}
