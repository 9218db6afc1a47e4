#include <openssl/crypto.h>
#include <string.h>

#include "base/mem.h"
#include "node/auth/attempt_priv.h"

/* What the texts of all attempts may take together, for each of attempts_max. Tokens are long, but
 * few clients bring the 64 KiB that a password may have. */
#define TEXTS_BYTES_EACH 4096

static size_t texts_len(const struct auth_request *request)
{
    return request->client_id.len + request->username.len + request->password.len +
           request->certificate_identity.len + request->common_name.len +
           request->organization.len + request->organizational_unit.len + request->method.len +
           request->data.len;
}

static void move_text(struct slice *text, uint8_t **to)
{
    if (text->len > 0) {
        memcpy(*to, text->data, text->len);
    }
    *text = slice_of(*to, text->len);
    *to += text->len;
}

static void copy_request(struct auth_attempt *attempt, const struct auth_request *request)
{
    uint8_t *to = attempt->texts;
    struct auth_request *copy = &attempt->request;
    *copy = *request;
    move_text(&copy->client_id, &to);
    move_text(&copy->username, &to);
    move_text(&copy->password, &to);
    move_text(&copy->certificate_identity, &to);
    move_text(&copy->common_name, &to);
    move_text(&copy->organization, &to);
    move_text(&copy->organizational_unit, &to);
    move_text(&copy->method, &to);
    move_text(&copy->data, &to);
    attempt->texts_len = (size_t)(to - attempt->texts);
}

/* Counts it; false: there are too many, and it is only there to be told so. */
static bool reserve(struct auth *auth, size_t len)
{
    uint64_t max = atomic_load_explicit(&auth->attempts_max, memory_order_relaxed);
    uint64_t count = atomic_fetch_add_explicit(&auth->under_way, 1, memory_order_relaxed) + 1;
    uint64_t bytes = atomic_fetch_add_explicit(&auth->bytes_under_way, len, memory_order_relaxed);
    if (count <= max && bytes + len <= max * TEXTS_BYTES_EACH + UINT16_MAX * UINT64_C(4)) {
        return true;
    }
    atomic_fetch_sub_explicit(&auth->bytes_under_way, len, memory_order_relaxed);
    return false;
}

static void release(struct auth *auth, size_t len)
{
    atomic_fetch_sub_explicit(&auth->under_way, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&auth->bytes_under_way, len, memory_order_relaxed);
}

struct slice attempt__username(const struct auth_attempt *attempt)
{
    return attempt->scram != NULL ? scram_username(attempt->scram) : attempt->request.username;
}

void attempt__release(struct auth_attempt *attempt)
{
    if (!attempt->released) {
        attempt->released = true;
        release(attempt->auth, attempt->texts_len);
    }
}

/* Recursive: `done` may end its attempt. */
static bool lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t kind;
    if (pthread_mutexattr_init(&kind) != 0) {
        return false;
    }
    bool done = pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE) == 0 &&
                pthread_mutex_init(lock, &kind) == 0;
    pthread_mutexattr_destroy(&kind);
    return done;
}

struct auth_attempt *attempt__create(struct auth *auth, const struct auth_request *request,
                                     auth_done *done, void *user)
{
    size_t len = texts_len(request);
    bool busy = !reserve(auth, len);
    struct auth_attempt *attempt = mem_try_alloc(sizeof(*attempt) + (busy ? 0 : len));
    if (attempt != NULL) {
        memset(attempt, 0, sizeof(*attempt));
    }
    if (attempt == NULL || !lock_init(&attempt->lock)) {
        release(auth, busy ? 0 : len);
        mem_free(attempt);
        return NULL;
    }
    attempt->auth = auth;
    attempt->references = 1;
    attempt->done = done;
    attempt->user = user;
    attempt->busy = busy;
    list_init(&attempt->link);
    list_init(&attempt->answered_link);
    if (!busy) {
        copy_request(attempt, request);
    }
    return attempt;
}

static void destroy(struct auth_attempt *attempt)
{
    attempt__release(attempt);
    pthread_mutex_destroy(&attempt->lock);
    if (attempt->reply != NULL) {
        OPENSSL_cleanse(attempt->reply, attempt->reply_len);
        mem_free(attempt->reply);
    }
    OPENSSL_cleanse(attempt->texts, attempt->texts_len);
    OPENSSL_cleanse(&attempt->usual, sizeof(attempt->usual));
    mem_free(attempt);
}

void attempt__unref(struct auth_attempt *attempt)
{
    if (atomic_fetch_sub_explicit(&attempt->references, 1, memory_order_acq_rel) == 1) {
        destroy(attempt);
    }
}

/* One letter is enough for all that happens before it is taken. */
void attempt__post(struct auth_attempt *attempt, enum attempt_event event)
{
    struct auth *auth = attempt->auth;
    atomic_fetch_add_explicit(&attempt->references, 1, memory_order_relaxed);
    if (atomic_fetch_or_explicit(&attempt->events, event, memory_order_acq_rel) != 0) {
        attempt__unref(attempt);
    } else if (mailbox_push(&auth->box, &attempt->letter)) {
        uv_async_send(&auth->wake);
    }
}
