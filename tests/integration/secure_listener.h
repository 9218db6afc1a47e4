/*
 * secure_listener: a TLS listener for a test's own broker, and ways to it.
 *
 * Owns      nothing that lasts: texts are good until the next call.
 * Thread    the test's.
 * Errors    what is not as it should be fails the test.
 */
#ifndef TESTS_INTEGRATION_SECURE_LISTENER_H
#define TESTS_INTEGRATION_SECURE_LISTENER_H

#include "tests/integration/secure_client.h"

/* The configuration of one TLS listener with server.pem, and the lines of `more` in it. */
const char *tls_yaml(const char *more);

/* The same with files of other names. */
const char *tls_yaml_with(const char *certificate, const char *key, const char *more);

/* The same with certificates of clients, signed by ca.pem. */
const char *mutual_yaml(const char *client_auth, const char *more);

/* The port of the last of these. */
uint16_t tls_port(void);

/* A way to it that checks the broker's certificate; and one that shows NAME.pem. */
struct secure_way tls_way(void);
struct secure_way tls_way_as(const char *name);

/* The broker must refuse what `way` shows; gives its alert, -1: none. */
int tls_refusal(const struct secure_way *way);

/* Messages of each QoS from one to the other; of QoS 0 only when both are the same. */
void tls_exchange(struct client *pub, struct client *sub);

#endif
