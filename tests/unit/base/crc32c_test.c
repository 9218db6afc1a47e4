#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/crc32c_priv.h"
#include "base/macros.h"

struct vector {
    const char *what;
    uint8_t bytes[48];
    size_t len;
    uint32_t crc;
};

/* RFC 3720, B.4, and the check value of the catalogues of CRCs. */
static struct vector vectors[] = {
    {.what = "nothing", .len = 0, .crc = 0},
    {.what = "check", .bytes = "123456789", .len = 9, .crc = 0xe3069283u},
    {.what = "zeros", .len = 32, .crc = 0x8a9136aau},
    {.what = "ones", .len = 32, .crc = 0x62a8ab43u},
    {.what = "up", .len = 32, .crc = 0x46dd794eu},
    {.what = "down", .len = 32, .crc = 0x113fdb5cu},
    {.what = "read command",
     .bytes = {0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
               0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
               0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
               0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
     .len = 48,
     .crc = 0xd9963a56u},
};

static int fill_vectors(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < 32; i++) {
        vectors[3].bytes[i] = 0xff;
        vectors[4].bytes[i] = i;
        vectors[5].bytes[i] = (uint8_t)(31 - i);
    }
    return 0;
}

static void known_bytes_have_their_known_crc(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        const struct vector *vector = &vectors[i];
        assert_int_equal(crc32c(0, vector->bytes, vector->len), vector->crc);
        assert_int_equal(~crc32c__portable(~0u, vector->bytes, vector->len), vector->crc);
        if (crc32c__has_instruction()) {
            assert_int_equal(~crc32c__instruction(~0u, vector->bytes, vector->len), vector->crc);
        }
    }
}

/* Bit by bit, as the definition says. */
static uint32_t naive(const uint8_t *data, size_t len)
{
    uint32_t state = ~0u;
    for (size_t i = 0; i < len; i++) {
        state ^= data[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            state = (state & 1) != 0 ? state >> 1 ^ 0x82f63b78u : state >> 1;
        }
    }
    return ~state;
}

static void every_length_and_alignment_agrees_with_the_definition(void **state)
{
    (void)state;
    for (size_t len = 0; len < 70; len++) {
        for (size_t shift = 0; shift < 8; shift++) {
            uint8_t *data = malloc(len + shift + 1); /* exactly: nothing behind it is read */
            assert_non_null(data);
            for (size_t i = 0; i < len + shift; i++) {
                data[i] = (uint8_t)(i * 37 + len);
            }
            uint32_t expected = naive(data + shift, len);
            assert_int_equal(crc32c(0, data + shift, len), expected);
            assert_int_equal(~crc32c__portable(~0u, data + shift, len), expected);
            free(data);
        }
    }
}

static void pieces_give_the_crc_of_the_whole(void **state)
{
    (void)state;
    uint8_t data[100];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * i);
    }
    uint32_t whole = crc32c(0, data, sizeof(data));
    for (size_t cut = 0; cut <= sizeof(data); cut++) {
        uint32_t first = crc32c(0, data, cut);
        assert_int_equal(crc32c(first, data + cut, sizeof(data) - cut), whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_bytes_have_their_known_crc),
        cmocka_unit_test(every_length_and_alignment_agrees_with_the_definition),
        cmocka_unit_test(pieces_give_the_crc_of_the_whole),
    };
    return cmocka_run_group_tests(tests, fill_vectors, NULL);
}
