/*
 * layers_support: a broker of login_support with one listener, whose kind a test chooses, and what
 * the tests of layers ask of its connections.
 *
 * Thread    the test's.
 * Errors    none: what goes wrong fails the test.
 */
#ifndef PULSE_TESTS_LAYERS_SUPPORT_H
#define PULSE_TESTS_LAYERS_SUPPORT_H

#include "node/layers.h"
#include "node/listener.h"
#include "tests/unit/node/login_support.h"

struct tls_context;

struct layers_rig {
    struct rig rig;
    struct config_listener wanted; /* plain MQTT; a test may want another kind */
    struct listener listener;
};

void layers_rig_start(struct layers_rig *own, unsigned workers);
void layers_rig_stop(struct layers_rig *own);

/* Opens a connection as the listener does. `tls`: NULL for none. */
void layers_come(struct layers_rig *own, struct client *client, struct tls_context *tls);
/* Goes away without a word, if it is there. */
void layers_leave(struct client *client);
/* The connection that came last, which may have moved. */
struct conn *layers_connection(struct layers_rig *own);
/* Waits until there is no connection any more, and none is counted. */
void layers_expect_gone(struct layers_rig *own);

/* A CONNECT of `id`; its length. */
size_t layers_write_connect(const char *id, uint8_t out[static 1024]);
/* An id whose session lives on `worker`. */
void layers_id_on_worker(const struct layers_rig *own, unsigned worker, char id[static 32]);

#endif
