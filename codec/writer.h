/*
 * writer: puts MQTT's basic types into a buffer of known size. Callers compute the size first;
 * writing past the end is our own bug and asserted.
 *
 * Owns      nothing; borrows the buffer.
 */
#ifndef PULSE_CODEC_WRITER_H
#define PULSE_CODEC_WRITER_H

#include <stdint.h>
#include <string.h>

#include "base/macros.h"
#include "base/slice.h"

#define MQTT_VARINT_MAX 268435455u

struct writer {
    uint8_t *at;
    uint8_t *end;
};

static inline void write_u8(struct writer *w, uint8_t value)
{
    ASSERT(w->end - w->at >= 1);
    *w->at++ = value;
}

static inline void write_u16(struct writer *w, uint16_t value)
{
    ASSERT(w->end - w->at >= 2);
    w->at[0] = (uint8_t)(value >> 8);
    w->at[1] = (uint8_t)value;
    w->at += 2;
}

static inline void write_u32(struct writer *w, uint32_t value)
{
    write_u16(w, (uint16_t)(value >> 16));
    write_u16(w, (uint16_t)value);
}

static inline void write_bytes(struct writer *w, struct slice bytes)
{
    ASSERT((size_t)(w->end - w->at) >= bytes.len);
    if (bytes.len > 0) {
        memcpy(w->at, bytes.data, bytes.len);
        w->at += bytes.len;
    }
}

/* A two byte length and the bytes: MQTT's string and binary data. `bytes.len` is at most 65535. */
static inline void write_string(struct writer *w, struct slice bytes)
{
    ASSERT(bytes.len <= UINT16_MAX);
    write_u16(w, (uint16_t)bytes.len);
    write_bytes(w, bytes);
}

/* Bytes that `value`, at most MQTT_VARINT_MAX, takes as a variable byte integer. */
static inline size_t varint_len(uint32_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

static inline void write_varint(struct writer *w, uint32_t value)
{
    ASSERT(value <= MQTT_VARINT_MAX);
    while (value >= 128) {
        write_u8(w, (uint8_t)(value | 128));
        value >>= 7;
    }
    write_u8(w, (uint8_t)value);
}

#endif
