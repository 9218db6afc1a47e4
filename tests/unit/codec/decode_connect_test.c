#include "tests/unit/codec/codec_support.h"

static struct mqtt_connect connect;

static enum mqtt_reason decode_body(struct slice body)
{
    return mqtt_decode_connect(body, &connect);
}

static enum mqtt_reason decode(const char *text)
{
    return decode_body(bytes(text));
}

#define assert_accepted(text) assert_int_equal(decode(text), MQTT_REASON_SUCCESS)
#define assert_refused(text, name) assert_int_equal(decode(text), MQTT_REASON_##name)

/* Everything that a 5.0 CONNECT can hold: [MQTT-3.1.3-1] is the order. */
#define FULL_V5                                  \
    "<MQTT> 05 f6 003c 05 11 0000000a <client> " \
    "07 18 00000005 01 01 <will/topic> <bye> <user> <secret>"

static void a_full_connect_of_5_0_is_read(void **state)
{
    (void)state;
    assert_accepted(FULL_V5);
    assert_int_equal(connect.version, MQTT_V5);
    assert_true(connect.clean_start);
    assert_int_equal(connect.keep_alive, 60);
    assert_int_equal(connect.props.session_expiry, 10);
    assert_bytes(connect.client_id, "'client'");
    assert_true(connect.has_will);
    assert_int_equal(connect.will.qos, 2);
    assert_true(connect.will.retain);
    assert_int_equal(connect.will.props.will_delay, 5);
    assert_int_equal(connect.will.props.payload_format, 1);
    assert_bytes(connect.will.topic, "'will/topic'");
    assert_bytes(connect.will.payload, "'bye'");
    assert_true(connect.has_user_name);
    assert_bytes(connect.user_name, "'user'");
    assert_true(connect.has_password);
    assert_bytes(connect.password, "'secret'");
}

static void a_full_connect_of_3_1_1_is_read(void **state)
{
    (void)state;
    assert_accepted("<MQTT> 04 ce 000a <client> <will/topic> <bye> <user> <secret>");
    assert_int_equal(connect.version, MQTT_V311);
    assert_int_equal(connect.will.qos, 1);
    assert_false(connect.will.retain);
    assert_int_equal(connect.props.present, 0);
    assert_int_equal(connect.will.props.present, 0);
    assert_bytes(connect.password, "'secret'");
}

static void a_connect_of_3_1_is_read(void **state)
{
    (void)state;
    assert_accepted("<MQIsdp> 03 02 000a <a client id of more than 23 bytes>");
    assert_int_equal(connect.version, MQTT_V31);
    assert_true(connect.clean_start);
}

static void a_minimal_connect_has_no_will_and_no_credentials(void **state)
{
    (void)state;
    assert_accepted("<MQTT> 05 00 0000 00 <>");
    assert_false(connect.clean_start);
    assert_false(connect.has_will);
    assert_false(connect.has_user_name);
    assert_false(connect.has_password);
    assert_int_equal(connect.client_id.len, 0);
}

/* [MQTT-3.1.2-1] */
static void an_unknown_protocol_name_leaves_no_version_to_answer_in(void **state)
{
    (void)state;
    assert_refused("<HTTP> 05 00 0000 00 <>", UNSUPPORTED_VERSION);
    assert_int_equal(connect.version, 0);
    assert_refused("<mqtt> 05 00 0000 00 <>", UNSUPPORTED_VERSION);
    assert_refused("<> 05 00 0000 00 <>", UNSUPPORTED_VERSION);
    assert_int_equal(connect.version, 0);
}

/* [MQTT-3.1.2-2]; 3.1.1 [MQTT-3.1.2-2] */
static void an_unknown_level_is_refused_in_the_nearest_version(void **state)
{
    (void)state;
    assert_refused("<MQTT> 06 00 0000 00 <>", UNSUPPORTED_VERSION);
    assert_int_equal(connect.version, MQTT_V5);
    assert_refused("<MQTT> 03 02 0000 <x>", UNSUPPORTED_VERSION);
    assert_int_equal(connect.version, MQTT_V311);
    assert_refused("<MQIsdp> 04 02 0000 <x>", UNSUPPORTED_VERSION);
    assert_int_equal(connect.version, MQTT_V31);
    assert_refused("<MQTT> 85 00 0000 00 <>", UNSUPPORTED_VERSION);
}

static void the_level_of_a_mosquitto_bridge_is_the_plain_level(void **state)
{
    (void)state;
    assert_accepted("<MQTT> 84 02 000a <bridge>");
    assert_int_equal(connect.version, MQTT_V311);
    assert_accepted("<MQIsdp> 83 02 000a <bridge>");
    assert_int_equal(connect.version, MQTT_V31);
}

/* [MQTT-3.1.2-3]; 3.1 only says that the bit is not used. */
static void the_reserved_flag_must_be_zero(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 03 000a 00 <x>", MALFORMED_PACKET);
    assert_int_equal(connect.version, MQTT_V5);
    assert_refused("<MQTT> 04 03 000a <x>", MALFORMED_PACKET);
    assert_accepted("<MQIsdp> 03 03 000a <x>");
}

/* [MQTT-3.1.2-12] */
static void a_will_qos_of_3_is_malformed(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 1e 000a 00 <x> 00 <t> <p>", MALFORMED_PACKET);
    assert_refused("<MQTT> 04 1e 000a <x> <t> <p>", MALFORMED_PACKET);
    assert_refused("<MQTT> 05 1a 000a 00 <x>", MALFORMED_PACKET);
}

/* [MQTT-3.1.2-11], [MQTT-3.1.2-13] */
static void will_flags_without_a_will_are_a_protocol_error(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 0a 000a 00 <x>", PROTOCOL_ERROR);
    assert_refused("<MQTT> 05 12 000a 00 <x>", PROTOCOL_ERROR);
    assert_refused("<MQTT> 05 22 000a 00 <x>", PROTOCOL_ERROR);
    assert_refused("<MQTT> 04 22 000a <x>", PROTOCOL_ERROR);
}

/* 3.1.1 [MQTT-3.1.2-22]; MQTT 5.0 section 3.1.2.9 allows it. */
static void a_password_without_a_user_name_is_allowed_in_5_0_only(void **state)
{
    (void)state;
    assert_accepted("<MQTT> 05 42 000a 00 <x> <secret>");
    assert_false(connect.has_user_name);
    assert_bytes(connect.password, "'secret'");
    assert_refused("<MQTT> 04 42 000a <x> <secret>", PROTOCOL_ERROR);
    assert_refused("<MQIsdp> 03 42 000a <x> <secret>", PROTOCOL_ERROR);
}

/* [MQTT-3.1.2-16] to [MQTT-3.1.2-19] */
static void fields_must_be_there_when_their_flag_is_set_and_only_then(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 82 000a 00 <x>", MALFORMED_PACKET);
    assert_refused("<MQTT> 05 c2 000a 00 <x> <user>", MALFORMED_PACKET);
    assert_refused("<MQTT> 05 02 000a 00 <x> <user>", MALFORMED_PACKET);
    assert_refused("<MQTT> 04 c2 000a <x> <user>", MALFORMED_PACKET);
    assert_refused("<MQTT> 05 06 000a 00 <x> 00 <t>", MALFORMED_PACKET);
}

/* 3.1: the Remaining Length goes before the flags of user name and password. */
static void in_3_1_credentials_may_be_missing_though_their_flags_are_set(void **state)
{
    (void)state;
    assert_accepted("<MQIsdp> 03 c2 000a <x>");
    assert_false(connect.has_user_name);
    assert_false(connect.has_password);
    assert_accepted("<MQIsdp> 03 c2 000a <x> <user>");
    assert_true(connect.has_user_name);
    assert_false(connect.has_password);
}

/* 3.1.1 [MQTT-3.1.3-7], [MQTT-3.1.3-8]; MQTT 5.0 [MQTT-3.1.3-6] */
static void an_empty_client_id_needs_a_clean_session_before_5_0(void **state)
{
    (void)state;
    assert_accepted("<MQTT> 04 02 000a <>");
    assert_refused("<MQTT> 04 00 000a <>", CLIENT_ID_NOT_VALID);
    assert_int_equal(connect.version, MQTT_V311);
    assert_refused("<MQIsdp> 03 02 000a <>", CLIENT_ID_NOT_VALID);
    assert_accepted("<MQTT> 05 00 000a 00 <>");
}

/* [MQTT-3.1.3-4], [MQTT-3.1.3-11], [MQTT-3.1.3-12], [MQTT-1.5.4-2]; the password is binary data. */
static void client_id_will_topic_and_user_name_must_be_utf8(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 02 000a 00 0001 ff", MALFORMED_PACKET);
    assert_refused("<MQTT> 05 02 000a 00 0002 'a' 00", MALFORMED_PACKET);
    assert_refused("<MQTT> 05 06 000a 00 <x> 00 0001 ff <p>", MALFORMED_PACKET);
    assert_refused("<MQTT> 05 82 000a 00 <x> 0001 ff", MALFORMED_PACKET);
    assert_accepted("<MQTT> 05 c2 000a 00 <x> <u> 0002 ff00");
}

/* [MQTT-4.7.0-1], [MQTT-4.7.3-1] */
static void the_topic_of_a_will_is_a_topic_name(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 06 000a 00 <x> 00 <a/#> <p>", TOPIC_NAME_INVALID);
    assert_refused("<MQTT> 05 06 000a 00 <x> 00 <> <p>", TOPIC_NAME_INVALID);
    assert_refused("<MQTT> 04 06 000a <x> <+> <p>", TOPIC_NAME_INVALID);
}

/* Section 3.1.3.2.3. */
static void a_will_payload_that_claims_utf8_must_be_utf8(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 06 000a 00 <x> 02 0101 <t> 0001 ff", PAYLOAD_FORMAT_INVALID);
    assert_accepted("<MQTT> 05 06 000a 00 <x> 02 0100 <t> 0001 ff");
    assert_accepted("<MQTT> 05 06 000a 00 <x> 02 0101 <t> 0003 e282ac");
    assert_accepted("<MQTT> 05 06 000a 00 <x> 02 0101 <t> 0001 00");
    assert_accepted("<MQTT> 05 06 000a 00 <x> 00 <t> <>");
}

/* Section 3.1.2.11.10. */
static void authentication_data_needs_a_method(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 02 000a 04 16 <d> <x>", PROTOCOL_ERROR);
    assert_accepted("<MQTT> 05 02 000a 08 15 <m> 16 <d> <x>");
}

static void property_errors_are_passed_on(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 02 000a 06 210001 210001 <x>", PROTOCOL_ERROR);
    assert_refused("<MQTT> 05 02 000a 03 230001 <x>", MALFORMED_PACKET);
    assert_refused("<MQTT> 05 06 000a 00 <x> 03 230001 <t> <p>", MALFORMED_PACKET);
}

static void bytes_behind_the_payload_are_malformed(void **state)
{
    (void)state;
    assert_refused("<MQTT> 05 02 000a 00 <x> 00", MALFORMED_PACKET);
    assert_refused("<MQTT> 04 02 000a <x> 00", MALFORMED_PACKET);
}

/* What is malformed further on wins over what is judged at the end. */
static void malformed_bytes_win_over_a_bad_client_id(void **state)
{
    (void)state;
    assert_refused("<MQTT> 04 80 000a <> 0005 'ab'", MALFORMED_PACKET);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct slice v5 = bytes(FULL_V5);
    assert_truncations_refused(decode_body, v5, v5.len);
    struct slice v311 = bytes("<MQTT> 04 ce 000a <client> <will/topic> <bye> <user> <secret>");
    assert_truncations_refused(decode_body, v311, v311.len);
    struct slice v31 = bytes("<MQIsdp> 03 06 000a <client> <will/topic> <bye>");
    assert_truncations_refused(decode_body, v31, v31.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_connect_of_5_0_is_read),
        cmocka_unit_test(a_full_connect_of_3_1_1_is_read),
        cmocka_unit_test(a_connect_of_3_1_is_read),
        cmocka_unit_test(a_minimal_connect_has_no_will_and_no_credentials),
        cmocka_unit_test(an_unknown_protocol_name_leaves_no_version_to_answer_in),
        cmocka_unit_test(an_unknown_level_is_refused_in_the_nearest_version),
        cmocka_unit_test(the_level_of_a_mosquitto_bridge_is_the_plain_level),
        cmocka_unit_test(the_reserved_flag_must_be_zero),
        cmocka_unit_test(a_will_qos_of_3_is_malformed),
        cmocka_unit_test(will_flags_without_a_will_are_a_protocol_error),
        cmocka_unit_test(a_password_without_a_user_name_is_allowed_in_5_0_only),
        cmocka_unit_test(fields_must_be_there_when_their_flag_is_set_and_only_then),
        cmocka_unit_test(in_3_1_credentials_may_be_missing_though_their_flags_are_set),
        cmocka_unit_test(an_empty_client_id_needs_a_clean_session_before_5_0),
        cmocka_unit_test(client_id_will_topic_and_user_name_must_be_utf8),
        cmocka_unit_test(the_topic_of_a_will_is_a_topic_name),
        cmocka_unit_test(a_will_payload_that_claims_utf8_must_be_utf8),
        cmocka_unit_test(authentication_data_needs_a_method),
        cmocka_unit_test(property_errors_are_passed_on),
        cmocka_unit_test(bytes_behind_the_payload_are_malformed),
        cmocka_unit_test(malformed_bytes_win_over_a_bad_client_id),
        cmocka_unit_test(every_truncation_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
