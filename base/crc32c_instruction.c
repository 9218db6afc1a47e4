/*
 * The one place that asks for which processor this is built: each of the three parts below is the
 * whole answer for one.
 */
#include <string.h>

#include "base/crc32c_priv.h"

/* The last part has no use for it. */
__attribute__((unused)) static inline uint64_t load_u64(const uint8_t *data)
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

#elif defined(__AARCH64EL__) && defined(__linux__)

#include <sys/auxv.h>

bool crc32c__has_instruction(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

/* Compilers don't agree on when their intrinsics for it may be used; about the assembler they do.
 */
uint32_t crc32c__instruction(uint32_t state, const uint8_t *data, size_t len)
{
    for (; len >= 8; data += 8, len -= 8) {
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(state) : "r"(load_u64(data)));
    }
    for (; len > 0; data++, len--) {
        uint32_t byte = *data;
        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(state) : "r"(byte));
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
