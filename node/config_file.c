/*
 * All scalars are read as optional strings, because libcyaml takes `10s` for the number 10, `010`
 * for 8 and `maybe` for a yes; config_value.c is strict. Every mapping and string is a pointer that
 * may be NULL, so that an empty section and an absent key are told from a value.
 */
#include "node/config_source_priv.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stddef.h>
#include <stdio.h>

#include "base/mem.h"

/* What libcyaml fills; whatever is not there stays NULL. */
struct raw_entry {
    char *words[CONFIG_LIST_KEYS_MAX];
};

struct raw_list {
    struct raw_entry *entries;
    uint32_t count;
};

/* The file, or a section of it. Each holds only some of all these. */
struct raw_map {
    char *words[CONFIG_OPTION_COUNT];
    struct raw_list lists[CONFIG_LIST_COUNT];
    struct raw_map *sections[CONFIG_SECTION_COUNT];
};

#define MAP_ROWS (CONFIG_OPTION_COUNT + CONFIG_LIST_COUNT + CONFIG_SECTION_COUNT + 1)

/* The schema, made from the tables. Rows end with one whose key is NULL. */
struct schema {
    cyaml_schema_field_t maps[CONFIG_SECTION_COUNT + 1][MAP_ROWS]; /* the last is the file's */
    cyaml_schema_field_t entries[CONFIG_LIST_COUNT][CONFIG_LIST_KEYS_MAX + 1];
    cyaml_schema_value_t entry_values[CONFIG_LIST_COUNT];
    size_t rows[CONFIG_SECTION_COUNT + 1]; /* of `maps` */
    cyaml_schema_value_t root;
};

/* Not CYAML_FLAG_POINTER: `log:` with nothing behind it would be an error. */
#define OPTIONAL (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER_NULL_STR)

/* The next free row of the map of `section`. */
static cyaml_schema_field_t *next_row(struct schema *schema, enum config_section section)
{
    return &schema->maps[section][schema->rows[section]++];
}

static cyaml_schema_field_t text_row(const char *key, size_t offset)
{
    return (cyaml_schema_field_t){
        .key = key,
        .data_offset = (uint32_t)offset,
        .value = {CYAML_VALUE_STRING(OPTIONAL, char, 0, CYAML_UNLIMITED)}};
}

static void add_list(struct schema *schema, size_t index)
{
    const struct config_list *list = &config__lists[index];
    size_t offset = offsetof(struct raw_map, lists) + index * sizeof(struct raw_list);
    for (size_t i = 0; i < list->key_count; i++) {
        schema->entries[index][i] =
            text_row(list->keys[i].key, offsetof(struct raw_entry, words) + i * sizeof(char *));
    }
    schema->entry_values[index] = (cyaml_schema_value_t){
        CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_entry, schema->entries[index])};
    *next_row(schema, list->section) = (cyaml_schema_field_t){
        .key = list->key,
        .data_offset = (uint32_t)(offset + offsetof(struct raw_list, entries)),
        .count_offset = (uint32_t)(offset + offsetof(struct raw_list, count)),
        .count_size = sizeof(uint32_t),
        .value = {CYAML_VALUE_SEQUENCE(OPTIONAL, struct raw_entry, &schema->entry_values[index], 0,
                                       (uint32_t)list->entries_max)},
    };
}

static void schema_init(struct schema *schema)
{
    memset(schema, 0, sizeof(*schema));
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        *next_row(schema, config__options[i].section) =
            text_row(config__options[i].key, offsetof(struct raw_map, words) + i * sizeof(char *));
    }
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        add_list(schema, i);
    }
    for (enum config_section i = 0; i < CONFIG_SECTION_COUNT; i++) {
        *next_row(schema, config__section_parent(i)) = (cyaml_schema_field_t){
            .key = config__section_key(i),
            .data_offset = (uint32_t)(offsetof(struct raw_map, sections) + i * sizeof(void *)),
            .value = {CYAML_VALUE_MAPPING(OPTIONAL, struct raw_map, schema->maps[i])},
        };
    }
    schema->root = (cyaml_schema_value_t){
        CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_map, schema->maps[CONFIG_SECTION_ROOT])};
}

/* What stands before each block of libcyaml. */
struct block {
    _Alignas(max_align_t) size_t room;
};

static void raw_free(struct block *block)
{
    if (block != NULL) {
        OPENSSL_cleanse(block + 1, block->room); /* there are passwords in it */
        mem_free(block);
    }
}

/* Memory for libcyaml, which asks for one more for each entry of a list: what grows, doubles. */
static void *raw_resize(void *context, void *data, size_t size)
{
    struct block *old = data == NULL ? NULL : (struct block *)data - 1;
    size_t room = old == NULL ? 0 : old->room;
    (void)context;
    if (size == 0) {
        raw_free(old);
        return NULL;
    }
    if (size <= room) {
        return data;
    }
    size_t wanted = size > room * 2 ? size : room * 2;
    struct block *block = mem_try_alloc(sizeof(*block) + wanted);
    if (block == NULL) {
        return NULL;
    }
    block->room = wanted;
    if (old != NULL) {
        memcpy(block + 1, data, room);
    }
    raw_free(old);
    return block + 1;
}

/* libcyaml logs an error as its reason, then a trail; the first line is the one for people. */
static void keep_first_line(cyaml_log_t level, void *context, const char *format, va_list args)
{
    struct text *reason = context;
    char line[256];
    (void)level;
    if (reason->len == 0) {
        vsnprintf(line, sizeof(line), format, args);
        text_add_json(reason, slice_of(line, strcspn(line, "\n")));
    }
}

/* What is turned into settings. */
struct reader {
    struct config_settings *settings;
    const struct config_outline *outline;
    const char *name; /* of the file, printable */
};

static void add_setting(const struct reader *reader, struct config_setting setting, size_t line)
{
    struct text place = {0};
    text_printf(&place, "%s:%zu", reader->name, line);
    setting.origin = CONFIG_FILE;
    setting.place = place.data;
    config__settings_add(reader->settings, setting);
    text_fini(&place);
}

static void add_entries(const struct reader *reader, size_t index, const struct raw_list *raw)
{
    const struct config_list *list = &config__lists[index];
    for (size_t i = 0; i < raw->count; i++) {
        const size_t *lines = reader->outline->lists[index].entries[i];
        add_setting(reader, (struct config_setting){.list = list}, lines[0]);
        for (size_t k = 0; k < list->key_count; k++) {
            if (raw->entries[i].words[k] != NULL) {
                struct config_setting setting = {
                    .list = list, .option = &list->keys[k], .words = raw->entries[i].words[k]};
                add_setting(reader, setting, lines[1 + k]);
            }
        }
    }
}

/* Adds all of `map` and the sections in it. */
static void add_map(const struct reader *reader, const struct raw_map *map)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        if (map->words[i] != NULL) {
            struct config_setting setting = {.option = &config__options[i], .words = map->words[i]};
            add_setting(reader, setting, reader->outline->options[i]);
        }
    }
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        add_entries(reader, i, &map->lists[i]);
    }
    for (size_t i = 0; i < CONFIG_SECTION_COUNT; i++) {
        if (map->sections[i] != NULL) {
            add_map(reader, map->sections[i]);
        }
    }
}

static enum err fill(const struct reader *reader, struct slice text, struct text *error)
{
    struct text reason = {0};
    struct raw_map *raw = NULL;
    struct schema *schema = mem_alloc(sizeof(*schema));
    enum err err = ERR_OK;
    schema_init(schema);
    const cyaml_config_t library = {.log_fn = keep_first_line,
                                    .log_ctx = &reason,
                                    .log_level = CYAML_LOG_WARNING,
                                    .mem_fn = raw_resize};
    cyaml_err_t code =
        cyaml_load_data(text.data, text.len, &library, &schema->root, (cyaml_data_t **)&raw, NULL);
    if (code != CYAML_OK) {
        text_printf(error, "%s: %s", reader->name,
                    reason.len > 0 ? reason.data : cyaml_strerror(code));
        err = ERR_SYNTAX;
    } else if (raw != NULL) { /* NULL: nothing but comments */
        add_map(reader, raw);
    }
    cyaml_free(&library, &schema->root, raw, 0);
    mem_free(schema);
    text_fini(&reason);
    return err;
}

static enum err read_text(struct config_settings *settings, struct slice text, const char *name,
                          struct text *error)
{
    struct config_outline outline;
    enum err err = config__outline_read(text, name, &outline, error);
    if (err == ERR_OK) {
        const struct reader reader = {.settings = settings, .outline = &outline, .name = name};
        err = fill(&reader, text, error);
    }
    config__outline_fini(&outline);
    return err;
}

/* Reads at most `size` bytes; errno is 0 unless it failed. */
static size_t slurp(const char *path, char *buffer, size_t size)
{
    size_t len = 0;
    errno = 0;
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        len = fread(buffer, 1, size, file);
        int failure = ferror(file) ? errno : 0;
        fclose(file);
        errno = failure;
    }
    return len;
}

enum err config__file_read(struct config_settings *settings, const char *path, struct text *error)
{
    enum err err = ERR_IO;
    struct text name = {0};
    char *buffer = mem_try_alloc(CONFIG_FILE_MAX + 1);
    if (buffer == NULL) {
        text_add(error, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    text_add_json(&name, slice_text(path));
    size_t len = slurp(path, buffer, CONFIG_FILE_MAX + 1);
    if (errno != 0) {
        text_printf(error, "cannot read %s: %s", name.data, strerror(errno));
    } else if (len > CONFIG_FILE_MAX) {
        text_printf(error, "%s: larger than %d bytes", name.data, CONFIG_FILE_MAX);
    } else {
        err = read_text(settings, slice_of(buffer, len), name.data, error);
    }
    text_fini(&name);
    OPENSSL_cleanse(buffer, len); /* there may be passwords in it */
    mem_free(buffer);
    return err;
}
