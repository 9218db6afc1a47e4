#include "node/config_page_priv.h"

#include "node/config_priv.h"
#include "node/config_value_priv.h"

/* Text in quotes: [::1]:1883 would start a list. `object` is the configuration or an entry. */
static void add_value(const struct config_option *option, const void *object, struct text *page)
{
    struct config_value value = config__value_load(option, object);
    if (option->kind == CONFIG_KIND_STRING || option->kind == CONFIG_KIND_ADDRESS) {
        struct text words = {0};
        config__value_add(option, value, &words);
        text_add(page, "\"");
        text_add_json(page, slice_of(words.data, words.len));
        text_add(page, "\"");
        text_fini(&words);
    } else {
        config__value_add(option, value, page);
    }
}

/* Entries that stand for server.* and websocket.* come from those. */
static size_t entries_of_file(const struct config_list *list, const struct config *config)
{
    return list == &config__lists[CONFIG_LIST_LISTENERS] ? config->priv->listeners_given
                                                         : config__list_count(list, config);
}

static void add_list(const struct config_list *list, const struct config *config,
                     const char *indent, struct text *page)
{
    size_t count = entries_of_file(list, config);
    text_printf(page, "%s%s:%s\n", indent, list->key, count == 0 ? " [] # none" : "");
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < list->key_count; k++) {
            text_printf(page, "%s  %s %s: ", indent, k == 0 ? "-" : " ", list->keys[k].key);
            add_value(&list->keys[k], config__list_entry(list, config, i), page);
            if (k == 0) {
                text_printf(page, " # %s", config__list_place(list, config, i));
            }
            text_add(page, "\n");
        }
    }
}

/* Adds what stands in `section`; CONFIG_SECTION_ROOT: the whole file. */
static void add_section(const struct config *config, enum config_section section,
                        const char *indent, struct text *page)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        if (option->section == section) {
            const char *place = config->priv->places[i];
            text_printf(page, "%s%s: ", indent, option->key);
            add_value(option, config, page);
            text_printf(page, " # %s\n", place == NULL ? "default" : place);
        }
    }
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        if (config__lists[i].section == section) {
            add_list(&config__lists[i], config, indent, page);
        }
    }
    for (enum config_section i = 0; i < CONFIG_SECTION_COUNT; i++) {
        if (config__section_parent(i) == section) {
            struct text deeper = {0};
            text_printf(page, "%s%s:\n", indent, config__section_key(i));
            text_printf(&deeper, "%s  ", indent);
            add_section(config, i, deeper.data, page);
            text_fini(&deeper);
        }
    }
}

void config__page_add_effective(const struct config *config, struct text *page)
{
    add_section(config, CONFIG_SECTION_ROOT, "", page);
}
