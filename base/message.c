#include "base/message.h"

#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

/* Blocks of one class are multiples of this, which is what the allocator rounds to anyway; a pool
 * keeps so many of each, 0.5 MiB in all. */
#define CLASS_BYTES 16u
#define CLASS_BLOCKS_MAX 64u

struct message_block {
    struct message_block *next;
};

static _Thread_local struct message_pool *pool_of_thread;

void message_pool_use(struct message_pool *pool)
{
    pool_of_thread = pool;
}

void message_pool_fini(struct message_pool *pool)
{
    for (unsigned i = 0; i < MESSAGE_POOL_CLASSES; i++) {
        while (pool->free[i] != NULL) {
            struct message_block *block = pool->free[i];
            pool->free[i] = block->next;
            mem_free(block);
        }
        pool->count[i] = 0;
    }
}

/* What the allocator puts in front of a block: blocks of 16 n - 8 bytes waste nothing. */
#define CLASS_OVERHEAD 8u

/* The class of blocks of `size` bytes; MESSAGE_POOL_CLASSES and more: not pooled. */
static size_t class_of(size_t size)
{
    return (size + CLASS_OVERHEAD - 1) / CLASS_BYTES;
}

static void *block_get(size_t size)
{
    struct message_pool *pool = pool_of_thread;
    size_t class = class_of(size);
    if (class >= MESSAGE_POOL_CLASSES) {
        return mem_try_alloc(size);
    }
    if (pool == NULL || pool->free[class] == NULL) {
        return mem_try_alloc((class + 1) * CLASS_BYTES - CLASS_OVERHEAD);
    }
    struct message_block *block = pool->free[class];
    pool->free[class] = block->next;
    pool->count[class]--;
    return block;
}

static void block_put(void *data, size_t size)
{
    struct message_pool *pool = pool_of_thread;
    size_t class = class_of(size);
    if (pool == NULL || class >= MESSAGE_POOL_CLASSES || pool->count[class] == CLASS_BLOCKS_MAX) {
        mem_free(data);
        return;
    }
    struct message_block *block = data;
    block->next = pool->free[class];
    pool->free[class] = block;
    pool->count[class]++;
}

/*
 * A kept message is one allocation: the head of the struct, perhaps a struct message_apart, then
 * topic, properties and payload.
 *
 * A borrowed message that was kept holds one reference on its copy, until message_release.
 */

struct message message_borrow(struct slice topic, struct slice props, struct slice payload)
{
    return (struct message){
        .topic_len = (uint16_t)topic.len,
        .props_len = (uint32_t)props.len,
        .payload_len = (uint32_t)payload.len,
        .expires_at_ms = CLOCK_NEVER,
        .source = {.topic = topic.data, .props = props.data, .payload = payload.data},
    };
}

void message_offer_buffer(struct message *message, void *buffer)
{
    ASSERT(message_is_borrowed(message) && message->source.kept == NULL);
    message->source.offered = buffer;
}

static uint8_t *append(uint8_t *at, const void *data, size_t len)
{
    if (len > 0) {
        memcpy(at, data, len);
    }
    return at + len;
}

/* Bytes of the one allocation. */
static size_t block_size(const struct message *message, bool apart)
{
    return MESSAGE_HEAD + message->topic_len + message->props_len +
           (apart ? sizeof(struct message_apart) : message->payload_len);
}

/* Gives the copy of a borrowed message with one reference, or NULL. */
static struct message *copy_to_heap(const struct message *message)
{
    const struct message_source *source = &message->source;
    bool apart = source->offered != NULL;
    struct message *copy = block_get(block_size(message, apart));
    if (copy == NULL) {
        return NULL;
    }
    memcpy((void *)copy, message, MESSAGE_HEAD);
    atomic_init(&copy->refs, 1);
    copy->apart = apart;
    copy->stored_id = 0;
    copy->stored_refs = 0;
    uint8_t *at = (uint8_t *)copy + MESSAGE_HEAD;
    if (apart) {
        struct message_apart own = {.buffer = source->offered, .payload = source->payload};
        at = append(at, &own, sizeof(own));
    }
    at = append(at, source->topic, message->topic_len);
    at = append(at, source->props, message->props_len);
    if (!apart) {
        (void)append(at, source->payload, message->payload_len); /* nothing comes behind it */
    }
    return copy;
}

struct slice message_payload(const struct message *message)
{
    const uint8_t *payload;
    if (message_is_borrowed(message)) {
        payload = message->source.payload;
    } else if (message->apart) {
        struct message_apart own;
        memcpy(&own, (const uint8_t *)message + MESSAGE_HEAD, sizeof(own));
        payload = own.payload;
    } else {
        payload = message__bytes(message) + message->topic_len + message->props_len;
    }
    return slice_of(payload, message->payload_len);
}

struct message *message_keep(struct message *message)
{
    if (message_is_borrowed(message)) {
        struct message_source *source = &message->source;
        if (source->kept == NULL) {
            source->kept = copy_to_heap(message);
        }
        message = source->kept;
        if (message == NULL) {
            return NULL;
        }
    }
    atomic_fetch_add_explicit(&message->refs, 1, memory_order_relaxed);
    return message;
}

bool message_release(struct message *borrowed)
{
    ASSERT(message_is_borrowed(borrowed));
    struct message_source *source = &borrowed->source;
    bool taken = source->kept != NULL && source->offered != NULL;
    message_unref(source->kept);
    source->kept = NULL;
    source->offered = NULL;
    return taken;
}

void message_unref(struct message *message)
{
    if (message == NULL ||
        atomic_fetch_sub_explicit(&message->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    size_t size = block_size(message, message->apart);
    if (message->apart) {
        struct message_apart own;
        memcpy(&own, (const uint8_t *)message + MESSAGE_HEAD, sizeof(own));
        mem_free(own.buffer);
    }
    block_put(message, size);
}

size_t message_bytes(const struct message *message)
{
    return MESSAGE_HEAD + message->topic_len + message->props_len + message->payload_len;
}
