#include "base/crc32c.h"

#include "base/crc32c_priv.h"

#define POLYNOMIAL 0x82f63b78u /* bits reversed, as CRC32C wants them */

/* tables[k][b]: what byte `b` does to the state when k more bytes come behind it. */
static uint32_t tables[8][256];

static void fill_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t state = byte;
        for (unsigned bit = 0; bit < 8; bit++) {
            state = (state >> 1) ^ ((state & 1) != 0 ? POLYNOMIAL : 0);
        }
        tables[0][byte] = state;
    }
    for (unsigned k = 1; k < 8; k++) {
        for (unsigned byte = 0; byte < 256; byte++) {
            uint32_t before = tables[k - 1][byte];
            tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
        }
    }
}

static uint32_t load_u32(const uint8_t *data)
{
    return (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
           (uint32_t)data[3] << 24;
}

uint32_t crc32c__portable(uint32_t state, const uint8_t *data, size_t len)
{
    for (; len >= 8; data += 8, len -= 8) {
        uint32_t low = state ^ load_u32(data);
        uint32_t high = load_u32(data + 4);
        state = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
                tables[4][low >> 24] ^ tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^
                tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
    }
    for (; len > 0; data++, len--) {
        state = (state >> 8) ^ tables[0][(state ^ *data) & 0xff];
    }
    return state;
}

static crc32c_fn chosen;

/* Before main, so that threads find it done. */
__attribute__((constructor)) static void choose(void)
{
    fill_tables();
    chosen = crc32c__has_instruction() ? crc32c__instruction : crc32c__portable;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    return ~chosen(~crc, data, len);
}
