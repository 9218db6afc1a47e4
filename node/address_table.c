#include "node/address_table.h"

#include <pthread.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "node/network_list.h"

#define SHARDS 16 /* a power of two */
#define SLOTS_MIN 16
/* A full shard without anything to forget is not searched again for so long. */
#define SWEEP_INTERVAL_MS 1000

enum kind { UNUSED, IPV4, IPV6 };

struct key {
    uint64_t network; /* the address, or the first half of it */
    uint64_t kind;
};

struct entry {
    struct key key;
    struct rate rate;
    uint32_t live;
};

/*
 * Invariants:
 *   an open table with linear probing: from the slot that its hash says up to the slot that an
 * entry is in, no slot is unused; count <= 3/4 of slot_count, so that probing ends.
 */
struct shard {
    pthread_mutex_t mutex;
    struct entry *slots;
    uint32_t slot_count; /* 0, or a power of two */
    uint32_t count;
    uint64_t sweep_at_ms; /* not before */
};

struct address_table {
    struct shard shards[SHARDS];
    struct address_limits limits;
    uint32_t shard_entries_max;
    struct network_list *exempt;
};

/* ---- keys ------------------------------------------------------------------------------------ */

static struct key key_of(const struct ip *ip)
{
    struct key key = {.kind = ip->v4 ? IPV4 : IPV6};
    memcpy(&key.network, ip->bytes, ip->v4 ? 4 : sizeof(key.network));
    return key;
}

static uint64_t key_hash(const struct key *key)
{
    return hash_bytes(key, sizeof(*key));
}

static bool keys_equal(const struct key *a, const struct key *b)
{
    return a->network == b->network && a->kind == b->kind;
}

/* The upper bits choose the shard, the lower ones the slot. */
static struct shard *shard_of(struct address_table *table, uint64_t hash)
{
    return &table->shards[hash >> 60 & (SHARDS - 1)];
}

/* ---- the slots of a shard, its mutex held ---------------------------------------------------- */

/* Where `key` is, or the unused slot where it would be. There are slots. */
static uint32_t find_slot(const struct shard *shard, const struct key *key, uint64_t hash)
{
    uint32_t mask = shard->slot_count - 1;
    uint32_t at = (uint32_t)hash & mask;
    while (shard->slots[at].key.kind != UNUSED && !keys_equal(&shard->slots[at].key, key)) {
        at = (at + 1) & mask;
    }
    return at;
}

static struct entry *find(struct shard *shard, const struct key *key, uint64_t hash)
{
    if (shard->slot_count == 0) {
        return NULL;
    }
    struct entry *entry = &shard->slots[find_slot(shard, key, hash)];
    return entry->key.kind != UNUSED ? entry : NULL;
}

/* Empties slot `at`. Entries behind it that would be cut off from their place move up. */
static void remove_at(struct shard *shard, uint32_t at)
{
    uint32_t mask = shard->slot_count - 1;
    for (uint32_t next = (at + 1) & mask; shard->slots[next].key.kind != UNUSED;
         next = (next + 1) & mask) {
        uint32_t home = (uint32_t)key_hash(&shard->slots[next].key) & mask;
        if (((next - home) & mask) >= ((next - at) & mask)) {
            shard->slots[at] = shard->slots[next];
            at = next;
        }
    }
    shard->slots[at] = (struct entry){0};
    shard->count--;
}

/* Forgets the addresses of which there is nothing to remember. */
static void sweep(struct shard *shard, const struct rate_limit *rate, uint64_t now_ms)
{
    for (uint32_t at = 0; at < shard->slot_count; at++) {
        struct entry *entry = &shard->slots[at];
        while (entry->key.kind != UNUSED && entry->live == 0 &&
               rate_full(&entry->rate, rate, now_ms)) {
            remove_at(shard, at);
        }
    }
}

/* Entries that may be in it as it is. */
static uint32_t room(const struct address_table *table, const struct shard *shard)
{
    uint32_t most = shard->slot_count / 4 * 3;
    return most < table->shard_entries_max ? most : table->shard_entries_max;
}

static void grow(struct shard *shard)
{
    uint32_t count = shard->slot_count > 0 ? shard->slot_count * 2 : SLOTS_MIN;
    struct entry *slots = mem_try_alloc(count * sizeof(*slots));
    if (slots == NULL) {
        return;
    }
    memset(slots, 0, count * sizeof(*slots));
    struct entry *old = shard->slots;
    uint32_t old_count = shard->slot_count;
    shard->slots = slots;
    shard->slot_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        if (old[i].key.kind != UNUSED) {
            slots[find_slot(shard, &old[i].key, key_hash(&old[i].key))] = old[i];
        }
    }
    mem_free(old);
}

/* Makes room for one more, if need be. Grows only when forgetting did not help much. */
static bool make_room(const struct address_table *table, struct shard *shard, uint64_t now_ms)
{
    if (shard->count < room(table, shard)) {
        return true;
    }
    if (now_ms >= shard->sweep_at_ms) {
        sweep(shard, &table->limits.rate, now_ms);
        shard->sweep_at_ms = now_ms + SWEEP_INTERVAL_MS;
    }
    if (shard->count >= room(table, shard) / 2 &&
        shard->slot_count / 4 * 3 < table->shard_entries_max) {
        grow(shard);
    }
    return shard->count < room(table, shard);
}

/* NULL: the table is full. */
static struct entry *find_or_add(const struct address_table *table, struct shard *shard,
                                 const struct key *key, uint64_t hash, uint64_t now_ms)
{
    struct entry *entry = find(shard, key, hash);
    if (entry != NULL || !make_room(table, shard, now_ms)) {
        return entry;
    }
    entry = &shard->slots[find_slot(shard, key, hash)];
    *entry = (struct entry){.key = *key};
    shard->count++;
    return entry;
}

/* ---- the table ------------------------------------------------------------------------------- */

enum err address_table_create(const struct address_limits *limits, const char *exempt,
                              struct address_table **out, struct text *error)
{
    ASSERT(limits->rate.per_second == 0 || limits->rate.burst > 0);
    struct network_list *networks;
    enum err err = network_list_parse(exempt, &networks, error);
    if (err != ERR_OK) {
        return err;
    }
    uint32_t entries_max = limits->entries_max > 0 ? limits->entries_max : ADDRESS_ENTRIES_DEFAULT;
    struct address_table *table = mem_alloc(sizeof(*table));
    table->limits = *limits;
    table->shard_entries_max = (entries_max - 1) / SHARDS + 1;
    table->exempt = networks;
    for (size_t i = 0; i < SHARDS; i++) {
        ASSERT(pthread_mutex_init(&table->shards[i].mutex, NULL) == 0);
    }
    *out = table;
    return ERR_OK;
}

void address_table_destroy(struct address_table *table)
{
    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_destroy(&table->shards[i].mutex);
        mem_free(table->shards[i].slots);
    }
    network_list_destroy(table->exempt);
    mem_free(table);
}

static enum address_verdict enter(const struct address_table *table, struct entry *entry,
                                  uint64_t now_ms)
{
    uint32_t most = table->limits.connections_max;
    if (entry == NULL) {
        return ADDRESS_UNCOUNTED;
    }
    if (most > 0 && entry->live >= most) {
        return ADDRESS_TOO_MANY;
    }
    if (!rate_try(&entry->rate, &table->limits.rate, 1, now_ms)) {
        return ADDRESS_TOO_FAST;
    }
    entry->live++;
    return ADDRESS_COUNTED;
}

bool address_table_exempts(const struct address_table *table, const struct sockaddr *address)
{
    struct ip ip;
    return !ip_of_sockaddr(address, &ip) || network_list_has(table->exempt, &ip);
}

enum address_verdict address_table_enter(struct address_table *table,
                                         const struct sockaddr *address, uint64_t now_ms)
{
    struct ip ip;
    bool unlimited = table->limits.connections_max == 0 && table->limits.rate.per_second == 0;
    if (unlimited || address_table_exempts(table, address) || !ip_of_sockaddr(address, &ip)) {
        return ADDRESS_UNCOUNTED;
    }
    struct key key = key_of(&ip);
    uint64_t hash = key_hash(&key);
    struct shard *shard = shard_of(table, hash);
    pthread_mutex_lock(&shard->mutex);
    enum address_verdict verdict =
        enter(table, find_or_add(table, shard, &key, hash, now_ms), now_ms);
    pthread_mutex_unlock(&shard->mutex);
    return verdict;
}

void address_table_leave(struct address_table *table, const struct sockaddr *address)
{
    struct ip ip;
    bool is_ip = ip_of_sockaddr(address, &ip);
    ASSERT(is_ip);
    struct key key = key_of(&ip);
    uint64_t hash = key_hash(&key);
    struct shard *shard = shard_of(table, hash);
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = find(shard, &key, hash);
    ASSERT(entry != NULL && entry->live > 0); /* who is counted is never forgotten */
    entry->live--;
    pthread_mutex_unlock(&shard->mutex);
}

size_t address_table_count(struct address_table *table)
{
    size_t count = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_lock(&table->shards[i].mutex);
        count += table->shards[i].count;
        pthread_mutex_unlock(&table->shards[i].mutex);
    }
    return count;
}
