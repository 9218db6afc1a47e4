/*
 * codec_support: what the tests of codec/ share: packets written as text, and cmocka with what it
 * needs.
 */
#ifndef PULSE_TESTS_CODEC_SUPPORT_H
#define PULSE_TESTS_CODEC_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/mqtt.h"

/*
 * Bytes from text: hexadecimal digits in pairs, with blanks between them as it pleases; 'text' for
 * its bytes; <text> for a two byte length and its bytes; [ ... ] for a one byte length and what
 * stands between. They lie in a heap block of exactly their size, so that the address sanitizer
 * sees a read past the end. Freed when the program ends.
 */
struct slice bytes(const char *text);

/* A copy of `s` in a block of exactly its size, as above. */
struct slice bytes_copy(struct slice s);

/* Fails the test unless `actual` are the bytes that `expected` describes. */
void assert_bytes(struct slice actual, const char *expected);

/* A decoder with its other parameters chosen and its result thrown away. */
typedef enum mqtt_reason (*decode_fn)(struct slice body);

/* Fails the test unless `body` is accepted, every shorter start of it of less than `complete` bytes
 * is refused, and the longer starts are accepted. */
void assert_truncations_refused(decode_fn decode, struct slice body, size_t complete);

/* A small generator of numbers, so that a run can be repeated: the seed is printed, and
 * PULSE_TEST_SEED sets it. */
uint64_t random_seed(void);
uint32_t random_below(uint64_t *state, uint32_t limit);

#endif
