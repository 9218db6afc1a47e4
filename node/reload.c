#include "node/reload.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/broker.h"
#include "node/listener.h"

/* What is read before anything is changed. */
struct fresh {
    struct config *config;
    struct tls_context **tls;
    struct auth_settings_made auth_settings;
};

static void config_destroy(struct config *config)
{
    if (config != NULL) {
        config_fini(config);
        mem_free(config);
    }
}

/* What the configuration complains of goes to the log, line by line. */
static void log_complaints(const char *words, bool good)
{
    while (*words != '\0') {
        size_t len = strcspn(words, "\n");
        if (good) {
            log_warning(LOG_CONFIG, "reload", log_slice("says", slice_of(words, len)));
        } else {
            log_error(LOG_CONFIG, "reload", log_slice("says", slice_of(words, len)));
        }
        words += len + (words[len] == '\n');
    }
}

static enum err read_config(const struct reload *reload, struct config **out)
{
    char *words = NULL;
    size_t len = 0;
    FILE *complaints = open_memstream(&words, &len);
    if (complaints == NULL) {
        return ERR_MEMORY;
    }
    struct config *config = mem_alloc(sizeof(*config));
    bool good = config_reload(config, reload->argc, reload->argv, reload->environment,
                              complaints) == CONFIG_RUN;
    fclose(complaints);
    log_complaints(words, good);
    free(words);
    if (!good) {
        config_destroy(config);
        return ERR_INVALID;
    }
    *out = config;
    return ERR_OK;
}

static enum err replace_auth(struct broker *broker, struct fresh *fresh)
{
    if (broker->auth == NULL) {
        return ERR_OK; /* to switch it on takes a restart: say_what_stays says so */
    }
    if (!fresh->config->auth_enabled) { /* nor must users be replaced by none */
        log_error(LOG_AUTH, "auth.enabled can't become false without a restart");
        return ERR_INVALID;
    }
    struct text error = {0};
    enum err err = auth_settings_make(fresh->config, &fresh->auth_settings, &error);
    if (err == ERR_OK) {
        err = auth_reload(broker->auth, &fresh->auth_settings.settings, &error);
    }
    if (err != ERR_OK) {
        log_error(LOG_AUTH, "reload", log_text("error", error.data));
    }
    text_fini(&error);
    return err;
}

static void say_what_stays(const struct config *running, const struct config *fresh)
{
    struct text paths = {0};
    config_reload_changes(running, fresh, &paths);
    if (paths.len > 0) {
        log_warning(LOG_CONFIG, "changed, but only in effect after a restart",
                    log_text("options", paths.data));
    }
    text_fini(&paths);
}

static enum err change(struct reload *reload, struct broker *broker, struct fresh *fresh)
{
    enum err err = read_config(reload, &fresh->config);
    if (err == ERR_OK) {
        err = listener_read_tls(broker, fresh->config, &fresh->tls);
    }
    if (err != ERR_OK) {
        return err;
    }
    err = replace_auth(broker, fresh);
    if (err != ERR_OK) {
        listener_drop_tls(broker, fresh->tls);
        return err;
    }
    listener_use_tls(broker, fresh->tls);
    return ERR_OK;
}

enum err reload_now(struct reload *reload, struct broker *broker)
{
    struct fresh fresh = {.config = NULL};
    enum err err = change(reload, broker, &fresh);
    if (err != ERR_OK) {
        log_error(LOG_CONFIG, "reload refused: everything stays as it was");
        auth_settings_fini(&fresh.auth_settings);
        config_destroy(fresh.config);
        return err;
    }
    say_what_stays(broker->config, fresh.config);
    auth_settings_fini(&reload->auth_settings);
    config_destroy(reload->latest);
    reload->latest = fresh.config;
    reload->auth_settings = fresh.auth_settings;
    broker_recheck(broker);
    if (log_set_filter(fresh.config->observability_log) != ERR_OK) {
        log_error(LOG_CONFIG, "log levels stay as they were"); /* can't be: it was checked */
    }
    log_notice(LOG_CONFIG, "reloaded");
    return ERR_OK;
}

void reload_fini(struct reload *reload)
{
    auth_settings_fini(&reload->auth_settings);
    config_destroy(reload->latest);
}
