#include "tests/unit/codec/codec_support.h"

enum { QOS_0 = 0x0, RETAIN = 0x1, QOS_1 = 0x2, QOS_2 = 0x4, DUP = 0x8 };

static struct mqtt_publish publish;

static enum mqtt_reason decode(const char *text, unsigned flags, enum mqtt_version version)
{
    memset(&publish, 0xa5, sizeof(publish)); /* what is not written must not be looked at */
    return mqtt_decode_publish(bytes(text), (uint8_t)flags, version, &publish);
}

#define assert_accepted(text, flags, version) \
    assert_int_equal(decode(text, flags, version), MQTT_REASON_SUCCESS)
#define assert_refused(text, flags, version, name) \
    assert_int_equal(decode(text, flags, version), MQTT_REASON_##name)

static void a_publish_of_3_1_1_is_read(void **state)
{
    (void)state;
    assert_accepted("<a/b> 'payload'", QOS_0, MQTT_V311);
    assert_int_equal(publish.qos, 0);
    assert_false(publish.dup);
    assert_false(publish.retain);
    assert_int_equal(publish.packet_id, 0);
    assert_bytes(publish.topic, "'a/b'");
    assert_bytes(publish.payload, "'payload'");
    assert_int_equal(publish.props.present, 0);
    assert_int_equal(publish.props.raw.len, 0);
}

static void qos_flags_and_packet_id_are_read(void **state)
{
    (void)state;
    assert_accepted("<a/b> 1234 'payload'", QOS_2 | DUP | RETAIN, MQTT_V31);
    assert_int_equal(publish.qos, 2);
    assert_true(publish.dup);
    assert_true(publish.retain);
    assert_int_equal(publish.packet_id, 0x1234);
    assert_bytes(publish.payload, "'payload'");
}

static void a_publish_of_5_0_is_read_with_its_properties(void **state)
{
    (void)state;
    assert_accepted("<a/b> 0001 09 02 0000003c 08 0001 'r' 'payload'", QOS_1, MQTT_V5);
    assert_int_equal(publish.props.message_expiry, 60);
    assert_bytes(publish.props.response_topic, "'r'");
    assert_bytes(publish.payload, "'payload'");
    assert_accepted("<a/b> 00", QOS_0, MQTT_V5);
    assert_int_equal(publish.props.present, 0);
    assert_int_equal(publish.payload.len, 0);
}

/* [MQTT-3.3.1-4] */
static void qos_3_is_malformed(void **state)
{
    (void)state;
    assert_refused("<a> 0001 00", QOS_1 | QOS_2, MQTT_V5, MALFORMED_PACKET);
    assert_refused("<a> 0001", QOS_1 | QOS_2, MQTT_V311, MALFORMED_PACKET);
}

/* [MQTT-3.3.1-2] */
static void dup_at_qos_0_is_malformed(void **state)
{
    (void)state;
    assert_refused("<a> 00", DUP, MQTT_V5, MALFORMED_PACKET);
    assert_refused("<a>", DUP | RETAIN, MQTT_V311, MALFORMED_PACKET);
}

/* [MQTT-2.2.1-3] */
static void a_packet_id_of_0_is_a_protocol_error(void **state)
{
    (void)state;
    assert_refused("<a> 0000 00", QOS_1, MQTT_V5, PROTOCOL_ERROR);
    assert_refused("<a> 0000", QOS_2, MQTT_V311, PROTOCOL_ERROR);
}

/* [MQTT-3.3.2-2] */
static void wildcards_in_the_topic_are_refused(void **state)
{
    (void)state;
    assert_refused("<a/+/c> 00", QOS_0, MQTT_V5, TOPIC_NAME_INVALID);
    assert_refused("<#>", QOS_0, MQTT_V311, TOPIC_NAME_INVALID);
    assert_refused("0004 'ab/' c3a4 '#'", QOS_0, MQTT_V311, MALFORMED_PACKET);
    assert_refused("0006 'ab/' c3a4 '#'", QOS_0, MQTT_V311, TOPIC_NAME_INVALID);
    assert_refused("<a long topic of many levels/#>", QOS_0, MQTT_V311, TOPIC_NAME_INVALID);
}

/* [MQTT-3.3.2-1], [MQTT-1.5.4-2] */
static void a_topic_that_is_not_utf8_is_malformed(void **state)
{
    (void)state;
    assert_refused("0003 'a' c328 00", QOS_0, MQTT_V5, MALFORMED_PACKET);
    assert_refused("0003 'a' 00 'b' 00", QOS_0, MQTT_V5, MALFORMED_PACKET);
    assert_refused("0003 eda080", QOS_0, MQTT_V311, MALFORMED_PACKET);
    assert_refused("0003 '#' c328", QOS_0, MQTT_V311, MALFORMED_PACKET);
}

static void a_topic_beyond_ascii_is_read(void **state)
{
    (void)state;
    assert_accepted("000b 'gr' c3b6c39f 'e/' e282ac 'x'", QOS_0, MQTT_V311);
    assert_bytes(publish.topic, "'gr' c3b6c39f 'e/' e282ac");
    assert_bytes(publish.payload, "'x'");
}

/* [MQTT-4.7.3-1]; section 3.3.2.1: zero length and no Topic Alias is a Protocol Error. */
static void an_empty_topic_needs_an_alias(void **state)
{
    (void)state;
    assert_refused("<> 00", QOS_0, MQTT_V5, PROTOCOL_ERROR);
    assert_refused("<> 02 0101", QOS_0, MQTT_V5, PROTOCOL_ERROR);
    assert_refused("<>", QOS_0, MQTT_V311, TOPIC_NAME_INVALID);
    assert_refused("<> 0001", QOS_1, MQTT_V31, TOPIC_NAME_INVALID);
    assert_accepted("<> 03 230001", QOS_0, MQTT_V5);
    assert_int_equal(publish.topic.len, 0);
    assert_int_equal(publish.props.topic_alias, 1);
}

/* [MQTT-3.3.2-8] */
static void a_topic_alias_of_0_is_refused(void **state)
{
    (void)state;
    assert_refused("<a> 03 230000", QOS_0, MQTT_V5, TOPIC_ALIAS_INVALID);
    assert_refused("<> 03 230000", QOS_0, MQTT_V5, TOPIC_ALIAS_INVALID);
}

/* [MQTT-3.3.4-6] */
static void a_subscription_identifier_from_a_client_is_a_protocol_error(void **state)
{
    (void)state;
    assert_refused("<a> 02 0b01", QOS_0, MQTT_V5, PROTOCOL_ERROR);
    assert_refused("<a> 04 0b01 0b02", QOS_0, MQTT_V5, PROTOCOL_ERROR);
}

static void property_errors_are_passed_on(void **state)
{
    (void)state;
    assert_refused("<a> 04 0101 0101", QOS_0, MQTT_V5, PROTOCOL_ERROR);
    assert_refused("<a> 05 1100000001", QOS_0, MQTT_V5, MALFORMED_PACKET);
    assert_refused("<a> 05 0101", QOS_0, MQTT_V5, MALFORMED_PACKET);
}

/* Section 3.3.2.3.2. */
static void the_payload_format_is_checked_when_it_is_announced(void **state)
{
    (void)state;
    assert_accepted("<a> 02 0101 e282ac 00", QOS_0, MQTT_V5);
    assert_true(mqtt_payload_format_valid(&publish));
    assert_accepted("<a> 02 0101 e282", QOS_0, MQTT_V5);
    assert_false(mqtt_payload_format_valid(&publish));
    assert_accepted("<a> 02 0100 e282", QOS_0, MQTT_V5);
    assert_true(mqtt_payload_format_valid(&publish));
    assert_accepted("<a> 00 e282", QOS_0, MQTT_V5);
    assert_true(mqtt_payload_format_valid(&publish));
}

static enum mqtt_reason decode_v5_qos_1(struct slice body)
{
    return mqtt_decode_publish(body, QOS_1, MQTT_V5, &publish);
}

static enum mqtt_reason decode_v311_qos_0(struct slice body)
{
    return mqtt_decode_publish(body, QOS_0, MQTT_V311, &publish);
}

static void every_truncation_before_the_payload_is_refused(void **state)
{
    (void)state;
    assert_truncations_refused(decode_v5_qos_1,
                               bytes("<topic/name> 0001 0c 02 0000003c 26 <k> <v> 'load'"), 27);
    assert_truncations_refused(decode_v311_qos_0, bytes("<topic/name> 'load'"), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publish_of_3_1_1_is_read),
        cmocka_unit_test(qos_flags_and_packet_id_are_read),
        cmocka_unit_test(a_publish_of_5_0_is_read_with_its_properties),
        cmocka_unit_test(qos_3_is_malformed),
        cmocka_unit_test(dup_at_qos_0_is_malformed),
        cmocka_unit_test(a_packet_id_of_0_is_a_protocol_error),
        cmocka_unit_test(wildcards_in_the_topic_are_refused),
        cmocka_unit_test(a_topic_that_is_not_utf8_is_malformed),
        cmocka_unit_test(a_topic_beyond_ascii_is_read),
        cmocka_unit_test(an_empty_topic_needs_an_alias),
        cmocka_unit_test(a_topic_alias_of_0_is_refused),
        cmocka_unit_test(a_subscription_identifier_from_a_client_is_a_protocol_error),
        cmocka_unit_test(property_errors_are_passed_on),
        cmocka_unit_test(the_payload_format_is_checked_when_it_is_announced),
        cmocka_unit_test(every_truncation_before_the_payload_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
