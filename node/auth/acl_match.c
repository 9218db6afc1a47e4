#include "node/auth/acl_match_priv.h"

#include "codec/topic.h"

/*
 * Both searches are recursive where rules fork, never along the topic: the depth is that of the
 * tree, ACL_LEVELS_MAX at most, and all together is bounded by ACL__WORK_MAX.
 *
 * `strange` is where a search has passed a level whose value this client does not have in a usable
 * form: allowing rules below it are not for this client, denying ones hold.
 */

void acl__search_init(struct acl__search *search, const struct acl__values *values,
                      const uint8_t *value_bytes, uint64_t seed, struct slice topic)
{
    /* field by field: the levels are 10 KiB and stay as they are */
    search->values = values;
    search->value_bytes = value_bytes;
    search->tree = NULL;
    search->seed = seed;
    search->rest = topic;
    search->split = false;
    search->hidden = topic.len > 0 && topic.data[0] == '$';
    search->refused = false;
    search->action = ACL_PUBLISH;
    search->rank = ACL__NO_RANK;
    search->work = 0;
    search->level_count = 0;
}

/* The level of this index, or NULL when the topic has fewer. */
static inline const struct acl__key *level_at(struct acl__search *search, uint32_t index)
{
    if (index < search->level_count) {
        return &search->levels[index];
    }
    if (search->split) {
        return NULL;
    }
    struct acl__key *level = &search->levels[search->level_count++];
    *level = acl__key_of(topic_next_level(&search->rest, &search->split), search->seed);
    return level;
}

static bool is_wildcard(struct slice level, char wildcard)
{
    return level.len == 1 && level.data[0] == (uint8_t)wildcard;
}

/* Whether the search may go on; counts its work. */
static inline bool may_work(struct acl__search *search, uint32_t work)
{
    search->work += work;
    if (unlikely(search->work > ACL__WORK_MAX)) {
        search->refused = true;
    }
    return !search->refused;
}

static inline void lower(uint32_t *rank, uint32_t other)
{
    *rank = other < *rank ? other : *rank;
}

/* ---- values ---------------------------------------------------------------------------------- */

static struct slice value_of(const struct acl__search *search, uint8_t value)
{
    size_t at = 0;
    for (uint8_t i = 0; i < value; i++) {
        at += search->values->len[i];
    }
    return slice_of(search->value_bytes + at, search->values->len[value]);
}

static bool usable(const struct acl__search *search, const struct acl__node *node)
{
    return (search->values->usable & BIT(node->value)) != 0;
}

static bool slashed(const struct acl__search *search, const struct acl__node *node)
{
    return (search->values->slashed & BIT(node->value)) != 0;
}

/* Whether `level` is the level of `node` with the client's value in it. */
static bool value_fits(const struct acl__search *search, const struct acl__node *node,
                       struct slice level)
{
    struct slice value = value_of(search, node->value);
    if (level.len != node->text_len + value.len) {
        return false;
    }
    struct slice prefix = acl__prefix(search->tree, node);
    struct slice suffix = acl__suffix(search->tree, node);
    const uint8_t *middle = level.data + prefix.len;
    return memcmp(middle, value.data, value.len) == 0 &&
           memcmp(level.data, prefix.data, prefix.len) == 0 &&
           memcmp(middle + value.len, suffix.data, suffix.len) == 0;
}

/* ---- the first rule that matches, or covers -------------------------------------------------- */

static void match(struct acl__search *search, uint32_t index, uint32_t depth, bool strange);

/* Goes down the children of `node` whose level holds a value. */
static void match_values(struct acl__search *search, const struct acl__node *node,
                         struct slice level, uint32_t depth, bool strange)
{
    const struct acl__node *nodes = search->tree->nodes;
    for (uint32_t i = node->patterns; i != 0 && may_work(search, 1); i = nodes[i].next) {
        const struct acl__node *child = &nodes[i];
        if (usable(search, child)) {
            if (value_fits(search, child, level)) {
                bool allowed_dollar = child->prefix_len > 0 || depth > 0 || !search->hidden;
                match(search, i, depth + 1, strange || !allowed_dollar);
            }
        } else if (slashed(search, child)) {
            lower(&search->rank, child->lowest.deny[search->action]);
        } else {
            match(search, i, depth + 1, true);
        }
    }
}

static void match_ranks(struct acl__search *search, uint32_t index, bool strange)
{
    const struct acl__ranks *ranks = &search->tree->ranks[index];
    lower(&search->rank, strange ? ranks->deny[search->action] : ranks->any[search->action]);
}

/*
 * The levels from `depth` on against the rules in and below the node. In a filter, + and # are
 * levels as well: no rule has them as text, so + is found under + only, and # stops here.
 */
static void match(struct acl__search *search, uint32_t index, uint32_t depth, bool strange)
{
    while (index != 0 && may_work(search, ACL__WORK_NODE)) {
        const struct acl__node *node = &search->tree->nodes[index];
        const struct acl__ranks *lowest = &node->lowest;
        if ((strange ? lowest->deny : lowest->any)[search->action] >= search->rank) {
            return;
        }
        if (node->below != 0) { /* never at depth 0: acl__without_empty */
            match_ranks(search, node->below, strange);
        }
        const struct acl__key *level = level_at(search, depth);
        if (level == NULL) {
            match_ranks(search, node->here, strange);
            return;
        }
        if (is_wildcard(level->text, '#')) {
            return;
        }
        if (node->patterns != 0) {
            match_values(search, node, level->text, depth, strange);
        }
        if (node->plus != 0 && (depth > 0 || !search->hidden)) { /* [MQTT-4.7.2-1] */
            match(search, node->plus, depth + 1, strange);
        }
        index = acl__tree_find(search->tree, index, level);
        depth++;
    }
}

void acl__search_match(struct acl__search *search, const struct acl__tree *tree, uint32_t root,
                       enum acl_action action)
{
    search->tree = tree;
    search->action = action;
    match(search, root, 0, false);
}

/* ---- denying rules that overlap a filter ----------------------------------------------------- */

static void overlap(struct acl__search *search, uint32_t index, uint32_t depth);

static void refuse_if_before(struct acl__search *search, uint32_t rank)
{
    if (rank < search->rank) {
        search->refused = true;
    }
}

/* Whether the level of `node` begins with $ for this client. */
static bool begins_with_dollar(const struct acl__search *search, const struct acl__node *node)
{
    struct slice text = slice_of(search->tree->texts + node->text, node->text_len);
    if (node->value != ACL__NO_VALUE && node->prefix_len == 0) {
        text = value_of(search, node->value);
    }
    return text.len > 0 && text.data[0] == '$';
}

/* A value that this client does not have may be any text, so that its level overlaps all. */
static bool value_overlaps(const struct acl__search *search, const struct acl__node *child,
                           struct slice level, uint32_t depth)
{
    if (!usable(search, child)) {
        return true;
    }
    if (is_wildcard(level, '+')) {
        return depth > 0 || !begins_with_dollar(search, child);
    }
    return value_fits(search, child, level);
}

static void overlap_values(struct acl__search *search, const struct acl__node *node,
                           struct slice level, uint32_t depth)
{
    const struct acl__node *nodes = search->tree->nodes;
    for (uint32_t i = node->patterns; i != 0 && may_work(search, 1); i = nodes[i].next) {
        const struct acl__node *child = &nodes[i];
        if (slashed(search, child)) {
            refuse_if_before(search, child->lowest.deny[ACL_SUBSCRIBE]);
        } else if (value_overlaps(search, child, level, depth)) {
            overlap(search, i, depth + 1);
        }
    }
}

/* A + of the filter overlaps each text. */
static void overlap_texts(struct acl__search *search, const struct acl__node *node, uint32_t depth)
{
    const struct acl__node *nodes = search->tree->nodes;
    for (uint32_t i = node->denying; i != 0 && may_work(search, 1); i = nodes[i].next) {
        if (depth > 0 || !begins_with_dollar(search, &nodes[i])) {
            overlap(search, i, depth + 1);
        }
    }
}

static void overlap(struct acl__search *search, uint32_t index, uint32_t depth)
{
    while (index != 0 && may_work(search, ACL__WORK_NODE)) {
        const struct acl__tree *tree = search->tree;
        const struct acl__node *node = &tree->nodes[index];
        if (node->lowest.deny[ACL_SUBSCRIBE] >= search->rank) {
            return;
        }
        refuse_if_before(search, tree->ranks[node->below].deny[ACL_SUBSCRIBE]);
        const struct acl__key *level = level_at(search, depth);
        if (level == NULL) {
            refuse_if_before(search, tree->ranks[node->here].deny[ACL_SUBSCRIBE]);
            return;
        }
        if (is_wildcard(level->text, '#')) {
            search->refused = true; /* by what is before in or below this node */
            return;
        }
        overlap_values(search, node, level->text, depth);
        if (depth > 0 || !search->hidden) {
            overlap(search, node->plus, depth + 1);
        }
        if (is_wildcard(level->text, '+')) {
            overlap_texts(search, node, depth);
            return;
        }
        index = acl__tree_find(tree, index, level);
        depth++;
    }
}

void acl__search_overlap(struct acl__search *search, const struct acl__tree *tree, uint32_t root)
{
    search->tree = tree;
    search->action = ACL_SUBSCRIBE;
    overlap(search, root, 0);
}
