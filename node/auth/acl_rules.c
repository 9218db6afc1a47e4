#include "node/auth/acl.h"

#include "base/mem.h"
#include "codec/topic.h"
#include "node/auth/acl_tree_priv.h"

/* In the order of enum acl__value. */
static const char value_letters[ACL__VALUE_COUNT] = {'c', 'u', 'C', 'O', 'U'};

static bool value_of_letter(uint8_t letter, uint8_t *value)
{
    for (uint8_t i = 0; i < ACL__VALUE_COUNT; i++) {
        if (letter == (uint8_t)value_letters[i]) {
            *value = i;
            return true;
        }
    }
    return false;
}

const char *acl__level_parse(struct slice raw, uint8_t *text, struct acl__level *level)
{
    struct acl__level parsed = {.value = ACL__NO_VALUE};
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t byte = raw.data[i];
        bool percent = byte == '%';
        i += percent;
        if (percent && i == raw.len) {
            return "a % must be one of %c %u %C %O %U %%";
        }
        if (percent && raw.data[i] != '%') {
            if (parsed.value != ACL__NO_VALUE) {
                return "a level holds one of %c %u %C %O %U at most";
            }
            if (!value_of_letter(raw.data[i], &parsed.value)) {
                return "a % must be one of %c %u %C %O %U %%";
            }
            parsed.prefix_len = parsed.len;
            continue;
        }
        if (text != NULL) {
            text[parsed.len] = byte;
        }
        parsed.len++;
    }
    *level = parsed;
    return NULL;
}

const char *acl_filter_complaint(struct slice filter)
{
    struct topic_filter parsed;
    if (filter.len == 0) {
        return "a topic filter is missing";
    }
    if (filter.len > ACL__TOPIC_BYTES_MAX) {
        return "a topic filter has 65535 bytes at most";
    }
    if (!utf8_valid(filter)) {
        return "a topic filter is UTF-8 without NUL";
    }
    if (slice_starts_with(filter, "$share/")) {
        return "a rule is for the filter without $share and group";
    }
    if (!topic_filter_parse(filter, &parsed)) {
        return "+ and # fill a level, and # is the last";
    }
    if (topic_levels(filter) > ACL_LEVELS_MAX) {
        return "the filter of a rule has 256 levels at most";
    }
    const char *complaint = NULL;
    for (bool done = false; !done && complaint == NULL;) {
        struct acl__level level;
        complaint = acl__level_parse(topic_next_level(&filter, &done), NULL, &level);
    }
    return complaint;
}

void acl_rules_fini(struct acl_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        mem_free((void *)rules->items[i].filter.data);
    }
    mem_free(rules->items);
    *rules = (struct acl_rules){.items = NULL};
}

static bool room_for_one(struct acl_rules *rules)
{
    if (rules->count < rules->cap) {
        return true;
    }
    size_t cap = rules->cap > 0 ? rules->cap * 2 : 4;
    struct acl_rule *items = mem_try_resize(rules->items, cap * sizeof(*items));
    if (items == NULL) {
        return false;
    }
    rules->items = items;
    rules->cap = cap;
    return true;
}

/* Copies `from` to `*to`, moves `*to` behind it, and gives the copy. */
static struct slice put(uint8_t **to, struct slice from)
{
    struct slice copy = slice_of(*to, from.len);
    if (from.len > 0) {
        memcpy(*to, from.data, from.len);
        *to += from.len;
    }
    return copy;
}

enum err acl_rules_add(struct acl_rules *rules, const struct acl_rule *rule)
{
    if (acl_filter_complaint(rule->filter) != NULL || (rule->anonymous && rule->username.len > 0)) {
        return ERR_SYNTAX;
    }
    if (rules->count >= ACL_RULES_MAX || rule->username.len > ACL_RULES_BYTES_MAX ||
        rule->group.len > ACL_RULES_BYTES_MAX) {
        return ERR_FULL;
    }
    size_t bytes = rule->filter.len + rule->username.len + rule->group.len;
    if (bytes > ACL_RULES_BYTES_MAX - rules->bytes) {
        return ERR_FULL;
    }
    uint8_t *texts = room_for_one(rules) ? mem_try_alloc(bytes) : NULL;
    if (texts == NULL) {
        return ERR_MEMORY;
    }
    struct acl_rule *copy = &rules->items[rules->count];
    *copy = *rule;
    copy->filter = put(&texts, rule->filter); /* first: it is the block that fini frees */
    copy->username = put(&texts, rule->username);
    copy->group = put(&texts, rule->group);
    rules->count++;
    rules->bytes += bytes;
    return ERR_OK;
}
