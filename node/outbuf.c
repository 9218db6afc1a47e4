#include "node/outbuf.h"

#include <stdbool.h>

#include "base/mem.h"
#include "base/message.h"

/* A pool keeps at most this many free chunks of a size: 256 KiB small ones, 1 MiB large ones. */
#define POOL_SMALL_MAX 64
#define POOL_LARGE_MAX 64

static void free_list(struct out_chunk *chunk)
{
    while (chunk != NULL) {
        struct out_chunk *next = chunk->next;
        mem_free(chunk);
        chunk = next;
    }
}

void out_pool_fini(struct out_pool *pool)
{
    free_list(pool->small);
    free_list(pool->large);
    *pool = (struct out_pool){0};
}

/* The size a chunk was made with. */
static uint32_t chunk_size(const struct out_chunk *chunk)
{
    return (uint32_t)(chunk->data - chunk->bytes) + chunk->len + chunk->room;
}

static void give_back(struct out_pool *pool, struct out_chunk *chunk)
{
    if (chunk->message != NULL) {
        message_unref(chunk->message);
        mem_free(chunk);
    } else if (chunk_size(chunk) == OUT_CHUNK_SMALL && pool->small_count < POOL_SMALL_MAX) {
        chunk->next = pool->small;
        pool->small = chunk;
        pool->small_count++;
    } else if (chunk_size(chunk) == OUT_CHUNK_LARGE && pool->large_count < POOL_LARGE_MAX) {
        chunk->next = pool->large;
        pool->large = chunk;
        pool->large_count++;
    } else {
        mem_free(chunk);
    }
}

/* Takes a chunk of `size` bytes from the pool, or a new one. */
static struct out_chunk *get_chunk(struct out_pool *pool, uint32_t size)
{
    struct out_chunk *chunk = NULL;
    if (size == OUT_CHUNK_SMALL && pool->small != NULL) {
        chunk = pool->small;
        pool->small = chunk->next;
        pool->small_count--;
    } else if (size == OUT_CHUNK_LARGE && pool->large != NULL) {
        chunk = pool->large;
        pool->large = chunk->next;
        pool->large_count--;
    } else {
        chunk = mem_try_alloc(sizeof(*chunk) + size);
        if (chunk == NULL) {
            return NULL;
        }
    }
    chunk->next = NULL;
    chunk->message = NULL;
    chunk->data = chunk->bytes;
    chunk->len = 0;
    chunk->room = size;
    return chunk;
}

static void link_last(struct outbuf *out, struct out_chunk *chunk)
{
    if (out->last != NULL) {
        out->last->next = chunk;
    } else {
        out->first = chunk;
    }
    out->last = chunk;
}

void outbuf_clear(struct outbuf *out, struct out_pool *pool)
{
    outbuf_consume(out, pool, out->len);
}

enum err outbuf_grow(struct outbuf *out, struct out_pool *pool, size_t need)
{
    uint32_t size = (uint32_t)need;
    /* just a packet's head, perhaps */
    bool short_run = out->first == NULL || out->last->message != NULL;
    if (short_run && need <= OUT_CHUNK_SMALL) {
        size = OUT_CHUNK_SMALL;
    } else if (need <= OUT_CHUNK_LARGE) {
        size = OUT_CHUNK_LARGE;
    }
    struct out_chunk *chunk = get_chunk(pool, size);
    if (chunk == NULL) {
        return ERR_MEMORY;
    }
    link_last(out, chunk);
    return ERR_OK;
}

enum err outbuf_append(struct outbuf *out, struct out_pool *pool, struct slice bytes)
{
    while (bytes.len > 0) {
        if (out->last == NULL || out->last->room == 0) {
            size_t need = bytes.len < OUT_CHUNK_LARGE ? bytes.len : OUT_CHUNK_LARGE;
            enum err err = outbuf_grow(out, pool, need);
            if (err != ERR_OK) {
                return err;
            }
        }
        size_t part = bytes.len < out->last->room ? bytes.len : out->last->room;
        memcpy((uint8_t *)(uintptr_t)out->last->data + out->last->len, bytes.data, part);
        outbuf_commit(out, part);
        bytes = slice_from(bytes, part);
    }
    return ERR_OK;
}

enum err outbuf_refer(struct outbuf *out, struct message *message, struct slice bytes)
{
    struct out_chunk *chunk = mem_try_alloc(sizeof(*chunk));
    if (chunk == NULL) {
        message_unref(message);
        return ERR_MEMORY;
    }
    *chunk = (struct out_chunk){
        .message = message, .data = bytes.data, .len = (uint32_t)bytes.len, .room = 0};
    link_last(out, chunk);
    out->len += bytes.len;
    return ERR_OK;
}

unsigned outbuf_peek(const struct outbuf *out, uv_buf_t *bufs, unsigned count, size_t bytes_max)
{
    unsigned used = 0;
    size_t bytes = 0;
    for (struct out_chunk *chunk = out->first; chunk != NULL && used < count && bytes < bytes_max;
         chunk = chunk->next) {
        bufs[used++] = uv_buf_init((char *)(uintptr_t)chunk->data, chunk->len);
        bytes += chunk->len;
    }
    return used;
}

void outbuf_consume(struct outbuf *out, struct out_pool *pool, size_t len)
{
    ASSERT(len <= out->len);
    out->len -= len;
    while (out->first != NULL && len >= out->first->len) {
        struct out_chunk *chunk = out->first;
        len -= chunk->len;
        out->first = chunk->next;
        if (out->first == NULL) {
            out->last = NULL;
        }
        give_back(pool, chunk);
    }
    if (len > 0) {
        out->first->data += len;
        out->first->len -= (uint32_t)len;
    }
}
