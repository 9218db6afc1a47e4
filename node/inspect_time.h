/*
 * inspect_time: moments as people and machines read them: 2026-01-31T23:59:59.123Z.
 *
 * Thread    any.
 * Source    RFC 3339.
 */
#ifndef PULSE_NODE_INSPECT_TIME_H
#define PULSE_NODE_INSPECT_TIME_H

#include <stdint.h>

#include "base/text.h"

/* Adds the moment `wall_ms` milliseconds after 1970-01-01 UTC. */
void inspect_time_add(struct text *text, uint64_t wall_ms);

/* The wall clock at `mono_ms` of the monotonic clock. */
uint64_t inspect_time_of(uint64_t mono_ms);

#endif
