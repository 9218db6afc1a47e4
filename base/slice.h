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

/* `s` without the bytes of the text `blanks` at both its ends. */
static inline struct slice slice_trim(struct slice s, const char *blanks)
{
    size_t count = strlen(blanks);
    while (s.len > 0 && memchr(blanks, s.data[0], count) != NULL) {
        s = slice_from(s, 1);
    }
    while (s.len > 0 && memchr(blanks, s.data[s.len - 1], count) != NULL) {
        s.len--;
    }
    return s;
}

/*
 * Cuts off and gives what stands before the first `mark`, or all. `*rest` becomes what is behind
 * the mark. Without a mark it becomes empty with NULL as its data: the end of a list.
 */
static inline struct slice slice_cut(struct slice *rest, char mark)
{
    const uint8_t *at = rest->len > 0 ? (const uint8_t *)memchr(rest->data, mark, rest->len) : NULL;
    struct slice before = slice_of(rest->data, at != NULL ? (size_t)(at - rest->data) : rest->len);
    *rest = at != NULL ? slice_from(*rest, before.len + 1) : slice_of(NULL, 0);
    return before;
}

#endif
