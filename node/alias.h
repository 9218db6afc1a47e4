/*
 * alias: topic aliases of one connection, in both directions.
 *
 * Owns      copies of the topics.
 * Thread    the worker.
 * Errors    as reason codes for what the client does wrong.
 * Source    MQTT 5.0 section 3.3.2.3.4.
 */
#ifndef PULSE_NODE_ALIAS_H
#define PULSE_NODE_ALIAS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "codec/reason.h"

struct alias_in;
struct alias_out;

/*
 * The client's PUBLISH carries `alias`: with a topic it is remembered, without one `*topic` becomes
 * what was. `*table` is made when first needed. TOPIC_ALIAS_INVALID over `maximum`; PROTOCOL_ERROR
 * for an alias that was never set.
 */
enum mqtt_reason alias_in_apply(struct alias_in **table, uint16_t maximum, uint16_t alias,
                                struct slice *topic);
void alias_in_destroy(struct alias_in *table);

/*
 * The alias under which `topic` is sent: 0 for none. `*known` says that the client knows it
 * already, so that the topic itself is left out. An alias is set when a topic comes for the second
 * time.
 */
uint16_t alias_out_get(struct alias_out **table, uint16_t maximum, struct slice topic, bool *known);
/* The packet that would have told the client of `alias` is not sent. */
void alias_out_forget(struct alias_out *table, uint16_t alias);
void alias_out_destroy(struct alias_out *table);

#endif
