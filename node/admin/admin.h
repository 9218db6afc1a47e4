/*
 * admin: the HTTP API for operators, on an address of its own: clients, sessions, subscriptions,
 * retained messages, publishing, log levels, traces. docs/admin-api.md describes it.
 *
 * Owns      its HTTP endpoint; what is on its way to workers and back; traces.
 * Thread    main.
 * Errors    ERR_ADDRESS, ERR_IO, ERR_INVALID (a file is unusable): logged here.
 * Not here  whether anything protects an address that others can reach: the configuration is not
 *           valid without (node/config_together.c).
 */
#ifndef PULSE_NODE_ADMIN_ADMIN_H
#define PULSE_NODE_ADMIN_ADMIN_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"
#include "node/broker.h"

struct admin;

/* What it asks of the process; called on the loop's thread. */
struct admin_handlers {
    void *context;
    /* Whether the workers run; before and after that the API only tells its status. */
    bool (*serving)(void *context);
    /* Whether the node may get traffic; when not, `*why` is a text, good for the moment. */
    bool (*ready)(void *context, const char **why);
    /* What SIGHUP does. When something could not be read, `error` says what. */
    enum err (*reload)(void *context, struct text *error);
};

/* Listens as the options admin.* of the broker say. End with admin_stop. */
must_check enum err admin_start(uv_loop_t *loop, struct broker *broker,
                                const struct admin_handlers *handlers, struct admin **out);

/* Reads the token again. On an error nothing has changed, and `error` has a line for people. */
must_check enum err admin_reload(struct admin *admin, struct text *error);

/* The port that it listens on. */
uint16_t admin_port(const struct admin *admin);

/* After broker_join: closes at once. The loop runs on until the handles are closed; what is still
 * on its way to workers is freed within broker_destroy. NULL is allowed. */
void admin_stop(struct admin *admin);

#endif
