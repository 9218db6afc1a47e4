/*
 * options: what the command line of pulse-crash says.
 *
 * Owns      nothing; strings are those of argv.
 * Thread    the driver's.
 * Errors    a line on stderr; the program ends with 2.
 */
#ifndef TESTS_CRASH_OPTIONS_H
#define TESTS_CRASH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* What happens to the broker. */
#define MODES(X)                        \
    X(MODE_KILLS, "kills")              \
    X(MODE_CALM, "calm")                \
    X(MODE_DATABASE_FAULTS, "database") \
    X(MODE_DISK_FULL, "disk")

#define X(constant, word) constant,
enum mode { MODES(X) };
#undef X

struct options {
    const char *broker;   /* its program */
    const char *dir;      /* for everything that is written: exists, ours */
    const char *store;    /* for what the broker stores; NULL: in `dir` */
    const char *engine;   /* memory, wal, sqlite, mysql */
    const char *policy;   /* strict, balanced, fast */
    const char *database; /* the folder that mariadb-install-db made; NULL: no server */
    const char *server;   /* the program mariadbd */
    enum mode mode;
    uint32_t workers;
    uint32_t seconds;
    uint32_t kills; /* enough: ends before `seconds` */
    uint32_t publishers;
    uint32_t sessions;
    uint32_t mortals;
    uint32_t rate; /* messages a second, of each publisher */
    uint64_t seed;
};

void options_read(struct options *options, int argc, char **argv);

#endif
