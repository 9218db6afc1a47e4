/*
 * session_send: what session.c, session_send.c and delivery.c share about sending.
 *
 * Thread    the session's worker.
 */
#ifndef PULSE_NODE_SESSION_SEND_H
#define PULSE_NODE_SESSION_SEND_H

#include <stdbool.h>

#include "node/metrics.h"

struct encoder;
struct outbound_entry;
struct receipt;
struct session;

/* Whether the client's window, the packet ids and the socket allow one more message now. */
bool session_may_send(const struct session *session);
/* Whether storage has to hold `entry` before it is sent. */
bool session_is_gated(const struct session *session, const struct outbound_entry *entry);
/* The first waiting message, which is the next to send and the message of `encoder`, goes out. */
void session_send_waiting(struct session *session, struct encoder *encoder);
/* Drops the first waiting message and counts it as `why`. */
void session_drop_first_waiting(struct session *session, enum metric why);

/* The placement in `*placement` that storage is told with, made at the first need; NULL: the
 * session is not kept. */
struct receipt **session_placement(struct session *session, struct receipt **placement);

#endif
