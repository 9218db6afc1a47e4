/*
 * Input: a byte, then what a WebSocket client sends. An even byte: its request. An odd one: frames;
 * the byte also says into what pieces they are cut.
 *
 * An answer is an answer, whatever the request holds, and a client that is refused early would be
 * refused later. Frames mean the same however they are cut, and their bytes lie where they may.
 */
#include "codec/websocket.h"
#include "tests/fuzz/fuzz.h"

#define MAX_FRAME 1000

/* ---- requests -------------------------------------------------------------------------------- */

struct answer {
    enum ws_handshake_status status;
    size_t used;
    char text[WS_RESPONSE_MAX];
    size_t len;
};

static struct answer ask(struct slice request)
{
    static const struct ws_rules rules = {.path = "/mqtt",
                                          .origins = "https://example.org, http://[::1]:8080,null"};
    struct answer answer = {.used = 0};
    const char *why = NULL;
    uint8_t *copy = fuzz_copy(request);
    answer.status = ws_handshake(slice_of(copy, request.len), &rules, &answer.used, answer.text,
                                 &answer.len, &why);
    free(copy);
    ASSERT(answer.status == WS_HANDSHAKE_MORE || why != NULL);
    return answer;
}

/* Nothing of the request gets into the answer but the digest of its key. */
static void check_answer(const struct answer *answer)
{
    ASSERT(answer->len <= WS_RESPONSE_MAX);
    for (size_t i = 0; i < answer->len; i++) {
        char c = answer->text[i];
        ASSERT((c >= ' ' && c <= '~') || c == '\r' || c == '\n');
    }
}

static void check_request(struct slice request, size_t cut)
{
    struct answer answer = ask(request);
    struct slice start = slice_of(request.data, cut < request.len ? cut : request.len);
    struct answer early = ask(start);
    switch (answer.status) {
    case WS_HANDSHAKE_MORE:
        ASSERT(request.len < WS_REQUEST_MAX && early.status == WS_HANDSHAKE_MORE);
        break;
    case WS_HANDSHAKE_DONE:
        check_answer(&answer);
        ASSERT(answer.used <= request.len && answer.used <= WS_REQUEST_MAX);
        ASSERT(memcmp(request.data + answer.used - 4, "\r\n\r\n", 4) == 0);
        ASSERT(memcmp(answer.text, "HTTP/1.1 101 ", 13) == 0);
        ASSERT(early.status == (start.len < answer.used ? WS_HANDSHAKE_MORE : WS_HANDSHAKE_DONE));
        break;
    case WS_HANDSHAKE_REFUSED:
        check_answer(&answer);
        ASSERT(memcmp(answer.text, "HTTP/1.1 4", 10) == 0 ||
               memcmp(answer.text, "HTTP/1.1 505", 12) == 0);
        ASSERT(early.status != WS_HANDSHAKE_DONE);
        break;
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* What a stream says: bytes of data and events, one after the other. */
struct story {
    uint8_t *said; /* a byte for the event, then its bytes */
    size_t len;
    struct ws_reader reader;
};

static void note(struct story *story, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(story->said + story->len, bytes, len);
    }
    story->len += len;
}

static void note_event(struct story *story, enum ws_event event, struct slice data)
{
    uint8_t word = (uint8_t)event;
    if (event != WS_DATA) {
        ASSERT(data.len <= WS_CONTROL_MAX);
        note(story, &word, 1);
    }
    note(story, data.data, data.len);
}

static void read_piece(struct story *story, struct slice piece)
{
    uint8_t *copy = fuzz_copy(piece);
    uint8_t *at = copy;
    size_t len = piece.len;
    enum ws_event event;
    do {
        struct slice data;
        event = ws_read(&story->reader, &at, &len, MAX_FRAME, &data);
        ASSERT(at + len == copy + piece.len);
        ASSERT(event != WS_DATA || (data.len > 0 && fuzz_within(data, slice_of(copy, piece.len))));
        ASSERT(event == WS_DATA || event == WS_MORE ||
               fuzz_within(data, slice_of(story->reader.kept, WS_CONTROL_MAX)));
        ASSERT(event != WS_ERROR || story->reader.why != NULL);
        if (event != WS_MORE) {
            note_event(story, event, data);
        }
    } while (event != WS_MORE);
    ASSERT(len == 0 && story->reader.left <= MAX_FRAME);
    free(copy);
}

static void check_frames(struct slice bytes, size_t most)
{
    struct story whole = {.said = malloc(2 * bytes.len + 1)};
    struct story cut = {.said = malloc(2 * bytes.len + 1)};
    ASSERT(whole.said != NULL && cut.said != NULL);
    read_piece(&whole, bytes);
    for (size_t at = 0, turn = 0; at < bytes.len; turn++) {
        size_t len = 1 + (at * 7 + turn) % most;
        len = len < bytes.len - at ? len : bytes.len - at;
        read_piece(&cut, slice_of(bytes.data + at, len));
        at += len;
    }
    ASSERT(whole.len <= bytes.len && whole.len == cut.len);
    ASSERT(memcmp(whole.said, cut.said, whole.len) == 0);
    ASSERT(whole.reader.close_code == cut.reader.close_code);
    ASSERT(whole.reader.why == cut.reader.why && whole.reader.left == cut.reader.left);
    free(whole.said);
    free(cut.said);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    struct slice rest = slice_of(data + 1, len - 1);
    if (data[0] % 2 == 0) {
        check_request(rest, (size_t)data[0] * 2);
    } else {
        check_frames(rest, (size_t)data[0] / 2 + 1);
    }
    return 0;
}
