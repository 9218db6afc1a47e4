#include "tests/integration/suite.h"

#include <signal.h>
#include <stdio.h>

/*
 * Invariants:
 *   `shared` is alive when a test begins; `own` is NULL between tests.
 */
static struct broker *shared;
static struct broker *own;
static const char *const *shared_settings;
static bool all_ended_well = true;

static void start_shared(void)
{
    shared = broker_start(shared_settings);
    if (shared != NULL) {
        client_use_port(broker_port(shared));
    }
}

struct broker *suite_broker(void)
{
    return own != NULL ? own : shared;
}

struct broker *suite_own_broker(const char *const *settings)
{
    own = broker_start(settings);
    if (own == NULL) {
        fail_msg("the test's own broker did not start");
    }
    client_use_port(broker_port(own));
    return own;
}

void suite_expect_own_broker_exit(int timeout_ms)
{
    if (!broker_wait_exit(own, timeout_ms)) {
        fail_msg("the broker did not end within %d ms with status 0", timeout_ms);
    }
}

void suite_expect_own_broker_end(int timeout_ms)
{
    if (!broker_wait_end(own, timeout_ms)) {
        fail_msg("the broker did not end by itself within %d ms", timeout_ms);
    }
}

int suite_test_begin(void **state)
{
    (void)state;
    if (shared == NULL) {
        start_shared(); /* the one before died: the other tests still have a chance */
    }
    return shared != NULL ? 0 : -1;
}

/* Ends `*broker` when it is there; false when it did not end well. */
static bool stop(struct broker **broker)
{
    bool ended_well = *broker == NULL || broker_stop(*broker);
    *broker = NULL;
    return ended_well;
}

int suite_test_end(void **state)
{
    (void)state;
    client_close_all();
    bool ended_well = stop(&own);
    if (!broker_alive(shared)) {
        print_error("the broker died during this test\n");
        ended_well = stop(&shared) && false;
    } else {
        client_use_port(broker_port(shared));
    }
    all_ended_well = all_ended_well && ended_well;
    return ended_well ? 0 : -1;
}

int suite_run(const char *name, const struct CMUnitTest *tests, size_t count,
              const char *const *settings, int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    shared_settings = settings;
    start_shared();
    if (shared == NULL) {
        return 1;
    }
    int failures = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    all_ended_well = stop(&shared) && all_ended_well;
    return failures == 0 && all_ended_well ? 0 : 1;
}
