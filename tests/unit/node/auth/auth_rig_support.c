#include "tests/unit/node/auth/auth_rig_support.h"

#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define PATIENCE_MS 10000

struct rig_client {
    struct auth_attempt *attempt;
    pthread_mutex_t lock;
    pthread_cond_t change;
    unsigned answers; /* not yet taken */
    struct heard heard;
    uint64_t asked_ms;
};

static const struct auth_user alice = {
    .username = "alice", .password = "wonderland", .groups = "readers,writers"};

struct auth_settings rig_settings(void)
{
    return (struct auth_settings){.chain = {AUTH_USERS},
                                  .chain_len = 1,
                                  .users = &alice,
                                  .user_count = 1,
                                  .default_allow = true,
                                  .scram = true,
                                  .attempts_max = 1000,
                                  .threads = 2};
}

struct auth *rig_start(const struct auth_settings *settings)
{
    struct auth *auth = NULL;
    struct text error = {0};
    if (auth_create(settings, &auth, &error) != ERR_OK) {
        fail_msg("%s", error.data);
    }
    assert_int_equal(auth_start(auth), ERR_OK);
    text_fini(&error);
    return auth;
}

void rig_stop(struct auth *auth)
{
    auth_stop(auth);
    auth_destroy(auth);
}

struct auth_request rig_request(const char *username, const char *password, int host)
{
    struct auth_request request = {.client_id = slice_text("client"), .listener = "test"};
    struct sockaddr_in *address = (struct sockaddr_in *)&request.address;
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_addr = {htonl(0x0a000000u + (uint32_t)host)}};
    if (username != NULL) {
        request.username = slice_text(username);
        request.has_username = true;
    }
    if (password != NULL) {
        request.password = slice_text(password);
        request.has_password = true;
    }
    return request;
}

/* On auth's thread. */
static void on_done(void *user, const struct auth_answer *answer)
{
    struct rig_client *client = user;
    pthread_mutex_lock(&client->lock);
    client->heard = (struct heard){.verdict = answer->verdict,
                                   .identity = answer->identity,
                                   .took_ms = clock_mono_ms() - client->asked_ms};
    snprintf(client->heard.data, sizeof(client->heard.data), "%.*s", (int)answer->data.len,
             answer->data.len > 0 ? (const char *)answer->data.data : "");
    snprintf(client->heard.reason, sizeof(client->heard.reason), "%s", answer->reason);
    client->answers++;
    pthread_cond_signal(&client->change);
    pthread_mutex_unlock(&client->lock);
}

struct rig_client *rig_begin(struct auth *auth, const struct auth_request *request)
{
    struct rig_client *client = calloc(1, sizeof(*client));
    assert_non_null(client);
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->change, NULL);
    client->asked_ms = clock_mono_ms();
    client->attempt = auth_begin(auth, request, on_done, client);
    assert_non_null(client->attempt);
    return client;
}

/* False: not within that time. */
static bool wait(struct rig_client *client, unsigned patience_ms)
{
    struct timespec until;
    bool answered = true;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += patience_ms / 1000;
    until.tv_nsec += (long)(patience_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    while (answered && client->answers == 0) {
        answered = pthread_cond_timedwait(&client->change, &client->lock, &until) == 0;
    }
    return answered;
}

struct heard rig_wait(struct rig_client *client)
{
    pthread_mutex_lock(&client->lock);
    bool answered = wait(client, PATIENCE_MS);
    assert_true(answered);
    assert_int_equal(client->answers, 1);
    client->answers = 0;
    struct heard heard = client->heard;
    pthread_mutex_unlock(&client->lock);
    return heard;
}

bool rig_answered(struct rig_client *client, unsigned ms)
{
    pthread_mutex_lock(&client->lock);
    bool answered = wait(client, ms);
    pthread_mutex_unlock(&client->lock);
    return answered;
}

void rig_continue(struct rig_client *client, const char *data)
{
    client->asked_ms = clock_mono_ms();
    auth_continue(client->attempt, slice_text(data));
}

void rig_end(struct rig_client *client)
{
    auth_end(client->attempt);
    if (client->answers > 0) {
        auth_identity_unref(client->heard.identity);
    }
    pthread_cond_destroy(&client->change);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

struct heard rig_hear(struct auth *auth, const struct auth_request *request)
{
    struct rig_client *client = rig_begin(auth, request);
    struct heard heard = rig_wait(client);
    rig_end(client);
    return heard;
}

enum auth_verdict rig_ask(struct auth *auth, const struct auth_request *request)
{
    struct heard heard = rig_hear(auth, request);
    auth_identity_unref(heard.identity);
    return heard.verdict;
}

/* ---- files ----------------------------------------------------------------------------------- */

static char folder[64];

const char *rig_write_file(const char *name, const char *text)
{
    static char path[128];
    if (folder[0] == '\0') {
        strcpy(folder, "/tmp/pulse-auth-XXXXXX");
        assert_non_null(mkdtemp(folder));
    }
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
    return path;
}

void rig_remove_files(void)
{
    char command[100];
    if (folder[0] != '\0') {
        snprintf(command, sizeof(command), "rm -rf '%s'", folder);
        assert_int_equal(system(command), 0);
        folder[0] = '\0';
    }
}
