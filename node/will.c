#include "node/will.h"

#include "base/mem.h"
#include "codec/mqtt.h"
#include "base/message.h"
#include "node/router.h"
#include "node/session.h"
#include "node/worker.h"

/* The heap copy of what CONNECT carried; NULL: no memory. */
static struct message *copy_message(const struct mqtt_will *from)
{
    size_t len = from->props.raw.len > 0 ? mqtt_props_forwarded_len(&from->props) : 0;
    uint8_t *props = mem_try_alloc(len + 1);
    if (props == NULL) {
        return NULL;
    }
    if (len > 0) {
        mqtt_props_forward(&from->props, props);
    }
    struct message borrowed = message_borrow(from->topic, slice_of(props, len), from->payload);
    borrowed.qos = from->qos;
    borrowed.retain = from->retain;
    struct message *copy = message_keep(&borrowed);
    message_release(&borrowed);
    mem_free(props);
    return copy;
}

struct will *will_create(const struct mqtt_will *from)
{
    struct message *message = copy_message(from);
    if (message == NULL) {
        return NULL;
    }
    struct will *will = mem_alloc(sizeof(*will));
    will->message = message;
    if (mqtt_props_has(&from->props, MQTT_PROP_WILL_DELAY)) {
        will->delay_s = from->props.will_delay;
    }
    if (mqtt_props_has(&from->props, MQTT_PROP_MESSAGE_EXPIRY)) {
        will->has_expiry = true;
        will->expiry_s = from->props.message_expiry;
    }
    return will;
}

void will_destroy(struct will *will)
{
    if (will != NULL) {
        message_unref(will->message);
        mem_free(will);
    }
}

void will_publish(const struct session *session, struct will *will, struct receipt **receipt)
{
    struct worker *worker = session->worker;
    const struct message *kept = will->message;
    struct message message =
        message_borrow(message_topic(kept), message_props(kept), message_payload(kept));
    message.qos = kept->qos;
    message.retain = kept->retain;
    message.publisher = session->handle;
    message.publisher_id = session->identity;
    if (will->has_expiry) {
        message.expires_at_ms = worker_now(worker) + (uint64_t)will->expiry_s * 1000;
    }
    (void)router_publish(worker, &message, receipt);
    message_release(&message);
    metric_add(&worker->metrics, METRIC_WILLS_PUBLISHED, 1);
    will_destroy(will);
}
