/*
 * config_page: the pages about options for people, all made from the table.
 *
 * Thread    main.
 */
#ifndef PULSE_NODE_CONFIG_PAGE_PRIV_H
#define PULSE_NODE_CONFIG_PAGE_PRIV_H

#include "node/config_option_priv.h"

/* --help */
void config__page_add_help(struct text *page);

/* --print-reference: docs/configuration.md */
void config__page_add_reference(struct text *page);

/* --print-config: a YAML file that gives the same configuration, but for secrets, which are ***. */
void config__page_add_effective(const struct config *config, struct text *page);

#endif
