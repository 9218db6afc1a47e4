#include "tests/unit/codec/codec_support.h"

static struct mqtt_ack ack;

static enum mqtt_reason decode(const char *text, enum mqtt_packet type, enum mqtt_version version)
{
    memset(&ack, 0xa5, sizeof(ack));
    return mqtt_decode_ack(bytes(text), type, version, &ack);
}

#define assert_accepted(text, type, version) \
    assert_int_equal(decode(text, type, version), MQTT_REASON_SUCCESS)
#define assert_refused(text, type, version, name) \
    assert_int_equal(decode(text, type, version), MQTT_REASON_##name)

static const enum mqtt_packet types[] = {MQTT_PUBACK, MQTT_PUBREC, MQTT_PUBREL, MQTT_PUBCOMP};

/* Section 3.4.2.1: without a reason it is Success. */
static void the_short_form_means_success(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        for (int version = MQTT_V31; version <= MQTT_V5; version++) {
            assert_accepted("1234", types[i], (enum mqtt_version)version);
            assert_int_equal(ack.packet_id, 0x1234);
            assert_int_equal(ack.reason, MQTT_REASON_SUCCESS);
            assert_int_equal(ack.props.present, 0);
            assert_int_equal(ack.props.raw.len, 0);
        }
    }
}

static void reason_and_properties_of_5_0_are_read(void **state)
{
    (void)state;
    assert_accepted("0001 10", MQTT_PUBACK, MQTT_V5);
    assert_int_equal(ack.reason, MQTT_REASON_NO_MATCHING_SUBSCRIBERS);
    assert_int_equal(ack.props.present, 0);
    assert_accepted("0001 97 00", MQTT_PUBREC, MQTT_V5);
    assert_int_equal(ack.reason, MQTT_REASON_QUOTA_EXCEEDED);
    assert_accepted("0001 92 0d 1f <why> 26 <k> <v>", MQTT_PUBCOMP, MQTT_V5);
    assert_bytes(ack.props.reason_string, "'why'");
}

/* [MQTT-3.4.2-1], [MQTT-3.5.2-1], [MQTT-3.6.2-1], [MQTT-3.7.2-1] */
static void a_reason_of_another_packet_is_malformed(void **state)
{
    (void)state;
    assert_refused("0001 92", MQTT_PUBACK, MQTT_V5, MALFORMED_PACKET);
    assert_refused("0001 10", MQTT_PUBREL, MQTT_V5, MALFORMED_PACKET);
    assert_refused("0001 01", MQTT_PUBACK, MQTT_V5, MALFORMED_PACKET);
    assert_refused("0001 ff 00", MQTT_PUBREC, MQTT_V5, MALFORMED_PACKET);
}

/* [MQTT-2.2.1-3] */
static void a_packet_id_of_0_is_a_protocol_error(void **state)
{
    (void)state;
    assert_refused("0000", MQTT_PUBACK, MQTT_V5, PROTOCOL_ERROR);
    assert_refused("0000", MQTT_PUBREL, MQTT_V311, PROTOCOL_ERROR);
}

static void before_5_0_there_is_nothing_behind_the_packet_id(void **state)
{
    (void)state;
    assert_refused("0001 00", MQTT_PUBACK, MQTT_V311, MALFORMED_PACKET);
    assert_refused("0001 00 00", MQTT_PUBREC, MQTT_V31, MALFORMED_PACKET);
}

static void bytes_behind_the_properties_are_malformed(void **state)
{
    (void)state;
    assert_refused("0001 00 00 00", MQTT_PUBACK, MQTT_V5, MALFORMED_PACKET);
    assert_refused("0001 00 04 1f <x> 00", MQTT_PUBACK, MQTT_V5, MALFORMED_PACKET);
}

static void property_errors_are_passed_on(void **state)
{
    (void)state;
    assert_refused("0001 00 08 1f <x> 1f <y>", MQTT_PUBACK, MQTT_V5, PROTOCOL_ERROR);
    assert_refused("0001 00 02 0101", MQTT_PUBACK, MQTT_V5, MALFORMED_PACKET);
}

static void truncations_are_refused_but_at_the_three_places_where_it_may_end(void **state)
{
    (void)state;
    struct slice whole = bytes("0001 10 06 1f <why>");
    for (size_t len = 0; len <= whole.len; len++) {
        bool complete = len == 2 || len == 3 || len == whole.len;
        enum mqtt_reason reason =
            mqtt_decode_ack(bytes_copy(slice_of(whole.data, len)), MQTT_PUBACK, MQTT_V5, &ack);
        assert_int_equal(reason == MQTT_REASON_SUCCESS, complete);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_short_form_means_success),
        cmocka_unit_test(reason_and_properties_of_5_0_are_read),
        cmocka_unit_test(a_reason_of_another_packet_is_malformed),
        cmocka_unit_test(a_packet_id_of_0_is_a_protocol_error),
        cmocka_unit_test(before_5_0_there_is_nothing_behind_the_packet_id),
        cmocka_unit_test(bytes_behind_the_properties_are_malformed),
        cmocka_unit_test(property_errors_are_passed_on),
        cmocka_unit_test(truncations_are_refused_but_at_the_three_places_where_it_may_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
