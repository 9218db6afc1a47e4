#include "node/auth/scram_keys_priv.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

static_assert(SCRAM_KEY_LEN == SHA256_DIGEST_LENGTH, "keys are digests");

static bool hmac(const uint8_t key[static SCRAM_KEY_LEN], struct slice text,
                 uint8_t out[static SCRAM_KEY_LEN])
{
    return HMAC(EVP_sha256(), key, SCRAM_KEY_LEN, text.data, text.len, out, NULL) != NULL;
}

static bool digest(const uint8_t key[static SCRAM_KEY_LEN], uint8_t out[static SCRAM_KEY_LEN])
{
    return EVP_Digest(key, SCRAM_KEY_LEN, out, NULL, EVP_sha256(), NULL) == 1;
}

bool scram_keys_derive(struct slice password, struct slice salt, uint32_t iterations,
                       struct scram_keys *keys)
{
    uint8_t salted[SCRAM_KEY_LEN];
    uint8_t client_key[SCRAM_KEY_LEN];
    bool done =
        PKCS5_PBKDF2_HMAC((const char *)password.data, (int)password.len, salt.data, (int)salt.len,
                          (int)iterations, EVP_sha256(), sizeof(salted), salted) == 1 &&
        hmac(salted, slice_text("Client Key"), client_key) &&
        digest(client_key, keys->stored_key) &&
        hmac(salted, slice_text("Server Key"), keys->server_key);
    OPENSSL_cleanse(salted, sizeof(salted));
    OPENSSL_cleanse(client_key, sizeof(client_key));
    return done;
}

bool scram_proof_fits(const uint8_t stored_key[static SCRAM_KEY_LEN], struct slice auth_message,
                      const uint8_t proof[static SCRAM_KEY_LEN])
{
    uint8_t key[SCRAM_KEY_LEN]; /* the client's signature, then its key */
    uint8_t stored[SCRAM_KEY_LEN];
    bool fits = hmac(stored_key, auth_message, key);
    for (int i = 0; i < SCRAM_KEY_LEN && fits; i++) {
        key[i] ^= proof[i];
    }
    fits = fits && digest(key, stored) && CRYPTO_memcmp(stored, stored_key, sizeof(stored)) == 0;
    OPENSSL_cleanse(key, sizeof(key));
    return fits;
}

bool scram_sign(const uint8_t server_key[static SCRAM_KEY_LEN], struct slice auth_message,
                uint8_t signature[static SCRAM_KEY_LEN])
{
    return hmac(server_key, auth_message, signature);
}
