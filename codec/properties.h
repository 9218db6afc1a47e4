/*
 * properties: the properties of MQTT 5.0, decoded and validated.
 *
 * Owns      nothing: slices borrow the decoded packet's bytes.
 * Thread    any.
 * Errors    as reason codes: MALFORMED_PACKET for what can't be parsed, an unknown id, a property
 * in the wrong packet (section 2.2.2.2), bad UTF-8; PROTOCOL_ERROR for a property that comes twice
 * or has a value out of range. Source    MQTT 5.0 section 2.2.2; the table is properties.def.
 */
#ifndef PULSE_CODEC_PROPERTIES_H
#define PULSE_CODEC_PROPERTIES_H

#include "base/slice.h"
#include "codec/reason.h"
#include "codec/writer.h"

enum mqtt_prop {
#define X(id, name, field, type, packets, times, min, max) MQTT_PROP_##name = id,
#include "codec/properties.def"
#undef X
};

/* The type of a field in struct mqtt_props. User properties are read with mqtt_user_props. */
#define MQTT_PROP_C_BYTE uint8_t
#define MQTT_PROP_C_U16 uint16_t
#define MQTT_PROP_C_U32 uint32_t
#define MQTT_PROP_C_VARINT uint32_t
#define MQTT_PROP_C_STRING struct slice
#define MQTT_PROP_C_BINARY struct slice
#define MQTT_PROP_C_PAIR struct slice

struct mqtt_props {
    uint64_t present; /* one bit per property id; a field is meaningful only when its bit is set */
    struct slice raw; /* the properties as they came, without the length in front; validated */
#define X(id, name, field, type, packets, times, min, max) MQTT_PROP_C_##type field;
#include "codec/properties.def"
#undef X
};

static inline bool mqtt_props_has(const struct mqtt_props *props, enum mqtt_prop id)
{
    return (props->present >> id & 1) != 0;
}

/*
 * Reads a property length and its properties from the front of `*in`, which moves behind them.
 * `where` is one IN_ bit. `props` is written in `present`, `raw` and the fields of what is there;
 * of a property that may come many times the field holds the first (a user property's field: the
 * whole pair).
 */
must_check enum mqtt_reason mqtt_props_read(struct slice *in, unsigned where,
                                            struct mqtt_props *props);

/* A walk over the user properties of `raw`, in order. */
struct mqtt_user_prop {
    struct slice name;
    struct slice value;
};
/* Takes the next user property from the front of `*raw` (of validated properties); false at the
 * end. */
bool mqtt_user_props_next(struct slice *raw, struct mqtt_user_prop *out);

/*
 * Bytes of what a server forwards to subscribers: everything of `props` but Topic Alias,
 * Subscription Identifier, Message Expiry and Will Delay, in the order it came. (MQTT 5.0
 * section 3.3.2.3)
 */
size_t mqtt_props_forwarded_len(const struct mqtt_props *props);
/* Writes these bytes to `out`, which has room for mqtt_props_forwarded_len. */
void mqtt_props_forward(const struct mqtt_props *props, uint8_t *out);

/* Writers of single properties, id included. The caller makes sure of room (see writer.h). */
void mqtt_prop_write_byte(struct writer *w, enum mqtt_prop id, uint8_t value);
void mqtt_prop_write_u16(struct writer *w, enum mqtt_prop id, uint16_t value);
void mqtt_prop_write_u32(struct writer *w, enum mqtt_prop id, uint32_t value);
void mqtt_prop_write_varint(struct writer *w, enum mqtt_prop id, uint32_t value);
void mqtt_prop_write_bytes(struct writer *w, enum mqtt_prop id, struct slice value);

#endif
