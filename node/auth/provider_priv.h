/*
 * provider: one way to find out who a client is: what the thread of auth asks, and what it lends to
 * whoever is asked.
 *
 * Owns      struct auth_provider: private to its file, which puts this structure first in its own.
 * Thread    create: main, also while another provider of the same kind works. All else: auth's
 *           thread, but what `work` of a job does.
 * Errors    create: one line for people in `error`, with the name of the file. While it works, a
 *           provider logs what is wrong with its server (not each time), and answers
 *           AUTH_STEP_UNAVAILABLE.
 * Not here  the order of the chain, delays, the cache, limits (attempt_priv.h).
 */
#ifndef PULSE_NODE_AUTH_PROVIDER_PRIV_H
#define PULSE_NODE_AUTH_PROVIDER_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/acl.h"
#include "node/auth/auth.h"
#include "node/auth/pool_priv.h"

struct auth_provider;
struct auth_step;
struct password_hash;

/* ---- what a provider is ---------------------------------------------------------------------- */

struct auth_provider_type {
    enum auth_provider_kind kind;
    /* Its good answers may be kept for auth.cache_ttl, when they say so too. */
    bool cacheable;

    /*
     * Reads files and keys; opens no connection. Is called when the chain of `settings` names it;
     * what it needs of the settings it copies. `thread_count`: how many threads of each lane there
     * are (see auth_step__run).
     */
    must_check enum err (*create)(const struct auth_settings *settings, unsigned thread_count,
                                  struct auth_provider **out, struct text *error);
    /* Before the first ask, with auth's loop, on its thread. NULL: nothing to do. */
    must_check enum err (*start)(struct auth_provider *provider, uv_loop_t *loop);
    /*
     * No step is under way. On auth's thread when it was started, else on main. May free itself
     * later, in the close callbacks of its handles: the loop runs until all are closed.
     */
    void (*destroy)(struct auth_provider *provider);

    /*
     * Who is it? The answer (auth_step__answer) comes exactly once, in this call or later on auth's
     * thread. `step` and its request stay until then, also when the client is gone.
     */
    void (*ask)(struct auth_provider *provider, struct auth_step *step);
    /*
     * Nobody waits for `step` any more, or auth is about to stop: its answer, any answer, should
     * come soon. May answer in the call. NULL: it never takes long.
     */
    void (*cancel)(struct auth_provider *provider, struct auth_step *step);
    /*
     * What a wrong password costs here: the parameters (not the salt) of the hashes that are usual.
     * An unknown user is made to cost the same. False: none were seen. NULL: it has no hashes.
     */
    bool (*usual_hash)(struct auth_provider *provider, struct password_hash *usual);
};

/* First in the structure of each provider. */
struct auth_provider {
    const struct auth_provider_type *type;
};

extern const struct auth_provider_type certificate__provider;
extern const struct auth_provider_type users__provider;
extern const struct auth_provider_type password_file__provider;
extern const struct auth_provider_type jwt__provider;
extern const struct auth_provider_type sql__provider;
extern const struct auth_provider_type http__provider;

/* ---- what it is asked ------------------------------------------------------------------------ */

/* One question to one provider. All of it belongs to auth's thread, but `request` may be read by
 * a job. */
struct auth_step {
    const struct auth_request *request; /* a copy; the password in it is cleansed at the end */
    struct auth_provider *provider;
    void *data; /* the provider's own: NULL when it is asked, freed by it before it answers */
    struct auth_job job;
    atomic_bool cancelled;
};

enum auth_outcome {
    AUTH_STEP_UNKNOWN, /* not mine: ask the next */
    AUTH_STEP_ALLOWED,
    AUTH_STEP_DENIED,      /* it is one of mine, and the credentials are wrong */
    AUTH_STEP_NOT_ALLOWED, /* it is who it says, but must not come in */
    AUTH_STEP_UNAVAILABLE /* I can't say; the next are not asked, because it could be one of mine */
};

/* The answer. Zero is a good value for all that does not matter. Texts are borrowed for the call.
 */
struct auth_finding {
    enum auth_outcome outcome;
    const char *reason; /* constant text for the log; nothing secret */
    /* The rest: of AUTH_STEP_ALLOWED. */
    struct slice username; /* who it is; empty: the user name of the request */
    struct slice groups;   /* "admins,devices" */
    struct acl_rules
        *rules; /* rules of its own, before all others; taken (left empty). NULL: none */
    uint64_t expires_at_ms; /* wall clock; the connection ends then. 0: never */
    bool may_cache;         /* the same credentials may get the same answer again */
    uint64_t cache_ms_max;  /* but for so long at most; 0: as long as auth.cache_ttl says */
    uint64_t fingerprint; /* of the stored credentials: another one means they were changed; 0: not
                             known */
};

void auth_step__answer(struct auth_step *step, const struct auth_finding *finding);

/* Nobody waits: work that has not begun may be left out. Any thread. */
static inline bool auth_step__cancelled(const struct auth_step *step)
{
    return atomic_load_explicit(&step->cancelled, memory_order_relaxed);
}

/* ---- long work ------------------------------------------------------------------------------- */

/* A job of a step. `thread` is which of the lane's threads it runs on, from 0 on, so that a
 * provider can have a connection for each. */
typedef void auth_step_work(struct auth_step *step, unsigned thread);
typedef void auth_step_then(struct auth_step *step);

/*
 * Runs `work` on a thread of `lane`, then `then` on auth's thread, where the provider goes on: runs
 * more, or answers. One at a time for a step. `work` is left out when the step was cancelled before
 * its turn came, or auth stops: so `then` must cope with a result that was never written.
 */
void auth_step__run(struct auth_step *step, enum auth_lane lane, auth_step_work *work,
                    auth_step_then *then);

#endif
