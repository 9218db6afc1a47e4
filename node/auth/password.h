/*
 * password: hashes of passwords: their texts, and whether a password fits.
 *
 * Owns      nothing; a struct password_hash is plain data (cleanse it when it was a secret).
 * Thread    any. password_hash_fits takes as long as the hash wants: milliseconds to a second, and
 *           up to 64 MiB: not on a loop.
 * Errors    ERR_SYNTAX and ERR_RANGE with one line for people, which does not hold the hash.
 * Source    RFC 7914 (scrypt), RFC 8018 (PBKDF2), RFC 9106 (Argon2), RFC 5802 (SCRAM); the PHC
 * string format; Mosquitto's $6$ and $7$.
 */
#ifndef PULSE_NODE_AUTH_PASSWORD_H
#define PULSE_NODE_AUTH_PASSWORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"

#define PASSWORD_SALT_MAX 64
#define PASSWORD_KEY_MAX 64
#define PASSWORD_LEN_MAX 65535

enum password_kind {
    PASSWORD_KEYED,      /* HMAC-SHA-256 of a plain password of the configuration, never written */
    PASSWORD_SCRYPT,     /* $scrypt$ln=14,r=8,p=1$salt$key */
    PASSWORD_PBKDF2,     /* $pbkdf2-sha512$i=210000$salt$key */
    PASSWORD_ARGON2ID,   /* $argon2id$v=19$m=19456,t=2,p=1$salt$key */
    PASSWORD_SCRAM,      /* $scram-sha-256$i=20000$salt$stored key$server key */
    PASSWORD_MOSQUITTO6, /* $6$salt$key: one round of SHA-512 */
    PASSWORD_MOSQUITTO7, /* $7$iterations$salt$key: PBKDF2 with SHA-512 */
    PASSWORD_KIND_COUNT
};

struct password_hash {
    enum password_kind kind;
    uint32_t cost[3]; /* ln, r, p; or iterations; or m, t, p */
    uint8_t salt_len;
    uint8_t key_len;
    uint8_t salt[PASSWORD_SALT_MAX];
    uint8_t key[PASSWORD_KEY_MAX]; /* SCRAM: the stored key, 32 bytes, then the server key */
};

/* Does it look like a hash of ours or of Mosquitto ($name$...)? Else it is a plain password. */
bool password_is_hash(struct slice text);

/* UTF-8 without control characters, as SCRAM wants it (SASLprep leaves it as it is, but for
 * characters that are composed or wide, which clients must not rely on). */
bool password_is_text(struct slice password);

/* Reads a hash. Nothing is written to `hash` but on ERR_OK. */
must_check enum err password_parse(struct slice text, struct password_hash *hash,
                                   struct text *error);
/* Adds its text. Not of PASSWORD_KEYED. */
void password_print(const struct password_hash *hash, struct text *out);

/*
 * Makes the hash of a password, with a fresh salt and the parameters that are usual today.
 * `iterations` of PASSWORD_PBKDF2 and PASSWORD_SCRAM; 0: the usual ones.
 */
must_check enum err password_make(enum password_kind kind, uint32_t iterations,
                                  struct slice password, struct password_hash *hash);
/* The hash of a plain password of the configuration under `key`, of 32 bytes: costs nothing. */
must_check enum err password_make_keyed(const uint8_t key[static 32], struct slice password,
                                        struct password_hash *hash);
/* The parameters that password_make takes, without salt and key. */
void password_usual(enum password_kind kind, struct password_hash *usual);

/* Is it this password? Compares in constant time. False too when there is no memory. */
bool password_hash_fits(const struct password_hash *hash, struct slice password);
/* Costs as much as password_hash_fits with the parameters of `usual`, for a user there is not. */
void password_waste(const struct password_hash *usual, struct slice password);

/* Do both cost the same? */
bool password_costs_equal(const struct password_hash *a, const struct password_hash *b);

#endif
