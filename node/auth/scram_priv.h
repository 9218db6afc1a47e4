/*
 * scram: the server's side of one SCRAM-SHA-256 exchange, as messages: no users, no network.
 *
 * Owns      struct scram: what was said so far, and a copy of the keys of its user.
 * Thread    the caller's.
 * Errors    a constant text that says what the client did wrong; NULL: nothing.
 * Source    RFC 5802, RFC 7677. Without channel binding: `p=` is refused, `n` and `y` are taken.
 */
#ifndef PULSE_NODE_AUTH_SCRAM_PRIV_H
#define PULSE_NODE_AUTH_SCRAM_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/password.h"

#define SCRAM_METHOD "SCRAM-SHA-256"
#define SCRAM_MESSAGE_MAX 4096

struct scram;

/* Reads client-first-message. `*out` is written when it gives NULL. */
must_check const char *scram_create(struct slice client_first, struct scram **out);
void scram_destroy(struct scram *scram); /* NULL is allowed */

/* The user name in it, and the one to act as (empty: the same). Borrowed from `scram`. */
struct slice scram_username(const struct scram *scram);
struct slice scram_authorization(const struct scram *scram);

/*
 * Adds server-first-message. `keys` is the user's, or `known` is false and it is a made-up one: the
 * exchange goes on and fails at its end. `nonce`: the server's part; empty: a random one.
 */
must_check const char *scram_challenge(struct scram *scram, const struct password_hash *keys,
                                       bool known, struct slice nonce, struct text *server_first);

/* Reads client-final-message, and adds server-final-message when the client has the password. */
must_check const char *scram_finish(struct scram *scram, struct slice client_final,
                                    struct text *server_final);

/* Keys for a user there is not: a salt of `length` bytes that stays the same for a name. `secret`
 * is what nobody outside knows. */
void scram_make_up(struct slice secret, struct slice username, uint32_t iterations,
                   uint8_t salt_len, struct password_hash *keys);

#endif
