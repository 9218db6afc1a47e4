#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "node/auth/jwt.h"
#include "node/auth/provider_priv.h"

struct jwt_provider {
    struct auth_provider base;
    struct jwt_verifier *verifier;
};

/* What the job finds out about the token of one step. */
struct verdict {
    enum err err; /* ERR_STOPPED: the job was left out */
    const char *why;
    struct jwt_claims claims; /* of ERR_OK */
};

static enum err provider_create(const struct auth_settings *settings, unsigned thread_count,
                                struct auth_provider **out, struct text *error)
{
    (void)thread_count;
    struct jwt_settings own = {
        .key_file = settings->jwt_key_file,
        .algorithms = settings->jwt_algorithms,
        .issuer = settings->jwt_issuer,
        .audience = settings->jwt_audience,
        .username_claim = settings->jwt_username_claim,
        .groups_claim = settings->jwt_groups_claim,
        .acl_claim = settings->jwt_acl_claim,
    };
    struct jwt_verifier *verifier = NULL;
    enum err err = jwt_verifier_create(&own, &verifier, error);
    if (err != ERR_OK) {
        return err;
    }
    struct jwt_provider *provider = mem_alloc(sizeof(*provider));
    *provider = (struct jwt_provider){.base.type = &jwt__provider, .verifier = verifier};
    *out = &provider->base;
    return ERR_OK;
}

static struct jwt_provider *self(struct auth_provider *provider)
{
    return container_of(provider, struct jwt_provider, base);
}

static void provider_destroy(struct auth_provider *provider)
{
    jwt_verifier_destroy(self(provider)->verifier);
    mem_free(self(provider));
}

/* On a thread of the pool. */
static void verify(struct auth_step *step, unsigned thread)
{
    (void)thread;
    struct verdict *verdict = step->data;
    verdict->err = jwt_verify(self(step->provider)->verifier, step->request->password,
                              clock_wall_ms(), &verdict->claims, &verdict->why);
}

/* A client that says who it is must say what its token says. */
static void find_allowed(const struct auth_request *request, struct jwt_claims *claims,
                         struct auth_finding *finding)
{
    struct slice name = slice_of(claims->username.data, claims->username.len);
    if (request->username.len > 0 && !slice_equal(request->username, name)) {
        finding->outcome = AUTH_STEP_DENIED;
        finding->reason = "the user name is not that of the token";
        return;
    }
    finding->outcome = AUTH_STEP_ALLOWED;
    finding->username = name;
    finding->groups = slice_of(claims->grants.groups.data, claims->grants.groups.len);
    finding->rules = &claims->grants.rules;
    finding->expires_at_ms = claims->expires_at_ms == UINT64_MAX ? 0 : claims->expires_at_ms;
}

static void conclude(struct auth_step *step)
{
    struct verdict *verdict = step->data;
    struct auth_finding finding = {.outcome = AUTH_STEP_UNAVAILABLE, .reason = "not enough memory"};
    if (verdict->err == ERR_OK) {
        find_allowed(step->request, &verdict->claims, &finding);
    } else if (verdict->err == ERR_SYNTAX) {
        finding = (struct auth_finding){.outcome = AUTH_STEP_UNKNOWN};
    } else if (verdict->err == ERR_INVALID) {
        finding.outcome = AUTH_STEP_DENIED;
        finding.reason = verdict->why;
    } else if (verdict->err == ERR_STOPPED) {
        finding.reason = "the attempt has ended";
    }
    step->data = NULL;
    auth_step__answer(step, &finding);
    jwt_claims_fini(&verdict->claims);
    mem_free(verdict);
}

static void provider_ask(struct auth_provider *provider, struct auth_step *step)
{
    (void)provider;
    if (!step->request->has_password || step->request->password.len == 0) {
        auth_step__answer(step, &(struct auth_finding){.outcome = AUTH_STEP_UNKNOWN});
        return;
    }
    struct verdict *verdict = mem_alloc(sizeof(*verdict));
    verdict->err = ERR_STOPPED;
    step->data = verdict;
    auth_step__run(step, AUTH_LANE_COMPUTE, verify, conclude);
}

const struct auth_provider_type jwt__provider = {
    .kind = AUTH_JWT,
    .create = provider_create,
    .destroy = provider_destroy,
    .ask = provider_ask,
};
