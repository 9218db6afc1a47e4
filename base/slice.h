/*
 * slice: bytes that somebody else owns. A slice is always borrowed; the comment of the function
 * that returns one says until when.
 */
#ifndef PULSE_BASE_SLICE_H
#define PULSE_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t len;
};

static inline struct slice slice_of(const void *data, size_t len)
{
    return (struct slice){.data = data, .len = len};
}

static inline struct slice slice_text(const char *text)
{
    return slice_of(text, strlen(text));
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* The bytes of `s` from `offset` on; `offset` is at most s.len. */
static inline struct slice slice_from(struct slice s, size_t offset)
{
    return slice_of(s.data + offset, s.len - offset);
}

static inline bool slice_starts_with(struct slice s, const char *prefix)
{
    size_t len = strlen(prefix);
    return s.len >= len && memcmp(s.data, prefix, len) == 0;
}

#endif
