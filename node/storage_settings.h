/*
 * storage_settings: what storage is told, made from the options of the broker.
 *
 * Owns      the host name, where it stands for a node id that nobody gave.
 * Thread    main, before the workers start; read-only afterwards, from any thread.
 * Not here  checking (config.h has done it).
 */
#ifndef PULSE_NODE_STORAGE_SETTINGS_H
#define PULSE_NODE_STORAGE_SETTINGS_H

#include "node/config.h"
#include "storage/config.h"

#define NODE_ID_SIZE 256

struct storage_settings {
    struct storage_config storage; /* borrows from `hostname` and from the loaded struct config */
    char hostname[NODE_ID_SIZE];
};

/* Fills `settings`, which must then stay where it is: it points into itself. */
void storage_settings_init(struct storage_settings *settings, const struct config *config);

#endif
