#include "codec/websocket.h"

#include "base/macros.h"
#include "codec/topic.h"

#define FIN 0x80
#define RESERVED 0x70
#define MASKED 0x80
#define LEN_16 126 /* the length stands in the two bytes behind */
#define LEN_64 127 /* in the eight bytes behind */

enum opcode {
    OP_CONTINUATION = 0,
    OP_TEXT = 1,
    OP_BINARY = 2,
    OP_CLOSE = 8,
    OP_PING = 9,
    OP_PONG = 10
};

enum header_status { HEADER_MORE, HEADER_READ, HEADER_BAD };

struct header {
    uint64_t len; /* of the payload */
    uint8_t size; /* of the header */
    uint8_t opcode;
    bool fin;
    uint16_t close_code; /* HEADER_BAD */
    const char *why;
};

/* ---- the header ------------------------------------------------------------------------------ */

static bool is_control(uint8_t opcode)
{
    return opcode >= OP_CLOSE;
}

static enum header_status bad(struct header *header, enum ws_close code, const char *why)
{
    header->close_code = (uint16_t)code;
    header->why = why;
    return HEADER_BAD;
}

static enum header_status check_control(struct header *header, uint8_t short_len)
{
    if (header->opcode > OP_PONG) {
        return bad(header, WS_CLOSE_PROTOCOL, "reserved opcode");
    }
    if (!header->fin) {
        return bad(header, WS_CLOSE_PROTOCOL, "fragmented control frame");
    }
    if (short_len > WS_CONTROL_MAX) {
        return bad(header, WS_CLOSE_PROTOCOL, "control frame over 125 bytes");
    }
    return HEADER_READ;
}

static enum header_status check_data(struct header *header, bool in_message)
{
    if (header->opcode > OP_BINARY) {
        return bad(header, WS_CLOSE_PROTOCOL, "reserved opcode");
    }
    if (header->opcode == OP_TEXT) {
        return bad(header, WS_CLOSE_UNSUPPORTED, "text frame");
    }
    if (header->opcode == OP_CONTINUATION && !in_message) {
        return bad(header, WS_CLOSE_PROTOCOL, "continuation of nothing");
    }
    if (header->opcode == OP_BINARY && in_message) {
        return bad(header, WS_CLOSE_PROTOCOL, "new message inside a fragmented one");
    }
    return HEADER_READ;
}

/* RFC 6455 section 5.2: as few bytes as possible, and the top bit is 0. */
static enum header_status read_len(struct header *header, const uint8_t *at, uint8_t short_len)
{
    if (short_len < LEN_16) {
        header->len = short_len;
        return HEADER_READ;
    }
    uint8_t count = short_len == LEN_16 ? 2 : 8;
    uint64_t value = 0;
    for (uint8_t i = 0; i < count; i++) {
        value = value << 8 | at[i];
    }
    if (value >> 63 != 0) {
        return bad(header, WS_CLOSE_PROTOCOL, "length over 63 bits");
    }
    if (value < LEN_16 || (count == 8 && value <= UINT16_MAX)) {
        return bad(header, WS_CLOSE_PROTOCOL, "length in more bytes than it needs");
    }
    header->len = value;
    return HEADER_READ;
}

/* What is wrong is told as soon as the byte that shows it is there. */
static enum header_status read_header(const struct ws_reader *reader, const uint8_t *bytes,
                                      size_t len, uint64_t max_frame, struct header *header)
{
    if (len < 2) {
        return HEADER_MORE;
    }
    uint8_t short_len = bytes[1] & 0x7f;
    header->opcode = bytes[0] & 0x0f;
    header->fin = (bytes[0] & FIN) != 0;
    if ((bytes[0] & RESERVED) != 0) {
        return bad(header, WS_CLOSE_PROTOCOL, "reserved bits");
    }
    enum header_status status = is_control(header->opcode) ? check_control(header, short_len)
                                                           : check_data(header, reader->in_message);
    if (status != HEADER_READ) {
        return status;
    }
    if ((bytes[1] & MASKED) == 0) {
        return bad(header, WS_CLOSE_PROTOCOL, "unmasked frame");
    }
    uint8_t len_bytes = short_len == LEN_64 ? 8 : short_len == LEN_16 ? 2 : 0;
    header->size = (uint8_t)(2 + len_bytes + sizeof(reader->mask));
    if (len < 2u + len_bytes) {
        return HEADER_MORE;
    }
    status = read_len(header, bytes + 2, short_len);
    if (status != HEADER_READ) {
        return status;
    }
    if (!is_control(header->opcode) && header->len > max_frame) {
        return bad(header, WS_CLOSE_TOO_BIG, "frame too large");
    }
    return len < header->size ? HEADER_MORE : HEADER_READ;
}

static void start_payload(struct ws_reader *reader, const struct header *header,
                          const uint8_t *bytes)
{
    memcpy(reader->mask, bytes + header->size - sizeof(reader->mask), sizeof(reader->mask));
    reader->left = header->len;
    reader->opcode = header->opcode;
    reader->kept_len = 0;
    if (!is_control(header->opcode)) {
        reader->in_message = !header->fin;
    }
}

/* The next header when all of it lies in the input. HEADER_MORE when there is a piece of it only.
 */
static enum header_status next_header(struct ws_reader *reader, uint8_t **bytes, size_t *len,
                                      uint64_t max_frame, struct header *header)
{
    enum header_status status = read_header(reader, *bytes, *len, max_frame, header);
    if (status == HEADER_READ) {
        start_payload(reader, header, *bytes);
        *bytes += header->size;
        *len -= header->size;
    }
    return status;
}

/* The same, and keeps the pieces. */
static enum header_status next_header_kept(struct ws_reader *reader, uint8_t **bytes, size_t *len,
                                           uint64_t max_frame, struct header *header)
{
    enum header_status status = HEADER_MORE;
    if (reader->kept_len == 0) {
        status = next_header(reader, bytes, len, max_frame, header);
    }
    while (status == HEADER_MORE && *len > 0) {
        reader->kept[reader->kept_len++] = **bytes;
        ++*bytes;
        --*len;
        status = read_header(reader, reader->kept, reader->kept_len, max_frame, header);
        if (status == HEADER_READ) {
            start_payload(reader, header, reader->kept);
        }
    }
    return status;
}

/* ---- payloads -------------------------------------------------------------------------------- */

/*
 * Unmasks `len` bytes at `from` to `to`, which may overlap when `to` is not behind `from`: each
 * step reads before it writes, and writes nothing that a later one reads. `mask` is turned, so that
 * it goes on.
 */
static void unmask(uint8_t *to, const uint8_t *from, size_t len, uint8_t mask[4])
{
    uint64_t wide;
    memcpy(&wide, mask, 4);
    memcpy((uint8_t *)&wide + 4, mask, 4);
    size_t at = 0;
    for (; len - at >= 2 * sizeof(wide); at += 2 * sizeof(wide)) {
        uint64_t words[2];
        memcpy(words, from + at, sizeof(words));
        words[0] ^= wide;
        words[1] ^= wide;
        memcpy(to + at, words, sizeof(words));
    }
    if (len - at >= sizeof(wide)) {
        uint64_t word;
        memcpy(&word, from + at, sizeof(word));
        word ^= wide;
        memcpy(to + at, &word, sizeof(word));
        at += sizeof(word);
    }
    for (size_t i = 0; at < len; i++, at++) {
        to[at] = from[at] ^ mask[i & 3];
    }
    const uint8_t turned[4] = {mask[len & 3], mask[(len + 1) & 3], mask[(len + 2) & 3],
                               mask[(len + 3) & 3]};
    memcpy(mask, turned, sizeof(turned));
}

/* The next bytes of the payload, unmasked to `to`; returns how many. */
static size_t take_payload(struct ws_reader *reader, uint8_t **bytes, size_t *len, uint8_t *to)
{
    size_t count = reader->left < *len ? (size_t)reader->left : *len;
    unmask(to, *bytes, count, reader->mask);
    *bytes += count;
    *len -= count;
    reader->left -= count;
    return count;
}

/* Ends the stream. */
static enum ws_event fail(struct ws_reader *reader, enum ws_close code, const char *why)
{
    reader->ended = true;
    reader->close_code = (uint16_t)code;
    reader->why = why;
    return WS_ERROR;
}

/* RFC 6455 section 7.4, and what IANA has registered since. */
static bool close_code_valid(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static enum ws_event read_close(struct ws_reader *reader, struct slice payload,
                                struct slice *reason)
{
    unsigned code = WS_CLOSE_NONE;
    if (payload.len == 1) {
        return fail(reader, WS_CLOSE_PROTOCOL, "close frame of one byte");
    }
    if (payload.len >= 2) {
        code = (unsigned)payload.data[0] << 8 | payload.data[1];
        if (!close_code_valid(code)) {
            return fail(reader, WS_CLOSE_PROTOCOL, "invalid close code");
        }
        *reason = slice_from(payload, 2);
        if (!utf8_well_formed(*reason)) {
            *reason = slice_of(NULL, 0);
            return fail(reader, WS_CLOSE_INVALID, "close reason is not UTF-8");
        }
    }
    reader->ended = true;
    reader->close_code = (uint16_t)code;
    return WS_CLOSED;
}

/* The payload of a control frame is gathered, since it may come in pieces. */
static enum ws_event read_control(struct ws_reader *reader, uint8_t **bytes, size_t *len,
                                  struct slice *data)
{
    reader->kept_len = (uint8_t)(reader->kept_len +
                                 take_payload(reader, bytes, len, reader->kept + reader->kept_len));
    if (reader->left > 0) {
        return WS_MORE;
    }
    struct slice payload = slice_of(reader->kept, reader->kept_len);
    reader->kept_len = 0;
    if (reader->opcode == OP_CLOSE) {
        return read_close(reader, payload, data);
    }
    *data = payload;
    return reader->opcode == OP_PING ? WS_PING : WS_PONG;
}

/* The payloads of data frames, from the one under way on, moved together. Ends before a frame that
 * is anything else, or whose header is not all there. */
static enum ws_event read_data(struct ws_reader *reader, uint8_t **bytes, size_t *len,
                               uint64_t max_frame, struct slice *data)
{
    uint8_t *start = *bytes;
    size_t gathered = take_payload(reader, bytes, len, start);
    struct header header;
    while (*len > 0 && !is_control(**bytes & 0x0f) &&
           next_header(reader, bytes, len, max_frame, &header) == HEADER_READ) {
        gathered += take_payload(reader, bytes, len, start + gathered);
    }
    *data = slice_of(start, gathered);
    return gathered > 0 ? WS_DATA : WS_MORE;
}

enum ws_event ws_read(struct ws_reader *reader, uint8_t **bytes, size_t *len, uint64_t max_frame,
                      struct slice *data)
{
    *data = slice_of(NULL, 0);
    if (reader->ended) {
        *bytes += *len;
        *len = 0;
    }
    enum ws_event event = WS_MORE;
    while (event == WS_MORE && *len > 0) {
        if (reader->left == 0) {
            struct header header = {.why = NULL};
            enum header_status status = next_header_kept(reader, bytes, len, max_frame, &header);
            if (status == HEADER_BAD) {
                return fail(reader, header.close_code, header.why);
            }
            if (status == HEADER_MORE) {
                return WS_MORE;
            }
        }
        event = is_control(reader->opcode) ? read_control(reader, bytes, len, data)
                                           : read_data(reader, bytes, len, max_frame, data);
    }
    return event;
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t ws_write_header(uint8_t out[static WS_HEADER_MAX], uint64_t len)
{
    out[0] = FIN | OP_BINARY;
    size_t count = len < LEN_16 ? 0 : len <= UINT16_MAX ? 2 : 8;
    out[1] = count == 0 ? (uint8_t)len : count == 2 ? LEN_16 : LEN_64;
    for (size_t i = 0; i < count; i++) {
        out[2 + i] = (uint8_t)(len >> (8 * (count - 1 - i)));
    }
    return 2 + count;
}

static size_t write_control(uint8_t *out, enum opcode opcode, struct slice data)
{
    ASSERT(data.len <= WS_CONTROL_MAX);
    out[0] = (uint8_t)(FIN | opcode);
    out[1] = (uint8_t)data.len;
    if (data.len > 0) {
        memcpy(out + 2, data.data, data.len);
    }
    return 2 + data.len;
}

size_t ws_write_pong(uint8_t out[static WS_HEADER_MAX + WS_CONTROL_MAX], struct slice data)
{
    return write_control(out, OP_PONG, data);
}

size_t ws_write_close(uint8_t out[static WS_HEADER_MAX + WS_CONTROL_MAX], uint16_t code)
{
    const uint8_t payload[2] = {(uint8_t)(code >> 8), (uint8_t)code};
    return write_control(out, OP_CLOSE, slice_of(payload, code == WS_CLOSE_NONE ? 0 : 2));
}
