/*
 * fuzz: what the fuzz targets share. A broken promise is an ASSERT: the fuzzer keeps the input.
 */
#ifndef PULSE_TESTS_FUZZ_H
#define PULSE_TESTS_FUZZ_H

#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/slice.h"

/* The target's entry, called by libFuzzer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A copy of `s` in a block of exactly its size, so that the address sanitizer sees a read past the
 * end. End with free on its data. */
static inline uint8_t *fuzz_copy(struct slice s)
{
    uint8_t *copy = malloc(s.len);
    ASSERT(copy != NULL || s.len == 0);
    if (s.len > 0) {
        memcpy(copy, s.data, s.len);
    }
    return copy;
}

/* Whether `part`, unless it is empty, lies within `whole`. */
static inline bool fuzz_within(struct slice part, struct slice whole)
{
    return part.len == 0 ||
           (part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

#endif
