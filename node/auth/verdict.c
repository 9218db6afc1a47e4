#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/crypto.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "node/auth/attempt_priv.h"

/* ---- the log --------------------------------------------------------------------------------- */

/* False: enough was said in this second. */
static bool may_log(struct failure_log *log)
{
    uint64_t second = clock_mono_ms() / 1000;
    if (second != log->second) {
        if (log->left_out > 0) {
            log_info(LOG_AUTH, "more clients were refused, without a line each",
                     log_uint("count", log->left_out));
        }
        *log = (struct failure_log){.second = second};
    }
    if (log->lines == FAILURE_LINES_MAX) {
        log->left_out++;
        return false;
    }
    log->lines++;
    return true;
}

static void print_address(const struct sockaddr_storage *address, char *text, socklen_t size)
{
    const void *bytes = NULL;
    if (address->ss_family == AF_INET) {
        bytes = &((const struct sockaddr_in *)address)->sin_addr;
    } else if (address->ss_family == AF_INET6) {
        bytes = &((const struct sockaddr_in6 *)address)->sin6_addr;
    }
    if (bytes == NULL || inet_ntop(address->ss_family, bytes, text, size) == NULL) {
        strcpy(text, "local");
    }
}

static void log_failure(struct auth_attempt *attempt, const char *reason)
{
    char address[INET6_ADDRSTRLEN];
    if (!log_enabled(LOG_AUTH, LOG_LEVEL_INFO) || !may_log(&attempt->auth->failures)) {
        return;
    }
    const struct auth_request *request = &attempt->request;
    print_address(&request->address, address, sizeof(address));
    log_info(LOG_AUTH, "client refused", log_text("reason", reason),
             log_slice("username", attempt__username(attempt)),
             log_slice("client_id", request->client_id), log_text("address", address),
             log_text("listener", request->listener != NULL ? request->listener : ""));
}

static void count(struct auth *auth, enum auth_verdict verdict)
{
    atomic_uint_fast64_t *counter = NULL;
    switch (verdict) {
    case AUTH_ALLOWED:
        counter = &auth->counters.allowed;
        break;
    case AUTH_DENIED:
    case AUTH_BAD_METHOD:
        counter = &auth->counters.denied;
        break;
    case AUTH_NOT_ALLOWED:
        counter = &auth->counters.not_allowed;
        break;
    case AUTH_UNAVAILABLE:
        counter = &auth->counters.unavailable;
        break;
    case AUTH_BUSY:
        counter = &auth->counters.busy;
        break;
    case AUTH_CONTINUE:
        return;
    }
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- telling --------------------------------------------------------------------------------- */

/* Takes the identity of `answer`. */
static void tell(struct auth_attempt *attempt, const struct auth_answer *answer)
{
    pthread_mutex_lock(&attempt->lock);
    bool told = !attempt->ended;
    if (told) {
        attempt->done(attempt->user, answer);
    }
    pthread_mutex_unlock(&attempt->lock);
    if (!told) {
        auth_identity_unref(answer->identity);
    }
}

/* Nothing is left of it but what its worker holds. */
void verdict__drop(struct auth_attempt *attempt)
{
    ASSERT(attempt->state != ATTEMPT_NEW && attempt->state != ATTEMPT_OVER);
    attempt->state = ATTEMPT_OVER;
    attempt__release(attempt);
    turns_leave(attempt->auth->turns, &attempt->turn);
    list_remove(&attempt->link);
    chain_unref(attempt->chain);
    admission_unref(attempt->admission);
    admission_unref(attempt->scram_admission);
    scram_destroy(attempt->scram);
    attempt->chain = NULL;
    attempt->admission = NULL;
    attempt->scram_admission = NULL;
    attempt->scram = NULL;
    OPENSSL_cleanse(attempt->texts, attempt->texts_len);
    attempt__unref(attempt);
}

static void end(struct auth_attempt *attempt, const struct auth_answer *answer)
{
    count(attempt->auth, answer->verdict);
    attempt__release(attempt);
    tell(attempt, answer);
    verdict__drop(attempt);
}

void verdict__give(struct auth_attempt *attempt, enum auth_verdict verdict, const char *reason)
{
    if (attempt->state == ATTEMPT_NEW) {
        attempt->state = ATTEMPT_JUDGED;
    }
    if (attempt->state != ATTEMPT_HELD && !attempt->abandoned) {
        log_failure(attempt, reason);
    }
    end(attempt, &(struct auth_answer){.verdict = verdict, .reason = reason});
}

void verdict__refuse(struct auth_attempt *attempt, const char *reason)
{
    struct auth *auth = attempt->auth;
    const struct chain *chain = attempt->chain;
    uint64_t now_ms = clock_mono_ms();
    uint64_t delay_ms =
        turns_fail(auth->turns, &attempt->turn, hash_slice(attempt__username(attempt)),
                   chain->failure_delay_ms, chain->failure_delay_max_ms, now_ms);
    log_failure(attempt, reason);
    attempt->reason = reason;
    attempt->state = ATTEMPT_HELD;
    if (attempt->judged_at_ms + delay_ms > now_ms) {
        delays_add(&auth->delays, &attempt->delay, attempt->judged_at_ms + delay_ms);
    } else {
        judge__due(&attempt->delay);
    }
}

void verdict__challenge(struct auth_attempt *attempt, struct slice data)
{
    attempt->state = ATTEMPT_CHALLENGED;
    tell(attempt, &(struct auth_answer){.verdict = AUTH_CONTINUE, .data = data, .reason = ""});
}

/* ---- letting in ------------------------------------------------------------------------------ */

/* Why the policy of now keeps out whom a provider has let in. */
static void keep_out(struct auth_attempt *attempt, const struct admission *admission, enum err err)
{
    if (err != ERR_INVALID) {
        verdict__give(attempt, AUTH_UNAVAILABLE, err_text(err));
    } else if (admission->provider == AUTH_PROVIDER_COUNT) {
        verdict__give(attempt, AUTH_NOT_ALLOWED, "anonymous clients are not allowed");
    } else if (admission->expires_at_ms <= clock_wall_ms()) {
        verdict__give(attempt, AUTH_DENIED, "expired");
    } else {
        verdict__give(attempt, AUTH_DENIED, "changed by a reload");
    }
}

void verdict__admit(struct auth_attempt *attempt, struct admission *admission, struct slice data)
{
    const struct auth_request *request = &attempt->request;
    const struct acl_subject subject = {.client_id = request->client_id,
                                        .common_name = request->common_name,
                                        .organization = request->organization,
                                        .organizational_unit = request->organizational_unit};
    struct auth_identity *identity = NULL;
    enum err err = admission != NULL
                       ? policy_identify(attempt->auth->policy, admission, &subject, &identity)
                       : ERR_MEMORY;
    if (err != ERR_OK) {
        keep_out(attempt, admission, err);
    } else {
        turns_succeed(&attempt->turn, hash_slice(attempt__username(attempt)));
        end(attempt,
            &(struct auth_answer){
                .verdict = AUTH_ALLOWED, .identity = identity, .data = data, .reason = ""});
    }
    admission_unref(admission);
}
