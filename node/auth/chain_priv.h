/*
 * chain: the providers of one configuration, in the order in which they are asked, and its policy.
 *
 * Owns      its providers; a reference on its policy.
 * Thread    chain_create: main. Then auth's, or main as long as that does not run. Counted, because
 *           attempts that began before a reload end with the chain that they began with.
 * Errors    with one line for people.
 */
#ifndef PULSE_NODE_AUTH_CHAIN_PRIV_H
#define PULSE_NODE_AUTH_CHAIN_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"
#include "node/auth/auth.h"
#include "node/auth/policy_priv.h"
#include "node/auth/provider_priv.h"

struct chain {
    uint32_t references;
    struct policy *policy;
    struct auth_provider *providers[AUTH_PROVIDER_COUNT];
    size_t count;
    uint64_t cache_ttl_ms;
    uint64_t failure_delay_ms;
    uint64_t failure_delay_max_ms;
};

must_check enum err chain_create(const struct auth_settings *settings, unsigned thread_count,
                                 struct chain **out, struct text *error);
/* Lets its providers start. */
must_check enum err chain_start(struct chain *chain, uv_loop_t *loop);
void chain_ref(struct chain *chain);
void chain_unref(struct chain *chain); /* NULL is allowed */

/* The parameters of a hash that a wrong password costs. False: none. */
bool chain_usual_hash(const struct chain *chain, struct password_hash *usual);

/* Of a provider of AUTH_USERS or AUTH_PASSWORD_FILE. Borrowed. */
struct user_store *store_provider__store(struct auth_provider *provider);

#endif
