#include "tests/unit/codec/codec_support.h"

#include <ctype.h>

#include "base/clock.h"
#include "base/mem.h"

struct block {
    struct block *next;
    uint8_t *data;
};

static struct block *blocks;

static void free_blocks(void)
{
    while (blocks != NULL) {
        struct block *block = blocks;
        blocks = block->next;
        free(block->data);
        mem_free(block);
    }
}

struct slice bytes_copy(struct slice s)
{
    if (blocks == NULL) {
        (void)atexit(free_blocks); /* can only fail by leaking what the process ends with anyway */
    }
    struct block *block = mem_alloc(sizeof(*block));
    block->data = malloc(s.len);
    assert_true(s.len == 0 || block->data != NULL);
    if (s.len > 0) {
        memcpy(block->data, s.data, s.len);
    }
    block->next = blocks;
    blocks = block;
    return slice_of(block->data, s.len);
}

static uint8_t hex_digit(char c)
{
    assert_true(isxdigit((unsigned char)c));
    return (uint8_t)(isdigit((unsigned char)c) ? c - '0' : (c | 32) - 'a' + 10);
}

struct slice bytes(const char *text)
{
    uint8_t out[4096];
    size_t len = 0;
    size_t group = 0;
    while (*text != '\0') {
        assert_true(len + 2 < sizeof(out));
        if (*text == '\'' || *text == '<') {
            size_t words = (size_t)(strchr(text + 1, *text == '<' ? '>' : '\'') - text) - 1;
            assert_true(len + 2 + words < sizeof(out));
            if (*text == '<') {
                out[len++] = (uint8_t)(words >> 8);
                out[len++] = (uint8_t)words;
            }
            memcpy(out + len, text + 1, words);
            len += words;
            text += words + 2;
        } else if (*text == '[') {
            group = len++;
            text++;
        } else if (*text == ']') {
            out[group] = (uint8_t)(len - group - 1);
            assert_true(out[group] < 128);
            text++;
        } else if (*text == ' ') {
            text++;
        } else {
            out[len++] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
            text += 2;
        }
    }
    return bytes_copy(slice_of(out, len));
}

void assert_bytes(struct slice actual, const char *expected)
{
    struct slice wanted = bytes(expected);
    assert_int_equal(actual.len, wanted.len);
    if (wanted.len > 0) {
        assert_memory_equal(actual.data, wanted.data, wanted.len);
    }
}

void assert_truncations_refused(decode_fn decode, struct slice body, size_t complete)
{
    for (size_t len = 0; len <= body.len; len++) {
        enum mqtt_reason reason = decode(bytes_copy(slice_of(body.data, len)));
        if ((reason == MQTT_REASON_SUCCESS) != (len >= complete)) {
            fail_msg("%zu of %zu bytes: %s", len, body.len, mqtt_reason_name((uint8_t)reason));
        }
    }
}

uint64_t random_seed(void)
{
    const char *text = getenv("PULSE_TEST_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : clock_wall_ms();
    print_message("PULSE_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed | 1;
}

/* xorshift64*; the state is never 0. */
uint32_t random_below(uint64_t *state, uint32_t limit)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 2685821657736338717u) >> 33) % limit;
}
