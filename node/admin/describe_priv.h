/*
 * describe: clients and sessions as JSON objects.
 *
 * Thread    the worker of the session.
 */
#ifndef PULSE_NODE_ADMIN_DESCRIBE_PRIV_H
#define PULSE_NODE_ADMIN_DESCRIBE_PRIV_H

#include <stdbool.h>

#include "base/slice.h"
#include "base/text.h"

struct conn;
struct session;

/* Adds `"key":"value"`, escaped. */
void describe__text(struct text *out, const char *key, struct slice value);
/* Adds `"key":value`; the moment by the monotonic clock. */
void describe__moment(struct text *out, const char *key, uint64_t mono_ms);

/* What a filter compares; empty where there is none. Borrowed. */
struct slice describe__username(const struct conn *conn);
struct slice describe__listener(const struct conn *conn);
/* Without the port. */
const char *describe__address(const struct conn *conn, char *out, size_t size);

/* Adds the object of a client that is connected, or of a session; with `full` all there is. */
void describe__client(struct text *out, const struct session *session, bool full);
void describe__session(struct text *out, const struct session *session, bool full);

#endif
