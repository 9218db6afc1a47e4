#include "base/clock.h"
#include "base/hash.h"
#include "node/auth/attempt_priv.h"

static void ask(struct auth_attempt *attempt);

/* ---- steps: what providers see --------------------------------------------------------------- */

static struct auth_attempt *attempt_of(struct auth_step *step)
{
    return container_of(step, struct auth_attempt, step);
}

static void run_work(struct auth_job *job, unsigned thread)
{
    struct auth_attempt *attempt = job->user;
    attempt->work(&attempt->step, thread);
}

static void run_then(struct auth_job *job)
{
    struct auth_attempt *attempt = job->user;
    attempt->then(&attempt->step);
}

void auth_step__run(struct auth_step *step, enum auth_lane lane, auth_step_work *work,
                    auth_step_then *then)
{
    struct auth_attempt *attempt = attempt_of(step);
    attempt->work = work;
    attempt->then = then;
    step->job = (struct auth_job){
        .work = run_work, .then = run_then, .cancelled = &step->cancelled, .user = attempt};
    pool_add(attempt->auth->pool, lane, &step->job);
}

/* What it needs later of the texts of a finding, which are borrowed. */
static struct admission *admission_of(const struct auth_step *step,
                                      const struct auth_finding *finding)
{
    const struct admission from = {
        .provider = step->provider->type->kind,
        .username = finding->username.len > 0 ? finding->username : step->request->username,
        .groups = finding->groups,
        .expires_at_ms = finding->expires_at_ms > 0 ? finding->expires_at_ms : UINT64_MAX,
        .fingerprint = finding->fingerprint};
    return admission_create(&from, finding->rules);
}

/* Only notes it: the attempt goes on in judge__run, not inside the provider. */
static void note_answer(struct auth_attempt *attempt)
{
    ASSERT(attempt->state == ATTEMPT_JUDGED && list_empty(&attempt->answered_link));
    list_append(&attempt->auth->answered, &attempt->answered_link);
}

static uint64_t cache_ms_of(const struct auth_attempt *attempt, const struct auth_finding *finding)
{
    uint64_t ms = finding->may_cache ? attempt->chain->cache_ttl_ms : 0;
    bool shorter = finding->cache_ms_max > 0 && finding->cache_ms_max < ms;
    return shorter ? finding->cache_ms_max : ms;
}

void auth_step__answer(struct auth_step *step, const struct auth_finding *finding)
{
    struct auth_attempt *attempt = attempt_of(step);
    attempt->outcome = finding->outcome;
    attempt->reason = finding->reason != NULL ? finding->reason : "";
    attempt->cache_ms = cache_ms_of(attempt, finding);
    if (finding->outcome == AUTH_STEP_ALLOWED) {
        attempt->admission = admission_of(step, finding);
        if (attempt->admission == NULL) {
            attempt->outcome = AUTH_STEP_UNAVAILABLE;
            attempt->reason = "no memory";
        }
    }
    note_answer(attempt);
}

/* ---- the cache ------------------------------------------------------------------------------- */

static bool uses_cache(const struct auth_attempt *attempt, const struct auth_provider *provider)
{
    return provider->type->cacheable && attempt->chain->cache_ttl_ms > 0;
}

/* True: its provider has let in the same credentials a short time ago. */
static bool find_in_cache(struct auth_attempt *attempt, const struct auth_provider *provider)
{
    struct auth *auth = attempt->auth;
    attempt->has_key =
        uses_cache(attempt, provider) &&
        admission_cache_key(auth->cache, provider->type->kind, &attempt->request, &attempt->key);
    attempt->admission =
        attempt->has_key ? admission_cache_find(auth->cache, &attempt->key, clock_mono_ms()) : NULL;
    return attempt->admission != NULL;
}

/* An answer of a chain that is not asked any more is not kept. */
static void keep_in_cache(struct auth_attempt *attempt)
{
    if (attempt->has_key && attempt->cache_ms > 0 && attempt->chain == attempt->auth->chain) {
        admission_cache_keep(attempt->auth->cache, &attempt->key, attempt->admission,
                             clock_mono_ms() + attempt->cache_ms);
    }
}

/* ---- the chain ------------------------------------------------------------------------------- */

static void admit(struct auth_attempt *attempt)
{
    struct admission *admission = attempt->admission;
    attempt->admission = NULL;
    verdict__admit(attempt, admission, slice_of(NULL, 0));
}

static bool is_anonymous(const struct auth_request *request)
{
    return request->username.len == 0 && !request->has_password;
}

static void waste(struct auth_step *step, unsigned thread)
{
    (void)thread;
    struct auth_attempt *attempt = attempt_of(step);
    attempt->wasted = true;
    password_waste(&attempt->usual, step->request->password);
}

static void after_waste(struct auth_step *step)
{
    struct auth_attempt *attempt = attempt_of(step);
    attempt->outcome = attempt->wasted ? AUTH_STEP_DENIED : AUTH_STEP_UNAVAILABLE;
    attempt->reason = "unknown user name";
    note_answer(attempt);
}

/* The chain is at its end: an anonymous client, or a name that nobody knows, which costs as much as
 * a wrong password. */
static void nobody_knows(struct auth_attempt *attempt)
{
    if (is_anonymous(&attempt->request)) {
        const struct admission anonymous = {.provider = AUTH_PROVIDER_COUNT,
                                            .expires_at_ms = UINT64_MAX};
        attempt->admission = admission_create(&anonymous, NULL);
        admit(attempt);
    } else if (chain_usual_hash(attempt->chain, &attempt->usual)) {
        auth_step__run(&attempt->step, AUTH_LANE_COMPUTE, waste, after_waste);
    } else {
        verdict__refuse(attempt, "unknown user name");
    }
}

static void ask(struct auth_attempt *attempt)
{
    attempt->step.request = &attempt->request;
    attempt->step.data = NULL;
    attempt->step.provider = NULL;
    if (attempt->asked == attempt->chain->count) {
        nobody_knows(attempt);
        return;
    }
    struct auth_provider *provider = attempt->chain->providers[attempt->asked];
    if (find_in_cache(attempt, provider)) {
        atomic_fetch_add_explicit(&attempt->auth->counters.cache_hits, 1, memory_order_relaxed);
        admit(attempt);
        return;
    }
    attempt->step.provider = provider;
    provider->type->ask(provider, &attempt->step);
}

/* ---- going on -------------------------------------------------------------------------------- */

static void line_up(struct auth_attempt *attempt)
{
    const struct auth_request *request = &attempt->request;
    const struct turns_peer peer = {
        .address = &request->address,
        .name = request->shared_address ? hash_slice(attempt__username(attempt)) : 0};
    attempt->state = ATTEMPT_IN_LINE;
    turns_wait(attempt->auth->turns, &peer, &attempt->turn, clock_mono_ms());
}

/* It is its turn. */
static void start_judging(struct auth_attempt *attempt)
{
    attempt->state = ATTEMPT_JUDGED;
    attempt->judged_at_ms = clock_mono_ms();
    if (attempt->scram != NULL) {
        scram_login__finish(attempt);
        return;
    }
    attempt->chain = attempt->auth->chain;
    chain_ref(attempt->chain);
    ask(attempt);
}

/* Its client is gone. Wrong credentials count all the same, or who guesses would not wait. */
static void answered_too_late(struct auth_attempt *attempt)
{
    if (attempt->outcome == AUTH_STEP_DENIED) {
        verdict__refuse(attempt, attempt->reason);
    } else {
        verdict__drop(attempt);
    }
}

/* Its provider has answered. */
static void go_on(struct auth_attempt *attempt)
{
    if (attempt->auth->stopping) {
        verdict__give(attempt, AUTH_UNAVAILABLE, "the broker stops");
        return;
    }
    if (attempt->abandoned) {
        answered_too_late(attempt);
        return;
    }
    switch (attempt->outcome) {
    case AUTH_STEP_UNKNOWN:
        attempt->asked++;
        ask(attempt);
        break;
    case AUTH_STEP_ALLOWED:
        keep_in_cache(attempt);
        admit(attempt);
        break;
    case AUTH_STEP_DENIED:
        verdict__refuse(attempt, attempt->reason);
        break;
    case AUTH_STEP_NOT_ALLOWED:
        verdict__give(attempt, AUTH_NOT_ALLOWED, attempt->reason);
        break;
    case AUTH_STEP_UNAVAILABLE:
        verdict__give(attempt, AUTH_UNAVAILABLE, attempt->reason);
        break;
    }
}

void judge__run(struct auth *auth)
{
    for (;;) {
        if (!list_empty(&auth->answered)) {
            struct auth_attempt *attempt =
                list_entry(auth->answered.next, struct auth_attempt, answered_link);
            list_remove(&attempt->answered_link);
            go_on(attempt);
            continue;
        }
        struct turn *turn = turns_next(auth->turns);
        if (turn == NULL) {
            return;
        }
        start_judging(container_of(turn, struct auth_attempt, turn));
    }
}

void judge__due(struct delay *delay)
{
    struct auth_attempt *attempt = container_of(delay, struct auth_attempt, delay);
    verdict__give(attempt, AUTH_DENIED, attempt->reason);
}

/* ---- what workers want ------------------------------------------------------------------------
 */

static void begin(struct auth_attempt *attempt)
{
    struct auth *auth = attempt->auth;
    atomic_fetch_add_explicit(&attempt->references, 1, memory_order_relaxed);
    list_append(&auth->attempts, &attempt->link);
    if (auth->stopping) {
        verdict__give(attempt, AUTH_UNAVAILABLE, "the broker stops");
    } else if (attempt->busy) {
        verdict__give(attempt, AUTH_BUSY, "too many clients are being checked");
    } else if (attempt->request.method.len > 0) {
        scram_login__begin(attempt);
    } else {
        line_up(attempt);
    }
}

/* Asks the provider to hurry, if it has not answered yet. */
static void cancel(struct auth_attempt *attempt)
{
    struct auth_provider *provider = attempt->step.provider;
    atomic_store_explicit(&attempt->step.cancelled, true, memory_order_relaxed);
    if (provider != NULL && provider->type->cancel != NULL && list_empty(&attempt->answered_link)) {
        provider->type->cancel(provider, &attempt->step);
    }
}

static void abandon(struct auth_attempt *attempt)
{
    switch (attempt->state) {
    case ATTEMPT_NEW:
    case ATTEMPT_OVER:
        return;
    case ATTEMPT_IN_LINE:
    case ATTEMPT_CHALLENGED:
        verdict__drop(attempt);
        break;
    case ATTEMPT_JUDGED:
        cancel(attempt);
        break;
    case ATTEMPT_HELD: /* keeps its place until it is due */
        break;
    }
    atomic_fetch_add_explicit(&attempt->auth->counters.abandoned, 1, memory_order_relaxed);
}

void attempt__take(struct auth_attempt *attempt)
{
    unsigned events = atomic_exchange_explicit(&attempt->events, 0, memory_order_acq_rel);
    if ((events & EVENT_END) != 0) {
        attempt->abandoned = true;
        abandon(attempt);
    } else if ((events & EVENT_BEGIN) != 0) {
        begin(attempt);
    } else if ((events & EVENT_CONTINUE) != 0 && attempt->state == ATTEMPT_CHALLENGED) {
        line_up(attempt);
    }
    attempt__unref(attempt);
}

/* ---- the end --------------------------------------------------------------------------------- */

void judge__stop(struct auth *auth)
{
    list_foreach(item, &auth->attempts)
    {
        struct auth_attempt *attempt = list_entry(item, struct auth_attempt, link);
        switch (attempt->state) {
        case ATTEMPT_IN_LINE:
        case ATTEMPT_CHALLENGED:
            verdict__give(attempt, AUTH_UNAVAILABLE, "the broker stops");
            break;
        case ATTEMPT_HELD:
            delays_remove(&auth->delays, &attempt->delay);
            judge__due(&attempt->delay);
            break;
        case ATTEMPT_JUDGED:
            cancel(attempt);
            break;
        case ATTEMPT_NEW:
        case ATTEMPT_OVER:
            break;
        }
    }
}
