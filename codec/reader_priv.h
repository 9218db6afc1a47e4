/*
 * reader: takes MQTT's basic types from the front of a slice. Every length check of the codec is
 * here: a getter returns false, and moves nothing, when the slice is too short for what it should
 * hold.
 *
 * Owns      nothing; what it returns borrows the slice's bytes.
 * Thread    any.
 * Source    MQTT 5.0 section 1.5.
 */
#ifndef PULSE_CODEC_READER_PRIV_H
#define PULSE_CODEC_READER_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/slice.h"

/* The next `len` bytes, as they are. */
static inline bool read_bytes(struct slice *in, size_t len, struct slice *out)
{
    if (unlikely(in->len < len)) {
        return false;
    }
    *out = slice_of(in->data, len);
    in->data += len;
    in->len -= len;
    return true;
}

static inline bool read_u8(struct slice *in, uint8_t *out)
{
    struct slice bytes;
    if (!read_bytes(in, 1, &bytes)) {
        return false;
    }
    *out = bytes.data[0];
    return true;
}

static inline bool read_u16(struct slice *in, uint16_t *out)
{
    struct slice bytes;
    if (!read_bytes(in, 2, &bytes)) {
        return false;
    }
    *out = (uint16_t)(bytes.data[0] << 8 | bytes.data[1]);
    return true;
}

static inline bool read_u32(struct slice *in, uint32_t *out)
{
    struct slice bytes;
    if (!read_bytes(in, 4, &bytes)) {
        return false;
    }
    *out = (uint32_t)bytes.data[0] << 24 | (uint32_t)bytes.data[1] << 16 |
           (uint32_t)bytes.data[2] << 8 | (uint32_t)bytes.data[3];
    return true;
}

/* Binary data, or a string whose UTF-8 the caller checks: a two byte length and so many bytes. */
static inline bool read_string(struct slice *in, struct slice *out)
{
    if (unlikely(in->len < 2)) {
        return false;
    }
    size_t len = (size_t)(in->data[0] << 8 | in->data[1]);
    if (unlikely(in->len - 2 < len)) {
        return false;
    }
    *out = slice_of(in->data + 2, len);
    in->data += 2 + len;
    in->len -= 2 + len;
    return true;
}

enum varint_status { VARINT_OK, VARINT_SHORT, VARINT_MALFORMED };

/* A variable byte integer: at most four bytes, and no more of them than the value needs
 * [MQTT-1.5.5-1]. */
static inline enum varint_status read_varint(struct slice *in, uint32_t *out)
{
    uint32_t value = 0;
    for (size_t used = 0; used < 4; used++) {
        if (unlikely(used == in->len)) {
            return VARINT_SHORT;
        }
        uint8_t byte = in->data[used];
        value |= (uint32_t)(byte & 127) << (7 * used);
        if (likely(byte < 128)) {
            if (unlikely(byte == 0 && used > 0)) {
                return VARINT_MALFORMED;
            }
            *out = value;
            in->data += used + 1;
            in->len -= used + 1;
            return VARINT_OK;
        }
    }
    return VARINT_MALFORMED;
}

#endif
