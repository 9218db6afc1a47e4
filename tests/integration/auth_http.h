/*
 * auth_http: the HTTP server that a broker asks who a client is, for tests. It answers by the user
 * name in the question.
 *
 * Owns      its threads: one that listens, one for each question. One server at a time.
 * Thread    the test's; what its threads see is behind one lock.
 * Errors    what can't be done fails the test.
 * Not here  whether the questions are right HTTP: the broker's library sees to that.
 */
#ifndef TESTS_INTEGRATION_AUTH_HTTP_H
#define TESTS_INTEGRATION_AUTH_HTTP_H

#include <stdint.h>

/* Starts to listen, without answers; ends the one before. `port` 0: any that is free. */
void auth_http_start(uint16_t port);
void auth_http_stop(void);

/* auth.http_url for it. */
const char *auth_http_url(void);
uint16_t auth_http_port(void);

/* What clients with this user name get, after `delay_ms`. Texts are borrowed. */
void auth_http_answer(const char *username, unsigned status, const char *body, int delay_ms);

/* How many questions came; and the last one, with its header fields. */
unsigned auth_http_questions(void);
const char *auth_http_last_question(void);

#endif
