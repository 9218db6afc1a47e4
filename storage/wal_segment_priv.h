/*
 * wal_segment: what a segment file looks like.
 *
 *     0      header
 *     4096   the header again, should the first page be lost
 *     8192   frames, one behind the other
 *
 * The header of a segment says which segment came before it, and from which batch on it holds them:
 * frames of that batch and later ones in earlier segments are void. All batches before were synced
 * when it was written. It is written after the first frames when those stood in an earlier segment
 * that failed, so that at each moment one of the two holds them.
 *
 * `salt` is random. The magic number at the start of each frame of the segment is made of it, and
 * the CRC starts from it and the segment's number: frames of another life of the file, or a
 * client's payload that looks like a frame, don't pass.
 *
 * Numbers are little-endian.
 *
 * Owns      nothing.
 * Thread    any.
 */
#ifndef PULSE_STORAGE_WAL_SEGMENT_PRIV_H
#define PULSE_STORAGE_WAL_SEGMENT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "storage/files.h"

#define WAL_FRAMES_AT 8192u
#define WAL_FRAME_HEADER_BYTES 24u
#define WAL_SEGMENT_BYTES_MAX UINT32_MAX /* offsets are 32 bits */
#define WAL_PATH_BYTES 4096

struct wal_segment_header {
    uint64_t number;
    uint64_t salt;
    uint64_t first_batch;
    uint64_t previous; /* the segment before it; 0: none */
};

struct wal_frame {
    uint64_t batch;
    uint64_t synced; /* batches up to this one were safe when the frame was written */
    struct slice records;
    uint32_t end; /* offset of what follows in the segment */
};

/* "<dir>/log.<number>". */
void wal_segment_path(char path[WAL_PATH_BYTES], const char *dir, uint64_t number);

/* Whether `name` is `prefix` and a decimal number. */
bool wal_name_parse(const char *name, const char *prefix, uint64_t *number);

/* Writes both copies, into WAL_FRAMES_AT bytes. */
void wal_segment_header_encode(const struct wal_segment_header *header, uint8_t *at);

/* From the first bytes of a segment called `number`. ERR_DAMAGED: no header of that segment, which
 * then has not begun its life. ERR_VERSION: of a newer format. */
must_check enum err wal_segment_header_decode(struct slice bytes, uint64_t number,
                                              struct wal_segment_header *header);

/* The size of a record in a frame, with its length in front. */
size_t wal_framed_size(size_t record_len);

/* Writes the length of a record to `at`; returns the end. */
uint8_t *wal_framed_len_put(uint8_t *at, size_t record_len);

/* Takes the next record off `records`; false: none, or not a whole one. */
bool wal_framed_next(struct slice *records, struct slice *record);

/* Writes what doesn't depend on the segment into the header at `at`; `len` is that of the records
 * behind it. */
void wal_frame_put(uint8_t *at, uint64_t batch, uint64_t synced, size_t len);

/* Makes the whole frames in `bytes` frames of this segment: magic number and CRC. */
void wal_frames_stamp(uint8_t *bytes, size_t len, const struct wal_segment_header *header);

/* The frame at `offset` of a segment whose bytes are `segment`; false: there is none. */
bool wal_frame_read(struct slice segment, uint32_t offset, const struct wal_segment_header *header,
                    struct wal_frame *frame);

/* The next place from `offset` on where a frame could begin; segment.len: none. */
uint32_t wal_frame_search(struct slice segment, uint32_t offset,
                          const struct wal_segment_header *header);

/*
 * Where what begins like a frame at `offset` would end, as far as there are bytes; `offset` when it
 * can't be a torn frame of a batch from `at_least` on: remains of an earlier life may look like a
 * beginning by chance.
 */
uint32_t wal_frame_claimed_end(struct slice segment, uint32_t offset, uint64_t at_least);

/* What an errno of a write or sync means: ERR_FULL or ERR_IO. */
enum err wal_error_of(int error);

/* Writes all of `bytes`. -1 and errno. */
must_check int wal_write(const struct files *files, int fd, struct slice bytes, off_t at);

/*
 * Reads an open file, or its first `limit` bytes. What can't be read, tried twice, is zeros and
 * counted in `*unreadable`. `*data` is given: mem_free. ERR_MEMORY, ERR_IO (no size), ERR_RANGE
 * (larger than a segment can be).
 */
must_check enum err wal_read_file(const struct files *files, int fd, size_t limit, uint8_t **data,
                                  size_t *len, size_t *unreadable);

#endif
