/*
 * reason: MQTT reason codes. What a client did wrong is one of these; what we failed at is an enum
 * err. Source: MQTT 5.0 section 2.4.
 */
#ifndef PULSE_CODEC_REASON_H
#define PULSE_CODEC_REASON_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/packet_types.h"

enum mqtt_reason {
#define X(name, value, text, packets) MQTT_REASON_##name = value,
#include "codec/reason_codes.def"
#undef X
};

static inline bool mqtt_reason_is_error(unsigned reason)
{
    return reason >= 0x80;
}

/* The name for logs and Reason Strings; "unknown" for a value that is none. */
const char *mqtt_reason_name(unsigned reason);

/* Whether `reason` is a code that may stand in `where` (one IN_ bit). */
bool mqtt_reason_allowed(uint8_t reason, unsigned where);

/* The 3.1.1 CONNACK return code (1..5) that says best what the 5.0 code `reason` says. */
uint8_t mqtt_reason_to_v3_connack(enum mqtt_reason reason);

#endif
