#include "node/auth/acl.h"

#include <stdatomic.h>

#include "base/hash.h"
#include "base/mem.h"
#include "codec/topic.h"
#include "node/auth/acl_match_priv.h"
#include "node/auth/acl_priv.h"

/*
 * What one client may do. Small, as every client has one: it points at the trees that are for the
 * client, and has a copy of those values that their rules ask for.
 */
struct acl_view {
    _Atomic uint32_t references;
    uint32_t root_count;
    uint32_t extra_root_count; /* the first of them are of `extra` */
    struct acl__values values;
    struct acl *acl;
    struct acl *extra; /* NULL: none */
    uint64_t fingerprint;
    uint32_t roots[]; /* then the bytes of the values */
};

static const uint8_t *value_bytes(const struct acl_view *view)
{
    return (const uint8_t *)&view->roots[view->root_count];
}

/* ---- making ---------------------------------------------------------------------------------- */

/* What a view is made of, collected before its size is known. */
struct plan {
    uint32_t root_count;
    uint32_t extra_root_count;
    uint8_t wanted; /* bits of values */
    uint64_t fingerprint;
    uint32_t *roots; /* NULL while they are counted */
};

static void plan_mix(struct plan *plan, uint64_t more)
{
    uint64_t both[2] = {plan->fingerprint, more};
    plan->fingerprint = hash_bytes(both, sizeof(both));
}

static void plan_scope(const struct acl__scope *scope, void *user)
{
    struct plan *plan = user;
    if (plan->roots != NULL) {
        plan->roots[plan->root_count] = scope->root;
    } else {
        plan->wanted |= scope->values;
        plan_mix(plan, scope->fingerprint);
    }
    plan->root_count++;
}

static void plan_all(struct plan *plan, const struct acl *acl, const struct acl *extra,
                     const struct acl_subject *subject)
{
    plan->root_count = 0;
    if (extra != NULL) {
        acl__each_scope(extra, subject, plan_scope, plan);
    }
    plan->extra_root_count = plan->root_count;
    acl__each_scope(acl, subject, plan_scope, plan);
}

static bool has_slash(struct slice value)
{
    return value.len > 0 && memchr(value.data, '/', value.len) != NULL;
}

/* Whether it can stand in a level of a topic. */
static bool fits_level(struct slice value)
{
    if (value.len == 0 || value.len > ACL__TOPIC_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] == '+' || value.data[i] == '#' || value.data[i] == '\0') {
            return false;
        }
    }
    return !has_slash(value);
}

static struct acl__values values_of(const struct slice *all, uint8_t wanted, size_t *len)
{
    struct acl__values values = {.usable = 0};
    *len = 0;
    for (unsigned i = 0; i < ACL__VALUE_COUNT; i++) {
        if ((wanted & BIT(i)) == 0) {
            continue;
        }
        if (fits_level(all[i])) {
            values.usable |= (uint8_t)BIT(i);
            values.len[i] = (uint16_t)all[i].len;
            *len += all[i].len;
        } else if (has_slash(all[i])) {
            values.slashed |= (uint8_t)BIT(i);
        }
    }
    return values;
}

/* The view holds a reference on `acl` and on `extra`: that of the caller. */
static struct acl_view *build(struct plan *plan, struct acl *acl, struct acl *extra,
                              const struct acl_subject *subject)
{
    const struct slice all[ACL__VALUE_COUNT] = {
        [ACL__CLIENT_ID] = subject->client_id,
        [ACL__USERNAME] = subject->username,
        [ACL__COMMON_NAME] = subject->common_name,
        [ACL__ORGANIZATION] = subject->organization,
        [ACL__ORGANIZATIONAL_UNIT] = subject->organizational_unit,
    };
    size_t len = 0;
    struct acl__values values = values_of(all, plan->wanted, &len);
    size_t size = sizeof(struct acl_view) + plan->root_count * sizeof(uint32_t) + len;
    struct acl_view *view = mem_try_alloc(size);
    if (view == NULL) {
        return NULL;
    }
    plan->roots = view->roots;
    plan_all(plan, acl, extra, subject);
    uint8_t *to = (uint8_t *)&view->roots[plan->root_count];
    for (unsigned i = 0; i < ACL__VALUE_COUNT; i++) {
        if (values.len[i] > 0) {
            memcpy(to, all[i].data, values.len[i]);
            to += values.len[i];
            plan_mix(plan, hash_slice(all[i]));
        }
        plan_mix(plan, values.len[i]);
    }
    plan_mix(plan, (uint64_t)values.slashed << 8 | values.usable);
    *view = (struct acl_view){
        .references = 1,
        .root_count = plan->root_count,
        .extra_root_count = plan->extra_root_count,
        .values = values,
        .acl = acl,
        .extra = extra,
        .fingerprint = plan->fingerprint | 1,
    };
    return view;
}

struct acl_view *acl_view_create(struct acl *acl, const struct acl_subject *subject,
                                 const struct acl_rules *extra)
{
    ASSERT(acl->tree.seed == acl__seed()); /* hash_seed_init was not called behind acl_create */
    struct acl *own = NULL;
    if (extra != NULL && extra->count > 0) {
        own = acl_create(extra, false);
        if (own == NULL) {
            return NULL;
        }
    }
    struct plan plan = {.fingerprint = acl->default_allow};
    plan_all(&plan, acl, own, subject);
    plan_mix(&plan, plan.extra_root_count);
    struct acl_view *view = build(&plan, acl, own, subject);
    if (view == NULL) {
        acl_unref(own);
        return NULL;
    }
    acl_ref(acl);
    return view;
}

void acl_view_ref(struct acl_view *view)
{
    atomic_fetch_add_explicit(&view->references, 1, memory_order_relaxed);
}

void acl_view_unref(struct acl_view *view)
{
    if (view == NULL ||
        atomic_fetch_sub_explicit(&view->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    acl_unref(view->acl);
    acl_unref(view->extra);
    mem_free(view);
}

uint64_t acl_view_fingerprint(const struct acl_view *view)
{
    return view->fingerprint;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Some of the rules of a view: the extra ones, which come first, or the common ones. */
struct part {
    const struct acl__tree *tree;
    const uint32_t *roots;
    uint32_t root_count;
};

static struct part extra_part(const struct acl_view *view)
{
    return (struct part){
        .tree = view->extra != NULL ? &view->extra->tree : NULL,
        .roots = view->roots,
        .root_count = view->extra_root_count,
    };
}

static struct part common_part(const struct acl_view *view)
{
    return (struct part){
        .tree = &view->acl->tree,
        .roots = view->roots + view->extra_root_count,
        .root_count = view->root_count - view->extra_root_count,
    };
}

/* The first rule of the part that matches the topic, or covers the filter. */
static uint32_t first_rank(struct acl__search *search, struct part part, enum acl_action action)
{
    search->rank = ACL__NO_RANK;
    for (uint32_t i = 0; i < part.root_count; i++) {
        acl__search_match(search, part.tree, part.roots[i], action);
    }
    return search->rank;
}

/* Whether a denying rule of the part comes before `rank` and overlaps the filter. */
static bool denied_before(struct acl__search *search, struct part part, uint32_t rank)
{
    search->rank = rank;
    for (uint32_t i = 0; i < part.root_count && !search->refused; i++) {
        acl__search_overlap(search, part.tree, part.roots[i]);
    }
    return search->refused;
}

static bool rank_allows(uint32_t rank)
{
    return (rank & 1) == 0;
}

static bool may(const struct acl_view *view, struct slice topic, enum acl_action action)
{
    if (topic.len > ACL__TOPIC_BYTES_MAX || !topic_name_valid(topic)) {
        return false;
    }
    struct acl__search search;
    acl__search_init(&search, &view->values, value_bytes(view), view->acl->tree.seed, topic);
    uint32_t rank = first_rank(&search, extra_part(view), action);
    if (rank == ACL__NO_RANK) {
        rank = first_rank(&search, common_part(view), action);
    }
    if (search.refused) {
        return false;
    }
    return rank == ACL__NO_RANK ? view->acl->default_allow : rank_allows(rank);
}

bool acl_may_publish(const struct acl_view *view, struct slice topic)
{
    return may(view, topic, ACL_PUBLISH);
}

bool acl_may_receive(const struct acl_view *view, struct slice topic)
{
    return may(view, topic, ACL_SUBSCRIBE);
}

static bool is_filter(struct slice text)
{
    struct topic_filter parsed;
    return text.len <= ACL__TOPIC_BYTES_MAX && utf8_valid(text) &&
           topic_filter_parse(text, &parsed) && parsed.share.len == 0;
}

bool acl_may_subscribe(const struct acl_view *view, struct slice filter)
{
    if (!is_filter(filter)) {
        return false;
    }
    struct acl__search search;
    acl__search_init(&search, &view->values, value_bytes(view), view->acl->tree.seed,
                     acl__without_empty(filter));
    uint32_t extra = first_rank(&search, extra_part(view), ACL_SUBSCRIBE);
    uint32_t common = ACL__NO_RANK;
    bool allowed = rank_allows(extra);
    if (extra == ACL__NO_RANK) {
        common = first_rank(&search, common_part(view), ACL_SUBSCRIBE);
        allowed = common == ACL__NO_RANK ? view->acl->default_allow : rank_allows(common);
    }
    if (!allowed || denied_before(&search, extra_part(view), extra)) {
        return false;
    }
    return extra != ACL__NO_RANK || !denied_before(&search, common_part(view), common);
}

/* ---- what was asked lately ------------------------------------------------------------------- */

bool acl_cache_may_publish(struct acl_cache *cache, const struct acl_view *view, struct slice topic)
{
    uint64_t hash = hash_slice(topic);
    uint64_t key = (hash | 2) & ~(uint64_t)1; /* never 0 */
    unsigned place = (unsigned)(hash >> 61);  /* the one that gives way when all are taken */
    for (unsigned i = 0; i < ACL_CACHE_SIZE; i++) {
        if ((cache->topics[i] & ~(uint64_t)1) == key) {
            return (cache->topics[i] & 1) != 0;
        }
        if (cache->topics[i] == 0) {
            place = i;
            break; /* the empty ones are the last */
        }
    }
    bool allowed = acl_may_publish(view, topic);
    cache->topics[place] = key | allowed;
    return allowed;
}
