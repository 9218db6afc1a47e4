#include "node/auth/policy_priv.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/auth/scram_priv.h"

/* Groups of one client; more are left out of its rights (and can only come from a provider). */
#define GROUPS_MAX 1024

/* As the lead of the structure shows it, and what it was made of. */
struct identity {
    struct auth_identity shown;
    struct admission *admission;
};

/* ---- life ------------------------------------------------------------------------------------ */

static enum err read_rules(const struct auth_settings *settings, struct acl_rules *rules,
                           struct text *error)
{
    enum err err = ERR_OK;
    for (size_t i = 0; settings->rules != NULL && i < settings->rules->count && err == ERR_OK;
         i++) {
        err = acl_rules_add(rules, &settings->rules->items[i]);
        if (err != ERR_OK) {
            text_printf(error, "auth.acl, rule %zu: %s", i + 1, err_text(err));
        }
    }
    if (err == ERR_OK && settings->acl_file != NULL && settings->acl_file[0] != '\0') {
        err = acl_rules_read_file(rules, settings->acl_file, error);
    }
    return err;
}

enum err policy_create(const struct auth_settings *settings, struct policy **out,
                       struct text *error)
{
    struct acl_rules rules = {0};
    struct acl *acl = NULL;
    enum err err = read_rules(settings, &rules, error);
    if (err == ERR_OK) {
        acl = acl_create(&rules, settings->default_allow);
        if (acl == NULL) {
            text_add(error, "no memory for the access rules");
            err = ERR_MEMORY;
        }
    }
    acl_rules_fini(&rules);
    if (err != ERR_OK) {
        return err;
    }
    struct policy *policy = mem_alloc(sizeof(*policy));
    *policy =
        (struct policy){.references = 1, .acl = acl, .allow_anonymous = settings->allow_anonymous};
    for (size_t i = 0; i < settings->chain_len; i++) {
        policy->asks[settings->chain[i]] = true;
    }
    *out = policy;
    return ERR_OK;
}

void policy_add_store(struct policy *policy, enum auth_provider_kind kind, struct user_store *store,
                      bool scram)
{
    ASSERT(policy->store_count < POLICY_STORES_MAX);
    user_store_ref(store);
    policy->stores[policy->store_count] = store;
    policy->store_kinds[policy->store_count] = kind;
    policy->store_count++;
    policy->scram = policy->scram || (scram && user_store_first_scram(store) != NULL);
}

void policy_ref(struct policy *policy)
{
    atomic_fetch_add_explicit(&policy->references, 1, memory_order_relaxed);
}

void policy_unref(struct policy *policy)
{
    if (policy == NULL ||
        atomic_fetch_sub_explicit(&policy->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < policy->store_count; i++) {
        user_store_unref(policy->stores[i]);
    }
    acl_unref(policy->acl);
    mem_free(policy);
}

/* ---- users ----------------------------------------------------------------------------------- */

const struct stored_user *policy_find_user(const struct policy *policy, struct slice username,
                                           enum auth_provider_kind *kind)
{
    for (size_t i = 0; i < policy->store_count; i++) {
        const struct stored_user *user = user_store_find(policy->stores[i], username);
        if (user != NULL) {
            *kind = policy->store_kinds[i];
            return user;
        }
    }
    return NULL;
}

/*
 * What is secret and yet stays the same as long as the file does: the keys of its first user. So a
 * made-up salt does not change when the broker is started again, as a real one does not.
 */
void policy_make_up_scram(const struct policy *policy, struct slice username,
                          struct password_hash *keys)
{
    const struct stored_user *first = NULL;
    for (size_t i = 0; i < policy->store_count && first == NULL; i++) {
        first = user_store_first_scram(policy->stores[i]);
    }
    ASSERT(first != NULL); /* policy->scram */
    scram_make_up(slice_of(first->scram->key, first->scram->key_len), username,
                  first->scram->cost[0], first->scram->salt_len, keys);
}

/* ---- identities ------------------------------------------------------------------------------ */

struct admission *identity_admission(const struct auth_identity *identity)
{
    return container_of(identity, struct identity, shown)->admission;
}

void auth_identity_ref(struct auth_identity *identity)
{
    atomic_fetch_add_explicit(&identity->references, 1, memory_order_relaxed);
}

void auth_identity_unref(struct auth_identity *identity)
{
    if (identity == NULL ||
        atomic_fetch_sub_explicit(&identity->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct identity *whole = container_of(identity, struct identity, shown);
    if (identity->view != NULL) {
        acl_view_unref(identity->view);
    }
    admission_unref(whole->admission);
    mem_free(whole);
}

/* Cuts "admins,devices" to slices; gives how many. */
static size_t split_groups(struct slice text, struct slice groups[static GROUPS_MAX])
{
    size_t count = 0;
    while (text.len > 0 && count < GROUPS_MAX) {
        const uint8_t *comma = memchr(text.data, ',', text.len);
        size_t len = comma != NULL ? (size_t)(comma - text.data) : text.len;
        if (len > 0) {
            groups[count++] = slice_of(text.data, len);
        }
        text = slice_from(text, comma != NULL ? len + 1 : len);
    }
    return count;
}

static enum err make_identity(const struct policy *policy, struct admission *admission,
                              struct slice groups_text, const struct acl_subject *subject,
                              struct auth_identity **out)
{
    struct slice groups[GROUPS_MAX];
    struct acl_subject whole = *subject;
    whole.username = admission->username;
    whole.groups = groups;
    whole.group_count = split_groups(groups_text, groups);
    struct identity *made = mem_try_alloc(sizeof(*made) + groups_text.len);
    if (made == NULL) {
        return ERR_MEMORY;
    }
    struct acl_view *view =
        acl_view_create(policy->acl, &whole, admission->rules.count > 0 ? &admission->rules : NULL);
    if (view == NULL) {
        mem_free(made);
        return ERR_MEMORY;
    }
    if (groups_text.len > 0) {
        memcpy(made + 1, groups_text.data, groups_text.len);
    }
    *made = (struct identity){.shown = {.references = 1,
                                        .view = view,
                                        .provider = admission->provider,
                                        .expires_at_ms = admission->expires_at_ms,
                                        .username = admission->username,
                                        .groups_text = slice_of(made + 1, groups_text.len)},
                              .admission = admission};
    admission_ref(admission);
    *out = &made->shown;
    return ERR_OK;
}

static bool may_come_in(const struct policy *policy, const struct admission *admission)
{
    if (admission->expires_at_ms <= clock_wall_ms()) {
        return false;
    }
    return admission->provider == AUTH_PROVIDER_COUNT ? policy->allow_anonymous
                                                      : policy->asks[admission->provider];
}

enum err policy_identify(const struct policy *policy, struct admission *admission,
                         const struct acl_subject *subject, struct auth_identity **out)
{
    enum auth_provider_kind provider = admission->provider;
    enum auth_provider_kind kind = AUTH_PROVIDER_COUNT;
    struct slice groups = admission->groups;
    if (!may_come_in(policy, admission)) {
        return ERR_INVALID;
    }
    if (provider == AUTH_USERS || provider == AUTH_PASSWORD_FILE || provider == AUTH_CERTIFICATE) {
        const struct stored_user *user = policy_find_user(policy, admission->username, &kind);
        if (provider != AUTH_CERTIFICATE &&
            (user == NULL || kind != provider || user->fingerprint != admission->fingerprint)) {
            return ERR_INVALID;
        }
        groups = user != NULL ? user->groups : groups;
    }
    return make_identity(policy, admission, groups, subject, out);
}
