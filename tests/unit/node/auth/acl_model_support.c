#include "tests/unit/node/auth/acl_model_support.h"

#include <stdio.h>

#include "base/mem.h"
#include "codec/topic.h"
#include "tests/unit/node/auth/acl_rule_model.h"

#define RULES_MAX 16
#define TEXT_MAX 64
#define TOPIC_LEVELS 4
#define FILTER_LEVELS 3

/* z is in no rule: it stands for all other texts. */
static const char *const level_texts[] = {"", "a", "b", "$s", "p-a", "p-b", "p-$s", "z"};
static const char *const filter_texts[] = {"", "a", "b", "$s", "p-a", "+"};

struct entry {
    char text[TEXT_MAX];
    bool *matched; /* by topic; of filters and rules */
};

struct model {
    struct entry *topics;
    size_t topic_count;
    struct entry *filters;
    size_t filter_count;
    const struct acl_rules *rules;
    bool concerns[RULES_MAX];
    struct entry ruled[RULES_MAX];
    bool default_allow;
};

unsigned model_random(uint64_t *seed, unsigned limit)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(*seed >> 33) % limit;
}

/* ---- the world ------------------------------------------------------------------------------- */

static void join(char text[TEXT_MAX], const char *before, const char *after)
{
    int len = snprintf(text, TEXT_MAX, "%s%s", before, after);
    ASSERT(len >= 0 && len < TEXT_MAX);
}

static void add_entry(struct entry **entries, size_t *count, const char *text)
{
    *entries = mem_resize(*entries, (*count + 1) * sizeof(**entries));
    struct entry *entry = &(*entries)[(*count)++];
    *entry = (struct entry){.matched = NULL};
    snprintf(entry->text, sizeof(entry->text), "%s", text);
}

/* The fourth level is only there to be deeper than filters: one text is enough. */
static void add_topics(struct model *model, const char *before, unsigned levels)
{
    for (size_t i = levels > 1 ? 0 : ARRAY_COUNT(level_texts) - 1; i < ARRAY_COUNT(level_texts);
         i++) {
        char text[TEXT_MAX];
        join(text, before, level_texts[i]);
        if (text[0] != '\0') {
            add_entry(&model->topics, &model->topic_count, text);
        }
        if (levels > 1) {
            char longer[TEXT_MAX];
            join(longer, text, "/");
            add_topics(model, longer, levels - 1);
        }
    }
}

static void add_filters(struct model *model, const char *before, unsigned levels)
{
    char text[TEXT_MAX];
    join(text, before, "#");
    add_entry(&model->filters, &model->filter_count, text);
    for (size_t i = 0; i < ARRAY_COUNT(filter_texts); i++) {
        join(text, before, filter_texts[i]);
        if (text[0] != '\0') {
            add_entry(&model->filters, &model->filter_count, text);
        }
        if (levels > 1) {
            char longer[TEXT_MAX];
            join(longer, text, "/");
            add_filters(model, longer, levels - 1);
        }
    }
}

struct model *model_create(void)
{
    struct model *model = mem_alloc(sizeof(*model));
    add_topics(model, "", TOPIC_LEVELS);
    add_filters(model, "", FILTER_LEVELS);
    for (size_t i = 0; i < model->filter_count; i++) {
        struct entry *filter = &model->filters[i];
        filter->matched = mem_alloc_array(model->topic_count, sizeof(bool));
        for (size_t t = 0; t < model->topic_count; t++) {
            filter->matched[t] =
                topic_matches(slice_text(filter->text), slice_text(model->topics[t].text));
        }
    }
    for (size_t i = 0; i < RULES_MAX; i++) {
        model->ruled[i].matched = mem_alloc_array(model->topic_count, sizeof(bool));
    }
    return model;
}

void model_destroy(struct model *model)
{
    for (size_t i = 0; i < model->filter_count; i++) {
        mem_free(model->filters[i].matched);
    }
    for (size_t i = 0; i < RULES_MAX; i++) {
        mem_free(model->ruled[i].matched);
    }
    mem_free(model->topics);
    mem_free(model->filters);
    mem_free(model);
}

size_t model_topic_count(const struct model *model)
{
    return model->topic_count;
}

struct slice model_topic(const struct model *model, size_t index)
{
    return slice_text(model->topics[index].text);
}

size_t model_filter_count(const struct model *model)
{
    return model->filter_count;
}

struct slice model_filter(const struct model *model, size_t index)
{
    return slice_text(model->filters[index].text);
}

/* ---- all rules ------------------------------------------------------------------------------- */

void model_set_rules(struct model *model, const struct acl_subject *subject,
                     const struct acl_rules *rules, bool default_allow)
{
    ASSERT(rules->count <= RULES_MAX);
    model->rules = rules;
    model->default_allow = default_allow;
    for (size_t i = 0; i < rules->count; i++) {
        model->concerns[i] = model_rule_concerns(&rules->items[i], subject);
        for (size_t t = 0; t < model->topic_count; t++) {
            model->ruled[i].matched[t] =
                model_rule_matches(&rules->items[i], subject, model_topic(model, t));
        }
    }
}

static bool is_about(const struct model *model, size_t rule, enum acl_action action)
{
    enum acl_action of_rule = model->rules->items[rule].action;
    return model->concerns[rule] && (of_rule == ACL_ALL || of_rule == action);
}

bool model_may(const struct model *model, enum acl_action action, size_t topic)
{
    for (size_t i = 0; i < model->rules->count; i++) {
        if (is_about(model, i, action) && model->ruled[i].matched[topic]) {
            return model->rules->items[i].permission == ACL_ALLOW;
        }
    }
    return model->default_allow;
}

bool model_may_subscribe(const struct model *model, size_t filter)
{
    const bool *asked = model->filters[filter].matched;
    for (size_t i = 0; i < model->rules->count; i++) {
        if (!is_about(model, i, ACL_SUBSCRIBE)) {
            continue;
        }
        bool covers = true;
        bool overlaps = false;
        for (size_t t = 0; t < model->topic_count && (covers || !overlaps); t++) {
            covers = covers && (!asked[t] || model->ruled[i].matched[t]);
            overlaps = overlaps || (asked[t] && model->ruled[i].matched[t]);
        }
        bool deny = model->rules->items[i].permission == ACL_DENY;
        if (covers || (deny && overlaps)) {
            return !deny;
        }
    }
    return model->default_allow;
}
