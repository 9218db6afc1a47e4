/*
 * All scalars are read as optional strings, because libcyaml takes `10s` for the number 10, `010`
 * for 8 and `maybe` for a yes; config_value.c is strict. Every mapping and string is a pointer that
 * may be NULL, so that an empty section and an absent key are told from a value.
 */
#include "node/config_source_priv.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"

/* What libcyaml fills: one array of strings for each section, indexed by option; the others stay
 * NULL. */
struct raw_section {
    char *words[CONFIG_OPTION_COUNT];
};

struct raw {
    struct raw_section *sections[CONFIG_SECTION_COUNT];
};

/* The schema, made from the table of options. */
struct schema {
    cyaml_schema_field_t keys[CONFIG_SECTION_COUNT][CONFIG_OPTION_COUNT + 1];
    cyaml_schema_field_t sections[CONFIG_SECTION_COUNT + 1];
    cyaml_schema_value_t root;
};

/* Not CYAML_FLAG_POINTER: `log:` with nothing behind it would be an error. */
#define OPTIONAL (CYAML_FLAG_OPTIONAL | CYAML_FLAG_POINTER_NULL_STR)

/* Lists are ended by a row whose key is NULL, which the zeroed schema already has. */
static void schema_init(struct schema *schema)
{
    size_t counts[CONFIG_SECTION_COUNT] = {0};
    memset(schema, 0, sizeof(*schema));
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        enum config_section section = config__options[i].section;
        schema->keys[section][counts[section]++] = (cyaml_schema_field_t){
            .key = config__options[i].key,
            .data_offset = (uint32_t)(offsetof(struct raw_section, words) + i * sizeof(char *)),
            .value = {CYAML_VALUE_STRING(OPTIONAL, char, 0, CYAML_UNLIMITED)},
        };
    }
    for (size_t i = 0; i < CONFIG_SECTION_COUNT; i++) {
        schema->sections[i] = (cyaml_schema_field_t){
            .key = config__section_name((enum config_section)i),
            .data_offset = (uint32_t)(offsetof(struct raw, sections) + i * sizeof(void *)),
            .value = {CYAML_VALUE_MAPPING(OPTIONAL, struct raw_section, schema->keys[i])},
        };
    }
    schema->root = (cyaml_schema_value_t){
        CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw, schema->sections)};
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

static void add_settings(struct config_settings *settings, const struct raw *raw, const char *name,
                         const size_t lines[])
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        const struct config_option *option = &config__options[i];
        const struct raw_section *section = raw->sections[option->section];
        if (section == NULL || section->words[i] == NULL) {
            continue;
        }
        struct text place = {0};
        text_printf(&place, "%s:%zu", name, lines[i]);
        config__settings_add(settings, (struct config_setting){.option = option,
                                                               .origin = CONFIG_FILE,
                                                               .words = section->words[i],
                                                               .place = place.data});
        text_fini(&place);
    }
}

static enum err read_text(struct config_settings *settings, struct slice text, const char *name,
                          struct text *error)
{
    size_t lines[CONFIG_OPTION_COUNT];
    struct schema schema;
    struct text reason = {0};
    struct raw *raw = NULL;
    enum err err = config__outline_read(text, name, lines, error);
    if (err != ERR_OK) {
        return err;
    }
    schema_init(&schema);
    const cyaml_config_t library = {.log_fn = keep_first_line,
                                    .log_ctx = &reason,
                                    .log_level = CYAML_LOG_WARNING,
                                    .mem_fn = cyaml_mem};
    cyaml_err_t code =
        cyaml_load_data(text.data, text.len, &library, &schema.root, (cyaml_data_t **)&raw, NULL);
    if (code != CYAML_OK) {
        text_printf(error, "%s: %s", name, reason.len > 0 ? reason.data : cyaml_strerror(code));
        err = ERR_SYNTAX;
    } else if (raw != NULL) { /* NULL: nothing but comments */
        add_settings(settings, raw, name, lines);
    }
    cyaml_free(&library, &schema.root, raw, 0);
    text_fini(&reason);
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
    mem_free(buffer);
    return err;
}
