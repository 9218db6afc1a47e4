/*
 * listener: a worker's listening socket. With several workers each has its own on the same address
 * (SO_REUSEPORT), and the kernel spreads the connections.
 *
 * Thread    listener_open: main, before the worker runs; the rest: the worker.
 * Errors    ERR_ADDRESS, logged with the reason.
 */
#ifndef PULSE_NODE_LISTENER_H
#define PULSE_NODE_LISTENER_H

#include "base/err.h"
#include "base/macros.h"

struct broker;
struct worker;

/* Resolves server.bind and listens on it on each worker's loop. */
must_check enum err listener_open(struct broker *broker);

/* Stops accepting. Harmless when it did not listen. */
void listener_stop(struct worker *worker);

#endif
