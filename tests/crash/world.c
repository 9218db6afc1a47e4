#include "tests/crash/world.h"

#include <poll.h>
#include <time.h>

#include "tests/crash/client.h"

enum { TURN_MS = 1 };

static uint32_t since_start_ms(void)
{
    static struct timespec start;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (start.tv_sec == 0) {
        start = now;
        start.tv_sec--; /* 0 means never in many places */
    }
    return (uint32_t)((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000);
}

void world_init(struct world *world, const struct options *options)
{
    *world = (struct world){.options = options};
    random_init(&world->dice, options->seed);
    record_init(&world->record);
    world->record.now_ms = since_start_ms();
}

void world_fini(struct world *world)
{
    record_fini(&world->record);
}

void world_turn(struct world *world)
{
    struct pollfd fds[RECORD_ACTORS_MAX];
    for (unsigned i = 0; i < world->client_count; i++) {
        const struct link *link = &world->clients[i]->link;
        fds[i] = (struct pollfd){.fd = link->fd, .events = link_events(link)};
    }
    /* An error here (a signal) only makes the turn shorter. */
    (void)poll(fds, world->client_count, TURN_MS);
    world->record.now_ms = since_start_ms();
    for (unsigned i = 0; i < world->client_count; i++) {
        if (fds[i].revents != 0) {
            client_service(world->clients[i]);
        }
        client_tick(world->clients[i]);
    }
}

void world_lose_all(struct world *world)
{
    world->record.now_ms = since_start_ms();
    for (unsigned i = 0; i < world->client_count; i++) {
        client_lose(world->clients[i]);
    }
}
