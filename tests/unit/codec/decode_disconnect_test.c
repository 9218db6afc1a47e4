#include "tests/unit/codec/codec_support.h"

static struct mqtt_disconnect packet;

static enum mqtt_reason decode(const char *text, enum mqtt_version version)
{
    memset(&packet, 0xa5, sizeof(packet));
    return mqtt_decode_disconnect(bytes(text), version, &packet);
}

static enum mqtt_reason decode_auth(const char *text)
{
    memset(&packet, 0xa5, sizeof(packet));
    return mqtt_decode_auth(bytes(text), &packet);
}

/* Section 3.14.2.1: without a reason it is Normal disconnection. */
static void an_empty_disconnect_is_a_normal_one(void **state)
{
    (void)state;
    for (int version = MQTT_V31; version <= MQTT_V5; version++) {
        assert_int_equal(decode("", (enum mqtt_version)version), MQTT_REASON_SUCCESS);
        assert_int_equal(packet.reason, MQTT_REASON_SUCCESS);
        assert_int_equal(packet.props.present, 0);
    }
}

static void reason_and_properties_are_read(void **state)
{
    (void)state;
    assert_int_equal(decode("04", MQTT_V5), MQTT_REASON_SUCCESS);
    assert_int_equal(packet.reason, MQTT_REASON_DISCONNECT_WITH_WILL);
    assert_int_equal(decode("00 05 11 0000000a", MQTT_V5), MQTT_REASON_SUCCESS);
    assert_int_equal(packet.props.session_expiry, 10);
    assert_int_equal(decode("00 00", MQTT_V5), MQTT_REASON_SUCCESS);
    assert_int_equal(packet.props.present, 0);
}

/* [MQTT-3.14.2-1] */
static void a_reason_that_is_none_of_disconnect_is_malformed(void **state)
{
    (void)state;
    assert_int_equal(decode("01", MQTT_V5), MQTT_REASON_MALFORMED_PACKET);
    assert_int_equal(decode("86", MQTT_V5), MQTT_REASON_MALFORMED_PACKET);
    assert_int_equal(decode("ff", MQTT_V5), MQTT_REASON_MALFORMED_PACKET);
}

static void before_5_0_disconnect_has_no_body(void **state)
{
    (void)state;
    assert_int_equal(decode("00", MQTT_V311), MQTT_REASON_MALFORMED_PACKET);
    assert_int_equal(decode("00", MQTT_V31), MQTT_REASON_MALFORMED_PACKET);
}

static void bytes_behind_the_properties_are_malformed(void **state)
{
    (void)state;
    assert_int_equal(decode("00 00 00", MQTT_V5), MQTT_REASON_MALFORMED_PACKET);
    assert_int_equal(decode_auth("18 04 15 <m> 00"), MQTT_REASON_MALFORMED_PACKET);
}

static void property_errors_are_passed_on(void **state)
{
    (void)state;
    assert_int_equal(decode("00 02 0101", MQTT_V5), MQTT_REASON_MALFORMED_PACKET);
    assert_int_equal(decode("00 0a 1100000001 1100000001", MQTT_V5), MQTT_REASON_PROTOCOL_ERROR);
}

static void disconnect_may_end_at_three_places_only(void **state)
{
    (void)state;
    struct slice whole = bytes("04 05 11 0000000a");
    for (size_t len = 0; len <= whole.len; len++) {
        enum mqtt_reason reason =
            mqtt_decode_disconnect(bytes_copy(slice_of(whole.data, len)), MQTT_V5, &packet);
        bool complete = len <= 1 || len == whole.len;
        assert_int_equal(reason == MQTT_REASON_SUCCESS, complete);
    }
}

static void auth_is_read(void **state)
{
    (void)state;
    assert_int_equal(decode_auth("18 0b 15 <SCRAM> 16 <>"), MQTT_REASON_SUCCESS);
    assert_int_equal(packet.reason, MQTT_REASON_CONTINUE_AUTHENTICATION);
    assert_bytes(packet.props.auth_method, "'SCRAM'");
    assert_int_equal(decode_auth("19 04 15 <m>"), MQTT_REASON_SUCCESS);
}

/* [MQTT-3.15.2-1], section 3.15.2.1: Success is sent by the server only. */
static void auth_has_reasons_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(decode_auth("80 04 15 <m>"), MQTT_REASON_MALFORMED_PACKET);
    assert_int_equal(decode_auth("04 04 15 <m>"), MQTT_REASON_MALFORMED_PACKET);
    assert_int_equal(decode_auth("00 04 15 <m>"), MQTT_REASON_PROTOCOL_ERROR);
    assert_int_equal(decode_auth(""), MQTT_REASON_PROTOCOL_ERROR);
}

/* Section 3.15.2.2.2. */
static void auth_without_a_method_is_a_protocol_error(void **state)
{
    (void)state;
    assert_int_equal(decode_auth("18"), MQTT_REASON_PROTOCOL_ERROR);
    assert_int_equal(decode_auth("18 00"), MQTT_REASON_PROTOCOL_ERROR);
    assert_int_equal(decode_auth("18 04 16 <d>"), MQTT_REASON_PROTOCOL_ERROR);
}

static enum mqtt_reason decode_auth_body(struct slice body)
{
    return mqtt_decode_auth(body, &packet);
}

static void every_truncation_of_auth_is_refused(void **state)
{
    (void)state;
    struct slice whole = bytes("18 0f 15 <method> 16 <dat>");
    assert_truncations_refused(decode_auth_body, whole, whole.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_disconnect_is_a_normal_one),
        cmocka_unit_test(reason_and_properties_are_read),
        cmocka_unit_test(a_reason_that_is_none_of_disconnect_is_malformed),
        cmocka_unit_test(before_5_0_disconnect_has_no_body),
        cmocka_unit_test(bytes_behind_the_properties_are_malformed),
        cmocka_unit_test(property_errors_are_passed_on),
        cmocka_unit_test(disconnect_may_end_at_three_places_only),
        cmocka_unit_test(auth_is_read),
        cmocka_unit_test(auth_has_reasons_of_its_own),
        cmocka_unit_test(auth_without_a_method_is_a_protocol_error),
        cmocka_unit_test(every_truncation_of_auth_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
