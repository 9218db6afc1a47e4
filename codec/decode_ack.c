#include "codec/mqtt.h"

#include "codec/reader_priv.h"

/* What 5.0 has behind the packet id; either may be left out with what follows it. Section 3.4.2.1.
 */
static enum mqtt_reason read_outcome(struct slice *in, unsigned where, struct mqtt_ack *out)
{
    if (!read_u8(in, &out->reason) || !mqtt_reason_allowed(out->reason, where)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    if (in->len == 0) {
        return MQTT_REASON_SUCCESS;
    }
    return mqtt_props_read(in, where, &out->props);
}

enum mqtt_reason mqtt_decode_ack(struct slice body, enum mqtt_packet type,
                                 enum mqtt_version version, struct mqtt_ack *out)
{
    out->reason = MQTT_REASON_SUCCESS;
    out->props.present = 0;
    out->props.raw = slice_of(body.data, 0);
    if (!read_u16(&body, &out->packet_id)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    if (version == MQTT_V5 && body.len > 0) {
        enum mqtt_reason reason = read_outcome(&body, 1u << type, out);
        if (reason != MQTT_REASON_SUCCESS) {
            return reason;
        }
    }
    if (body.len > 0) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    return out->packet_id != 0 ? MQTT_REASON_SUCCESS : MQTT_REASON_PROTOCOL_ERROR;
}
