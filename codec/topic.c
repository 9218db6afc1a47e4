#include "codec/topic.h"

#include "codec/ascii_priv.h"

#define SHARE_PREFIX "$share/"

static bool has_wildcard(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '+' || s.data[i] == '#') {
            return true;
        }
    }
    return false;
}

bool topic_name_valid(struct slice name)
{
    return name.len > 0 && (ascii_plain(name, true) || !has_wildcard(name));
}

size_t topic_levels(struct slice topic)
{
    size_t levels = 1;
    for (size_t i = 0; i < topic.len; i++) {
        levels += topic.data[i] == '/';
    }
    return levels;
}

struct slice topic_next_level(struct slice *rest, bool *done)
{
    const uint8_t *slash = rest->len > 0 ? memchr(rest->data, '/', rest->len) : NULL;
    if (slash == NULL) {
        struct slice last = *rest;
        *rest = slice_of(last.data, 0);
        *done = true;
        return last;
    }
    struct slice level = slice_of(rest->data, (size_t)(slash - rest->data));
    *rest = slice_from(*rest, level.len + 1);
    return level;
}

/* A wildcard fills its level, and # ends the filter [MQTT-4.7.1-1, -2]. */
static bool wildcard_placed_well(struct slice filter, size_t at)
{
    bool starts_level = at == 0 || filter.data[at - 1] == '/';
    bool ends_filter = at + 1 == filter.len;
    if (filter.data[at] == '#') {
        return starts_level && ends_filter;
    }
    return starts_level && (ends_filter || filter.data[at + 1] == '/');
}

/* Takes "$share/group/" from the front of `text` if it is there [MQTT-4.8.2-1, -2]. */
static bool share_parse(struct slice text, struct topic_filter *out)
{
    out->share = slice_of(text.data, 0);
    out->filter = text;
    if (slice_equal(text, slice_text("$share"))) {
        return false;
    }
    if (!slice_starts_with(text, SHARE_PREFIX)) {
        return true;
    }
    struct slice rest = slice_from(text, sizeof(SHARE_PREFIX) - 1);
    bool group_is_last = false;
    struct slice group = topic_next_level(&rest, &group_is_last);
    if (group_is_last || group.len == 0 || has_wildcard(group)) {
        return false;
    }
    out->share = group;
    out->filter = rest;
    return true;
}

bool topic_filter_parse(struct slice text, struct topic_filter *out)
{
    struct topic_filter parsed = {.has_wildcards = false};
    if (!share_parse(text, &parsed) || parsed.filter.len == 0) {
        return false;
    }
    struct slice filter = parsed.filter;
    for (size_t i = 0; i < filter.len; i++) {
        if (filter.data[i] == '+' || filter.data[i] == '#') {
            if (!wildcard_placed_well(filter, i)) {
                return false;
            }
            parsed.has_wildcards = true;
        }
    }
    *out = parsed;
    return true;
}

static bool is_wildcard(struct slice level, char wildcard)
{
    return level.len == 1 && level.data[0] == (uint8_t)wildcard;
}

bool topic_matches(struct slice filter, struct slice name)
{
    if (name.len > 0 && name.data[0] == '$' && filter.len > 0 &&
        (filter.data[0] == '+' || filter.data[0] == '#')) {
        return false;
    }
    bool filter_done = false;
    bool name_done = false;
    while (!filter_done) {
        struct slice wanted = topic_next_level(&filter, &filter_done);
        if (is_wildcard(wanted, '#')) {
            return true; /* also of the parent level, which ended before: section 4.7.1.2 */
        }
        if (name_done) {
            return false;
        }
        struct slice level = topic_next_level(&name, &name_done);
        if (!is_wildcard(wanted, '+') && !slice_equal(wanted, level)) {
            return false;
        }
    }
    return name_done;
}
