/*
 * world: what everybody who plays has in common: the record, the dice, where the broker listens,
 * and the list of clients that the loop serves.
 *
 * Owns      the record and the list; the clients belong to whoever made them.
 * Thread    the driver's.
 * Errors    none.
 */
#ifndef TESTS_CRASH_WORLD_H
#define TESTS_CRASH_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/options.h"
#include "tests/crash/random.h"
#include "tests/crash/record.h"

struct client;

struct world {
    const struct options *options;
    struct record record;
    struct random dice;
    uint16_t port;
    bool draining;     /* all that is under way is to be finished, nothing new begun */
    bool stopping;     /* the broker was told to end */
    uint32_t ready_ms; /* when the broker answered first after its last start */
    struct client *clients[RECORD_ACTORS_MAX];
    unsigned client_count;
};

void world_init(struct world *world, const struct options *options);
void world_fini(struct world *world);

/* Serves all clients for about a millisecond. */
void world_turn(struct world *world);

/* Reads what is left of connections to a broker that is dead, and ends them. */
void world_lose_all(struct world *world);

static inline uint32_t world_now_ms(const struct world *world)
{
    return world->record.now_ms;
}

#endif
