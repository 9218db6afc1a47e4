/*
 * restart: tests of what a broker with storage keeps. Each test runs four times: the broker is
 * ended by SIGTERM and by SIGKILL, with storage.commit_policy strict and balanced. Each has a
 * broker of its own.
 *
 * Owns      nothing; the brokers are the suite's.
 * Thread    the test's.
 * Errors    a broker that does not end or come back as it should fails the test.
 *
 * Without PULSE_STORAGE there is nothing to test: RUN_RESTART_SUITE says so, loudly.
 */
#ifndef TESTS_INTEGRATION_RESTART_H
#define TESTS_INTEGRATION_RESTART_H

#include "tests/integration/kept_session.h"
#include "tests/integration/metrics.h"
#include "tests/integration/suite.h"

extern int restart_by_term, restart_by_kill; /* states of a test: the signal */

#define TEST_BY(function, way)                                                              \
    {                                                                                       \
#function "." #way, function, restart_test_begin, suite_test_end, &restart_by_##way \
    }
#define TEST_BOTH(function) TEST_BY(function, term), TEST_BY(function, kill)

int restart_test_begin(void **state);

#define RUN_RESTART_SUITE(name, tests) \
    (RUN_RESTART_WITH(name, "strict", tests) | RUN_RESTART_WITH(name, "balanced", tests))
#define RUN_RESTART_WITH(name, policy, tests) \
    restart_run(name, policy, tests, sizeof(tests) / sizeof((tests)[0]), argc, argv)
int restart_run(const char *name, const char *policy, const struct CMUnitTest *tests, size_t count,
                int argc, char **argv);

/* False, and told why: the broker under test keeps nothing. */
bool restart_has_storage(void);

/* Ends the broker as `*state` says, with its clients connected; all clients are closed. It is
 * down for `ms`. */
void restart_after(void **state, int ms);
#define restart(state) restart_after(state, 0)

/* Whatever was sent before is with storage: for what the broker acknowledges to nobody. After the
 * last exchange with it. */
void await_stored(void);

/* Connects to a session that must be there. The broker sends one message at a time: storage comes
 * between the packets of a handshake, and other packets could. */
struct client *connect_again(const char *id);
/* The same for one that must not be there. It is a new one, kept for a minute. */
struct client *connect_to_none(const char *id);

#endif
