/*
 * restore: what storage kept becomes sessions and retained messages again, before the workers
 * start.
 *
 * Owns      a table of the messages that were read, until restore_finish.
 * Thread    the loader, while no worker runs.
 * Errors    ERR_STOPPED: the broker is to end. ERR_MEMORY: it does not fit.
 */
#ifndef PULSE_NODE_RESTORE_H
#define PULSE_NODE_RESTORE_H

#include "base/err.h"
#include "base/macros.h"

struct broker;

/* Loads broker->storage into the broker. Sessions that were connected are offline from now on. */
must_check enum err restore_load(struct broker *broker);

#endif
