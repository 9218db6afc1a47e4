/*
 * retained: the retained messages of the node: at most one per topic, read by every worker without
 * locks.
 *
 * Owns      one reference on each message.
 * Thread    set: any worker, in a read section (a mutex inside). Reading: any worker, in a read
 * section. Errors    ERR_FULL when a limit is reached: the message is not kept (it is still
 * delivered). Source    MQTT 5.0 section 3.3.1.3.
 */
#ifndef PULSE_NODE_RETAINED_H
#define PULSE_NODE_RETAINED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"

struct message;
struct retained;

struct retained *retained_create(size_t messages_max, size_t payload_bytes_max);
void retained_destroy(struct retained *store);

/*
 * Makes `message` (kept with a reference; borrowed ones are copied) the retained message of its
 * topic. An empty payload removes what was there. Topics that start with $SYS/ don't count against
 * the limits.
 */
must_check enum err retained_set(struct retained *store, struct message *message);

/* The retained message of `topic`: gives a reference, or NULL. Any thread, outside read sections
 * too.
 */
struct message *retained_get(struct retained *store, struct slice topic);

/* Drops what has expired at `now_ms`, looking at no more than `budget` topics in this call; a later
 * call goes on where this one ended. Returns how many were dropped. */
size_t retained_expire(struct retained *store, uint64_t now_ms, size_t budget);

/* Any thread. Without $SYS. */
size_t retained_count(const struct retained *store);
size_t retained_bytes(const struct retained *store);

/* ---- replay: the retained messages that a filter matches, in portions ------------------------ */

struct replay;

/* Starts a walk over what `filter` (valid, without $share) matches now. Messages that are set later
 * are not part of it (their subscribers get them live), and a message replaced meanwhile is passed
 * over. */
struct replay *replay_create(struct retained *store, struct slice filter);
void replay_destroy(struct replay *replay);

/*
 * The next message that has not expired at `now_ms`: gives a reference, or NULL. Looks at a bounded
 * number of topics per call: `*done` says whether NULL means the end, or "call again in the next
 * loop iteration". Read section.
 */
struct message *replay_next(struct replay *replay, uint64_t now_ms, bool *done);

#endif
