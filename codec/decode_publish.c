/*
 * PUBLISH: once per message, so what nearly every message is (a plain ASCII topic, no properties)
 * runs straight through, and `out` is not cleared.
 */
#include "codec/mqtt.h"

#include "codec/ascii_priv.h"
#include "codec/properties_priv.h"
#include "codec/reader_priv.h"
#include "codec/topic.h"

enum { PUBLISH_RETAIN = 1, PUBLISH_DUP = 8 };

/* The topic of a PUBLISH is neither empty nor plain ASCII. */
static enum mqtt_reason check_odd_topic(struct slice topic)
{
    if (!utf8_valid(topic)) {
        return MQTT_REASON_MALFORMED_PACKET; /* [MQTT-3.3.2-1] */
    }
    /* [MQTT-3.3.2-2] */
    return topic_name_valid(topic) ? MQTT_REASON_SUCCESS : MQTT_REASON_TOPIC_NAME_INVALID;
}

static enum mqtt_reason check_props(const struct mqtt_publish *publish)
{
    const struct mqtt_props *props = &publish->props;
    if (mqtt_props_has(props, MQTT_PROP_SUBSCRIPTION_ID)) {
        return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-3.3.4-6] */
    }
    if (mqtt_props_has(props, MQTT_PROP_TOPIC_ALIAS)) {
        return props->topic_alias != 0 ? MQTT_REASON_SUCCESS
                                       : MQTT_REASON_TOPIC_ALIAS_INVALID; /* [MQTT-3.3.2-8] */
    }
    return publish->topic.len != 0 ? MQTT_REASON_SUCCESS : MQTT_REASON_PROTOCOL_ERROR;
}

static enum mqtt_reason read_publish_props(struct slice *in, struct mqtt_publish *out)
{
    if (likely(in->len > 0 && in->data[0] == 0)) {
        out->props.present = 0;
        out->props.raw = slice_of(in->data, 0);
        in->data++;
        in->len--;
    } else {
        enum mqtt_reason reason = mqtt_props_read(in, IN_PUBLISH, &out->props);
        if (reason != MQTT_REASON_SUCCESS) {
            return reason;
        }
    }
    return check_props(out);
}

enum mqtt_reason mqtt_decode_publish(struct slice body, uint8_t flags, enum mqtt_version version,
                                     struct mqtt_publish *out)
{
    out->dup = (flags & PUBLISH_DUP) != 0;
    out->retain = (flags & PUBLISH_RETAIN) != 0;
    out->qos = flags >> 1 & 3;
    out->packet_id = 0;
    if (unlikely(out->qos == 3 || (out->qos == 0 && out->dup))) {
        return MQTT_REASON_MALFORMED_PACKET; /* [MQTT-3.3.1-4, -2] */
    }
    if (unlikely(!read_string(&body, &out->topic))) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    if (unlikely(!ascii_plain(out->topic, true))) {
        enum mqtt_reason reason = check_odd_topic(out->topic);
        if (reason != MQTT_REASON_SUCCESS) {
            return reason;
        }
    }
    if (out->qos > 0) {
        if (unlikely(!read_u16(&body, &out->packet_id))) {
            return MQTT_REASON_MALFORMED_PACKET;
        }
        if (unlikely(out->packet_id == 0)) {
            return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-2.2.1-3] */
        }
    }
    if (version == MQTT_V5) {
        enum mqtt_reason reason = read_publish_props(&body, out);
        out->payload = body;
        return reason;
    }
    out->props.present = 0;
    out->props.raw = slice_of(body.data, 0);
    out->payload = body;
    return likely(out->topic.len > 0) ? MQTT_REASON_SUCCESS : MQTT_REASON_TOPIC_NAME_INVALID;
}

bool mqtt_payload_format_valid(const struct mqtt_publish *publish)
{
    return !mqtt_props_has(&publish->props, MQTT_PROP_PAYLOAD_FORMAT) ||
           publish->props.payload_format != 1 || utf8_well_formed(publish->payload);
}
