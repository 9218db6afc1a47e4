#include "node/auth/auth.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/auth/attempt_priv.h"

#define THREADS_MAX 64

static void on_wake(uv_async_t *async);
static void on_prepare(uv_prepare_t *prepare);
static void on_pool(uv_poll_t *poll, int status, int events);

/* ---- making ---------------------------------------------------------------------------------- */

static unsigned thread_count_of(const struct auth_settings *settings)
{
    unsigned count = settings->threads > 0 ? settings->threads : uv_available_parallelism() / 2;
    count = count > 0 ? count : 1;
    return count < THREADS_MAX ? count : THREADS_MAX;
}

/* On a thread of the pool. */
static void wake_for_pool(void *user)
{
    const struct auth *auth = user;
    const uint64_t one = 1;
    /* It fails when its counter is full: then it is awake already. */
    (void)!write(auth->pool_event, &one, sizeof(one));
}

static enum err loop_init(struct auth *auth)
{
    auth->pool_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (auth->pool_event < 0) {
        return ERR_IO;
    }
    if (uv_loop_init(&auth->loop) != 0) {
        close(auth->pool_event);
        return ERR_MEMORY;
    }
    if (uv_async_init(&auth->loop, &auth->wake, on_wake) != 0 ||
        uv_poll_init(&auth->loop, &auth->pool_poll, auth->pool_event) != 0) {
        uv_loop_close(&auth->loop);
        close(auth->pool_event);
        return ERR_MEMORY;
    }
    uv_poll_start(&auth->pool_poll, UV_READABLE, on_pool);
    uv_prepare_init(&auth->loop, &auth->prepare);
    uv_prepare_start(&auth->prepare, on_prepare);
    delays_init(&auth->delays, &auth->loop, judge__due);
    return ERR_OK;
}

/* All but `wake`, because letters may still come. */
static void close_handles(struct auth *auth)
{
    uv_close((uv_handle_t *)&auth->prepare, NULL);
    uv_close((uv_handle_t *)&auth->pool_poll, NULL);
    delays_fini(&auth->delays);
}

static void loop_fini(struct auth *auth)
{
    if (!uv_is_closing((uv_handle_t *)&auth->prepare)) {
        close_handles(auth);
    }
    uv_close((uv_handle_t *)&auth->wake, NULL);
    uv_run(&auth->loop, UV_RUN_DEFAULT);
    int left = uv_loop_close(&auth->loop);
    ASSERT(left == 0);
    close(auth->pool_event);
}

static void init_shared(struct auth *auth, const struct auth_settings *settings,
                        struct chain *chain)
{
    pthread_mutex_init(&auth->lock, NULL);
    pthread_cond_init(&auth->change, NULL);
    list_init(&auth->attempts);
    list_init(&auth->answered);
    atomic_store(&auth->attempts_max, settings->attempts_max);
    auth->turns = turns_create();
    auth->pool = pool_create(auth->thread_count, wake_for_pool, auth);
    auth->chain = chain;
    auth->policy = chain->policy;
    policy_ref(auth->policy);
}

enum err auth_create(const struct auth_settings *settings, struct auth **out, struct text *error)
{
    struct auth *auth = mem_alloc(sizeof(*auth));
    struct chain *chain = NULL;
    auth->thread_count = thread_count_of(settings);
    enum err err = chain_create(settings, auth->thread_count, &chain, error);
    if (err != ERR_OK) {
        mem_free(auth);
        return err;
    }
    err = admission_cache_create(&auth->cache);
    if (err == ERR_OK) {
        err = loop_init(auth);
    }
    if (err != ERR_OK) {
        text_add(error, "no memory, file descriptors or random numbers for authentication");
        admission_cache_destroy(auth->cache);
        chain_unref(chain);
        mem_free(auth);
        return err;
    }
    init_shared(auth, settings, chain);
    *out = auth;
    return ERR_OK;
}

/* Letters that came when nobody took them any more. */
static void drop_letters(struct auth *auth)
{
    struct letter *letter = mailbox_take(&auth->box);
    while (letter != NULL) {
        struct auth_attempt *attempt = container_of(letter, struct auth_attempt, letter);
        letter = letter->next;
        attempt__unref(attempt);
    }
}

void auth_destroy(struct auth *auth)
{
    if (auth == NULL) {
        return;
    }
    auth_stop(auth);
    drop_letters(auth);
    chain_unref(auth->chain);
    policy_unref(auth->policy);
    pool_destroy(auth->pool);
    loop_fini(auth);
    turns_destroy(auth->turns);
    admission_cache_destroy(auth->cache);
    pthread_cond_destroy(&auth->change);
    pthread_mutex_destroy(&auth->lock);
    mem_free(auth);
}

/* ---- its thread ------------------------------------------------------------------------------ */

/* Everything is answered: what is left are providers. */
static void finish(struct auth *auth)
{
    pthread_mutex_lock(&auth->lock);
    struct policy *policy = auth->policy;
    auth->policy = NULL;
    pthread_mutex_unlock(&auth->lock);
    policy_unref(policy);
    chain_unref(auth->chain);
    auth->chain = NULL;
    close_handles(auth);
    uv_unref((uv_handle_t *)&auth->wake); /* stays until auth_destroy */
    uv_run(&auth->loop, UV_RUN_DEFAULT);
}

static void run(void *user)
{
    struct auth *auth = user;
    pthread_setname_np(pthread_self(), "auth");
    uv_run(&auth->loop, UV_RUN_DEFAULT);
    finish(auth);
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct auth *auth = container_of(prepare, struct auth, prepare);
    judge__run(auth);
    if (auth->stopping && list_empty(&auth->attempts)) {
        uv_stop(&auth->loop);
    }
}

static void begin_stopping(struct auth *auth)
{
    if (auth->stopping) {
        return;
    }
    auth->stopping = true;
    judge__stop(auth);
    pool_stop(auth->pool);
    pool_take(auth->pool);
}

/* Puts a chain that a reload has made in the place of the one there is. */
static void take_chain(struct auth *auth, struct chain *incoming)
{
    struct chain *old = auth->chain;
    struct policy *old_policy = auth->policy;
    enum err err = chain_start(incoming, &auth->loop);
    if (err == ERR_OK) {
        auth->chain = incoming;
        admission_cache_clear(auth->cache);
    } else {
        old = incoming;
        old_policy = NULL;
    }
    pthread_mutex_lock(&auth->lock);
    if (err == ERR_OK) {
        policy_ref(incoming->policy);
        auth->policy = incoming->policy;
    }
    auth->incoming = NULL;
    auth->incoming_err = err;
    pthread_cond_signal(&auth->change);
    pthread_mutex_unlock(&auth->lock);
    chain_unref(old);
    policy_unref(old_policy);
}

static void on_pool(uv_poll_t *poll, int status, int events)
{
    struct auth *auth = container_of(poll, struct auth, pool_poll);
    uint64_t count;
    (void)status;
    (void)events;
    (void)!read(auth->pool_event, &count, sizeof(count)); /* how many there are does not matter */
    pool_take(auth->pool);
}

static void on_wake(uv_async_t *async)
{
    struct auth *auth = container_of(async, struct auth, wake);
    pthread_mutex_lock(&auth->lock);
    struct chain *incoming = auth->incoming;
    bool stopped = auth->stopped;
    pthread_mutex_unlock(&auth->lock);
    if (incoming != NULL) {
        take_chain(auth, incoming);
    }
    struct letter *letter = mailbox_take(&auth->box);
    while (letter != NULL) {
        struct auth_attempt *attempt = container_of(letter, struct auth_attempt, letter);
        letter = letter->next;
        attempt__take(attempt);
    }
    if (stopped) {
        begin_stopping(auth);
    }
}

/* ---- starting, stopping, reading again --------------------------------------------------------
 */

enum err auth_start(struct auth *auth)
{
    enum err err = chain_start(auth->chain, &auth->loop);
    if (err == ERR_OK && uv_thread_create(&auth->thread, run, auth) != 0) {
        err = ERR_MEMORY;
    }
    auth->started = err == ERR_OK;
    return err;
}

void auth_stop(struct auth *auth)
{
    pthread_mutex_lock(&auth->lock);
    auth->stopped = true;
    pthread_mutex_unlock(&auth->lock);
    if (auth->started) {
        uv_async_send(&auth->wake);
        uv_thread_join(&auth->thread);
        auth->started = false;
    }
}

/* Hands a chain to the thread, and waits until it is the one that is asked. */
static enum err hand_over(struct auth *auth, struct chain *chain)
{
    pthread_mutex_lock(&auth->lock);
    auth->incoming = chain;
    uv_async_send(&auth->wake);
    while (auth->incoming != NULL) {
        pthread_cond_wait(&auth->change, &auth->lock);
    }
    enum err err = auth->incoming_err;
    pthread_mutex_unlock(&auth->lock);
    return err;
}

enum err auth_reload(struct auth *auth, const struct auth_settings *settings, struct text *error)
{
    struct chain *chain = NULL;
    if (!auth->started) {
        text_add(error, "authentication does not run");
        return ERR_STOPPED;
    }
    enum err err = chain_create(settings, auth->thread_count, &chain, error);
    if (err != ERR_OK) {
        return err;
    }
    err = hand_over(auth, chain);
    if (err != ERR_OK) {
        text_printf(error, "a provider cannot start: %s", err_text(err));
        return err;
    }
    atomic_store(&auth->attempts_max, settings->attempts_max);
    return ERR_OK;
}

/* ---- attempts -------------------------------------------------------------------------------- */

struct auth_attempt *auth_begin(struct auth *auth, const struct auth_request *request,
                                auth_done *done, void *user)
{
    struct auth_attempt *attempt = attempt__create(auth, request, done, user);
    if (attempt == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&auth->lock);
    bool stopped = auth->stopped;
    if (!stopped) {
        attempt__post(attempt, EVENT_BEGIN);
    }
    pthread_mutex_unlock(&auth->lock);
    if (stopped) {
        attempt__unref(attempt);
        return NULL;
    }
    return attempt;
}

/* A message that is too long is as good as none: it is refused as malformed. */
void auth_continue(struct auth_attempt *attempt, struct slice data)
{
    size_t len = data.len <= SCRAM_MESSAGE_MAX ? data.len : 0;
    uint8_t *reply = len > 0 ? mem_try_alloc(len) : NULL;
    if (reply != NULL) {
        memcpy(reply, data.data, len);
    }
    pthread_mutex_lock(&attempt->lock);
    uint8_t *old = attempt->reply;
    attempt->reply = reply;
    attempt->reply_len = reply != NULL ? len : 0;
    pthread_mutex_unlock(&attempt->lock);
    mem_free(old);
    attempt__post(attempt, EVENT_CONTINUE);
}

void auth_end(struct auth_attempt *attempt)
{
    pthread_mutex_lock(&attempt->lock);
    attempt->ended = true;
    pthread_mutex_unlock(&attempt->lock);
    attempt__post(attempt, EVENT_END);
    attempt__unref(attempt);
}

struct auth_identity *auth_refresh(struct auth *auth, struct auth_identity *identity,
                                   const struct acl_subject *subject)
{
    struct auth_identity *refreshed = NULL;
    pthread_mutex_lock(&auth->lock);
    struct policy *policy = auth->policy;
    if (policy != NULL) {
        policy_ref(policy);
    }
    pthread_mutex_unlock(&auth->lock);
    if (policy == NULL) {
        auth_identity_ref(identity);
        return identity;
    }
    enum err err = policy_identify(policy, identity_admission(identity), subject, &refreshed);
    if (err != ERR_OK) {
        refreshed = NULL; /* no memory for its rights: no rights */
    }
    policy_unref(policy);
    return refreshed;
}

void auth_read_counts(struct auth *auth, struct auth_counts *counts)
{
#define X(name, what) \
    counts->name = atomic_load_explicit(&auth->counters.name, memory_order_relaxed);
    AUTH_COUNTERS(X)
#undef X
    counts->under_way = atomic_load_explicit(&auth->under_way, memory_order_relaxed);
}
