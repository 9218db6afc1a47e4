#include "node/trace_line_priv.h"

#include <inttypes.h>

#include "codec/packet_types.h"

/* The pieces of a packet, from the front. */
static bool take_u8(struct slice *in, uint8_t *out)
{
    if (in->len < 1) {
        return false;
    }
    *out = in->data[0];
    *in = slice_from(*in, 1);
    return true;
}

static bool take_u16(struct slice *in, uint16_t *out)
{
    if (in->len < 2) {
        return false;
    }
    *out = (uint16_t)(in->data[0] << 8 | in->data[1]);
    *in = slice_from(*in, 2);
    return true;
}

static bool take_text(struct slice *in, struct slice *out)
{
    uint16_t len = 0;
    if (!take_u16(in, &len) || in->len < len) {
        return false;
    }
    *out = slice_of(in->data, len);
    *in = slice_from(*in, len);
    return true;
}

static void add_text(struct text *line, const char *key, struct slice value)
{
    text_printf(line, ",\"%s\":\"", key);
    text_add_json(line, value);
    text_add(line, "\"");
}

static void add_number(struct text *line, const char *key, uint64_t value)
{
    text_printf(line, ",\"%s\":%" PRIu64, key, value);
}

static void add_bool(struct text *line, const char *key, bool value)
{
    text_printf(line, ",\"%s\":%s", key, value ? "true" : "false");
}

static bool add_packet_id(struct text *line, struct slice *body)
{
    uint16_t packet_id = 0;
    bool there = take_u16(body, &packet_id);
    if (there) {
        add_number(line, "packet_id", packet_id);
    }
    return there;
}

static void add_reason(struct text *line, uint8_t reason)
{
    text_printf(line, ",\"reason\":\"0x%02x %s\"", reason, mqtt_reason_name(reason));
}

static void describe_publish(struct text *line, const struct mqtt_frame *frame, struct slice body,
                             enum mqtt_version version)
{
    struct slice topic;
    size_t head_len = body.len;
    if (!take_text(&body, &topic)) {
        return;
    }
    unsigned qos = frame->flags >> 1 & 3;
    add_text(line, "topic", topic);
    add_number(line, "qos", qos);
    add_bool(line, "retain", (frame->flags & 1) != 0);
    add_bool(line, "dup", (frame->flags & 8) != 0);
    if (qos > 0 && !add_packet_id(line, &body)) {
        return;
    }
    struct mqtt_props props = {.present = 0};
    if (version == MQTT_V5) {
        if (mqtt_props_read(&body, IN_PUBLISH, &props) != MQTT_REASON_SUCCESS) {
            return;
        }
        if (mqtt_props_has(&props, MQTT_PROP_TOPIC_ALIAS)) {
            add_number(line, "topic_alias", props.topic_alias);
        }
    }
    head_len -= body.len;
    add_number(line, "payload_bytes", frame->body_len > head_len ? frame->body_len - head_len : 0);
}

/* PUBACK, PUBREC, PUBREL, PUBCOMP: without a reason it is success. */
static void describe_ack(struct text *line, struct slice body, enum mqtt_version version)
{
    uint8_t reason = MQTT_REASON_SUCCESS;
    if (add_packet_id(line, &body) && version == MQTT_V5) {
        (void)take_u8(&body, &reason);
        add_reason(line, reason);
    }
}

/* Steps behind properties; false: they can't be read. */
static bool skip_properties(struct slice *body, unsigned where, enum mqtt_version version)
{
    struct mqtt_props props;
    return version != MQTT_V5 || mqtt_props_read(body, where, &props) == MQTT_REASON_SUCCESS;
}

/* The filters of SUBSCRIBE, with their options, or of UNSUBSCRIBE. */
static void describe_filters(struct text *line, unsigned type, struct slice body,
                             enum mqtt_version version)
{
    bool subscribes = type == MQTT_SUBSCRIBE;
    unsigned where = subscribes ? IN_SUBSCRIBE : IN_UNSUBSCRIBE;
    if (!add_packet_id(line, &body) || !skip_properties(&body, where, version)) {
        return;
    }
    size_t count = 0;
    struct slice filter;
    uint8_t options = 0;
    text_add(line, ",\"filters\":[");
    while (take_text(&body, &filter) && (!subscribes || take_u8(&body, &options))) {
        if (count++ < TRACE_LIST_MAX) {
            text_printf(line, "%s{\"filter\":\"", count > 1 ? "," : "");
            text_add_json(line, filter);
            text_add(line, "\"");
            if (subscribes) {
                add_number(line, "qos", options & 3);
            }
            text_add(line, "}");
        }
    }
    text_add(line, "]");
    add_number(line, "filter_count", count);
}

/* The codes of SUBACK and UNSUBACK; 3.x has none in the latter. */
static void describe_codes(struct text *line, unsigned type, struct slice body,
                           enum mqtt_version version)
{
    unsigned where = type == MQTT_SUBACK ? IN_SUBACK : IN_UNSUBACK;
    if (!add_packet_id(line, &body) || !skip_properties(&body, where, version)) {
        return;
    }
    text_add(line, ",\"reasons\":[");
    for (size_t i = 0; i < body.len && i < TRACE_LIST_MAX; i++) {
        text_printf(line, "%s\"0x%02x\"", i > 0 ? "," : "", body.data[i]);
    }
    text_add(line, "]");
}

static void describe_body(struct text *line, const struct mqtt_frame *frame, struct slice body,
                          enum mqtt_version version)
{
    uint8_t byte = 0;
    switch (frame->type) {
    case MQTT_PUBLISH:
        describe_publish(line, frame, body, version);
        return;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        describe_ack(line, body, version);
        return;
    case MQTT_SUBSCRIBE:
    case MQTT_UNSUBSCRIBE:
        describe_filters(line, frame->type, body, version);
        return;
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
        describe_codes(line, frame->type, body, version);
        return;
    case MQTT_CONNACK:
        if (take_u8(&body, &byte)) {
            add_bool(line, "session_present", byte & 1);
        }
        if (take_u8(&body, &byte)) {
            text_printf(line, ",\"reason\":\"0x%02x\"", byte); /* 3.x has other names for them */
        }
        return;
    case MQTT_DISCONNECT:
    case MQTT_AUTH:
        (void)take_u8(&body, &byte); /* none: success */
        add_reason(line, byte);
        return;
    default: /* nothing more is told of the others; CONNECT has a password */
        return;
    }
}

void trace__describe(struct text *line, struct slice bytes, enum mqtt_version version)
{
    struct mqtt_frame frame;
    if (mqtt_frame_read(bytes, &frame) != MQTT_FRAME_OK || frame.header_len > bytes.len) {
        text_add(line, ",\"packet\":\"unreadable\"");
        return;
    }
    text_printf(line, ",\"packet\":\"%s\"", mqtt_packet_name(frame.type));
    add_number(line, "bytes", (uint64_t)frame.header_len + frame.body_len);
    struct slice body = slice_from(bytes, frame.header_len);
    body.len = body.len > frame.body_len ? frame.body_len : body.len;
    describe_body(line, &frame, body, version);
}
