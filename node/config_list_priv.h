/*
 * config_list: what the configuration has several of, as data: listeners, users, access rules.
 *
 * Owns      the entries of struct config, and their texts.
 * Thread    main.
 */
#ifndef PULSE_NODE_CONFIG_LIST_PRIV_H
#define PULSE_NODE_CONFIG_LIST_PRIV_H

#include "node/config_option_priv.h"

enum config_list_index {
    CONFIG_LIST_LISTENERS,
    CONFIG_LIST_USERS,
    CONFIG_LIST_ACL_RULES,
    CONFIG_LIST_COUNT
};

/* No list has more keys. */
#define CONFIG_LIST_KEYS_MAX 24

struct config_list {
    const char *path;            /* "auth.users" */
    const char *key;             /* "users" */
    enum config_section section; /* where it stands in the file */
    const char *about;
    const struct config_option *keys;
    size_t key_count;
    size_t entries_max;
    size_t entry_size;   /* of its structure */
    size_t place_offset; /* in it */
    size_t items_offset; /* in struct config */
    size_t count_offset;
};

extern const struct config_list config__lists[CONFIG_LIST_COUNT];

/* Borrows the list of that section and key, or NULL. */
const struct config_list *config__list_find(enum config_section section, const char *key);

/* Borrows the key of that name, or NULL. */
const struct config_option *config__list_key(const struct config_list *list, const char *key);

size_t config__list_count(const struct config_list *list, const struct config *config);

/* Borrows an entry, until one is added. */
void *config__list_entry(const struct config_list *list, const struct config *config, size_t index);

/* Borrows where an entry comes from. */
const char *config__list_place(const struct config_list *list, const struct config *config,
                               size_t index);

/* Adds an entry with its defaults, and gives it until the next one is added. Keys that must be
 * given are NULL in it. */
void *config__list_add(const struct config_list *list, struct config *config, const char *place);

/* Ends all entries of all lists. */
void config__lists_fini(struct config *config);

#endif
