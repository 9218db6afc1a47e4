#include "tests/bench/wire.h"

enum {
    PROP_SESSION_EXPIRY = 0x11,
    PROP_RECEIVE_MAXIMUM = 0x21,
    KEPT_SESSION_EXPIRY_S = 24 * 3600, /* 5.0; in 3.1.1 a kept session has no end */
};

static uint8_t *put_string(uint8_t *to, const char *text)
{
    size_t len = strlen(text);
    wire_put_u16(to, (uint16_t)len);
    memcpy(to + 2, text, len);
    return to + 2 + len;
}

static uint8_t *put_varint(uint8_t *to, size_t value)
{
    do {
        uint8_t digit = value & 0x7f;
        value >>= 7;
        *to++ = (uint8_t)(digit | (value > 0 ? 0x80 : 0));
    } while (value > 0);
    return to;
}

static uint8_t *put_u32(uint8_t *to, uint32_t value)
{
    wire_put_u16(to, (uint16_t)(value >> 16));
    wire_put_u16(to + 2, (uint16_t)value);
    return to + 4;
}

/* Moves `body`, written a little further on, up to its fixed header. Returns the packet's length.
 */
static size_t close_packet(uint8_t *to, uint8_t first, const uint8_t *body, size_t body_len)
{
    to[0] = first;
    uint8_t *at = put_varint(to + 1, body_len);
    memmove(at, body, body_len);
    return (size_t)(at - to) + body_len;
}

size_t wire_put_connect(uint8_t *to, const struct wire_login *login)
{
    uint8_t body[WIRE_SETUP_BYTES_MAX];
    uint8_t *at = put_string(body, "MQTT");
    *at++ = login->version;
    *at++ = (uint8_t)((login->username != NULL ? 0x80 : 0) | (login->password != NULL ? 0x40 : 0) |
                      (login->keep_session ? 0 : 0x02 /* clean start */));
    wire_put_u16(at, login->keep_alive_s);
    at += 2;
    if (login->version == WIRE_VERSION_5 && login->keep_session) {
        *at++ = 5; /* bytes of properties */
        *at++ = PROP_SESSION_EXPIRY;
        at = put_u32(at, KEPT_SESSION_EXPIRY_S);
    } else if (login->version == WIRE_VERSION_5) {
        *at++ = 0;
    }
    at = put_string(at, login->client_id);
    if (login->username != NULL) {
        at = put_string(at, login->username);
    }
    if (login->password != NULL) {
        at = put_string(at, login->password);
    }
    return close_packet(to, WIRE_CONNECT << 4, body, (size_t)(at - body));
}

size_t wire_put_subscribe(uint8_t *to, uint8_t version, const char *filter, uint8_t qos)
{
    uint8_t body[WIRE_SETUP_BYTES_MAX];
    wire_put_u16(body, 1); /* one at a time per connection: any packet id is free */
    uint8_t *at = body + 2;
    if (version == WIRE_VERSION_5) {
        *at++ = 0;
    }
    at = put_string(at, filter);
    *at++ = qos;
    return close_packet(to, (WIRE_SUBSCRIBE << 4) | 2, body, (size_t)(at - body));
}

size_t wire_put_disconnect(uint8_t *to)
{
    to[0] = WIRE_DISCONNECT << 4;
    to[1] = 0;
    return 2;
}

size_t wire_put_publish_head(uint8_t *to, const struct wire_outline *outline, size_t *id_offset)
{
    bool has_id = outline->qos > 0;
    bool has_properties = outline->version == WIRE_VERSION_5;
    size_t body_len = 2 + strlen(outline->topic) + (has_id ? 2u : 0u) + (has_properties ? 1u : 0u) +
                      outline->payload_len;

    to[0] = (uint8_t)((WIRE_PUBLISH << 4) | (outline->qos << 1) | (outline->retain ? 1 : 0));
    uint8_t *at = put_varint(to + 1, body_len);
    at = put_string(at, outline->topic);
    *id_offset = (size_t)(at - to);
    if (has_id) {
        wire_put_u16(at, 0);
        at += 2;
    }
    if (has_properties) {
        *at++ = 0;
    }
    return (size_t)(at - to);
}

bool wire_read_publish(const struct wire_packet *packet, uint8_t version, struct wire_publish *out)
{
    const uint8_t *at = packet->body;
    const uint8_t *end = at + packet->body_len;
    if (end - at < 2) {
        return false;
    }
    out->qos = (packet->flags >> 1) & 3;
    out->retain = (packet->flags & 1) != 0;
    out->topic_len = wire_get_u16(at);
    out->topic = at + 2;
    at += 2;
    size_t id_len = out->qos > 0 ? 2 : 0;
    if (out->qos == 3 || (size_t)(end - at) < out->topic_len + id_len) {
        return false;
    }
    at += out->topic_len;
    out->id = id_len > 0 ? wire_get_u16(at) : 0;
    at += id_len;

    if (version == WIRE_VERSION_5) {
        size_t properties_len = 0;
        int digits = wire_get_varint(at, (size_t)(end - at), &properties_len);
        if (digits <= 0 || (size_t)(end - at) < (size_t)digits + properties_len) {
            return false;
        }
        at += (size_t)digits + properties_len;
    }
    out->payload = at;
    out->payload_len = (size_t)(end - at);
    return true;
}

static size_t string_len(const uint8_t *at, size_t len)
{
    return len < 2 ? SIZE_MAX : 2u + wire_get_u16(at);
}

/* The length of a CONNACK property's value, or SIZE_MAX for one that does not belong there. */
static size_t connack_value_len(uint8_t id, const uint8_t *at, size_t len)
{
    switch (id) {
    case 0x24: /* maximum QoS */
    case 0x25: /* retain available */
    case 0x28: /* wildcard subscription available */
    case 0x29: /* subscription identifier available */
    case 0x2A: /* shared subscription available */
        return 1;
    case 0x13: /* server keep alive */
    case PROP_RECEIVE_MAXIMUM:
    case 0x22: /* topic alias maximum */
        return 2;
    case PROP_SESSION_EXPIRY:
    case 0x27: /* maximum packet size */
        return 4;
    case 0x12: /* assigned client id */
    case 0x15: /* authentication method */
    case 0x16: /* authentication data */
    case 0x1A: /* response information */
    case 0x1C: /* server reference */
    case 0x1F: /* reason string */
        return string_len(at, len);
    case 0x26: { /* user property */
        size_t name_len = string_len(at, len);
        if (name_len > len) {
            return SIZE_MAX;
        }
        size_t value_len = string_len(at + name_len, len - name_len);
        return value_len == SIZE_MAX ? SIZE_MAX : name_len + value_len;
    }
    default: /* a byte from outside, not an enum */
        return SIZE_MAX;
    }
}

bool wire_read_connack(const struct wire_packet *packet, uint8_t version, struct wire_connack *out)
{
    const uint8_t *at = packet->body;
    size_t len = packet->body_len;
    if (len < 2) {
        return false;
    }
    out->session_present = (at[0] & 1) != 0;
    out->reason = at[1];
    out->receive_maximum = UINT16_MAX;
    if (version != WIRE_VERSION_5 || out->reason != 0) {
        return true;
    }
    size_t properties_len = 0;
    int digits = wire_get_varint(at + 2, len - 2, &properties_len);
    if (digits <= 0 || properties_len != len - 2 - (size_t)digits) {
        return false;
    }
    at += 2 + digits;
    for (size_t left = properties_len; left > 0;) {
        size_t value_len = connack_value_len(at[0], at + 1, left - 1);
        if (value_len > left - 1) {
            return false;
        }
        if (at[0] == PROP_RECEIVE_MAXIMUM) {
            out->receive_maximum = wire_get_u16(at + 1);
        }
        at += 1 + value_len;
        left -= 1 + value_len;
    }
    return true;
}

bool wire_read_ack(const struct wire_packet *packet, uint16_t *id, uint8_t *reason)
{
    if (packet->body_len < 2) {
        return false;
    }
    *id = wire_get_u16(packet->body);
    *reason = packet->body_len > 2 ? packet->body[2] : 0;
    return true;
}

bool wire_read_suback(const struct wire_packet *packet, uint8_t version, uint8_t *reason)
{
    size_t at = 2;
    if (packet->body_len < 3) {
        return false;
    }
    if (version == WIRE_VERSION_5) {
        size_t properties_len = 0;
        int digits = wire_get_varint(packet->body + at, packet->body_len - at, &properties_len);
        if (digits <= 0) {
            return false;
        }
        at += (size_t)digits + properties_len;
    }
    if (at + 1 != packet->body_len) {
        return false;
    }
    *reason = packet->body[at];
    return true;
}
