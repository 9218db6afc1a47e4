#include "base/message.h"

#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

/* Blocks of one class are multiples of this; a pool keeps so many of each, 0.6 MiB in all. */
#define CLASS_BYTES 64u
#define CLASS_BLOCKS_MAX 256u

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

/* The class of blocks of `size` bytes; MESSAGE_POOL_CLASSES and more: not pooled. */
static size_t class_of(size_t size)
{
    return (size - 1) / CLASS_BYTES;
}

static void *block_get(size_t size)
{
    struct message_pool *pool = pool_of_thread;
    size_t class = class_of(size);
    if (class >= MESSAGE_POOL_CLASSES) {
        return mem_try_alloc(size);
    }
    if (pool == NULL || pool->free[class] == NULL) {
        return mem_try_alloc((class + 1) * CLASS_BYTES);
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
 * A heap message is one allocation: the struct, then topic, properties and payload; the payload is
 * left where it is when the message could adopt the buffer around it.
 *
 * A borrowed message that was kept holds one reference on its copy, until message_release.
 */

struct message message_borrow(struct slice topic, struct slice props, struct slice payload)
{
    return (struct message){
        .topic = topic.data,
        .topic_len = (uint16_t)topic.len,
        .props = props.data,
        .props_len = (uint32_t)props.len,
        .payload = payload.data,
        .payload_len = (uint32_t)payload.len,
        .expires_at_ms = CLOCK_NEVER,
    };
}

void message_offer_buffer(struct message *message, void *buffer)
{
    ASSERT(atomic_load_explicit(&message->refs, memory_order_relaxed) == 0);
    ASSERT(message->kept == NULL);
    message->adopted = buffer;
}

static uint8_t *append(uint8_t *at, const uint8_t *data, size_t len)
{
    if (len > 0) {
        memcpy(at, data, len);
    }
    return at + len;
}

/* Bytes of the one allocation. */
static size_t block_size(const struct message *message)
{
    return sizeof(*message) + message->topic_len + message->props_len +
           (message->adopted == NULL ? message->payload_len : 0);
}

/* Gives the copy of a borrowed message with one reference, or NULL. */
static struct message *copy_to_heap(const struct message *message)
{
    struct message *copy = block_get(block_size(message));
    if (copy == NULL) {
        return NULL;
    }
    uint8_t *topic = (uint8_t *)(copy + 1);
    uint8_t *props = append(topic, message->topic, message->topic_len);
    uint8_t *payload = append(props, message->props, message->props_len);
    if (message->adopted == NULL) {
        (void)append(payload, message->payload, message->payload_len); /* nothing comes behind it */
    }
    *copy = (struct message){
        .refs = 1,
        .payload_len = message->payload_len,
        .props_len = message->props_len,
        .topic_len = message->topic_len,
        .qos = message->qos,
        .retain = message->retain,
        .expires_at_ms = message->expires_at_ms,
        .publisher = message->publisher,
        .publisher_id = message->publisher_id,
        .topic = topic,
        .props = props,
        .payload = message->adopted == NULL ? payload : message->payload,
        .adopted = message->adopted,
    };
    return copy;
}

struct message *message_keep(struct message *message)
{
    if (atomic_load_explicit(&message->refs, memory_order_relaxed) == 0) {
        if (message->kept == NULL) {
            message->kept = copy_to_heap(message);
        }
        message = message->kept;
        if (message == NULL) {
            return NULL;
        }
    }
    atomic_fetch_add_explicit(&message->refs, 1, memory_order_relaxed);
    return message;
}

bool message_release(struct message *borrowed)
{
    ASSERT(atomic_load_explicit(&borrowed->refs, memory_order_relaxed) == 0);
    bool taken = borrowed->kept != NULL && borrowed->adopted != NULL;
    message_unref(borrowed->kept);
    borrowed->kept = NULL;
    borrowed->adopted = NULL;
    return taken;
}

void message_unref(struct message *message)
{
    if (message == NULL ||
        atomic_fetch_sub_explicit(&message->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    size_t size = block_size(message);
    mem_free(message->adopted);
    block_put(message, size);
}

size_t message_bytes(const struct message *message)
{
    return sizeof(*message) + message->topic_len + message->props_len + message->payload_len;
}
