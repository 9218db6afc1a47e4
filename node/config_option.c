#include "node/config_option_priv.h"

#include <ctype.h>

/* How a row's rule becomes a field, by kind. */
#define RULE_BOOL(rule)
#define RULE_UINT(rule)
#define RULE_SIZE(rule)
#define RULE_ADDRESS(rule)
#define RULE_DURATION(multiple) .step = (multiple),
#define RULE_STRING(text_rule) .rule = &(text_rule),
#define RULE_ENUM(list) .words = (const char *const[]){list(WORD) NULL},
#define WORD(constant, word) word,

const struct config_option config__options[CONFIG_OPTION_COUNT] = {
#define OPTION(section_, key_, kind_, initial_, minimum_, maximum_, rule_, mqtt_rs_name_, help_) \
    [CONFIG_OPTION_##section_##_##key_] = {                                                      \
        .key = #key_,                                                                            \
        .path = #section_ "." #key_,                                                             \
        .section = CONFIG_SECTION_##section_,                                                    \
        .kind = CONFIG_KIND_##kind_,                                                             \
        .initial = (initial_),                                                                   \
        .minimum = (minimum_),                                                                   \
        .maximum = (maximum_),                                                                   \
        RULE_##kind_(rule_).mqtt_rs_name = (mqtt_rs_name_),                                      \
        .help = (help_),                                                                         \
        .offset = offsetof(struct config, section_##_##key_),                                    \
    },
#include "node/config_options.def"
#undef OPTION
};

static const struct {
    const char *name;
    const char *about;
} sections[CONFIG_SECTION_COUNT] = {
#define X(name_, about_) [CONFIG_SECTION_##name_] = {#name_, about_},
    CONFIG_SECTIONS(X)
#undef X
};

const char *config__section_name(enum config_section section)
{
    return sections[section].name;
}

const char *config__section_about(enum config_section section)
{
    return sections[section].about;
}

enum config_section config__section_find(const char *name)
{
    enum config_section section = 0;
    while (section < CONFIG_SECTION_COUNT && strcmp(sections[section].name, name) != 0) {
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

/* Adds `name` as a flag is spelled: lower case, with hyphens. */
static void add_flag(const char *name, struct text *text)
{
    text_add(text, "--");
    for (const char *at = name; *at != '\0'; at++) {
        char letter = *at == '.' || *at == '_' ? '-' : (char)tolower((unsigned char)*at);
        text_add_bytes(text, &letter, 1);
    }
}

void config__option_add_flag(const struct config_option *option, struct text *text)
{
    add_flag(option->path, text);
}

void config__option_add_short_flag(const struct config_option *option, struct text *text)
{
    if (option->mqtt_rs_name != NULL) {
        add_flag(option->mqtt_rs_name + strlen("MQTT_RS_"), text);
    }
}
