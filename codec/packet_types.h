/*
 * packet_types: the packets of MQTT and the bits that say in which of them a property or a reason
 * code may stand. Source: MQTT 5.0 section 2.1.2.
 */
#ifndef PULSE_CODEC_PACKET_TYPES_H
#define PULSE_CODEC_PACKET_TYPES_H

/* X(NAME, value) */
#define MQTT_PACKETS(X) \
    X(CONNECT, 1)       \
    X(CONNACK, 2)       \
    X(PUBLISH, 3)       \
    X(PUBACK, 4)        \
    X(PUBREC, 5)        \
    X(PUBREL, 6)        \
    X(PUBCOMP, 7)       \
    X(SUBSCRIBE, 8)     \
    X(SUBACK, 9)        \
    X(UNSUBSCRIBE, 10)  \
    X(UNSUBACK, 11)     \
    X(PINGREQ, 12)      \
    X(PINGRESP, 13)     \
    X(DISCONNECT, 14)   \
    X(AUTH, 15)

enum mqtt_packet {
#define X(name, value) MQTT_##name = value,
    MQTT_PACKETS(X)
#undef X
};

/* Where a property or reason code may stand. The will properties of CONNECT count as a packet. */
enum mqtt_where {
#define X(name, value) IN_##name = 1 << value,
    MQTT_PACKETS(X)
#undef X
        IN_WILL = 1,
    IN_ALL = 0xffff & ~(1 << 12 | 1 << 13)
};

/* "PUBLISH", ...; "reserved" for 0 and what is above 15. */
const char *mqtt_packet_name(unsigned type);

#endif
