/*
 * probe: what the broker's process costs: CPU time, memory, wake-ups. And our own CPU time.
 *
 * Owns      nothing; it reads the process clock and /proc.
 * Thread    any.
 * Errors    a figure that cannot be read is 0. Process 0 means that no process is watched.
 * Source    clock_getcpuclockid(3), which counts nanoseconds up to this moment, unlike
 * /proc/PID/stat; proc(5): smaps_rollup, exact where VmRSS is a sum of lazily updated per-CPU
 * counters.
 */
#ifndef TESTS_BENCH_PROBE_H
#define TESTS_BENCH_PROBE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct probe_memory {
    uint64_t rss_bytes;
    uint64_t rss_peak_bytes;
};

struct probe_wakeups {
    uint64_t voluntary; /* voluntary context switches of all threads */
    uint32_t threads;
};

/* A stretch of time, and the CPU time that broker and generator spent in it. */
struct probe_span {
    uint64_t wall_ns;
    uint64_t broker_ns;
    uint64_t own_ns;
};

/* False when there is no such process, or it may not be watched. */
bool probe_can_watch(pid_t pid);

struct probe_memory probe_memory(pid_t pid);
struct probe_wakeups probe_wakeups(pid_t pid);

/* Readings of the three clocks; the span between two of them. */
struct probe_span probe_clocks(pid_t pid);
struct probe_span probe_since(pid_t pid, const struct probe_span *start);

#endif
