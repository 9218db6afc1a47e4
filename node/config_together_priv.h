/*
 * config_together: what values that are good alone must obey beside each other.
 *
 * Thread    main.
 * Errors    ERR_INVALID, with one line for people added to `error`.
 */
#ifndef PULSE_NODE_CONFIG_TOGETHER_PRIV_H
#define PULSE_NODE_CONFIG_TOGETHER_PRIV_H

#include "node/config_option_priv.h"

/* `places` says for each option whence it comes; NULL: the default. */
must_check enum err config__check_together(const struct config *config,
                                           char *const places[static CONFIG_OPTION_COUNT],
                                           struct text *error);

/* Adds one line for each value that is good but can't be meant. */
void config__warn_together(const struct config *config, struct text *warnings);

#endif
