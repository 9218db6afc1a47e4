/*
 * kept_session: clients whose sessions outlive their connections, for the tests about that.
 *
 * Owns      nothing; clients belong to client.h.
 * Thread    the test's.
 * Errors    what is not expected fails the running test.
 */
#ifndef TESTS_INTEGRATION_KEPT_SESSION_H
#define TESTS_INTEGRATION_KEPT_SESSION_H

#include "tests/integration/client.h"

#define FOR_A_MINUTE PROPS(prop_session_expiry(60))

/* Connects a client whose session stays for a minute, and resumes it when it is there. */
struct client *connect_keeping(const char *id);

/* Leaves a kept session with one subscription, and nobody connected to it. */
void leave_session(const char *id, const char *filter, unsigned qos);

/* Publishes from a passing client and waits for the end of the handshake. */
void publish_from_elsewhere(const char *topic, const char *payload, uint8_t qos);

#endif
