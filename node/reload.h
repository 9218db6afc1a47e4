/*
 * reload: at SIGHUP the configuration is read again, and what may change while the broker runs is
 * changed, all of it or nothing: certificates and keys, users, access rules and providers, log
 * levels. Connections stay; those that lost their rights are closed.
 *
 * Owns      the latest configuration, which auth borrows from.
 * Thread    main.
 * Errors    logged; nothing has changed then.
 */
#ifndef PULSE_NODE_RELOAD_H
#define PULSE_NODE_RELOAD_H

#include "base/err.h"
#include "base/macros.h"
#include "node/auth_settings.h"
#include "node/config.h"

struct broker;

struct reload {
    int argc; /* how the broker was started */
    char *const *argv;
    char *const *environment;
    struct config *latest; /* NULL: as at the start */
    struct auth_settings_made auth_settings;
};

enum err reload_now(struct reload *reload, struct broker *broker);
/* After broker_destroy. */
void reload_fini(struct reload *reload);

#endif
