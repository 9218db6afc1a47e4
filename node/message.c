#include "node/message.h"

#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

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

/* Gives the copy of a borrowed message with one reference, or NULL. */
static struct message *copy_to_heap(const struct message *message)
{
    size_t copied_len = (size_t)message->topic_len + message->props_len +
                        (message->adopted == NULL ? message->payload_len : 0);
    struct message *copy = mem_try_alloc(sizeof(*copy) + copied_len);
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
    mem_free(message->adopted);
    mem_free(message);
}

size_t message_bytes(const struct message *message)
{
    return sizeof(*message) + message->topic_len + message->props_len + message->payload_len;
}
