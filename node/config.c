#include "node/config.h"

#include "base/log.h"
#include "base/mem.h"
#include "node/config_page_priv.h"
#include "node/config_priv.h"
#include "node/config_together_priv.h"
#include "node/config_source_priv.h"
#include "node/config_value_priv.h"
#include "node/metrics_page.h"

/* Where the value of a setting goes, and what it is called there. */
static void *find_object(struct config *config, const struct config_setting *setting,
                         struct text *path)
{
    if (setting->list == NULL) {
        text_add(path, setting->option->path);
        return config;
    }
    size_t last = config__list_count(setting->list, config) - 1;
    text_printf(path, "%s[%zu].%s", setting->list->path, last, setting->option->key);
    return config__list_entry(setting->list, config, last);
}

static void keep_origin(struct config *config, const struct config_setting *setting)
{
    size_t index = (size_t)(setting->option - config__options);
    mem_free(config->priv->places[index]);
    config->priv->places[index] = mem_copy_text(setting->place, strlen(setting->place));
    config->priv->origins[index] = setting->origin;
}

/* Judges one setting and keeps it. */
static enum err apply(struct config *config, const struct config_setting *setting,
                      struct text *error)
{
    if (setting->option == NULL) {
        config__list_add(setting->list, config, setting->place);
        return ERR_OK;
    }
    struct text path = {0};
    void *object = find_object(config, setting, &path);
    struct config_value value = {0};
    struct text reason = {0};
    enum err err = config__value_parse(setting->option, setting->words, &value, &reason);
    if (err != ERR_OK) {
        bool file = setting->origin == CONFIG_FILE;
        text_printf(error, "%s: %s%s%s", setting->place, file ? path.data : "", file ? ": " : "",
                    reason.data);
    } else {
        config__value_store(setting->option, value, object);
    }
    if (err == ERR_OK && setting->list == NULL) {
        keep_origin(config, setting);
    }
    text_fini(&reason);
    text_fini(&path);
    return err;
}

static void apply_defaults(struct config *config)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        struct config_value value = {0};
        struct text reason = {0};
        enum err err =
            config__value_parse(&config__options[i], config__options[i].initial, &value, &reason);
        ASSERT(err == ERR_OK);
        config__value_store(&config__options[i], value, config);
    }
}

static enum err apply_all(struct config *config, const struct config_settings *settings,
                          struct text *error)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < settings->count && err == ERR_OK; i++) {
        err = apply(config, &settings->items[i], error);
    }
    return err;
}

/* The order of the layers: later settings win. */
static enum err read_layers(struct config *config, const struct config_flags *flags,
                            const struct config_settings *from_flags, char *const *environment,
                            struct text *warnings, struct text *error)
{
    struct config_settings settings = {0};
    enum err err = flags->file == NULL ? ERR_OK : config__file_read(&settings, flags->file, error);
    if (err == ERR_OK) {
        config__settings_imply_engine(&settings, 0);
        size_t file_count = settings.count;
        config__environment_read(&settings, environment, warnings);
        config__settings_imply_engine(&settings, file_count);
        err = apply_all(config, &settings, error);
    }
    if (err == ERR_OK) {
        err = apply_all(config, from_flags, error);
    }
    config__settings_fini(&settings);
    if (err == ERR_OK) {
        config__listeners_complete(config);
        err = config__check_together(config, error);
    }
    if (err == ERR_OK) {
        config__warn_together(config, warnings);
    }
    return err;
}

/* Adds what `command` prints, once the configuration is known to be good. */
static void add_page(const struct config *config, const struct config_flags *flags,
                     struct text *page)
{
    switch (flags->command) {
    case CONFIG_COMMAND_RUN:
        break;
    case CONFIG_COMMAND_HELP:
        config__page_add_help(page);
        break;
    case CONFIG_COMMAND_VERSION:
        text_add(page, "pulse " PULSE_VERSION "\n");
        break;
    case CONFIG_COMMAND_REFERENCE:
        config__page_add_reference(page);
        break;
    case CONFIG_COMMAND_METRICS:
        metrics_reference(page);
        break;
    case CONFIG_COMMAND_CHECK:
        text_add(page, "configuration is valid: ");
        text_add_json(page, slice_text(flags->file == NULL ? "no file" : flags->file));
        text_add(page, "\n");
        break;
    case CONFIG_COMMAND_PRINT:
        config__page_add_effective(config, page);
        break;
    }
}

/* Prints what is to be printed, and says how to go on. */
static enum config_action finish(const struct config *config, const struct config_flags *flags,
                                 FILE *out)
{
    struct text page = {0};
    if (flags->command == CONFIG_COMMAND_RUN) {
        return CONFIG_RUN;
    }
    add_page(config, flags, &page);
    bool printed = fputs(page.data, out) != EOF && fflush(out) == 0;
    text_fini(&page);
    return printed ? CONFIG_EXIT_OK : CONFIG_EXIT_ERROR;
}

static enum config_action load(struct config *config, struct config_flags flags, int argc,
                               char *const *argv, char *const *environment, FILE *out,
                               FILE *complaints)
{
    enum config_action action = CONFIG_EXIT_ERROR;
    struct config_settings from_flags = {0};
    struct text error = {0};
    struct text warnings = {0};

    *config = (struct config){.priv = mem_alloc(sizeof(*config->priv))};
    apply_defaults(config);
    enum err err = config__flags_read(&from_flags, &flags, argc, argv, &error);
    config__settings_imply_engine(&from_flags, 0);
    if (err == ERR_OK && !config__stands_alone(flags.command)) {
        err = read_layers(config, &flags, &from_flags, environment, &warnings, &error);
    }
    if (err != ERR_OK) {
        fprintf(complaints, "pulse: %s\n", error.data);
    } else {
        fputs(warnings.len > 0 ? warnings.data : "", complaints);
        action = finish(config, &flags, out);
    }
    text_fini(&warnings);
    text_fini(&error);
    config__settings_fini(&from_flags);
    return action;
}

/* Puts the log filter into effect when the broker, or a command, goes on with `config`. */
static enum config_action start_log(const struct config *config, enum config_action action,
                                    FILE *complaints)
{
    if (action == CONFIG_RUN && log_set_filter(config->observability_log) != ERR_OK) {
        fputs("pulse: observability.log: the log does not know this filter\n", complaints);
        return CONFIG_EXIT_ERROR;
    }
    return action;
}

enum config_action config_load(struct config *config, int argc, char *const *argv,
                               char *const *environment, FILE *out, FILE *complaints)
{
    const struct config_flags flags = {.command = CONFIG_COMMAND_RUN};
    enum config_action action = load(config, flags, argc, argv, environment, out, complaints);
    return start_log(config, action, complaints);
}

enum config_action config_load_operand(struct config *config, int argc, char *const *argv,
                                       char *const *environment, FILE *out, FILE *complaints,
                                       const char **operand)
{
    const struct config_flags flags = {.command = CONFIG_COMMAND_RUN, .operand = operand};
    *operand = NULL;
    enum config_action action = load(config, flags, argc, argv, environment, out, complaints);
    return start_log(config, action, complaints);
}

enum config_action config_reload(struct config *config, int argc, char *const *argv,
                                 char *const *environment, FILE *complaints)
{
    const struct config_flags flags = {.command = CONFIG_COMMAND_RUN};
    return load(config, flags, argc, argv, environment, complaints, complaints);
}

void config_fini(struct config *config)
{
    config__lists_fini(config);
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        config__value_store(&config__options[i], (struct config_value){0}, config);
        if (config->priv != NULL) {
            mem_free(config->priv->places[i]);
        }
    }
    mem_free(config->priv);
    config->priv = NULL;
}
