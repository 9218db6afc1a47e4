/*
 * operation: one change of what is stored, as plain data. Workers' changes reach an engine as
 * operations, an engine's contents come back as operations (those that make the state out of
 * nothing), and so do snapshots, exports and imports: the state is a list of operations.
 *
 * Owns      nothing: slices and arrays are borrowed from whoever hands the operation out.
 * Thread    any; it is a value.
 * Source    operations.def
 */
#ifndef PULSE_STORAGE_OPERATION_H
#define PULSE_STORAGE_OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define OPERATION_NEVER_MS UINT64_MAX

enum operation_type {
#define OPERATION(NAME, name, help) OPERATION_##NAME,
#define FIELD(kind, member)
#define END
#include "storage/operations.def"
#undef OPERATION
#undef FIELD
#undef END
    OPERATION_TYPES
};

/*
 * Only the fields that operations.def lists for `type` count; all others are zero.
 *
 * Applying an operation twice is as good as once, and one that refers to what isn't there
 * (a push into a session that was dropped, a pop of what was popped) is harmless: a batch whose
 * fate is unknown after a lost connection is applied again as a whole.
 */
struct operation {
    enum operation_type type;

    uint64_t session;          /* names a session for ever: never used again; not 0 */
    struct slice client_id;    /* 1 to 65,535 bytes of UTF-8 without NUL */
    uint32_t expiry_s;         /* Session Expiry Interval; UINT32_MAX: never */
    uint64_t offline_since_ms; /* wall clock; 0: connected, so far as storage was told */
    uint64_t sent_to;          /* queue entries before this position have been sent before */

    struct slice filter; /* as the client wrote it, $share/group/ included; unique in a session */
    uint8_t qos;         /* granted, of a subscription or queue entry; published, of a message */
    bool no_local;
    bool retain_as_published;
    uint8_t retain_handling;
    uint32_t subscription_id; /* 0: none */

    uint64_t message;        /* names a message for ever; 0 in a released queue entry */
    struct slice topic;      /* 1 to 65,535 bytes */
    struct slice properties; /* forwardable ones, MQTT 5.0 bytes without the length in front */
    struct slice payload;
    bool retain;            /* RETAIN as published (message), to be sent (queue entry) */
    uint64_t expires_at_ms; /* wall clock; OPERATION_NEVER_MS */
    uint64_t publisher;     /* hash_identity of the publisher's client id; 0: none */

    uint64_t position; /* in the queue of its session: grows, may have gaps, not 0 */
    uint64_t last;     /* of a range of positions; at least `position` */
    bool shared;       /* came by a shared subscription */
    bool released;     /* PUBREC came: there is no message any more */
    const uint32_t *subscription_ids;
    size_t subscription_id_count;

    uint16_t packet_id;

    uint32_t delay_s; /* Will Delay Interval */
    bool has_expiry;
    uint32_t message_expiry_s; /* of the will's message, from its publication on */
};

/* ---- what the table says --------------------------------------------------------------------- */

enum operation_kind {
    OPERATION_U8,
    OPERATION_U16,
    OPERATION_U32,
    OPERATION_U64,
    OPERATION_BOOL,
    OPERATION_TEXT,
    OPERATION_BYTES,
    OPERATION_IDS
};

struct operation_field {
    enum operation_kind kind;
    size_t offset; /* in struct operation */
    const char *name;
};

struct operation_info {
    const char *name;
    const char *help;
    const struct operation_field *fields;
    size_t field_count;
};

/* Borrows the row of `type`; constant. */
const struct operation_info *operation_info(enum operation_type type);

/* The operation called `name`; OPERATION_TYPES: there is none. */
enum operation_type operation_by_name(struct slice name);

/* Where operations go: to a loading broker, a snapshot, an export. Not ERR_OK stops the giver,
 * which returns that error. */
struct operation_sink {
    void *context;
    enum err (*take)(void *context, const struct operation *operation);
};

#endif
