#include "node/auth/acl_priv.h"

#include "base/hash.h"
#include "base/mem.h"

/* Who a scope is for. */
struct who {
    struct slice username;
    struct slice group;
    bool anonymous;
};

static uint64_t hash_mix(uint64_t hash, uint64_t more)
{
    uint64_t both[2] = {hash, more};
    return hash_bytes(both, sizeof(both));
}

static uint64_t who_hash(const struct who *who)
{
    uint64_t hash = hash_mix(hash_slice(who->username), who->anonymous);
    return who->group.len > 0 ? hash_mix(hash, hash_slice(who->group)) : hash;
}

/* ---- scopes ---------------------------------------------------------------------------------- */

static bool scope_is(const struct acl *acl, const struct acl__scope *scope, const struct who *who)
{
    const uint8_t *texts = acl->tree.texts + scope->who;
    return scope->anonymous == who->anonymous &&
           slice_equal(slice_of(texts, scope->username_len), who->username) &&
           slice_equal(slice_of(texts + scope->username_len, scope->group_len), who->group);
}

/* Where `who` is in the slots, or the empty slot where it would be. */
static uint32_t slot_of(const struct acl *acl, const struct who *who, uint64_t hash)
{
    uint32_t slot = (uint32_t)hash & acl->slot_mask;
    for (; acl->slots[slot] != 0; slot = (slot + 1) & acl->slot_mask) {
        const struct acl__scope *scope = &acl->scopes[acl->slots[slot] - 1];
        if (scope->hash == hash && scope_is(acl, scope, who)) {
            break;
        }
    }
    return slot;
}

static bool set_slots(struct acl *acl, uint32_t count)
{
    uint32_t *slots = mem_try_alloc(count * sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    memset(slots, 0, count * sizeof(*slots));
    for (uint32_t i = 0; i < acl->scope_count; i++) {
        uint32_t slot = (uint32_t)acl->scopes[i].hash & (count - 1);
        while (slots[slot] != 0) {
            slot = (slot + 1) & (count - 1);
        }
        slots[slot] = i + 1;
    }
    mem_free(acl->slots);
    acl->slots = slots;
    acl->slot_mask = count - 1;
    return true;
}

/* Room for one more scope, in at most half of the slots. */
static bool scope_room(struct acl *acl)
{
    if (acl->scope_count < acl->scope_cap) {
        return true;
    }
    uint32_t cap = acl->scope_cap > 0 ? acl->scope_cap * 2 : 2;
    struct acl__scope *scopes = mem_try_resize(acl->scopes, cap * sizeof(*scopes));
    if (scopes == NULL) {
        return false;
    }
    acl->scopes = scopes;
    acl->scope_cap = cap;
    return set_slots(acl, cap * 2);
}

static struct acl__scope *scope_for(struct acl *acl, const struct who *who)
{
    if (!scope_room(acl)) {
        return NULL;
    }
    uint64_t hash = who_hash(who);
    uint32_t slot = slot_of(acl, who, hash);
    if (acl->slots[slot] != 0) {
        return &acl->scopes[acl->slots[slot] - 1];
    }
    struct acl__scope scope = {
        .hash = hash,
        .username_len = (uint32_t)who->username.len,
        .group_len = (uint32_t)who->group.len,
        .anonymous = who->anonymous,
    };
    uint32_t group = 0;
    if (!acl__tree_text(&acl->tree, who->username, &scope.who) ||
        !acl__tree_text(&acl->tree, who->group, &group) ||
        !acl__tree_root(&acl->tree, &scope.root)) {
        return NULL;
    }
    acl->has_groups = acl->has_groups || who->group.len > 0;
    acl->scopes[acl->scope_count] = scope;
    acl->slots[slot] = ++acl->scope_count;
    return &acl->scopes[acl->scope_count - 1];
}

static void visit_scope(const struct acl *acl, const struct who *who, acl__scope_visit *visit,
                        void *user)
{
    uint32_t slot = slot_of(acl, who, who_hash(who));
    if (acl->slots[slot] != 0) {
        visit(&acl->scopes[acl->slots[slot] - 1], user);
    }
}

/* Those for everybody, and those for this user or the anonymous. */
static void visit_both(const struct acl *acl, const struct acl_subject *subject, struct slice group,
                       acl__scope_visit *visit, void *user)
{
    struct who everybody = {.group = group};
    struct who self = {
        .username = subject->username,
        .group = group,
        .anonymous = subject->username.len == 0,
    };
    visit_scope(acl, &everybody, visit, user);
    visit_scope(acl, &self, visit, user);
}

void acl__each_scope(const struct acl *acl, const struct acl_subject *subject,
                     acl__scope_visit *visit, void *user)
{
    visit_both(acl, subject, slice_of(NULL, 0), visit, user);
    for (size_t i = 0; acl->has_groups && i < subject->group_count; i++) {
        if (subject->groups[i].len > 0) {
            visit_both(acl, subject, subject->groups[i], visit, user);
        }
    }
}

/* ---- rules ----------------------------------------------------------------------------------- */

static void note_rule(struct acl__scope *scope, const struct acl_rule *rule, uint32_t number)
{
    uint64_t what = (uint64_t)number << 8 | (uint64_t)rule->permission << 4 | rule->action;
    scope->fingerprint = hash_mix(hash_mix(scope->fingerprint, what), hash_slice(rule->filter));
}

static bool add_rule(struct acl *acl, const struct acl_rule *rule, uint32_t number)
{
    struct who who = {
        .username = rule->username,
        .group = rule->group,
        .anonymous = rule->anonymous,
    };
    struct acl__scope *scope = scope_for(acl, &who);
    if (scope == NULL) {
        return false;
    }
    note_rule(scope, rule, number);
    return acl__tree_add(&acl->tree, scope->root, rule, number, &scope->values);
}

static bool fill(struct acl *acl, const struct acl_rules *rules)
{
    if (!acl__tree_init(&acl->tree) || !scope_room(acl)) {
        return false;
    }
    for (size_t i = 0; i < rules->count; i++) {
        if (!add_rule(acl, &rules->items[i], (uint32_t)i)) {
            return false;
        }
    }
    acl__tree_finish(&acl->tree);
    return true;
}

struct acl *acl_create(const struct acl_rules *rules, bool default_allow)
{
    ASSERT(rules->count <= ACL_RULES_MAX);
    struct acl *acl = mem_try_alloc(sizeof(*acl));
    if (acl == NULL) {
        return NULL;
    }
    *acl = (struct acl){
        .references = 1,
        .default_allow = default_allow,
    };
    if (!fill(acl, rules)) {
        acl_unref(acl);
        return NULL;
    }
    return acl;
}

void acl_ref(struct acl *acl)
{
    atomic_fetch_add_explicit(&acl->references, 1, memory_order_relaxed);
}

void acl_unref(struct acl *acl)
{
    if (acl == NULL || atomic_fetch_sub_explicit(&acl->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    acl__tree_fini(&acl->tree);
    mem_free(acl->scopes);
    mem_free(acl->slots);
    mem_free(acl);
}
