/*
 * trace_line: one packet as a line of JSON.
 *
 * Thread    any; no state.
 * Errors    none: what can't be read is left out.
 */
#ifndef PULSE_NODE_TRACE_LINE_PRIV_H
#define PULSE_NODE_TRACE_LINE_PRIV_H

#include "base/slice.h"
#include "base/text.h"
#include "codec/mqtt.h"

/* Filters and reason codes that a line shows; more are counted. */
#define TRACE_LIST_MAX 16

/* Adds `,"packet":"PUBLISH",...`: what the packet says of itself. `bytes` may end early. */
void trace__describe(struct text *line, struct slice bytes, enum mqtt_version version);

#endif
