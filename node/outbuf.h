/*
 * outbuf: what waits to be written to one connection. Small packets are copied into contiguous
 * chunks, large payloads are referred to.
 *
 * Owns      its chunks, and one reference on each message that it refers to.
 * Thread    the worker. Chunks come from the worker's pool.
 * Errors    ERR_MEMORY when a chunk can't be had: the connection is then closed.
 * Not here  sockets (transport.h); limits (delivery.h).
 */
#ifndef PULSE_NODE_OUTBUF_H
#define PULSE_NODE_OUTBUF_H

#include <stdint.h>
#include <string.h>
#include <uv.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"

struct message;

#define OUT_CHUNK_SMALL 4080
#define OUT_CHUNK_LARGE 16368

struct out_chunk {
    struct out_chunk *next;
    struct message *message; /* not NULL: `data` points into its payload */
    const uint8_t *data;     /* what is still to be written */
    uint32_t len;
    uint32_t room; /* bytes free behind data + len */
    uint8_t bytes[];
};

/* Free chunks of a worker, so that a busy one does not ask the allocator for each write. */
struct out_pool {
    struct out_chunk *small;
    struct out_chunk *large;
    uint32_t small_count;
    uint32_t large_count;
};

struct outbuf {
    struct out_chunk *first;
    struct out_chunk *last;
    size_t len; /* bytes in all */
};

void out_pool_fini(struct out_pool *pool);

/* Frees what waits. */
void outbuf_clear(struct outbuf *out, struct out_pool *pool);

/* Makes a new last chunk with room for `need` contiguous bytes. */
must_check enum err outbuf_grow(struct outbuf *out, struct out_pool *pool, size_t need);

/* Gives `need` contiguous bytes to write into, before outbuf_commit; NULL when there is no memory.
 */
static inline uint8_t *outbuf_reserve(struct outbuf *out, struct out_pool *pool, size_t need)
{
    if (out->last == NULL || out->last->room < need) {
        if (outbuf_grow(out, pool, need) != ERR_OK) {
            return NULL;
        }
    }
    return (uint8_t *)(uintptr_t)out->last->data + out->last->len;
}

static inline void outbuf_commit(struct outbuf *out, size_t len)
{
    out->last->len += (uint32_t)len;
    out->last->room -= (uint32_t)len;
    out->len += len;
}

/* Appends a copy of `bytes`, over as many chunks as it takes. */
must_check enum err outbuf_append(struct outbuf *out, struct out_pool *pool, struct slice bytes);

/* Appends `bytes`, which are part of `message`; takes the reference. */
must_check enum err outbuf_refer(struct outbuf *out, struct message *message, struct slice bytes);

/* Fills `bufs` with what comes first, at most `count` entries and about `bytes_max` bytes. */
unsigned outbuf_peek(const struct outbuf *out, uv_buf_t *bufs, unsigned count, size_t bytes_max);

/* Drops the first `len` bytes, which have been written. */
void outbuf_consume(struct outbuf *out, struct out_pool *pool, size_t len);

#endif
