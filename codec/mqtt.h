/*
 * mqtt: MQTT 3.1, 3.1.1 and 5.0 packets, bytes to structs and back, for the server side.
 *
 * Owns      nothing. Every slice of a decoded packet borrows the packet's bytes.
 * Thread    any; no state.
 * Errors    decoders return a reason code: SUCCESS, MALFORMED_PACKET, PROTOCOL_ERROR, or the
 * precise one that the specification names (documented at each decoder). For 3.x the caller closes.
 * Source    MQTT 5.0 chapters 2 and 3; 3.1.1; 3.1.
 * Not here  what a packet means for a session (node/).
 */
#ifndef PULSE_CODEC_MQTT_H
#define PULSE_CODEC_MQTT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/slice.h"
#include "codec/packet_types.h"
#include "codec/properties.h"
#include "codec/reason.h"
#include "codec/writer.h"

enum mqtt_version { MQTT_V31 = 3, MQTT_V311 = 4, MQTT_V5 = 5 };

/* ---- fixed header ---------------------------------------------------------------------------- */

struct mqtt_frame {
    uint8_t type;       /* 0..15; 0 is reserved, the caller refuses it */
    uint8_t flags;      /* the low four bits of the first byte */
    uint8_t header_len; /* 2..5 */
    uint32_t body_len;  /* Remaining Length */
};

enum mqtt_frame_status { MQTT_FRAME_OK, MQTT_FRAME_INCOMPLETE, MQTT_FRAME_MALFORMED };

/* Reads the fixed header at the start of `in`; OK says nothing about the body being there yet. */
enum mqtt_frame_status mqtt_frame_read(struct slice in, struct mqtt_frame *out);

/* Whether `flags` are what the specification demands for `type` (PUBLISH: QoS 3 and DUP at QoS 0
 * are refused by its decoder, not here). MQTT-2.1.3-1. A 3.1 client may set DUP (8) on a PUBREL,
 * SUBSCRIBE or UNSUBSCRIBE that it sends again: the caller takes it off for that version. */
bool mqtt_flags_valid(uint8_t type, uint8_t flags);

/* ---- from the client ------------------------------------------------------------------------- */

struct mqtt_will {
    struct slice topic; /* validated as a topic name */
    struct slice payload;
    uint8_t qos;
    bool retain;
    struct mqtt_props props; /* present == 0 before 5.0 */
};

struct mqtt_connect {
    enum mqtt_version version;
    bool clean_start;
    bool has_will;
    bool has_user_name;
    bool has_password;
    uint16_t keep_alive; /* seconds; 0 is never */
    struct slice client_id;
    struct slice user_name;
    struct slice password;
    struct mqtt_will will;
    struct mqtt_props props;
};

/*
 * `out->version` is set as soon as it is known, so that a refusal can be answered in the right
 * version; it is 0 before that (unknown protocol name: close without an answer).
 * UNSUPPORTED_VERSION: a protocol name or level that we don't speak (for a level, `version` is the
 * one to refuse in). TOPIC_NAME_INVALID: the will's topic. PAYLOAD_FORMAT_INVALID: the will's
 * payload is not the UTF-8 it claims. CLIENT_ID_NOT_VALID: empty with clean session 0 in 3.1.1,
 * empty in 3.1 (a 3.1 id over 23 bytes is accepted).
 */
must_check enum mqtt_reason mqtt_decode_connect(struct slice body, struct mqtt_connect *out);

struct mqtt_publish {
    bool dup;
    bool retain;
    uint8_t qos;
    uint16_t packet_id; /* 0 at QoS 0 */
    struct slice topic; /* empty only with a topic alias */
    struct slice payload;
    struct mqtt_props props; /* only .present and .raw are set (to nothing) when there are none */
};

/* TOPIC_NAME_INVALID for wildcards or an empty topic without alias (3.x, and 5.0: PROTOCOL_ERROR
 * for empty without alias); TOPIC_ALIAS_INVALID for alias 0. A Subscription Identifier is a
 * PROTOCOL_ERROR [MQTT-3.3.4-6]. The payload format is not checked here: see
 * mqtt_payload_format_valid. */
must_check enum mqtt_reason mqtt_decode_publish(struct slice body, uint8_t flags,
                                                enum mqtt_version version,
                                                struct mqtt_publish *out);

/* False when Payload Format Indicator 1 is there and the payload is not UTF-8. */
bool mqtt_payload_format_valid(const struct mqtt_publish *publish);

/* PUBACK, PUBREC, PUBREL, PUBCOMP. */
struct mqtt_ack {
    uint16_t packet_id;
    uint8_t reason;
    struct mqtt_props props;
};
must_check enum mqtt_reason mqtt_decode_ack(struct slice body, enum mqtt_packet type,
                                            enum mqtt_version version, struct mqtt_ack *out);

struct mqtt_subscription {
    struct slice filter; /* as it came: with $share/... if so; UTF-8 valid, not yet parsed */
    uint8_t qos;
    bool no_local;
    bool retain_as_published;
    uint8_t retain_handling; /* 0, 1, 2 */
};

struct mqtt_subscribe {
    uint16_t packet_id;
    uint32_t subscription_id; /* 0: none */
    uint16_t count;           /* filters */
    struct slice filters;     /* walk with mqtt_subscribe_next */
    struct mqtt_props props;
};
/* Validates all of it, the reserved option bits included; filters are not parsed (topic.h).
 * QUOTA_EXCEEDED: more filters than `count` can hold. The same goes for UNSUBSCRIBE. */
must_check enum mqtt_reason mqtt_decode_subscribe(struct slice body, enum mqtt_version version,
                                                  struct mqtt_subscribe *out);
/* Takes the next subscription of a decoded SUBSCRIBE from the front of `*filters`; false at the
 * end. */
bool mqtt_subscribe_next(struct slice *filters, struct mqtt_subscription *out);

struct mqtt_unsubscribe {
    uint16_t packet_id;
    uint16_t count;
    struct slice filters; /* walk with mqtt_unsubscribe_next */
    struct mqtt_props props;
};
must_check enum mqtt_reason mqtt_decode_unsubscribe(struct slice body, enum mqtt_version version,
                                                    struct mqtt_unsubscribe *out);
bool mqtt_unsubscribe_next(struct slice *filters, struct slice *filter);

/* DISCONNECT (5.0: reason and properties may be absent; 3.x: the body is empty) and AUTH. */
struct mqtt_disconnect {
    uint8_t reason;
    struct mqtt_props props;
};
must_check enum mqtt_reason mqtt_decode_disconnect(struct slice body, enum mqtt_version version,
                                                   struct mqtt_disconnect *out);
/* A client's AUTH: PROTOCOL_ERROR for reason SUCCESS, which is the server's, or without a method.
 */
must_check enum mqtt_reason mqtt_decode_auth(struct slice body, struct mqtt_disconnect *out);

/* ---- to the client --------------------------------------------------------------------------- */

/* Each encoder has a _len that says how many bytes it will write, the fixed header included. */

struct mqtt_connack {
    bool session_present;
    enum mqtt_reason reason; /* 5.0's; translated for 3.x */
    struct mqtt_props props; /* fields named in `present` are written; user properties are not */
};
size_t mqtt_connack_len(const struct mqtt_connack *connack, enum mqtt_version version);
void mqtt_encode_connack(struct writer *w, const struct mqtt_connack *connack,
                         enum mqtt_version version);

/* An acknowledgement. In 5.0 a reason of SUCCESS without a reason string takes the short form. */
#define MQTT_ACK_LEN_MAX_WITHOUT_STRING 5
size_t mqtt_ack_len(uint8_t reason, struct slice reason_string, enum mqtt_version version);
void mqtt_encode_ack(struct writer *w, enum mqtt_packet type, uint16_t packet_id, uint8_t reason,
                     struct slice reason_string, enum mqtt_version version);

/* SUBACK and UNSUBACK. In 3.x UNSUBACK has no codes, and error codes of SUBACK become 0x80. */
size_t mqtt_suback_len(enum mqtt_packet type, size_t count, struct slice reason_string,
                       enum mqtt_version version);
void mqtt_encode_suback(struct writer *w, enum mqtt_packet type, uint16_t packet_id,
                        const uint8_t *reasons, size_t count, struct slice reason_string,
                        enum mqtt_version version);

/* DISCONNECT of a 5.0 server. `props` may be NULL; reason string and server reference are written.
 */
size_t mqtt_disconnect_len(enum mqtt_reason reason, const struct mqtt_props *props);
void mqtt_encode_disconnect(struct writer *w, enum mqtt_reason reason,
                            const struct mqtt_props *props);

/* AUTH of a 5.0 server, with the authentication method and data of `props`. */
size_t mqtt_auth_len(enum mqtt_reason reason, const struct mqtt_props *props);
void mqtt_encode_auth(struct writer *w, enum mqtt_reason reason, const struct mqtt_props *props);

#define MQTT_PINGRESP_LEN 2
void mqtt_encode_pingresp(struct writer *w);

/*
 * PUBLISH. Everything but the payload, which the caller writes (or sends by reference) behind it.
 * `props` are forwardable property bytes (mqtt_props_forward). Before 5.0 all properties are left
 * out.
 */
struct mqtt_publish_out {
    enum mqtt_version version;
    uint8_t qos;
    bool dup;
    bool retain;
    uint16_t packet_id;
    uint16_t topic_alias; /* 0: none; with an empty topic: an alias set before */
    bool has_expiry;
    uint32_t expiry; /* seconds that remain */
    const uint32_t *subscription_ids;
    size_t subscription_id_count;
    struct slice topic;
    struct slice props;
    size_t payload_len;
};
/* Bytes before the payload; `*packet_len` becomes the whole packet's size (payload included). A
 * size of the packet over MQTT_VARINT_MAX + 5 is possible: the caller compares with the client's
 * maximum. */
size_t mqtt_publish_head_len(const struct mqtt_publish_out *publish, size_t *packet_len);
/* Writes these bytes and returns the offset of the packet id in them (0 at QoS 0). */
size_t mqtt_encode_publish_head(struct writer *w, const struct mqtt_publish_out *publish);

#endif
