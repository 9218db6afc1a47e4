/*
 * report: the line, or the JSON object, that says what came out.
 *
 * Owns      nothing; it writes to stdout.
 * Thread    main.
 * Errors    none.
 */
#ifndef TESTS_BENCH_REPORT_H
#define TESTS_BENCH_REPORT_H

#include "tests/bench/scenario.h"

/* True when nothing was lost, doubled, misrouted or damaged, and the run came to its end. */
bool report_is_good(const struct bench *bench);

void report_print(const struct bench *bench);

#endif
