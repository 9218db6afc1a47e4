/*
 * attempt: one CONNECT that is being judged, from auth_begin to auth_end, and the thread it is
 * judged on.
 *
 *     auth_begin --> in line --> judged --> kept back --> answered --> auth_end
 *       (turns_priv.h)   (providers)  (a refusal)
 *     with a method:   challenged --> auth_continue --> in line --> ...
 *
 * Workers and auth's thread share only `events` and what `lock` guards; the rest is auth's thread's
 * from the moment when it has taken the letter. An attempt is never freed while it is judged: who
 * ends it only marks, and the answer of the provider finds nobody. So a hash that is being computed
 * keeps its password. A refusal that nobody waits for any more holds its place until it is due
 * (turns_priv.h).
 *
 * Thread    as said.
 * Not here  the interface to the workers (auth.h).
 */
#ifndef PULSE_NODE_AUTH_ATTEMPT_PRIV_H
#define PULSE_NODE_AUTH_ATTEMPT_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/list.h"
#include "base/macros.h"
#include "base/mailbox.h"
#include "node/auth/admission_cache_priv.h"
#include "node/auth/auth.h"
#include "node/auth/chain_priv.h"
#include "node/auth/delays_priv.h"
#include "node/auth/pool_priv.h"
#include "node/auth/provider_priv.h"
#include "node/auth/scram_priv.h"
#include "node/auth/turns_priv.h"

/* ---- the thread ------------------------------------------------------------------------------ */

/* Lines about failures in one second; the rest is counted. */
#define FAILURE_LINES_MAX 20

struct failure_log {
    uint64_t second;
    uint32_t lines;
    uint64_t left_out;
};

struct auth {
    /* ---- any thread */
    struct mailbox box;
    atomic_uint_fast64_t under_way;
    atomic_uint_fast64_t bytes_under_way;
    atomic_uint_fast64_t attempts_max;
#define X(name, what) atomic_uint_fast64_t name;
    struct {
        AUTH_COUNTERS(X)
    } counters;
#undef X

    /* A leaf: nothing is called with it held. Guards what follows. */
    pthread_mutex_t lock;
    pthread_cond_t change;
    bool stopped;           /* no attempt begins any more */
    struct policy *policy;  /* the one that holds; NULL once it has stopped */
    struct chain *incoming; /* from a reload, until the thread has taken it */
    enum err incoming_err;

    /* ---- main */
    uv_thread_t thread;
    bool started;
    unsigned thread_count;

    /* ---- its thread */
    uv_loop_t loop;
    uv_async_t wake;
    /* For the pool: uv_async_send by a thread of low priority can be interrupted half-way, and the
     * loop would spin until it has gone on. */
    int pool_event;
    uv_poll_t pool_poll;
    uv_prepare_t prepare;
    struct chain *chain;
    struct pool *pool;
    struct turns *turns;
    struct delays delays;
    struct admission_cache *cache;
    struct list attempts; /* all that are under way */
    struct list answered; /* those whose provider has answered */
    struct failure_log failures;
    bool stopping;
};

/* ---- an attempt ------------------------------------------------------------------------------ */

enum attempt_state {
    ATTEMPT_NEW,        /* its letter was not taken yet */
    ATTEMPT_IN_LINE,    /* waits for its turn */
    ATTEMPT_JUDGED,     /* a provider is asked, or a hash is wasted */
    ATTEMPT_HELD,       /* refused, and not yet answered */
    ATTEMPT_CHALLENGED, /* it is the client's turn to speak */
    ATTEMPT_OVER        /* answered */
};

/* What somebody else wants of it. */
enum attempt_event { EVENT_BEGIN = BIT(0), EVENT_CONTINUE = BIT(1), EVENT_END = BIT(2) };

struct auth_attempt {
    struct auth *auth;
    atomic_uint references; /* the worker's, that of a letter on its way, that of auth's thread */
    atomic_uint events;
    struct letter letter;
    pthread_mutex_t
        lock;   /* held while `done` is called; recursive, so that it may end the attempt */
    bool ended; /* guarded by it */
    auth_done *done;
    void *user;
    uint8_t *reply; /* of auth_continue, until the thread has taken it */
    size_t reply_len;
    bool busy; /* there were too many: it has no request */

    /* ---- auth's thread */
    struct list link; /* in auth->attempts */
    enum attempt_state state;
    bool abandoned;
    bool released;
    struct chain *chain;
    struct turn turn;
    uint64_t judged_at_ms;
    struct delay delay;

    struct list answered_link;
    struct auth_step step;
    auth_step_work *work;
    auth_step_then *then;
    size_t asked; /* which provider of the chain */
    bool wasted;  /* a hash, because nobody knows it */
    struct password_hash usual;
    bool has_key;
    struct admission_key key;
    enum auth_outcome outcome;
    uint64_t cache_ms; /* how long its admission may be used again; 0: never */
    const char *reason;
    struct admission *admission; /* of AUTH_STEP_ALLOWED */

    struct scram *scram;
    struct admission *scram_admission; /* if the proof is right */

    struct auth_request request; /* its texts stand behind this structure */
    size_t texts_len;
    uint8_t texts[];
};

/* Gives an attempt with a reference for the worker. NULL: no memory. Any thread. */
struct auth_attempt *attempt__create(struct auth *auth, const struct auth_request *request,
                                     auth_done *done, void *user);
void attempt__unref(struct auth_attempt *attempt);
/* Who it says it is. Borrowed until its end. Auth's thread. */
struct slice attempt__username(const struct auth_attempt *attempt);
/* It does not count any more for auth.attempts_max. Auth's thread. */
void attempt__release(struct auth_attempt *attempt);
/* Tells auth's thread. Any thread. */
void attempt__post(struct auth_attempt *attempt, enum attempt_event event);

/* ---- judging: auth's thread (judge.c) ---------------------------------------------------------
 */

/* What was posted. */
void attempt__take(struct auth_attempt *attempt);
/* Goes on with all that can go on: answers of providers, and whose turn it is. */
void judge__run(struct auth *auth);
/* Its refusal is due. */
void judge__due(struct delay *delay);
/* Answers everybody that can be answered, because auth ends. Steps under way end by themselves. */
void judge__stop(struct auth *auth);

/* ---- its end: auth's thread (verdict.c) -------------------------------------------------------
 */

/* Lets it in, if the policy of now does. */
void verdict__admit(struct auth_attempt *attempt, struct admission *admission, struct slice data);
/* Wrong credentials: the answer comes later. */
void verdict__refuse(struct auth_attempt *attempt, const char *reason);
/* Ends it at once with one of the other verdicts. */
void verdict__give(struct auth_attempt *attempt, enum auth_verdict verdict, const char *reason);
/* Asks the client for more. */
void verdict__challenge(struct auth_attempt *attempt, struct slice data);
/* Nobody waits: leaves everything. */
void verdict__drop(struct auth_attempt *attempt);

/* ---- SCRAM: auth's thread (scram_login.c) ------------------------------------------------------
 */

void scram_login__begin(struct auth_attempt *attempt);
/* It has its turn, and the client's proof. */
void scram_login__finish(struct auth_attempt *attempt);

#endif
