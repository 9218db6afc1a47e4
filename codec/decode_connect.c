/*
 * CONNECT. It is parsed as a whole first, so that malformed bytes anywhere win; what can be judged
 * only of the parsed packet (the client id, the will) comes after.
 */
#include "codec/mqtt.h"

#include "codec/reader_priv.h"
#include "codec/topic.h"

enum connect_flag {
    FLAG_RESERVED = 0x01,
    FLAG_CLEAN_START = 0x02,
    FLAG_WILL = 0x04,
    FLAG_WILL_QOS = 0x18,
    FLAG_WILL_RETAIN = 0x20,
    FLAG_PASSWORD = 0x40,
    FLAG_USER_NAME = 0x80
};

/* Mosquitto sets the top bit of the level when it connects as a bridge; it means nothing to us. */
enum { LEVEL_BRIDGE = 0x80 };

static bool read_utf8(struct slice *in, struct slice *out)
{
    return read_string(in, out) && utf8_valid(*out);
}

/* The version of a client whose level we don't speak, as near as can be guessed, for the refusal.
 */
static enum mqtt_version nearest_version(uint8_t level)
{
    return level > MQTT_V5 ? MQTT_V5 : MQTT_V311;
}

static enum mqtt_reason read_protocol(struct slice *in, struct mqtt_connect *out)
{
    struct slice name;
    uint8_t level = 0;
    if (!read_string(in, &name)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    bool is_v31 = slice_equal(name, slice_text("MQIsdp"));
    if (!is_v31 && !slice_equal(name, slice_text("MQTT"))) {
        return MQTT_REASON_UNSUPPORTED_VERSION; /* [MQTT-3.1.2-1] */
    }
    if (!read_u8(in, &level)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    uint8_t plain_level = (uint8_t)(level & ~LEVEL_BRIDGE);
    if (is_v31) {
        out->version = MQTT_V31;
        return plain_level == MQTT_V31 ? MQTT_REASON_SUCCESS : MQTT_REASON_UNSUPPORTED_VERSION;
    }
    if (level == MQTT_V5 || plain_level == MQTT_V311) {
        out->version = level == MQTT_V5 ? MQTT_V5 : MQTT_V311;
        return MQTT_REASON_SUCCESS;
    }
    out->version = nearest_version(plain_level);
    return MQTT_REASON_UNSUPPORTED_VERSION; /* [MQTT-3.1.2-2] */
}

static enum mqtt_reason read_flags(struct slice *in, struct mqtt_connect *out)
{
    uint8_t flags = 0;
    if (!read_u8(in, &flags)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    if ((flags & FLAG_RESERVED) != 0 && out->version != MQTT_V31) {
        return MQTT_REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-3]; in 3.1 the bit is only unused */
    }
    out->clean_start = (flags & FLAG_CLEAN_START) != 0;
    out->has_will = (flags & FLAG_WILL) != 0;
    out->has_user_name = (flags & FLAG_USER_NAME) != 0;
    out->has_password = (flags & FLAG_PASSWORD) != 0;
    out->will.qos = (uint8_t)((flags & FLAG_WILL_QOS) >> 3);
    out->will.retain = (flags & FLAG_WILL_RETAIN) != 0;
    if (out->will.qos > 2) {
        return MQTT_REASON_MALFORMED_PACKET; /* [MQTT-3.1.2-12] */
    }
    if (!out->has_will && (out->will.qos != 0 || out->will.retain)) {
        return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-3.1.2-11, -13] */
    }
    if (out->version != MQTT_V5 && out->has_password && !out->has_user_name) {
        return MQTT_REASON_PROTOCOL_ERROR; /* 3.1.1 [MQTT-3.1.2-22]; allowed in 5.0 */
    }
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason read_connect_props(struct slice *in, struct mqtt_connect *out)
{
    if (out->version != MQTT_V5) {
        return MQTT_REASON_SUCCESS;
    }
    enum mqtt_reason reason = mqtt_props_read(in, IN_CONNECT, &out->props);
    if (reason != MQTT_REASON_SUCCESS) {
        return reason;
    }
    if (mqtt_props_has(&out->props, MQTT_PROP_AUTH_DATA) &&
        !mqtt_props_has(&out->props, MQTT_PROP_AUTH_METHOD)) {
        return MQTT_REASON_PROTOCOL_ERROR; /* section 3.1.2.11.10 */
    }
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason read_will(struct slice *in, struct mqtt_connect *out)
{
    if (!out->has_will) {
        return MQTT_REASON_SUCCESS;
    }
    if (out->version == MQTT_V5) {
        enum mqtt_reason reason = mqtt_props_read(in, IN_WILL, &out->will.props);
        if (reason != MQTT_REASON_SUCCESS) {
            return reason;
        }
    }
    bool complete = read_utf8(in, &out->will.topic) && read_string(in, &out->will.payload);
    return complete ? MQTT_REASON_SUCCESS : MQTT_REASON_MALFORMED_PACKET;
}

/*
 * User name and password. 3.1 (section 3.1, "User name and password flags") lets either be missing
 * although its flag is set: the Remaining Length goes first.
 */
static enum mqtt_reason read_credentials(struct slice *in, struct mqtt_connect *out)
{
    if (out->has_user_name && out->version == MQTT_V31 && in->len == 0) {
        out->has_user_name = false;
    }
    if (out->has_user_name && !read_utf8(in, &out->user_name)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    if (out->has_password && out->version == MQTT_V31 && in->len == 0) {
        out->has_password = false;
    }
    if (out->has_password && !read_string(in, &out->password)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason judge(const struct mqtt_connect *connect)
{
    if (connect->client_id.len == 0 && (connect->version == MQTT_V31 ||
                                        (connect->version == MQTT_V311 && !connect->clean_start))) {
        return MQTT_REASON_CLIENT_ID_NOT_VALID; /* 3.1.1 [MQTT-3.1.3-8] */
    }
    if (!connect->has_will) {
        return MQTT_REASON_SUCCESS;
    }
    const struct mqtt_will *will = &connect->will;
    if (!topic_name_valid(will->topic)) {
        return MQTT_REASON_TOPIC_NAME_INVALID;
    }
    if (mqtt_props_has(&will->props, MQTT_PROP_PAYLOAD_FORMAT) && will->props.payload_format == 1 &&
        !utf8_well_formed(will->payload)) {
        return MQTT_REASON_PAYLOAD_FORMAT_INVALID;
    }
    return MQTT_REASON_SUCCESS;
}

/* The parts of CONNECT in the order in which they stand in it. */
typedef enum mqtt_reason (*read_part_fn)(struct slice *in, struct mqtt_connect *out);

static enum mqtt_reason read_keep_alive(struct slice *in, struct mqtt_connect *out)
{
    return read_u16(in, &out->keep_alive) ? MQTT_REASON_SUCCESS : MQTT_REASON_MALFORMED_PACKET;
}

static enum mqtt_reason read_client_id(struct slice *in, struct mqtt_connect *out)
{
    return read_utf8(in, &out->client_id) ? MQTT_REASON_SUCCESS : MQTT_REASON_MALFORMED_PACKET;
}

static const read_part_fn parts[] = {
    read_protocol,  read_flags, read_keep_alive,  read_connect_props,
    read_client_id, read_will,  read_credentials,
};

enum mqtt_reason mqtt_decode_connect(struct slice body, struct mqtt_connect *out)
{
    *out = (struct mqtt_connect){.clean_start = false};
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        enum mqtt_reason reason = parts[i](&body, out);
        if (reason != MQTT_REASON_SUCCESS) {
            return reason;
        }
    }
    return body.len == 0 ? judge(out) : MQTT_REASON_MALFORMED_PACKET;
}
