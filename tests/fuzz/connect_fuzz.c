/*
 * Input: the body of a CONNECT. What is accepted obeys section 3.1, and lies within the input.
 */
#include "codec/mqtt.h"
#include "codec/topic.h"
#include "tests/fuzz/fuzz.h"

static void check_will(const struct mqtt_connect *connect, struct slice body)
{
    const struct mqtt_will *will = &connect->will;
    if (!connect->has_will) {
        ASSERT(will->qos == 0 && !will->retain && will->topic.len == 0);
        return;
    }
    ASSERT(will->qos <= 2);
    ASSERT(topic_name_valid(will->topic) && utf8_valid(will->topic));
    ASSERT(fuzz_within(will->topic, body) && fuzz_within(will->payload, body));
    ASSERT(connect->version == MQTT_V5 || will->props.present == 0);
}

static void check_accepted(const struct mqtt_connect *connect, struct slice body)
{
    ASSERT(connect->version == MQTT_V31 || connect->version == MQTT_V311 ||
           connect->version == MQTT_V5);
    ASSERT(fuzz_within(connect->client_id, body) && utf8_valid(connect->client_id));
    ASSERT(fuzz_within(connect->user_name, body) && utf8_valid(connect->user_name));
    ASSERT(fuzz_within(connect->password, body));
    ASSERT(fuzz_within(connect->props.raw, body));
    ASSERT(connect->version == MQTT_V5 || connect->props.present == 0);
    ASSERT(connect->version == MQTT_V5 || connect->has_user_name || !connect->has_password);
    ASSERT(connect->version == MQTT_V5 || connect->clean_start || connect->client_id.len > 0);
    check_will(connect, body);
}

/* The reasons that mqtt_decode_connect promises to give. */
static bool promised(enum mqtt_reason reason)
{
    static const enum mqtt_reason reasons[] = {
        MQTT_REASON_SUCCESS,
        MQTT_REASON_MALFORMED_PACKET,
        MQTT_REASON_PROTOCOL_ERROR,
        MQTT_REASON_UNSUPPORTED_VERSION,
        MQTT_REASON_CLIENT_ID_NOT_VALID,
        MQTT_REASON_TOPIC_NAME_INVALID,
        MQTT_REASON_PAYLOAD_FORMAT_INVALID,
    };
    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++) {
        if (reasons[i] == reason) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slice body = slice_of(data, len);
    struct mqtt_connect connect;
    enum mqtt_reason reason = mqtt_decode_connect(body, &connect);
    ASSERT(promised(reason));
    if (reason == MQTT_REASON_SUCCESS) {
        check_accepted(&connect, body);
    }
    return 0;
}
