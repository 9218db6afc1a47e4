/*
 * scenario: the loads that pulse-bench knows, and what each of them needs and gives.
 *
 * Owns      the table of scenarios with their defaults.
 * Thread    main.
 * Errors    a scenario that cannot go on calls loop_fail(); the report then says why.
 */
#ifndef TESTS_BENCH_SCENARIO_H
#define TESTS_BENCH_SCENARIO_H

#include "tests/bench/ledger.h"
#include "tests/bench/link.h"
#include "tests/bench/loop.h"
#include "tests/bench/options.h"
#include "tests/bench/probe.h"

enum {
    SCENARIO_NAME_BYTES_MAX = 128,
    SCENARIO_PREFIX_BYTES_MAX = 64,
    SCENARIO_PAYLOAD_BYTES_MAX = 8 * 1024 * 1024,
};

/* Microseconds would hide what a fast broker does: all times are nanoseconds until printed. */
struct latency {
    uint64_t count;
    uint64_t p50_ns;
    uint64_t p99_ns;
    uint64_t p999_ns;
    uint64_t max_ns;
};

/* What happened while a crowd connected. */
struct crowd_outcome {
    uint64_t connects;
    uint64_t wall_ns;
    uint64_t broker_ns;
    struct latency latency; /* of those who were there before */
};

/* What came out. Zero where a scenario has nothing to say. */
struct outcome {
    const char *unit; /* what `units` counts: "message", "connect", "connection" */
    uint64_t units;   /* within the measured span */
    struct probe_span span;
    struct probe_memory memory;
    struct ledger_faults faults;
    struct latency latency;
    struct crowd_outcome crowd;
    double bytes_per_unit;
    double message_bytes; /* topic and payload, on average */
    double wakeups_per_s;
    uint32_t threads;
    uint64_t handshakes; /* of TLS, and how many of them resumed a session */
    uint64_t resumed;
};

/* What a running scenario works with. */
struct bench {
    const struct options *options;
    struct loop loop;
    struct outcome outcome;
    uint64_t run_id; /* --run-id, or our process: keeps topics and client ids of two runs apart */
};

struct scenario {
    const char *name;
    const char *summary;
    void (*run)(struct bench *bench);
    struct options defaults; /* numbers only; OPTION_UNSET where it has no use for one */
};

extern const struct scenario scenarios[];
extern const unsigned scenario_count;

const struct scenario *scenario_find(const char *name);

/* Fills in what all connections have in common, and a client id of `kind` and `index`. */
void scenario_fill_setup(const struct bench *bench, const char *kind, uint32_t index,
                         struct link_setup *setup);

/* "PREFIX/RUN/`tail`": topics below it are ours alone. */
void scenario_topic(const struct bench *bench, char name[SCENARIO_NAME_BYTES_MAX],
                    const char *tail);

/* The measured span begins, and ends with `units` done in it. */
void scenario_begin(struct bench *bench);
void scenario_end(struct bench *bench, uint64_t units);

struct histogram;

struct latency scenario_latency(const struct histogram *histogram);

/* Ends the kept sessions of the clients "s0" .. "s`count`-1". */
void scenario_end_sessions(struct bench *bench, uint32_t count);

/* The runs behind the table. */
void traffic_run_pairs(struct bench *bench);
void traffic_run_all(struct bench *bench);
void traffic_run_shared(struct bench *bench);
void replay_run(struct bench *bench);
void replay_run_leave(struct bench *bench);
void storm_run(struct bench *bench);
void offline_run_store(struct bench *bench);
void offline_run_drain(struct bench *bench);
void offline_run_revisit(struct bench *bench);
void disk_run(struct bench *bench);
void handshake_run(struct bench *bench);
void idle_run_connections(struct bench *bench);
void idle_run_node(struct bench *bench);

#endif
