/*
 * cast: all who play against the broker.
 *
 * Owns      them.
 * Thread    the driver's.
 * Errors    none.
 */
#ifndef TESTS_CRASH_CAST_H
#define TESTS_CRASH_CAST_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/inspector.h"
#include "tests/crash/mortal.h"
#include "tests/crash/publisher.h"
#include "tests/crash/stream.h"
#include "tests/crash/subscriber.h"
#include "tests/crash/world.h"

struct cast {
    struct world *world;
    struct publisher *publishers;
    struct subscriber *subscribers;
    struct mortal *mortals;
    struct inspector inspector;
    struct stream stream;
};

void cast_init(struct cast *cast, struct world *world);
void cast_fini(struct cast *cast);

/* Whether nothing is under way any more, and everybody has what is owed. */
bool cast_is_done(const struct cast *cast);

/* Reports who is not done, as violations; they give up what they wait for. */
void cast_report_undone(struct cast *cast);

#endif
