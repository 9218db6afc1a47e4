/*
 * broker: the process under test: started, killed, started again with the same store.
 *
 * Owns      the process, its configuration file and its log, in options->dir.
 * Thread    the driver's.
 * Errors    violations when it ends by itself or does not start.
 */
#ifndef TESTS_CRASH_BROKER_H
#define TESTS_CRASH_BROKER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/process.h"
#include "tests/crash/world.h"

struct broker {
    struct world *world;
    struct process process;
    uint16_t http_port;
    char config[4096]; /* its path */
    char log[4096];
    bool is_ready; /* some client was answered since the last start */
    bool may_end;  /* it may give up when its store can't be opened: then it is started again */
    uint32_t started_ms;
    uint32_t stopped_ms;
    uint32_t stops;
    uint32_t *recoveries_ms;
    size_t recovery_count;
    size_t recovery_cap;
};

/* Chooses ports and writes the configuration. `database_port`: of the database server, or 0. */
void broker_init(struct broker *broker, struct world *world, uint16_t database_port);
void broker_fini(struct broker *broker);

void broker_start(struct broker *broker);
void broker_kill(struct broker *broker);

/* Tells it to end, as a service manager does. */
void broker_stop(struct broker *broker);

/* Each turn: notices that it is ready, or has ended by itself. False: it is of no more use. */
bool broker_watch(struct broker *broker);

bool broker_is_running(const struct broker *broker);

/* The last lines of its log. */
void broker_print_log(const struct broker *broker);

/* A port that was free a moment ago, and not the same twice. */
uint16_t broker_free_port(void);

#endif
