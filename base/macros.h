/*
 * macros: the few macros that the whole tree uses.
 *
 * ASSERT states what our own code guarantees, and stays on in release builds. It is never used on
 * bytes from a socket, a file or a peer.
 */
#ifndef PULSE_BASE_MACROS_H
#define PULSE_BASE_MACROS_H

#include <assert.h>
#include <stddef.h>

#define ASSERT(fact)                                  \
    do {                                              \
        if (__builtin_expect(!(fact), 0)) {           \
            assert_failed(#fact, __FILE__, __LINE__); \
        }                                             \
    } while (0)

/* Prints the broken fact with its place and aborts. */
_Noreturn void assert_failed(const char *fact, const char *file, int line);

#define must_check __attribute__((warn_unused_result))
#define printf_like(words, first) __attribute__((format(printf, words, first)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(n) (1u << (n))
#define container_of(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
