/*
 * node_support: what the tests of node/ share: cmocka with what it needs, seeds, messages.
 */
#ifndef PULSE_TESTS_NODE_SUPPORT_H
#define PULSE_TESTS_NODE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/slice.h"
#include "base/message.h"
#include "tests/unit/node/index_support.h"

/* A seed for a random test, for random_next and random_below: of the environment (PULSE_TEST_SEED)
 * or of the clock; prints it. */
uint64_t test_seed(void);

/* A number from `low` to `high`, both included. */
uint32_t random_between(uint64_t *state, uint32_t low, uint32_t high);

/* Gives a heap message with one reference. */
struct message *make_message(const char *topic, struct slice payload);

/* Gives a heap message whose payload of `len` bytes repeats only after 251 of them. */
struct message *make_patterned(size_t len);

/* References that are held on `message`. */
unsigned message_refs(const struct message *message);

#endif
