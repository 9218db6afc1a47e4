/*
 * DISCONNECT and AUTH: a reason and properties, from the end of which all may be left out.
 */
#include "codec/mqtt.h"

#include "codec/reader_priv.h"

/* Sections 3.14.2 and 3.15.2. */
static enum mqtt_reason read_reason_and_props(struct slice body, unsigned where,
                                              struct mqtt_disconnect *out)
{
    out->reason = MQTT_REASON_SUCCESS;
    out->props.present = 0;
    out->props.raw = slice_of(body.data, 0);
    if (body.len == 0) {
        return MQTT_REASON_SUCCESS;
    }
    if (!read_u8(&body, &out->reason) || !mqtt_reason_allowed(out->reason, where)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    if (body.len == 0) {
        return MQTT_REASON_SUCCESS;
    }
    enum mqtt_reason reason = mqtt_props_read(&body, where, &out->props);
    if (reason == MQTT_REASON_SUCCESS && body.len > 0) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    return reason;
}

enum mqtt_reason mqtt_decode_disconnect(struct slice body, enum mqtt_version version,
                                        struct mqtt_disconnect *out)
{
    if (version != MQTT_V5 && body.len > 0) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    return read_reason_and_props(body, IN_DISCONNECT, out);
}

enum mqtt_reason mqtt_decode_auth(struct slice body, struct mqtt_disconnect *out)
{
    enum mqtt_reason reason = read_reason_and_props(body, IN_AUTH, out);
    if (reason != MQTT_REASON_SUCCESS) {
        return reason;
    }
    /* Success is the server's to say, and the method must be there: sections 3.15.2.1, 3.15.2.2.2.
     */
    if (out->reason == MQTT_REASON_SUCCESS || !mqtt_props_has(&out->props, MQTT_PROP_AUTH_METHOD)) {
        return MQTT_REASON_PROTOCOL_ERROR;
    }
    return MQTT_REASON_SUCCESS;
}
