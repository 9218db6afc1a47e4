/*
 * wal_held: what damaged bytes of a segment or a snapshot seem to have held, for people: as far as
 * the bytes can be read without their checksum, so it may be wrong. Nothing is decided by it.
 *
 * Thread    the caller's.
 * Errors    none: what can't be read isn't counted.
 */
#ifndef PULSE_STORAGE_WAL_HELD_H
#define PULSE_STORAGE_WAL_HELD_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include "storage/files.h"
#include "storage/operation.h"

#define WAL_HELD_CLIENTS 5u
#define WAL_HELD_CLIENT_BYTES 64u

struct wal_held {
    uint64_t by_type[OPERATION_TYPES]; /* entries and references of a run as queue_push, message_put
                                        */
    uint32_t client_count;             /* of the sessions among them, the first ones */
    struct {
        size_t len;
        uint8_t id[WAL_HELD_CLIENT_BYTES]; /* cut */
    } clients[WAL_HELD_CLIENTS];
};

/* Reads `len` bytes at `offset` of the file that `segment` (as in a struct wal_place) names. */
void wal_held_read(struct wal_held *held, const struct files *files, const char *dir,
                   uint64_t segment, uint64_t offset, uint64_t len);

/* "3 session_put, 8000 queue_push"; nothing when there is nothing. */
void wal_held_add_counts(struct text *text, const uint64_t by_type[OPERATION_TYPES]);

/* The client ids, with blanks between them. */
void wal_held_add_clients(struct text *text, const struct wal_held *held);

#endif
