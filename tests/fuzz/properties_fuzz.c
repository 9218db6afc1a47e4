/*
 * Input: a byte that chooses the packet, then a property length and properties.
 *
 * Properties that are accepted lie within the input; what is forwarded of them is accepted again,
 * has the same values, and is forwarded as the same bytes; what CONNACK can say comes back from its
 * encoder.
 */
#include "codec/mqtt.h"
#include "tests/fuzz/fuzz.h"

/* Reads `bytes` of properties as a packet would hold them: with their length in front. */
static enum mqtt_reason read_again(struct slice bytes, unsigned where, uint8_t *buffer,
                                   struct mqtt_props *props)
{
    struct writer w = {.at = buffer, .end = buffer + bytes.len + 4};
    write_varint(&w, (uint32_t)bytes.len);
    write_bytes(&w, bytes);
    struct slice in = slice_of(buffer, (size_t)(w.at - buffer));
    enum mqtt_reason reason = mqtt_props_read(&in, where, props);
    ASSERT(reason != MQTT_REASON_SUCCESS || in.len == 0);
    return reason;
}

static size_t count_user_props(struct slice raw, struct slice whole)
{
    size_t count = 0;
    struct mqtt_user_prop user;
    while (mqtt_user_props_next(&raw, &user)) {
        ASSERT(fuzz_within(user.name, whole) && fuzz_within(user.value, whole));
        count++;
    }
    return count;
}

static void check_forwarding(const struct mqtt_props *props, unsigned where)
{
    size_t len = mqtt_props_forwarded_len(props);
    ASSERT(len <= props->raw.len);
    uint8_t *forwarded = malloc(len);
    uint8_t *buffer = malloc(len + 4);
    uint8_t *twice = malloc(len);
    ASSERT(buffer != NULL);
    mqtt_props_forward(props, forwarded);

    struct mqtt_props again;
    enum mqtt_reason reason = read_again(slice_of(forwarded, len), where, buffer, &again);
    ASSERT(reason == MQTT_REASON_SUCCESS);
    ASSERT((again.present & ~props->present) == 0);
    ASSERT(!mqtt_props_has(&again, MQTT_PROP_TOPIC_ALIAS));
    ASSERT(!mqtt_props_has(&again, MQTT_PROP_MESSAGE_EXPIRY));
    ASSERT(mqtt_props_has(&again, MQTT_PROP_CORRELATION_DATA) ==
           mqtt_props_has(props, MQTT_PROP_CORRELATION_DATA));
    if (mqtt_props_has(props, MQTT_PROP_CORRELATION_DATA)) {
        ASSERT(slice_equal(again.correlation_data, props->correlation_data));
    }
    ASSERT(count_user_props(again.raw, again.raw) == count_user_props(props->raw, props->raw));

    ASSERT(mqtt_props_forwarded_len(&again) == len);
    mqtt_props_forward(&again, twice);
    ASSERT(slice_equal(slice_of(twice, len), slice_of(forwarded, len)));
    free(forwarded);
    free(buffer);
    free(twice);
}

/* What CONNACK's encoder writes, its reader reads, and what was read is written as the same bytes.
 */
static void check_connack(const struct mqtt_props *props)
{
    struct mqtt_connack connack = {.reason = MQTT_REASON_SUCCESS, .props = *props};
    size_t len = mqtt_connack_len(&connack, MQTT_V5);
    uint8_t *first = malloc(len);
    uint8_t *second = malloc(len);
    ASSERT(first != NULL && second != NULL);
    struct writer w = {.at = first, .end = first + len};
    mqtt_encode_connack(&w, &connack, MQTT_V5);
    ASSERT(w.at == w.end);

    struct mqtt_frame frame;
    ASSERT(mqtt_frame_read(slice_of(first, len), &frame) == MQTT_FRAME_OK);
    ASSERT(frame.header_len + frame.body_len == len);
    struct slice in = slice_from(slice_of(first, len), frame.header_len + 2u);
    enum mqtt_reason reason = mqtt_props_read(&in, IN_CONNACK, &connack.props);
    ASSERT(reason == MQTT_REASON_SUCCESS && in.len == 0);
    ASSERT(mqtt_connack_len(&connack, MQTT_V5) == len);
    w = (struct writer){.at = second, .end = second + len};
    mqtt_encode_connack(&w, &connack, MQTT_V5);
    ASSERT(memcmp(first, second, len) == 0);
    free(first);
    free(second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    unsigned where = 1u << (data[0] & 15);
    struct slice whole = slice_of(data + 1, len - 1);
    struct slice in = whole;
    struct mqtt_props props;
    if (mqtt_props_read(&in, where, &props) != MQTT_REASON_SUCCESS) {
        return 0;
    }
    ASSERT(fuzz_within(props.raw, whole) && fuzz_within(in, whole));
    size_t users = count_user_props(props.raw, whole);
    ASSERT(mqtt_props_has(&props, MQTT_PROP_USER_PROPERTY) == (users > 0));
    check_forwarding(&props, where);
    if (where == IN_CONNACK) {
        check_connack(&props);
    }
    return 0;
}
