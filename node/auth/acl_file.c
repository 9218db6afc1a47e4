#include "node/auth/acl_file_priv.h"

#include "base/mem.h"
#include "base/whole_file.h"
#include "codec/topic.h"

/* ---- words of a line ------------------------------------------------------------------------- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

void acl__skip_blanks(struct slice *line)
{
    while (line->len > 0 && is_blank(line->data[0])) {
        *line = slice_from(*line, 1);
    }
}

/* A word in quotation marks, with \" and \\ in it; `*line` begins behind the first mark. The word
 * is put where it stood, without the backslashes. */
static const char *quoted_word(struct slice *line, uint8_t *to, struct slice *word)
{
    size_t len = 0;
    for (size_t i = 0; i < line->len; i++) {
        uint8_t byte = line->data[i];
        if (byte == '"') {
            *word = slice_of(to, len);
            *line = slice_from(*line, i + 1);
            bool ends = line->len == 0 || is_blank(line->data[0]);
            return ends ? NULL : "there must be a blank behind the closing \"";
        }
        if (byte == '\\') {
            i++;
            if (i == line->len || (line->data[i] != '"' && line->data[i] != '\\')) {
                return "between \" there may be \\\" and \\\\, no other backslash";
            }
            byte = line->data[i];
        }
        to[len++] = byte;
    }
    return "the closing \" is missing";
}

/* The next word; empty at the end of the line. `*quoted`: it was in quotation marks. */
static const char *next_word(struct acl__reader *reader, struct slice *line, struct slice *word,
                             bool *quoted)
{
    acl__skip_blanks(line);
    *quoted = line->len > 0 && line->data[0] == '"';
    if (*quoted) {
        *line = slice_from(*line, 1);
        return quoted_word(line, reader->copy + (line->data - reader->text.data), word);
    }
    size_t len = 0;
    while (len < line->len && !is_blank(line->data[len])) {
        if (line->data[len] == '"') {
            return "a \" may only begin and end a word";
        }
        len++;
    }
    *word = slice_of(line->data, len);
    *line = slice_from(*line, len);
    return NULL;
}

/* ---- our own format -------------------------------------------------------------------------- */

#define WORDS_MAX 5

static bool is_word(struct slice word, const char *wanted)
{
    return slice_equal(word, slice_text(wanted));
}

static bool permission_of(struct slice word, enum acl_permission *permission)
{
#define X(constant, text)       \
    if (is_word(word, text)) {  \
        *permission = constant; \
        return true;            \
    }
    ACL_PERMISSIONS(X)
#undef X
    return false;
}

static bool action_of(struct slice word, enum acl_action *action)
{
#define X(constant, text)      \
    if (is_word(word, text)) { \
        *action = constant;    \
        return true;           \
    }
    ACL_ACTIONS(X)
#undef X
    return false;
}

/* Who a rule is for: takes one word or two from `*words`, which has at least two. */
static const char *read_who(struct slice **words, struct acl_rule *rule)
{
    struct slice kind = *(*words)++;
    if (is_word(kind, "all")) {
        return NULL;
    }
    if (is_word(kind, "anonymous")) {
        rule->anonymous = true;
        return NULL;
    }
    bool user = is_word(kind, "user");
    if (!user && !is_word(kind, "group")) {
        return "the second word must be all, anonymous, user or group";
    }
    struct slice name = *(*words)++;
    if (name.len == 0) {
        return "a name must not be empty";
    }
    *(user ? &rule->username : &rule->group) = name;
    return NULL;
}

static const char *read_rule(struct slice *words, size_t count, struct acl_rule *rule)
{
    const struct slice *end = words + count;
    if (!permission_of(*words++, &rule->permission)) {
        return "a rule begins with allow or deny";
    }
    if (count < 4) {
        return "a rule is: allow or deny, for whom, publish or subscribe or all, topic filter";
    }
    const char *complaint = read_who(&words, rule);
    if (complaint != NULL) {
        return complaint;
    }
    if (!action_of(*words++, &rule->action)) {
        return "behind whom it is for a rule has publish, subscribe or all";
    }
    if (words == end) {
        return "a topic filter is missing";
    }
    rule->filter = *words++;
    return words == end ? NULL : "there are words behind the topic filter; \"quote\" blanks";
}

static const char *native_line(struct acl__reader *reader, struct slice line)
{
    struct slice words[WORDS_MAX + 1] = {{.data = NULL}};
    size_t count = 0;
    bool quoted = false;
    while (count <= WORDS_MAX) {
        const char *complaint = next_word(reader, &line, &words[count], &quoted);
        if (complaint != NULL) {
            return complaint;
        }
        if (words[count].len == 0 && !quoted) {
            break;
        }
        count++;
    }
    if (is_word(words[0], "topic") || is_word(words[0], "pattern") || is_word(words[0], "user")) {
        return "a rule begins with allow or deny; "
               "a file of Mosquitto needs the first line: format mosquitto";
    }
    struct acl_rule rule = {.permission = ACL_DENY};
    const char *complaint = read_rule(words, count, &rule);
    return complaint != NULL ? complaint : acl__add(reader, reader->rules, &rule);
}

/* ---- lines ----------------------------------------------------------------------------------- */

const char *acl__add(struct acl__reader *reader, struct acl_rules *to, const struct acl_rule *rule)
{
    const char *complaint = acl_filter_complaint(rule->filter);
    if (complaint != NULL) {
        reader->err = ERR_SYNTAX;
        return complaint;
    }
    reader->err = acl_rules_add(to, rule);
    return reader->err == ERR_OK ? NULL : err_text(reader->err);
}

/* The next line without its end; false: there is none. */
static bool next_line(struct acl__reader *reader, struct slice *line)
{
    if (reader->rest.len == 0) {
        return false;
    }
    const uint8_t *end = memchr(reader->rest.data, '\n', reader->rest.len);
    size_t len = end != NULL ? (size_t)(end - reader->rest.data) : reader->rest.len;
    *line = slice_of(reader->rest.data, len);
    reader->rest = slice_from(reader->rest, end != NULL ? len + 1 : len);
    reader->line++;
    return true;
}

/* `format mosquitto` as the first line that says something. */
static bool is_format_line(struct slice line, const char **complaint)
{
    if (!slice_starts_with(line, "format") || (line.len > 6 && !is_blank(line.data[6]))) {
        return false;
    }
    line = slice_from(line, 6);
    acl__skip_blanks(&line);
    while (line.len > 0 && is_blank(line.data[line.len - 1])) {
        line.len--;
    }
    *complaint = is_word(line, "mosquitto") ? NULL : "the one other format is mosquitto";
    return true;
}

static const char *read_line(struct acl__reader *reader, struct slice line)
{
    if (!utf8_valid(line)) {
        return "not UTF-8, or a NUL";
    }
    bool comment = line.len > 0 && line.data[0] == '#';
    acl__skip_blanks(&line);
    if (line.len == 0 || comment || (line.data[0] == '#' && !reader->mosquitto)) {
        return NULL;
    }
    bool first = !reader->begun;
    reader->begun = true;
    const char *complaint = NULL;
    if (first && is_format_line(line, &complaint)) {
        reader->mosquitto = complaint == NULL;
        return complaint;
    }
    return reader->mosquitto ? acl__mosquitto_line(reader, line) : native_line(reader, line);
}

static enum err read_lines(struct acl__reader *reader, const char *name, struct text *error)
{
    struct slice line;
    while (next_line(reader, &line)) {
        const char *complaint = read_line(reader, line);
        if (complaint != NULL) {
            text_printf(error, "%s:%zu: %s", name, reader->line, complaint);
            return reader->err != ERR_OK ? reader->err : ERR_SYNTAX;
        }
    }
    enum err err = acl__mosquitto_end(reader);
    if (err != ERR_OK) {
        text_printf(error, "%s: %s", name, err_text(err));
    }
    return err;
}

enum err acl_rules_read(struct acl_rules *rules, struct slice text, const char *name,
                        struct text *error)
{
    if (text.len > ACL_FILE_BYTES_MAX) {
        text_printf(error, "%s: larger than 16 MiB", name);
        return ERR_FULL;
    }
    struct acl__reader reader = {
        .rules = rules,
        .text = text,
        .rest = text,
        .copy = mem_try_alloc(text.len + 1),
    };
    if (reader.copy == NULL) {
        text_printf(error, "%s: %s", name, err_text(ERR_MEMORY));
        return ERR_MEMORY;
    }
    size_t before = rules->count;
    enum err err = read_lines(&reader, name, error);
    if (err == ERR_OK && rules->count == before) {
        text_printf(error, "%s: there is no rule in it; deny all all # denies everything", name);
        err = ERR_SYNTAX;
    }
    acl__mosquitto_fini(&reader);
    mem_free(reader.copy);
    return err;
}

/* ---- files ----------------------------------------------------------------------------------- */

enum err acl_rules_read_file(struct acl_rules *rules, const char *path, struct text *error)
{
    struct whole_file file;
    enum err err = whole_file_read(&file, path, ACL_FILE_BYTES_MAX, error);
    if (err == ERR_OK) {
        err = acl_rules_read(rules, slice_of(file.data, file.len), path, error);
    }
    whole_file_fini(&file);
    return err;
}
