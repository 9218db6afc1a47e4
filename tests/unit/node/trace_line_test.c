#include "node/trace_line_priv.h"

#include <stdio.h>

#include "tests/unit/node/node_support.h"

/* What trace__describe makes of `bytes`; a copy of exactly their size, for the address sanitizer.
 */
static void assert_line(const void *bytes, size_t len, enum mqtt_version version,
                        const char *expected)
{
    struct text line = {0};
    uint8_t *copy = malloc(len > 0 ? len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    trace__describe(&line, slice_of(copy, len), version);
    if (strcmp(line.data, expected) != 0) {
        fail_msg("%s\ninstead of %s", line.data, expected);
    }
    text_fini(&line);
    free(copy);
}

#define LINE(bytes, version, expected) assert_line(bytes, sizeof(bytes) - 1, version, expected)

static void a_publish_shows_its_head_and_the_size_of_its_payload(void **state)
{
    (void)state;
    LINE("\x3b\x0d\x00\x03"
         "a/b\x00\x07payl\xff",
         MQTT_V311,
         ",\"packet\":\"PUBLISH\",\"bytes\":15,\"topic\":\"a/b\",\"qos\":1,\"retain\":true,\"dup\":"
         "true,\"packet_id\":7,\"payload_bytes\":6");
    LINE("\x30\x08\x00\x01"
         "a\x03\x23\x00\x09x",
         MQTT_V5,
         ",\"packet\":\"PUBLISH\",\"bytes\":10,\"topic\":\"a\",\"qos\":0,\"retain\":false,\"dup\":"
         "false,\"topic_alias\":9,\"payload_bytes\":1");
}

/* A large payload stands elsewhere: only the head is there. */
static void the_payload_need_not_be_there(void **state)
{
    (void)state;
    LINE("\x30\x80\x80\x01\x00\x01"
         "a",
         MQTT_V311,
         ",\"packet\":\"PUBLISH\",\"bytes\":16388,\"topic\":\"a\",\"qos\":0,\"retain\":false,"
         "\"dup\":false,\"payload_bytes\":16381");
}

static void acknowledgements_show_their_reason(void **state)
{
    (void)state;
    LINE("\x40\x02\x01\x02", MQTT_V311, ",\"packet\":\"PUBACK\",\"bytes\":4,\"packet_id\":258");
    LINE("\x50\x02\x00\x02", MQTT_V5,
         ",\"packet\":\"PUBREC\",\"bytes\":4,\"packet_id\":2,\"reason\":\"0x00 success\"");
    LINE("\x62\x04\x00\x02\x92\x00", MQTT_V5,
         ",\"packet\":\"PUBREL\",\"bytes\":6,\"packet_id\":2,\"reason\":\"0x92 packet identifier "
         "not found\"");
}

static void subscriptions_show_their_filters(void **state)
{
    (void)state;
    LINE("\x82\x0f\x00\x01\x02\x0b\x05\x00\x03"
         "a/+\x01\x00\x01#\x02",
         MQTT_V5,
         ",\"packet\":\"SUBSCRIBE\",\"bytes\":17,\"packet_id\":1,\"filters\":[{\"filter\":\"a/+\","
         "\"qos\":1},{\"filter\":\"#\",\"qos\":2}],\"filter_count\":2");
    LINE("\xa2\x05\x00\x01\x00\x01x", MQTT_V311,
         ",\"packet\":\"UNSUBSCRIBE\",\"bytes\":7,\"packet_id\":1,\"filters\":[{\"filter\":\"x\"}],"
         "\"filter_count\":1");
    LINE("\x90\x04\x00\x01\x01\x80", MQTT_V311,
         ",\"packet\":\"SUBACK\",\"bytes\":6,\"packet_id\":1,\"reasons\":[\"0x01\",\"0x80\"]");
}

static void a_long_list_is_cut_and_counted(void **state)
{
    (void)state;
    uint8_t packet[3 + 2 + 100 * 3] = {0xa2, 0xae, 0x02, 0, 1}; /* 302 bytes follow the header */
    struct text line = {0};
    for (size_t i = 0; i < 100; i++) {
        memcpy(packet + 5 + 3 * i, "\0\1x", 3);
    }
    trace__describe(&line, slice_of(packet, sizeof(packet)), MQTT_V311);
    assert_non_null(strstr(line.data, "\"filter_count\":100"));
    unsigned shown = 0;
    for (const char *at = line.data; (at = strstr(at, "\"filter\":")) != NULL; at++) {
        shown++;
    }
    assert_int_equal(shown, TRACE_LIST_MAX);
    text_fini(&line);
}

static void the_ends_of_connections_show_why(void **state)
{
    (void)state;
    LINE("\xe0\x00", MQTT_V5, ",\"packet\":\"DISCONNECT\",\"bytes\":2,\"reason\":\"0x00 success\"");
    LINE("\xe0\x01\x98", MQTT_V5,
         ",\"packet\":\"DISCONNECT\",\"bytes\":3,\"reason\":\"0x98 administrative action\"");
    LINE("\x20\x02\x01\x00", MQTT_V311,
         ",\"packet\":\"CONNACK\",\"bytes\":4,\"session_present\":true,\"reason\":\"0x00\"");
    LINE("\xc0\x00", MQTT_V5, ",\"packet\":\"PINGREQ\",\"bytes\":2");
}

static void of_a_connect_nothing_but_its_size_is_shown(void **state)
{
    (void)state;
    LINE("\x10\x1b\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01i\x00\x04user\x00\x06secret", MQTT_V311,
         ",\"packet\":\"CONNECT\",\"bytes\":29");
}

static void text_is_escaped(void **state)
{
    (void)state;
    LINE("\x30\x05\x00\x03\"\n\x80", MQTT_V311,
         ",\"packet\":\"PUBLISH\",\"bytes\":7,\"topic\":\"\\\"\\n\\ufffd\",\"qos\":0,\"retain\":"
         "false,\"dup\":false,\"payload_bytes\":0");
}

/* Whatever stands there: no read beyond the end, and JSON that closes what it opens. */
static void any_bytes_make_a_line(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t bytes[40];
        struct text line = {0};
        size_t len = random_below(&seed, sizeof(bytes) + 1);
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (uint8_t)random_below(&seed, i < 8 ? 32 : 256);
        }
        if (len > 1) {
            bytes[0] = (uint8_t)random_below(&seed, 256);
            bytes[1] = (uint8_t)random_below(&seed, 60);
        }
        uint8_t *copy = malloc(len > 0 ? len : 1);
        assert_non_null(copy);
        memcpy(copy, bytes, len);
        trace__describe(&line, slice_of(copy, len),
                        random_below(&seed, 2) == 0 ? MQTT_V5 : MQTT_V311);
        assert_true(slice_starts_with(slice_text(line.data), ",\"packet\":\""));
        text_fini(&line);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publish_shows_its_head_and_the_size_of_its_payload),
        cmocka_unit_test(the_payload_need_not_be_there),
        cmocka_unit_test(acknowledgements_show_their_reason),
        cmocka_unit_test(subscriptions_show_their_filters),
        cmocka_unit_test(a_long_list_is_cut_and_counted),
        cmocka_unit_test(the_ends_of_connections_show_why),
        cmocka_unit_test(of_a_connect_nothing_but_its_size_is_shown),
        cmocka_unit_test(text_is_escaped),
        cmocka_unit_test(any_bytes_make_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
