/*
 * mysql_tend: work in the background, on a connection of its own, in transactions of some hundred
 * rows: rows that nothing refers to, retained messages that expired.
 *
 * Only what is of no use to any node is removed: nodes may do this at the same time.
 *
 * Owns      the leftovers that loading found.
 * Thread    one at a time.
 * Errors    none come out: what fails is tried again later.
 */
#ifndef PULSE_STORAGE_MYSQL_TEND_H
#define PULSE_STORAGE_MYSQL_TEND_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/mysql_load.h"

struct mysql_tend {
    struct mysql_leftovers leftovers;
    uint64_t again_ms; /* on the monotonic clock: when to look again */
    uint64_t removed;
    bool ranges_swept;
};

/* A zeroed one is ready. */
void mysql_tend_fini(struct mysql_tend *tend);

/* Does one portion. True: there is more. `connection` needn't be open. */
bool mysql_tend_portion(struct mysql_tend *tend, struct mysql_connection *connection,
                        const char *owner, uint64_t id_range, uint64_t now_ms);

#endif
