/* Frames as RFC 6455 section 5 has them: what the server reads and writes. */
#include "codec/websocket.h"

#include "tests/unit/codec/codec_support.h"

#define MAX_FRAME 100000

/* What a stream came to: the events as text, and all data. */
struct outcome {
    char events[4096];
    uint8_t data[1 << 20];
    size_t data_len;
    uint16_t close_code;
    const char *why;
};

static void note_data(struct outcome *outcome, struct slice data)
{
    assert_true(data.len > 0);
    assert_true(outcome->data_len + data.len <= sizeof(outcome->data));
    memcpy(outcome->data + outcome->data_len, data.data, data.len);
    outcome->data_len += data.len;
}

static void note_event(struct outcome *outcome, const char *word, struct slice data)
{
    size_t at = strlen(outcome->events);
    assert_true(at + strlen(word) + data.len + 4 < sizeof(outcome->events));
    at += (size_t)sprintf(outcome->events + at, "%s%s:", at > 0 ? " " : "", word);
    if (data.len > 0) {
        memcpy(outcome->events + at, data.data, data.len);
    }
}

/* Reads one piece; it lies in a block of exactly its size. */
static void read_piece(struct ws_reader *reader, struct slice piece, struct outcome *outcome)
{
    uint8_t *at = (uint8_t *)bytes_copy(piece).data;
    const uint8_t *end = at + piece.len;
    size_t len = piece.len;
    struct slice data;
    enum ws_event event;
    while ((event = ws_read(reader, &at, &len, MAX_FRAME, &data)) != WS_MORE) {
        assert_ptr_equal(at + len, end);
        switch (event) {
        case WS_DATA:
            note_data(outcome, data);
            break;
        case WS_PING:
            note_event(outcome, "ping", data);
            break;
        case WS_PONG:
            note_event(outcome, "pong", data);
            break;
        case WS_CLOSED:
            note_event(outcome, "closed", data);
            break;
        case WS_ERROR:
            note_event(outcome, "error", slice_of(NULL, 0));
            assert_true(strlen(reader->why) > 0);
            break;
        case WS_MORE:
            break;
        }
    }
    assert_int_equal(len, 0);
    outcome->close_code = reader->close_code;
    outcome->why = reader->why;
}

static struct outcome *new_outcome(void)
{
    static struct outcome outcome;
    memset(&outcome, 0, sizeof(outcome));
    return &outcome;
}

static struct outcome *read_whole(const char *text)
{
    struct outcome *outcome = new_outcome();
    struct ws_reader reader = {0};
    read_piece(&reader, bytes(text), outcome);
    return outcome;
}

static struct outcome *read_bytewise(const char *text)
{
    struct outcome *outcome = new_outcome();
    struct ws_reader reader = {0};
    struct slice all = bytes(text);
    for (size_t i = 0; i < all.len; i++) {
        read_piece(&reader, slice_of(all.data + i, 1), outcome);
    }
    return outcome;
}

static void assert_data(const struct outcome *outcome, const char *text)
{
    assert_int_equal(outcome->data_len, strlen(text));
    assert_memory_equal(outcome->data, text, strlen(text));
}

static void assert_refused(const char *text, uint16_t code, const char *why)
{
    struct outcome *outcome = read_whole(text);
    for (int round = 0; round < 2; round++) {
        assert_string_equal(outcome->events, "error:");
        assert_int_equal(outcome->close_code, code);
        assert_string_equal(outcome->why, why);
        outcome = read_bytewise(text);
    }
}

static void assert_events(const char *text, const char *events)
{
    assert_string_equal(read_whole(text)->events, events);
    assert_string_equal(read_bytewise(text)->events, events);
}

/* ---- data ------------------------------------------------------------------------------------ */

static void a_masked_binary_frame_is_unmasked(void **state)
{
    (void)state;
    /* "Hello" under the mask of the example in section 5.7 */
    assert_data(read_whole("82 85 37fa213d 7f9f4d5158"), "Hello");
    assert_data(read_bytewise("82 85 37fa213d 7f9f4d5158"), "Hello");
}

static void a_fragmented_message_is_one_piece_of_data(void **state)
{
    (void)state;
    const char *text = "02 83 00000000 'Hel' 00 81 00000000 'l' 80 81 00000000 'o'"
                       "82 81 00000000 '!'";
    assert_data(read_whole(text), "Hello!");
    assert_data(read_bytewise(text), "Hello!");
}

static void frames_that_come_together_are_given_together(void **state)
{
    (void)state;
    struct slice in = bytes("82 82 01020304 '``' 82 81 00000000 'c' 02 81 00000000 'd'"
                            "80 84 00000000 'ef'");
    uint8_t *at = (uint8_t *)in.data;
    size_t len = in.len;
    struct ws_reader reader = {0};
    struct slice data;
    assert_int_equal(ws_read(&reader, &at, &len, MAX_FRAME, &data), WS_DATA);
    assert_bytes(data, "'abcdef'");
    assert_int_equal(ws_read(&reader, &at, &len, MAX_FRAME, &data), WS_MORE);
    assert_int_equal(reader.left, 2);
}

static void control_frames_keep_their_place_between_data(void **state)
{
    (void)state;
    struct slice in = bytes("02 81 00000000 'a' 89 81 00000000 'p' 80 81 00000000 'b'");
    uint8_t *at = (uint8_t *)in.data;
    size_t len = in.len;
    struct ws_reader reader = {0};
    struct slice data;
    assert_int_equal(ws_read(&reader, &at, &len, MAX_FRAME, &data), WS_DATA);
    assert_bytes(data, "'a'");
    assert_int_equal(ws_read(&reader, &at, &len, MAX_FRAME, &data), WS_PING);
    assert_bytes(data, "'p'");
    assert_int_equal(ws_read(&reader, &at, &len, MAX_FRAME, &data), WS_DATA);
    assert_bytes(data, "'b'");
    assert_int_equal(ws_read(&reader, &at, &len, MAX_FRAME, &data), WS_MORE);
}

static void data_before_a_bad_frame_is_given_first(void **state)
{
    (void)state;
    struct outcome *outcome = read_whole("82 81 00000000 'a' 81 81 00000000 'b'");
    assert_data(outcome, "a");
    assert_string_equal(outcome->events, "error:");
    assert_int_equal(outcome->close_code, WS_CLOSE_UNSUPPORTED);
}

static void empty_frames_give_nothing(void **state)
{
    (void)state;
    assert_data(read_whole("82 80 01020304"), "");
    assert_data(read_whole("02 80 01020304 00 80 01020304 80 80 01020304 82 81 00000000 'x'"), "x");
    assert_data(read_bytewise("02 80 01020304 00 80 01020304 80 80 01020304 82 81 00000000 'x'"),
                "x");
}

/* A flood of them is legal, and ends with its bytes. */
static void a_flood_of_empty_fragments_ends(void **state)
{
    (void)state;
    static uint8_t flood[6 * 10000];
    for (size_t i = 0; i < sizeof(flood); i += 6) {
        memcpy(flood + i, i == 0 ? "\x02\x80\x01\x02\x03\x04" : "\x00\x80\x01\x02\x03\x04", 6);
    }
    struct outcome *outcome = new_outcome();
    struct ws_reader reader = {0};
    read_piece(&reader, slice_of(flood, sizeof(flood)), outcome);
    assert_data(outcome, "");
    assert_string_equal(outcome->events, "");
    assert_true(reader.in_message);
}

/* ---- control frames -------------------------------------------------------------------------- */

static void pings_and_pongs_are_unmasked(void **state)
{
    (void)state;
    assert_events("89 85 37fa213d 7f9f4d5158", "ping:Hello");
    assert_events("8a 85 37fa213d 7f9f4d5158", "pong:Hello");
    assert_events("89 80 37fa213d 8a 80 37fa213d", "ping: pong:");
}

static void a_close_frame_gives_its_code_and_reason(void **state)
{
    (void)state;
    assert_events("88 85 00000000 03e8 'bye'", "closed:bye");
    assert_int_equal(read_whole("88 85 00000000 03e8 'bye'")->close_code, 1000);
    assert_events("88 80 00000000", "closed:");
    assert_int_equal(read_whole("88 80 00000000")->close_code, WS_CLOSE_NONE);
}

static void what_comes_behind_a_close_frame_is_swallowed(void **state)
{
    (void)state;
    assert_events("88 80 00000000 82 81 00000000 'x' 89 80 00000000", "closed:");
    assert_int_equal(read_whole("88 80 00000000 82 81 00000000 'x'")->data_len, 0);
}

static void what_comes_behind_an_error_is_swallowed(void **state)
{
    (void)state;
    assert_events("81 81 00000000 'x' 82 81 00000000 'x' 89 80 00000000", "error:");
}

static void a_control_frame_may_have_125_bytes(void **state)
{
    (void)state;
    uint8_t frame[6 + WS_CONTROL_MAX] = {0x89, 0x80 | WS_CONTROL_MAX};
    char expected[5 + WS_CONTROL_MAX + 1] = "ping:";
    memset(frame + 6, 'x', WS_CONTROL_MAX);
    memset(expected + 5, 'x', WS_CONTROL_MAX);
    struct outcome *outcome = new_outcome();
    struct ws_reader reader = {0};
    read_piece(&reader, slice_of(frame, sizeof(frame)), outcome);
    assert_string_equal(outcome->events, expected);
}

static void close_codes_that_anybody_may_send_are_read(void **state)
{
    (void)state;
    static const uint16_t codes[] = {1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999};
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
        char text[40];
        (void)snprintf(text, sizeof(text), "88 82 00000000 %04x", codes[i]);
        assert_events(text, "closed:");
        assert_int_equal(read_whole(text)->close_code, codes[i]);
    }
}

static void close_codes_that_nobody_may_send_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "88 82 00000000 0000", "88 82 00000000 03e7", "88 82 00000000 03ec", "88 82 00000000 03ed",
        "88 82 00000000 03ee", "88 82 00000000 03f7", "88 82 00000000 07d0", "88 82 00000000 0bb7",
        "88 82 00000000 1388", "88 82 00000000 ffff"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        assert_refused(texts[i], WS_CLOSE_PROTOCOL, "invalid close code");
    }
    assert_refused("88 81 00000000 03", WS_CLOSE_PROTOCOL, "close frame of one byte");
    assert_refused("88 84 00000000 03e8 c328", WS_CLOSE_INVALID, "close reason is not UTF-8");
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void frames_that_the_rfc_forbids_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *why;
    } rows[] = {
        {"82 05 'Hello'", "unmasked frame"},
        {"89 00", "unmasked frame"},
        {"c2 80 00000000", "reserved bits"},
        {"a2 80 00000000", "reserved bits"},
        {"92 80 00000000", "reserved bits"},
        {"f9 80 00000000", "reserved bits"},
        {"83 80 00000000", "reserved opcode"},
        {"87 80 00000000", "reserved opcode"},
        {"8b 80 00000000", "reserved opcode"},
        {"8f 80 00000000", "reserved opcode"},
        {"09 80 00000000", "fragmented control frame"},
        {"08 80 00000000", "fragmented control frame"},
        {"0a 80 00000000", "fragmented control frame"},
        {"89 fe 007e 00000000", "control frame over 125 bytes"},
        {"88 ff 0000000000000001 00000000", "control frame over 125 bytes"},
        {"80 80 00000000", "continuation of nothing"},
        {"00 80 00000000", "continuation of nothing"},
        {"02 80 00000000 82 80 00000000", "new message inside a fragmented one"},
        {"02 80 00000000 80 80 00000000 80 80 00000000", "continuation of nothing"},
        {"82 fe 007d 00000000", "length in more bytes than it needs"},
        {"82 fe 0000 00000000", "length in more bytes than it needs"},
        {"82 ff 000000000000ffff 00000000", "length in more bytes than it needs"},
        {"82 ff 8000000000000000 00000000", "length over 63 bits"},
        {"82 ff ffffffffffffffff 00000000", "length over 63 bits"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_refused(rows[i].text, WS_CLOSE_PROTOCOL, rows[i].why);
    }
}

static void text_frames_are_refused(void **state)
{
    (void)state;
    assert_refused("81 85 37fa213d 7f9f4d5158", WS_CLOSE_UNSUPPORTED, "text frame");
    assert_refused("01 80 00000000", WS_CLOSE_UNSUPPORTED, "text frame");
    assert_refused("02 80 00000000 81 80 00000000", WS_CLOSE_UNSUPPORTED, "text frame");
}

static void a_frame_over_the_limit_is_refused_before_its_payload_comes(void **state)
{
    (void)state;
    assert_refused("82 ff 00000000000186a1", WS_CLOSE_TOO_BIG, "frame too large"); /* 100001 */
    assert_refused("82 ff 7fffffffffffffff", WS_CLOSE_TOO_BIG, "frame too large");
    assert_events("82 ff 00000000000186a0 00000000", ""); /* 100000 */
}

/* Nothing has to be waited for that can change nothing any more. */
static void a_bad_header_is_refused_by_its_second_byte(void **state)
{
    (void)state;
    assert_refused("81 80", WS_CLOSE_UNSUPPORTED, "text frame");
    assert_refused("82 00", WS_CLOSE_PROTOCOL, "unmasked frame");
    assert_refused("c2 80", WS_CLOSE_PROTOCOL, "reserved bits");
    assert_events("81", "");
}

/* ---- writing --------------------------------------------------------------------------------- */

static void headers_are_as_short_as_they_can_be(void **state)
{
    (void)state;
    static const struct {
        uint64_t len;
        const char *text;
    } rows[] = {
        {0, "82 00"},
        {125, "82 7d"},
        {126, "82 7e 007e"},
        {65535, "82 7e ffff"},
        {65536, "82 7f 0000000000010000"},
        {UINT64_C(1) << 40, "82 7f 0000010000000000"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        uint8_t out[WS_HEADER_MAX];
        size_t len = ws_write_header(out, rows[i].len);
        assert_bytes(slice_of(out, len), rows[i].text);
    }
}

static void control_frames_are_written_whole_and_unmasked(void **state)
{
    (void)state;
    uint8_t out[WS_HEADER_MAX + WS_CONTROL_MAX];
    assert_bytes(slice_of(out, ws_write_pong(out, slice_text("Hello"))), "8a 05 'Hello'");
    assert_bytes(slice_of(out, ws_write_pong(out, slice_of(NULL, 0))), "8a 00");
    assert_bytes(slice_of(out, ws_write_close(out, WS_CLOSE_NORMAL)), "88 02 03e8");
    assert_bytes(slice_of(out, ws_write_close(out, WS_CLOSE_NONE)), "88 00");

    uint8_t data[WS_CONTROL_MAX] = {7};
    size_t len = ws_write_pong(out, slice_of(data, sizeof(data)));
    assert_int_equal(len, 2 + WS_CONTROL_MAX);
    assert_int_equal(out[1], WS_CONTROL_MAX);
    assert_memory_equal(out + 2, data, sizeof(data));
}

/* ---- any split ------------------------------------------------------------------------------- */

struct stream {
    uint8_t bytes[1 << 20];
    size_t len;
    struct outcome expected;
};

/* Adds a frame as a client would send it, masked a byte at a time. */
static void add_frame(struct stream *stream, uint64_t *random, uint8_t first, struct slice payload)
{
    uint8_t *at = stream->bytes + stream->len;
    size_t size = ws_write_header(at, payload.len);
    at[0] = first;
    at[1] |= 0x80;
    uint8_t *mask = at + size;
    for (int i = 0; i < 4; i++) {
        mask[i] = (uint8_t)random_below(random, 256);
    }
    for (size_t i = 0; i < payload.len; i++) {
        mask[4 + i] = payload.data[i] ^ mask[i % 4];
    }
    stream->len += size + 4 + payload.len;
}

/* Lengths around the places where a header, or the loop that unmasks, changes. */
static size_t random_len(uint64_t *random)
{
    static const uint32_t limits[] = {2, 18, 40, 130, 300, 70000};
    uint32_t pick = random_below(random, 100);
    return random_below(random, limits[pick < 99 ? pick % 5 : 5]);
}

static void add_random_frames(struct stream *stream, uint64_t *random)
{
    static uint8_t payload[70000];
    bool in_message = false;
    for (uint32_t i = 0, count = random_below(random, 30); i < count; i++) {
        size_t len = random_len(random);
        for (size_t k = 0; k < len; k++) {
            payload[k] = (uint8_t)('a' + random_below(random, 26));
        }
        if (random_below(random, 4) == 0) {
            struct slice part = slice_of(payload, len % 100);
            bool ping = random_below(random, 2) == 0;
            add_frame(stream, random, ping ? 0x89 : 0x8a, part);
            note_event(&stream->expected, ping ? "ping" : "pong", part);
            continue;
        }
        bool fin = random_below(random, 2) == 0;
        add_frame(stream, random, (uint8_t)((fin ? 0x80 : 0) | (in_message ? 0 : 2)),
                  slice_of(payload, len));
        in_message = !fin;
        memcpy(stream->expected.data + stream->expected.data_len, payload, len);
        stream->expected.data_len += len;
    }
}

static void read_in_pieces(const struct stream *stream, uint64_t *random, struct outcome *outcome)
{
    struct ws_reader reader = {0};
    size_t at = 0;
    uint32_t most = 1 + random_below(random, random_below(random, 2) == 0 ? 20 : 5000);
    while (at < stream->len) {
        size_t len = 1 + random_below(random, most);
        len = len < stream->len - at ? len : stream->len - at;
        read_piece(&reader, slice_of(stream->bytes + at, len), outcome);
        at += len;
    }
}

static void the_split_of_the_input_changes_nothing(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    static struct stream stream;
    for (int round = 0; round < 300; round++) {
        memset(&stream, 0, sizeof(stream));
        add_random_frames(&stream, &random);
        struct outcome *outcome = new_outcome();
        read_in_pieces(&stream, &random, outcome);
        assert_string_equal(outcome->events, stream.expected.events);
        assert_int_equal(outcome->data_len, stream.expected.data_len);
        assert_memory_equal(outcome->data, stream.expected.data, outcome->data_len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_masked_binary_frame_is_unmasked),
        cmocka_unit_test(a_fragmented_message_is_one_piece_of_data),
        cmocka_unit_test(frames_that_come_together_are_given_together),
        cmocka_unit_test(control_frames_keep_their_place_between_data),
        cmocka_unit_test(data_before_a_bad_frame_is_given_first),
        cmocka_unit_test(empty_frames_give_nothing),
        cmocka_unit_test(a_flood_of_empty_fragments_ends),
        cmocka_unit_test(pings_and_pongs_are_unmasked),
        cmocka_unit_test(a_close_frame_gives_its_code_and_reason),
        cmocka_unit_test(what_comes_behind_a_close_frame_is_swallowed),
        cmocka_unit_test(what_comes_behind_an_error_is_swallowed),
        cmocka_unit_test(a_control_frame_may_have_125_bytes),
        cmocka_unit_test(close_codes_that_anybody_may_send_are_read),
        cmocka_unit_test(close_codes_that_nobody_may_send_are_refused),
        cmocka_unit_test(frames_that_the_rfc_forbids_are_refused),
        cmocka_unit_test(text_frames_are_refused),
        cmocka_unit_test(a_frame_over_the_limit_is_refused_before_its_payload_comes),
        cmocka_unit_test(a_bad_header_is_refused_by_its_second_byte),
        cmocka_unit_test(headers_are_as_short_as_they_can_be),
        cmocka_unit_test(control_frames_are_written_whole_and_unmasked),
        cmocka_unit_test(the_split_of_the_input_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
