#include "tests/integration/auth_support.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Hashes of passwords and signed tokens, by OpenSSL alone. */

enum { TEXT_SIZE = 4096, TEXTS_KEPT = 16, ROUNDS = 101, KEY_LEN = 64, RSA_BITS = 2048, HALF = 32 };

static const unsigned char salt[] = "twelve bytes";
static const char secret[] = "a shared secret of more than 32 bytes for tokens";

static char *next_text(void)
{
    static char texts[TEXTS_KEPT][TEXT_SIZE];
    static unsigned next;
    return texts[next++ % TEXTS_KEPT];
}

/* Composed apart, because its parts may be such texts themselves. */
static const char *keep_text(const char *format, ...)
{
    char text[TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len < 0 || len >= TEXT_SIZE) {
        test_fail("a text of %d bytes is too long for a test", len);
    }
    return memcpy(next_text(), text, (size_t)len + 1);
}

static void must(bool is_good, const char *what)
{
    if (!is_good) {
        test_fail("OpenSSL can't make %s", what);
    }
}

const char *auth_base64(const void *bytes, size_t len, bool is_for_token)
{
    char *text = next_text();
    must(len * 4 / 3 + 4 < TEXT_SIZE, "so long a text");
    EVP_EncodeBlock((unsigned char *)text, bytes, (int)len);
    for (char *at = text; is_for_token && *at != '\0'; at++) {
        if (*at == '+') {
            *at = '-';
        } else if (*at == '/') {
            *at = '_';
        } else if (*at == '=') {
            *at = '\0';
            break;
        }
    }
    return text;
}

const char *auth_hash_6(const char *password)
{
    unsigned char key[KEY_LEN];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    must(EVP_DigestInit_ex(digest, EVP_sha512(), NULL) == 1 &&
             EVP_DigestUpdate(digest, password, strlen(password)) == 1 &&
             EVP_DigestUpdate(digest, salt, sizeof(salt) - 1) == 1 &&
             EVP_DigestFinal_ex(digest, key, NULL) == 1,
         "a SHA-512");
    EVP_MD_CTX_free(digest);
    return keep_text("$6$%s$%s", auth_base64(salt, sizeof(salt) - 1, false),
                     auth_base64(key, sizeof(key), false));
}

const char *auth_hash_7(const char *password)
{
    unsigned char key[KEY_LEN];
    must(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, sizeof(salt) - 1, ROUNDS,
                           EVP_sha512(), sizeof(key), key) == 1,
         "a PBKDF2");
    return keep_text("$7$%d$%s$%s", ROUNDS, auth_base64(salt, sizeof(salt) - 1, false),
                     auth_base64(key, sizeof(key), false));
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* A key pair that stays for the program. NULL for HS256. */
static EVP_PKEY *key_of(const char *algorithm)
{
    static EVP_PKEY *rsa;
    static EVP_PKEY *ec;
    if (strcmp(algorithm, "RS256") == 0) {
        rsa = rsa != NULL ? rsa : EVP_RSA_gen(RSA_BITS);
        return rsa;
    }
    if (strcmp(algorithm, "ES256") == 0) {
        ec = ec != NULL ? ec : EVP_EC_gen("P-256");
        return ec;
    }
    return NULL;
}

const char *auth_token_key(const char *algorithm)
{
    EVP_PKEY *key = key_of(algorithm);
    char name[64];
    snprintf(name, sizeof(name), "%s.key", algorithm);
    const char *path = auth_write(name, "%s", key == NULL ? secret : "");
    if (key != NULL) {
        FILE *file = fopen(path, "w");
        must(file != NULL && PEM_write_PUBKEY(file, key) == 1, "a file with a key");
        fclose(file);
    }
    return path;
}

/* An ECDSA signature as a token has it: both numbers, 32 bytes each. */
static void flatten(unsigned char *signature, size_t *len)
{
    const unsigned char *at = signature;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)*len);
    must(pair != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, HALF) == HALF &&
             BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + HALF, HALF) == HALF,
         "an ES256 signature");
    ECDSA_SIG_free(pair);
    *len = 2 * HALF;
}

static size_t sign(const char *algorithm, const char *text, unsigned char *out, size_t size)
{
    EVP_PKEY *key = key_of(algorithm);
    size_t len = size;
    if (key == NULL) {
        unsigned hmac_len = 0;
        must(HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text,
                  strlen(text), out, &hmac_len) != NULL,
             "an HMAC");
        return hmac_len;
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    must(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
             EVP_DigestSign(context, out, &len, (const unsigned char *)text, strlen(text)) == 1,
         "a signature");
    EVP_MD_CTX_free(context);
    if (EVP_PKEY_get_base_id(key) == EVP_PKEY_EC) {
        flatten(out, &len);
    }
    return len;
}

const char *auth_token(const char *algorithm, const char *claims)
{
    char header[64];
    unsigned char signature[512];
    snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\"}", algorithm);
    const char *said = keep_text("%s.%s", auth_base64(header, strlen(header), true),
                                 auth_base64(claims, strlen(claims), true));
    size_t signed_len = sign(algorithm, said, signature, sizeof(signature));
    return keep_text("%s.%s", said, auth_base64(signature, signed_len, true));
}
