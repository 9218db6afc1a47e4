/*
 * inspector: looks now and then whether each retained message is the last acknowledged one, or one
 * that was sent later.
 *
 * Owns      its client.
 * Thread    the driver's.
 * Errors    violations.
 */
#ifndef TESTS_CRASH_INSPECTOR_H
#define TESTS_CRASH_INSPECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/client.h"

struct inspector {
    struct client client;
    uint32_t next_ms;
    uint32_t deadline_ms;
    uint64_t looked;                   /* how often, to the end */
    uint64_t least[RECORD_TOPICS_MAX]; /* the last acknowledged one when it began to look */
    uint64_t seen[RECORD_TOPICS_MAX];
};

void inspector_init(struct inspector *inspector, struct world *world);
void inspector_fini(struct inspector *inspector);

/* Looks at once, and afresh. */
void inspector_look(struct inspector *inspector);

#endif
