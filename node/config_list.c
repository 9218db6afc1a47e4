#include "node/config_list_priv.h"

#include "base/mem.h"
#include "node/config_value_priv.h"

#define KEY(path_, entry_, key_, kind_, initial_, minimum_, maximum_, rule_, help_) \
    {                                                                               \
        .key = #key_,                                                               \
        .path = path_ "." #key_,                                                    \
        .section = CONFIG_SECTION_ROOT,                                             \
        .kind = CONFIG_KIND_##kind_,                                                \
        .initial = (initial_),                                                      \
        .minimum = (minimum_),                                                      \
        .maximum = (maximum_),                                                      \
        CONFIG_RULE_##kind_(rule_).help = (help_),                                  \
        .offset = offsetof(entry_, key_),                                           \
    },

static const struct config_option listener_keys[] = {
#define LISTENER(...) KEY("listeners", struct config_listener, __VA_ARGS__)
#include "node/config_lists.def"
};

static const struct config_option user_keys[] = {
#define USER(...) KEY("auth.users", struct config_user, __VA_ARGS__)
#include "node/config_lists.def"
};

static const struct config_option acl_rule_keys[] = {
#define ACL_RULE(...) KEY("auth.acl", struct config_acl_rule, __VA_ARGS__)
#include "node/config_lists.def"
};

static_assert(ARRAY_COUNT(listener_keys) <= CONFIG_LIST_KEYS_MAX &&
                  ARRAY_COUNT(user_keys) <= CONFIG_LIST_KEYS_MAX &&
                  ARRAY_COUNT(acl_rule_keys) <= CONFIG_LIST_KEYS_MAX,
              "CONFIG_LIST_KEYS_MAX is too small");

const struct config_list config__lists[CONFIG_LIST_COUNT] = {
    [CONFIG_LIST_LISTENERS] =
        {
            .path = "listeners",
            .key = "listeners",
            .section = CONFIG_SECTION_ROOT,
            .about = "Where clients connect. server.bind and websocket.bind are the short form for "
                     "one listener each; with this list server.bind counts only when it is given.",
            .keys = listener_keys,
            .key_count = ARRAY_COUNT(listener_keys),
            .entries_max = 64,
            .entry_size = sizeof(struct config_listener),
            .place_offset = offsetof(struct config_listener, place),
            .items_offset = offsetof(struct config, listeners),
            .count_offset = offsetof(struct config, listener_count),
        },
    [CONFIG_LIST_USERS] =
        {
            .path = "auth.users",
            .key = "users",
            .section = CONFIG_SECTION_auth,
            .about = "Users and their passwords.",
            .keys = user_keys,
            .key_count = ARRAY_COUNT(user_keys),
            .entries_max = 100000,
            .entry_size = sizeof(struct config_user),
            .place_offset = offsetof(struct config_user, place),
            .items_offset = offsetof(struct config, users),
            .count_offset = offsetof(struct config, user_count),
        },
    [CONFIG_LIST_ACL_RULES] =
        {
            .path = "auth.acl",
            .key = "acl",
            .section = CONFIG_SECTION_auth,
            .about = "Access rules. The first that fits a client and a topic decides; where none "
                     "does, auth.no_match holds.",
            .keys = acl_rule_keys,
            .key_count = ARRAY_COUNT(acl_rule_keys),
            .entries_max = 100000,
            .entry_size = sizeof(struct config_acl_rule),
            .place_offset = offsetof(struct config_acl_rule, place),
            .items_offset = offsetof(struct config, acl_rules),
            .count_offset = offsetof(struct config, acl_rule_count),
        },
};

const struct config_list *config__list_find(enum config_section section, const char *key)
{
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        if (config__lists[i].section == section && strcmp(config__lists[i].key, key) == 0) {
            return &config__lists[i];
        }
    }
    return NULL;
}

const struct config_option *config__list_key(const struct config_list *list, const char *key)
{
    for (size_t i = 0; i < list->key_count; i++) {
        if (strcmp(list->keys[i].key, key) == 0) {
            return &list->keys[i];
        }
    }
    return NULL;
}

size_t config__list_count(const struct config_list *list, const struct config *config)
{
    return *(const size_t *)((const char *)config + list->count_offset);
}

/* The array of `list`. Its type differs from list to list, so it is copied as bytes. */
static char *items_of(const struct config_list *list, const struct config *config)
{
    char *items;
    memcpy(&items, (const char *)config + list->items_offset, sizeof(items));
    return items;
}

void *config__list_entry(const struct config_list *list, const struct config *config, size_t index)
{
    return items_of(list, config) + index * list->entry_size;
}

static char **place_of(const struct config_list *list, const struct config *config, size_t index)
{
    char *entry = config__list_entry(list, config, index);
    return (char **)(void *)(entry + list->place_offset);
}

const char *config__list_place(const struct config_list *list, const struct config *config,
                               size_t index)
{
    return *place_of(list, config, index);
}

static void set_defaults(const struct config_list *list, void *entry)
{
    for (size_t i = 0; i < list->key_count; i++) {
        const struct config_option *key = &list->keys[i];
        struct config_value value = {0};
        struct text reason = {0};
        enum err err =
            key->initial == NULL ? ERR_OK : config__value_parse(key, key->initial, &value, &reason);
        ASSERT(err == ERR_OK);
        config__value_store(key, value, entry);
    }
}

void *config__list_add(const struct config_list *list, struct config *config, const char *place)
{
    size_t *count = (size_t *)(void *)((char *)config + list->count_offset);
    char *items = items_of(list, config);
    bool full = (*count & (*count - 1)) == 0; /* room is always a power of two, or none */
    if (full) {
        size_t room = *count == 0 ? 1 : *count * 2;
        items = mem_resize(items, room * list->entry_size);
        memcpy((char *)config + list->items_offset, &items, sizeof(items));
    }
    void *entry = items + *count * list->entry_size;
    memset(entry, 0, list->entry_size);
    (*count)++;
    set_defaults(list, entry);
    *place_of(list, config, *count - 1) = mem_copy_text(place, strlen(place));
    return entry;
}

static void fini(const struct config_list *list, struct config *config)
{
    size_t *count = (size_t *)(void *)((char *)config + list->count_offset);
    char *items = items_of(list, config);
    for (size_t i = 0; i < *count; i++) {
        for (size_t k = 0; k < list->key_count; k++) {
            config__value_store(&list->keys[k], (struct config_value){0},
                                items + i * list->entry_size);
        }
        mem_free(*place_of(list, config, i));
    }
    mem_free(items);
    items = NULL;
    memcpy((char *)config + list->items_offset, &items, sizeof(items));
    *count = 0;
}

void config__lists_fini(struct config *config)
{
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        fini(&config__lists[i], config);
    }
}
