#include "node/config.h"

#include "base/mem.h"
#include "node/config_page_priv.h"
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

/* Starts the error of a rule between options at the one that broke it. */
static enum err refuse(const struct config *config, size_t index, const char *why,
                       struct text *error)
{
    const char *place = config->priv->places[index];
    text_printf(error, "%s%s%s: %s", place == NULL ? "" : place, place == NULL ? "" : ": ",
                config__options[index].path, why);
    return ERR_INVALID;
}

/* Rules between options. */
static enum err check_together(const struct config *config, struct text *error)
{
    if (strcmp(config->server_bind, config->observability_metrics_bind) == 0) {
        return refuse(config, CONFIG_OPTION_observability_metrics_bind,
                      "must differ from server.bind", error);
    }
    if (config->limits_slow_consumer_policy == SLOW_CONSUMER_QUEUE_OFFLINE &&
        config->limits_max_offline_queue_len == 0) {
        return refuse(config, CONFIG_OPTION_limits_slow_consumer_policy,
                      "queue-offline needs limits.max_offline_queue_len above 0", error);
    }
    return ERR_OK;
}

/* The order of the layers: later settings win. */
static enum err read_layers(struct config *config, const struct config_flags *flags,
                            const struct config_settings *from_flags, char *const *environment,
                            struct text *warnings, struct text *error)
{
    struct config_settings settings = {0};
    enum err err = flags->file == NULL ? ERR_OK : config__file_read(&settings, flags->file, error);
    if (err == ERR_OK) {
        config__environment_read(&settings, environment, warnings);
        err = apply_all(config, &settings, error);
    }
    if (err == ERR_OK) {
        err = apply_all(config, from_flags, error);
    }
    config__settings_fini(&settings);
    return err == ERR_OK ? check_together(config, error) : err;
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

enum config_action config_load(struct config *config, int argc, char *const *argv,
                               char *const *environment, FILE *out, FILE *complaints)
{
    enum config_action action = CONFIG_EXIT_ERROR;
    struct config_settings from_flags = {0};
    struct config_flags flags = {.command = CONFIG_COMMAND_RUN};
    struct text error = {0};
    struct text warnings = {0};

    *config = (struct config){.priv = mem_alloc(sizeof(*config->priv))};
    apply_defaults(config);
    enum err err = config__flags_read(&from_flags, &flags, argc, argv, &error);
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
