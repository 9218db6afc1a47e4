/*
 * glob: patterns for the filters of lists: `*` stands for any bytes, `?` for one, anything else for
 * itself.
 *
 * Thread    any; no state. Time at most in proportion to the product of both lengths.
 */
#ifndef PULSE_NODE_ADMIN_GLOB_PRIV_H
#define PULSE_NODE_ADMIN_GLOB_PRIV_H

#include <stdbool.h>

#include "base/slice.h"

bool glob__matches(struct slice pattern, struct slice text);

#endif
