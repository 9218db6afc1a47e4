/*
 * scram_client: the client's side of SCRAM-SHA-256, for tests.
 */
#ifndef PULSE_TESTS_SCRAM_CLIENT_SUPPORT_H
#define PULSE_TESTS_SCRAM_CLIENT_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>

/* What the client remembers of its exchange. */
struct scram_client {
    const char *first_bare; /* n=user,r=nonce */
    const char *header;     /* n,, */
    char client_final[512];
    char server_signature[128]; /* v=... as the server must say it */
    char nonce[256];
    char salt[128]; /* as the server wrote it */
    uint32_t iterations;
};

/* Reads server-first-message, and makes the answer of somebody who has `password`. */
void scram_client_answer(struct scram_client *client, const char *server_first,
                         const char *password);

#endif
