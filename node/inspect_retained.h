/*
 * inspect_retained: a walk over all retained messages that can stop anywhere and go on later, for
 * the admin API. (Replays for clients: retained.h.)
 *
 * Thread    any, in a read section.
 */
#ifndef PULSE_NODE_INSPECT_RETAINED_H
#define PULSE_NODE_INSPECT_RETAINED_H

#include <stddef.h>
#include <stdint.h>

struct message;
struct retained;

/*
 * The retained message at or behind place `*place` (start with 0), which moves behind it; looks at
 * `*budget` places at most, and takes off what it looked at. Borrowed until the end of the read
 * section. NULL: the budget is used up, or (`*place` is UINT32_MAX) there are no more.
 * A topic keeps its place for as long as it has a retained message.
 */
const struct message *inspect_retained_next(const struct retained *store, uint32_t *place,
                                            size_t *budget);

#endif
