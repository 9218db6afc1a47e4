#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/mem.h"
#include "node/auth/jwt_priv.h"
#include "node/auth/secret_file.h"

/* RFC 7518, sections 3.2 and 3.3; the upper bound is about the time that a signature may take. */
#define SECRET_BYTES_MIN 32
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define ES256_BYTES 64 /* two numbers of 32 bytes */
#define ES256_DER_MAX 80
#define HS256_BYTES 32

/* ---- the names of algorithms ----------------------------------------------------------------- */

static const char *const algorithm_names[] = {
#define X(word) [JWT_##word] = #word,
    JWT_ALGORITHMS(X)
#undef X
};

bool jwt__algorithm_named(struct slice word, enum jwt_algorithm *algorithm)
{
    for (unsigned i = 0; i < JWT_ALGORITHM_COUNT; i++) {
        if (slice_equal(word, slice_text(algorithm_names[i]))) {
            *algorithm = (enum jwt_algorithm)i;
            return true;
        }
    }
    return false;
}

enum err jwt__algorithms_read(const char *list, unsigned *allowed, struct text *error)
{
    *allowed = 0;
    for (const char *at = list;; at++) {
        enum jwt_algorithm algorithm;
        at += strspn(at, " ");
        size_t len = strcspn(at, ", ");
        if (!jwt__algorithm_named(slice_of(at, len), &algorithm)) {
            text_printf(error, "the algorithms of tokens are HS256, RS256, ES256, not %s", list);
            return ERR_SYNTAX;
        }
        *allowed |= BIT(algorithm);
        at += len;
        at += strspn(at, " ");
        if (*at == '\0') {
            return ERR_OK;
        }
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

struct reading {
    struct jwt_keys *keys;
    const char *path;
    unsigned allowed;
    struct text *error;
};

static enum err refuse(const struct reading *reading, const char *why)
{
    text_printf(reading->error, "%s: %s", reading->path, why);
    return ERR_INVALID;
}

static enum err add_key(const struct reading *reading, struct jwt_key key)
{
    if ((reading->allowed & BIT(key.algorithm)) == 0) {
        text_printf(reading->error, "%s: holds a key for %s, which auth.jwt_algorithms leaves out",
                    reading->path, algorithm_names[key.algorithm]);
        return ERR_INVALID;
    }
    if (reading->keys->count == JWT_KEYS_MAX) {
        return refuse(reading, "more than 16 keys");
    }
    reading->keys->items[reading->keys->count++] = key;
    return ERR_OK;
}

static bool is_p256(const EVP_PKEY *key)
{
    char name[40];
    size_t len = 0;
    return EVP_PKEY_get_group_name(key, name, sizeof(name), &len) == 1 &&
           strcmp(name, SN_X9_62_prime256v1) == 0;
}

/* Takes `key`, when it returns ERR_OK. */
static enum err add_public_key(const struct reading *reading, EVP_PKEY *key)
{
    if (EVP_PKEY_is_a(key, "RSA")) {
        int bits = EVP_PKEY_get_bits(key);
        return bits < RSA_BITS_MIN || bits > RSA_BITS_MAX
                   ? refuse(reading, "an RSA key must have 2048 to 8192 bits")
                   : add_key(reading, (struct jwt_key){JWT_RS256, .public_key = key});
    }
    if (EVP_PKEY_is_a(key, "EC") && is_p256(key)) {
        return add_key(reading, (struct jwt_key){JWT_ES256, .public_key = key});
    }
    return refuse(reading, "a key is neither RSA nor of the elliptic curve P-256");
}

static EVP_PKEY *key_of_certificate(const uint8_t *der, long len)
{
    X509 *certificate = d2i_X509(NULL, &der, len);
    EVP_PKEY *key = certificate != NULL ? X509_get_pubkey(certificate) : NULL;
    X509_free(certificate);
    return key;
}

static enum err add_block(const struct reading *reading, const char *name, const uint8_t *der,
                          long len)
{
    EVP_PKEY *key = NULL;
    if (strcmp(name, PEM_STRING_PUBLIC) == 0) {
        key = d2i_PUBKEY(NULL, &(const uint8_t *){der}, len);
    } else if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0) {
        key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &(const uint8_t *){der}, len);
    } else if (strcmp(name, PEM_STRING_X509) == 0) {
        key = key_of_certificate(der, len);
    } else if (strstr(name, "PRIVATE KEY") != NULL) {
        return refuse(reading, "holds a private key; tokens are verified with the public one");
    } else {
        return refuse(reading, "holds something else than public keys and certificates");
    }
    if (key == NULL) {
        return refuse(reading, "holds a key that can't be read");
    }
    enum err err = add_public_key(reading, key);
    if (err != ERR_OK) {
        EVP_PKEY_free(key);
    }
    return err;
}

/* Reads one block. `*end`: there are no more. */
static enum err read_block(const struct reading *reading, BIO *bio, bool *end)
{
    char *name = NULL, *header = NULL;
    uint8_t *der = NULL;
    long len = 0;
    if (PEM_read_bio(bio, &name, &header, &der, &len) != 1) {
        *end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
        return *end ? ERR_OK : refuse(reading, "is damaged: not PEM");
    }
    enum err err = add_block(reading, name, der, len);
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_clear_free(der, (size_t)len); /* it may be a private key */
    return err;
}

static enum err read_pem(const struct reading *reading, const struct whole_file *file)
{
    BIO *bio = BIO_new_mem_buf(file->data, (int)file->len);
    if (bio == NULL) {
        return ERR_MEMORY;
    }
    enum err err = ERR_OK;
    for (bool end = false; err == ERR_OK && !end;) {
        err = read_block(reading, bio, &end);
    }
    (void)BIO_free(bio); /* memory only */
    if (err == ERR_OK && reading->keys->count == 0) {
        err = refuse(reading, "holds no key");
    }
    return err;
}

static bool is_der_key(const uint8_t *der, size_t len)
{
    EVP_PKEY *key = d2i_PUBKEY(NULL, &(const uint8_t *){der}, (long)len);
    if (key == NULL) {
        key = d2i_PublicKey(EVP_PKEY_RSA, NULL, &(const uint8_t *){der}, (long)len);
    }
    if (key == NULL) {
        key = key_of_certificate(der, (long)len);
    }
    EVP_PKEY_free(key);
    return key != NULL;
}

/* What base64 stands for, with line ends or without; 0: it is none. */
static size_t decode_base64(struct slice text, uint8_t *bytes)
{
    int len = 0, more = 0;
    EVP_ENCODE_CTX *context = EVP_ENCODE_CTX_new();
    if (context != NULL) {
        EVP_DecodeInit(context);
        if (EVP_DecodeUpdate(context, bytes, &len, text.data, (int)text.len) < 0 ||
            EVP_DecodeFinal(context, bytes + len, &more) < 0) {
            len = 0;
        }
    }
    EVP_ENCODE_CTX_free(context);
    return (size_t)len;
}

/* A public key in another form than PEM would be a secret that everybody knows. */
static bool is_public(struct slice secret)
{
    if (slice_starts_with(secret, "ssh-") || slice_starts_with(secret, "ecdsa-") ||
        slice_starts_with(secret, "{") || is_der_key(secret.data, secret.len)) {
        return true;
    }
    uint8_t *der = mem_try_alloc(secret.len);
    size_t len = der != NULL ? decode_base64(secret, der) : 0;
    bool is_key = len > 0 && is_der_key(der, len);
    if (der != NULL) {
        OPENSSL_cleanse(der, secret.len);
    }
    mem_free(der);
    return is_key;
}

static enum err read_secret(const struct reading *reading, const struct whole_file *file)
{
    struct slice secret = whole_file_line(file);
    if (secret.len < SECRET_BYTES_MIN) {
        return refuse(reading, "the secret is shorter than 32 bytes");
    }
    if (is_public(secret)) {
        return refuse(reading, "holds a public key in a form that is not PEM");
    }
    struct jwt_key key = {JWT_HS256, .secret_len = secret.len};
    key.secret = mem_try_alloc(secret.len);
    if (key.secret == NULL) {
        return ERR_MEMORY;
    }
    memcpy(key.secret, secret.data, secret.len);
    enum err err = add_key(reading, key);
    if (err != ERR_OK) {
        OPENSSL_cleanse(key.secret, key.secret_len);
        mem_free(key.secret);
        return err;
    }
    secret_file_warn(file, reading->path);
    return ERR_OK;
}

enum err jwt__keys_read(struct jwt_keys *keys, const char *path, unsigned allowed,
                        struct text *error)
{
    struct reading reading = {keys, path, allowed, error};
    struct whole_file file;
    keys->count = 0;
    enum err err = secret_file_read(&file, path, error);
    if (err != ERR_OK) {
        return err;
    }
    bool pem = file.len > 0 && memmem(file.data, file.len, "-----BEGIN", 10) != NULL;
    err = pem ? read_pem(&reading, &file) : read_secret(&reading, &file);
    ERR_clear_error();
    whole_file_fini(&file);
    if (err != ERR_OK) {
        jwt__keys_fini(keys);
    }
    return err;
}

void jwt__keys_fini(struct jwt_keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        struct jwt_key *key = &keys->items[i];
        EVP_PKEY_free(key->public_key);
        if (key->secret != NULL) {
            OPENSSL_cleanse(key->secret, key->secret_len);
            mem_free(key->secret);
        }
    }
    *keys = (struct jwt_keys){.count = 0};
}

/* ---- verifying ------------------------------------------------------------------------------- */

static bool verify_hs256(const struct jwt_key *key, struct slice message, struct slice signature)
{
    uint8_t mac[HS256_BYTES];
    unsigned len = 0;
    bool good = HMAC(EVP_sha256(), key->secret, (int)key->secret_len, message.data, message.len,
                     mac, &len) != NULL &&
                len == sizeof(mac) && signature.len == sizeof(mac) &&
                CRYPTO_memcmp(mac, signature.data, sizeof(mac)) == 0;
    OPENSSL_cleanse(mac, sizeof(mac)); /* it would be a good signature of what the client sent */
    return good;
}

/* RSA with PKCS #1 v1.5, or ECDSA with a signature in DER: what EVP does with a key by default. */
static bool verify_digest(EVP_PKEY *key, struct slice message, struct slice signature)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        context != NULL && EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
        EVP_DigestVerify(context, signature.data, signature.len, message.data, message.len) == 1;
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}

/* A token has the two numbers side by side, OpenSSL takes them in DER. The length of what is
 * written to `der`; 0: none. */
static size_t es256_to_der(struct slice raw, uint8_t *der)
{
    int half = ES256_BYTES / 2, len = 0;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw.data, half, NULL);
    BIGNUM *s = BN_bin2bn(raw.data + half, half, NULL);
    if (pair != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(pair, r, s) == 1) {
        r = s = NULL;
        len = i2d_ECDSA_SIG(pair, NULL);
        len = len > 0 && len <= ES256_DER_MAX ? i2d_ECDSA_SIG(pair, &der) : 0;
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(pair);
    return len > 0 ? (size_t)len : 0;
}

static bool verify_es256(EVP_PKEY *key, struct slice message, struct slice signature)
{
    uint8_t der[ES256_DER_MAX];
    if (signature.len != ES256_BYTES) {
        return false;
    }
    size_t len = es256_to_der(signature, der);
    return len > 0 && verify_digest(key, message, slice_of(der, len));
}

bool jwt__key_verify(const struct jwt_key *key, struct slice message, struct slice signature)
{
    switch (key->algorithm) {
    case JWT_HS256:
        return verify_hs256(key, message, signature);
    case JWT_RS256:
        return verify_digest(key->public_key, message, signature);
    case JWT_ES256:
        return verify_es256(key->public_key, message, signature);
    case JWT_ALGORITHM_COUNT:
        break;
    }
    return false;
}
