/*
 * jwt_support: keys and tokens for tests, made by OpenSSL, and files to put keys in.
 */
#ifndef PULSE_TESTS_UNIT_NODE_AUTH_JWT_SUPPORT_H
#define PULSE_TESTS_UNIT_NODE_AUTH_JWT_SUPPORT_H

#include <stddef.h>
#include <stdint.h>

#include <openssl/evp.h>

#include "node/auth/jwt.h"

#define JWT_SECRET "a secret of more than 32 bytes, for tests"

/* Gives a fresh key: "RSA" with `bits`, or "EC" on `curve`. End with EVP_PKEY_free. */
EVP_PKEY *jwt_rsa_key(unsigned bits);
EVP_PKEY *jwt_ec_key(const char *curve);

/* Gives the PEM text of the public key; free() it. */
char *jwt_public_pem(EVP_PKEY *key);
char *jwt_private_pem(EVP_PKEY *key);

/* Gives base64url of bytes; free() it. */
char *jwt_base64url(const void *data, size_t len);

/* Each gives a token of two JSON texts; free() it. */
char *jwt_sign_hs256(const char *header, const char *payload, const void *secret, size_t len);
char *jwt_sign_rs256(const char *header, const char *payload, EVP_PKEY *key);
char *jwt_sign_es256(const char *header, const char *payload, EVP_PKEY *key);
/* The two texts and this for a signature, as it is. */
char *jwt_join(const char *header, const char *payload, const char *signature);

/* Writes a file of its own and gives its name; end it with jwt_file_remove. */
char *jwt_file(const void *data, size_t len);
char *jwt_file_text(const char *text);
void jwt_file_remove(char *path);

/* The time at which tokens are judged. */
#define JWT_NOW_MS 1700000000000u

/* A verifier with the keys of a file of this content, or with JWT_SECRET alone. */
struct jwt_verifier *jwt_verifier_with(struct jwt_settings settings, const void *keys, size_t len);
struct jwt_verifier *jwt_secret_verifier(struct jwt_settings settings);

enum err jwt_verify_at(const struct jwt_verifier *verifier, const char *token, uint64_t now_ms,
                       struct jwt_claims *claims);
/* What a token is taken for; takes it. */
enum err jwt_verdict(const struct jwt_verifier *verifier, char *token);

/* A token with these claims, signed with JWT_SECRET; free() it. And what it is taken for. */
char *jwt_sign_payload(const char *payload);
enum err jwt_verdict_of_payload(struct jwt_settings settings, const char *payload);

#endif
