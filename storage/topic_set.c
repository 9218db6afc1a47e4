#include "storage/topic_set_priv.h"

#include "base/hash.h"
#include "base/mem.h"
#include "base/message.h"

#define CAP_MIN 64u
/* A table that outgrew this is dropped after its batch. */
#define CAP_KEPT 65536u

/*
 * Open addressing, at most half full. A slot counts when its round is the set's: to forget all of
 * them is to begin another round.
 */
struct topic_slot {
    const struct message *message;
    uint32_t hash;
    uint32_t round;
};

static uint32_t hash_of(struct slice topic)
{
    return (uint32_t)hash_slice(topic);
}

static bool used(const struct topic_set *set, uint32_t index)
{
    return set->slots[index].message != NULL && set->slots[index].round == set->round;
}

void topic_set__fini(struct topic_set *set)
{
    mem_free(set->slots);
    *set = (struct topic_set){.slots = NULL};
}

bool topic_set__has(const struct topic_set *set, struct slice topic)
{
    if (set->count == 0) {
        return false;
    }
    uint32_t hash = hash_of(topic);
    uint32_t mask = set->cap - 1;
    for (uint32_t i = hash & mask; used(set, i); i = (i + 1) & mask) {
        const struct topic_slot *slot = &set->slots[i];
        if (slot->hash == hash && slice_equal(message_topic(slot->message), topic)) {
            return true;
        }
    }
    return false;
}

static void put(struct topic_set *set, const struct message *message, uint32_t hash)
{
    uint32_t mask = set->cap - 1;
    uint32_t i = hash & mask;
    while (used(set, i)) {
        i = (i + 1) & mask;
    }
    set->slots[i] = (struct topic_slot){.message = message, .hash = hash, .round = set->round};
}

static void grow(struct topic_set *set)
{
    struct topic_set bigger = {
        .cap = set->cap > 0 ? set->cap * 2 : CAP_MIN, .count = set->count, .round = set->round};
    bigger.slots = mem_alloc_array(bigger.cap, sizeof(*bigger.slots));
    for (uint32_t i = 0; i < set->cap; i++) {
        if (used(set, i)) {
            put(&bigger, set->slots[i].message, set->slots[i].hash);
        }
    }
    mem_free(set->slots);
    *set = bigger;
}

void topic_set__add(struct topic_set *set, const struct message *message)
{
    if (set->count >= set->cap / 2) {
        grow(set);
    }
    put(set, message, hash_of(message_topic(message)));
    set->count++;
}

void topic_set__clear(struct topic_set *set)
{
    if (set->cap > CAP_KEPT || set->round == UINT32_MAX) {
        topic_set__fini(set);
        return;
    }
    if (set->count > 0) {
        set->count = 0;
        set->round++;
    }
}
