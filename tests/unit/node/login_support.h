/*
 * login_support: a broker of rig_support that asks its clients who they are: the configuration is a
 * file, auth's thread runs. Answers come by mail, so a test waits for them, in real time.
 *
 * Thread    the test's; auth has its own.
 * Errors    none: what goes wrong fails the test.
 */
#ifndef PULSE_TESTS_LOGIN_SUPPORT_H
#define PULSE_TESTS_LOGIN_SUPPORT_H

#include "tests/unit/node/rig_support.h"

struct layers;
struct listener;

/* What CONNECT says; NULL and zero mean that it is not said. */
struct login_wish {
    const char *id;
    const char *user;
    const char *password;
    const char *method;
    struct slice data;
    const char *will_topic; /* its payload is "will" */
    uint32_t will_delay;
    uint32_t session_expiry;
    uint32_t maximum_packet_size;
    uint8_t version; /* 5 when 0 */
};

/* `yaml` is the configuration. */
void login_rig_start(struct rig *rig, unsigned workers, const char *yaml);
/* Writes another configuration to the same file. */
void login_rig_rewrite(const char *yaml);
/* The command line of the start, for struct reload. */
char *const *login_rig_argv(int *argc);
void login_rig_stop(struct rig *rig);

/* Opens a connection to the first worker, which has sent nothing yet. `client->conn` is that. */
void login_come(struct client *client, struct rig *rig, struct listener *listener,
                struct layers *layers);
/* CONNECT as bytes; their number. */
size_t login_write_connect(const struct login_wish *wish, uint8_t out[static 1024]);
void login_send_connect(struct client *client, const struct login_wish *wish);
/* AUTH with `reason`. */
void login_send_auth(struct client *client, uint8_t reason, const char *method, struct slice data);
/* The next packet, which must be of `type`; waits for it. */
struct packet login_await(struct client *client, enum mqtt_packet type);
/* Waits until the broker has closed its side; what comes before is thrown away. */
void login_await_end(struct client *client);
/* Turns the loops until `*value`, which auth's thread may change, is `wanted`. */
void login_await_count(struct rig *rig, const uint32_t *value, uint32_t wanted);

/* Comes, sends CONNECT and gives the reason code of CONNACK. Finds conn and session when it is 0.
 */
uint8_t login_connect(struct client *client, struct rig *rig, struct login_wish wish);

/* Sends SUBSCRIBE and gives the reason code of SUBACK. */
uint8_t login_subscribe(struct client *client, const char *filter, uint8_t qos);

#endif
