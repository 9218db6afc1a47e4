/*
 * grants: what a provider says that a client may do: its groups, and access rules of its own. A
 * token and an HTTP server say it in JSON:
 *
 *     groups   "devices"   "devices,admins"   ["devices", "admins"]
 *     rules    [{"permission": "allow", "action": "publish", "topic": "plant/%u/#"}, ...]
 *              {"pub": ["plant/%u/#"], "sub": ["news/#"], "all": []}
 *
 * In the first form of rules all three members are needed and no others are taken; they count in
 * their order. The second form only allows. null is the same as nothing.
 *
 * Owns      its texts and rules.
 * Thread    any; it is a value.
 * Errors    ERR_SYNTAX: not understood, or more than the limits below; `*why` is a constant text.
 *           What was added before stays until grants_fini. ERR_MEMORY.
 */
#ifndef PULSE_NODE_AUTH_GRANTS_H
#define PULSE_NODE_AUTH_GRANTS_H

#include <stddef.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/acl.h"

struct json_t;

#define GRANTS_GROUPS_MAX 256u
#define GRANTS_GROUP_BYTES_MAX 256u
#define GRANTS_RULES_MAX 1000u

struct grants {
    struct acl_rules rules;
    struct text groups; /* "devices,admins" */
    size_t group_count;
};

void grants_fini(struct grants *grants); /* a zeroed one is empty */

/* Adds the groups of a list such as "devices, admins". */
must_check enum err grants_add_groups(struct grants *grants, struct slice list, const char **why);

/* Adds one rule, in words. */
must_check enum err grants_add_rule(struct grants *grants, struct slice permission,
                                    struct slice action, struct slice topic, const char **why);

/* The same from JSON; NULL: nothing to add. */
must_check enum err grants_add_json_groups(struct grants *grants, const struct json_t *json,
                                           const char **why);
must_check enum err grants_add_json_rules(struct grants *grants, struct json_t *json,
                                          const char **why);

#endif
