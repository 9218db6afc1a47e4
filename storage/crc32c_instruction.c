/*
 * The one place that asks for which processor this is built: each of the three parts below is the
 * whole answer for one.
 */
#include <string.h>

#include "storage/crc32c_priv.h"

static inline uint64_t load_u64(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return word;
}

#if defined(__x86_64__)

#include <nmmintrin.h>

bool crc32c__has_instruction(void)
{
    __builtin_cpu_init(); /* constructors may run before its own */
    return __builtin_cpu_supports("sse4.2") != 0;
}

__attribute__((target("sse4.2"))) uint32_t crc32c__instruction(uint32_t state, const uint8_t *data,
                                                               size_t len)
{
    uint64_t wide = state;
    for (; len >= 8; data += 8, len -= 8) {
        wide = _mm_crc32_u64(wide, load_u64(data));
    }
    state = (uint32_t)wide;
    for (; len > 0; data++, len--) {
        state = _mm_crc32_u8(state, *data);
    }
    return state;
}

#elif defined(__aarch64__) && defined(__linux__) && defined(__LITTLE_ENDIAN__)

#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>

bool crc32c__has_instruction(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

__attribute__((target("+crc"))) uint32_t crc32c__instruction(uint32_t state, const uint8_t *data,
                                                             size_t len)
{
    for (; len >= 8; data += 8, len -= 8) {
        state = __crc32cd(state, load_u64(data));
    }
    for (; len > 0; data++, len--) {
        state = __crc32cb(state, *data);
    }
    return state;
}

#else

bool crc32c__has_instruction(void)
{
    return false;
}

uint32_t crc32c__instruction(uint32_t state, const uint8_t *data, size_t len)
{
    return crc32c__portable(state, data, len);
}

#endif
