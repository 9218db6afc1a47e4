#include "tests/integration/restart.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int restart_by_term = SIGTERM;
int restart_by_kill = SIGKILL;

enum { LOOK_AGAIN_MS = 10, LOOKS = 5, STATUS_SKIPPED = 77 };

static const char *const *settings;

bool restart_has_storage(void)
{
    const char *engine = getenv("PULSE_STORAGE");
    if (engine != NULL && strcmp(engine, "memory") != 0) {
        return true;
    }
    fprintf(stderr, "SKIPPED: PULSE_STORAGE is not set, or memory: nothing is kept\n");
    return false;
}

int restart_test_begin(void **state)
{
    if (suite_test_begin(state) != 0) {
        return -1;
    }
    suite_own_broker(settings);
    return 0;
}

int restart_run(const char *name, const char *policy, const struct CMUnitTest *tests, size_t count,
                int argc, char **argv)
{
    char title[64], setting[64];
    snprintf(title, sizeof(title), "%s.%s", name, policy);
    snprintf(setting, sizeof(setting), "storage.commit_policy: %s", policy);
    /* topics as long as MQTT allows survive, too */
    settings = BROKER_SETTINGS(setting, "limits.topic_bytes_max: 65535");
    return restart_has_storage() ? suite_run(title, tests, count, settings, argc, argv)
                                 : STATUS_SKIPPED;
}

void restart_after(void **state, int ms)
{
    if (!broker_end(suite_broker(), *(const int *)*state)) {
        test_fail("the broker did not end as it should");
    }
    client_close_all();
    let_time_pass(ms);
    if (!broker_start_again(suite_broker())) {
        test_fail("the broker did not come back");
    }
}

void await_stored(void)
{
    for (int quiet = 0; quiet < LOOKS;) {
        double before = metric_value("pulse_storage_operations_total");
        metric_expect("pulse_storage_pending_operations", 0);
        poll(NULL, 0, LOOK_AGAIN_MS);
        quiet = metric_value("pulse_storage_operations_total") == before ? quiet + 1 : 0;
    }
}

static struct client *connect_for_one(const char *id)
{
    return CONNECT(.client_id = id, .resume = true,
                   .props = PROPS(prop_session_expiry(60), prop_receive_maximum(1)));
}

struct client *connect_again(const char *id)
{
    struct client *c = connect_for_one(id);
    assert_true(client_last(c)->session_present);
    return c;
}

struct client *connect_to_none(const char *id)
{
    struct client *c = connect_for_one(id);
    assert_false(client_last(c)->session_present);
    return c;
}
