/*
 * Everything here is driven by properties.def: a row gives the type, the packets, the times and the
 * range, and the place of the field in struct mqtt_props.
 */
#include "codec/properties.h"

#include "codec/properties_priv.h"
#include "codec/reader_priv.h"
#include "codec/topic.h"

enum prop_type { TYPE_BYTE, TYPE_U16, TYPE_U32, TYPE_VARINT, TYPE_STRING, TYPE_BINARY, TYPE_PAIR };

/* In which packets a property may stand more than once; the last column but two of the table. */
enum prop_times { ONCE = 0, MANY = IN_ALL, MANY_IN_PUBLISH = IN_PUBLISH };

struct prop_rule {
    uint16_t where;   /* IN_ bits; 0: no such property */
    uint16_t repeats; /* IN_ bits */
    uint16_t offset;  /* of the field in struct mqtt_props */
    uint8_t type;     /* enum prop_type */
    uint32_t min;     /* numbers only */
    uint32_t max;
};

#define MAX_OR_ALL(max) ((max) == 0 ? UINT32_MAX : (uint32_t)(max))

static const struct prop_rule rules[] = {
#define X(id, name, field, kind, packets, times, least, most) \
    [id] = {.where = packets,                                 \
            .repeats = times,                                 \
            .offset = offsetof(struct mqtt_props, field),     \
            .type = TYPE_##kind,                              \
            .min = least,                                     \
            .max = MAX_OR_ALL(most)},
#include "codec/properties.def"
#undef X
};

static_assert(ARRAY_COUNT(rules) <= 64, "struct mqtt_props has one bit per property id");

const uint64_t props__of_connack = 0
#define X(id, name, field, kind, packets, times, least, most) \
    | (((packets)&IN_CONNACK) != 0 && TYPE_##kind != TYPE_PAIR ? UINT64_C(1) << id : 0)
#include "codec/properties.def"
#undef X
    ;

/* What a server keeps for itself; MQTT 5.0 section 3.3.2.3 and 3.1.3.2.2. */
static const uint64_t not_forwarded = PROP_BIT(TOPIC_ALIAS) | PROP_BIT(SUBSCRIPTION_ID) |
                                      PROP_BIT(MESSAGE_EXPIRY) | PROP_BIT(WILL_DELAY);

/* A property as it stands in a packet. `number` or `bytes` is set, as the type of the rule says. */
struct prop {
    uint8_t id;
    const struct prop_rule *rule;
    uint32_t number;
    struct slice bytes;
};

static bool read_pair(struct slice *in, struct slice *name, struct slice *value)
{
    return read_string(in, name) && read_string(in, value);
}

static bool read_value(struct slice *in, struct prop *prop)
{
    uint8_t byte = 0;
    uint16_t half = 0;
    switch ((enum prop_type)prop->rule->type) {
    case TYPE_BYTE:
        if (!read_u8(in, &byte)) {
            return false;
        }
        prop->number = byte;
        return true;
    case TYPE_U16:
        if (!read_u16(in, &half)) {
            return false;
        }
        prop->number = half;
        return true;
    case TYPE_U32:
        return read_u32(in, &prop->number);
    case TYPE_VARINT:
        return read_varint(in, &prop->number) == VARINT_OK;
    case TYPE_STRING:
    case TYPE_BINARY:
        return read_string(in, &prop->bytes);
    case TYPE_PAIR: {
        struct slice name, value;
        const uint8_t *start = in->data;
        if (!read_pair(in, &name, &value)) {
            return false;
        }
        prop->bytes = slice_of(start, (size_t)(in->data - start));
        return true;
    }
    }
    return false;
}

/* Takes the next property from the front of `*in`, which is not empty. False: an unknown id, or
 * short. The id is a variable byte integer, but all that exist are below 128. */
static bool prop_next(struct slice *in, struct prop *prop)
{
    uint8_t id = 0;
    if (!read_u8(in, &id) || id >= ARRAY_COUNT(rules) || rules[id].where == 0) {
        return false;
    }
    *prop = (struct prop){.id = id, .rule = &rules[id]};
    return read_value(in, prop);
}

static bool pair_valid(struct slice pair)
{
    struct slice name, value;
    return read_pair(&pair, &name, &value) && utf8_valid(name) && utf8_valid(value);
}

static enum mqtt_reason value_check(const struct prop *prop)
{
    switch ((enum prop_type)prop->rule->type) {
    case TYPE_BYTE:
    case TYPE_U16:
    case TYPE_U32:
    case TYPE_VARINT:
        return prop->number >= prop->rule->min && prop->number <= prop->rule->max
                   ? MQTT_REASON_SUCCESS
                   : MQTT_REASON_PROTOCOL_ERROR;
    case TYPE_STRING:
        if (!utf8_valid(prop->bytes)) {
            return MQTT_REASON_MALFORMED_PACKET;
        }
        /* [MQTT-3.3.2-14]; that it is a topic name also makes it at least one character long. */
        if (prop->id == MQTT_PROP_RESPONSE_TOPIC && !topic_name_valid(prop->bytes)) {
            return MQTT_REASON_PROTOCOL_ERROR;
        }
        return MQTT_REASON_SUCCESS;
    case TYPE_BINARY:
        return MQTT_REASON_SUCCESS;
    case TYPE_PAIR:
        return pair_valid(prop->bytes) ? MQTT_REASON_SUCCESS : MQTT_REASON_MALFORMED_PACKET;
    }
    return MQTT_REASON_MALFORMED_PACKET;
}

static void value_store(struct mqtt_props *props, const struct prop *prop)
{
    char *field = (char *)props + prop->rule->offset;
    uint16_t half = (uint16_t)prop->number;
    switch ((enum prop_type)prop->rule->type) {
    case TYPE_BYTE:
        *field = (char)prop->number;
        break;
    case TYPE_U16:
        memcpy(field, &half, sizeof(half));
        break;
    case TYPE_U32:
    case TYPE_VARINT:
        memcpy(field, &prop->number, sizeof(prop->number));
        break;
    case TYPE_STRING:
    case TYPE_BINARY:
    case TYPE_PAIR:
        memcpy(field, &prop->bytes, sizeof(prop->bytes));
        break;
    }
}

/* Checks `prop` against what came before it, and keeps it when it is the first of its id. */
static enum mqtt_reason prop_accept(struct mqtt_props *props, const struct prop *prop,
                                    unsigned where)
{
    if ((prop->rule->where & where) == 0) {
        return MQTT_REASON_MALFORMED_PACKET; /* section 2.2.2.2, below the table */
    }
    bool seen = mqtt_props_has(props, prop->id);
    if (seen && (prop->rule->repeats & where) == 0) {
        return MQTT_REASON_PROTOCOL_ERROR;
    }
    enum mqtt_reason reason = value_check(prop);
    if (reason == MQTT_REASON_SUCCESS && !seen) {
        value_store(props, prop);
        props->present |= UINT64_C(1) << prop->id;
    }
    return reason;
}

enum mqtt_reason mqtt_props_read(struct slice *in, unsigned where, struct mqtt_props *props)
{
    props->present = 0;
    props->raw = slice_of(in->data, 0);
    uint32_t len = 0;
    if (read_varint(in, &len) != VARINT_OK || !read_bytes(in, len, &props->raw)) {
        return MQTT_REASON_MALFORMED_PACKET;
    }
    struct slice rest = props->raw;
    while (rest.len > 0) {
        struct prop prop;
        if (!prop_next(&rest, &prop)) {
            return MQTT_REASON_MALFORMED_PACKET;
        }
        enum mqtt_reason reason = prop_accept(props, &prop, where);
        if (reason != MQTT_REASON_SUCCESS) {
            return reason;
        }
    }
    return MQTT_REASON_SUCCESS;
}

bool mqtt_user_props_next(struct slice *raw, struct mqtt_user_prop *out)
{
    struct prop prop;
    while (raw->len > 0 && prop_next(raw, &prop)) {
        if (prop.id == MQTT_PROP_USER_PROPERTY) {
            return read_pair(&prop.bytes, &out->name, &out->value);
        }
    }
    return false;
}

size_t mqtt_props_forwarded_len(const struct mqtt_props *props)
{
    if ((props->present & not_forwarded) == 0) {
        return props->raw.len;
    }
    size_t len = 0;
    struct slice rest = props->raw;
    struct prop prop;
    for (size_t before = rest.len; before > 0 && prop_next(&rest, &prop); before = rest.len) {
        if ((not_forwarded >> prop.id & 1) == 0) {
            len += before - rest.len;
        }
    }
    return len;
}

void mqtt_props_forward(const struct mqtt_props *props, uint8_t *out)
{
    if ((props->present & not_forwarded) == 0) {
        if (props->raw.len > 0) {
            memcpy(out, props->raw.data, props->raw.len);
        }
        return;
    }
    struct slice rest = props->raw;
    struct prop prop;
    for (const uint8_t *start = rest.data; rest.len > 0 && prop_next(&rest, &prop);
         start = rest.data) {
        if ((not_forwarded >> prop.id & 1) == 0) {
            size_t len = (size_t)(rest.data - start);
            memcpy(out, start, len);
            out += len;
        }
    }
}

/* The other way round from value_store: the field of `props` that belongs to `id`. */
static struct prop prop_of(const struct mqtt_props *props, uint8_t id)
{
    struct prop prop = {.id = id, .rule = &rules[id]};
    const char *field = (const char *)props + prop.rule->offset;
    uint16_t half;
    switch ((enum prop_type)prop.rule->type) {
    case TYPE_BYTE:
        prop.number = (uint8_t)*field;
        break;
    case TYPE_U16:
        memcpy(&half, field, sizeof(half));
        prop.number = half;
        break;
    case TYPE_U32:
    case TYPE_VARINT:
        memcpy(&prop.number, field, sizeof(prop.number));
        break;
    case TYPE_STRING:
    case TYPE_BINARY:
    case TYPE_PAIR:
        memcpy(&prop.bytes, field, sizeof(prop.bytes));
        break;
    }
    return prop;
}

static size_t prop_len(const struct prop *prop)
{
    switch ((enum prop_type)prop->rule->type) {
    case TYPE_BYTE:
        return 2;
    case TYPE_U16:
        return 3;
    case TYPE_U32:
        return 5;
    case TYPE_VARINT:
        return 1 + varint_len(prop->number);
    case TYPE_STRING:
    case TYPE_BINARY:
        return 3 + prop->bytes.len;
    case TYPE_PAIR:
        return 1 + prop->bytes.len;
    }
    return 0;
}

static void prop_write(struct writer *w, const struct prop *prop)
{
    switch ((enum prop_type)prop->rule->type) {
    case TYPE_BYTE:
        mqtt_prop_write_byte(w, prop->id, (uint8_t)prop->number);
        break;
    case TYPE_U16:
        mqtt_prop_write_u16(w, prop->id, (uint16_t)prop->number);
        break;
    case TYPE_U32:
        mqtt_prop_write_u32(w, prop->id, prop->number);
        break;
    case TYPE_VARINT:
        mqtt_prop_write_varint(w, prop->id, prop->number);
        break;
    case TYPE_STRING:
    case TYPE_BINARY:
        mqtt_prop_write_bytes(w, prop->id, prop->bytes);
        break;
    case TYPE_PAIR:
        write_u8(w, prop->id);
        write_bytes(w, prop->bytes);
        break;
    }
}

size_t props__len(const struct mqtt_props *props, uint64_t set)
{
    size_t len = 0;
    for (uint64_t left = props->present & set; left != 0; left &= left - 1) {
        struct prop prop = prop_of(props, (uint8_t)__builtin_ctzll(left));
        len += prop_len(&prop);
    }
    return len;
}

void props__write(struct writer *w, const struct mqtt_props *props, uint64_t set)
{
    for (uint64_t left = props->present & set; left != 0; left &= left - 1) {
        struct prop prop = prop_of(props, (uint8_t)__builtin_ctzll(left));
        prop_write(w, &prop);
    }
}

void mqtt_prop_write_byte(struct writer *w, enum mqtt_prop id, uint8_t value)
{
    write_u8(w, (uint8_t)id);
    write_u8(w, value);
}

void mqtt_prop_write_u16(struct writer *w, enum mqtt_prop id, uint16_t value)
{
    write_u8(w, (uint8_t)id);
    write_u16(w, value);
}

void mqtt_prop_write_u32(struct writer *w, enum mqtt_prop id, uint32_t value)
{
    write_u8(w, (uint8_t)id);
    write_u32(w, value);
}

void mqtt_prop_write_varint(struct writer *w, enum mqtt_prop id, uint32_t value)
{
    write_u8(w, (uint8_t)id);
    write_varint(w, value);
}

void mqtt_prop_write_bytes(struct writer *w, enum mqtt_prop id, struct slice value)
{
    write_u8(w, (uint8_t)id);
    write_string(w, value);
}
