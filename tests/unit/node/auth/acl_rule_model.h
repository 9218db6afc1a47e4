/*
 * acl_rule_model: what one access rule means for one client and one topic, level by level, with no
 * notion of trees; for tests and the fuzz target.
 *
 * Thread    any; no state.
 */
#ifndef PULSE_TESTS_ACL_RULE_MODEL_H
#define PULSE_TESTS_ACL_RULE_MODEL_H

#include "codec/topic.h"
#include "node/auth/acl.h"

#define MODEL_LEVEL_BYTES 20000 /* of a rule, with the value in it; callers stay below */

static inline struct slice model_value(const struct acl_subject *subject, uint8_t letter)
{
    switch (letter) {
    case 'c':
        return subject->client_id;
    case 'u':
        return subject->username;
    case 'C':
        return subject->common_name;
    case 'O':
        return subject->organization;
    default:
        return subject->organizational_unit;
    }
}

static inline bool model_has_any(struct slice s, const char *bytes, size_t count)
{
    for (size_t i = 0; i < s.len; i++) {
        if (memchr(bytes, s.data[i], count) != NULL) {
            return true;
        }
    }
    return false;
}

enum model_level_kind { MODEL_TEXT, MODEL_PLUS, MODEL_HASH, MODEL_ANY, MODEL_ANY_AND_MORE };

/* A level of a rule for this client; of MODEL_TEXT the text goes to `text`. */
static inline enum model_level_kind model_level(struct slice raw, const struct acl_subject *subject,
                                                char *text)
{
    size_t len = 0;
    if (slice_equal(raw, slice_text("+"))) {
        return MODEL_PLUS;
    }
    if (slice_equal(raw, slice_text("#"))) {
        return MODEL_HASH;
    }
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] != '%') {
            text[len++] = (char)raw.data[i];
            continue;
        }
        i++;
        if (raw.data[i] == '%') {
            text[len++] = '%';
            continue;
        }
        struct slice value = model_value(subject, raw.data[i]);
        if (model_has_any(value, "/", 1)) {
            return MODEL_ANY_AND_MORE;
        }
        if (value.len == 0 || model_has_any(value, "+#", 3)) { /* and the NUL behind them */
            return MODEL_ANY;
        }
        memcpy(text + len, value.data, value.len);
        len += value.len;
    }
    text[len] = '\0';
    return MODEL_TEXT;
}

static inline bool model_rule_matches(const struct acl_rule *rule,
                                      const struct acl_subject *subject, struct slice topic)
{
    bool allow = rule->permission == ACL_ALLOW;
    bool dollar = topic.data[0] == '$';
    if (dollar && (allow ? rule->filter.data[0] != '$'
                         : rule->filter.data[0] == '+' || rule->filter.data[0] == '#')) {
        return false;
    }
    struct slice filter = rule->filter;
    bool filter_done = false;
    bool topic_done = false;
    while (!filter_done) {
        char text[MODEL_LEVEL_BYTES];
        struct slice raw = topic_next_level(&filter, &filter_done);
        enum model_level_kind kind = model_level(raw, subject, text);
        if (allow && (kind == MODEL_ANY || kind == MODEL_ANY_AND_MORE)) {
            return false;
        }
        if (kind == MODEL_HASH) {
            return true;
        }
        if (topic_done) {
            return false;
        }
        struct slice level = topic_next_level(&topic, &topic_done);
        if (kind == MODEL_ANY_AND_MORE) {
            return true;
        }
        if (kind == MODEL_TEXT && !slice_equal(level, slice_text(text))) {
            return false;
        }
    }
    return topic_done;
}

static inline bool model_rule_concerns(const struct acl_rule *rule,
                                       const struct acl_subject *subject)
{
    bool in_group = rule->group.len == 0;
    for (size_t i = 0; i < subject->group_count; i++) {
        in_group = in_group || slice_equal(rule->group, subject->groups[i]);
    }
    return in_group && (!rule->anonymous || subject->username.len == 0) &&
           (rule->username.len == 0 || slice_equal(rule->username, subject->username));
}

#endif
