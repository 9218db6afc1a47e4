#include "tests/unit/codec/codec_support.h"

static enum mqtt_frame_status read_frame(const char *text, struct mqtt_frame *frame)
{
    return mqtt_frame_read(bytes(text), frame);
}

static void type_flags_and_length_are_read(void **state)
{
    (void)state;
    struct mqtt_frame frame;
    assert_int_equal(read_frame("3d 05", &frame), MQTT_FRAME_OK);
    assert_int_equal(frame.type, MQTT_PUBLISH);
    assert_int_equal(frame.flags, 13);
    assert_int_equal(frame.header_len, 2);
    assert_int_equal(frame.body_len, 5);
}

/* MQTT 5.0 table 1-1: the least and the most that fits in 1 to 4 bytes. */
static void lengths_of_one_to_four_bytes_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t len;
    } rows[] = {
        {"c0 00", 0},
        {"c0 7f", 127},
        {"c0 8001", 128},
        {"c0 ff7f", 16383},
        {"c0 808001", 16384},
        {"c0 ffff7f", 2097151},
        {"c0 80808001", 2097152},
        {"c0 ffffff7f", MQTT_VARINT_MAX},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct mqtt_frame frame;
        struct slice in = bytes(rows[i].text);
        assert_int_equal(mqtt_frame_read(in, &frame), MQTT_FRAME_OK);
        assert_int_equal(frame.body_len, rows[i].len);
        assert_int_equal(frame.header_len, in.len);
    }
}

static void a_header_that_is_not_all_there_is_incomplete(void **state)
{
    (void)state;
    struct mqtt_frame frame;
    assert_int_equal(read_frame("", &frame), MQTT_FRAME_INCOMPLETE);
    assert_int_equal(read_frame("30", &frame), MQTT_FRAME_INCOMPLETE);
    assert_int_equal(read_frame("30 80", &frame), MQTT_FRAME_INCOMPLETE);
    assert_int_equal(read_frame("30 ffffff", &frame), MQTT_FRAME_INCOMPLETE);
}

/* MQTT 5.0 section 1.5.5: four bytes at most. */
static void a_length_of_five_bytes_is_malformed_before_the_fifth_comes(void **state)
{
    (void)state;
    struct mqtt_frame frame;
    assert_int_equal(read_frame("30 ffffff80", &frame), MQTT_FRAME_MALFORMED);
    assert_int_equal(read_frame("30 ffffff8001", &frame), MQTT_FRAME_MALFORMED);
}

/* [MQTT-1.5.5-1] */
static void a_length_with_more_bytes_than_it_needs_is_malformed(void **state)
{
    (void)state;
    struct mqtt_frame frame;
    assert_int_equal(read_frame("30 8000", &frame), MQTT_FRAME_MALFORMED);
    assert_int_equal(read_frame("30 ff8000", &frame), MQTT_FRAME_MALFORMED);
    assert_int_equal(read_frame("30 80808000", &frame), MQTT_FRAME_MALFORMED);
}

/* [MQTT-1.5.5-1]; ends of each length, and what lies between at random. */
static void what_the_writer_writes_is_what_is_read(void **state)
{
    (void)state;
    uint64_t random = random_seed();
    for (int i = 0; i < 20000; i++) {
        uint32_t value = random_below(&random, MQTT_VARINT_MAX) >> random_below(&random, 28);
        uint8_t out[5] = {0xc0};
        struct writer w = {.at = out + 1, .end = out + 1 + varint_len(value)};
        write_varint(&w, value);
        assert_ptr_equal(w.at, w.end);
        struct mqtt_frame frame;
        assert_int_equal(mqtt_frame_read(slice_of(out, (size_t)(w.at - out)), &frame),
                         MQTT_FRAME_OK);
        assert_int_equal(frame.body_len, value);
    }
}

/* [MQTT-2.1.3-1], [MQTT-3.6.1-1], [MQTT-3.8.1-1], [MQTT-3.10.1-1], [MQTT-3.14.1-1], [MQTT-3.15.1-1]
 */
static void reserved_flags_must_have_their_value(void **state)
{
    (void)state;
    for (uint8_t type = 1; type <= 15; type++) {
        uint8_t wanted =
            type == MQTT_PUBREL || type == MQTT_SUBSCRIBE || type == MQTT_UNSUBSCRIBE ? 2 : 0;
        for (uint8_t flags = 0; flags <= 15; flags++) {
            bool valid = type == MQTT_PUBLISH || flags == wanted;
            assert_int_equal(mqtt_flags_valid(type, flags), valid);
        }
    }
    assert_false(mqtt_flags_valid(16, 0));
}

static void packets_have_names(void **state)
{
    (void)state;
    assert_string_equal(mqtt_packet_name(MQTT_CONNECT), "CONNECT");
    assert_string_equal(mqtt_packet_name(MQTT_AUTH), "AUTH");
    assert_string_equal(mqtt_packet_name(0), "reserved");
    assert_string_equal(mqtt_packet_name(16), "reserved");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_flags_and_length_are_read),
        cmocka_unit_test(lengths_of_one_to_four_bytes_are_read),
        cmocka_unit_test(a_header_that_is_not_all_there_is_incomplete),
        cmocka_unit_test(a_length_of_five_bytes_is_malformed_before_the_fifth_comes),
        cmocka_unit_test(a_length_with_more_bytes_than_it_needs_is_malformed),
        cmocka_unit_test(what_the_writer_writes_is_what_is_read),
        cmocka_unit_test(reserved_flags_must_have_their_value),
        cmocka_unit_test(packets_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
