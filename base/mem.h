/*
 * mem: allocation.
 *
 * Small things of our own: mem_alloc never returns NULL (it logs and aborts), so there is no
 * untested failure branch. Up to 64 KiB counts as small, such as a client id or a level of a topic.
 * What a client, a file or a peer sizes is compared with a limit first, then taken with
 * mem_try_alloc, whose failure is an answer.
 *
 * Thread    any.
 */
#ifndef PULSE_BASE_MEM_H
#define PULSE_BASE_MEM_H

#include <stddef.h>
#include <stdint.h>

/* Gives `size` zeroed bytes; aborts when there are none. End with mem_free. */
void *mem_alloc(size_t size) __attribute__((malloc, alloc_size(1), returns_nonnull));

/* As mem_alloc, for `count` items of `size` bytes. */
void *mem_alloc_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* Gives a copy of `len` bytes with a NUL behind them. End with mem_free. */
char *mem_copy_text(const void *data, size_t len) __attribute__((malloc, returns_nonnull));

/* Gives `size` bytes, not zeroed, or NULL. End with mem_free. */
void *mem_try_alloc(size_t size) __attribute__((malloc, alloc_size(1)));

/* Changes the size of `block` (NULL is allowed); NULL and `block` untouched when there is no
 * memory. */
void *mem_try_resize(void *block, size_t size) __attribute__((alloc_size(2)));

/* As mem_try_resize, but aborts when there is no memory. */
void *mem_resize(void *block, size_t size) __attribute__((alloc_size(2), returns_nonnull));

/*
 * Makes room for one more item of `size` bytes in the array `items` of `count` items: gives
 * `items`, or where it is now, with `*cap` doubled. Aborts when there is no memory. NULL and 0 are
 * an empty array.
 */
void *mem_grow(void *items, uint32_t count, uint32_t *cap, size_t size);

/* Takes `block`. NULL is allowed. */
void mem_free(void *block);

#endif
