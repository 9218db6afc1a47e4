/*
 * auth_scram: the client's side of SCRAM-SHA-256, right or wrong, for tests. Shares nothing with
 * the broker: a mistake there must not hide itself here.
 *
 * Owns      nothing: a struct scram_client is a value.
 * Thread    the test's.
 * Errors    a message of the server that is not as it should be fails the test.
 * Source    RFC 5802, RFC 7677.
 */
#ifndef TESTS_INTEGRATION_AUTH_SCRAM_H
#define TESTS_INTEGRATION_AUTH_SCRAM_H

#include <stdint.h>

#include "tests/integration/client.h"

enum { SCRAM_TEXT_SIZE = 2048, SCRAM_KEY_LEN = 32 };

struct scram_client {
    const char *password;
    char nonce[64];
    char first[SCRAM_TEXT_SIZE];      /* client-first-message */
    char last[SCRAM_TEXT_SIZE];       /* client-final-message */
    uint8_t signature[SCRAM_KEY_LEN]; /* that the server must show */
};

/* Makes the client's first message. Both are borrowed. */
void scram_client_begin(struct scram_client *scram, const char *user, const char *password);

/* Reads the server's first message, and makes the client's final one. */
void scram_client_go_on(struct scram_client *scram, const char *server_first);

/* The server has shown that it knows the password, too. */
void scram_client_check(const struct scram_client *scram, const char *server_final);

/* ---- in MQTT ---- */

#define SCRAM_METHOD "SCRAM-SHA-256"

/* The properties of an AUTH packet of it. */
#define SCRAM_PROPS(data) PROPS(prop_auth_method(SCRAM_METHOD), prop_auth_data(data))

/* Text of the property Authentication Data of what came last. */
const char *scram_data(struct client *c);

/* Sends a CONNECT with the first message. */
struct client *scram_open(struct scram_client *scram, const struct connect_packet *packet,
                          const char *user, const char *password);

/* The broker's challenge, and the answer to it. */
#define scram_answer(c, scram) scram_answer_at(c, scram, HERE)
void scram_answer_at(struct client *c, struct scram_client *scram, struct here here);

/* All of it up to a CONNACK with success. */
struct client *scram_connect(const char *client_id, const char *user, const char *password);

#endif
