/*
 * jwt: tokens that clients send as their password: who they are, for how long, and what they may
 * do, signed by somebody whose key we have.
 *
 *     {"sub": "pump-7", "exp": 1767225600, "groups": ["devices"],
 *      "acl": [{"permission": "allow", "action": "publish", "topic": "plant/%u/#"}]}
 *
 * HS256, RS256 and ES256. A key is for one algorithm, which follows from what the key is; a token
 * only says which keys are tried. `kid` is not looked at: all keys of that algorithm are tried.
 * Keys that a token brings along (jwk, x5c, jku) are not looked at either. `crit` is refused,
 * because we understand no extension; so are members that come twice, and tokens of another kind
 * (`typ`, RFC 8725).
 *
 * exp, nbf and iat may be off by JWT_LEEWAY_MS. iss and aud are compared when the configuration
 * names them. The claims for groups and rules: grants.h. A claim that can't be understood refuses
 * the token: a rule that was dropped could have been the denying one.
 *
 * Not libjwt: up to 1.x the token chooses the algorithm with which a key is used (an RSA public
 * key then passes for the secret of HS256), the way to prevent that differs from version to
 * version, and base64, `crit` and members that come twice are taken as they come.
 *
 * Owns      struct jwt_verifier: keys and settings. struct jwt_claims: what a token says.
 * Thread    any; a verifier doesn't change.
 * Errors    jwt_verifier_create: one line for people. jwt_verify: see there.
 * Source    RFC 7515, RFC 7518, RFC 7519, RFC 8725.
 */
#ifndef PULSE_NODE_AUTH_JWT_H
#define PULSE_NODE_AUTH_JWT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/grants.h"

/* X(word in `alg`): what we verify. There is no `none`. */
#define JWT_ALGORITHMS(X) X(HS256) X(RS256) X(ES256)

#define JWT_LEEWAY_MS 10000u
#define JWT_TOKEN_MAX 65535u /* what a password may have */
#define JWT_HEADER_MAX 4096u /* in base64 */
#define JWT_USERNAME_MAX 65535u

struct jwt_verifier;

/* Texts are borrowed for the call. NULL or "": off, or the usual claim. */
struct jwt_settings {
    const char *key_file;
    const char *algorithms; /* "RS256,ES256" */
    const char *issuer;
    const char *audience;
    const char *username_claim; /* "sub" */
    const char *groups_claim;   /* "groups" */
    const char *acl_claim;      /* "acl" */
};

struct jwt_claims {
    struct text username;
    struct grants grants;
    uint64_t expires_at_ms; /* wall clock; UINT64_MAX: never */
};

/* Reads the keys. End with jwt_verifier_destroy. */
must_check enum err jwt_verifier_create(const struct jwt_settings *settings,
                                        struct jwt_verifier **out, struct text *error);
void jwt_verifier_destroy(struct jwt_verifier *verifier); /* NULL is allowed */

/*
 * Judges `token` at the wall clock `now_ms`. `claims` is written on ERR_OK; end it with
 * jwt_claims_fini. ERR_SYNTAX: this is no token, so others may know what it is. ERR_INVALID: it is
 * one, and not good; `*why` says why, a constant text. ERR_MEMORY.
 */
must_check enum err jwt_verify(const struct jwt_verifier *verifier, struct slice token,
                               uint64_t now_ms, struct jwt_claims *claims, const char **why);
void jwt_claims_fini(struct jwt_claims *claims);

#endif
