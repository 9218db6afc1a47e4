#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

void assert_failed(const char *fact, const char *file, int line)
{
    fprintf(stderr, "pulse: broken invariant: %s at %s:%d\n", fact, file, line);
    abort();
}

static void *or_abort(void *block, size_t size)
{
    if (block == NULL) {
        fprintf(stderr, "pulse: out of memory: %zu bytes\n", size);
        abort();
    }
    return block;
}

void *mem_alloc(size_t size)
{
    return or_abort(calloc(1, size), size);
}

void *mem_alloc_array(size_t count, size_t size)
{
    return or_abort(calloc(count, size), size);
}

char *mem_copy_text(const void *data, size_t len)
{
    char *copy = or_abort(malloc(len + 1), len + 1);
    if (len > 0) {
        memcpy(copy, data, len);
    }
    copy[len] = '\0';
    return copy;
}

void *mem_try_alloc(size_t size)
{
    return malloc(size);
}

void *mem_try_resize(void *block, size_t size)
{
    return realloc(block, size);
}

void *mem_resize(void *block, size_t size)
{
    return or_abort(realloc(block, size), size);
}

void *mem_grow(void *items, uint32_t count, uint32_t *cap, size_t size)
{
    if (count < *cap) {
        return items;
    }
    *cap = *cap > 0 ? *cap * 2 : 16;
    return mem_resize(items, *cap * size);
}

void mem_free(void *block)
{
    free(block);
}
