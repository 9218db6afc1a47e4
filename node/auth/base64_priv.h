/*
 * base64: short binary values in hashes of passwords and in SCRAM. Strict: one text for each value.
 *
 * Thread    any.
 * Errors    false: not base64, or not of a length that is allowed.
 * Source    RFC 4648 section 4.
 */
#ifndef PULSE_NODE_AUTH_BASE64_PRIV_H
#define PULSE_NODE_AUTH_BASE64_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"

/* With = at the end to a multiple of four, or without. */
enum base64_padding { BASE64_PADDED, BASE64_UNPADDED };

/* Bytes that a text may stand for: the longest key and more. */
#define BASE64_BYTES_MAX 96

/* Reads at most `size` bytes. The bits that a last character has too many must be zero. */
must_check bool base64_read(struct slice text, enum base64_padding padding, uint8_t *bytes,
                            size_t size, size_t *len);

/* Adds the text of `bytes`, of which there are at most BASE64_BYTES_MAX. */
void base64_add(struct text *out, struct slice bytes, enum base64_padding padding);

#endif
