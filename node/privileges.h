/*
 * privileges: a broker that was started as root, for its ports, goes on as somebody else.
 *
 * Thread    main, before other threads run.
 * Errors    ERR_INVALID: there is no such user, or it can't be become. Logged. Going on as root
 *           instead is never an option.
 */
#ifndef PULSE_NODE_PRIVILEGES_H
#define PULSE_NODE_PRIVILEGES_H

#include "base/err.h"
#include "base/macros.h"

/* Becomes `user`, with its groups; "" stays who it is. */
must_check enum err privileges_drop(const char *user);

/* Makes `path` the file of `user`, as which the broker will run; "" leaves it as it is. Logged. */
must_check enum err privileges_hand_over(const char *path, const char *user);

#endif
