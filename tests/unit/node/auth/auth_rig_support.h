/*
 * auth_rig: a running auth with settings that a test changes, and clients that wait for answers.
 */
#ifndef PULSE_TESTS_AUTH_RIG_SUPPORT_H
#define PULSE_TESTS_AUTH_RIG_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/auth/auth.h"

/* What an answer was, kept for as long as the test wants. */
struct heard {
    enum auth_verdict verdict;
    struct auth_identity *identity; /* the test's */
    char data[512];
    char reason[64];
    uint64_t took_ms;
};

/* Settings with one user `alice` whose password is `wonderland`, of groups "readers,writers". */
struct auth_settings rig_settings(void);

/* Creates and starts; fails the test when it can't. */
struct auth *rig_start(const struct auth_settings *settings);
/* Stops and destroys. */
void rig_stop(struct auth *auth);

/* A request from 10.0.0.<host>; NULL: without it. */
struct auth_request rig_request(const char *username, const char *password, int host);

/* A client that is being judged. End with rig_end. */
struct rig_client;
struct rig_client *rig_begin(struct auth *auth, const struct auth_request *request);
/* Waits for the next answer, ten seconds at most. */
struct heard rig_wait(struct rig_client *client);
/* Was it answered within `ms`? The answer stays for rig_wait. */
bool rig_answered(struct rig_client *client, unsigned ms);
void rig_continue(struct rig_client *client, const char *data);
void rig_end(struct rig_client *client);

/* All of it: gives the verdict, drops the identity. */
enum auth_verdict rig_ask(struct auth *auth, const struct auth_request *request);
/* The same with its answer; the identity is the test's. */
struct heard rig_hear(struct auth *auth, const struct auth_request *request);

/* A file in a folder of this process, which the last rig_remove_files removes. */
const char *rig_write_file(const char *name, const char *text);
void rig_remove_files(void);

#endif
