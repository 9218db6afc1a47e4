/*
 * outage: makes the store fail for a while, by its database server or by a full disk, and watches
 * how the broker bears it: /readyz says no during it and yes after it. Sometimes the broker is
 * killed in the middle.
 *
 * Owns      the fault and its schedule; the filler file on the disk.
 * Thread    the driver's.
 * Errors    violations.
 */
#ifndef TESTS_CRASH_OUTAGE_H
#define TESTS_CRASH_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/broker.h"
#include "tests/crash/database.h"
#include "tests/crash/filler.h"
#include "tests/crash/http.h"

enum outage_kind { OUTAGE_STOPPED, OUTAGE_KILLED, OUTAGE_ENDED, OUTAGE_DISK_FULL };

enum outage_state {
    OUTAGE_NONE,
    OUTAGE_BEGUN, /* the broker has not noticed yet */
    OUTAGE_HELD,  /* it has */
    OUTAGE_MENDED /* the fault is over, the broker is not ready yet */
};

struct outage {
    struct broker *broker;
    struct database *database;
    struct filler filler;
    struct http http;
    enum outage_kind kind;
    enum outage_state state;
    bool is_short; /* over before the broker need notice */
    bool kills;
    uint32_t begun_ms;
    uint32_t next_ms;
    uint64_t accepted_before; /* when the broker noticed */
    uint32_t count;           /* outages that the broker noticed */
    uint64_t accepted_during; /* in all of them: by messages that were never to be stored */
    uint32_t notice_max_ms;
    uint32_t mend_max_ms;
};

void outage_init(struct outage *outage, struct broker *broker, struct database *database);
void outage_fini(struct outage *outage);

/* Each turn. `may_begin`: another one may begin. */
void outage_turn(struct outage *outage, bool may_begin);

/* None is under way. */
bool outage_is_over(const struct outage *outage);

#endif
