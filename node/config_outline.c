/*
 * libcyaml fills a struct, but says neither where a good value stood nor which key a bad one
 * belongs to in words for people. So the same text is read once before, with the YAML parser that
 * libcyaml uses itself.
 */
#include "node/config_source_priv.h"

#include <yaml.h>

#include "base/mem.h"

/* What is being read. */
struct outline {
    yaml_document_t document;
    const char *name; /* of the file, printable */
    struct config_outline *result;
    size_t section_lines[CONFIG_SECTION_COUNT];
    size_t list_lines[CONFIG_LIST_COUNT];
    size_t bytes; /* of all values, aliases followed */
    struct text *error;
};

static size_t line_of(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}

/* Starts an error: `name:line: `. */
static struct text *complain(struct outline *outline, const yaml_node_t *node)
{
    text_printf(outline->error, "%s:%zu: ", outline->name, line_of(node));
    return outline->error;
}

static bool is_null(const yaml_node_t *node)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; node->type == YAML_SCALAR_NODE && i < ARRAY_COUNT(words); i++) {
        if (strcmp((const char *)node->data.scalar.value, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A key as text, or NULL when it is not a plain word. */
static const char *key_text(const yaml_node_t *node)
{
    bool word = node->type == YAML_SCALAR_NODE &&
                strlen((const char *)node->data.scalar.value) == node->data.scalar.length;
    return word ? (const char *)node->data.scalar.value : NULL;
}

/* Ends an error about a word that is not known. Only what may be a key is shown of it: one blank
 * too few, as in {password:secret}, makes a key of a value. */
static enum err refuse_word(struct outline *outline, const char *what, const char *word,
                            struct config_guess *guess)
{
    const size_t shown_max = 100;
    size_t len = strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                              "_-.[]<");
    bool all = word[len] == '\0' && len <= shown_max;
    text_printf(outline->error, "unknown %s \"%.*s%s\"", what,
                (int)(len <= shown_max ? len : shown_max), word, all ? "" : "...");
    config__guess_finish(guess, outline->error);
    return ERR_SYNTAX;
}

/* Guesses what `key` may have been meant for. A key of an option in the wrong section is found too.
 */
static void guess_key(struct config_guess *guess, const char *key)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        config__guess_offer(guess, config__options[i].path);
    }
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        config__guess_offer(guess, config__lists[i].path);
    }
    for (size_t i = 0; i < CONFIG_OPTION_COUNT && guess->best.len == 0; i++) {
        if (strcmp(config__options[i].key, key) == 0) {
            text_add(&guess->best, config__options[i].path);
        }
    }
}

static enum err refuse_key(struct outline *outline, enum config_section section,
                           const yaml_node_t *node, const char *key)
{
    struct text path = {0};
    text_printf(&path, "%s.%s", config__section_path(section), key);
    struct config_guess guess = {.word = path.data};
    guess_key(&guess, key);
    complain(outline, node);
    refuse_word(outline, "key", path.data, &guess);
    text_fini(&path);
    return ERR_SYNTAX;
}

static enum err refuse_section(struct outline *outline, const yaml_node_t *node, const char *key)
{
    struct config_guess guess = {.word = key};
    for (enum config_section i = 0; i < CONFIG_SECTION_COUNT; i++) {
        config__guess_offer(&guess, config__section_path(i));
    }
    guess_key(&guess, key);
    complain(outline, node);
    return refuse_word(outline, "section", key, &guess);
}

/* Notes that `path` stands in the line of `node`; a second time is an error. */
static enum err note_line(struct outline *outline, const char *path, const yaml_node_t *node,
                          size_t *line)
{
    if (*line != 0) {
        text_printf(complain(outline, node), "%s: given twice, first in line %zu", path, *line);
        return ERR_SYNTAX;
    }
    *line = line_of(node);
    return ERR_OK;
}

/* Values may be said once and used often by aliases, so the size of the file bounds nothing. */
static enum err check_value(struct outline *outline, const char *path, const yaml_node_t *key,
                            const yaml_node_t *value)
{
    if (key_text(value) == NULL) {
        text_printf(complain(outline, key), "%s: one value is expected here", path);
        return ERR_SYNTAX;
    }
    outline->bytes += value->data.scalar.length;
    if (outline->bytes > CONFIG_FILE_MAX) {
        text_printf(complain(outline, key), "%s: with its aliases the file is too long", path);
        return ERR_SYNTAX;
    }
    return ERR_OK;
}

static enum err read_option(struct outline *outline, const struct config_option *option,
                            const yaml_node_t *key, const yaml_node_t *value)
{
    size_t *line = &outline->result->options[option - config__options];
    enum err err = note_line(outline, option->path, key, line);
    return err == ERR_OK ? check_value(outline, option->path, key, value) : err;
}

/* ---- lists ----------------------------------------------------------------------------------- */

/* What belongs to the list at hand. */
struct list_reader {
    struct outline *outline;
    const struct config_list *list;
    size_t index;  /* of the entry */
    size_t *lines; /* of the entry */
};

/* "auth.users[3]", with ".key" unless it is NULL. */
static void add_entry_path(const struct list_reader *reader, const char *key, struct text *text)
{
    text_printf(text, "%s[%zu]%s%s", reader->list->path, reader->index, key == NULL ? "" : ".",
                key == NULL ? "" : key);
}

static enum err refuse_list_key(struct list_reader *reader, const yaml_node_t *node,
                                const char *key)
{
    struct text path = {0};
    struct config_guess guess = {.word = key};
    for (size_t i = 0; i < reader->list->key_count; i++) {
        config__guess_offer(&guess, reader->list->keys[i].key);
    }
    add_entry_path(reader, key, &path);
    complain(reader->outline, node);
    refuse_word(reader->outline, "key", path.data, &guess);
    text_fini(&path);
    return ERR_SYNTAX;
}

static enum err read_entry_pair(struct list_reader *reader, const yaml_node_t *key,
                                const yaml_node_t *value)
{
    const char *word = key_text(key);
    const struct config_option *option = word == NULL ? NULL : config__list_key(reader->list, word);
    if (word == NULL) {
        text_add(complain(reader->outline, key), "a key is expected here");
        return ERR_SYNTAX;
    }
    if (option == NULL) {
        return refuse_list_key(reader, key, word);
    }
    struct text path = {0};
    add_entry_path(reader, word, &path);
    size_t *line = &reader->lines[1 + (option - reader->list->keys)];
    enum err err = note_line(reader->outline, path.data, key, line);
    if (err == ERR_OK) {
        err = check_value(reader->outline, path.data, key, value);
    }
    if (err == ERR_OK && is_null(value) && option->initial == NULL) {
        *line = 0; /* as if it were not there */
    }
    text_fini(&path);
    return err;
}

/* Are all keys there that must be? */
static enum err check_entry(struct list_reader *reader, const yaml_node_t *node)
{
    for (size_t i = 0; i < reader->list->key_count; i++) {
        if (reader->list->keys[i].initial == NULL && reader->lines[1 + i] == 0) {
            complain(reader->outline, node);
            add_entry_path(reader, NULL, reader->outline->error);
            text_printf(reader->outline->error, ": %s must be given", reader->list->keys[i].key);
            return ERR_SYNTAX;
        }
    }
    return ERR_OK;
}

static enum err read_entry(struct list_reader *reader, const yaml_node_t *node)
{
    enum err err = ERR_OK;
    yaml_document_t *document = &reader->outline->document;
    if (node->type != YAML_MAPPING_NODE) {
        complain(reader->outline, node);
        add_entry_path(reader, NULL, reader->outline->error);
        text_add(reader->outline->error, ": keys and values are expected here");
        return ERR_SYNTAX;
    }
    reader->lines[0] = line_of(node);
    for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top && err == ERR_OK; pair++) {
        err = read_entry_pair(reader, yaml_document_get_node(document, pair->key),
                              yaml_document_get_node(document, pair->value));
    }
    return err == ERR_OK ? check_entry(reader, node) : err;
}

static enum err read_list(struct outline *outline, const struct config_list *list,
                          const yaml_node_t *key, const yaml_node_t *value)
{
    size_t which = (size_t)(list - config__lists);
    enum err err = note_line(outline, list->path, key, &outline->list_lines[which]);
    if (err != ERR_OK || is_null(value)) {
        return err;
    }
    if (value->type != YAML_SEQUENCE_NODE) {
        text_printf(complain(outline, key),
                    "%s: a list is expected below it, each entry with a \"-\"", list->path);
        return ERR_SYNTAX;
    }
    const yaml_node_item_t *items = value->data.sequence.items.start;
    size_t count = (size_t)(value->data.sequence.items.top - items);
    if (count > list->entries_max) {
        text_printf(complain(outline, key), "%s: more than %zu entries", list->path,
                    list->entries_max);
        return ERR_SYNTAX;
    }
    size_t size = (count + 1) * sizeof(outline->result->lists[which].entries[0]);
    size_t(*entries)[1 + CONFIG_LIST_KEYS_MAX] = mem_try_alloc(size);
    if (entries == NULL) {
        text_printf(complain(outline, key), "%s", err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    memset(entries, 0, size);
    outline->result->lists[which].entries = entries;
    outline->result->lists[which].count = count;
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        struct list_reader reader = {
            .outline = outline, .list = list, .index = i, .lines = entries[i]};
        err = read_entry(&reader, yaml_document_get_node(&outline->document, items[i]));
    }
    return err;
}

/* ---- sections -------------------------------------------------------------------------------- */

static enum err each_pair(struct outline *outline, enum config_section section,
                          const yaml_node_t *map);

/* Reads what stands below the key of a section. */
static enum err read_section(struct outline *outline, enum config_section section,
                             const yaml_node_t *key, const yaml_node_t *value)
{
    const char *path = config__section_path(section);
    enum err err = note_line(outline, path, key, &outline->section_lines[section]);
    if (err != ERR_OK || is_null(value)) {
        return err;
    }
    if (value->type != YAML_MAPPING_NODE) {
        text_printf(complain(outline, key), "%s: keys and values are expected below it", path);
        return ERR_SYNTAX;
    }
    return each_pair(outline, section, value);
}

/* A pair below `parent` is an option, a section or a list. */
static enum err read_pair(struct outline *outline, enum config_section parent,
                          const yaml_node_t *key, const yaml_node_t *value)
{
    const char *word = key_text(key);
    if (word == NULL) {
        text_add(complain(outline, key), "a key is expected here");
        return ERR_SYNTAX;
    }
    const struct config_option *option = config__option_find(parent, word);
    const struct config_list *list = config__list_find(parent, word);
    enum config_section section = config__section_find(parent, word);
    if (option != NULL) {
        return read_option(outline, option, key, value);
    }
    if (list != NULL) {
        return read_list(outline, list, key, value);
    }
    if (section != CONFIG_SECTION_COUNT) {
        return read_section(outline, section, key, value);
    }
    return parent == CONFIG_SECTION_ROOT ? refuse_section(outline, key, word)
                                         : refuse_key(outline, parent, key, word);
}

/* Reads what stands in `section`, and stops at an error. */
static enum err each_pair(struct outline *outline, enum config_section section,
                          const yaml_node_t *map)
{
    enum err err = ERR_OK;
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start;
         pair < map->data.mapping.pairs.top && err == ERR_OK; pair++) {
        err = read_pair(outline, section, yaml_document_get_node(&outline->document, pair->key),
                        yaml_document_get_node(&outline->document, pair->value));
    }
    return err;
}

static enum err read_root(struct outline *outline, const yaml_node_t *root)
{
    if (root->type != YAML_MAPPING_NODE) {
        text_printf(complain(outline, root), "a section such as \"%s:\" is expected here",
                    config__section_path(0));
        return ERR_SYNTAX;
    }
    return each_pair(outline, CONFIG_SECTION_ROOT, root);
}

/* ---- the text -------------------------------------------------------------------------------- */

/* Reports what is not YAML. */
static enum err refuse_text(const yaml_parser_t *parser, struct outline *outline)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        text_printf(outline->error, "%s: %s", outline->name, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    /* The scanner notices at the end what began earlier; the reader knows bytes, not lines. */
    bool begun = parser->error == YAML_SCANNER_ERROR && parser->context != NULL;
    const yaml_mark_t *mark = begun ? &parser->context_mark : &parser->problem_mark;
    if (parser->error == YAML_READER_ERROR) {
        text_printf(outline->error, "%s: at byte %zu: ", outline->name, parser->problem_offset);
    } else {
        text_printf(outline->error, "%s:%zu: ", outline->name, mark->line + 1);
    }
    text_printf(outline->error, "this is not YAML: %s",
                parser->problem == NULL ? "syntax error" : parser->problem);
    return ERR_SYNTAX;
}

/* Loads one document; its root is NULL at the end of the text. On ERR_OK, end it. */
static enum err load(yaml_parser_t *parser, struct outline *outline, yaml_node_t **root)
{
    if (!yaml_parser_load(parser, &outline->document)) {
        return refuse_text(parser, outline);
    }
    *root = yaml_document_get_root_node(&outline->document);
    return ERR_OK;
}

/* After the first document there must be nothing. */
static enum err read_end(yaml_parser_t *parser, struct outline *outline)
{
    yaml_node_t *root = NULL;
    enum err err = load(parser, outline, &root);
    if (err != ERR_OK) {
        return err;
    }
    if (root != NULL) {
        text_add(complain(outline, root), "a second document is not read; keep all in one");
        err = ERR_SYNTAX;
    }
    yaml_document_delete(&outline->document);
    return err;
}

enum err config__outline_read(struct slice text, const char *name, struct config_outline *result,
                              struct text *error)
{
    struct outline outline = {.name = name, .result = result, .error = error};
    yaml_parser_t parser;
    yaml_node_t *root = NULL;
    *result = (struct config_outline){0};
    if (!yaml_parser_initialize(&parser)) {
        text_printf(error, "%s: %s", name, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    yaml_parser_set_input_string(&parser, text.data, text.len);
    enum err err = load(&parser, &outline, &root);
    if (err == ERR_OK) {
        bool empty = root == NULL;
        err = empty ? ERR_OK : read_root(&outline, root);
        yaml_document_delete(&outline.document);
        err = err != ERR_OK || empty ? err : read_end(&parser, &outline);
    }
    yaml_parser_delete(&parser);
    return err;
}

void config__outline_fini(struct config_outline *outline)
{
    for (size_t i = 0; i < CONFIG_LIST_COUNT; i++) {
        mem_free(outline->lists[i].entries);
    }
    *outline = (struct config_outline){0};
}
