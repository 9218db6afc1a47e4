#include "node/auth/acl_file_priv.h"

#include "base/mem.h"

/*
 * Mosquitto has four lists that are asked one after the other: topics denied, topics allowed (both
 * of the user, or of the anonymous), patterns denied, patterns allowed. The first that fits
 * decides, so its rules become ours when they are put in that order.
 */

/* Takes the first word of `*line`, and the blanks behind it. */
static struct slice take_word(struct slice *line)
{
    size_t len = 0;
    while (len < line->len && line->data[len] != ' ' && line->data[len] != '\t') {
        len++;
    }
    struct slice word = slice_of(line->data, len);
    *line = slice_from(*line, len);
    acl__skip_blanks(line);
    return word;
}

static struct slice without_blanks_behind(struct slice line)
{
    while (line.len > 0 && (line.data[line.len - 1] == ' ' || line.data[line.len - 1] == '\t' ||
                            line.data[line.len - 1] == '\r')) {
        line.len--;
    }
    return line;
}

/* Reads an access word. */
static bool access_of(struct slice word, struct acl_rule *rule)
{
    rule->permission = ACL_ALLOW;
    rule->action = ACL_ALL;
    if (slice_equal(word, slice_text("read"))) {
        rule->action = ACL_SUBSCRIBE;
    } else if (slice_equal(word, slice_text("write"))) {
        rule->action = ACL_PUBLISH;
    } else if (slice_equal(word, slice_text("deny"))) {
        rule->permission = ACL_DENY;
    } else {
        return slice_equal(word, slice_text("readwrite"));
    }
    return true;
}

/* Doubles the percent signs that stand for themselves: all, or all but %c and %u. */
static struct slice with_percents_doubled(struct slice filter, bool pattern, uint8_t *to)
{
    size_t len = 0;
    for (size_t i = 0; i < filter.len; i++) {
        bool percent = filter.data[i] == '%';
        uint8_t next = i + 1 < filter.len ? filter.data[i + 1] : 0;
        if (percent && !(pattern && (next == 'c' || next == 'u'))) {
            to[len++] = '%';
        }
        to[len++] = filter.data[i];
    }
    return slice_of(to, len);
}

static const char *add_converted(struct acl__reader *reader, struct acl_rule *rule, bool pattern)
{
    uint8_t *room = mem_try_alloc(rule->filter.len * 2 + 1);
    if (room == NULL) {
        reader->err = ERR_MEMORY;
        return err_text(ERR_MEMORY);
    }
    rule->filter = with_percents_doubled(rule->filter, pattern, room);
    bool deny = rule->permission == ACL_DENY;
    enum acl__mosquitto_kind kind = pattern ? (deny ? ACL__PATTERN_DENY : ACL__PATTERN_ALLOW)
                                            : (deny ? ACL__TOPIC_DENY : ACL__TOPIC_ALLOW);
    const char *complaint = acl__add(reader, &reader->kinds[kind], rule);
    mem_free(room);
    return complaint;
}

static const char *read_topic(struct acl__reader *reader, struct slice line, bool pattern)
{
    struct acl_rule rule = {.permission = ACL_ALLOW, .action = ACL_ALL};
    struct slice rest = line;
    struct slice access = take_word(&rest);
    if (rest.len > 0) { /* one word alone is the topic */
        if (!access_of(access, &rule)) {
            return "before the topic there may be read, write, readwrite or deny";
        }
        line = rest;
    }
    rule.filter = line;
    if (!pattern) {
        rule.username = reader->username;
        rule.anonymous = reader->username.len == 0;
    }
    return add_converted(reader, &rule, pattern);
}

const char *acl__mosquitto_line(struct acl__reader *reader, struct slice line)
{
    line = without_blanks_behind(line);
    struct slice word = take_word(&line);
    bool pattern = slice_equal(word, slice_text("pattern"));
    if (pattern || slice_equal(word, slice_text("topic"))) {
        return read_topic(reader, line, pattern);
    }
    if (!slice_equal(word, slice_text("user"))) {
        return "a line of a Mosquitto file begins with user, topic, pattern or #";
    }
    if (line.len == 0) {
        return "behind user there must be a name";
    }
    reader->username = line;
    return NULL;
}

enum err acl__mosquitto_end(struct acl__reader *reader)
{
    enum err err = ERR_OK;
    for (unsigned kind = 0; kind < ACL__MOSQUITTO_KINDS; kind++) {
        const struct acl_rules *from = &reader->kinds[kind];
        for (size_t i = 0; i < from->count && err == ERR_OK; i++) {
            err = acl_rules_add(reader->rules, &from->items[i]);
        }
    }
    return err;
}

void acl__mosquitto_fini(struct acl__reader *reader)
{
    for (unsigned kind = 0; kind < ACL__MOSQUITTO_KINDS; kind++) {
        acl_rules_fini(&reader->kinds[kind]);
    }
}
