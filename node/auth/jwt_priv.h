/*
 * jwt_priv: what the files of jwt share: keys, claims.
 *
 * Owns      struct jwt_keys: the keys of one file. Secrets are wiped when it ends.
 * Thread    reading: one. Keys that were read don't change, so any thread may verify with them.
 * Errors    reading a file: one line for people. Verifying: false, without more.
 * Source    RFC 7515 (JWS), RFC 7518 (algorithms), RFC 7519 (JWT), RFC 8725 (best practices).
 */
#ifndef PULSE_NODE_AUTH_JWT_PRIV_H
#define PULSE_NODE_AUTH_JWT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/jwt.h"

struct evp_pkey_st;
struct json_t;

#define JWT_KEYS_MAX 16

#define X(word) JWT_##word,
enum jwt_algorithm { JWT_ALGORITHMS(X) JWT_ALGORITHM_COUNT };
#undef X

/*
 * What a key is decides its algorithm, when it is read and for ever: a token can't have a public
 * key used as a secret.
 */
struct jwt_key {
    enum jwt_algorithm algorithm;
    struct evp_pkey_st *public_key; /* RS256, ES256 */
    uint8_t *secret;                /* HS256 */
    size_t secret_len;
};

struct jwt_keys {
    struct jwt_key items[JWT_KEYS_MAX];
    size_t count;
};

struct jwt_verifier {
    struct jwt_keys keys;
    char *issuer; /* NULL: anything */
    char *audience;
    char *username_claim;
    char *groups_claim;
    char *acl_claim;
};

/* Finds the algorithm with this name. False: there is none. */
bool jwt__algorithm_named(struct slice word, enum jwt_algorithm *algorithm);

/* Reads a list such as "RS256,ES256" to a set of BIT(algorithm). */
must_check enum err jwt__algorithms_read(const char *list, unsigned *allowed, struct text *error);

/*
 * Reads the keys of a file: public keys and certificates in PEM, or else one secret, the bytes of
 * the file without the line ends behind it. A key whose algorithm isn't `allowed` is an error.
 */
must_check enum err jwt__keys_read(struct jwt_keys *keys, const char *path, unsigned allowed,
                                   struct text *error);
void jwt__keys_fini(struct jwt_keys *keys);

bool jwt__key_verify(const struct jwt_key *key, struct slice message, struct slice signature);

/* Judges the claims of a token whose signature is right. `why` as for jwt_verify. */
must_check enum err jwt__claims_judge(const struct jwt_verifier *verifier, struct json_t *payload,
                                      uint64_t now_ms, struct jwt_claims *claims, const char **why);

#endif
