/*
 * base64: bytes as text, read strictly: one text for each value, and nothing but digits in it.
 *
 * Thread    any.
 * Errors    false: not base64 of this form, or more bytes than there is room for.
 * Source    RFC 4648 sections 4 and 5.
 */
#ifndef PULSE_BASE_BASE64_H
#define PULSE_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"

enum base64_form {
    BASE64_PADDED,   /* with = at the end to a multiple of four */
    BASE64_UNPADDED, /* without */
    BASE64_URL       /* without, and with - and _ for + and / */
};

/* Characters of the text of `len` bytes, at most. */
#define BASE64_CHARS(len) (((len) + 2) / 3 * 4)

/*
 * Reads at most `size` bytes; `text.len / 4 * 3 + 2` are always enough. The bits that a last
 * character has too many must be zero. On false `*len` is as it was.
 */
must_check bool base64_read(struct slice text, enum base64_form form, uint8_t *bytes, size_t size,
                            size_t *len);

/* Gives how many characters it wrote to `chars`, which has room for BASE64_CHARS(bytes.len). */
size_t base64_write(struct slice bytes, enum base64_form form, char *chars);

/* Adds the text of `bytes`. */
void base64_add(struct text *out, struct slice bytes, enum base64_form form);

#endif
