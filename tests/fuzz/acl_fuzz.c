/*
 * Input: a client id, a user name, a topic, a filter, each with a line feed; then a file of rules.
 *
 * Files are taken or refused with one line that says why. What a view of taken rules answers is
 * what going through the rules one by one gives; who may subscribe to a filter may have each
 * message that it matches; a filter without wildcards is like its topic; the cache answers as the
 * view.
 */
#include "codec/topic.h"
#include "node/auth/acl.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/node/auth/acl_rule_model.h"

#define INPUT_MAX 8192 /* larger ones could reach the bound on the work of a search */

/* Takes a line from the front of `*rest`. */
static struct slice take_line(struct slice *rest)
{
    const uint8_t *newline = rest->len > 0 ? memchr(rest->data, '\n', rest->len) : NULL;
    size_t len = newline != NULL ? (size_t)(newline - rest->data) : rest->len;
    struct slice line = slice_of(rest->data, len);
    *rest = slice_from(*rest, newline != NULL ? len + 1 : len);
    return line;
}

static bool model_may_all(const struct acl_rules *rules, const struct acl_subject *subject,
                          enum acl_action action, struct slice topic, bool default_allow)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct acl_rule *rule = &rules->items[i];
        if ((rule->action == ACL_ALL || rule->action == action) &&
            model_rule_concerns(rule, subject) && model_rule_matches(rule, subject, topic)) {
            return rule->permission == ACL_ALLOW;
        }
    }
    return default_allow;
}

static void check_view(const struct acl_view *view, struct slice topic, struct slice filter)
{
    struct topic_filter parsed;
    bool is_name = utf8_valid(topic) && topic_name_valid(topic);
    bool is_filter = utf8_valid(filter) && topic_filter_parse(filter, &parsed);
    bool subscribes = acl_may_subscribe(view, filter);
    ASSERT(!subscribes || is_filter);
    if (subscribes && is_name && topic_matches(filter, topic)) {
        ASSERT(acl_may_receive(view, topic));
    }
    if (is_name && topic_filter_parse(topic, &parsed) && parsed.share.len == 0) {
        ASSERT(acl_may_subscribe(view, topic) == acl_may_receive(view, topic));
    }
    struct acl_cache cache = {.topics = {0}};
    bool publishes = acl_may_publish(view, topic);
    ASSERT(acl_cache_may_publish(&cache, view, topic) == publishes);
    ASSERT(acl_cache_may_publish(&cache, view, topic) == publishes);
}

static void check_rules(const struct acl_rules *rules, const struct acl_subject *subject,
                        struct slice topic, struct slice filter)
{
    for (unsigned allow = 0; allow < 2; allow++) {
        struct acl *acl = acl_create(rules, allow != 0);
        struct acl_view *view = acl_view_create(acl, subject, NULL);
        ASSERT(view != NULL && acl_view_fingerprint(view) != 0);
        check_view(view, topic, filter);
        if (topic_name_valid(topic)) {
            ASSERT(acl_may_publish(view, topic) ==
                   model_may_all(rules, subject, ACL_PUBLISH, topic, allow != 0));
            ASSERT(acl_may_receive(view, topic) ==
                   model_may_all(rules, subject, ACL_SUBSCRIBE, topic, allow != 0));
        }
        acl_view_unref(view);
        acl_unref(acl);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len > INPUT_MAX) {
        return 0;
    }
    struct slice rest = slice_of(data, len);
    struct slice groups[] = {slice_text("g"), slice_text("h")};
    struct acl_subject subject = {.groups = groups, .group_count = 2};
    subject.client_id = take_line(&rest);
    subject.username = take_line(&rest);
    struct slice topic = take_line(&rest);
    struct slice filter = take_line(&rest);
    uint8_t *topic_copy = fuzz_copy(topic);
    uint8_t *text_copy = fuzz_copy(rest);
    struct acl_rules rules = {.count = 0};
    struct text error = {.len = 0};
    enum err err = acl_rules_read(&rules, slice_of(text_copy, rest.len), "rules", &error);
    free(text_copy); /* rules are copies */
    ASSERT((err == ERR_OK) == (error.data == NULL));
    if (err == ERR_OK) {
        ASSERT(rules.count > 0);
        check_rules(&rules, &subject, slice_of(topic_copy, topic.len), filter);
    } else {
        ASSERT(memchr(error.data, '\n', error.len) == NULL);
    }
    text_fini(&error);
    acl_rules_fini(&rules);
    free(topic_copy);
    return 0;
}
