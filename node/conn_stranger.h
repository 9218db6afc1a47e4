/*
 * conn_stranger: who speaks something else than MQTT to a port for MQTT gets an answer that its own
 * software understands, and an operator gets a line in the log that says what it was.
 *
 * Thread    the worker of the connection.
 */
#ifndef PULSE_NODE_CONN_STRANGER_H
#define PULSE_NODE_CONN_STRANGER_H

#include <stdbool.h>

#include "base/slice.h"

struct conn;

/* False: `bytes`, the first of the connection, don't look like a protocol that is known. True: the
 * connection has been answered, and ends. */
bool conn_turn_stranger_away(struct conn *conn, struct slice bytes);

#endif
