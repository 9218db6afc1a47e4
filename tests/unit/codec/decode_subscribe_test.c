#include "tests/unit/codec/codec_support.h"

static struct mqtt_subscribe subscribe;
static struct mqtt_unsubscribe unsubscribe;

static enum mqtt_reason decode_v5(struct slice body)
{
    memset(&subscribe, 0xa5, sizeof(subscribe));
    return mqtt_decode_subscribe(body, MQTT_V5, &subscribe);
}

static enum mqtt_reason decode_v311(struct slice body)
{
    memset(&subscribe, 0xa5, sizeof(subscribe));
    return mqtt_decode_subscribe(body, MQTT_V311, &subscribe);
}

static enum mqtt_reason decode_unsubscribe_v5(struct slice body)
{
    memset(&unsubscribe, 0xa5, sizeof(unsubscribe));
    return mqtt_decode_unsubscribe(body, MQTT_V5, &unsubscribe);
}

static enum mqtt_reason decode_unsubscribe_v311(struct slice body)
{
    memset(&unsubscribe, 0xa5, sizeof(unsubscribe));
    return mqtt_decode_unsubscribe(body, MQTT_V311, &unsubscribe);
}

#define assert_accepted(decode, text) assert_int_equal(decode(bytes(text)), MQTT_REASON_SUCCESS)
#define assert_refused(decode, text, name) assert_int_equal(decode(bytes(text)), MQTT_REASON_##name)

static void subscriptions_are_walked_in_order_with_their_options(void **state)
{
    (void)state;
    assert_accepted(decode_v5, "000a 02 0b07 <a/b> 00 <c/#> 2e <$share/g/d> 19");
    assert_int_equal(subscribe.packet_id, 10);
    assert_int_equal(subscribe.subscription_id, 7);
    assert_int_equal(subscribe.count, 3);
    struct slice rest = subscribe.filters;
    struct mqtt_subscription sub;
    assert_true(mqtt_subscribe_next(&rest, &sub));
    assert_bytes(sub.filter, "'a/b'");
    assert_int_equal(sub.qos, 0);
    assert_false(sub.no_local);
    assert_false(sub.retain_as_published);
    assert_int_equal(sub.retain_handling, 0);
    assert_true(mqtt_subscribe_next(&rest, &sub));
    assert_bytes(sub.filter, "'c/#'");
    assert_int_equal(sub.qos, 2);
    assert_true(sub.no_local);
    assert_true(sub.retain_as_published);
    assert_int_equal(sub.retain_handling, 2);
    assert_true(mqtt_subscribe_next(&rest, &sub));
    assert_bytes(sub.filter, "'$share/g/d'");
    assert_int_equal(sub.qos, 1);
    assert_false(sub.no_local);
    assert_true(sub.retain_as_published);
    assert_int_equal(sub.retain_handling, 1);
    assert_false(mqtt_subscribe_next(&rest, &sub));
}

static void a_subscribe_of_3_1_1_is_read(void **state)
{
    (void)state;
    assert_accepted(decode_v311, "000a <a/b> 01 <c> 02");
    assert_int_equal(subscribe.count, 2);
    assert_int_equal(subscribe.subscription_id, 0);
    assert_int_equal(subscribe.props.present, 0);
}

/* [MQTT-3.8.3-2], [MQTT-3.10.3-2] */
static void a_packet_without_filters_is_a_protocol_error(void **state)
{
    (void)state;
    assert_refused(decode_v5, "0001 00", PROTOCOL_ERROR);
    assert_refused(decode_v311, "0001", PROTOCOL_ERROR);
    assert_refused(decode_unsubscribe_v5, "0001 00", PROTOCOL_ERROR);
    assert_refused(decode_unsubscribe_v311, "0001", PROTOCOL_ERROR);
}

/* [MQTT-2.2.1-3] */
static void a_packet_id_of_0_is_a_protocol_error(void **state)
{
    (void)state;
    assert_refused(decode_v5, "0000 00 <a> 00", PROTOCOL_ERROR);
    assert_refused(decode_unsubscribe_v311, "0000 <a>", PROTOCOL_ERROR);
}

/* [MQTT-3.8.3-5]; 3.1.1 [MQTT-3.8.3-4] */
static void reserved_option_bits_are_malformed(void **state)
{
    (void)state;
    assert_refused(decode_v5, "0001 00 <a> 40", MALFORMED_PACKET);
    assert_refused(decode_v5, "0001 00 <a> 80", MALFORMED_PACKET);
    static const char *const before_5[] = {"0001 <a> 04", "0001 <a> 08", "0001 <a> 10",
                                           "0001 <a> 20", "0001 <a> 40", "0001 <a> 80"};
    for (size_t i = 0; i < ARRAY_COUNT(before_5); i++) {
        assert_refused(decode_v311, before_5[i], MALFORMED_PACKET);
    }
}

/* Section 3.8.3.1; 3.1.1 [MQTT-3.8.3-4] */
static void a_requested_qos_of_3_is_refused(void **state)
{
    (void)state;
    assert_refused(decode_v5, "0001 00 <a> 03", PROTOCOL_ERROR);
    assert_refused(decode_v311, "0001 <a> 03", MALFORMED_PACKET);
}

/* Section 3.8.3.1. */
static void a_retain_handling_of_3_is_a_protocol_error(void **state)
{
    (void)state;
    assert_refused(decode_v5, "0001 00 <a> 30", PROTOCOL_ERROR);
}

/* [MQTT-3.8.3-4] */
static void no_local_on_a_shared_subscription_is_a_protocol_error(void **state)
{
    (void)state;
    assert_refused(decode_v5, "0001 00 <$share/g/a> 04", PROTOCOL_ERROR);
    assert_accepted(decode_v5, "0001 00 <$shared/g/a> 04");
}

/* Section 3.8.2.1.2. */
static void a_subscription_identifier_is_not_0_and_comes_once(void **state)
{
    (void)state;
    assert_refused(decode_v5, "0001 02 0b00 <a> 00", PROTOCOL_ERROR);
    assert_refused(decode_v5, "0001 04 0b01 0b02 <a> 00", PROTOCOL_ERROR);
    assert_refused(decode_unsubscribe_v5, "0001 02 0b01 <a>", MALFORMED_PACKET);
}

/* [MQTT-3.8.3-1], [MQTT-3.10.3-1] */
static void a_filter_that_is_not_utf8_is_malformed(void **state)
{
    (void)state;
    assert_refused(decode_v5, "0001 00 <a> 00 0001 ff 00", MALFORMED_PACKET);
    assert_refused(decode_v311, "0001 0001 00 00", MALFORMED_PACKET);
    assert_refused(decode_unsubscribe_v5, "0001 00 0001 ff", MALFORMED_PACKET);
}

/* The bad one is the last: all of a packet is checked before any of it is used. */
static void every_entry_is_checked(void **state)
{
    (void)state;
    assert_refused(decode_v5, "0001 00 <a> 00 <b> 01 <c> 43", MALFORMED_PACKET);
    assert_refused(decode_v5, "0001 00 <a> 00 <b> 01 <c>", MALFORMED_PACKET);
}

static void more_filters_than_can_be_counted_are_refused(void **state)
{
    (void)state;
    enum { COUNT = 65536 };
    uint8_t *body = calloc(2 + COUNT, 3); /* filters without bytes */
    assert_non_null(body);
    body[1] = 1;
    struct slice most = slice_of(body, 2 + 3 * (COUNT - 1));
    assert_int_equal(decode_v311(most), MQTT_REASON_SUCCESS);
    assert_int_equal(subscribe.count, UINT16_MAX);
    struct slice more = slice_of(body, 2 + 3 * COUNT);
    assert_int_equal(decode_v311(more), MQTT_REASON_QUOTA_EXCEEDED);
    free(body);
}

static void unsubscribe_is_walked_in_order(void **state)
{
    (void)state;
    assert_accepted(decode_unsubscribe_v5, "0102 07 26 <k> <v> <a/b> <c/#>");
    assert_int_equal(unsubscribe.packet_id, 0x102);
    assert_int_equal(unsubscribe.count, 2);
    struct slice rest = unsubscribe.filters;
    struct slice filter;
    assert_true(mqtt_unsubscribe_next(&rest, &filter));
    assert_bytes(filter, "'a/b'");
    assert_true(mqtt_unsubscribe_next(&rest, &filter));
    assert_bytes(filter, "'c/#'");
    assert_false(mqtt_unsubscribe_next(&rest, &filter));
    assert_accepted(decode_unsubscribe_v311, "0102 <a/b>");
    assert_int_equal(unsubscribe.count, 1);
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    struct slice v5 = bytes("000a 02 0b07 <filter/one> 01");
    assert_truncations_refused(decode_v5, v5, v5.len);
    struct slice v311 = bytes("000a <filter/one> 01");
    assert_truncations_refused(decode_v311, v311, v311.len);
    struct slice un_v5 = bytes("000a 07 26 <k> <v> <filter/one>");
    assert_truncations_refused(decode_unsubscribe_v5, un_v5, un_v5.len);
    struct slice un_v311 = bytes("000a <filter/one>");
    assert_truncations_refused(decode_unsubscribe_v311, un_v311, un_v311.len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(subscriptions_are_walked_in_order_with_their_options),
        cmocka_unit_test(a_subscribe_of_3_1_1_is_read),
        cmocka_unit_test(a_packet_without_filters_is_a_protocol_error),
        cmocka_unit_test(a_packet_id_of_0_is_a_protocol_error),
        cmocka_unit_test(reserved_option_bits_are_malformed),
        cmocka_unit_test(a_requested_qos_of_3_is_refused),
        cmocka_unit_test(a_retain_handling_of_3_is_a_protocol_error),
        cmocka_unit_test(no_local_on_a_shared_subscription_is_a_protocol_error),
        cmocka_unit_test(a_subscription_identifier_is_not_0_and_comes_once),
        cmocka_unit_test(a_filter_that_is_not_utf8_is_malformed),
        cmocka_unit_test(every_entry_is_checked),
        cmocka_unit_test(more_filters_than_can_be_counted_are_refused),
        cmocka_unit_test(unsubscribe_is_walked_in_order),
        cmocka_unit_test(every_truncation_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
