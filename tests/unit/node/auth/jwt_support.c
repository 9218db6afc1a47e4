#include "tests/unit/node/auth/jwt_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

EVP_PKEY *jwt_rsa_key(unsigned bits)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
    assert_non_null(key);
    return key;
}

EVP_PKEY *jwt_ec_key(const char *curve)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve);
    assert_non_null(key);
    return key;
}

static char *text_of(BIO *bio)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)len);
    BIO_free(bio);
    return text;
}

char *jwt_public_pem(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    return text_of(bio);
}

char *jwt_private_pem(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    return text_of(bio);
}

char *jwt_base64url(const void *data, size_t len)
{
    char *text = malloc((len + 2) / 3 * 4 + 1);
    assert_non_null(text);
    EVP_EncodeBlock((unsigned char *)text, data, (int)len);
    for (char *at = text; *at != '\0'; at++) {
        *at = (char)(*at == '+' ? '-' : (*at == '/' ? '_' : *at));
    }
    text[strcspn(text, "=")] = '\0';
    return text;
}

char *jwt_join(const char *header, const char *payload, const char *signature)
{
    char *first = jwt_base64url(header, strlen(header));
    char *second = jwt_base64url(payload, strlen(payload));
    char *token = NULL;
    assert_true(asprintf(&token, "%s.%s%s%s", first, second, signature != NULL ? "." : "",
                         signature != NULL ? signature : "") > 0);
    free(first);
    free(second);
    return token;
}

/* Takes `message`. */
static char *add_signature(char *message, const void *signature, size_t len)
{
    char *text = jwt_base64url(signature, len);
    char *token = NULL;
    assert_true(asprintf(&token, "%s.%s", message, text) > 0);
    free(message);
    free(text);
    return token;
}

char *jwt_sign_hs256(const char *header, const char *payload, const void *secret, size_t len)
{
    uint8_t mac[32];
    char *message = jwt_join(header, payload, NULL);
    assert_non_null(
        HMAC(EVP_sha256(), secret, (int)len, (const uint8_t *)message, strlen(message), mac, NULL));
    return add_signature(message, mac, sizeof(mac));
}

static size_t sign(EVP_PKEY *key, const char *message, uint8_t *signature, size_t size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(
        EVP_DigestSign(context, signature, &size, (const uint8_t *)message, strlen(message)), 1);
    EVP_MD_CTX_free(context);
    return size;
}

char *jwt_sign_rs256(const char *header, const char *payload, EVP_PKEY *key)
{
    uint8_t signature[1024];
    char *message = jwt_join(header, payload, NULL);
    size_t len = sign(key, message, signature, sizeof(signature));
    return add_signature(message, signature, len);
}

char *jwt_sign_es256(const char *header, const char *payload, EVP_PKEY *key)
{
    uint8_t der[256], raw[64];
    char *message = jwt_join(header, payload, NULL);
    size_t len = sign(key, message, der, sizeof(der));
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &(const uint8_t *){der}, (long)len);
    assert_non_null(pair);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + 32, 32), 32);
    ECDSA_SIG_free(pair);
    return add_signature(message, raw, sizeof(raw));
}

char *jwt_file(const void *data, size_t len)
{
    char *path = strdup("/tmp/pulse-key-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), (ssize_t)len);
    close(fd);
    return path;
}

char *jwt_file_text(const char *text)
{
    return jwt_file(text, strlen(text));
}

void jwt_file_remove(char *path)
{
    unlink(path);
    free(path);
}

/* ---- what tokens are taken for --------------------------------------------------------------- */

struct jwt_verifier *jwt_verifier_with(struct jwt_settings settings, const void *keys, size_t len)
{
    struct jwt_verifier *verifier = NULL;
    struct text error = {.data = NULL};
    char *path = jwt_file(keys, len);
    settings.key_file = path;
    settings.algorithms = settings.algorithms != NULL ? settings.algorithms : "HS256,RS256,ES256";
    assert_int_equal(jwt_verifier_create(&settings, &verifier, &error), ERR_OK);
    assert_null(error.data);
    jwt_file_remove(path);
    return verifier;
}

struct jwt_verifier *jwt_secret_verifier(struct jwt_settings settings)
{
    return jwt_verifier_with(settings, JWT_SECRET "\n", strlen(JWT_SECRET "\n"));
}

enum err jwt_verify_at(const struct jwt_verifier *verifier, const char *token, uint64_t now_ms,
                       struct jwt_claims *claims)
{
    const char *why = NULL;
    enum err err = jwt_verify(verifier, slice_text(token), now_ms, claims, &why);
    assert_true((err == ERR_INVALID) == (why != NULL));
    return err;
}

/* What a token is taken for; the token is freed. */
enum err jwt_verdict(const struct jwt_verifier *verifier, char *token)
{
    struct jwt_claims claims;
    enum err err = jwt_verify_at(verifier, token, JWT_NOW_MS, &claims);
    if (err == ERR_OK) {
        jwt_claims_fini(&claims);
    }
    free(token);
    return err;
}

char *jwt_sign_payload(const char *payload)
{
    return jwt_sign_hs256("{\"alg\":\"HS256\"}", payload, JWT_SECRET, strlen(JWT_SECRET));
}

enum err jwt_verdict_of_payload(struct jwt_settings settings, const char *payload)
{
    struct jwt_verifier *verifier = jwt_secret_verifier(settings);
    enum err err = jwt_verdict(verifier, jwt_sign_payload(payload));
    jwt_verifier_destroy(verifier);
    return err;
}
