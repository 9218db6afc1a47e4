#include "codec/reason.h"

#include "base/macros.h"

struct reason_rule {
    const char *name; /* NULL: no such code */
    uint16_t where;   /* IN_ bits */
};

static const struct reason_rule rules[256] = {
#define X(name, value, text, packets) [value] = {text, packets},
#include "codec/reason_codes.def"
#undef X
};

/* 3.1.1 section 3.2.2.3. A failure that it has no word for is "server unavailable". */
enum { V3_SERVER_UNAVAILABLE = 3 };

static const uint8_t v3_connack_codes[256] = {
    [MQTT_REASON_UNSUPPORTED_VERSION] = 1,
    [MQTT_REASON_CLIENT_ID_NOT_VALID] = 2,
    [MQTT_REASON_BAD_USER_NAME_OR_PASSWORD] = 4,
    [MQTT_REASON_NOT_AUTHORIZED] = 5,
    [MQTT_REASON_BANNED] = 5,
    [MQTT_REASON_BAD_AUTHENTICATION_METHOD] = 5,
    [MQTT_REASON_TOPIC_NAME_INVALID] =
        5, /* the will can't be published: not authorized to connect */
};

const char *mqtt_reason_name(unsigned reason)
{
    return reason < ARRAY_COUNT(rules) && rules[reason].name != NULL ? rules[reason].name
                                                                     : "unknown";
}

bool mqtt_reason_allowed(uint8_t reason, unsigned where)
{
    return (rules[reason].where & where) != 0;
}

uint8_t mqtt_reason_to_v3_connack(enum mqtt_reason reason)
{
    if (reason == MQTT_REASON_SUCCESS) {
        return 0;
    }
    uint8_t code = v3_connack_codes[reason & 0xff];
    return code != 0 ? code : V3_SERVER_UNAVAILABLE;
}
