#include "tests/integration/auth_scram.h"
#include "tests/integration/auth_support.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SALT_MAX = 64 };

static unsigned nonces_made;

/* The value of attribute `name` in `message`, up to the next comma. */
static void read_attribute(const char *message, char name, char *out, size_t size)
{
    const char *at = message;
    while (at != NULL && !(at[0] == name && at[1] == '=')) {
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
    if (at == NULL) {
        test_fail("the server's message \"%s\" has no %c", message, name);
    }
    size_t len = strcspn(at + 2, ",");
    snprintf(out, size, "%.*s", (int)len, at + 2);
}

static size_t from_base64(const char *text, uint8_t *out, size_t size)
{
    size_t len = strlen(text);
    size_t padding = len - strcspn(text, "=");
    if (len % 4 != 0 || len / 4 * 3 > size ||
        EVP_DecodeBlock(out, (const unsigned char *)text, (int)len) < 0) {
        test_fail("\"%s\" is no base64 for here", text);
    }
    return len / 4 * 3 - padding;
}

static void hmac(const uint8_t *key, const void *data, size_t len, uint8_t *out)
{
    HMAC(EVP_sha256(), key, SCRAM_KEY_LEN, data, len, out, NULL);
}

void scram_client_begin(struct scram_client *scram, const char *user, const char *password)
{
    scram->password = password;
    snprintf(scram->nonce, sizeof(scram->nonce), "nonce%u-%ld", ++nonces_made, clock_ms());
    snprintf(scram->first, sizeof(scram->first), "n,,n=%s,r=%s", user, scram->nonce);
}

void scram_client_go_on(struct scram_client *scram, const char *server_first)
{
    char nonce[512], salt_text[256], rounds[32];
    uint8_t salt[SALT_MAX * 2], salted[SCRAM_KEY_LEN], key[SCRAM_KEY_LEN], stored[SCRAM_KEY_LEN],
        proof[SCRAM_KEY_LEN];
    read_attribute(server_first, 'r', nonce, sizeof(nonce));
    read_attribute(server_first, 's', salt_text, sizeof(salt_text));
    read_attribute(server_first, 'i', rounds, sizeof(rounds));
    if (strncmp(nonce, scram->nonce, strlen(scram->nonce)) != 0 ||
        strlen(nonce) < strlen(scram->nonce) + 16 || atoi(rounds) < 4096) {
        test_fail("the server's message \"%s\" is not safe", server_first);
    }
    size_t salt_len = from_base64(salt_text, salt, sizeof(salt));
    PKCS5_PBKDF2_HMAC(scram->password, (int)strlen(scram->password), salt, (int)salt_len,
                      atoi(rounds), EVP_sha256(), SCRAM_KEY_LEN, salted);
    char without_proof[600], all[3 * SCRAM_TEXT_SIZE];
    snprintf(without_proof, sizeof(without_proof), "c=biws,r=%s", nonce);
    int len = snprintf(all, sizeof(all), "%s,%s,%s", scram->first + 3, server_first, without_proof);
    hmac(salted, "Client Key", 10, key);
    EVP_Digest(key, sizeof(key), stored, NULL, EVP_sha256(), NULL);
    hmac(stored, all, (size_t)len, proof);
    for (size_t i = 0; i < SCRAM_KEY_LEN; i++) {
        proof[i] ^= key[i];
    }
    snprintf(scram->last, sizeof(scram->last), "%s,p=%s", without_proof,
             auth_base64(proof, sizeof(proof), false));
    hmac(salted, "Server Key", 10, key);
    hmac(key, all, (size_t)len, scram->signature);
}

void scram_client_check(const struct scram_client *scram, const char *server_final)
{
    char text[256];
    uint8_t signature[SALT_MAX * 2];
    read_attribute(server_final, 'v', text, sizeof(text));
    if (from_base64(text, signature, sizeof(signature)) != SCRAM_KEY_LEN ||
        memcmp(signature, scram->signature, SCRAM_KEY_LEN) != 0) {
        test_fail("the server does not know the password");
    }
}

/* ---- in MQTT --------------------------------------------------------------------------------- */

const char *scram_data(struct client *c)
{
    const struct prop *method = packet_prop(client_last(c), PROP_AUTH_METHOD);
    const struct prop *data = packet_prop(client_last(c), PROP_AUTH_DATA);
    if (method == NULL || strcmp(method->text, SCRAM_METHOD) != 0 || data == NULL) {
        test_fail("a packet without method and data of SCRAM");
    }
    return data->text;
}

struct client *scram_open(struct scram_client *scram, const struct connect_packet *packet,
                          const char *user, const char *password)
{
    struct connect_packet own = *packet;
    struct client *c = client_open(MQTT_50);
    scram_client_begin(scram, user, password);
    const struct prop props[] = {prop_auth_method(SCRAM_METHOD),
                                 prop_auth_data(scram->first),
                                 prop_session_expiry(60),
                                 {.id = 0}};
    own.props = own.props != NULL ? own.props : props;
    send_connect_at(c, &own, HERE);
    return c;
}

void scram_answer_at(struct client *c, struct scram_client *scram, struct here here)
{
    const struct packet *packet = expect_packet_at(c, PKT_AUTH, here);
    if (packet->reason != RC_CONTINUE_AUTHENTICATION) {
        fail_at(here, "AUTH with 0x%02x", packet->reason);
    }
    scram_client_go_on(scram, scram_data(c));
    send_auth(c, RC_CONTINUE_AUTHENTICATION, SCRAM_PROPS(scram->last));
}

struct client *scram_connect(const char *client_id, const char *user, const char *password)
{
    struct scram_client scram;
    struct client *c = scram_open(
        &scram, &(struct connect_packet){.client_id = client_id, .resume = true}, user, password);
    scram_answer(c, &scram);
    const struct packet *connack = expect_packet(c, PKT_CONNACK);
    if (connack->reason != RC_SUCCESS) {
        test_fail("CONNACK with 0x%02x", connack->reason);
    }
    scram_client_check(&scram, scram_data(c));
    return c;
}
