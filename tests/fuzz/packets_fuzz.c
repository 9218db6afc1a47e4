/*
 * Input: a byte that chooses the version, then what a client sends after CONNECT, packet after
 * packet.
 *
 * Every packet is decoded from a block of its own. One that is accepted and for which an encoder
 * exists is encoded, decoded again, and must mean the same.
 */
#include "codec/mqtt.h"
#include "tests/fuzz/fuzz.h"

/* Takes the frame off `packet`, which must hold exactly one packet of `type`. */
static struct slice body_of(struct slice packet, uint8_t type, struct mqtt_frame *frame)
{
    ASSERT(mqtt_frame_read(packet, frame) == MQTT_FRAME_OK);
    ASSERT(frame->type == type && mqtt_flags_valid(frame->type, frame->flags));
    ASSERT(frame->header_len + frame->body_len == packet.len);
    return slice_from(packet, frame->header_len);
}

/* ---- PUBLISH -----------------------------------------------------------------------------------
 */

static void check_same_publish(const struct mqtt_publish *a, const struct mqtt_publish *b)
{
    ASSERT(a->qos == b->qos && a->dup == b->dup && a->retain == b->retain);
    ASSERT(a->packet_id == b->packet_id);
    ASSERT(slice_equal(a->topic, b->topic) && slice_equal(a->payload, b->payload));
    ASSERT(a->props.present == b->props.present);
    if (mqtt_props_has(&a->props, MQTT_PROP_TOPIC_ALIAS)) {
        ASSERT(a->props.topic_alias == b->props.topic_alias);
    }
    if (mqtt_props_has(&a->props, MQTT_PROP_MESSAGE_EXPIRY)) {
        ASSERT(a->props.message_expiry == b->props.message_expiry);
    }
    ASSERT(mqtt_payload_format_valid(a) == mqtt_payload_format_valid(b));
    ASSERT(mqtt_props_forwarded_len(&a->props) == mqtt_props_forwarded_len(&b->props));
}

static void encode_publish_again(const struct mqtt_publish *publish, enum mqtt_version version)
{
    const struct mqtt_props *props = &publish->props;
    size_t forwarded_len = mqtt_props_forwarded_len(props);
    uint8_t *forwarded = malloc(forwarded_len);
    mqtt_props_forward(props, forwarded);
    bool has_alias = mqtt_props_has(props, MQTT_PROP_TOPIC_ALIAS);
    bool has_expiry = mqtt_props_has(props, MQTT_PROP_MESSAGE_EXPIRY);
    struct mqtt_publish_out out = {.version = version,
                                   .qos = publish->qos,
                                   .dup = publish->dup,
                                   .retain = publish->retain,
                                   .packet_id = publish->packet_id,
                                   .topic_alias = has_alias ? props->topic_alias : 0,
                                   .has_expiry = has_expiry,
                                   .expiry = has_expiry ? props->message_expiry : 0,
                                   .topic = publish->topic,
                                   .props = slice_of(forwarded, forwarded_len),
                                   .payload_len = publish->payload.len};
    size_t packet_len = 0;
    size_t head_len = mqtt_publish_head_len(&out, &packet_len);
    ASSERT(packet_len == head_len + publish->payload.len);
    uint8_t *packet = malloc(packet_len);
    ASSERT(packet != NULL);
    struct writer w = {.at = packet, .end = packet + head_len};
    size_t id_offset = mqtt_encode_publish_head(&w, &out);
    ASSERT(w.at == w.end);
    ASSERT(publish->qos == 0
               ? id_offset == 0
               : (packet[id_offset] << 8 | packet[id_offset + 1]) == publish->packet_id);
    w.end = packet + packet_len;
    write_bytes(&w, publish->payload);

    struct mqtt_frame frame;
    struct mqtt_publish again;
    struct slice body = body_of(slice_of(packet, packet_len), MQTT_PUBLISH, &frame);
    ASSERT(mqtt_decode_publish(body, frame.flags, version, &again) == MQTT_REASON_SUCCESS);
    check_same_publish(publish, &again);
    free(packet);
    free(forwarded);
}

static void fuzz_publish(struct slice body, uint8_t flags, enum mqtt_version version)
{
    struct mqtt_publish publish;
    if (mqtt_decode_publish(body, flags, version, &publish) == MQTT_REASON_SUCCESS) {
        ASSERT(fuzz_within(publish.topic, body) && fuzz_within(publish.payload, body));
        encode_publish_again(&publish, version);
    }
}

/* ---- acknowledgements --------------------------------------------------------------------------
 */

static void fuzz_ack(struct slice body, enum mqtt_packet type, enum mqtt_version version)
{
    struct mqtt_ack ack;
    if (mqtt_decode_ack(body, type, version, &ack) != MQTT_REASON_SUCCESS) {
        return;
    }
    struct slice why = mqtt_props_has(&ack.props, MQTT_PROP_REASON_STRING) ? ack.props.reason_string
                                                                           : slice_of(NULL, 0);
    size_t len = mqtt_ack_len(ack.reason, why, version);
    uint8_t *packet = malloc(len);
    ASSERT(packet != NULL);
    struct writer w = {.at = packet, .end = packet + len};
    mqtt_encode_ack(&w, type, ack.packet_id, ack.reason, why, version);
    ASSERT(w.at == w.end);

    struct mqtt_frame frame;
    struct mqtt_ack again;
    struct slice again_body = body_of(slice_of(packet, len), (uint8_t)type, &frame);
    ASSERT(mqtt_decode_ack(again_body, type, version, &again) == MQTT_REASON_SUCCESS);
    ASSERT(again.packet_id == ack.packet_id && again.reason == ack.reason);
    ASSERT(mqtt_props_has(&again.props, MQTT_PROP_REASON_STRING) == (why.len > 0));
    ASSERT(why.len == 0 || slice_equal(again.props.reason_string, why));
    free(packet);
}

/* ---- SUBSCRIBE, UNSUBSCRIBE --------------------------------------------------------------------
 */

static void fuzz_subscribe(struct slice body, enum mqtt_version version)
{
    struct mqtt_subscribe subscribe;
    if (mqtt_decode_subscribe(body, version, &subscribe) != MQTT_REASON_SUCCESS) {
        return;
    }
    size_t count = 0;
    struct mqtt_subscription sub;
    struct slice rest = subscribe.filters;
    while (mqtt_subscribe_next(&rest, &sub)) {
        ASSERT(fuzz_within(sub.filter, body) && sub.qos <= 2 && sub.retain_handling <= 2);
        ASSERT(version == MQTT_V5 || (!sub.no_local && !sub.retain_as_published));
        count++;
    }
    ASSERT(rest.len == 0 && count == subscribe.count && count > 0);
}

static void fuzz_unsubscribe(struct slice body, enum mqtt_version version)
{
    struct mqtt_unsubscribe unsubscribe;
    if (mqtt_decode_unsubscribe(body, version, &unsubscribe) != MQTT_REASON_SUCCESS) {
        return;
    }
    size_t count = 0;
    struct slice filter;
    struct slice rest = unsubscribe.filters;
    while (mqtt_unsubscribe_next(&rest, &filter)) {
        ASSERT(fuzz_within(filter, body));
        count++;
    }
    ASSERT(rest.len == 0 && count == unsubscribe.count && count > 0);
}

/* ---- DISCONNECT, AUTH --------------------------------------------------------------------------
 */

static void fuzz_disconnect(struct slice body, enum mqtt_version version)
{
    struct mqtt_disconnect packet;
    if (mqtt_decode_disconnect(body, version, &packet) != MQTT_REASON_SUCCESS) {
        return;
    }
    size_t len = mqtt_disconnect_len((enum mqtt_reason)packet.reason, &packet.props);
    uint8_t *bytes = malloc(len);
    ASSERT(bytes != NULL);
    struct writer w = {.at = bytes, .end = bytes + len};
    mqtt_encode_disconnect(&w, (enum mqtt_reason)packet.reason, &packet.props);
    ASSERT(w.at == w.end);

    struct mqtt_frame frame;
    struct mqtt_disconnect again;
    struct slice again_body = body_of(slice_of(bytes, len), MQTT_DISCONNECT, &frame);
    ASSERT(mqtt_decode_disconnect(again_body, MQTT_V5, &again) == MQTT_REASON_SUCCESS);
    ASSERT(again.reason == packet.reason);
    ASSERT(mqtt_props_has(&again.props, MQTT_PROP_REASON_STRING) ==
           mqtt_props_has(&packet.props, MQTT_PROP_REASON_STRING));
    free(bytes);
}

static void fuzz_auth(struct slice body)
{
    struct mqtt_disconnect packet;
    if (mqtt_decode_auth(body, &packet) == MQTT_REASON_SUCCESS) {
        ASSERT(fuzz_within(packet.props.auth_method, body));
    }
}

/* ---- the stream --------------------------------------------------------------------------------
 */

static void fuzz_packet(const struct mqtt_frame *frame, struct slice body,
                        enum mqtt_version version)
{
    struct mqtt_connect connect;
    switch ((enum mqtt_packet)frame->type) {
    case MQTT_CONNECT:
        if (mqtt_decode_connect(body, &connect) == MQTT_REASON_SUCCESS) {
            ASSERT(connect.version != 0);
        }
        break;
    case MQTT_PUBLISH:
        fuzz_publish(body, frame->flags, version);
        break;
    case MQTT_PUBACK:
    case MQTT_PUBREC:
    case MQTT_PUBREL:
    case MQTT_PUBCOMP:
        fuzz_ack(body, (enum mqtt_packet)frame->type, version);
        break;
    case MQTT_SUBSCRIBE:
        fuzz_subscribe(body, version);
        break;
    case MQTT_UNSUBSCRIBE:
        fuzz_unsubscribe(body, version);
        break;
    case MQTT_DISCONNECT:
        fuzz_disconnect(body, version);
        break;
    case MQTT_AUTH:
        fuzz_auth(body);
        break;
    case MQTT_CONNACK:
    case MQTT_SUBACK:
    case MQTT_UNSUBACK:
    case MQTT_PINGREQ:
    case MQTT_PINGRESP:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const enum mqtt_version versions[] = {MQTT_V5, MQTT_V311, MQTT_V31, MQTT_V5};
    if (len == 0) {
        return 0;
    }
    enum mqtt_version version = versions[data[0] & 3];
    struct slice rest = slice_of(data + 1, len - 1);
    struct mqtt_frame frame;
    while (mqtt_frame_read(rest, &frame) == MQTT_FRAME_OK &&
           frame.header_len + (size_t)frame.body_len <= rest.len) {
        struct slice body = slice_of(rest.data + frame.header_len, frame.body_len);
        uint8_t *copy = fuzz_copy(body);
        fuzz_packet(&frame, slice_of(copy, body.len), version);
        free(copy);
        rest = slice_from(rest, frame.header_len + (size_t)frame.body_len);
    }
    return 0;
}
