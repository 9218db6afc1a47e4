/*
 * What the log says of a server that is out of order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "node/auth/outage.h"

static int log_pipe[2];
static char said[10000];

/* What was said since the last look. */
static const char *lines(void)
{
    assert_int_equal(write(log_pipe[1], "\n", 1), 1); /* so that there is something to read */
    ssize_t len = read(log_pipe[0], said, sizeof(said) - 1);
    assert_true(len > 0);
    said[len] = '\0';
    return said;
}

static unsigned line_count(void)
{
    unsigned count = 0;
    for (const char *at = lines(); (at = strchr(at, '\n')) != NULL; at++) {
        count++;
    }
    return count - 1;
}

static void an_outage_is_one_line_and_its_end_another(void **state)
{
    (void)state;
    struct outage outage = {.said = false};
    outage_worked(&outage, "database");
    assert_int_equal(line_count(), 0);
    for (unsigned i = 0; i < 1000; i++) {
        outage_failed(&outage, "database", "no \"answer\"");
    }
    const char *text = lines();
    assert_non_null(strstr(text, " error "));
    assert_non_null(strstr(text, "server=\"database\" error=\"no \\\"answer\\\"\" failures=1\n"));
    assert_int_equal(strchr(text, '\n') + 2 - text, strlen(text)); /* it is the only one */
    outage_worked(&outage, "database");
    assert_non_null(strstr(lines(), "failures=999\n"));
    outage_worked(&outage, "database");
    assert_int_equal(line_count(), 0);
}

/* It fails and works by turns: that is not two lines for each client. */
static void a_server_that_wavers_does_not_fill_the_log(void **state)
{
    (void)state;
    struct outage outage = {.said = false};
    for (unsigned i = 0; i < 1000; i++) {
        outage_failed(&outage, "HTTP server", "status 500");
        outage_worked(&outage, "HTTP server");
    }
    assert_int_equal(line_count(), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outage_is_one_line_and_its_end_another),
        cmocka_unit_test(a_server_that_wavers_does_not_fill_the_log),
    };
    if (pipe(log_pipe) != 0) {
        return 1;
    }
    log_init(log_pipe[1], LOG_FORMAT_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
