#include "node/config_source_priv.h"

#include <openssl/crypto.h>

#include "base/mem.h"

void config__settings_fini(struct config_settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (settings->items[i].words != NULL) { /* it may be a secret */
            OPENSSL_cleanse(settings->items[i].words, strlen(settings->items[i].words));
        }
        mem_free(settings->items[i].words);
        mem_free(settings->items[i].place);
    }
    mem_free(settings->items);
    *settings = (struct config_settings){0};
}

void config__settings_add(struct config_settings *settings, struct config_setting setting)
{
    if (settings->count == settings->cap) {
        settings->cap = settings->cap * 2 + 16;
        settings->items = mem_resize(settings->items, settings->cap * sizeof(settings->items[0]));
    }
    if (setting.words != NULL) {
        setting.words = mem_copy_text(setting.words, strlen(setting.words));
    }
    setting.place = mem_copy_text(setting.place, strlen(setting.place));
    settings->items[settings->count++] = setting;
}

/* Borrows the last setting of the option of that index from `from` on, or NULL. */
static const struct config_setting *find_last(const struct config_settings *settings, size_t from,
                                              size_t option)
{
    for (size_t i = settings->count; i > from; i--) {
        if (settings->items[i - 1].option == &config__options[option]) {
            return &settings->items[i - 1];
        }
    }
    return NULL;
}

void config__settings_imply_engine(struct config_settings *settings, size_t from)
{
    static const struct {
        size_t option;
        const char *engine;
    } places[] = {{CONFIG_OPTION_storage_sqlite, "sqlite"},
                  {CONFIG_OPTION_storage_mysql, "mysql"},
                  {CONFIG_OPTION_storage_wal_dir, "wal"}};
    struct config_setting implied = {.option = &config__options[CONFIG_OPTION_storage_engine]};
    if (find_last(settings, from, CONFIG_OPTION_storage_engine) != NULL) {
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        const struct config_setting *given = find_last(settings, from, places[i].option);
        if (given != NULL && strcmp(given->words, "off") != 0) {
            implied.words = (char *)places[i].engine;
            implied.origin = given->origin;
            implied.place = given->place;
        }
    }
    if (implied.words != NULL) {
        config__settings_add(settings, implied);
    }
}
