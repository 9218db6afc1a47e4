#include "tests/bench/frames.h"

#include <stdio.h>
#include <string.h>

/* The example of RFC 6455, section 1.3: a key may be chosen as one likes, and its answer is known.
 */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

enum {
    FIN = 0x80,
    RESERVED = 0x70,
    OPCODE = 0x0f,
    MASKED = 0x80,
    LEN_7 = 0x7f,
    LEN_16 = 126,
    LEN_64 = 127,
    CONTINUATION = 0,
};

size_t frames_put_request(char to[FRAMES_REQUEST_BYTES_MAX], const char *host, const char *path)
{
    int len = snprintf(to, FRAMES_REQUEST_BYTES_MAX,
                       "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Key: " KEY "\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
                       path, host);
    return len < FRAMES_REQUEST_BYTES_MAX ? (size_t)len : FRAMES_REQUEST_BYTES_MAX - 1;
}

enum frames_status frames_read_answer(const char *bytes, size_t len, size_t *used)
{
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);
    if (end == NULL) {
        return len < FRAMES_ANSWER_BYTES_MAX ? FRAMES_PARTIAL : FRAMES_BROKEN;
    }
    char text[FRAMES_ANSWER_BYTES_MAX + 8];
    *used = (size_t)(end - bytes) + 4;
    if (*used > FRAMES_ANSWER_BYTES_MAX) {
        return FRAMES_BROKEN;
    }
    memcpy(text, bytes, *used);
    text[*used] = 0;
    bool is_good = strncmp(text, "HTTP/1.1 101 ", 13) == 0 &&
                   strcasestr(text, "\r\nSec-WebSocket-Accept: " ACCEPT "\r\n") != NULL &&
                   strcasestr(text, "\r\nSec-WebSocket-Protocol: mqtt\r\n") != NULL;
    return is_good ? FRAMES_GOOD : FRAMES_BROKEN;
}

/* Bytes of the header that begins so; it has at least two. */
static size_t header_bytes(const uint8_t *header)
{
    uint8_t len = header[1] & LEN_7;
    return len == LEN_64 ? 10 : len == LEN_16 ? 4 : 2;
}

/* A broker's frame: unmasked, no extension, binary or control. */
static bool begin_frame(struct frames_reader *reader)
{
    const uint8_t *header = reader->header;
    size_t header_len = reader->header_len;
    reader->header_len = 0;
    reader->opcode = header[0] & OPCODE;
    reader->left = header[1] & LEN_7;
    if (header_len > 2) {
        reader->left = 0;
        for (size_t i = 2; i < header_len; i++) {
            reader->left = (reader->left << 8) | header[i];
        }
    }
    if ((header[0] & RESERVED) != 0 || (header[1] & MASKED) != 0) {
        return false;
    }
    if (reader->opcode == FRAMES_BINARY || reader->opcode == CONTINUATION) {
        return true;
    }
    reader->control_len = 0;
    return reader->opcode >= FRAMES_CLOSE && reader->opcode <= FRAMES_PONG &&
           (header[0] & FIN) != 0 && reader->left <= FRAMES_CONTROL_BYTES_MAX;
}

static void take_payload(struct frames_reader *reader, uint8_t *bytes, size_t *data_len,
                         const uint8_t *from, size_t len)
{
    if (reader->opcode < FRAMES_CLOSE) {
        memmove(bytes + *data_len, from, len);
        *data_len += len;
    } else {
        memcpy(reader->control + reader->control_len, from, len);
        reader->control_len = (uint8_t)(reader->control_len + len);
    }
    reader->left -= len;
}

enum frames_status frames_read(struct frames_reader *reader, uint8_t *bytes, size_t len,
                               size_t *data_len)
{
    size_t at = 0;
    *data_len = 0;
    while (at < len) {
        if (reader->left > 0) {
            size_t piece = reader->left < len - at ? (size_t)reader->left : len - at;
            take_payload(reader, bytes, data_len, bytes + at, piece);
            at += piece;
        } else {
            reader->header[reader->header_len++] = bytes[at++];
            bool is_whole =
                reader->header_len >= 2 && reader->header_len == header_bytes(reader->header);
            if (!is_whole) {
                continue;
            }
            if (!begin_frame(reader)) {
                return FRAMES_BROKEN;
            }
        }
        if (reader->left == 0 && reader->opcode == FRAMES_CLOSE) {
            return FRAMES_CLOSED;
        }
        reader->has_ping |= reader->left == 0 && reader->opcode == FRAMES_PING;
    }
    return *data_len > 0 ? FRAMES_GOOD : FRAMES_PARTIAL;
}

size_t frames_put_header(uint8_t to[FRAMES_HEADER_BYTES_MAX], unsigned opcode, size_t len,
                         uint32_t mask)
{
    size_t at = 2;
    to[0] = (uint8_t)(FIN | opcode);
    if (len < LEN_16) {
        to[1] = (uint8_t)(MASKED | len);
    } else {
        size_t len_bytes = len <= UINT16_MAX ? 2 : 8;
        to[1] = (uint8_t)(MASKED | (len_bytes == 2 ? LEN_16 : LEN_64));
        for (size_t i = 0; i < len_bytes; i++) {
            to[at + i] = (uint8_t)((uint64_t)len >> (8 * (len_bytes - 1 - i)));
        }
        at += len_bytes;
    }
    memcpy(to + at, &mask, sizeof(mask));
    return at + sizeof(mask);
}

void frames_mask(uint8_t *to, const uint8_t *from, size_t len, uint32_t mask)
{
    uint64_t wide = ((uint64_t)mask << 32) | mask;
    size_t at = 0;
    for (; at + sizeof(wide) <= len; at += sizeof(wide)) {
        uint64_t word;
        memcpy(&word, from + at, sizeof(word));
        word ^= wide;
        memcpy(to + at, &word, sizeof(word));
    }
    for (; at < len; at++) {
        to[at] = from[at] ^ ((const uint8_t *)&mask)[at % sizeof(mask)];
    }
}
