/* What an import refuses, and how it says so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/storage/transfer_support.h"

static void what_is_no_export_is_refused_in_its_first_line(void **state)
{
    (void)state;
    transfer_assert_refused("", ERR_INVALID, "line 1: the file is cut: its last line is missing");
    transfer_assert_refused("\n", ERR_SYNTAX,
                            "line 1: this is not JSON: '[' or '{' expected near end of "
                            "file");
    transfer_assert_refused("{}\n", ERR_SYNTAX,
                            "line 1: an export of pulse begins with "
                            "{\"format\":\"pulse-state\",\"version\":1}");
    transfer_assert_refused("[]\n", ERR_SYNTAX, "line 1: an object is expected");
    transfer_assert_refused(
        "{\"format\":\"pulse-state\",\"version\":2}\n" END("0"), ERR_VERSION,
        "line 1: version 2 of the format is newer than this pulse, which knows 1");
    transfer_assert_refused("{\"format\":\"pulse-state\",\"version\":1,\"x\":1}\n" END("0"),
                            ERR_SYNTAX, "line 1: only \"format\" and \"version\" are expected");
}

static void a_file_that_was_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len + 1 < strlen(transfer_everything);
         len++) { /* the last newline may be off */
        struct transfer_rig rig = transfer_rig_create();
        assert_int_not_equal(transfer_rig_import_bytes(&rig, transfer_everything, len), ERR_OK);
        assert_int_equal(fake_store_calls(rig.store, FAKE_OPEN), 0);
        transfer_rig_end(&rig);
    }
}

static void a_wrong_count_and_more_behind_the_end_are_refused(void **state)
{
    (void)state;
    transfer_assert_refused(HEADER SESSION("1", "a") END("2"), ERR_INVALID,
                            "line 3: 2 operations are announced, but 1 were there");
    transfer_assert_refused(HEADER END("0") "\n", ERR_INVALID,
                            "line 3: nothing is expected after the end");
    transfer_assert_refused(HEADER "{\"end\":false,\"operations\":0}\n", ERR_SYNTAX,
                            "line 2: neither an operation nor the end");
}

static void an_error_names_the_line_the_operation_and_the_field(void **state)
{
    (void)state;
    transfer_assert_refused(HEADER "nonsense\n", ERR_SYNTAX,
                            "line 2: this is not JSON: '[' or '{' expected near 'nonsense'");
    transfer_assert_refused(HEADER SESSION("1", "a") "{\"op\":\"session_pot\"}\n", ERR_SYNTAX,
                            "line 3: unknown operation \"session_pot\"");
    transfer_assert_refused(HEADER "{\"op\":\"session_drop\",\"session\":1}\n", ERR_INVALID,
                            "line 2: session_drop: does not belong into a state");
    transfer_assert_refused(
        HEADER SESSION("1", "a") "{\"op\":\"inbound_qos2_put\",\"session\":1}\n", ERR_SYNTAX,
        "line 3: inbound_qos2_put: packet_id is missing");
    transfer_assert_refused(HEADER SESSION("1", "a") INBOUND("1", "1,\"x\":2"), ERR_SYNTAX,
                            "line 3: inbound_qos2_put: unknown field \"x\"");
    transfer_assert_refused(
        HEADER SESSION("1", "a") INBOUND("1", "1,\"packet_id\":2"), ERR_SYNTAX,
        "line 3: this is not JSON: duplicate object key near '\\\"packet_id\\\"'");
    transfer_assert_refused(HEADER SESSION("1", "\xff"), ERR_SYNTAX,
                            "line 2: this is not JSON: unable to decode byte 0xff near '\\\"'");
}

static void a_value_of_the_wrong_type_or_size_is_refused(void **state)
{
    (void)state;
    transfer_assert_refused(HEADER SESSION("1", "a") INBOUND("1", "\"1\""), ERR_SYNTAX,
                            "line 3: inbound_qos2_put: packet_id: a whole number is expected");
    transfer_assert_refused(HEADER SESSION("1", "a") INBOUND("1", "1.0"), ERR_SYNTAX,
                            "line 3: inbound_qos2_put: packet_id: a whole number is expected");
    transfer_assert_refused(
        HEADER SESSION("1", "a") INBOUND("1", "65536"), ERR_RANGE,
        "line 3: inbound_qos2_put: packet_id: out of range (allowed: 0 to 65535)");
    transfer_assert_refused(
        HEADER SESSION("1", "a") INBOUND("1", "0"), ERR_RANGE,
        "line 3: inbound_qos2_put: packet_id: out of range (allowed: 1 to 65535)");
    transfer_assert_refused(
        HEADER SESSION("-1", "a"), ERR_RANGE,
        "line 2: session_put: session: out of range (allowed: 0 to 9007199254740992)");
    transfer_assert_refused(HEADER SESSION("0", "a"), ERR_RANGE,
                            "line 2: session_put: session: out of range (allowed: 1 to "
                            "9223372036854775806)");
    transfer_assert_refused(HEADER SESSION("null", "a"), ERR_RANGE,
                            "line 2: session_put: session: out of range (allowed: 1 to "
                            "9223372036854775806)");
    transfer_assert_refused(
        HEADER SESSION("\"12\"", "a"), ERR_SYNTAX,
        "line 2: session_put: session: a number; above 2^53 as a string of digits is "
        "expected");
    transfer_assert_refused(
        HEADER SESSION("1", ""), ERR_INVALID,
        "line 2: session_put: client_id: must be 1 to 65535 bytes of UTF-8 without "
        "NUL");
    transfer_assert_refused(HEADER RETAINED("a/#"), ERR_INVALID,
                            "line 2: retained_put: topic: not the name of a topic");
    transfer_assert_refused(HEADER SESSION("1", "a") SUBSCRIPTION("1", "a#"), ERR_INVALID,
                            "line 3: subscription_put: filter: not a topic filter");
    transfer_assert_refused(HEADER SESSION("1", "a") PUSH("1", "1", "0", "1"), ERR_SYNTAX,
                            "line 3: queue_push: released: true or false is expected");
}

/* Refuses `good` with one piece of it replaced. */
static void assert_refused_with(const char *good, const char *piece, const char *instead,
                                enum err expected, const char *error)
{
    struct text text = {0};
    const char *at = strstr(good, piece);
    assert_non_null(at);
    text_add_bytes(&text, good, (size_t)(at - good));
    text_add(&text, instead);
    text_add(&text, at + strlen(piece));
    transfer_assert_refused(text.data, expected, error);
    text_fini(&text);
}

static void a_value_that_no_broker_can_have_is_refused(void **state)
{
    (void)state;
    static const char subscription[] = HEADER SESSION("1", "a") SUBSCRIPTION("1", "f");
    static const char push[] = HEADER SESSION("1", "a") PUSH("1", "1", "0", "true");
    static const char message[] = HEADER MESSAGE("1", "t");
    static const char retained[] = HEADER RETAINED("t");
    assert_refused_with(subscription, "\"qos\":2", "\"qos\":3", ERR_RANGE,
                        "line 3: subscription_put: qos: out of range (allowed: 0 to 2)");
    assert_refused_with(subscription, "\"retain_handling\":1", "\"retain_handling\":3", ERR_RANGE,
                        "line 3: subscription_put: retain_handling: out of range (allowed: 0 to "
                        "2)");
    assert_refused_with(subscription, "268435455", "268435456", ERR_RANGE,
                        "line 3: subscription_put: subscription_id: out of range (allowed: 0 to "
                        "268435455)");
    assert_refused_with(push, "\"qos\":2", "\"qos\":3", ERR_RANGE,
                        "line 3: queue_push: qos: out of range (allowed: 0 to 2)");
    assert_refused_with(push, "268435455", "268435456", ERR_RANGE,
                        "line 3: queue_push: subscription_ids: out of range (allowed: 1 to "
                        "268435455)");
    assert_refused_with(push, "[1,", "[0,", ERR_RANGE,
                        "line 3: queue_push: subscription_ids: out of range (allowed: 1 to "
                        "268435455)");
    assert_refused_with(message, "\"qos\":1", "\"qos\":3", ERR_RANGE,
                        "line 2: message_put: qos: out of range (allowed: 0 to 2)");
    assert_refused_with(retained, "1700000000000", "\"9223372036854775808\"", ERR_RANGE,
                        "line 2: retained_put: expires_at_ms: out of range (allowed: 0 to "
                        "9223372036854775807)");
    assert_refused_with(HEADER SESSION("1", "a"), "1700000000000", "null", ERR_RANGE,
                        "line 2: session_put: offline_since_ms: out of range (allowed: 0 to "
                        "9223372036854775807)");
    assert_refused_with(HEADER SESSION("1", "a") MESSAGE("2", "t") WILL("1", "2"),
                        "true,\"message_e", "false,\"message_e", ERR_INVALID,
                        "line 4: will_put: message_expiry_s: must be 0 without has_expiry");
}

static void large_numbers_are_digits_in_one_way(void **state)
{
    (void)state;
    static const char *const bad[] = {"9007199254740993",         "\"09007199254740993\"",
                                      "\"9007199254740992\"",     "\"18446744073709551615\"",
                                      "\"18446744073709551616\"", "\"\"",
                                      "\"9007199254740993 \"",    "\"-9007199254740993\""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char good[400] = HEADER RETAINED("t");
        char publisher[64];
        snprintf(publisher, sizeof(publisher), "\"publisher\":%s", bad[i]);
        bool number = bad[i][0] != '"';
        assert_refused_with(good, "\"publisher\":0", publisher, number ? ERR_RANGE : ERR_SYNTAX,
                            number ? "line 2: retained_put: publisher: out of range (allowed: 0 to "
                                     "9007199254740992)"
                                   : "line 2: retained_put: publisher: a number; above 2^53 as a "
                                     "string of digits is expected");
    }
}

static void texts_and_arrays_are_no_longer_than_mqtt_has_them(void **state)
{
    (void)state;
    char *client_id = calloc(1, 65537);
    memset(client_id, 'a', 65536);
    assert_refused_with(HEADER SESSION("1", "X"), "X", client_id, ERR_INVALID,
                        "line 2: session_put: client_id: must be 1 to 65535 bytes of UTF-8 without "
                        "NUL");
    free(client_id);
    struct text ids = {0};
    text_add(&ids, "[1");
    for (unsigned i = 1; i < 65536; i++) {
        text_add(&ids, ",1");
    }
    assert_refused_with(
        HEADER SESSION("1", "a") PUSH("1", "1", "0", "true"), "[1,2,268435455", ids.data,
        ERR_SYNTAX,
        "line 3: queue_push: subscription_ids: an array of at most 65535 numbers is "
        "expected");
    text_fini(&ids);
}

static void bytes_are_base64_and_nothing_else(void **state)
{
    (void)state;
    static const char *const bad[] = {"1",
                                      "\"A\"",
                                      "\"AA\"",
                                      "\"AAA\"",
                                      "\"AA=A\"",
                                      "\"AB==\"",
                                      "\"AAA \"",
                                      "\"=AAA\"",
                                      "\"AA==AAAA\"",
                                      "\"====\"",
                                      "\"A===\"",
                                      "\"AA-_\"",
                                      "\"AAAA\\n\\n\\n\\n\"",
                                      "null"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[300];
        snprintf(line, sizeof(line),
                 HEADER
                 "{\"op\":\"retained_put\",\"topic\":\"t\",\"properties\":\"\",\"payload\":%s,"
                 "\"qos\":0,\"expires_at_ms\":null,\"publisher\":0}\n",
                 bad[i]);
        transfer_assert_refused(line, ERR_SYNTAX,
                                "line 2: retained_put: payload: base64 is expected");
    }
}

/* They are sent to clients as they are. */
static void properties_that_no_subscriber_may_get_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "AQI=",     /* payload format 2 */
        "AQ==",     /* cut */
        "IwAB",     /* topic alias */
        "CwE=",     /* subscription identifier */
        "AgAAAAE=", /* message expiry: stands in a field of its own */
        "AQEBAQ==", /* twice */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char line[300];
        snprintf(line, sizeof(line),
                 HEADER "{\"op\":\"retained_put\",\"topic\":\"t\",\"properties\":\"%s\","
                        "\"payload\":\"\",\"qos\":0,\"expires_at_ms\":null,\"publisher\":0}\n",
                 bad[i]);
        transfer_assert_refused(line, ERR_INVALID,
                                "line 2: retained_put: properties: not such as a broker passes on");
    }
}

static void references_must_lead_somewhere(void **state)
{
    (void)state;
    transfer_assert_refused(
        HEADER SUBSCRIPTION("1", "a"), ERR_INVALID,
        "line 2: subscription_put: session: there is no session 1 before this line");
    transfer_assert_refused(HEADER SESSION("1", "a") PUSH("1", "1", "5", "false"), ERR_INVALID,
                            "line 3: queue_push: message: there is no message 5 before this line");
    transfer_assert_refused(HEADER SESSION("1", "a") WILL("1", "5"), ERR_INVALID,
                            "line 3: will_put: message: there is no message 5 before this line");
    transfer_assert_refused(HEADER SESSION("1", "a") PUSH("1", "1", "0", "false"), ERR_INVALID,
                            "line 3: queue_push: message: there is no message 0 before this line");
    transfer_assert_refused(HEADER SESSION("1", "a") MESSAGE("5", "t") PUSH("1", "1", "5", "true"),
                            ERR_INVALID,
                            "line 4: queue_push: message: must be 0 in an entry that is released");
    transfer_assert_refused(HEADER SESSION("1", "a") MESSAGE("5", "t") INBOUND("1", "1"),
                            ERR_INVALID, "line 4: the line after message 5 must refer to it");
    transfer_assert_refused(HEADER SESSION("1", "a") MESSAGE("5", "t") END("2"), ERR_INVALID,
                            "line 4: nothing refers to message 5");
}

static void nothing_comes_twice(void **state)
{
    (void)state;
    transfer_assert_refused(HEADER SESSION("1", "a") SESSION("1", "b"), ERR_EXISTS,
                            "line 3: session_put: session: was there before");
    transfer_assert_refused(HEADER SESSION("1", "a") SESSION("2", "a"), ERR_EXISTS,
                            "line 3: session_put: client_id: was there before");
    transfer_assert_refused(HEADER SESSION("1", "a") SUBSCRIPTION("1", "f") SUBSCRIPTION("1", "f"),
                            ERR_EXISTS, "line 4: subscription_put: filter: was there before");
    transfer_assert_refused(
        HEADER SESSION("1", "a") MESSAGE("5", "t") WILL("1", "5") WILL("1", "5"), ERR_EXISTS,
        "line 5: will_put: the will of the session: was there before");
    transfer_assert_refused(HEADER SESSION("1", "a") INBOUND("1", "7") INBOUND("1", "7"),
                            ERR_EXISTS, "line 4: inbound_qos2_put: packet_id: was there before");
    transfer_assert_refused(HEADER RETAINED("t") RETAINED("t"), ERR_EXISTS,
                            "line 3: retained_put: topic: was there before");
    transfer_assert_refused(HEADER SESSION("1", "a") MESSAGE("5", "t") PUSH("1", "1", "5", "false")
                                MESSAGE("5", "t"),
                            ERR_EXISTS, "line 5: message_put: message: was there before");
    transfer_assert_refused(
        HEADER SESSION("1", "a") MESSAGE("5", "t") PUSH("1", "2", "5", "false")
            PUSH("1", "2", "5", "false"),
        ERR_INVALID, "line 5: queue_push: position: must be above 2, the last one of the session");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_no_export_is_refused_in_its_first_line),
        cmocka_unit_test(a_file_that_was_cut_anywhere_is_refused),
        cmocka_unit_test(a_wrong_count_and_more_behind_the_end_are_refused),
        cmocka_unit_test(an_error_names_the_line_the_operation_and_the_field),
        cmocka_unit_test(a_value_of_the_wrong_type_or_size_is_refused),
        cmocka_unit_test(a_value_that_no_broker_can_have_is_refused),
        cmocka_unit_test(large_numbers_are_digits_in_one_way),
        cmocka_unit_test(texts_and_arrays_are_no_longer_than_mqtt_has_them),
        cmocka_unit_test(bytes_are_base64_and_nothing_else),
        cmocka_unit_test(properties_that_no_subscriber_may_get_are_refused),
        cmocka_unit_test(references_must_lead_somewhere),
        cmocka_unit_test(nothing_comes_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
