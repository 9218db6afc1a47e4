/*
 * SUBSCRIBE and UNSUBSCRIBE. The decoders check every entry and keep only where the entries start;
 * the walks read them again, so that no memory is needed however many there are.
 */
#include "codec/mqtt.h"

#include "codec/reader_priv.h"
#include "codec/topic.h"

enum { OPTION_QOS = 0x03, OPTION_NO_LOCAL = 0x04, OPTION_RETAIN_AS_PUBLISHED = 0x08 };

/* The packet id, and in 5.0 the properties, which both packets start with. */
static enum mqtt_reason read_start(struct slice *in, enum mqtt_version version, unsigned where,
                                   uint16_t *packet_id, struct mqtt_props *props)
{
    props->present = 0;
    props->raw = slice_of(in->data, 0);
    if (!read_u16(in, packet_id)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    if (*packet_id == 0) {
        return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-2.2.1-3] */
    }
    return version == MQTT_V5 ? mqtt_props_read(in, where, props) : MQTT_REASON_SUCCESS;
}

static enum mqtt_reason options_check(uint8_t options, enum mqtt_version version)
{
    uint8_t reserved = version == MQTT_V5 ? 0xc0 : 0xfc;
    if ((options & reserved) != 0) {
        return MQTT_REASON_MALFORMED_PACKET; /* [MQTT-3.8.3-5]; 3.1.1 [MQTT-3.8.3-4] */
    }
    if ((options & OPTION_QOS) == 3) {
        return version == MQTT_V5 ? MQTT_REASON_PROTOCOL_ERROR : MQTT_REASON_MALFORMED_PACKET;
    }
    return options >> 4 != 3 ? MQTT_REASON_SUCCESS : MQTT_REASON_PROTOCOL_ERROR;
}

static enum mqtt_reason subscription_check(struct slice *in, enum mqtt_version version)
{
    struct slice filter;
    uint8_t options = 0;
    if (!read_string(in, &filter) || !read_u8(in, &options) || !utf8_valid(filter)) {
        return MQTT_REASON_MALFORMED_PACKET; /* [MQTT-3.8.3-1] */
    }
    enum mqtt_reason reason = options_check(options, version);
    if (reason != MQTT_REASON_SUCCESS) {
        return reason;
    }
    if ((options & OPTION_NO_LOCAL) != 0 && slice_starts_with(filter, "$share/")) {
        return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-3.8.3-4] */
    }
    return MQTT_REASON_SUCCESS;
}

static enum mqtt_reason filter_check(struct slice *in, enum mqtt_version version)
{
    struct slice filter;
    (void)version; /* the same in all; the parameter is subscription_check's */
    return read_string(in, &filter) && utf8_valid(filter)
               ? MQTT_REASON_SUCCESS
               : MQTT_REASON_MALFORMED_PACKET; /* [MQTT-3.10.3-1] */
}

typedef enum mqtt_reason (*entry_check_fn)(struct slice *in, enum mqtt_version version);

/* Checks entries up to the end of `in`, and counts them. */
static enum mqtt_reason check_entries(struct slice in, entry_check_fn check,
                                      enum mqtt_version version, uint16_t *count)
{
    size_t entries = 0;
    while (in.len > 0) {
        enum mqtt_reason reason = check(&in, version);
        if (reason != MQTT_REASON_SUCCESS) {
            return reason;
        }
        entries++;
    }
    if (entries == 0) {
        return MQTT_REASON_PROTOCOL_ERROR; /* [MQTT-3.8.3-2], [MQTT-3.10.3-2] */
    }
    if (entries > UINT16_MAX) {
        return MQTT_REASON_QUOTA_EXCEEDED;
    }
    *count = (uint16_t)entries;
    return MQTT_REASON_SUCCESS;
}

enum mqtt_reason mqtt_decode_subscribe(struct slice body, enum mqtt_version version,
                                       struct mqtt_subscribe *out)
{
    enum mqtt_reason reason =
        read_start(&body, version, IN_SUBSCRIBE, &out->packet_id, &out->props);
    if (reason != MQTT_REASON_SUCCESS) {
        return reason;
    }
    out->subscription_id =
        mqtt_props_has(&out->props, MQTT_PROP_SUBSCRIPTION_ID) ? out->props.subscription_id : 0;
    out->filters = body;
    return check_entries(body, subscription_check, version, &out->count);
}

bool mqtt_subscribe_next(struct slice *filters, struct mqtt_subscription *out)
{
    uint8_t options = 0;
    if (!read_string(filters, &out->filter) || !read_u8(filters, &options)) {
        return false;
    }
    out->qos = options & OPTION_QOS;
    out->no_local = (options & OPTION_NO_LOCAL) != 0;
    out->retain_as_published = (options & OPTION_RETAIN_AS_PUBLISHED) != 0;
    out->retain_handling = options >> 4 & 3;
    return true;
}

enum mqtt_reason mqtt_decode_unsubscribe(struct slice body, enum mqtt_version version,
                                         struct mqtt_unsubscribe *out)
{
    enum mqtt_reason reason =
        read_start(&body, version, IN_UNSUBSCRIBE, &out->packet_id, &out->props);
    if (reason != MQTT_REASON_SUCCESS) {
        return reason;
    }
    out->filters = body;
    return check_entries(body, filter_check, version, &out->count);
}

bool mqtt_unsubscribe_next(struct slice *filters, struct slice *filter)
{
    return read_string(filters, filter);
}
