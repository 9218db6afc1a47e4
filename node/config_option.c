#include "node/config_option_priv.h"

#include <ctype.h>

const struct config_option config__options[CONFIG_OPTION_COUNT] = {
#define OPTION(section_, key_, kind_, initial_, minimum_, maximum_, rule_, mqtt_rs_name_, help_) \
    [CONFIG_OPTION_##section_##_##key_] = {                                                      \
        .key = #key_,                                                                            \
        .path = CONFIG_PATH_##section_ "." #key_,                                                \
        .section = CONFIG_SECTION_##section_,                                                    \
        .kind = CONFIG_KIND_##kind_,                                                             \
        .initial = (initial_),                                                                   \
        .minimum = (minimum_),                                                                   \
        .maximum = (maximum_),                                                                   \
        CONFIG_RULE_##kind_(rule_).mqtt_rs_name = (mqtt_rs_name_),                               \
        .help = (help_),                                                                         \
        .offset = offsetof(struct config, section_##_##key_),                                    \
    },
#include "node/config_options.def"
#undef OPTION
};

static const struct {
    const char *path;
    enum config_section parent;
    const char *about;
} sections[CONFIG_SECTION_COUNT] = {
#define X(name_, parent_, about_) \
    [CONFIG_SECTION_##name_] = {CONFIG_PATH_##name_, CONFIG_SECTION_##parent_, about_},
    CONFIG_SECTIONS(X)
#undef X
};

const char *config__section_path(enum config_section section)
{
    return sections[section].path;
}

const char *config__section_key(enum config_section section)
{
    const char *dot = strrchr(sections[section].path, '.');
    return dot == NULL ? sections[section].path : dot + 1;
}

const char *config__section_about(enum config_section section)
{
    return sections[section].about;
}

enum config_section config__section_parent(enum config_section section)
{
    return sections[section].parent;
}

enum config_section config__section_find(enum config_section parent, const char *key)
{
    enum config_section section = 0;
    while (section < CONFIG_SECTION_COUNT &&
           (sections[section].parent != parent || strcmp(config__section_key(section), key) != 0)) {
        section++;
    }
    return section;
}

const struct config_option *config__option_find(enum config_section section, const char *key)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        if (option->section == section && strcmp(option->key, key) == 0) {
            return option;
        }
    }
    return NULL;
}

void config__option_add_env(const struct config_option *option, struct text *text)
{
    text_add(text, "PULSE_");
    for (const char *at = option->path; *at != '\0'; at++) {
        char letter = *at == '.' ? '_' : (char)toupper((unsigned char)*at);
        text_add_bytes(text, &letter, 1);
    }
}

/* Adds the first `len` letters of `name` as a flag is spelled: lower case, with hyphens. */
static void add_flag(const char *name, size_t len, struct text *text)
{
    text_add(text, "--");
    for (size_t i = 0; i < len; i++) {
        char letter =
            name[i] == '.' || name[i] == '_' ? '-' : (char)tolower((unsigned char)name[i]);
        text_add_bytes(text, &letter, 1);
    }
}

void config__option_add_flag(const struct config_option *option, struct text *text)
{
    add_flag(option->path, strlen(option->path), text);
}

/* MQTT_RS_TLS_ENABLED gives --tls: a flag that is there is a yes. */
void config__option_add_short_flag(const struct config_option *option, struct text *text)
{
    static const char tail[] = "_ENABLED";
    if (option->mqtt_rs_name == NULL) {
        return;
    }
    const char *name = option->mqtt_rs_name + strlen("MQTT_RS_");
    size_t len = strlen(name);
    bool said = len > strlen(tail) && strcmp(name + len - strlen(tail), tail) == 0;
    add_flag(name, said ? len - strlen(tail) : len, text);
}
