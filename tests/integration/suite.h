/*
 * suite: what every test file includes. One file is one cmocka group with one broker; each test
 * starts with that broker alive, and ends with all its clients closed.
 *
 *     static void a_sentence_about_behaviour(void **state) { ... }
 *
 *     int main(int argc, char **argv)
 *     {
 *         static const struct CMUnitTest tests[] = {TEST(a_sentence_about_behaviour)};
 *         return RUN_SUITE("topic", tests, NULL);
 *     }
 *
 * An argument on the command line chooses tests by name: ./connect_test '*client_id*'
 */
#ifndef TESTS_INTEGRATION_SUITE_H
#define TESTS_INTEGRATION_SUITE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/integration/broker.h"
#include "tests/integration/client.h"

#define TEST(function)                                              \
    {                                                               \
#function, function, suite_test_begin, suite_test_end, NULL \
    }

/* Runs the group with a broker that has these settings (BROKER_SETTINGS(...) or NULL). */
#define RUN_SUITE(name, tests, settings) \
    suite_run(name, tests, sizeof(tests) / sizeof((tests)[0]), settings, argc, argv)

/* The broker that clients connect to now. */
struct broker *suite_broker(void);

/*
 * Starts a broker with settings of its own for the rest of this test, and lets clients connect to
 * it. It is stopped, and must stop well, when the test ends.
 */
#define OWN_BROKER(...) suite_own_broker(BROKER_SETTINGS(__VA_ARGS__))
struct broker *suite_own_broker(const char *const *settings);

/* The same with YAML at the end of its configuration. */
#define OWN_BROKER_YAML(yaml, ...) suite_own_broker_yaml(yaml, BROKER_SETTINGS(__VA_ARGS__))
struct broker *suite_own_broker_yaml(const char *yaml, const char *const *settings);

/* Waits for the test's own broker to end by itself, which must happen with status 0. */
void suite_expect_own_broker_exit(int timeout_ms);

/* The same with any status. */
void suite_expect_own_broker_end(int timeout_ms);

int suite_test_begin(void **state);
int suite_test_end(void **state);
int suite_run(const char *name, const struct CMUnitTest *tests, size_t count,
              const char *const *settings, int argc, char **argv);

#endif
