#include "node/auth/chain_priv.h"

#include "base/mem.h"

static const struct auth_provider_type *const types[AUTH_PROVIDER_COUNT] = {
    [AUTH_CERTIFICATE] = &certificate__provider,
    [AUTH_USERS] = &users__provider,
    [AUTH_PASSWORD_FILE] = &password_file__provider,
    [AUTH_JWT] = &jwt__provider,
    [AUTH_SQL] = &sql__provider,
    [AUTH_HTTP] = &http__provider,
};

static bool has_store(enum auth_provider_kind kind)
{
    return kind == AUTH_USERS || kind == AUTH_PASSWORD_FILE;
}

static enum err add_provider(struct chain *chain, const struct auth_settings *settings,
                             enum auth_provider_kind kind, unsigned thread_count,
                             struct text *error)
{
    for (size_t i = 0; i < chain->count; i++) {
        if (chain->providers[i]->type->kind == kind) {
            text_add(error, "auth.chain names a provider twice");
            return ERR_EXISTS;
        }
    }
    struct auth_provider *provider = NULL;
    enum err err = types[kind]->create(settings, thread_count, &provider, error);
    if (err != ERR_OK) {
        return err;
    }
    chain->providers[chain->count++] = provider;
    if (has_store(kind)) {
        policy_add_store(chain->policy, kind, store_provider__store(provider), settings->scram);
    }
    return ERR_OK;
}

enum err chain_create(const struct auth_settings *settings, unsigned thread_count,
                      struct chain **out, struct text *error)
{
    ASSERT(settings->chain_len <= AUTH_PROVIDER_COUNT);
    struct chain *chain = mem_alloc(sizeof(*chain));
    *chain = (struct chain){.references = 1,
                            .cache_ttl_ms = settings->cache_ttl_ms,
                            .failure_delay_ms = settings->failure_delay_ms,
                            .failure_delay_max_ms = settings->failure_delay_max_ms};
    enum err err = policy_create(settings, &chain->policy, error);
    for (size_t i = 0; i < settings->chain_len && err == ERR_OK; i++) {
        err = add_provider(chain, settings, settings->chain[i], thread_count, error);
    }
    if (err == ERR_OK) {
        *out = chain;
    } else {
        chain_unref(chain);
    }
    return err;
}

enum err chain_start(struct chain *chain, uv_loop_t *loop)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < chain->count && err == ERR_OK; i++) {
        struct auth_provider *provider = chain->providers[i];
        if (provider->type->start != NULL) {
            err = provider->type->start(provider, loop);
        }
    }
    return err;
}

void chain_ref(struct chain *chain)
{
    chain->references++;
}

void chain_unref(struct chain *chain)
{
    if (chain == NULL || --chain->references > 0) {
        return;
    }
    for (size_t i = 0; i < chain->count; i++) {
        chain->providers[i]->type->destroy(chain->providers[i]);
    }
    policy_unref(chain->policy);
    mem_free(chain);
}

/* Plain passwords of the configuration cost nothing: where there are others, too, theirs count. */
bool chain_usual_hash(const struct chain *chain, struct password_hash *usual)
{
    bool found = false;
    for (size_t i = 0; i < chain->count && (!found || usual->kind == PASSWORD_KEYED); i++) {
        struct auth_provider *provider = chain->providers[i];
        struct password_hash other;
        if (provider->type->usual_hash != NULL && provider->type->usual_hash(provider, &other)) {
            *usual = other;
            found = true;
        }
    }
    return found;
}
