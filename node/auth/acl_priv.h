/*
 * acl: compiled rules, and which of their trees concern a client.
 *
 * Thread    any; immutable once made.
 */
#ifndef PULSE_NODE_AUTH_ACL_PRIV_H
#define PULSE_NODE_AUTH_ACL_PRIV_H

#include <stdatomic.h>

#include "node/auth/acl_tree_priv.h"

/* The rules for one set of clients: all of one user, of one group, of one user in one group, the
 * anonymous, those of them in one group, everybody. */
struct acl__scope {
    uint64_t hash;        /* of who */
    uint64_t fingerprint; /* of its rules and their numbers */
    uint32_t who;         /* in the texts of the tree: user name, group */
    uint32_t username_len;
    uint32_t group_len;
    uint32_t root;
    bool anonymous;
    uint8_t values; /* bits of the values that its rules ask for */
};

struct acl {
    _Atomic uint32_t references;
    bool default_allow;
    bool has_groups;
    struct acl__tree tree;
    struct acl__scope *scopes;
    uint32_t scope_count;
    uint32_t scope_cap;
    uint32_t *slots; /* open addressing: hash of who to index + 1; 0: empty */
    uint32_t slot_mask;
};

/* Calls `visit` for each scope that `subject` is in. */
typedef void acl__scope_visit(const struct acl__scope *scope, void *user);
void acl__each_scope(const struct acl *acl, const struct acl_subject *subject,
                     acl__scope_visit *visit, void *user);

#endif
