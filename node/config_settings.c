#include "node/config_source_priv.h"

#include "base/mem.h"

void config__settings_fini(struct config_settings *settings)
{
    for (size_t i = 0; i < settings->count; i++) {
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
    setting.words = mem_copy_text(setting.words, strlen(setting.words));
    setting.place = mem_copy_text(setting.place, strlen(setting.place));
    settings->items[settings->count++] = setting;
}
