/*
 * ascii: the fast way through text. Nearly all topics and strings are plain ASCII, which can be
 * told eight bytes at a time; what is not plain takes the exact, slower way in utf8.c and topic.c.
 *
 * Thread    any.
 */
#ifndef PULSE_CODEC_ASCII_PRIV_H
#define PULSE_CODEC_ASCII_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

#define ASCII_ONES 0x0101010101010101u
#define ASCII_HIGH 0x8080808080808080u

static inline uint64_t ascii_load8(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

/* The 1 to 7 bytes at `at` as a word. Some stand in it twice and none is left out, which does no
 * harm to who only asks whether an odd one is among them. */
static inline uint64_t ascii_load_few(const uint8_t *at, size_t len)
{
    if (len >= 4) {
        uint32_t head, tail;
        memcpy(&head, at, sizeof(head));
        memcpy(&tail, at + len - 4, sizeof(tail));
        return (uint64_t)head << 32 | tail;
    }
    uint64_t bytes = (uint64_t)at[0] << 16 | (uint64_t)at[len / 2] << 8 | at[len - 1];
    return bytes | bytes << 24 | bytes << 48;
}

/* Nonzero in ASCII_HIGH when a byte of `word` is zero; exact as long as no byte is over 127. */
static inline uint64_t ascii_zero_byte(uint64_t word)
{
    return word - ASCII_ONES;
}

/* Nonzero in ASCII_HIGH when a byte is over 127 or zero. */
static inline uint64_t ascii_odd_text(uint64_t word)
{
    return word | ascii_zero_byte(word);
}

/* As above, or when a byte is '+' or '#': these two differ in bit 3 only. */
static inline uint64_t ascii_odd_topic(uint64_t word)
{
    uint64_t wildcards = (word & ~(ASCII_ONES * 8)) ^ (ASCII_ONES * '#');
    return ascii_odd_text(word) | ascii_zero_byte(wildcards);
}

/* Whether `s` is ASCII without NUL and, when `topic`, without wildcards. An empty slice is. */
static inline bool ascii_plain(struct slice s, bool topic)
{
    uint64_t odd = 0;
    if (s.len == 0) {
        return true;
    }
    if (s.len < 8) {
        uint64_t word = ascii_load_few(s.data, s.len);
        odd = topic ? ascii_odd_topic(word) : ascii_odd_text(word);
        return (odd & ASCII_HIGH) == 0;
    }
    for (size_t at = 0; at + 8 < s.len; at += 8) {
        uint64_t word = ascii_load8(s.data + at);
        odd |= topic ? ascii_odd_topic(word) : ascii_odd_text(word);
    }
    uint64_t last = ascii_load8(s.data + s.len - 8);
    odd |= topic ? ascii_odd_topic(last) : ascii_odd_text(last);
    return (odd & ASCII_HIGH) == 0;
}

#endif
