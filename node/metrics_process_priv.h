/*
 * metrics_process: what the kernel says about this process.
 *
 * Thread    any.
 * Errors    a figure that the kernel doesn't give (no /proc) is 0.
 */
#ifndef PULSE_NODE_METRICS_PROCESS_PRIV_H
#define PULSE_NODE_METRICS_PROCESS_PRIV_H

#include <stdint.h>

uint64_t process__resident_bytes(void);
/* The most that process__resident_bytes has been. */
uint64_t process__resident_bytes_max(void);
/* User and system time of all threads. */
uint64_t process__cpu_ns(void);
uint64_t process__fds(void);
uint64_t process__fds_max(void);
/* Seconds since 1970-01-01 UTC. */
double process__start_time(void);

#endif
