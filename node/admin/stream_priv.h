/*
 * stream: traces on their way to the HTTP clients that asked for them.
 *
 * Owns      each stream: a trace, and the response that reads it.
 * Thread    main.
 */
#ifndef PULSE_NODE_ADMIN_STREAM_PRIV_H
#define PULSE_NODE_ADMIN_STREAM_PRIV_H

#include <stdint.h>
#include <uv.h>

struct admin;

/* Some trace has lines: a uv_async_cb. */
void stream__on_bell(uv_async_t *bell);
/* Ends streams whose time is over or whose client is gone. Every tick of the clock. */
void stream__look_all(struct admin *admin, uint64_t now_ms);

#endif
