/*
 * crowd: many clients that connect at once, in a process of their own, so that what they cost the
 * generator doesn't delay what it measures meanwhile.
 *
 * Owns      the process.
 * Thread    main. The process has the lowest priority: it takes what the measuring one leaves.
 * Errors    loop_fail() of the bench that it was started for.
 */
#ifndef TESTS_BENCH_CROWD_H
#define TESTS_BENCH_CROWD_H

#include "tests/bench/scenario.h"

struct crowd {
    struct bench *bench;
    struct probe_span span;
    pid_t pid; /* 0: none */
    int report_fd;
};

/* Starts --connections clients. False: the run has failed. */
bool crowd_start(struct crowd *crowd, struct bench *bench);

/* True once all were welcomed, which fills in `outcome.crowd`, or the run has failed. */
bool crowd_is_over(struct crowd *crowd);

/* Ends the process if it is still there. */
void crowd_fini(struct crowd *crowd);

#endif
