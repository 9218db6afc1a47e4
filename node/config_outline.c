/*
 * libcyaml fills a struct, but says neither where a good value stood nor which key a bad one
 * belongs to in words for people. So the same text is read once before, with the YAML parser that
 * libcyaml uses itself.
 */
#include "node/config_source_priv.h"

#include <yaml.h>

struct outline {
    yaml_document_t document;
    const char *name; /* of the file, printable */
    size_t *lines;    /* by option, the result */
    size_t section_lines[CONFIG_SECTION_COUNT];
    enum config_section section; /* the one at hand */
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

/* Guesses what `key` may have been meant for. A key of an option in the wrong section is found too.
 */
static void guess_key(struct config_guess *guess, const char *key)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        config__guess_offer(guess, config__options[i].path);
    }
    for (size_t i = 0; i < CONFIG_OPTION_COUNT && guess->best.len == 0; i++) {
        if (strcmp(config__options[i].key, key) == 0) {
            text_add(&guess->best, config__options[i].path);
        }
    }
}

static enum err refuse_key(struct outline *outline, const yaml_node_t *node, const char *key)
{
    struct text path = {0};
    text_printf(&path, "%s.%s", config__section_name(outline->section), key);
    struct config_guess guess = {.word = path.data};
    guess_key(&guess, key);
    text_add(complain(outline, node), "unknown key \"");
    text_add_json(outline->error, slice_of(path.data, path.len < 100 ? path.len : 100));
    text_add(outline->error, "\"");
    config__guess_finish(&guess, outline->error);
    text_fini(&path);
    return ERR_SYNTAX;
}

static enum err refuse_section(struct outline *outline, const yaml_node_t *node, const char *key)
{
    size_t len = strlen(key);
    struct config_guess guess = {.word = key};
    for (enum config_section i = 0; i < CONFIG_SECTION_COUNT; i++) {
        config__guess_offer(&guess, config__section_name(i));
    }
    guess_key(&guess, key);
    text_add(complain(outline, node), "unknown section \"");
    text_add_json(outline->error, slice_of(key, len < 100 ? len : 100));
    text_add(outline->error, "\"");
    config__guess_finish(&guess, outline->error);
    return ERR_SYNTAX;
}

static enum err read_option(struct outline *outline, const yaml_node_t *key,
                            const yaml_node_t *value)
{
    const char *word = key_text(key);
    const struct config_option *option = config__option_find(outline->section, word);
    if (option == NULL) {
        return refuse_key(outline, key, word);
    }
    size_t *line = &outline->lines[option - config__options];
    if (*line != 0) {
        text_printf(complain(outline, key), "%s: given twice, first in line %zu", option->path,
                    *line);
        return ERR_SYNTAX;
    }
    if (key_text(value) == NULL) {
        text_printf(complain(outline, key), "%s: one value is expected here", option->path);
        return ERR_SYNTAX;
    }
    *line = line_of(key);
    return ERR_OK;
}

static enum err read_section(struct outline *outline, const yaml_node_t *key,
                             const yaml_node_t *value)
{
    const char *name = key_text(key);
    outline->section = config__section_find(name);
    if (outline->section == CONFIG_SECTION_COUNT) {
        return refuse_section(outline, key, name);
    }
    size_t *line = &outline->section_lines[outline->section];
    if (*line != 0) {
        text_printf(complain(outline, key), "%s: given twice, first in line %zu", name, *line);
        return ERR_SYNTAX;
    }
    *line = line_of(key);
    if (value->type != YAML_MAPPING_NODE && !is_null(value)) {
        text_printf(complain(outline, key), "%s: keys and values are expected below it", name);
        return ERR_SYNTAX;
    }
    return ERR_OK;
}

/* Calls `read` for each key and value of `map`, and stops at an error. */
static enum err each_pair(struct outline *outline, const yaml_node_t *map,
                          enum err (*read)(struct outline *, const yaml_node_t *,
                                           const yaml_node_t *))
{
    enum err err = ERR_OK;
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start;
         pair < map->data.mapping.pairs.top && err == ERR_OK; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&outline->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&outline->document, pair->value);
        if (key_text(key) == NULL) {
            text_add(complain(outline, key), "a key is expected here");
            return ERR_SYNTAX;
        }
        err = read(outline, key, value);
        if (err == ERR_OK && read == read_section && value->type == YAML_MAPPING_NODE) {
            err = each_pair(outline, value, read_option);
        }
    }
    return err;
}

static enum err read_root(struct outline *outline, const yaml_node_t *root)
{
    if (root->type != YAML_MAPPING_NODE) {
        text_printf(complain(outline, root), "a section such as \"%s:\" is expected here",
                    config__section_name(0));
        return ERR_SYNTAX;
    }
    return each_pair(outline, root, read_section);
}

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

enum err config__outline_read(struct slice text, const char *name,
                              size_t lines[static CONFIG_OPTION_COUNT], struct text *error)
{
    struct outline outline = {.name = name, .lines = lines, .error = error};
    yaml_parser_t parser;
    yaml_node_t *root = NULL;
    if (!yaml_parser_initialize(&parser)) {
        text_printf(error, "%s: %s", name, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    memset(lines, 0, CONFIG_OPTION_COUNT * sizeof(lines[0]));
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
