#include "codec/properties.h"

#include "tests/unit/codec/codec_support.h"

static struct mqtt_props props;

static enum mqtt_reason read_props(const char *text, unsigned where)
{
    struct slice in = bytes(text);
    enum mqtt_reason reason = mqtt_props_read(&in, where, &props);
    if (reason == MQTT_REASON_SUCCESS) {
        assert_int_equal(in.len, 0);
    }
    return reason;
}

#define assert_accepted(text, where) assert_int_equal(read_props(text, where), MQTT_REASON_SUCCESS)
#define assert_malformed(text, where) \
    assert_int_equal(read_props(text, where), MQTT_REASON_MALFORMED_PACKET)
#define assert_protocol_error(text, where) \
    assert_int_equal(read_props(text, where), MQTT_REASON_PROTOCOL_ERROR)

/* [MQTT-2.2.2-1] */
static void no_properties_are_a_length_of_zero(void **state)
{
    (void)state;
    assert_accepted("00", IN_PUBLISH);
    assert_int_equal(props.present, 0);
    assert_int_equal(props.raw.len, 0);
}

static void reading_stops_behind_the_properties(void **state)
{
    (void)state;
    struct slice in = bytes("02 0101 'payload'");
    assert_int_equal(mqtt_props_read(&in, IN_PUBLISH, &props), MQTT_REASON_SUCCESS);
    assert_bytes(in, "'payload'");
    assert_bytes(props.raw, "0101");
}

/* MQTT 5.0 section 2.2.2.2. */
static void every_property_of_publish_is_read(void **state)
{
    (void)state;
    assert_accepted("[01 01 02 00000e10 03 <text/plain> 08 <reply/to> 09 <id-1> 0b 8001 23 0007 "
                    "26 <k> <v>]",
                    IN_PUBLISH);
    assert_int_equal(props.payload_format, 1);
    assert_int_equal(props.message_expiry, 3600);
    assert_bytes(props.content_type, "'text/plain'");
    assert_bytes(props.response_topic, "'reply/to'");
    assert_bytes(props.correlation_data, "'id-1'");
    assert_int_equal(props.subscription_id, 128);
    assert_int_equal(props.topic_alias, 7);
    assert_bytes(props.user_property, "<k> <v>");
}

static void every_property_of_connect_is_read(void **state)
{
    (void)state;
    assert_accepted("[11 ffffffff 15 <SCRAM> 16 <data> 17 00 19 01 21 0014 22 000a 27 00010000]",
                    IN_CONNECT);
    assert_int_equal(props.session_expiry, UINT32_MAX);
    assert_bytes(props.auth_method, "'SCRAM'");
    assert_bytes(props.auth_data, "'data'");
    assert_int_equal(props.request_problem, 0);
    assert_int_equal(props.request_response, 1);
    assert_int_equal(props.receive_maximum, 20);
    assert_int_equal(props.topic_alias_maximum, 10);
    assert_int_equal(props.maximum_packet_size, 65536);
}

/* Section 3.1.3.2. */
static void a_will_delay_stands_only_with_a_will(void **state)
{
    (void)state;
    assert_accepted("05 18 0000000a", IN_WILL);
    assert_int_equal(props.will_delay, 10);
    assert_malformed("05 18 0000000a", IN_CONNECT);
    assert_malformed("05 18 0000000a", IN_PUBLISH);
}

/* Section 2.2.2.2: an identifier that is not valid for its packet makes the packet malformed. */
static void a_property_in_a_packet_where_it_may_not_stand_is_malformed(void **state)
{
    (void)state;
    assert_malformed("02 0101", IN_CONNECT);
    assert_malformed("03 230001", IN_WILL);
    assert_malformed("05 1100000001", IN_PUBLISH);
    assert_malformed("02 2401", IN_CONNECT);
    assert_malformed("04 1f <x>", IN_CONNECT);
    assert_malformed("04 1f <x>", IN_SUBSCRIBE);
}

static void a_property_stands_in_the_packets_of_the_table_and_no_others(void **state)
{
    (void)state;
    static const struct {
        uint8_t id;
        unsigned where;
        const char *text;
    } rows[] = {
        {0x01, IN_PUBLISH | IN_WILL, "02 0101"},
        {0x02, IN_PUBLISH | IN_WILL, "05 0200000001"},
        {0x03, IN_PUBLISH | IN_WILL, "04 03 <x>"},
        {0x08, IN_PUBLISH | IN_WILL, "04 08 <x>"},
        {0x09, IN_PUBLISH | IN_WILL, "04 09 <x>"},
        {0x0b, IN_PUBLISH | IN_SUBSCRIBE, "02 0b01"},
        {0x11, IN_CONNECT | IN_CONNACK | IN_DISCONNECT, "05 1100000001"},
        {0x12, IN_CONNACK, "04 12 <x>"},
        {0x13, IN_CONNACK, "03 130001"},
        {0x15, IN_CONNECT | IN_CONNACK | IN_AUTH, "04 15 <x>"},
        {0x16, IN_CONNECT | IN_CONNACK | IN_AUTH, "04 16 <x>"},
        {0x17, IN_CONNECT, "02 1701"},
        {0x18, IN_WILL, "05 1800000001"},
        {0x19, IN_CONNECT, "02 1901"},
        {0x1a, IN_CONNACK, "04 1a <x>"},
        {0x1c, IN_CONNACK | IN_DISCONNECT, "04 1c <x>"},
        {0x1f,
         IN_CONNACK | IN_PUBACK | IN_PUBREC | IN_PUBREL | IN_PUBCOMP | IN_SUBACK | IN_UNSUBACK |
             IN_DISCONNECT | IN_AUTH,
         "04 1f <x>"},
        {0x21, IN_CONNECT | IN_CONNACK, "03 210001"},
        {0x22, IN_CONNECT | IN_CONNACK, "03 220001"},
        {0x23, IN_PUBLISH, "03 230001"},
        {0x24, IN_CONNACK, "02 2401"},
        {0x25, IN_CONNACK, "02 2501"},
        {0x26, 0xffff & ~(1u << MQTT_PINGREQ | 1u << MQTT_PINGRESP), "07 26 <x> <y>"},
        {0x27, IN_CONNECT | IN_CONNACK, "05 2700000001"},
        {0x28, IN_CONNACK, "02 2801"},
        {0x29, IN_CONNACK, "02 2901"},
        {0x2a, IN_CONNACK, "02 2a01"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        for (unsigned where = 1; where <= IN_AUTH; where <<= 1) {
            enum mqtt_reason reason = read_props(rows[i].text, where);
            enum mqtt_reason wanted =
                (rows[i].where & where) != 0 ? MQTT_REASON_SUCCESS : MQTT_REASON_MALFORMED_PACKET;
            if (reason != wanted) {
                fail_msg("property %02x in %x: %s", rows[i].id, where,
                         mqtt_reason_name((uint8_t)reason));
            }
        }
    }
}

static void an_unknown_property_is_malformed(void **state)
{
    (void)state;
    static const uint8_t known[] = {0x01, 0x02, 0x03, 0x08, 0x09, 0x0b, 0x11, 0x12, 0x13,
                                    0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1c, 0x1f, 0x21,
                                    0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a};
    for (unsigned id = 0; id < 256; id++) {
        uint8_t text[10] = {9, (uint8_t)id};
        if (memchr(known, (int)id, sizeof(known)) == NULL) {
            struct slice in = slice_of(text, sizeof(text));
            assert_int_equal(mqtt_props_read(&in, IN_ALL, &props), MQTT_REASON_MALFORMED_PACKET);
        }
    }
}

/* "It is a Protocol Error to include ... more than once", with each property of section 3. */
static void a_property_that_comes_twice_is_a_protocol_error(void **state)
{
    (void)state;
    assert_protocol_error("04 0101 0101", IN_PUBLISH);
    assert_protocol_error("0a 0200000001 0200000001", IN_PUBLISH);
    assert_protocol_error("06 230001 230002", IN_PUBLISH);
    assert_protocol_error("0a 1100000001 1100000001", IN_CONNECT);
    assert_protocol_error("08 15 <x> 15 <x>", IN_CONNECT);
    assert_protocol_error("08 1f <x> 1f <y>", IN_PUBACK);
}

/* Section 3.8.2.1.2; in PUBLISH section 3.3.2.3.8 has one for each subscription. */
static void a_subscription_identifier_may_come_twice_in_publish_only(void **state)
{
    (void)state;
    assert_accepted("04 0b01 0b02", IN_PUBLISH);
    assert_int_equal(props.subscription_id, 1);
    assert_protocol_error("04 0b01 0b02", IN_SUBSCRIBE);
}

/* Sections 3.3.2.3.2, 3.1.2.11.3, 3.1.2.11.4, 3.1.2.11.6, 3.1.2.11.7, 3.8.2.1.2. */
static void a_value_out_of_range_is_a_protocol_error(void **state)
{
    (void)state;
    assert_protocol_error("02 0102", IN_PUBLISH);
    assert_protocol_error("02 1702", IN_CONNECT);
    assert_protocol_error("02 1902", IN_CONNECT);
    assert_protocol_error("03 210000", IN_CONNECT);
    assert_protocol_error("05 2700000000", IN_CONNECT);
    assert_protocol_error("02 0b00", IN_SUBSCRIBE);
    assert_accepted("03 220000", IN_CONNECT);
    assert_accepted("05 0b ffffff7f", IN_SUBSCRIBE);
    assert_int_equal(props.subscription_id, MQTT_VARINT_MAX);
}

/* [MQTT-1.5.5-1] */
static void a_subscription_identifier_with_too_many_bytes_is_malformed(void **state)
{
    (void)state;
    assert_malformed("03 0b 8100", IN_SUBSCRIBE);
    assert_malformed("06 0b ffffffff7f", IN_SUBSCRIBE);
}

/* [MQTT-3.3.2-13], [MQTT-3.3.2-19], [MQTT-1.5.7-1], [MQTT-1.5.4-2]; binary data is free. */
static void strings_must_be_utf8_and_binary_data_need_not(void **state)
{
    (void)state;
    assert_malformed("04 03 0001 ff", IN_PUBLISH);
    assert_malformed("04 03 0001 00", IN_PUBLISH);
    assert_malformed("04 08 0001 ff", IN_PUBLISH);
    assert_malformed("07 26 0001 ff <v>", IN_PUBLISH);
    assert_malformed("07 26 <k> 0001 ff", IN_PUBLISH);
    assert_accepted("05 09 0002 ff00", IN_PUBLISH);
}

/* [MQTT-3.3.2-14] */
static void a_response_topic_has_no_wildcards(void **state)
{
    (void)state;
    assert_protocol_error("06 08 <a/#>", IN_PUBLISH);
    assert_protocol_error("06 08 <+/b>", IN_WILL);
    assert_protocol_error("03 08 <>", IN_PUBLISH);
}

static void properties_that_do_not_fit_their_length_are_malformed(void **state)
{
    (void)state;
    assert_malformed("", IN_PUBLISH);
    assert_malformed("80", IN_PUBLISH);
    assert_malformed("03 0101", IN_PUBLISH);
    assert_malformed("01 01", IN_PUBLISH);
    assert_malformed("03 020000", IN_PUBLISH);
    assert_malformed("02 2300", IN_PUBLISH);
    assert_malformed("04 03 0002 'x'", IN_PUBLISH);
    assert_malformed("04 26 <k>", IN_PUBLISH);
    assert_malformed("8000", IN_PUBLISH);
}

/* One property that fills them all, so that no shorter length ends between two. */
static void every_shorter_length_than_the_properties_is_refused(void **state)
{
    (void)state;
    struct slice whole = bytes("[26 <name> <value>]");
    for (uint8_t len = 1; len < whole.len; len++) {
        uint8_t copy[16];
        memcpy(copy, whole.data, whole.len);
        copy[0] = len;
        struct slice in = bytes_copy(slice_of(copy, len + 1u));
        enum mqtt_reason reason = mqtt_props_read(&in, IN_PUBLISH, &props);
        assert_int_equal(reason == MQTT_REASON_SUCCESS, len == whole.len - 1);
    }
}

/* [MQTT-3.3.2-18]: in order; section 3.3.2.3.7: a name may come more than once. */
static void user_properties_are_walked_in_order(void **state)
{
    (void)state;
    assert_accepted("[26 <a> <1> 01 01 26 <b> <2> 03 <text> 26 <a> <3>]", IN_PUBLISH);
    static const char *const wanted[][2] = {{"'a'", "'1'"}, {"'b'", "'2'"}, {"'a'", "'3'"}};
    struct slice rest = props.raw;
    struct mqtt_user_prop user;
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        assert_true(mqtt_user_props_next(&rest, &user));
        assert_bytes(user.name, wanted[i][0]);
        assert_bytes(user.value, wanted[i][1]);
    }
    assert_false(mqtt_user_props_next(&rest, &user));
}

static void assert_forwarded(const char *text, unsigned where, const char *expected)
{
    assert_accepted(text, where);
    struct slice wanted = bytes(expected);
    assert_int_equal(mqtt_props_forwarded_len(&props), wanted.len);
    struct slice out = bytes_copy(wanted);
    memset((uint8_t *)(uintptr_t)out.data, 0, out.len);
    mqtt_props_forward(&props, (uint8_t *)(uintptr_t)out.data);
    assert_bytes(out, expected);
}

/* [MQTT-3.3.2-4], [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-20]: unaltered.
 * Topic Alias is of one connection; what remains of the expiry is the broker's to say. */
static void what_is_forwarded_keeps_its_order_and_bytes(void **state)
{
    (void)state;
    assert_forwarded("00", IN_PUBLISH, "");
    assert_forwarded("[26 <a> <1> 01 01 26 <b> <2>]", IN_PUBLISH, "26 <a> <1> 01 01 26 <b> <2>");
    assert_forwarded("[23 0001 26 <a> <1> 02 0000000a 01 01 26 <b> <2>]", IN_PUBLISH,
                     "26 <a> <1> 01 01 26 <b> <2>");
    assert_forwarded("[18 00000001 26 <a> <1>]", IN_WILL, "26 <a> <1>");
    assert_forwarded("03 23 0001", IN_PUBLISH, "");
}

/* Random properties of PUBLISH, written with the writers and read again. */
static void what_is_written_is_what_is_read(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    for (int round = 0; round < 5000; round++) {
        uint8_t body[512];
        struct writer w = {.at = body, .end = body + sizeof(body)};
        uint32_t number = random_below(&random, UINT32_MAX);
        uint32_t some = random_below(&random, 64);
        char text[16] = "abcdefghijklmno";
        struct slice words = slice_of(text, 1 + random_below(&random, 15));
        uint32_t id = 1 + number % MQTT_VARINT_MAX;
        if ((some & 1) != 0) {
            mqtt_prop_write_byte(&w, MQTT_PROP_PAYLOAD_FORMAT, number & 1);
        }
        if ((some & 2) != 0) {
            mqtt_prop_write_u16(&w, MQTT_PROP_TOPIC_ALIAS, (uint16_t)number);
        }
        if ((some & 4) != 0) {
            mqtt_prop_write_u32(&w, MQTT_PROP_MESSAGE_EXPIRY, number);
        }
        if ((some & 8) != 0) {
            mqtt_prop_write_varint(&w, MQTT_PROP_SUBSCRIPTION_ID, id);
        }
        if ((some & 16) != 0) {
            mqtt_prop_write_bytes(&w, MQTT_PROP_CORRELATION_DATA, words);
        }
        if ((some & 32) != 0) {
            mqtt_prop_write_bytes(&w, MQTT_PROP_RESPONSE_TOPIC, words);
        }
        size_t len = (size_t)(w.at - body);
        uint8_t whole[516];
        w = (struct writer){.at = whole, .end = whole + sizeof(whole)};
        write_varint(&w, (uint32_t)len);
        write_bytes(&w, slice_of(body, len));
        struct slice in = slice_of(whole, (size_t)(w.at - whole));
        assert_int_equal(mqtt_props_read(&in, IN_PUBLISH, &props), MQTT_REASON_SUCCESS);
        assert_int_equal(in.len, 0);
        uint64_t present = 0;
        static const enum mqtt_prop order[] = {
            MQTT_PROP_PAYLOAD_FORMAT,  MQTT_PROP_TOPIC_ALIAS,      MQTT_PROP_MESSAGE_EXPIRY,
            MQTT_PROP_SUBSCRIPTION_ID, MQTT_PROP_CORRELATION_DATA, MQTT_PROP_RESPONSE_TOPIC};
        for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
            present |= (some >> i & 1) != 0 ? UINT64_C(1) << order[i] : 0;
        }
        assert_true(props.present == present);
        assert_true((some & 1) == 0 || props.payload_format == (number & 1));
        assert_true((some & 2) == 0 || props.topic_alias == (uint16_t)number);
        assert_true((some & 4) == 0 || props.message_expiry == number);
        assert_true((some & 8) == 0 || props.subscription_id == id);
        assert_true((some & 16) == 0 || slice_equal(props.correlation_data, words));
        assert_true((some & 32) == 0 || slice_equal(props.response_topic, words));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_properties_are_a_length_of_zero),
        cmocka_unit_test(reading_stops_behind_the_properties),
        cmocka_unit_test(every_property_of_publish_is_read),
        cmocka_unit_test(every_property_of_connect_is_read),
        cmocka_unit_test(a_will_delay_stands_only_with_a_will),
        cmocka_unit_test(a_property_in_a_packet_where_it_may_not_stand_is_malformed),
        cmocka_unit_test(a_property_stands_in_the_packets_of_the_table_and_no_others),
        cmocka_unit_test(an_unknown_property_is_malformed),
        cmocka_unit_test(a_property_that_comes_twice_is_a_protocol_error),
        cmocka_unit_test(a_subscription_identifier_may_come_twice_in_publish_only),
        cmocka_unit_test(a_value_out_of_range_is_a_protocol_error),
        cmocka_unit_test(a_subscription_identifier_with_too_many_bytes_is_malformed),
        cmocka_unit_test(strings_must_be_utf8_and_binary_data_need_not),
        cmocka_unit_test(a_response_topic_has_no_wildcards),
        cmocka_unit_test(properties_that_do_not_fit_their_length_are_malformed),
        cmocka_unit_test(every_shorter_length_than_the_properties_is_refused),
        cmocka_unit_test(user_properties_are_walked_in_order),
        cmocka_unit_test(what_is_forwarded_keeps_its_order_and_bytes),
        cmocka_unit_test(what_is_written_is_what_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
