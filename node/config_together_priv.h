/*
 * config_together: what values that are good alone must obey beside each other.
 *
 * Thread    main.
 * Errors    ERR_INVALID, with one line for people added to `error`.
 */
#ifndef PULSE_NODE_CONFIG_TOGETHER_PRIV_H
#define PULSE_NODE_CONFIG_TOGETHER_PRIV_H

#include "node/config_priv.h"

must_check enum err config__check_together(const struct config *config, struct text *error);

/* Adds one line for each value that is good but can't be meant. */
void config__warn_together(const struct config *config, struct text *warnings);

/* ---- for the parts of it --------------------------------------------------------------------- */

/* Starts an error or a warning about an option: where it comes from, and its path. */
void config__complain(const struct config *config, size_t option, struct text *error);

/* The listeners (config_listener.c). */
must_check enum err config__check_listeners(const struct config *config, struct text *error);

/* Providers, users, access rules (config_auth.c). */
must_check enum err config__check_auth(const struct config *config, struct text *error);
void config__warn_auth(const struct config *config, struct text *warnings);

#endif
