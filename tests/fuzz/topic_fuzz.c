/*
 * Input: a filter, a line feed, a name.
 *
 * Accepted filters and names obey the rules of section 4.7, and matching agrees with a matcher that
 * walks both a character at a time.
 */
#include "codec/topic.h"
#include "tests/fuzz/fuzz.h"

/* A second, independent way to match: by characters, with no notion of levels. */
static bool model_matches(const uint8_t *filter, const uint8_t *filter_end, const uint8_t *name,
                          const uint8_t *name_end)
{
    while (filter < filter_end) {
        if (*filter == '#') {
            return true;
        }
        if (*filter == '+') {
            while (name < name_end && *name != '/') {
                name++;
            }
            filter++;
        } else if (name < name_end && *filter == *name) {
            filter++;
            name++;
        } else {
            return name == name_end && filter_end - filter == 2 && memcmp(filter, "/#", 2) == 0;
        }
    }
    return name == name_end;
}

static void check_match(struct slice filter, struct slice name)
{
    bool hidden = name.data[0] == '$' && (filter.data[0] == '+' || filter.data[0] == '#');
    bool wanted = !hidden && model_matches(filter.data, filter.data + filter.len, name.data,
                                           name.data + name.len);
    ASSERT(topic_matches(filter, name) == wanted);
}

static void check_levels(struct slice topic)
{
    size_t levels = 0;
    size_t chars = 0;
    bool done = false;
    for (struct slice rest = topic; !done; levels++) {
        struct slice level = topic_next_level(&rest, &done);
        ASSERT(fuzz_within(level, topic));
        ASSERT(level.len == 0 || memchr(level.data, '/', level.len) == NULL);
        chars += level.len;
    }
    ASSERT(levels == topic_levels(topic));
    ASSERT(chars + levels - 1 == topic.len);
}

static void check_filter(struct slice text, const struct topic_filter *parsed)
{
    struct slice filter = parsed->filter;
    ASSERT(filter.len > 0 && fuzz_within(filter, text) && fuzz_within(parsed->share, text));
    ASSERT(parsed->has_wildcards != topic_name_valid(filter));
    ASSERT(parsed->share.len > 0 || filter.len == text.len);
    check_levels(filter);
    if (!parsed->has_wildcards) {
        ASSERT(topic_matches(filter, filter));
        ASSERT(topic_matches(slice_text("#"), filter) == (filter.data[0] != '$'));
    }
}

/* A filter is one with a group in front exactly when it is one without. */
static void check_sharing(struct slice text, bool accepted)
{
    static const char group[] = "$share/g/";
    size_t len = sizeof(group) - 1 + text.len;
    uint8_t *shared = malloc(len);
    ASSERT(shared != NULL);
    memcpy(shared, group, sizeof(group) - 1);
    if (text.len > 0) {
        memcpy(shared + sizeof(group) - 1, text.data, text.len);
    }
    struct topic_filter parsed;
    bool shared_accepted = topic_filter_parse(slice_of(shared, len), &parsed);
    if (!slice_starts_with(text, "$share")) {
        ASSERT(shared_accepted == accepted);
    }
    free(shared);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *newline = len > 0 ? memchr(data, '\n', len) : NULL;
    size_t filter_len = newline != NULL ? (size_t)(newline - data) : len;
    size_t name_len = newline != NULL ? len - filter_len - 1 : 0;
    uint8_t *filter_copy = fuzz_copy(slice_of(data, filter_len));
    uint8_t *name_copy = fuzz_copy(slice_of(data + len - name_len, name_len));
    struct slice text = slice_of(filter_copy, filter_len);
    struct slice name = slice_of(name_copy, name_len);

    if (utf8_valid(text)) {
        ASSERT(utf8_well_formed(text));
    } else if (utf8_well_formed(text)) {
        ASSERT(memchr(text.data, 0, text.len) != NULL);
    }
    check_levels(name);
    struct topic_filter parsed;
    bool accepted = topic_filter_parse(text, &parsed);
    if (accepted) {
        check_filter(text, &parsed);
        if (topic_name_valid(name)) {
            check_match(parsed.filter, name);
        }
    }
    check_sharing(text, accepted);
    free(filter_copy);
    free(name_copy);
    return 0;
}
