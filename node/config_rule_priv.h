/*
 * config_rule: what the rules for texts (config_option_priv.h) have in common.
 *
 * Thread    any.
 */
#ifndef PULSE_NODE_CONFIG_RULE_PRIV_H
#define PULSE_NODE_CONFIG_RULE_PRIV_H

#include "node/config_option_priv.h"

/* Stands for what is not shown. */
#define CONFIG_HIDDEN "***"

/* ERR_SYNTAX when there are control characters in it. */
enum err config__check_name(const char *text);

/* Cuts the next item, trimmed, off a list with commas; `*list` has NULL as its data behind the
 * last.
 */
struct slice config__next_item(struct slice *list);

/* Is `text` a list, separated by commas, of which `is_good` likes every item? */
bool config__all_items(const char *text, bool (*is_good)(struct slice item));

/* Reads a list of providers, each once. */
must_check enum err config__read_chain(const char *text,
                                       enum auth_provider_kind chain[static AUTH_PROVIDER_COUNT],
                                       size_t *len);

#endif
