/*
 * outage: says in the log that a server which logins need is out of order, and that it works
 * again: a line each, and at most one outage a minute, however many clients meet it.
 *
 * Thread    auth's.
 */
#ifndef PULSE_NODE_AUTH_OUTAGE_H
#define PULSE_NODE_AUTH_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

/* A zeroed one has seen nothing. */
struct outage {
    bool said;           /* that it is out of order, and not yet that it works */
    uint64_t said_at_ms; /* monotonic; 0: never */
    uint64_t failures;   /* since then */
};

/* `what` is a constant, such as "database"; `trouble` is what is wrong, without secrets. */
void outage_failed(struct outage *outage, const char *what, const char *trouble);
void outage_worked(struct outage *outage, const char *what);

#endif
