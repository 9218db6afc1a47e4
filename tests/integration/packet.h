/*
 * packet: a packet that the broker sent, decoded and checked against the specification.
 *
 * Owns      the memory of its texts.
 * Thread    the test's.
 * Errors    packet_decode() says in words what is wrong with the bytes.
 */
#ifndef TESTS_INTEGRATION_PACKET_H
#define TESTS_INTEGRATION_PACKET_H

#include "tests/integration/wire.h"

enum { PACKET_PROPS_MAX = 512 };

/* A packet that the broker sent. Texts end with a zero byte, whatever they contain. */
struct packet {
    enum packet_type type;
    uint8_t flags;
    uint8_t qos;
    bool dup;
    bool retain;
    bool session_present;
    uint16_t id;
    uint8_t reason; /* CONNACK, acks, DISCONNECT, AUTH; the first one of SUBACK and UNSUBACK */
    const uint8_t *reasons;
    size_t reason_count;
    const char *topic;
    const char *payload;
    size_t payload_len;
    size_t wire_len; /* the whole packet's bytes */
    size_t prop_count;
    struct prop props[PACKET_PROPS_MAX];
    char *arena;
    size_t arena_used;
};

void packet_fini(struct packet *packet);

/*
 * Decodes the packet at the start of `bytes`, as a client of `version` reads it. Gives its length,
 * 0 when it is not complete yet, or -1 with `*problem` set when it breaks the specification.
 */
long packet_decode(struct packet *packet, uint8_t version, const uint8_t *bytes, size_t len,
                   const char **problem);

/* Borrows the first property `id`, or NULL. */
const struct prop *packet_prop(const struct packet *packet, enum property id);

/* How often property `id` occurs. */
size_t packet_prop_count(const struct packet *packet, enum property id);

/* Writes one line about `packet` for people. */
void packet_describe(const struct packet *packet, char *text, size_t size);

#endif
