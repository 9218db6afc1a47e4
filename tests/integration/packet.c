#include "tests/integration/packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *packet_arena(size_t size)
{
    char *arena = malloc(size);
    if (arena == NULL) {
        fprintf(stderr, "out of memory\n");
        abort();
    }
    return arena;
}

/* What is left of a packet while it is decoded; a problem makes every later read give zero. */
struct reader {
    struct packet *packet;
    const uint8_t *at;
    size_t left;
    const char *problem;
};

static void reader_fail(struct reader *in, const char *problem)
{
    if (in->problem == NULL) {
        in->problem = problem;
    }
    in->left = 0;
}

static const uint8_t *get_bytes(struct reader *in, size_t len)
{
    if (len > in->left) {
        reader_fail(in, "a field runs past the end of the packet");
        return NULL;
    }
    const uint8_t *bytes = in->at;
    in->at += len;
    in->left -= len;
    return bytes;
}

static uint32_t get_number(struct reader *in, size_t len)
{
    const uint8_t *bytes = get_bytes(in, len);
    uint32_t number = 0;
    for (size_t i = 0; bytes != NULL && i < len; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

static uint32_t get_varint(struct reader *in)
{
    uint32_t number = 0;
    for (unsigned shift = 0; shift <= 21; shift += 7) {
        uint32_t byte = get_number(in, 1);
        number |= (byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift > 0) {
                reader_fail(in, "a variable byte integer is longer than needed");
            }
            return number;
        }
    }
    reader_fail(in, "a variable byte integer has more than four bytes");
    return 0;
}

/* Copies `len` bytes into the arena and ends them with a zero byte. */
static const char *keep_text(struct reader *in, size_t len)
{
    const uint8_t *bytes = get_bytes(in, len);
    if (bytes == NULL) {
        return "";
    }
    char *text = in->packet->arena + in->packet->arena_used;
    memcpy(text, bytes, len);
    text[len] = '\0';
    in->packet->arena_used += len + 1;
    return text;
}

static const char *get_data(struct reader *in, size_t *len)
{
    *len = get_number(in, 2);
    return keep_text(in, *len);
}

static void get_prop(struct reader *in)
{
    struct prop prop = {.id = (uint8_t)get_number(in, 1)};
    switch (prop_kind_of(prop.id)) {
    case PROP_KIND_NUMBER1:
        prop.number = get_number(in, 1);
        break;
    case PROP_KIND_NUMBER2:
        prop.number = get_number(in, 2);
        break;
    case PROP_KIND_NUMBER4:
        prop.number = get_number(in, 4);
        break;
    case PROP_KIND_VARINT:
        prop.number = get_varint(in);
        break;
    case PROP_KIND_TEXT:
    case PROP_KIND_DATA:
        prop.text = get_data(in, &prop.text_len);
        break;
    case PROP_KIND_PAIR:
        prop.text = get_data(in, &prop.text_len);
        prop.value = get_data(in, &prop.value_len);
        break;
    case PROP_KIND_NONE:
        reader_fail(in, "an unknown property");
        return;
    }
    if (in->packet->prop_count == PACKET_PROPS_MAX) {
        reader_fail(in, "more properties than the test client holds");
        return;
    }
    in->packet->props[in->packet->prop_count++] = prop;
}

static void get_props(struct reader *in)
{
    uint32_t len = get_varint(in);
    if (len > in->left) {
        reader_fail(in, "the properties run past the end of the packet");
        return;
    }
    size_t left_after = in->left - len;
    while (in->problem == NULL && in->left > left_after) {
        get_prop(in);
    }
    if (in->problem == NULL && in->left != left_after) {
        reader_fail(in, "a property runs past the property length");
    }
}

static void get_connack(struct reader *in)
{
    uint32_t flags = get_number(in, 1);
    if (flags > 1) {
        reader_fail(in, "reserved bits in the connect acknowledge flags [MQTT-3.2.2-1]");
    }
    in->packet->session_present = flags == 1;
    in->packet->reason = (uint8_t)get_number(in, 1);
    if (in->left > 0) { /* a 5.0 CONNACK; the length tells, also when we spoke a version unknown */
        get_props(in);
    }
}

static void get_publish(struct reader *in, uint8_t version)
{
    struct packet *packet = in->packet;
    packet->dup = (packet->flags & 0x08) != 0;
    packet->qos = packet->flags >> 1 & 0x03;
    packet->retain = (packet->flags & 0x01) != 0;
    size_t topic_len = 0;
    packet->topic = get_data(in, &topic_len);
    if (packet->qos == 3) {
        reader_fail(in, "QoS 3 [MQTT-3.3.1-4]");
    }
    if (packet->qos == 0 && packet->dup) {
        reader_fail(in, "DUP at QoS 0 [MQTT-3.3.1-2]");
    }
    if (packet->qos > 0) {
        packet->id = (uint16_t)get_number(in, 2);
        if (packet->id == 0) {
            reader_fail(in, "packet id 0 [MQTT-2.2.1-4]");
        }
    }
    if (version >= MQTT_50) {
        get_props(in);
    }
    packet->payload_len = in->left;
    packet->payload = keep_text(in, in->left);
}

static void get_ack(struct reader *in, uint8_t version)
{
    in->packet->id = (uint16_t)get_number(in, 2);
    if (version >= MQTT_50 && in->left > 0) {
        in->packet->reason = (uint8_t)get_number(in, 1);
        if (in->left > 0) {
            get_props(in);
        }
    }
}

static void get_suback(struct reader *in, uint8_t version)
{
    struct packet *packet = in->packet;
    packet->id = (uint16_t)get_number(in, 2);
    if (version >= MQTT_50) {
        get_props(in);
    }
    packet->reason_count = in->left;
    packet->reasons = (const uint8_t *)keep_text(in, in->left);
    packet->reason = packet->reason_count > 0 ? packet->reasons[0] : 0;
}

static void get_reason_packet(struct reader *in)
{
    if (in->left > 0) {
        in->packet->reason = (uint8_t)get_number(in, 1);
        if (in->left > 0) {
            get_props(in);
        }
    }
}

static void get_body(struct reader *in, uint8_t version)
{
    switch (in->packet->type) {
    case PKT_CONNACK:
        get_connack(in);
        break;
    case PKT_PUBLISH:
        get_publish(in, version);
        break;
    case PKT_PUBACK:
    case PKT_PUBREC:
    case PKT_PUBREL:
    case PKT_PUBCOMP:
        get_ack(in, version);
        break;
    case PKT_SUBACK:
    case PKT_UNSUBACK:
        get_suback(in, version);
        break;
    case PKT_PINGRESP:
        break;
    case PKT_DISCONNECT:
    case PKT_AUTH:
        if (version < MQTT_50) {
            reader_fail(in, "a packet that 3.x servers do not send");
        }
        get_reason_packet(in);
        break;
    case PKT_CONNECT:
    case PKT_SUBSCRIBE:
    case PKT_UNSUBSCRIBE:
    case PKT_PINGREQ:
        reader_fail(in, "a packet that only clients send");
        break;
    }
    if (in->problem == NULL && in->left > 0) {
        reader_fail(in, "bytes left over at the end of the packet");
    }
}

/* Gives the length of the fixed header, 0 when it is incomplete, -1 when it is wrong. */
static int read_fixed_header(const uint8_t *bytes, size_t len, size_t *body_len)
{
    *body_len = 0;
    for (unsigned i = 1; i < len && i <= 4; i++) {
        *body_len |= (size_t)(bytes[i] & 0x7f) << (7 * (i - 1));
        if (bytes[i] < 0x80) {
            return (int)i + 1;
        }
    }
    return len > 4 ? -1 : 0;
}

static bool flags_are_right(enum packet_type type, uint8_t flags)
{
    return type == PKT_PUBLISH || flags == (type == PKT_PUBREL ? 0x02 : 0x00);
}

void packet_fini(struct packet *packet)
{
    free(packet->arena);
    *packet = (struct packet){.arena = NULL};
}

long packet_decode(struct packet *packet, uint8_t version, const uint8_t *bytes, size_t len,
                   const char **problem)
{
    size_t body_len = 0;
    int header_len = read_fixed_header(bytes, len, &body_len);
    if (header_len < 0) {
        *problem = "a remaining length of more than four bytes";
        return -1;
    }
    if (header_len == 0 || (size_t)header_len + body_len > len) {
        return 0;
    }

    packet_fini(packet);
    packet->type = bytes[0] >> 4;
    packet->flags = bytes[0] & 0x0f;
    packet->wire_len = (size_t)header_len + body_len;
    packet->topic = "";
    packet->payload = "";
    packet->arena = packet_arena(body_len * 2 + 16); /* every text gains one byte */
    struct reader in = {.packet = packet, .at = bytes + header_len, .left = body_len};
    if (packet->type == 0) {
        reader_fail(&in, "packet type 0");
    } else if (!flags_are_right(packet->type, packet->flags)) {
        reader_fail(&in, "wrong flags in the fixed header [MQTT-2.1.3-1]");
    } else {
        get_body(&in, version);
    }
    *problem = in.problem;
    return in.problem != NULL ? -1 : (long)packet->wire_len;
}

const struct prop *packet_prop(const struct packet *packet, enum property id)
{
    for (size_t i = 0; i < packet->prop_count; i++) {
        if (packet->props[i].id == id) {
            return &packet->props[i];
        }
    }
    return NULL;
}

size_t packet_prop_count(const struct packet *packet, enum property id)
{
    size_t count = 0;
    for (size_t i = 0; i < packet->prop_count; i++) {
        count += packet->props[i].id == id;
    }
    return count;
}

void packet_describe(const struct packet *packet, char *text, size_t size)
{
    int len = snprintf(text, size, "%s", packet_type_name(packet->type));
    size_t used = len < 0 ? 0 : (size_t)len;
    const struct prop *why = packet_prop(packet, PROP_REASON_STRING);
    if (packet->type == PKT_PUBLISH) {
        snprintf(text + used, size - used,
                 " topic \"%.100s\" payload \"%.60s\" (%zu bytes) QoS %u id %u%s%s", packet->topic,
                 packet->payload, packet->payload_len, packet->qos, packet->id,
                 packet->dup ? " DUP" : "", packet->retain ? " RETAIN" : "");
    } else {
        snprintf(text + used, size - used, " id %u reason 0x%02x (%s)%s%.200s", packet->id,
                 packet->reason, reason_name(packet->reason), why != NULL ? ": " : "",
                 why != NULL ? why->text : "");
    }
}
