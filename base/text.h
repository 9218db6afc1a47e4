/*
 * text: a string that is put together piece by piece, for pages, log lines and help texts of ours.
 * Not for the data path.
 *
 * Owns      its buffer; the buffer of a fixed text is the caller's.
 * Thread    the caller's.
 * Errors    none. A growing text aborts when there is no memory: bound what goes in. A fixed one
 *           leaves out what doesn't fit, and says so in `cut`.
 */
#ifndef PULSE_BASE_TEXT_H
#define PULSE_BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/slice.h"

struct text {
    char *data; /* NUL-terminated once anything was added, else NULL */
    size_t len;
    size_t cap;
    bool fixed; /* `data` is the caller's and never grows */
    bool cut;   /* fixed only: a piece did not fit; it and all behind it were left out */
};

/* A zeroed struct text is empty, ready, and grows. End with text_fini. */
void text_fini(struct text *text);

/* An empty text in the `size` bytes (at least 1) at `buffer`. Never allocates; no text_fini. */
struct text text_fixed(char *buffer, size_t size);

/* Each adds one piece, whole or not at all. */
void text_add(struct text *text, const char *words);
void text_add_bytes(struct text *text, const void *data, size_t len);
void text_printf(struct text *text, const char *format, ...) printf_like(2, 3);

/* Adds `s` with everything but printable ASCII, and `"` and `\`, as \xNN (or \n, \t, \", \\). Here
 * and in text_add_json each character is a piece: an escape is never cut in two. */
void text_add_escaped(struct text *text, struct slice s);

/* Adds `s` as the inside of a JSON string; bytes that are not valid UTF-8 become \ufffd. */
void text_add_json(struct text *text, struct slice s);

#endif
