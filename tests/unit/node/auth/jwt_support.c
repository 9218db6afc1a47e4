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
    return add_signature(message, mac, sizeof mac);
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
    size_t len = sign(key, message, signature, sizeof signature);
    return add_signature(message, signature, len);
}

char *jwt_sign_es256(const char *header, const char *payload, EVP_PKEY *key)
{
    uint8_t der[256], raw[64];
    char *message = jwt_join(header, payload, NULL);
    size_t len = sign(key, message, der, sizeof der);
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &(const uint8_t *){der}, (long)len);
    assert_non_null(pair);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + 32, 32), 32);
    ECDSA_SIG_free(pair);
    return add_signature(message, raw, sizeof raw);
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
