/*
 * acl_tree: the filters of rules as trees of levels, one tree for each set of clients, all in the
 * same arrays. A search goes down by levels and keeps the lowest rank, so its time depends on the
 * topic and on how often rules fork, not on how many rules there are.
 *
 * Owns      its arrays.
 * Thread    built by one; immutable and for all afterwards.
 * Errors    false: no memory; the tree is only good for acl__tree_fini then.
 * Not here  searching (acl_match.c), which tree concerns whom (acl.c).
 */
#ifndef PULSE_NODE_AUTH_ACL_TREE_PRIV_H
#define PULSE_NODE_AUTH_ACL_TREE_PRIV_H

#include "base/hash.h"
#include "node/auth/acl.h"

#define ACL__TOPIC_BYTES_MAX 65535 /* what two bytes of length can say */

/*
 * The text of a level as two numbers: levels of one length up to 16 are equal exactly when both
 * numbers are. They are most of all levels, and this is half of what a search does.
 */
struct acl__words {
    uint64_t low;
    uint64_t high;
};

static inline struct acl__words acl__words_of(const uint8_t *text, size_t len)
{
    struct acl__words words = {.low = 0, .high = 0};
    if (len >= 8) {
        memcpy(&words.low, text, 8);
        memcpy(&words.high, text + len - 8, 8);
    } else if (len >= 4) {
        memcpy(&words.low, text, 4);
        memcpy(&words.high, text + len - 4, 4);
    } else if (len > 0) {
        words.low = text[0] | (uint64_t)text[len / 2] << 8 | (uint64_t)text[len - 1] << 16;
    }
    return words;
}

#define ACL__WORDS_MAX 16

/* A level that is looked for. */
struct acl__key {
    struct slice text;
    struct acl__words words;
    uint64_t hash;
};

/* `seed` is that of the tree. Borrows `text`. */
static inline struct acl__key acl__key_of(struct slice text, uint64_t seed)
{
    struct acl__key key = {.text = text, .words = acl__words_of(text.data, text.len)};
    if (unlikely(text.len > ACL__WORDS_MAX)) {
        key.hash = hash_slice(text);
        return key;
    }
    unsigned __int128 product = (unsigned __int128)(key.words.low ^ seed) *
                                (key.words.high ^ 0x9e3779b97f4a7c15u ^ text.len);
    key.hash = (uint64_t)product ^ (uint64_t)(product >> 64);
    return key;
}

/* What of a client a rule may ask for. */
enum acl__value {
    ACL__CLIENT_ID,
    ACL__USERNAME,
    ACL__COMMON_NAME,
    ACL__ORGANIZATION,
    ACL__ORGANIZATIONAL_UNIT,
    ACL__VALUE_COUNT,
    ACL__NO_VALUE = ACL__VALUE_COUNT
};

/* One level of the filter of a rule: text, or prefix value suffix. */
struct acl__level {
    size_t len; /* of the text; of prefix and suffix together */
    size_t prefix_len;
    uint8_t value; /* ACL__NO_VALUE: it is only text */
};

/* Takes a level apart; `text` (room for raw.len bytes; NULL: only checked) gets it without the
 * percent signs. Gives a complaint, or NULL. */
const char *acl__level_parse(struct slice raw, uint8_t *text, struct acl__level *level);

/* A rank is twice the number of a rule, plus 1 when it denies: the lower comes first. */
#define ACL__NO_RANK UINT32_MAX

/* The lowest of some rules; [ACL_PUBLISH], [ACL_SUBSCRIBE]. */
struct acl__ranks {
    uint32_t any[2];
    uint32_t deny[2];
};

/* Indexes are into the arrays of the tree; 0 is none. */
struct acl__node {
    uint32_t text; /* where its level is in `texts` */
    uint16_t text_len;
    uint16_t prefix_len;
    uint32_t parent;
    uint32_t plus;     /* the child for + */
    uint32_t patterns; /* the first child with a value; goes on with `next` */
    uint32_t denying;  /* the first child with plain text that has a rule against subscribing in or
                          below it; goes on with `next` */
    uint32_t next;
    uint32_t here;            /* ranks of the filters that end here */
    uint32_t below;           /* ranks of those that end here with /# */
    struct acl__ranks lowest; /* of all in and below this node */
    uint8_t value;
};

struct acl__edge {
    uint32_t tag;
    uint32_t child; /* 0: empty */
};

struct acl__tree {
    struct acl__node *nodes;
    struct acl__ranks *ranks;
    uint8_t *texts;
    struct acl__edge *edges; /* open addressing: parent and level to child */
    uint32_t node_count, node_cap;
    uint32_t rank_count, rank_cap;
    uint32_t text_len, text_cap;
    uint32_t edge_count, edge_cap; /* the capacity is a power of 2 */
    uint64_t seed;                 /* of hashes; the same for all trees of the process */
};

/* What trees are made with; changes only in hash_seed_init. */
uint64_t acl__seed(void);

must_check bool acl__tree_init(struct acl__tree *tree);
void acl__tree_fini(struct acl__tree *tree);
/* A new, empty root for acl__tree_add. */
must_check bool acl__tree_root(struct acl__tree *tree, uint32_t *root);
/* Keeps bytes for the owner of the tree; `*at` is where they are in `texts`. */
must_check bool acl__tree_text(struct acl__tree *tree, struct slice text, uint32_t *at);
/* `values` gets the bits of the values that the rule asks for. Numbers of one root must grow. */
must_check bool acl__tree_add(struct acl__tree *tree, uint32_t root, const struct acl_rule *rule,
                              uint32_t number, uint8_t *values);
/* After the last rule: makes it ready for searches, and small. */
void acl__tree_finish(struct acl__tree *tree);

/* The child of `parent` with the plain level `key`; 0: none. */
uint32_t acl__tree_find(const struct acl__tree *tree, uint32_t parent, const struct acl__key *key);

/*
 * No topic is empty: # and +/# are the same topics, /# and /+/# too. Gives the longer form, so that
 * what # stands for below a level can be told from the level. Borrows `filter`.
 */
struct slice acl__without_empty(struct slice filter);

static inline struct slice acl__prefix(const struct acl__tree *tree, const struct acl__node *node)
{
    return slice_of(tree->texts + node->text, node->prefix_len);
}

static inline struct slice acl__suffix(const struct acl__tree *tree, const struct acl__node *node)
{
    return slice_of(tree->texts + node->text + node->prefix_len,
                    (size_t)(node->text_len - node->prefix_len));
}

#endif
