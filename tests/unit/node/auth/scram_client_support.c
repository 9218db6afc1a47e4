#include "tests/unit/node/auth/scram_client_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static void hmac(const uint8_t key[static 32], const char *text, uint8_t out[static 32])
{
    assert_non_null(HMAC(EVP_sha256(), key, 32, (const uint8_t *)text, strlen(text), out, NULL));
}

static void encode(const uint8_t bytes[static 32], char text[static 45])
{
    EVP_EncodeBlock((unsigned char *)text, bytes, 32);
}

static int decode_salt(const char *text, uint8_t salt[static 96])
{
    int padding = (int)(strlen(text) - strcspn(text, "="));
    int len = EVP_DecodeBlock(salt, (const unsigned char *)text, (int)strlen(text));
    assert_true(len >= padding);
    return len - padding;
}

void scram_client_answer(struct scram_client *client, const char *server_first,
                         const char *password)
{
    uint8_t salt[96];
    uint8_t salted[32], client_key[32], stored_key[32], server_key[32], signature[32];
    char header[128], proof[45], said[2048], without_proof[400];
    assert_int_equal(sscanf(server_first, "r=%255[^,],s=%127[^,],i=%u", client->nonce, client->salt,
                            &client->iterations),
                     3);
    int salt_len = decode_salt(client->salt, salt);
    assert_int_equal(PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, salt_len,
                                       (int)client->iterations, EVP_sha256(), 32, salted),
                     1);
    EVP_EncodeBlock((unsigned char *)header, (const unsigned char *)client->header,
                    (int)strlen(client->header));
    snprintf(without_proof, sizeof(without_proof), "c=%s,r=%s", header, client->nonce);
    snprintf(said, sizeof(said), "%s,%s,%s", client->first_bare, server_first, without_proof);
    hmac(salted, "Client Key", client_key);
    assert_int_equal(EVP_Digest(client_key, 32, stored_key, NULL, EVP_sha256(), NULL), 1);
    hmac(stored_key, said, signature);
    for (int i = 0; i < 32; i++) {
        client_key[i] ^= signature[i];
    }
    encode(client_key, proof);
    snprintf(client->client_final, sizeof(client->client_final), "%s,p=%s", without_proof, proof);
    hmac(salted, "Server Key", server_key);
    hmac(server_key, said, signature);
    strcpy(client->server_signature, "v=");
    encode(signature, client->server_signature + 2);
}
