/*
 * transfer_support: lines of an export, and a store in memory to import them into.
 */
#ifndef PULSE_TESTS_TRANSFER_SUPPORT_H
#define PULSE_TESTS_TRANSFER_SUPPORT_H

#include "base/text.h"
#include "storage/transfer_priv.h"
#include "tests/unit/storage/fake_engine_support.h"

#define HEADER "{\"format\":\"pulse-state\",\"version\":1}\n"
#define SESSION(id, client)                                              \
    "{\"op\":\"session_put\",\"session\":" id ",\"client_id\":\"" client \
    "\",\"expiry_s\":4294967295,\"offline_since_ms\":1700000000000,\"sent_to\":3}\n"
#define SUBSCRIPTION(id, filter)                                                          \
    "{\"op\":\"subscription_put\",\"session\":" id ",\"filter\":\"" filter                \
    "\",\"qos\":2,\"no_local\":true,\"retain_as_published\":false,\"retain_handling\":1," \
    "\"subscription_id\":268435455}\n"
#define MESSAGE(id, topic)                                                           \
    "{\"op\":\"message_put\",\"message\":" id ",\"topic\":\"" topic                  \
    "\",\"properties\":\"AQE=\",\"payload\":\"AAECAw==\",\"qos\":1,\"retain\":true," \
    "\"expires_at_ms\":null,\"publisher\":\"17000000000000000001\"}\n"
#define WILL(id, message)                                          \
    "{\"op\":\"will_put\",\"session\":" id ",\"message\":" message \
    ",\"delay_s\":30,\"has_expiry\":true,\"message_expiry_s\":60}\n"
#define PUSH(id, position, message, released)                                                  \
    "{\"op\":\"queue_push\",\"session\":" id ",\"position\":" position ",\"message\":" message \
    ",\"qos\":2,\"retain\":false,\"shared\":true,\"released\":" released                       \
    ",\"subscription_ids\":[1,2,268435455]}\n"
#define INBOUND(id, packet) \
    "{\"op\":\"inbound_qos2_put\",\"session\":" id ",\"packet_id\":" packet "}\n"
#define RETAINED(topic)                                          \
    "{\"op\":\"retained_put\",\"topic\":\"" topic                \
    "\",\"properties\":\"\",\"payload\":\"aGVsbG8=\",\"qos\":0," \
    "\"expires_at_ms\":1700000000000,\"publisher\":0}\n"
#define END(count) "{\"end\":true,\"operations\":" count "}\n"

/* A state with something of everything, in the order of an export. */
extern const char transfer_everything[];

/* Of the store in memory, which doesn't look at it. */
extern const struct storage_config transfer_no_config;

/* A store, in memory, and what became of an import into it and an export from it. */
struct transfer_rig {
    struct fake_store *store;
    struct transfer_counts counts;
    struct text error;
    char *exported;
};

struct transfer_rig transfer_rig_create(void);

/* Ends it; the store must have had nothing to complain about. */
void transfer_rig_end(struct transfer_rig *rig);

enum err transfer_rig_import(struct transfer_rig *rig, const char *text);
enum err transfer_rig_import_bytes(struct transfer_rig *rig, const char *bytes, size_t len);

/* Gives what an export writes, which must succeed; good until the next call. */
const char *transfer_rig_export(struct transfer_rig *rig);

/* Imports what must be refused with this error, without even looking at the store. */
void transfer_assert_refused(const char *text, enum err expected, const char *error);

#endif
