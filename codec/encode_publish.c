/*
 * PUBLISH: once per delivered message and way of encoding it. Room is checked once for the whole
 * head.
 */
#include "codec/mqtt.h"

enum { TOPIC_ALIAS_LEN = 3, EXPIRY_LEN = 5 };

/* Lengths of a packet's parts; the fixed header's follow from the others. */
struct parts {
    size_t props_len; /* 5.0: without the length in front */
    size_t body_len;  /* Remaining Length */
    size_t head_len;  /* bytes before the payload */
};

static size_t props_len_of(const struct mqtt_publish_out *publish)
{
    size_t len = publish->props.len;
    len += publish->topic_alias != 0 ? TOPIC_ALIAS_LEN : 0;
    len += publish->has_expiry ? EXPIRY_LEN : 0;
    for (size_t i = 0; i < publish->subscription_id_count; i++) {
        len += 1 + varint_len(publish->subscription_ids[i]);
    }
    return len;
}

/* As varint_len, for a length that may be over the maximum: the caller never sends such a packet,
 * but learns here that it is too large. */
static size_t length_len(size_t len)
{
    return varint_len(len > MQTT_VARINT_MAX ? MQTT_VARINT_MAX : (uint32_t)len);
}

static inline struct parts parts_of(const struct mqtt_publish_out *publish)
{
    struct parts parts = {.props_len = 0};
    size_t variable_header = 2 + publish->topic.len + (publish->qos > 0 ? 2 : 0);
    if (publish->version == MQTT_V5) {
        parts.props_len = props_len_of(publish);
        variable_header += length_len(parts.props_len) + parts.props_len;
    }
    parts.body_len = variable_header + publish->payload_len;
    parts.head_len = 1 + length_len(parts.body_len) + variable_header;
    return parts;
}

size_t mqtt_publish_head_len(const struct mqtt_publish_out *publish, size_t *packet_len)
{
    struct parts parts = parts_of(publish);
    *packet_len = parts.head_len + publish->payload_len;
    return parts.head_len;
}

static void write_props(struct writer *w, const struct mqtt_publish_out *publish, size_t props_len)
{
    write_varint(w, (uint32_t)props_len);
    if (likely(props_len == 0)) {
        return;
    }
    if (publish->topic_alias != 0) {
        mqtt_prop_write_u16(w, MQTT_PROP_TOPIC_ALIAS, publish->topic_alias);
    }
    if (publish->has_expiry) {
        mqtt_prop_write_u32(w, MQTT_PROP_MESSAGE_EXPIRY, publish->expiry);
    }
    for (size_t i = 0; i < publish->subscription_id_count; i++) {
        mqtt_prop_write_varint(w, MQTT_PROP_SUBSCRIPTION_ID, publish->subscription_ids[i]);
    }
    write_bytes(w, publish->props);
}

size_t mqtt_encode_publish_head(struct writer *w, const struct mqtt_publish_out *publish)
{
    const uint8_t *start = w->at;
    size_t packet_id_offset = 0;
    struct parts parts = parts_of(publish);
    ASSERT(parts.body_len <= MQTT_VARINT_MAX);
    write_u8(
        w, (uint8_t)(MQTT_PUBLISH << 4 | publish->dup << 3 | publish->qos << 1 | publish->retain));
    write_varint(w, (uint32_t)parts.body_len);
    write_string(w, publish->topic);
    if (publish->qos > 0) {
        packet_id_offset = (size_t)(w->at - start);
        write_u16(w, publish->packet_id);
    }
    if (publish->version == MQTT_V5) {
        write_props(w, publish, parts.props_len);
    }
    return packet_id_offset;
}
