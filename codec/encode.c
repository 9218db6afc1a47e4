#include "codec/mqtt.h"

#include "codec/properties_priv.h"

enum { FIRST_BYTE_PUBREL_FLAGS = 2, V3_SUBACK_FAILURE = 0x80 };

static uint8_t first_byte(enum mqtt_packet type)
{
    return (uint8_t)(type << 4 | (type == MQTT_PUBREL ? FIRST_BYTE_PUBREL_FLAGS : 0));
}

/* A whole packet, from the length of what stands behind the fixed header. */
static size_t packet_len(size_t body_len)
{
    ASSERT(body_len <= MQTT_VARINT_MAX);
    return 1 + varint_len((uint32_t)body_len) + body_len;
}

static void write_header(struct writer *w, enum mqtt_packet type, size_t body_len)
{
    write_u8(w, first_byte(type));
    write_varint(w, (uint32_t)body_len);
}

/* Properties with their length in front. */
static size_t with_length(size_t props_len)
{
    ASSERT(props_len <= MQTT_VARINT_MAX);
    return varint_len((uint32_t)props_len) + props_len;
}

static size_t string_props_len(struct slice reason_string)
{
    return reason_string.len > 0 ? 3 + reason_string.len : 0;
}

static void write_string_props(struct writer *w, struct slice reason_string)
{
    write_varint(w, (uint32_t)string_props_len(reason_string));
    if (reason_string.len > 0) {
        mqtt_prop_write_bytes(w, MQTT_PROP_REASON_STRING, reason_string);
    }
}

/* ---- CONNACK -----------------------------------------------------------------------------------
 */

static size_t connack_body_len(const struct mqtt_connack *connack, enum mqtt_version version)
{
    size_t len = 2;
    if (version == MQTT_V5) {
        len += with_length(props__len(&connack->props, props__of_connack));
    }
    return len;
}

size_t mqtt_connack_len(const struct mqtt_connack *connack, enum mqtt_version version)
{
    return packet_len(connack_body_len(connack, version));
}

void mqtt_encode_connack(struct writer *w, const struct mqtt_connack *connack,
                         enum mqtt_version version)
{
    bool accepted = connack->reason == MQTT_REASON_SUCCESS;
    write_header(w, MQTT_CONNACK, connack_body_len(connack, version));
    /* No session with a refusal [MQTT-3.2.2-6]; before 3.1.1 the bit is reserved. */
    write_u8(w, connack->session_present && accepted && version != MQTT_V31);
    if (version != MQTT_V5) {
        write_u8(w, mqtt_reason_to_v3_connack(connack->reason));
        return;
    }
    write_u8(w, (uint8_t)connack->reason);
    write_varint(w, (uint32_t)props__len(&connack->props, props__of_connack));
    props__write(w, &connack->props, props__of_connack);
}

/* ---- PUBACK, PUBREC, PUBREL, PUBCOMP -----------------------------------------------------------
 */

static size_t ack_body_len(uint8_t reason, struct slice reason_string, enum mqtt_version version)
{
    if (version != MQTT_V5 || (reason == MQTT_REASON_SUCCESS && reason_string.len == 0)) {
        return 2;
    }
    return reason_string.len == 0 ? 3 : 3 + with_length(string_props_len(reason_string));
}

size_t mqtt_ack_len(uint8_t reason, struct slice reason_string, enum mqtt_version version)
{
    return packet_len(ack_body_len(reason, reason_string, version));
}

void mqtt_encode_ack(struct writer *w, enum mqtt_packet type, uint16_t packet_id, uint8_t reason,
                     struct slice reason_string, enum mqtt_version version)
{
    size_t body_len = ack_body_len(reason, reason_string, version);
    if (likely(body_len == 2)) {
        ASSERT(w->end - w->at >= 4);
        w->at[0] = first_byte(type);
        w->at[1] = 2;
        w->at[2] = (uint8_t)(packet_id >> 8);
        w->at[3] = (uint8_t)packet_id;
        w->at += 4;
        return;
    }
    write_header(w, type, body_len);
    write_u16(w, packet_id);
    write_u8(w, reason);
    if (reason_string.len > 0) {
        write_string_props(w, reason_string);
    }
}

/* ---- SUBACK, UNSUBACK --------------------------------------------------------------------------
 */

static size_t suback_body_len(enum mqtt_packet type, size_t count, struct slice reason_string,
                              enum mqtt_version version)
{
    if (version == MQTT_V5) {
        return 2 + with_length(string_props_len(reason_string)) + count;
    }
    return type == MQTT_SUBACK ? 2 + count : 2;
}

size_t mqtt_suback_len(enum mqtt_packet type, size_t count, struct slice reason_string,
                       enum mqtt_version version)
{
    return packet_len(suback_body_len(type, count, reason_string, version));
}

void mqtt_encode_suback(struct writer *w, enum mqtt_packet type, uint16_t packet_id,
                        const uint8_t *reasons, size_t count, struct slice reason_string,
                        enum mqtt_version version)
{
    write_header(w, type, suback_body_len(type, count, reason_string, version));
    write_u16(w, packet_id);
    if (version == MQTT_V5) {
        write_string_props(w, reason_string);
        write_bytes(w, slice_of(reasons, count));
        return;
    }
    if (type == MQTT_SUBACK) {
        for (size_t i = 0; i < count; i++) {
            write_u8(w, mqtt_reason_is_error(reasons[i]) ? V3_SUBACK_FAILURE : reasons[i]);
        }
    }
}

/* ---- DISCONNECT, PINGRESP ----------------------------------------------------------------------
 */

static const uint64_t disconnect_set = PROP_BIT(REASON_STRING) | PROP_BIT(SERVER_REFERENCE);
static const uint64_t auth_set = PROP_BIT(AUTH_METHOD) | PROP_BIT(AUTH_DATA);

/* DISCONNECT and AUTH: a reason and properties, from the end of which all may be left out. */
static size_t reasoned_body_len(enum mqtt_reason reason, const struct mqtt_props *props,
                                uint64_t set)
{
    size_t props_len = props != NULL ? props__len(props, set) : 0;
    if (props_len > 0) {
        return 1 + with_length(props_len);
    }
    return reason == MQTT_REASON_SUCCESS ? 0 : 1;
}

static void encode_reasoned(struct writer *w, enum mqtt_packet type, enum mqtt_reason reason,
                            const struct mqtt_props *props, uint64_t set)
{
    size_t body_len = reasoned_body_len(reason, props, set);
    size_t props_len = props != NULL ? props__len(props, set) : 0;
    write_header(w, type, body_len);
    if (body_len > 0) {
        write_u8(w, (uint8_t)reason);
    }
    if (props_len > 0) {
        write_varint(w, (uint32_t)props_len);
        props__write(w, props, set);
    }
}

size_t mqtt_disconnect_len(enum mqtt_reason reason, const struct mqtt_props *props)
{
    return packet_len(reasoned_body_len(reason, props, disconnect_set));
}

void mqtt_encode_disconnect(struct writer *w, enum mqtt_reason reason,
                            const struct mqtt_props *props)
{
    encode_reasoned(w, MQTT_DISCONNECT, reason, props, disconnect_set);
}

size_t mqtt_auth_len(enum mqtt_reason reason, const struct mqtt_props *props)
{
    return packet_len(reasoned_body_len(reason, props, auth_set));
}

void mqtt_encode_auth(struct writer *w, enum mqtt_reason reason, const struct mqtt_props *props)
{
    encode_reasoned(w, MQTT_AUTH, reason, props, auth_set);
}

void mqtt_encode_pingresp(struct writer *w)
{
    write_header(w, MQTT_PINGRESP, 0);
}
