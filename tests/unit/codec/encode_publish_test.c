#include "tests/unit/codec/codec_support.h"

static uint8_t out[70000];
static size_t packet_id_offset;

/* Encodes the head into a buffer of exactly its length; the whole packet's length in `*packet_len`.
 */
static struct slice encode(const struct mqtt_publish_out *publish, size_t *packet_len)
{
    size_t len = mqtt_publish_head_len(publish, packet_len);
    assert_true(len <= sizeof(out));
    struct writer w = {.at = out, .end = out + len};
    packet_id_offset = mqtt_encode_publish_head(&w, publish);
    assert_ptr_equal(w.at, w.end);
    assert_int_equal(*packet_len, len + publish->payload_len);
    return slice_of(out, len);
}

static void assert_head(const struct mqtt_publish_out *publish, const char *expected)
{
    size_t packet_len = 0;
    assert_bytes(encode(publish, &packet_len), expected);
}

static void a_publish_of_3_1_1_has_no_properties(void **state)
{
    (void)state;
    const uint32_t ids[] = {1};
    struct mqtt_publish_out publish = {.version = MQTT_V311,
                                       .retain = true,
                                       .topic = slice_text("a/b"),
                                       .payload_len = 5,
                                       .topic_alias = 3,
                                       .has_expiry = true,
                                       .expiry = 10,
                                       .subscription_ids = ids,
                                       .subscription_id_count = 1,
                                       .props = bytes("0101")};
    assert_head(&publish, "31 0a <a/b>");
    assert_int_equal(packet_id_offset, 0);
}

/* Section 3.3.1; the offset lets the same bytes be used with another packet id. */
static void qos_dup_and_packet_id_are_written(void **state)
{
    (void)state;
    struct mqtt_publish_out publish = {.version = MQTT_V311,
                                       .qos = 2,
                                       .dup = true,
                                       .packet_id = 0x1234,
                                       .topic = slice_text("a/b")};
    assert_head(&publish, "3c 07 <a/b> 1234");
    assert_int_equal(packet_id_offset, 7);
    publish.version = MQTT_V5;
    publish.qos = 1;
    publish.dup = false;
    assert_head(&publish, "32 08 <a/b> 1234 00");
    assert_int_equal(packet_id_offset, 7);
}

/* Section 3.3.2.3; [MQTT-3.3.4-3]: all subscription identifiers; [MQTT-3.3.2-6]: what remains. */
static void a_publish_of_5_0_has_the_servers_and_the_publishers_properties(void **state)
{
    (void)state;
    const uint32_t ids[] = {1, 200};
    struct mqtt_publish_out publish = {.version = MQTT_V5,
                                       .topic = slice_text("a/b"),
                                       .payload_len = 7,
                                       .topic_alias = 3,
                                       .has_expiry = true,
                                       .expiry = 10,
                                       .subscription_ids = ids,
                                       .subscription_id_count = 2,
                                       .props = bytes("0101 26 <k> <v>")};
    assert_head(&publish, "30 23 <a/b> 16 23 0003 02 0000000a 0b 01 0b c801 01 01 26 <k> <v>");
}

/* [MQTT-3.3.2-11] and section 3.3.2.3.4. */
static void an_alias_can_stand_for_the_topic(void **state)
{
    (void)state;
    struct mqtt_publish_out publish = {.version = MQTT_V5, .topic_alias = 9, .payload_len = 1};
    assert_head(&publish, "30 07 <> 03 23 0009");
}

static void the_length_takes_as_many_bytes_as_it_needs(void **state)
{
    (void)state;
    static const struct {
        size_t payload_len;
        const char *head;
    } rows[] = {
        {0, "30 03 <a>"},
        {124, "30 7f <a>"},
        {125, "30 8001 <a>"},
        {16380, "30 ff7f <a>"},
        {16381, "30 808001 <a>"},
        {2097148, "30 ffff7f <a>"},
        {2097149, "30 80808001 <a>"},
        {MQTT_VARINT_MAX - 3, "30 ffffff7f <a>"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct mqtt_publish_out publish = {
            .version = MQTT_V311, .topic = slice_text("a"), .payload_len = rows[i].payload_len};
        assert_head(&publish, rows[i].head);
    }
}

/* The caller finds out by the packet's length, and does not send it. */
static void a_packet_over_the_limit_of_mqtt_is_measured_all_the_same(void **state)
{
    (void)state;
    struct mqtt_publish_out publish = {
        .version = MQTT_V5, .topic = slice_text("a"), .payload_len = (size_t)UINT32_MAX + 5};
    size_t packet_len = 0;
    size_t head_len = mqtt_publish_head_len(&publish, &packet_len);
    assert_true(packet_len == head_len + publish.payload_len);
    assert_true(packet_len > MQTT_VARINT_MAX + 5u);
}

static void the_longest_topic_is_written(void **state)
{
    (void)state;
    static char topic[UINT16_MAX];
    memset(topic, 't', sizeof(topic));
    struct mqtt_publish_out publish = {.version = MQTT_V311,
                                       .topic = slice_of(topic, sizeof(topic))};
    size_t packet_len = 0;
    struct slice head = encode(&publish, &packet_len);
    struct mqtt_frame frame;
    assert_int_equal(mqtt_frame_read(head, &frame), MQTT_FRAME_OK);
    assert_int_equal(frame.body_len, 2 + UINT16_MAX);
}

/* What a client sent and the broker forwards is the same to the next client. */
static void what_is_written_is_what_is_read(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    for (int round = 0; round < 5000; round++) {
        uint32_t some = random_below(&random, 256);
        struct mqtt_publish_out publish = {
            .version = (some & 1) != 0 ? MQTT_V5 : MQTT_V311,
            .qos = (uint8_t)random_below(&random, 3),
            .retain = (some & 2) != 0,
            .packet_id = (uint16_t)(1 + random_below(&random, UINT16_MAX)),
            .topic_alias = (some & 4) != 0 ? (uint16_t)(1 + random_below(&random, 100)) : 0,
            .has_expiry = (some & 8) != 0,
            .expiry = random_below(&random, UINT32_MAX),
            .topic = slice_of("a/b/c/d/e/f/g/h", 1 + random_below(&random, 15)),
            .props = (some & 16) != 0 ? bytes("26 <k> <v>") : slice_of(NULL, 0),
        };
        publish.dup = publish.qos > 0 && (some & 32) != 0;
        size_t packet_len = 0;
        struct slice head = encode(&publish, &packet_len);
        struct mqtt_frame frame;
        struct mqtt_publish read;
        assert_int_equal(mqtt_frame_read(head, &frame), MQTT_FRAME_OK);
        assert_int_equal(frame.header_len + frame.body_len, packet_len);
        assert_int_equal(mqtt_decode_publish(slice_from(head, frame.header_len), frame.flags,
                                             publish.version, &read),
                         MQTT_REASON_SUCCESS);
        assert_int_equal(read.qos, publish.qos);
        assert_int_equal(read.dup, publish.dup);
        assert_int_equal(read.retain, publish.retain);
        assert_int_equal(read.packet_id, publish.qos > 0 ? publish.packet_id : 0);
        assert_true(slice_equal(read.topic, publish.topic));
        assert_int_equal(read.payload.len, 0);
        if (publish.version == MQTT_V5) {
            assert_int_equal(mqtt_props_has(&read.props, MQTT_PROP_TOPIC_ALIAS),
                             publish.topic_alias != 0);
            assert_int_equal(mqtt_props_forwarded_len(&read.props), publish.props.len);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publish_of_3_1_1_has_no_properties),
        cmocka_unit_test(qos_dup_and_packet_id_are_written),
        cmocka_unit_test(a_publish_of_5_0_has_the_servers_and_the_publishers_properties),
        cmocka_unit_test(an_alias_can_stand_for_the_topic),
        cmocka_unit_test(the_length_takes_as_many_bytes_as_it_needs),
        cmocka_unit_test(a_packet_over_the_limit_of_mqtt_is_measured_all_the_same),
        cmocka_unit_test(the_longest_topic_is_written),
        cmocka_unit_test(what_is_written_is_what_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
