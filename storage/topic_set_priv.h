/*
 * topic_set: which retained topics a batch has written already.
 *
 * Owns      its table; the messages that name the topics are borrowed until topic_set__clear.
 * Thread    the storage writer.
 * Errors    none.
 */
#ifndef PULSE_STORAGE_TOPIC_SET_PRIV_H
#define PULSE_STORAGE_TOPIC_SET_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct message;

/* Zeroed: empty and ready. */
struct topic_set {
    struct topic_slot *slots;
    uint32_t cap; /* a power of two, or 0 */
    uint32_t count;
    uint32_t round; /* slots of earlier rounds are free */
};

void topic_set__fini(struct topic_set *set);

bool topic_set__has(const struct topic_set *set, struct slice topic);

/* Adds the topic of `message`, which is not in it. */
void topic_set__add(struct topic_set *set, const struct message *message);

/* Forgets all topics; costs nothing. */
void topic_set__clear(struct topic_set *set);

#endif
