#include "tests/integration/suite.h"
#include "tests/integration/certificates.h"
#include "tests/integration/secure_client.h"

#include <signal.h>
#include <stdio.h>

/*
 * Invariants:
 *   `shared` is alive when a test begins; `own` is NULL between tests.
 */
static struct broker *shared;
static struct broker *own;
static uint16_t shared_port; /* where clients connect to */
static const char *const *shared_settings;
static bool all_ended_well = true;

/* Lets clients connect to `broker`, at `port`. */
static void use(const struct broker *broker, uint16_t port)
{
    client_use_port(port);
    client_use_opener(port != broker_port(broker) ? secure_variant_open : NULL);
}

/* Starts a broker, with a listener of the transport that the suite runs over. */
static struct broker *start(const char *yaml, const char *const *settings, uint16_t *port)
{
    uint16_t variant_port = broker_free_port();
    const char *variant = yaml == NULL ? secure_variant_yaml(variant_port) : NULL;
    struct broker *broker = broker_start_yaml(settings, variant != NULL ? variant : yaml);
    if (broker != NULL) {
        *port = variant != NULL ? variant_port : broker_port(broker);
        use(broker, *port);
    }
    return broker;
}

struct broker *suite_broker(void)
{
    return own != NULL ? own : shared;
}

struct broker *suite_own_broker(const char *const *settings)
{
    return suite_own_broker_yaml(NULL, settings);
}

struct broker *suite_own_broker_yaml(const char *yaml, const char *const *settings)
{
    uint16_t port;
    own = start(yaml, settings, &port);
    if (own == NULL) {
        fail_msg("the test's own broker did not start");
    }
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
        shared = start(NULL, shared_settings,
                       &shared_port); /* the one before died: the other tests still have a chance */
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
    secure_close_all();
    bool ended_well = stop(&own);
    if (!broker_alive(shared)) {
        print_error("the broker died during this test\n");
        ended_well = stop(&shared) && false;
    } else {
        use(shared, shared_port);
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
    shared = start(NULL, settings, &shared_port);
    if (shared == NULL) {
        certificates_end();
        return 1;
    }
    int failures = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    all_ended_well = stop(&shared) && all_ended_well;
    certificates_end();
    return failures == 0 && all_ended_well ? 0 : 1;
}
