#include <openssl/crypto.h>

#include "base/mem.h"
#include "node/auth/attempt_priv.h"

/* What the names that a client gives in several places must be: the same. NULL: they are. */
static const char *check_names(const struct auth_attempt *attempt)
{
    const struct auth_request *request = &attempt->request;
    struct slice name = scram_username(attempt->scram);
    struct slice acts_as = scram_authorization(attempt->scram);
    if (request->has_username && request->username.len > 0 &&
        !slice_equal(request->username, name)) {
        return "the user name is not that of the SCRAM message";
    }
    if (acts_as.len > 0 && !slice_equal(acts_as, name)) {
        return "acting as somebody else is not offered";
    }
    if (attempt->chain->policy->asks[AUTH_CERTIFICATE] && request->certificate_identity.len > 0 &&
        !slice_equal(request->certificate_identity, name)) {
        return "the user name is not that of the certificate";
    }
    return NULL;
}

/* The challenge looks alike, whether there is such a user or not. */
static const char *challenge(struct auth_attempt *attempt, struct text *server_first)
{
    const struct policy *policy = attempt->chain->policy;
    struct slice name = scram_username(attempt->scram);
    enum auth_provider_kind kind = AUTH_PROVIDER_COUNT;
    const struct stored_user *user = policy_find_user(policy, name, &kind);
    struct password_hash keys;
    policy_make_up_scram(policy, name, &keys);
    bool known = user != NULL && user->scram != NULL;
    if (known) {
        const struct admission from = {.provider = kind,
                                       .username = name,
                                       .expires_at_ms = UINT64_MAX,
                                       .fingerprint = user->fingerprint};
        keys = *user->scram;
        attempt->scram_admission = admission_create(&from, NULL);
        known = attempt->scram_admission != NULL;
    }
    const char *wrong =
        scram_challenge(attempt->scram, &keys, known, slice_of(NULL, 0), server_first);
    OPENSSL_cleanse(&keys, sizeof(keys));
    return wrong;
}

void scram_login__begin(struct auth_attempt *attempt)
{
    struct text server_first = {0};
    attempt->chain = attempt->auth->chain;
    chain_ref(attempt->chain);
    if (!slice_equal(attempt->request.method, slice_text(SCRAM_METHOD)) ||
        !attempt->chain->policy->scram) {
        verdict__give(attempt, AUTH_BAD_METHOD, "this authentication method is not offered");
        return;
    }
    const char *wrong = scram_create(attempt->request.data, &attempt->scram);
    if (wrong == NULL) {
        wrong = check_names(attempt);
    }
    if (wrong == NULL) {
        wrong = challenge(attempt, &server_first);
    }
    if (wrong == NULL) {
        verdict__challenge(attempt, slice_of(server_first.data, server_first.len));
    } else {
        verdict__give(attempt, AUTH_DENIED, wrong);
    }
    text_fini(&server_first);
}

void scram_login__finish(struct auth_attempt *attempt)
{
    struct text server_final = {0};
    pthread_mutex_lock(&attempt->lock);
    struct slice reply = slice_of(attempt->reply, attempt->reply_len);
    attempt->reply = NULL;
    pthread_mutex_unlock(&attempt->lock);
    const char *wrong = scram_finish(attempt->scram, reply, &server_final);
    mem_free((void *)(uintptr_t)reply.data);
    if (wrong == NULL) {
        struct admission *admission = attempt->scram_admission;
        attempt->scram_admission = NULL;
        verdict__admit(attempt, admission, slice_of(server_final.data, server_final.len));
    } else {
        verdict__refuse(attempt, wrong);
    }
    text_fini(&server_final);
}
