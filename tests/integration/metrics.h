/*
 * metrics: figures of the broker under test, from its /metrics page. Unlike its resident memory
 * they say the same with and without a sanitizer.
 *
 * Owns      nothing that lasts.
 * Thread    the test's.
 * Errors    a page that cannot be read, or a figure that is not there, fails the test.
 * Not here  what the page itself must look like (http_test.c).
 */
#ifndef TESTS_INTEGRATION_METRICS_H
#define TESTS_INTEGRATION_METRICS_H

#include "tests/integration/client.h"

/* The value of `name`, which has its labels in it, now. */
double metric_value(const char *name);

/* Waits until `name` has this value: figures of other threads arrive a moment later. */
#define metric_expect(name, value) metric_expect_at(name, value, HERE)

void metric_expect_at(const char *name, double value, struct here here);

#endif
