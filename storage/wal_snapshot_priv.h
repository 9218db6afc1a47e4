/*
 * wal_snapshot_priv: the header of a block, which writing and reading of snapshots share.
 *
 * Little-endian:  magic u32 · kind u32 · number u64 · version u32 · len u32 · CRC32C of the bytes
 * u32 · CRC32C of the 28 bytes before u32
 */
#ifndef PULSE_STORAGE_WAL_SNAPSHOT_PRIV_H
#define PULSE_STORAGE_WAL_SNAPSHOT_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#define WAL_BLOCK_MAGIC 0x4b424c50u /* "PLBK" */
#define WAL_BLOCK_HEADER_BYTES 32u
#define WAL_BLOCK_BYTES (256u << 10) /* a block is closed when it has that many */

enum wal_block_kind { WAL_BLOCK_HEAD = 1, WAL_BLOCK_RECORDS = 2, WAL_BLOCK_END = 3 };

struct wal_block {
    uint32_t kind;
    uint64_t number; /* of the snapshot: remains of another one are never taken for it */
    uint32_t version;
    uint32_t len; /* of the bytes behind the header */
    uint32_t crc;
};

/* Fixed numbers of HEAD: first, now_ms, next_id u64, keep_count u32; then u64 for each kept one. */
#define WAL_HEAD_BYTES 28u

void wal_block_encode(const struct wal_block *block, uint8_t *at);

/* False: there is no header at `at`. */
bool wal_block_decode(const uint8_t *at, struct wal_block *block);

void wal_block_put_u32(uint8_t *at, uint32_t value);
void wal_block_put_u64(uint8_t *at, uint64_t value);
uint32_t wal_block_get_u32(const uint8_t *at);
uint64_t wal_block_get_u64(const uint8_t *at);

#endif
