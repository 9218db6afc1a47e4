#include "tests/unit/codec/codec_support.h"

static uint8_t out[512];

/* A writer with room for exactly `len` bytes: one more is an assertion. */
static struct writer room(size_t len)
{
    assert_true(len <= sizeof(out));
    memset(out, 0xa5, sizeof(out));
    return (struct writer){.at = out, .end = out + len};
}

static void assert_written(const struct writer *w, const char *expected)
{
    assert_ptr_equal(w->at, w->end); /* the _len was right */
    assert_bytes(slice_of(out, (size_t)(w->at - out)), expected);
}

static const struct slice no_string = {NULL, 0};

static void assert_connack(const struct mqtt_connack *connack, enum mqtt_version version,
                           const char *expected)
{
    struct writer w = room(mqtt_connack_len(connack, version));
    mqtt_encode_connack(&w, connack, version);
    assert_written(&w, expected);
}

/* Section 3.2.2; 3.1.1 section 3.2.2; before 3.1.1 the acknowledge flags are reserved. */
static void connack_says_whether_there_was_a_session(void **state)
{
    (void)state;
    struct mqtt_connack connack = {.session_present = true};
    assert_connack(&connack, MQTT_V5, "20 03 01 00 00");
    assert_connack(&connack, MQTT_V311, "20 02 01 00");
    assert_connack(&connack, MQTT_V31, "20 02 00 00");
}

/* [MQTT-3.2.2-6]; 3.1.1 [MQTT-3.2.2-4] */
static void a_refusal_never_has_a_session(void **state)
{
    (void)state;
    struct mqtt_connack connack = {.session_present = true, .reason = MQTT_REASON_NOT_AUTHORIZED};
    assert_connack(&connack, MQTT_V5, "20 03 00 87 00");
    assert_connack(&connack, MQTT_V311, "20 02 00 05");
}

/* Section 3.2.2.3: in the order of their ids; what is not present is not written. */
static void connack_has_the_properties_that_are_present(void **state)
{
    (void)state;
    struct mqtt_connack connack = {.reason = MQTT_REASON_SUCCESS};
    connack.props.present =
        UINT64_C(1) << MQTT_PROP_RECEIVE_MAXIMUM | UINT64_C(1) << MQTT_PROP_ASSIGNED_CLIENT_ID |
        UINT64_C(1) << MQTT_PROP_MAXIMUM_PACKET_SIZE | UINT64_C(1) << MQTT_PROP_WILDCARD_AVAILABLE |
        UINT64_C(1) << MQTT_PROP_SERVER_KEEP_ALIVE;
    connack.props.receive_maximum = 20;
    connack.props.assigned_client_id = slice_text("auto-1");
    connack.props.maximum_packet_size = 65536;
    connack.props.wildcard_available = 0;
    connack.props.server_keep_alive = 30;
    connack.props.topic_alias_maximum = 99;
    assert_connack(&connack, MQTT_V5,
                   "20 19 00 00 16 12 <auto-1> 13 001e 21 0014 27 00010000 28 00");
    assert_connack(&connack, MQTT_V311, "20 02 00 00");
}

static void properties_that_connack_may_not_have_are_left_out(void **state)
{
    (void)state;
    struct mqtt_connack connack = {.reason = MQTT_REASON_SUCCESS};
    connack.props.present = UINT64_C(1) << MQTT_PROP_USER_PROPERTY |
                            UINT64_C(1) << MQTT_PROP_TOPIC_ALIAS |
                            UINT64_C(1) << MQTT_PROP_WILL_DELAY;
    assert_connack(&connack, MQTT_V5, "20 03 00 00 00");
}

/* Whatever CONNACK can have, the reader reads as it was. */
static void every_property_of_connack_comes_back(void **state)
{
    (void)state;
    struct mqtt_connack connack = {.reason = MQTT_REASON_SUCCESS};
#define X(id, name, field, type, packets, times, min, max) \
    connack.props.present |=                               \
        ((packets)&IN_CONNACK) != 0 && id != MQTT_PROP_USER_PROPERTY ? UINT64_C(1) << id : 0;
#include "codec/properties.def"
#undef X
    connack.props.session_expiry = 100;
    connack.props.assigned_client_id = slice_text("id");
    connack.props.server_keep_alive = 60;
    connack.props.auth_method = slice_text("method");
    connack.props.auth_data = slice_text("data");
    connack.props.response_info = slice_text("info");
    connack.props.server_reference = slice_text("other.example");
    connack.props.reason_string = slice_text("because");
    connack.props.receive_maximum = 10;
    connack.props.topic_alias_maximum = 11;
    connack.props.maximum_qos = 1;
    connack.props.maximum_packet_size = 1000;
    struct writer w = room(mqtt_connack_len(&connack, MQTT_V5));
    mqtt_encode_connack(&w, &connack, MQTT_V5);
    assert_ptr_equal(w.at, w.end);
    struct slice rest = slice_of(out + 4, (size_t)(w.at - out) - 4);
    struct mqtt_props props;
    assert_int_equal(mqtt_props_read(&rest, IN_CONNACK, &props), MQTT_REASON_SUCCESS);
    assert_true(props.present == connack.props.present);
    assert_int_equal(props.session_expiry, 100);
    assert_bytes(props.assigned_client_id, "'id'");
    assert_int_equal(props.server_keep_alive, 60);
    assert_bytes(props.server_reference, "'other.example'");
    assert_bytes(props.reason_string, "'because'");
    assert_int_equal(props.receive_maximum, 10);
    assert_int_equal(props.topic_alias_maximum, 11);
    assert_int_equal(props.maximum_qos, 1);
    assert_int_equal(props.maximum_packet_size, 1000);
}

static void assert_ack(enum mqtt_packet type, uint8_t reason, const char *why,
                       enum mqtt_version version, const char *expected)
{
    struct writer w = room(mqtt_ack_len(reason, slice_text(why), version));
    mqtt_encode_ack(&w, type, 0x1234, reason, slice_text(why), version);
    assert_written(&w, expected);
}

/* Sections 3.4 to 3.7; [MQTT-3.6.1-1] for PUBREL's flags. */
static void success_takes_the_short_form(void **state)
{
    (void)state;
    for (int version = MQTT_V31; version <= MQTT_V5; version++) {
        assert_ack(MQTT_PUBACK, MQTT_REASON_SUCCESS, "", (enum mqtt_version)version, "40 02 1234");
        assert_ack(MQTT_PUBREC, MQTT_REASON_SUCCESS, "", (enum mqtt_version)version, "50 02 1234");
        assert_ack(MQTT_PUBREL, MQTT_REASON_SUCCESS, "", (enum mqtt_version)version, "62 02 1234");
        assert_ack(MQTT_PUBCOMP, MQTT_REASON_SUCCESS, "", (enum mqtt_version)version, "70 02 1234");
    }
}

/* Section 3.4.2.2.1: no properties, no length. */
static void another_reason_takes_one_byte_more(void **state)
{
    (void)state;
    assert_ack(MQTT_PUBACK, MQTT_REASON_NO_MATCHING_SUBSCRIBERS, "", MQTT_V5, "40 03 1234 10");
    assert_ack(MQTT_PUBREL, MQTT_REASON_PACKET_ID_NOT_FOUND, "", MQTT_V5, "62 03 1234 92");
    assert_int_equal(mqtt_ack_len(MQTT_REASON_QUOTA_EXCEEDED, no_string, MQTT_V5),
                     MQTT_ACK_LEN_MAX_WITHOUT_STRING);
}

static void an_ack_can_say_why(void **state)
{
    (void)state;
    assert_ack(MQTT_PUBREC, MQTT_REASON_QUOTA_EXCEEDED, "full", MQTT_V5,
               "50 0b 1234 97 07 1f <full>");
    assert_ack(MQTT_PUBACK, MQTT_REASON_SUCCESS, "ok", MQTT_V5, "40 09 1234 00 05 1f <ok>");
}

static void before_5_0_an_ack_is_only_its_packet_id(void **state)
{
    (void)state;
    assert_ack(MQTT_PUBACK, MQTT_REASON_QUOTA_EXCEEDED, "full", MQTT_V311, "40 02 1234");
}

static void assert_suback(enum mqtt_packet type, const char *codes, const char *why,
                          enum mqtt_version version, const char *expected)
{
    struct slice reasons = bytes(codes);
    struct slice words = slice_text(why);
    struct writer w = room(mqtt_suback_len(type, reasons.len, words, version));
    mqtt_encode_suback(&w, type, 0x0102, reasons.data, reasons.len, words, version);
    assert_written(&w, expected);
}

/* [MQTT-3.9.3-1], [MQTT-3.11.3-1]: in the order of the filters. */
static void suback_has_a_reason_for_each_filter(void **state)
{
    (void)state;
    assert_suback(MQTT_SUBACK, "00 01 02 8f 87", "", MQTT_V5, "90 08 0102 00 00 01 02 8f 87");
    assert_suback(MQTT_SUBACK, "97", "no", MQTT_V5, "90 09 0102 05 1f <no> 97");
    assert_suback(MQTT_UNSUBACK, "00 11", "", MQTT_V5, "b0 05 0102 00 00 11");
}

/* 3.1.1 [MQTT-3.9.3-2], section 3.11: UNSUBACK has no payload. */
static void before_5_0_failures_are_0x80_and_unsuback_is_empty(void **state)
{
    (void)state;
    assert_suback(MQTT_SUBACK, "00 01 02 8f 87", "no", MQTT_V311, "90 07 0102 00 01 02 80 80");
    assert_suback(MQTT_UNSUBACK, "00 11", "no", MQTT_V311, "b0 02 0102");
    assert_suback(MQTT_UNSUBACK, "00 11", "no", MQTT_V31, "b0 02 0102");
}

static void assert_disconnect(enum mqtt_reason reason, const struct mqtt_props *props,
                              const char *expected)
{
    struct writer w = room(mqtt_disconnect_len(reason, props));
    mqtt_encode_disconnect(&w, reason, props);
    assert_written(&w, expected);
}

/* Section 3.14.2; [MQTT-3.14.2-2]: a server sends no Session Expiry. */
static void disconnect_leaves_out_what_is_not_needed(void **state)
{
    (void)state;
    struct mqtt_props props = {.present = 0};
    assert_disconnect(MQTT_REASON_SUCCESS, NULL, "e0 00");
    assert_disconnect(MQTT_REASON_SESSION_TAKEN_OVER, NULL, "e0 01 8e");
    assert_disconnect(MQTT_REASON_SESSION_TAKEN_OVER, &props, "e0 01 8e");
    props.present = UINT64_C(1) << MQTT_PROP_REASON_STRING |
                    UINT64_C(1) << MQTT_PROP_SERVER_REFERENCE |
                    UINT64_C(1) << MQTT_PROP_SESSION_EXPIRY;
    props.reason_string = slice_text("gone");
    props.server_reference = slice_text("b");
    assert_disconnect(MQTT_REASON_SERVER_MOVED, &props, "e0 0d 9d 0b 1c <b> 1f <gone>");
}

static void pingresp_is_two_bytes(void **state)
{
    (void)state;
    struct writer w = room(MQTT_PINGRESP_LEN);
    mqtt_encode_pingresp(&w);
    assert_written(&w, "d0 00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connack_says_whether_there_was_a_session),
        cmocka_unit_test(a_refusal_never_has_a_session),
        cmocka_unit_test(connack_has_the_properties_that_are_present),
        cmocka_unit_test(properties_that_connack_may_not_have_are_left_out),
        cmocka_unit_test(every_property_of_connack_comes_back),
        cmocka_unit_test(success_takes_the_short_form),
        cmocka_unit_test(another_reason_takes_one_byte_more),
        cmocka_unit_test(an_ack_can_say_why),
        cmocka_unit_test(before_5_0_an_ack_is_only_its_packet_id),
        cmocka_unit_test(suback_has_a_reason_for_each_filter),
        cmocka_unit_test(before_5_0_failures_are_0x80_and_unsuback_is_empty),
        cmocka_unit_test(disconnect_leaves_out_what_is_not_needed),
        cmocka_unit_test(pingresp_is_two_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
