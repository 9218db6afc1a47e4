/*
 * database: a MariaDB server of our own, on a data folder that the run script made.
 *
 * Owns      the process.
 * Thread    the driver's.
 * Errors    a server that does not start ends the program with 2.
 */
#ifndef TESTS_CRASH_DATABASE_H
#define TESTS_CRASH_DATABASE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/options.h"
#include "tests/crash/process.h"

struct database {
    const struct options *options; /* options->database NULL: there is no server */
    struct process process;
    uint16_t port;
};

/* Starts it and waits until it listens. */
void database_init(struct database *database, const struct options *options);
void database_fini(struct database *database);

void database_start(struct database *database);

/* Whether somebody listens at its port. */
bool database_is_up(const struct database *database);

#endif
