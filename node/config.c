#include "node/config.h"

#include "base/mem.h"
#include "node/config_page_priv.h"
#include "node/config_together_priv.h"
#include "node/config_source_priv.h"
#include "node/config_value_priv.h"
#include "node/metrics_page.h"

struct config_private {
    char *places[CONFIG_OPTION_COUNT]; /* NULL for a default */
};

/* Judges one setting and keeps it. */
static enum err apply(struct config *config, const struct config_setting *setting,
                      struct text *error)
{
    const struct config_option *option = setting->option;
    size_t index = (size_t)(option - config__options);
    struct config_value value = {0};
    struct text reason = {0};
    enum err err = config__value_parse(option, setting->words, &value, &reason);
    if (err != ERR_OK) {
        bool file = setting->origin == CONFIG_FILE;
        text_printf(error, "%s: %s%s%s", setting->place, file ? option->path : "", file ? ": " : "",
                    reason.data);
    } else {
        config__value_store(option, value, config);
        mem_free(config->priv->places[index]);
        config->priv->places[index] = mem_copy_text(setting->place, strlen(setting->place));
    }
    text_fini(&reason);
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
        err = config__check_together(config, config->priv->places, error);
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
        config__page_add_effective(config, config->priv->places, page);
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

enum config_action config_load(struct config *config, int argc, char *const *argv,
                               char *const *environment, FILE *out, FILE *complaints)
{
    const struct config_flags flags = {.command = CONFIG_COMMAND_RUN};
    return load(config, flags, argc, argv, environment, out, complaints);
}

enum config_action config_load_operand(struct config *config, int argc, char *const *argv,
                                       char *const *environment, FILE *out, FILE *complaints,
                                       const char **operand)
{
    const struct config_flags flags = {.command = CONFIG_COMMAND_RUN, .operand = operand};
    *operand = NULL;
    return load(config, flags, argc, argv, environment, out, complaints);
}

void config_fini(struct config *config)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        config__value_store(&config__options[i], (struct config_value){0}, config);
        if (config->priv != NULL) {
            mem_free(config->priv->places[i]);
        }
    }
    mem_free(config->priv);
    config->priv = NULL;
}
