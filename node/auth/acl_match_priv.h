/*
 * acl_match: searches in the trees of rules (acl_tree_priv.h) for one client and one topic.
 *
 * Owns      nothing; a search lives on the stack of who asks.
 * Thread    any.
 * Errors    a search that would take too long ends in `refused`, which means no.
 */
#ifndef PULSE_NODE_AUTH_ACL_MATCH_PRIV_H
#define PULSE_NODE_AUTH_ACL_MATCH_PRIV_H

#include "node/auth/acl_tree_priv.h"

/*
 * What one search may cost: a node is 8, a level with a value that is compared is 1. Only rules
 * that fork at nearly every level, or 100,000 different texts around a value in one place, get
 * there. About half a millisecond.
 */
#define ACL__WORK_MAX 131072u
#define ACL__WORK_NODE 8u

/* A client's values that rules may ask for. Bits are BIT(enum acl__value). */
struct acl__values {
    uint8_t usable;                 /* can stand in a level */
    uint8_t slashed;                /* can't, because of a slash */
    uint16_t len[ACL__VALUE_COUNT]; /* of the usable ones; others have 0 */
};

struct acl__search {
    const struct acl__values *values;
    const uint8_t *value_bytes; /* one behind the other */
    const struct acl__tree *tree;
    uint64_t seed;
    struct slice rest; /* of the topic: not yet split into levels */
    bool split;
    bool hidden; /* the topic begins with $ */
    bool refused;
    enum acl_action action;
    uint32_t rank; /* the lowest so far */
    uint32_t work;
    uint32_t level_count;
    struct acl__key levels[ACL_LEVELS_MAX + 1]; /* only level_count are filled */
};

/* `topic` is a name, or a filter that acl__without_empty gave. Borrows all until the search's end.
 */
void acl__search_init(struct acl__search *search, const struct acl__values *values,
                      const uint8_t *value_bytes, uint64_t seed, struct slice topic);

/*
 * Lowers search->rank to that of the first rule below `root` that matches the topic; of a filter:
 * that covers it. It starts as ACL__NO_RANK.
 */
void acl__search_match(struct acl__search *search, const struct acl__tree *tree, uint32_t root,
                       enum acl_action action);

/* Sets search->refused when a rule that denies subscribing, is below `root`, and comes before
 * search->rank overlaps the filter. */
void acl__search_overlap(struct acl__search *search, const struct acl__tree *tree, uint32_t root);

#endif
