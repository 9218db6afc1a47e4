#include "node/auth/acl_tree_priv.h"

#include "base/mem.h"
#include "codec/topic.h"

/*
 * Invariants:
 *   node 0 and ranks 0 stand for none;
 *   a parent is made before its children, so its index is lower;
 *   of the children of one node no two are the same level: text, prefix_len and value differ;
 *   at most 3/4 of the edges are in use.
 */
#define EDGES_MIN 8

static const struct acl__ranks no_ranks = {
    .any = {ACL__NO_RANK, ACL__NO_RANK},
    .deny = {ACL__NO_RANK, ACL__NO_RANK},
};

static bool room(void **items, uint32_t count, uint32_t more, uint32_t *cap, size_t size)
{
    if (more <= *cap - count) {
        return true;
    }
    size_t wanted = *cap > 0 ? (size_t)*cap * 2 : 8;
    while (wanted < (size_t)count + more) {
        wanted *= 2;
    }
    void *moved = wanted <= UINT32_MAX ? mem_try_resize(*items, wanted * size) : NULL;
    if (moved == NULL) {
        return false;
    }
    *items = moved;
    *cap = (uint32_t)wanted;
    return true;
}

#define ROOM(tree, items, count, cap, more) \
    room((void **)&(tree)->items, (tree)->count, more, &(tree)->cap, sizeof(*(tree)->items))

static bool add_node(struct acl__tree *tree, struct acl__node node, uint32_t *index)
{
    if (!ROOM(tree, nodes, node_count, node_cap, 1)) {
        return false;
    }
    node.lowest = no_ranks;
    *index = tree->node_count++;
    tree->nodes[*index] = node;
    return true;
}

static bool add_ranks(struct acl__tree *tree, uint32_t *index)
{
    if (!ROOM(tree, ranks, rank_count, rank_cap, 1)) {
        return false;
    }
    *index = tree->rank_count++;
    tree->ranks[*index] = no_ranks;
    return true;
}

static bool set_edges(struct acl__tree *tree, uint32_t cap)
{
    struct acl__edge *edges = mem_try_alloc(cap * sizeof(*edges));
    if (edges == NULL) {
        return false;
    }
    memset(edges, 0, cap * sizeof(*edges));
    for (uint32_t i = 0; i < tree->edge_cap; i++) {
        struct acl__edge edge = tree->edges[i];
        uint32_t at = edge.tag & (cap - 1);
        while (edge.child != 0 && edges[at].child != 0) {
            at = (at + 1) & (cap - 1);
        }
        if (edge.child != 0) {
            edges[at] = edge;
        }
    }
    mem_free(tree->edges);
    tree->edges = edges;
    tree->edge_cap = cap;
    return true;
}

uint64_t acl__seed(void)
{
    return hash_bytes("acl", 3);
}

bool acl__tree_init(struct acl__tree *tree)
{
    *tree = (struct acl__tree){.seed = acl__seed()};
    uint32_t none = 0;
    struct acl__node node = {.value = ACL__NO_VALUE};
    return add_node(tree, node, &none) && add_ranks(tree, &none) && set_edges(tree, EDGES_MIN);
}

void acl__tree_fini(struct acl__tree *tree)
{
    mem_free(tree->nodes);
    mem_free(tree->ranks);
    mem_free(tree->texts);
    mem_free(tree->edges);
    *tree = (struct acl__tree){.nodes = NULL};
}

bool acl__tree_root(struct acl__tree *tree, uint32_t *root)
{
    return add_node(tree, (struct acl__node){.value = ACL__NO_VALUE}, root);
}

bool acl__tree_text(struct acl__tree *tree, struct slice text, uint32_t *at)
{
    if (text.len > UINT32_MAX / 2 ||
        !ROOM(tree, texts, text_len, text_cap, (uint32_t)text.len + 1)) {
        return false;
    }
    *at = tree->text_len;
    if (text.len > 0) {
        memcpy(tree->texts + tree->text_len, text.data, text.len);
        tree->text_len += (uint32_t)text.len;
    }
    return true;
}

/* ---- edges ----------------------------------------------------------------------------------- */

static uint32_t tag_of(uint32_t parent, uint64_t hash)
{
    return (uint32_t)(((hash ^ parent) * 0x9e3779b97f4a7c15u) >> 32);
}

static inline bool is_text(const struct acl__tree *tree, const struct acl__node *node,
                           const struct acl__key *key)
{
    if (node->text_len != key->text.len || node->value != ACL__NO_VALUE) {
        return false;
    }
    const uint8_t *text = tree->texts + node->text;
    if (unlikely(node->text_len > ACL__WORDS_MAX)) {
        return memcmp(text, key->text.data, node->text_len) == 0;
    }
    struct acl__words words = acl__words_of(text, node->text_len);
    return words.low == key->words.low && words.high == key->words.high;
}

uint32_t acl__tree_find(const struct acl__tree *tree, uint32_t parent, const struct acl__key *key)
{
    uint32_t tag = tag_of(parent, key->hash);
    uint32_t mask = tree->edge_cap - 1;
    for (uint32_t at = tag & mask; tree->edges[at].child != 0; at = (at + 1) & mask) {
        uint32_t child = tree->edges[at].child;
        if (tree->edges[at].tag == tag && tree->nodes[child].parent == parent &&
            is_text(tree, &tree->nodes[child], key)) {
            return child;
        }
    }
    return 0;
}

static bool same_level(const struct acl__tree *tree, const struct acl__node *a,
                       const struct acl__node *b)
{
    return a->parent == b->parent && a->value == b->value && a->prefix_len == b->prefix_len &&
           slice_equal(slice_of(tree->texts + a->text, a->text_len),
                       slice_of(tree->texts + b->text, b->text_len));
}

/* Puts the new child into the list of its kind. */
static void link_child(struct acl__tree *tree, uint32_t child)
{
    struct acl__node *node = &tree->nodes[child];
    if (node->value != ACL__NO_VALUE) {
        node->next = tree->nodes[node->parent].patterns;
        tree->nodes[node->parent].patterns = child;
    }
}

/* The child that is as `wanted`, which is made if there is none; `*text_used`: it keeps the text.
 */
static bool child_like(struct acl__tree *tree, struct acl__node wanted, uint32_t *child,
                       bool *text_used)
{
    if ((tree->edge_count + 1) * 4 > tree->edge_cap * 3 && !set_edges(tree, tree->edge_cap * 2)) {
        return false;
    }
    struct slice text = slice_of(tree->texts + wanted.text, wanted.text_len);
    uint64_t hash = acl__key_of(text, tree->seed).hash;
    if (wanted.value != ACL__NO_VALUE) {
        hash ^= ((uint64_t)wanted.value + 1) << 56 ^ (uint64_t)wanted.prefix_len << 40;
    }
    uint32_t tag = tag_of(wanted.parent, hash);
    uint32_t at = tag & (tree->edge_cap - 1);
    for (; tree->edges[at].child != 0; at = (at + 1) & (tree->edge_cap - 1)) {
        if (tree->edges[at].tag == tag &&
            same_level(tree, &tree->nodes[tree->edges[at].child], &wanted)) {
            *child = tree->edges[at].child;
            *text_used = false;
            return true;
        }
    }
    if (!add_node(tree, wanted, child)) {
        return false;
    }
    tree->edges[at] = (struct acl__edge){.tag = tag, .child = *child};
    tree->edge_count++;
    link_child(tree, *child);
    *text_used = true;
    return true;
}

/* ---- rules ----------------------------------------------------------------------------------- */

static bool is_wildcard(struct slice level, char wildcard)
{
    return level.len == 1 && level.data[0] == (uint8_t)wildcard;
}

static bool plus_child(struct acl__tree *tree, uint32_t parent, uint32_t *child)
{
    *child = tree->nodes[parent].plus;
    if (*child != 0) {
        return true;
    }
    struct acl__node node = {.parent = parent, .value = ACL__NO_VALUE};
    if (!add_node(tree, node, child)) {
        return false;
    }
    tree->nodes[parent].plus = *child;
    return true;
}

static bool text_child(struct acl__tree *tree, uint32_t parent, struct slice raw, uint32_t *child,
                       uint8_t *values)
{
    if (!ROOM(tree, texts, text_len, text_cap, (uint32_t)raw.len + 1)) {
        return false;
    }
    struct acl__level level;
    const char *complaint = acl__level_parse(raw, tree->texts + tree->text_len, &level);
    ASSERT(complaint == NULL); /* acl_rules_add has looked */
    if (level.value != ACL__NO_VALUE) {
        *values |= (uint8_t)BIT(level.value);
    }
    struct acl__node wanted = {
        .text = tree->text_len,
        .text_len = (uint16_t)level.len,
        .prefix_len = (uint16_t)level.prefix_len,
        .parent = parent,
        .value = level.value,
    };
    bool text_used = false;
    if (!child_like(tree, wanted, child, &text_used)) {
        return false;
    }
    tree->text_len += text_used ? (uint32_t)level.len : 0;
    return true;
}

static void lower(uint32_t *rank, uint32_t other)
{
    *rank = other < *rank ? other : *rank;
}

static void ranks_fold(struct acl__ranks *ranks, const struct acl__ranks *other)
{
    for (unsigned action = 0; action < 2; action++) {
        lower(&ranks->any[action], other->any[action]);
        lower(&ranks->deny[action], other->deny[action]);
    }
}

static void ranks_add(struct acl__ranks *ranks, const struct acl_rule *rule, uint32_t number)
{
    bool deny = rule->permission == ACL_DENY;
    uint32_t rank = number * 2 + deny;
    for (unsigned action = 0; action < 2; action++) {
        if (rule->action == ACL_ALL || rule->action == (enum acl_action)action) {
            lower(&ranks->any[action], rank);
            lower(&ranks->deny[action], deny ? rank : ACL__NO_RANK);
        }
    }
}

struct slice acl__without_empty(struct slice filter)
{
    if (slice_equal(filter, slice_text("#"))) {
        return slice_text("+/#");
    }
    return slice_equal(filter, slice_text("/#")) ? slice_text("/+/#") : filter;
}

bool acl__tree_add(struct acl__tree *tree, uint32_t root, const struct acl_rule *rule,
                   uint32_t number, uint8_t *values)
{
    uint32_t node = root;
    bool done = false;
    bool below = false;
    for (struct slice rest = acl__without_empty(rule->filter); !done;) {
        struct slice level = topic_next_level(&rest, &done);
        below = is_wildcard(level, '#');
        if (below) {
            break;
        }
        bool added = is_wildcard(level, '+') ? plus_child(tree, node, &node)
                                             : text_child(tree, node, level, &node, values);
        if (!added) {
            return false;
        }
    }
    uint32_t ranks = below ? tree->nodes[node].below : tree->nodes[node].here;
    if (ranks == 0 && !add_ranks(tree, &ranks)) {
        return false;
    }
    ranks_add(&tree->ranks[ranks], rule, number);
    *(below ? &tree->nodes[node].below : &tree->nodes[node].here) = ranks;
    return true;
}

/* ---- ready ----------------------------------------------------------------------------------- */

/* Gives back what is too much; when even that fails, it stays as it is. */
static void trim(void **items, uint32_t count, uint32_t *cap, size_t size)
{
    void *moved = count > 0 ? mem_try_resize(*items, count * size) : NULL;
    if (moved != NULL) {
        *items = moved;
        *cap = count;
    }
}

void acl__tree_finish(struct acl__tree *tree)
{
    for (uint32_t i = tree->node_count - 1; i > 0; i--) {
        struct acl__node *node = &tree->nodes[i];
        struct acl__node *parent = &tree->nodes[node->parent];
        ranks_fold(&node->lowest, &tree->ranks[node->here]);
        ranks_fold(&node->lowest, &tree->ranks[node->below]);
        if (node->parent == 0) {
            continue;
        }
        ranks_fold(&parent->lowest, &node->lowest);
        bool plain = node->value == ACL__NO_VALUE && parent->plus != i;
        if (plain && node->lowest.deny[ACL_SUBSCRIBE] != ACL__NO_RANK) {
            node->next = parent->denying;
            parent->denying = i;
        }
    }
    trim((void **)&tree->nodes, tree->node_count, &tree->node_cap, sizeof(*tree->nodes));
    trim((void **)&tree->ranks, tree->rank_count, &tree->rank_cap, sizeof(*tree->ranks));
    trim((void **)&tree->texts, tree->text_len, &tree->text_cap, sizeof(*tree->texts));
}
