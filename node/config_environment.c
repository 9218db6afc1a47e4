/*
 * The environment is shared with everybody else (a Kubernetes service called pulse puts PULSE_PORT
 * and others there), so what is unknown is never an error. What looks like a slip gets a warning.
 */
#include "node/config_source_priv.h"

#include "node/config_value_priv.h"

/* Borrows the value of `name`, or NULL. An empty one is as good as none: that is how shells unset
 * things. */
static const char *find(char *const *environment, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; environment[i] != NULL; i++) {
        const char *entry = environment[i];
        if (strncmp(entry, name, len) == 0 && entry[len] == '=' && entry[len + 1] != '\0') {
            return entry + len + 1;
        }
    }
    return NULL;
}

/* Adds the setting of `option` if the environment has `name`. */
static bool add(struct config_settings *settings, const struct config_option *option,
                char *const *environment, const char *name)
{
    const char *words = find(environment, name);
    if (words != NULL) {
        config__settings_add(settings, (struct config_setting){.option = option,
                                                               .origin = CONFIG_ENV,
                                                               .words = (char *)words,
                                                               .place = (char *)name});
    }
    return words != NULL;
}

/* RUST_LOG is set for other programs too, so one that says nothing to us is no reason to stop. */
static void add_rust_log(struct config_settings *settings, char *const *environment,
                         struct text *warnings)
{
    const struct config_option *log = &config__options[CONFIG_OPTION_observability_log];
    const char *words = find(environment, "RUST_LOG");
    struct config_value ignored;
    struct text reason = {0};
    if (words == NULL) {
        return;
    }
    if (config__value_parse(log, words, &ignored, &reason) == ERR_OK) {
        add(settings, log, environment, "RUST_LOG");
    } else {
        text_printf(warnings, "pulse: ignored RUST_LOG: %s\n", reason.data);
    }
    text_fini(&reason);
}

/* Is `name`, up to its '=', a name of ours? Offers all names of ours to `guess` on the way. */
static bool is_known(const char *name, struct config_guess *guess)
{
    bool known = false;
    for (size_t i = 0; i < CONFIG_OPTION_COUNT && !known; i++) {
        const char *mqtt_rs_name = config__options[i].mqtt_rs_name;
        struct text ours = {0};
        config__option_add_env(&config__options[i], &ours);
        config__guess_offer(guess, ours.data);
        known = strcmp(name, ours.data) == 0 ||
                (mqtt_rs_name != NULL && strcmp(name, mqtt_rs_name) == 0);
        text_fini(&ours);
    }
    return known;
}

/* Everything with MQTT_RS_ was meant for a broker; of PULSE_ only what is close to a name of
 * ours. */
static void warn_if_unknown(const char *entry, struct text *warnings)
{
    struct slice all = slice_text(entry);
    bool mqtt_rs = slice_starts_with(all, "MQTT_RS_");
    if (!mqtt_rs && !slice_starts_with(all, "PULSE_")) {
        return;
    }
    struct text name = {0};
    text_add_bytes(&name, entry, strcspn(entry, "="));
    struct config_guess guess = {.word = name.data};
    if (!is_known(name.data, &guess) && (mqtt_rs || guess.best.len > 0)) {
        text_add(warnings, "pulse: ignored the unknown environment variable ");
        text_add_json(warnings, slice_of(name.data, name.len));
        config__guess_finish(&guess, warnings);
        text_add(warnings, "\n");
    }
    text_fini(&guess.best);
    text_fini(&name);
}

void config__environment_read(struct config_settings *settings, char *const *environment,
                              struct text *warnings)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        struct text name = {0};
        config__option_add_env(option, &name);
        bool found = add(settings, option, environment, name.data) ||
                     (option->mqtt_rs_name != NULL &&
                      add(settings, option, environment, option->mqtt_rs_name));
        if (!found && i == CONFIG_OPTION_observability_log) {
            add_rust_log(settings, environment, warnings);
        }
        text_fini(&name);
    }
    for (size_t i = 0; environment[i] != NULL; i++) {
        warn_if_unknown(environment[i], warnings);
    }
}
