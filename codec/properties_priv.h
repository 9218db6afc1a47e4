/*
 * properties, for the encoders of this folder.
 */
#ifndef PULSE_CODEC_PROPERTIES_PRIV_H
#define PULSE_CODEC_PROPERTIES_PRIV_H

#include "codec/properties.h"

/* The bit of a property in a set such as mqtt_props.present. */
#define PROP_BIT(NAME) (UINT64_C(1) << MQTT_PROP_##NAME)

/* Every property that may stand in CONNACK but the user property, which is not a single value. */
extern const uint64_t props__of_connack;

/* Bytes of those properties of `props` that are present and in `set`; no length in front. A set
 * with the user property in it is our bug. */
size_t props__len(const struct mqtt_props *props, uint64_t set);

/* Writes them, in the order of their ids. */
void props__write(struct writer *w, const struct mqtt_props *props, uint64_t set);

#endif
