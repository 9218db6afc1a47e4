/*
 * scram_keys: what a server keeps of a password for SCRAM-SHA-256.
 *
 * Thread    any. scram_keys_derive takes milliseconds for each ten thousand iterations.
 * Errors    false: no memory.
 * Source    RFC 5802 section 3, RFC 7677.
 */
#ifndef PULSE_NODE_AUTH_SCRAM_KEYS_PRIV_H
#define PULSE_NODE_AUTH_SCRAM_KEYS_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/slice.h"

#define SCRAM_KEY_LEN 32

struct scram_keys {
    uint8_t stored_key[SCRAM_KEY_LEN];
    uint8_t server_key[SCRAM_KEY_LEN];
};

must_check bool scram_keys_derive(struct slice password, struct slice salt, uint32_t iterations,
                                  struct scram_keys *keys);

/* Has the client who signed `auth_message` with `proof` the password? Compares in constant time. */
must_check bool scram_proof_fits(const uint8_t stored_key[static SCRAM_KEY_LEN],
                                 struct slice auth_message,
                                 const uint8_t proof[static SCRAM_KEY_LEN]);

/* How the server shows that it knows the user. */
must_check bool scram_sign(const uint8_t server_key[static SCRAM_KEY_LEN],
                           struct slice auth_message, uint8_t signature[static SCRAM_KEY_LEN]);

#endif
