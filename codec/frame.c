#include "codec/mqtt.h"

#include "codec/reader_priv.h"

static const char *const packet_names[16] = {
#define X(name, value) [value] = #name,
    MQTT_PACKETS(X)
#undef X
};

/* MQTT 5.0 table 2-2. PUBLISH's flags carry meaning and are judged by its decoder. */
enum { FLAGS_ACKNOWLEDGED = 2 };

static const uint8_t packet_flags[16] = {
    [MQTT_PUBREL] = FLAGS_ACKNOWLEDGED,
    [MQTT_SUBSCRIBE] = FLAGS_ACKNOWLEDGED,
    [MQTT_UNSUBSCRIBE] = FLAGS_ACKNOWLEDGED,
};

enum mqtt_frame_status mqtt_frame_read(struct slice in, struct mqtt_frame *out)
{
    if (unlikely(in.len < 2)) {
        return MQTT_FRAME_INCOMPLETE;
    }
    struct slice rest = slice_from(in, 1);
    switch (read_varint(&rest, &out->body_len)) {
    case VARINT_OK:
        break;
    case VARINT_SHORT:
        return MQTT_FRAME_INCOMPLETE;
    case VARINT_MALFORMED:
        return MQTT_FRAME_MALFORMED;
    }
    out->type = in.data[0] >> 4;
    out->flags = in.data[0] & 15;
    out->header_len = (uint8_t)(in.len - rest.len);
    return MQTT_FRAME_OK;
}

bool mqtt_flags_valid(uint8_t type, uint8_t flags)
{
    return type == MQTT_PUBLISH ||
           (type < ARRAY_COUNT(packet_flags) && packet_flags[type] == flags);
}

const char *mqtt_packet_name(unsigned type)
{
    if (type >= ARRAY_COUNT(packet_names) || packet_names[type] == NULL) {
        return "reserved";
    }
    return packet_names[type];
}
