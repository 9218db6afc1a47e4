/*
 * policy: what is known without asking anybody outside: access rules, users of the configuration
 * and of the password file, who may come in at all. From it and an admission comes an identity.
 *
 * Owns      its rules and stores. Immutable, counted; a reload makes a new one.
 * Thread    any.
 */
#ifndef PULSE_NODE_AUTH_POLICY_PRIV_H
#define PULSE_NODE_AUTH_POLICY_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"
#include "node/auth/acl.h"
#include "node/auth/admission_priv.h"
#include "node/auth/auth.h"
#include "node/auth/user_store_priv.h"

#define POLICY_STORES_MAX 2

struct policy {
    _Atomic uint32_t references;
    struct acl *acl;
    bool allow_anonymous;
    bool scram;                     /* offered, and some user has keys for it */
    bool asks[AUTH_PROVIDER_COUNT]; /* which providers are in the chain */
    /* In the order of the chain. */
    struct user_store *stores[POLICY_STORES_MAX];
    enum auth_provider_kind store_kinds[POLICY_STORES_MAX];
    size_t store_count;
};

/* Rules and the like; stores are added by policy_add_store. */
must_check enum err policy_create(const struct auth_settings *settings, struct policy **out,
                                  struct text *error);
/* Keeps a reference on `store`. Before the policy is shown to others. */
void policy_add_store(struct policy *policy, enum auth_provider_kind kind, struct user_store *store,
                      bool scram);
void policy_ref(struct policy *policy);
void policy_unref(struct policy *policy); /* NULL is allowed */

/* Borrows the user from the first store that has it, or NULL. */
const struct stored_user *policy_find_user(const struct policy *policy, struct slice username,
                                           enum auth_provider_kind *kind);
/* Keys for SCRAM of somebody there is not. */
void policy_make_up_scram(const struct policy *policy, struct slice username,
                          struct password_hash *keys);

/*
 * Who somebody is under this policy, whom a provider let in. `subject`: client id and fields of the
 * certificate. ERR_INVALID: under this policy it may not come in: its user is gone or has another
 * password, its provider is not asked any more, or its time is over.
 */
must_check enum err policy_identify(const struct policy *policy, struct admission *admission,
                                    const struct acl_subject *subject, struct auth_identity **out);
/* The admission that an identity was made of. Borrowed. */
struct admission *identity_admission(const struct auth_identity *identity);

#endif
