#include <openssl/crypto.h>

#include "base/mem.h"
#include "node/auth/chain_priv.h"
#include "node/auth/password.h"
#include "node/auth/provider_priv.h"
#include "node/auth/user_store_priv.h"

/* ---- users of the configuration and of the password file ------------------------------------- */

struct store_provider {
    struct auth_provider base;
    struct user_store *store;
    struct password_hash usual;
};

/* A password that is being tried, with a copy of the hash: the store may go. */
struct trial {
    struct password_hash hash;
    uint64_t fingerprint;
    bool tried; /* else nobody waited for it */
    bool fits;
};

static struct store_provider *whole(struct auth_provider *provider)
{
    return container_of(provider, struct store_provider, base);
}

struct user_store *store_provider__store(struct auth_provider *provider)
{
    return whole(provider)->store;
}

static struct auth_provider *wrap(const struct auth_provider_type *type, struct user_store *store)
{
    struct store_provider *made = mem_alloc(sizeof(*made));
    made->base.type = type;
    made->store = store;
    user_store_usual_hash(store, &made->usual);
    return &made->base;
}

static enum err create_users(const struct auth_settings *settings, unsigned thread_count,
                             struct auth_provider **out, struct text *error)
{
    (void)thread_count;
    struct user_store *store = NULL;
    enum err err = user_store_create_list(settings->users, settings->user_count, settings->scram,
                                          &store, error);
    if (err == ERR_OK) {
        *out = wrap(&users__provider, store);
    }
    return err;
}

static enum err create_password_file(const struct auth_settings *settings, unsigned thread_count,
                                     struct auth_provider **out, struct text *error)
{
    (void)thread_count;
    struct user_store *store = NULL;
    enum err err = user_store_create_file(
        settings->password_file != NULL ? settings->password_file : "", &store, error);
    if (err == ERR_OK) {
        *out = wrap(&password_file__provider, store);
    }
    return err;
}

static void destroy_store(struct auth_provider *provider)
{
    struct store_provider *self = whole(provider);
    user_store_unref(self->store);
    OPENSSL_cleanse(&self->usual, sizeof(self->usual));
    mem_free(self);
}

static void try_password(struct auth_step *step, unsigned thread)
{
    (void)thread;
    struct trial *trial = step->data;
    const struct auth_request *request = step->request;
    trial->tried = true;
    trial->fits = password_hash_fits(&trial->hash, request->password) && request->has_password;
}

static void tried(struct auth_step *step)
{
    struct trial *trial = step->data;
    struct auth_finding finding = {.outcome = AUTH_STEP_UNAVAILABLE,
                                   .fingerprint = trial->fingerprint};
    if (trial->tried) {
        finding.outcome = trial->fits ? AUTH_STEP_ALLOWED : AUTH_STEP_DENIED;
        finding.reason = "wrong password";
    }
    step->data = NULL;
    OPENSSL_cleanse(trial, sizeof(*trial));
    mem_free(trial);
    auth_step__answer(step, &finding);
}

static void ask_store(struct auth_provider *provider, struct auth_step *step)
{
    const struct auth_request *request = step->request;
    const struct stored_user *user = user_store_find(whole(provider)->store, request->username);
    if (!request->has_username || user == NULL) {
        auth_step__answer(step, &(struct auth_finding){.outcome = AUTH_STEP_UNKNOWN});
        return;
    }
    struct trial *trial = mem_alloc(sizeof(*trial));
    *trial = (struct trial){.hash = user->hash, .fingerprint = user->fingerprint};
    step->data = trial;
    auth_step__run(step, AUTH_LANE_COMPUTE, try_password, tried);
}

static bool usual_of_store(struct auth_provider *provider, struct password_hash *usual)
{
    *usual = whole(provider)->usual;
    return true;
}

const struct auth_provider_type users__provider = {
    .kind = AUTH_USERS,
    .create = create_users,
    .destroy = destroy_store,
    .ask = ask_store,
    .usual_hash = usual_of_store,
};

const struct auth_provider_type password_file__provider = {
    .kind = AUTH_PASSWORD_FILE,
    .create = create_password_file,
    .destroy = destroy_store,
    .ask = ask_store,
    .usual_hash = usual_of_store,
};

/* ---- certificates ---------------------------------------------------------------------------- */

static enum err create_certificate(const struct auth_settings *settings, unsigned thread_count,
                                   struct auth_provider **out, struct text *error)
{
    (void)settings;
    (void)thread_count;
    (void)error;
    struct auth_provider *made = mem_alloc(sizeof(*made));
    made->type = &certificate__provider;
    *out = made;
    return ERR_OK;
}

static void destroy_certificate(struct auth_provider *provider)
{
    mem_free(provider);
}

/* TLS has verified it; here it only gives the name. */
static void ask_certificate(struct auth_provider *provider, struct auth_step *step)
{
    (void)provider;
    const struct auth_request *request = step->request;
    struct auth_finding finding = {.outcome = AUTH_STEP_ALLOWED,
                                   .username = request->certificate_identity};
    if (request->certificate_identity.len == 0) {
        finding.outcome = AUTH_STEP_UNKNOWN;
    } else if (request->has_username && request->username.len > 0 &&
               !slice_equal(request->username, request->certificate_identity)) {
        finding.outcome = AUTH_STEP_DENIED;
        finding.reason = "the user name is not that of the certificate";
    }
    auth_step__answer(step, &finding);
}

const struct auth_provider_type certificate__provider = {
    .kind = AUTH_CERTIFICATE,
    .create = create_certificate,
    .destroy = destroy_certificate,
    .ask = ask_certificate,
};
