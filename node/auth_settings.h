/*
 * auth_settings: what auth is told, made from the options of the broker.
 *
 * Owns      the lists that it makes. Texts are borrowed from the loaded struct config.
 * Thread    main.
 * Not here  checking (config.h has done it).
 */
#ifndef PULSE_NODE_AUTH_SETTINGS_H
#define PULSE_NODE_AUTH_SETTINGS_H

#include "base/err.h"
#include "base/macros.h"
#include "node/auth/auth.h"
#include "node/config.h"

struct auth_settings_made {
    struct auth_settings settings;
    struct auth_user *users;
    struct acl_rules rules;
};

/* ERR_SYNTAX, ERR_FULL: a rule can't be used; one line in `error`. End with auth_settings_fini. */
must_check enum err auth_settings_make(const struct config *config, struct auth_settings_made *made,
                                       struct text *error);
void auth_settings_fini(struct auth_settings_made *made);

#endif
