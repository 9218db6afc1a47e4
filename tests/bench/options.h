/*
 * options: the command line of pulse-bench.
 *
 * Owns      the table of options, from which parsing, checking and --help are made.
 * Thread    main.
 * Errors    a line on stderr, and exit 2.
 * Not here  what a scenario does with them (scenario.h).
 */
#ifndef TESTS_BENCH_OPTIONS_H
#define TESTS_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Every number may be left to the scenario: its defaults are filled in where this is found. */
#define OPTION_UNSET UINT64_MAX

struct scenario;

struct options {
    const struct scenario *scenario;
    const char *host;
    const char *port;
    const char *prefix;
    const char *username;
    const char *password;
    const char *file;
    const char *transport;
    const char *path;
    const char *certificate;
    const char *private_key;
    uint64_t version;
    uint64_t publishers;
    uint64_t subscribers;
    uint64_t payload;
    uint64_t qos;
    uint64_t window;
    uint64_t rate;
    uint64_t read_rate;
    uint64_t count;
    uint64_t connections;
    uint64_t topics;
    uint64_t parallel;
    uint64_t warmup_ms;
    uint64_t duration_ms;
    uint64_t stall_ms;
    uint64_t broker_pid;
    uint64_t run_id; /* 0: the process id */
    bool persistent;
    bool resume;
    bool tls_1_2;
    bool json;
    bool spin;
    bool no_spin;
};

/* Ends the program for --help and for anything it does not understand. */
void options_parse(struct options *options, int argc, char **argv);

#endif
