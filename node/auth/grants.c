#include "node/auth/grants.h"

#include <jansson.h>

#include "codec/topic.h"

/* ---- groups ---------------------------------------------------------------------------------- */

void grants_fini(struct grants *grants)
{
    acl_rules_fini(&grants->rules);
    text_fini(&grants->groups);
    *grants = (struct grants){.group_count = 0};
}

static bool is_printable(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < 0x20 || s.data[i] == 0x7f) {
            return false;
        }
    }
    return utf8_valid(s);
}

static enum err add_group(struct grants *grants, struct slice name, const char **why)
{
    name = slice_trim(name, " ");
    if (name.len == 0 || name.len > GRANTS_GROUP_BYTES_MAX || !is_printable(name)) {
        *why = "the name of a group is not usable";
        return ERR_SYNTAX;
    }
    if (grants->group_count == GRANTS_GROUPS_MAX) {
        *why = "too many groups";
        return ERR_SYNTAX;
    }
    text_add(&grants->groups, grants->group_count > 0 ? "," : "");
    text_add_bytes(&grants->groups, name.data, name.len);
    grants->group_count++;
    return ERR_OK;
}

enum err grants_add_groups(struct grants *grants, struct slice list, const char **why)
{
    enum err err = ERR_OK;
    if (slice_trim(list, " ").len == 0) {
        return ERR_OK;
    }
    while (err == ERR_OK && list.data != NULL) {
        err = add_group(grants, slice_cut(&list, ','), why);
    }
    return err;
}

static struct slice string_of(const json_t *json)
{
    return slice_of(json_string_value(json), json_string_length(json));
}

enum err grants_add_json_groups(struct grants *grants, const json_t *json, const char **why)
{
    if (json == NULL || json_is_null(json)) {
        return ERR_OK;
    }
    if (json_is_string(json)) {
        return grants_add_groups(grants, string_of(json), why);
    }
    if (!json_is_array(json)) {
        *why = "groups are neither a text nor a list";
        return ERR_SYNTAX;
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        struct slice name = string_of(json_array_get(json, i));
        if (name.data == NULL || memchr(name.data, ',', name.len) != NULL) {
            *why = "the name of a group is not usable";
            return ERR_SYNTAX;
        }
        enum err err = add_group(grants, name, why);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* ---- rules ----------------------------------------------------------------------------------- */

static bool permission_named(struct slice word, enum acl_permission *permission)
{
#define X(constant, name)                      \
    if (slice_equal(word, slice_text(name))) { \
        *permission = constant;                \
        return true;                           \
    }
    ACL_PERMISSIONS(X)
#undef X
    return false;
}

static bool action_named(struct slice word, enum acl_action *action)
{
#define X(constant, name)                      \
    if (slice_equal(word, slice_text(name))) { \
        *action = constant;                    \
        return true;                           \
    }
    ACL_ACTIONS(X)
#undef X
    return false;
}

static enum err add_rule(struct grants *grants, const struct acl_rule *rule, const char **why)
{
    if (grants->rules.count >= GRANTS_RULES_MAX) {
        *why = "too many access rules";
        return ERR_SYNTAX;
    }
    enum err err = acl_rules_add(&grants->rules, rule);
    if (err == ERR_MEMORY) {
        return err;
    }
    if (err != ERR_OK) {
        *why = "an access rule has no valid topic filter";
        return ERR_SYNTAX;
    }
    return ERR_OK;
}

enum err grants_add_rule(struct grants *grants, struct slice permission, struct slice action,
                         struct slice topic, const char **why)
{
    struct acl_rule rule = {.filter = topic};
    if (!permission_named(permission, &rule.permission)) {
        *why = "the permission of an access rule is neither allow nor deny";
        return ERR_SYNTAX;
    }
    if (!action_named(action, &rule.action)) {
        *why = "the action of an access rule is not publish, subscribe or all";
        return ERR_SYNTAX;
    }
    return add_rule(grants, &rule, why);
}

static enum err add_rule_object(struct grants *grants, const json_t *json, const char **why)
{
    struct slice permission = string_of(json_object_get(json, "permission"));
    struct slice action = string_of(json_object_get(json, "action"));
    struct slice topic = string_of(json_object_get(json, "topic"));
    if (json_object_size(json) != 3 || permission.data == NULL || action.data == NULL ||
        topic.data == NULL) {
        *why = "an access rule is not permission, action and topic";
        return ERR_SYNTAX;
    }
    return grants_add_rule(grants, permission, action, topic, why);
}

static enum err add_filters(struct grants *grants, enum acl_action action, const json_t *filters,
                            const char **why)
{
    if (!json_is_array(filters)) {
        *why = "pub, sub or all of the access rules is not a list";
        return ERR_SYNTAX;
    }
    for (size_t i = 0; i < json_array_size(filters); i++) {
        struct acl_rule rule = {
            .permission = ACL_ALLOW,
            .action = action,
            .filter = string_of(json_array_get(filters, i)),
        };
        /* what is no text is empty here, and no filter */
        enum err err = add_rule(grants, &rule, why);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err add_filter_object(struct grants *grants, json_t *json, const char **why)
{
    const char *name;
    json_t *filters;
    json_object_foreach(json, name, filters)
    {
        enum acl_action action = ACL_ALL;
        if (strcmp(name, "pub") == 0) {
            action = ACL_PUBLISH;
        } else if (strcmp(name, "sub") == 0) {
            action = ACL_SUBSCRIBE;
        } else if (strcmp(name, "all") != 0) {
            *why = "access rules have members other than pub, sub and all";
            return ERR_SYNTAX;
        }
        enum err err = add_filters(grants, action, filters, why);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err grants_add_json_rules(struct grants *grants, json_t *json, const char **why)
{
    if (json == NULL || json_is_null(json)) {
        return ERR_OK;
    }
    if (json_is_object(json)) {
        return add_filter_object(grants, json, why);
    }
    if (!json_is_array(json)) {
        *why = "access rules are neither a list nor an object";
        return ERR_SYNTAX;
    }
    for (size_t i = 0; i < json_array_size(json); i++) {
        enum err err = add_rule_object(grants, json_array_get(json, i), why);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}
