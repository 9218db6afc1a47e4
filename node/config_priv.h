/*
 * config: what a loaded configuration knows of itself.
 *
 * Thread    main.
 */
#ifndef PULSE_NODE_CONFIG_PRIV_H
#define PULSE_NODE_CONFIG_PRIV_H

#include "node/config_list_priv.h"

struct config_private {
    char *places[CONFIG_OPTION_COUNT]; /* where each value comes from; NULL: it is the default */
    enum config_origin origins[CONFIG_OPTION_COUNT];
    size_t listeners_given; /* the first of config->listeners; server.* and websocket.* stand for
                               the others */
};

/*
 * config_listener: adds the listeners that server.* and websocket.* stand for. Where there is a
 * list of listeners and nobody gave server.bind, that becomes off.
 */
void config__listeners_complete(struct config *config);

/* config_reload: can a running broker take over a change of this option, of this key? */
bool config__option_reloads(const struct config_option *option);
bool config__list_key_reloads(const struct config_list *list, const struct config_option *key);

#endif
