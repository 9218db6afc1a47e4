#include <argon2.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <string.h>

#include "base/mem.h"
#include "node/auth/password.h"
#include "node/auth/scram_keys_priv.h"

/* What new hashes get. */
#define SALT_LEN 16
#define KEY_LEN 32
#define SCRYPT_LN 14 /* 16 MiB: gateways are to bear it, too */
#define SCRYPT_R 8
#define SCRYPT_P 1
#define PBKDF2_ITERATIONS 210000
#define ARGON2_KIB 19456
#define ARGON2_PASSES 2
#define ARGON2_LANES 1
#define SCRAM_ITERATIONS 20000

/* ---- one function for each kind: the key of a password, hash->key_len bytes ------------------ */

static bool scrypt(const struct password_hash *hash, struct slice password, uint8_t *key)
{
    uint64_t n = UINT64_C(1) << hash->cost[0];
    uint64_t memory = 128 * n * hash->cost[1] + 1024 * 1024;
    return EVP_PBE_scrypt((const char *)password.data, password.len, hash->salt, hash->salt_len, n,
                          hash->cost[1], hash->cost[2], memory, key, hash->key_len) == 1;
}

static bool pbkdf2(const struct password_hash *hash, struct slice password, uint8_t *key)
{
    return PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.len, hash->salt,
                             hash->salt_len, (int)hash->cost[0], EVP_sha512(), hash->key_len,
                             key) == 1;
}

static bool argon2id(const struct password_hash *hash, struct slice password, uint8_t *key)
{
    return argon2id_hash_raw(hash->cost[1], hash->cost[0], hash->cost[2], password.data,
                             password.len, hash->salt, hash->salt_len, key,
                             hash->key_len) == ARGON2_OK;
}

static bool scram(const struct password_hash *hash, struct slice password, uint8_t *key)
{
    struct scram_keys keys;
    if (!scram_keys_derive(password, slice_of(hash->salt, hash->salt_len), hash->cost[0], &keys)) {
        return false;
    }
    memcpy(key, keys.stored_key, sizeof(keys.stored_key));
    memcpy(key + sizeof(keys.stored_key), keys.server_key, sizeof(keys.server_key));
    OPENSSL_cleanse(&keys, sizeof(keys));
    return true;
}

/* One round of SHA-512 over the password, then the salt. */
static bool mosquitto6(const struct password_hash *hash, struct slice password, uint8_t *key)
{
    unsigned len = 0;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != NULL && EVP_DigestInit_ex(context, EVP_sha512(), NULL) == 1 &&
                EVP_DigestUpdate(context, password.data, password.len) == 1 &&
                EVP_DigestUpdate(context, hash->salt, hash->salt_len) == 1 &&
                EVP_DigestFinal_ex(context, key, &len) == 1;
    EVP_MD_CTX_free(context);
    return done;
}

static bool keyed(const struct password_hash *hash, struct slice password, uint8_t *key)
{
    return HMAC(EVP_sha256(), hash->salt, hash->salt_len, password.data, password.len, key, NULL) !=
           NULL;
}

static bool derive(const struct password_hash *hash, struct slice password,
                   uint8_t key[static PASSWORD_KEY_MAX])
{
    static bool (*const functions[])(const struct password_hash *, struct slice, uint8_t *) = {
        [PASSWORD_KEYED] = keyed,       [PASSWORD_SCRYPT] = scrypt,
        [PASSWORD_PBKDF2] = pbkdf2,     [PASSWORD_ARGON2ID] = argon2id,
        [PASSWORD_SCRAM] = scram,       [PASSWORD_MOSQUITTO6] = mosquitto6,
        [PASSWORD_MOSQUITTO7] = pbkdf2,
    };
    static_assert(ARRAY_COUNT(functions) == PASSWORD_KIND_COUNT, "one for each kind");
    /* Libraries want an address, also of no bytes. */
    struct slice given = password.len > 0 ? password : slice_of("", 0);
    return given.len <= PASSWORD_LEN_MAX && functions[hash->kind](hash, given, key);
}

/* ---- */

bool password_hash_fits(const struct password_hash *hash, struct slice password)
{
    uint8_t key[PASSWORD_KEY_MAX];
    bool fits = derive(hash, password, key) && CRYPTO_memcmp(key, hash->key, hash->key_len) == 0;
    OPENSSL_cleanse(key, sizeof(key));
    return fits;
}

void password_waste(const struct password_hash *usual, struct slice password)
{
    struct password_hash hash = *usual;
    memset(hash.salt, 1, sizeof(hash.salt));
    hash.salt_len = SALT_LEN;
    hash.key_len =
        hash.kind == PASSWORD_SCRAM || hash.key_len == 0 ? PASSWORD_KEY_MAX : hash.key_len;
    (void)password_hash_fits(&hash, password); /* the answer is no, whatever it says */
}

static void set_costs(enum password_kind kind, uint32_t iterations, uint32_t cost[static 3])
{
    switch (kind) {
    case PASSWORD_SCRYPT:
        cost[0] = SCRYPT_LN;
        cost[1] = SCRYPT_R;
        cost[2] = SCRYPT_P;
        break;
    case PASSWORD_ARGON2ID:
        cost[0] = ARGON2_KIB;
        cost[1] = ARGON2_PASSES;
        cost[2] = ARGON2_LANES;
        break;
    case PASSWORD_PBKDF2:
    case PASSWORD_MOSQUITTO7:
        cost[0] = iterations > 0 ? iterations : PBKDF2_ITERATIONS;
        break;
    case PASSWORD_SCRAM:
        cost[0] = iterations > 0 ? iterations : SCRAM_ITERATIONS;
        break;
    case PASSWORD_KEYED:
    case PASSWORD_MOSQUITTO6:
    case PASSWORD_KIND_COUNT:
        break;
    }
}

static uint8_t key_len_of(enum password_kind kind)
{
    bool long_key = kind == PASSWORD_SCRAM || kind == PASSWORD_PBKDF2 ||
                    kind == PASSWORD_MOSQUITTO6 || kind == PASSWORD_MOSQUITTO7;
    return long_key ? PASSWORD_KEY_MAX : KEY_LEN;
}

void password_usual(enum password_kind kind, struct password_hash *usual)
{
    *usual =
        (struct password_hash){.kind = kind, .salt_len = SALT_LEN, .key_len = key_len_of(kind)};
    set_costs(kind, 0, usual->cost);
}

enum err password_make(enum password_kind kind, uint32_t iterations, struct slice password,
                       struct password_hash *out)
{
    ASSERT(kind != PASSWORD_KEYED && kind < PASSWORD_KIND_COUNT);
    struct password_hash hash;
    password_usual(kind, &hash);
    set_costs(kind, iterations, hash.cost);
    if (RAND_bytes(hash.salt, SALT_LEN) != 1) {
        return ERR_UNAVAILABLE;
    }
    if (!derive(&hash, password, hash.key)) {
        return ERR_MEMORY;
    }
    *out = hash;
    return ERR_OK;
}

enum err password_make_keyed(const uint8_t key[static 32], struct slice password,
                             struct password_hash *out)
{
    struct password_hash hash = {.kind = PASSWORD_KEYED, .salt_len = 32, .key_len = 32};
    memcpy(hash.salt, key, 32);
    if (!derive(&hash, password, hash.key)) {
        return ERR_MEMORY;
    }
    *out = hash;
    return ERR_OK;
}
