/*
 * wire: MQTT packets as bytes, for tests: a builder, a decoder, and the numbers of the
 * specification.
 *
 * Deliberately shares nothing with codec/: a mistake there must not hide itself here.
 *
 * Owns      a struct buffer's memory.
 * Thread    the test's.
 * Errors    none: right or wrong, packets are built as they are asked for.
 * Not here  packets from the broker (packet.h), sockets and expectations (client.h).
 */
#ifndef TESTS_INTEGRATION_WIRE_H
#define TESTS_INTEGRATION_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum packet_type {
    PKT_CONNECT = 1,
    PKT_CONNACK,
    PKT_PUBLISH,
    PKT_PUBACK,
    PKT_PUBREC,
    PKT_PUBREL,
    PKT_PUBCOMP,
    PKT_SUBSCRIBE,
    PKT_SUBACK,
    PKT_UNSUBSCRIBE,
    PKT_UNSUBACK,
    PKT_PINGREQ,
    PKT_PINGRESP,
    PKT_DISCONNECT,
    PKT_AUTH
};

enum { MQTT_31 = 3, MQTT_311 = 4, MQTT_50 = 5 }; /* protocol levels */

/* clang-format off */
#define REASON_TABLE(X)                                                                          \
    X(0x00, SUCCESS)                  X(0x04, DISCONNECT_WITH_WILL)                              \
    X(0x10, NO_MATCHING_SUBSCRIBERS)  X(0x11, NO_SUBSCRIPTION_EXISTED)                           \
    X(0x18, CONTINUE_AUTHENTICATION)  X(0x19, REAUTHENTICATE)                                    \
    X(0x80, UNSPECIFIED)              X(0x81, MALFORMED)                                         \
    X(0x82, PROTOCOL_ERROR)           X(0x83, IMPLEMENTATION_SPECIFIC)                           \
    X(0x84, UNSUPPORTED_VERSION)      X(0x85, CLIENT_ID_NOT_VALID)                               \
    X(0x86, BAD_USER_OR_PASSWORD)     X(0x87, NOT_AUTHORIZED)                                    \
    X(0x88, SERVER_UNAVAILABLE)       X(0x89, SERVER_BUSY)                                       \
    X(0x8A, BANNED)                   X(0x8B, SERVER_SHUTTING_DOWN)                              \
    X(0x8C, BAD_AUTH_METHOD)          X(0x8D, KEEP_ALIVE_TIMEOUT)                                \
    X(0x8E, SESSION_TAKEN_OVER)       X(0x8F, TOPIC_FILTER_INVALID)                              \
    X(0x90, TOPIC_NAME_INVALID)       X(0x91, PACKET_ID_IN_USE)                                  \
    X(0x92, PACKET_ID_NOT_FOUND)      X(0x93, RECEIVE_MAXIMUM_EXCEEDED)                          \
    X(0x94, TOPIC_ALIAS_INVALID)      X(0x95, PACKET_TOO_LARGE)                                  \
    X(0x96, MESSAGE_RATE_TOO_HIGH)    X(0x97, QUOTA_EXCEEDED)                                    \
    X(0x98, ADMINISTRATIVE_ACTION)    X(0x99, PAYLOAD_FORMAT_INVALID)                            \
    X(0x9A, RETAIN_NOT_SUPPORTED)     X(0x9B, QOS_NOT_SUPPORTED)                                 \
    X(0x9E, SHARED_NOT_SUPPORTED)     X(0x9F, CONNECTION_RATE_EXCEEDED)                          \
    X(0xA1, SUBSCRIPTION_IDS_NOT_SUPPORTED) X(0xA2, WILDCARDS_NOT_SUPPORTED)

enum reason {
#define X(value, name) RC_##name = value,
    REASON_TABLE(X)
#undef X
};

/* MQTT 5.0 section 2.2.2.2.  kind: NUMBER1/2/4 bytes, VARINT, TEXT, DATA, PAIR */
#define PROPERTY_TABLE(X)                                                                        \
    X(0x01, PAYLOAD_FORMAT, payload_format, NUMBER1)                                             \
    X(0x02, MESSAGE_EXPIRY, message_expiry, NUMBER4)                                             \
    X(0x03, CONTENT_TYPE, content_type, TEXT)                                                    \
    X(0x08, RESPONSE_TOPIC, response_topic, TEXT)                                                \
    X(0x09, CORRELATION_DATA, correlation_data, DATA)                                            \
    X(0x0B, SUBSCRIPTION_ID, subscription_id, VARINT)                                            \
    X(0x11, SESSION_EXPIRY, session_expiry, NUMBER4)                                             \
    X(0x12, ASSIGNED_CLIENT_ID, assigned_client_id, TEXT)                                        \
    X(0x13, SERVER_KEEP_ALIVE, server_keep_alive, NUMBER2)                                       \
    X(0x15, AUTH_METHOD, auth_method, TEXT)                                                      \
    X(0x16, AUTH_DATA, auth_data, DATA)                                                          \
    X(0x17, REQUEST_PROBLEM_INFO, request_problem_info, NUMBER1)                                 \
    X(0x18, WILL_DELAY, will_delay, NUMBER4)                                                     \
    X(0x19, REQUEST_RESPONSE_INFO, request_response_info, NUMBER1)                               \
    X(0x1A, RESPONSE_INFO, response_info, TEXT)                                                  \
    X(0x1C, SERVER_REFERENCE, server_reference, TEXT)                                            \
    X(0x1F, REASON_STRING, reason_string, TEXT)                                                  \
    X(0x21, RECEIVE_MAXIMUM, receive_maximum, NUMBER2)                                           \
    X(0x22, TOPIC_ALIAS_MAXIMUM, topic_alias_maximum, NUMBER2)                                   \
    X(0x23, TOPIC_ALIAS, topic_alias, NUMBER2)                                                   \
    X(0x24, MAXIMUM_QOS, maximum_qos, NUMBER1)                                                   \
    X(0x25, RETAIN_AVAILABLE, retain_available, NUMBER1)                                         \
    X(0x26, USER_PROPERTY, user_property, PAIR)                                                  \
    X(0x27, MAXIMUM_PACKET_SIZE, maximum_packet_size, NUMBER4)                                   \
    X(0x28, WILDCARD_AVAILABLE, wildcard_available, NUMBER1)                                     \
    X(0x29, SUBSCRIPTION_IDS_AVAILABLE, subscription_ids_available, NUMBER1)                     \
    X(0x2A, SHARED_AVAILABLE, shared_available, NUMBER1)
/* clang-format on */

enum property {
#define X(value, name, function, kind) PROP_##name = value,
    PROPERTY_TABLE(X)
#undef X
};

/* How the value of a property is written. */
enum prop_kind {
    PROP_KIND_NONE, /* no such property */
    PROP_KIND_NUMBER1,
    PROP_KIND_NUMBER2,
    PROP_KIND_NUMBER4,
    PROP_KIND_VARINT,
    PROP_KIND_TEXT,
    PROP_KIND_DATA,
    PROP_KIND_PAIR
};

enum prop_kind prop_kind_of(uint8_t id);

/* One property. A list of them ends with id 0; PROPS() writes such a list. */
struct prop {
    uint8_t id;
    uint32_t number;
    const char *text; /* TEXT, DATA, and the name of a PAIR */
    size_t text_len;
    const char *value; /* of a PAIR */
    size_t value_len;
};

#define PROPS(...) ((const struct prop[]){__VA_ARGS__, {.id = 0}})

/* prop_session_expiry(60), prop_content_type("text"), prop_user_property("a", "b"), ... */
struct prop prop_number(enum property id, uint32_t number);
struct prop prop_text(enum property id, const char *text);
struct prop prop_data(enum property id, const void *data, size_t len);
struct prop prop_pair(enum property id, const char *name, const char *value);

#define PROP_MAKER_NUMBER(name, function)                      \
    static inline struct prop prop_##function(uint32_t number) \
    {                                                          \
        return prop_number(PROP_##name, number);               \
    }
#define PROP_MAKER_TEXT(name, function)                         \
    static inline struct prop prop_##function(const char *text) \
    {                                                           \
        return prop_text(PROP_##name, text);                    \
    }
#define PROP_MAKER_PAIR(name, function)                                           \
    static inline struct prop prop_##function(const char *key, const char *value) \
    {                                                                             \
        return prop_pair(PROP_##name, key, value);                                \
    }
#define PROP_MAKER_NUMBER1 PROP_MAKER_NUMBER
#define PROP_MAKER_NUMBER2 PROP_MAKER_NUMBER
#define PROP_MAKER_NUMBER4 PROP_MAKER_NUMBER
#define PROP_MAKER_VARINT PROP_MAKER_NUMBER
#define PROP_MAKER_DATA PROP_MAKER_TEXT
#define X(value, name, function, kind) PROP_MAKER_##kind(name, function)
PROPERTY_TABLE(X)
#undef X

/* Growing bytes. Starts as {0}; end it with buffer_fini(). */
struct buffer {
    uint8_t *data;
    size_t len;
    size_t size;
};

void buffer_fini(struct buffer *buf);
void buffer_consume(struct buffer *buf, size_t len);
void put_bytes(struct buffer *buf, const void *data, size_t len);
void put_u8(struct buffer *buf, unsigned value);
void put_u16(struct buffer *buf, unsigned value);
void put_u32(struct buffer *buf, uint32_t value);
void put_varint(struct buffer *buf, uint32_t value);
void put_data(struct buffer *buf, const void *data, size_t len); /* two bytes length, bytes */
void put_text(struct buffer *buf, const char *text);
void put_props(struct buffer *buf, const struct prop *props); /* with their length; NULL = none */

/* Appends a whole packet: first byte, remaining length, body. */
void put_packet(struct buffer *buf, unsigned first_byte, const struct buffer *body);

/* Bits of the Subscription Options (5.0); the low two are the QoS. */
enum {
    OPT_NO_LOCAL = 0x04,
    OPT_RETAIN_AS_PUBLISHED = 0x08,
    OPT_RETAIN_IF_NEW = 0x10, /* retain handling 1 */
    OPT_RETAIN_NEVER = 0x20   /* retain handling 2 */
};

/* Everything zero is a clean 5.0 CONNECT with a client id made up for the test. */
struct connect_packet {
    uint8_t version;       /* 0 means 5.0 */
    const char *client_id; /* NULL: a fresh one */
    bool resume;           /* Clean Start 0 */
    uint16_t keep_alive;   /* seconds */
    const char *user;      /* NULL: no user name */
    const char *password;  /* NULL: no password */
    const struct prop *props;
    const char *will_topic; /* NULL: no will */
    const char *will_payload;
    size_t will_len; /* 0: strlen(will_payload) */
    uint8_t will_qos;
    bool will_retain;
    const struct prop *will_props;
};

struct publish_packet {
    const char *topic;   /* NULL: empty */
    const char *payload; /* NULL: empty */
    size_t payload_len;  /* 0: strlen(payload) */
    uint8_t qos;
    uint16_t id; /* for QoS 1 and 2 */
    bool retain;
    bool dup;
    const struct prop *props;
};

struct filter {
    const char *filter;
    uint8_t options;
};

/* A SUBSCRIBE's or UNSUBSCRIBE's list of filters, ended by a NULL filter. */
#define FILTERS(...) ((const struct filter[]){__VA_ARGS__, {.filter = NULL}})

struct subscribe_packet {
    uint16_t id;
    const struct filter *filters;
    const struct prop *props;
};

void put_connect(struct buffer *buf, const struct connect_packet *packet);
void put_publish(struct buffer *buf, uint8_t version, const struct publish_packet *packet);
void put_subscribe(struct buffer *buf, uint8_t version, const struct subscribe_packet *packet);
void put_unsubscribe(struct buffer *buf, uint8_t version, const struct subscribe_packet *packet);

/* PUBACK, PUBREC, PUBREL, PUBCOMP; 5.0 with the short form where it is allowed. */
void put_ack(struct buffer *buf, uint8_t version, enum packet_type type, unsigned id,
             enum reason reason);

/* DISCONNECT or AUTH of 5.0, always in the long form. */
void put_reason_packet(struct buffer *buf, enum packet_type type, enum reason reason,
                       const struct prop *props);

const char *packet_type_name(enum packet_type type);
const char *reason_name(unsigned reason);

#endif
