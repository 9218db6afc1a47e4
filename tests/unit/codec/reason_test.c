#include "tests/unit/codec/codec_support.h"

static void names_are_what_logs_show(void **state)
{
    (void)state;
    assert_string_equal(mqtt_reason_name(MQTT_REASON_SUCCESS), "success");
    assert_string_equal(mqtt_reason_name(MQTT_REASON_SESSION_TAKEN_OVER), "session taken over");
    assert_string_equal(mqtt_reason_name(0x03), "unknown");
    assert_string_equal(mqtt_reason_name(0xff), "unknown");
}

/* MQTT 5.0 section 2.4: below 0x80 is success. */
static void codes_from_0x80_on_are_errors(void **state)
{
    (void)state;
    assert_false(mqtt_reason_is_error(MQTT_REASON_NO_MATCHING_SUBSCRIBERS));
    assert_true(mqtt_reason_is_error(MQTT_REASON_UNSPECIFIED_ERROR));
}

/* [MQTT-3.4.2-1], [MQTT-3.6.2-1], [MQTT-3.14.2-1], [MQTT-3.15.2-1]: each packet has its own codes.
 */
static void a_code_is_allowed_only_in_its_packets(void **state)
{
    (void)state;
    assert_true(mqtt_reason_allowed(MQTT_REASON_NO_MATCHING_SUBSCRIBERS, IN_PUBACK));
    assert_true(mqtt_reason_allowed(MQTT_REASON_NO_MATCHING_SUBSCRIBERS, IN_PUBREC));
    assert_false(mqtt_reason_allowed(MQTT_REASON_NO_MATCHING_SUBSCRIBERS, IN_PUBREL));
    assert_true(mqtt_reason_allowed(MQTT_REASON_PACKET_ID_NOT_FOUND, IN_PUBREL));
    assert_false(mqtt_reason_allowed(MQTT_REASON_PACKET_ID_NOT_FOUND, IN_PUBACK));
    assert_true(mqtt_reason_allowed(MQTT_REASON_DISCONNECT_WITH_WILL, IN_DISCONNECT));
    assert_false(mqtt_reason_allowed(MQTT_REASON_DISCONNECT_WITH_WILL, IN_AUTH));
    assert_false(mqtt_reason_allowed(0x03, IN_SUBACK));
}

/* 3.1.1 section 3.2.2.3. */
static void every_refusal_has_a_return_code_in_3_1_1(void **state)
{
    (void)state;
    assert_int_equal(mqtt_reason_to_v3_connack(MQTT_REASON_SUCCESS), 0);
    assert_int_equal(mqtt_reason_to_v3_connack(MQTT_REASON_UNSUPPORTED_VERSION), 1);
    assert_int_equal(mqtt_reason_to_v3_connack(MQTT_REASON_CLIENT_ID_NOT_VALID), 2);
    assert_int_equal(mqtt_reason_to_v3_connack(MQTT_REASON_SERVER_BUSY), 3);
    assert_int_equal(mqtt_reason_to_v3_connack(MQTT_REASON_BAD_USER_NAME_OR_PASSWORD), 4);
    assert_int_equal(mqtt_reason_to_v3_connack(MQTT_REASON_NOT_AUTHORIZED), 5);
    for (unsigned reason = 0x80; reason <= 0xff; reason++) {
        uint8_t code = mqtt_reason_to_v3_connack((enum mqtt_reason)reason);
        assert_in_range(code, 1, 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_what_logs_show),
        cmocka_unit_test(codes_from_0x80_on_are_errors),
        cmocka_unit_test(a_code_is_allowed_only_in_its_packets),
        cmocka_unit_test(every_refusal_has_a_return_code_in_3_1_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
