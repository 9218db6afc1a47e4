/*
 * wal_messages: the messages of a wal_state by id: where the body stands and how many queue entries
 * and wills refer to it. A message may be referred to before, or without, having a body.
 *
 * 24 bytes a message, and 6 to 12 for finding it.
 *
 * Owns      its slots. A slot's number is good until the message is removed.
 * Thread    the owner's.
 * Errors    ERR_MEMORY of wal_messages_add.
 */
#ifndef PULSE_STORAGE_WAL_MESSAGES_H
#define PULSE_STORAGE_WAL_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

#define WAL_FILE_NONE UINT32_MAX

struct wal_message {
    uint64_t id;     /* 0: the slot is free */
    uint32_t file;   /* number of the file in the wal_state; WAL_FILE_NONE: there is no body */
    uint32_t offset; /* of the record; of a free slot: the next free one */
    uint32_t len;    /* of the record */
    uint32_t refs : 31;
    uint32_t given : 1; /* the body was given to whoever loads */
};

/* A zeroed one is empty and ready. */
struct wal_messages {
    struct wal_message **chunks;
    uint32_t *index; /* slots by hash of their id; 0: empty */
    uint32_t chunk_count;
    uint32_t slot_count; /* slots 1 to slot_count - 1 were in use once */
    uint32_t free;       /* the first free slot, or 0 */
    uint32_t last;       /* the slot that was looked up last, or 0 */
    uint32_t count;
    uint8_t index_bits; /* log2 of the size of `index` */
};

void wal_messages_fini(struct wal_messages *messages);

/* The slot of message `id`; 0: there is none. */
uint32_t wal_messages_find(struct wal_messages *messages, uint64_t id);

/* The slot of message `id`, which is not 0: found, or made without a body and with no references.
 */
must_check enum err wal_messages_add(struct wal_messages *messages, uint64_t id, uint32_t *slot);

void wal_messages_remove(struct wal_messages *messages, uint32_t slot);

/* Borrows a slot, until it is removed. */
struct wal_message *wal_messages_at(const struct wal_messages *messages, uint32_t slot);

#endif
