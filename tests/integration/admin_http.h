/*
 * admin_http: an HTTP client for the admin API, over plain sockets: it can also say what is wrong.
 *
 * Owns      the last answer.
 * Thread    the test's.
 * Errors    what is not expected fails the running test.
 */
#ifndef TESTS_INTEGRATION_ADMIN_HTTP_H
#define TESTS_INTEGRATION_ADMIN_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#define ADMIN_TOKEN "a-token-for-these-tests-only"

/*
 * Makes a file with ADMIN_TOKEN, and chooses a port: the settings of a broker with an admin API
 * there, ended by NULL. `more` (NULL: nothing) is one setting more. Borrowed until the next call.
 */
const char *const *admin_settings(const char *more);
/* The same without a token. */
const char *const *admin_settings_open(void);
/* Writes another token to the file. */
void admin_write_token(const char *token);
/* Removes the file. */
void admin_end(void);

uint16_t admin_port_of(void);

/* From now on requests bring this token; NULL: none. At first ADMIN_TOKEN. */
void admin_use_token(const char *token);

/* Asks, and gives the status of the answer; 0: there was none. */
int admin_ask(const char *method, const char *target);
/* The same with a JSON body. */
int admin_send(const char *method, const char *target, const char *json);
/* The same with these header lines, each ended by \r\n, and no others; `len` bytes as a body. */
int admin_ask_raw(const char *method, const char *target, const char *headers, const void *body,
                  unsigned long len);

/* The last answer: what came, its body (without chunks), whether `text` is in the body. */
const char *admin_answer(void);
const char *admin_body(void);
bool admin_says(const char *text);
/* Fails unless it does. */
#define admin_expect(text) admin_expect_at(text, __FILE__, __LINE__)
void admin_expect_at(const char *text, const char *file, int line);

/* The cursor of the last answer, copied to `out`; false: it has none. */
bool admin_cursor(char *out, unsigned long size);
/* How often `text` is in the body. */
unsigned admin_count(const char *text);

/* A connection of its own; and all that comes on it until it is closed, or `text` has come. */
int admin_connect(void);
bool admin_read(int fd, const char *text, int timeout_ms);
void admin_say(int fd, const char *bytes);

#endif
