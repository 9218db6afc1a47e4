/*
 * auth_support: what tests of logins and access rights need around the broker: files in a folder of
 * their own, hashes and tokens made by OpenSSL, the broker's configuration and process.
 *
 * Owns      the folder, which goes when the program ends. Texts are good for the next few calls.
 * Thread    the test's.
 * Errors    what can't be made fails the test.
 * Not here  SCRAM (auth_scram.h), the HTTP server that a broker asks (auth_http.h).
 */
#ifndef TESTS_INTEGRATION_AUTH_SUPPORT_H
#define TESTS_INTEGRATION_AUTH_SUPPORT_H

#include <sys/types.h>

#include "tests/integration/broker.h"
#include "tests/integration/client.h"

/* ---- files and programs ---- */

/* The path of a file in the folder, whether it exists or not. */
const char *auth_path(const char *name);

/* Writes a file, for its owner only, and gives its path. */
__attribute__((format(printf, 2, 3))) const char *auth_write(const char *name, const char *format,
                                                             ...);

/* A text for OWN_BROKER_YAML(). */
__attribute__((format(printf, 1, 2))) const char *auth_yaml(const char *format, ...);

/*
 * Runs a program with `input` on its standard input; gives its status. `arguments` end with NULL,
 * and begin with the program. What it prints goes to `output`, if that is not NULL.
 */
int auth_run(const char *const *arguments, const char *input, char *output, size_t size);

/* The same for the broker's own commands: AUTH_PULSE("secret\n", out, size, "passwd", ...). */
#define AUTH_PULSE(input, output, size, ...) \
    auth_run((const char *const[]){getenv("PULSE_BIN"), __VA_ARGS__, NULL}, input, output, size)

/* ---- credentials ---- */

/* Hashes as Mosquitto writes them. $7$ with few rounds, so that many logins cost little. */
const char *auth_hash_6(const char *password);
const char *auth_hash_7(const char *password);

/* A signed token with these claims. `algorithm`: HS256, RS256 or ES256. */
const char *auth_token(const char *algorithm, const char *claims);

/* The file with the key that checks such tokens. */
const char *auth_token_key(const char *algorithm);

/* Base64, without = at the end and with - and _ for a token. */
const char *auth_base64(const void *bytes, size_t len, bool is_for_token);

/* ---- logins ---- */

/* Opens and sends CONNECT, and leaves the answer to the caller. */
#define LOGIN(...) auth_login_at(&(struct connect_packet){__VA_ARGS__}, HERE)

/* CONNECT is refused with this: a reason of 5.0, or a return code of 3.x. */
#define EXPECT_NO_LOGIN(code, ...) \
    auth_expect_no_login_at(code, &(struct connect_packet){__VA_ARGS__}, HERE)

/* The same; gives the milliseconds that it took. */
#define LOGIN_MS(code, ...) auth_login_ms_at(code, &(struct connect_packet){__VA_ARGS__}, HERE)

/* A publish with QoS 1 is answered with this; a subscription to one filter with that. */
#define expect_publish_answer(c, topic, code) auth_expect_publish_answer_at(c, topic, code, HERE)
#define expect_subscribe_answer(c, filter, code) \
    auth_expect_subscribe_answer_at(c, filter, code, HERE)

struct client *auth_login_at(const struct connect_packet *packet, struct here here);
void auth_expect_no_login_at(unsigned code, const struct connect_packet *packet, struct here here);
long auth_login_ms_at(unsigned code, const struct connect_packet *packet, struct here here);
void auth_expect_publish_answer_at(struct client *c, const char *topic, unsigned code,
                                   struct here here);
void auth_expect_subscribe_answer_at(struct client *c, const char *filter, unsigned code,
                                     struct here here);

/* ---- the broker ---- */

/* Its process and configuration file, found by the port it serves. */
pid_t auth_broker_pid(const struct broker *broker);
const char *auth_broker_config(const struct broker *broker);

/* Puts `to` in the place of `from` in its configuration; `from` must be there. */
void auth_broker_edit(const struct broker *broker, const char *from, const char *to);

/* SIGHUP, and waits until it has said whether it took the new configuration. */
#define auth_reload(broker, taken) auth_reload_at(broker, taken, HERE)
void auth_reload_at(struct broker *broker, bool taken, struct here here);

/* Its log has a line with this text, or gets one. */
#define expect_log(broker, text) auth_expect_log_at(broker, text, HERE)
void auth_expect_log_at(const struct broker *broker, const char *text, struct here here);

#endif
