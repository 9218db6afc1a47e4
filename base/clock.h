/*
 * clock: time. Monotonic milliseconds for every interval and deadline, wall clock only for what
 * people read or what survives the process.
 *
 * Thread    any.
 */
#ifndef PULSE_BASE_CLOCK_H
#define PULSE_BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_NEVER UINT64_MAX

/* Monotonic milliseconds. */
uint64_t clock_mono_ms(void);

/* Monotonic nanoseconds. */
uint64_t clock_mono_ns(void);

/* Milliseconds since 1970-01-01 UTC. */
uint64_t clock_wall_ms(void);

#endif
