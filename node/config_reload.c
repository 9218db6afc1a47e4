/* What a running broker can take over. */
#include "node/config_priv.h"

#include "node/config_value_priv.h"

/* Where an option is not like its section. */
static bool is_exception(size_t index)
{
    return index == CONFIG_OPTION_auth_enabled || index == CONFIG_OPTION_auth_threads ||
           index == CONFIG_OPTION_server_tls_enabled || index == CONFIG_OPTION_observability_log ||
           index == CONFIG_OPTION_admin_token_file;
}

bool config__option_reloads(const struct config_option *option)
{
    bool section =
        option->section == CONFIG_SECTION_auth || option->section == CONFIG_SECTION_server_tls;
    return section != is_exception((size_t)(option - config__options));
}

/* Of the keys of listeners those reload that server.tls has too; all of users and access rules. */
bool config__list_key_reloads(const struct config_list *list, const struct config_option *key)
{
    return list != &config__lists[CONFIG_LIST_LISTENERS] ||
           config__option_find(CONFIG_SECTION_server_tls, key->key) != NULL;
}

static void add(struct text *out, const char *path)
{
    text_printf(out, "%s%s", out->len > 0 ? ", " : "", path);
}

static bool differs(const struct config_option *option, const void *a, const void *b)
{
    return !config__value_equal(option, config__value_load(option, a),
                                config__value_load(option, b));
}

/* The listener of the file with this address; NULL: there is none. */
static const struct config_listener *find(const struct config *config, const char *bind)
{
    for (size_t i = 0; i < config->priv->listeners_given; i++) {
        if (strcmp(config->listeners[i].bind, bind) == 0) {
            return &config->listeners[i];
        }
    }
    return NULL;
}

static void add_changes_of_listener(const struct config *running, const struct config *fresh,
                                    size_t index, struct text *out)
{
    const struct config_list *list = &config__lists[CONFIG_LIST_LISTENERS];
    const struct config_listener *after = &fresh->listeners[index];
    const struct config_listener *before = find(running, after->bind);
    struct text path = {0};
    text_printf(&path, "listeners[%zu]", index);
    size_t len = path.len;
    if (before == NULL) {
        add(out, path.data);
    }
    for (size_t i = 0; i < list->key_count && before != NULL; i++) {
        const struct config_option *key = &list->keys[i];
        if (!config__list_key_reloads(list, key) && differs(key, before, after)) {
            text_printf(&path, ".%s", key->key);
            add(out, path.data);
            path.len = len;
            path.data[len] = '\0';
        }
    }
    text_fini(&path);
}

static void add_lost_listeners(const struct config *running, const struct config *fresh,
                               struct text *out)
{
    for (size_t i = 0; i < running->priv->listeners_given; i++) {
        if (find(fresh, running->listeners[i].bind) == NULL) {
            struct text path = {0};
            text_printf(&path, "listeners (without %s)", running->listeners[i].bind);
            add(out, path.data);
            text_fini(&path);
        }
    }
}

void config_reload_changes(const struct config *running, const struct config *fresh,
                           struct text *out)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        if (!config__option_reloads(option) && differs(option, running, fresh)) {
            add(out, option->path);
        }
    }
    for (size_t i = 0; i < fresh->priv->listeners_given; i++) {
        add_changes_of_listener(running, fresh, i, out);
    }
    add_lost_listeners(running, fresh, out);
}
