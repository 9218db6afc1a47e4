#include "storage/wal_segment_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/mem.h"

#define HEADER_COPIES 2u
#define HEADER_DISTANCE 4096u
#define HEADER_BYTES 48u
#define FORMAT_VERSION 1u
#define READ_BYTES ((size_t)1 << 20)
#define READ_BYTES_SMALL ((size_t)4096)

static const uint8_t segment_magic[8] = {'P', 'u', 'l', 's', 'e', 'W', 'A', 'L'};

static void put_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static void put_u64(uint8_t *at, uint64_t value)
{
    put_u32(at, (uint32_t)value);
    put_u32(at + 4, (uint32_t)(value >> 32));
}

static uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get_u64(const uint8_t *at)
{
    return get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

/* ---- names ----------------------------------------------------------------------------------- */

void wal_segment_path(char path[WAL_PATH_BYTES], const char *dir, uint64_t number)
{
    (void)snprintf(path, WAL_PATH_BYTES, "%s/log.%016" PRIu64, dir, number);
}

bool wal_name_parse(const char *name, const char *prefix, uint64_t *number)
{
    size_t len = strlen(prefix);
    if (strncmp(name, prefix, len) != 0 || name[len] < '0' || name[len] > '9') {
        return false;
    }
    char *end;
    errno = 0;
    unsigned long long value = strtoull(name + len, &end, 10);
    *number = value;
    return errno == 0 && *end == '\0';
}

/* ---- header ---------------------------------------------------------------------------------- */

/*
 *     0 magic   8 CRC of what follows   12 version   16 number   24 salt   32 first_batch
 *     40 previous
 */
void wal_segment_header_encode(const struct wal_segment_header *header, uint8_t *at)
{
    memset(at, 0, WAL_FRAMES_AT);
    memcpy(at, segment_magic, sizeof(segment_magic));
    put_u32(at + 12, FORMAT_VERSION);
    put_u64(at + 16, header->number);
    put_u64(at + 24, header->salt);
    put_u64(at + 32, header->first_batch);
    put_u64(at + 40, header->previous);
    put_u32(at + 8, crc32c(0, at + 12, HEADER_BYTES - 12));
    memcpy(at + HEADER_DISTANCE, at, HEADER_BYTES);
}

static enum err decode_copy(const uint8_t *at, uint64_t number, struct wal_segment_header *header)
{
    if (memcmp(at, segment_magic, sizeof(segment_magic)) != 0 ||
        get_u32(at + 8) != crc32c(0, at + 12, HEADER_BYTES - 12) || get_u64(at + 16) != number) {
        return ERR_DAMAGED;
    }
    if (get_u32(at + 12) != FORMAT_VERSION) {
        return ERR_VERSION;
    }
    *header = (struct wal_segment_header){.number = number,
                                          .salt = get_u64(at + 24),
                                          .first_batch = get_u64(at + 32),
                                          .previous = get_u64(at + 40)};
    return header->first_batch > 0 && header->previous < number ? ERR_OK : ERR_DAMAGED;
}

enum err wal_segment_header_decode(struct slice bytes, uint64_t number,
                                   struct wal_segment_header *header)
{
    for (size_t copy = 0; copy < HEADER_COPIES; copy++) {
        size_t at = copy * HEADER_DISTANCE;
        if (bytes.len < at + HEADER_BYTES) {
            break;
        }
        enum err err = decode_copy(bytes.data + at, number, header);
        if (err != ERR_DAMAGED) {
            return err;
        }
    }
    return ERR_DAMAGED;
}

/* ---- records in a frame ---------------------------------------------------------------------- */

/* Lengths are 7 bits a byte, the lowest first; the highest bit says that more follow. */
size_t wal_framed_size(size_t record_len)
{
    size_t size = record_len + 1;
    for (size_t rest = record_len >> 7; rest > 0; rest >>= 7) {
        size++;
    }
    return size;
}

uint8_t *wal_framed_len_put(uint8_t *at, size_t record_len)
{
    for (; record_len > 0x7f; record_len >>= 7) {
        *at++ = (uint8_t)(record_len | 0x80);
    }
    *at++ = (uint8_t)record_len;
    return at;
}

bool wal_framed_next(struct slice *records, struct slice *record)
{
    uint64_t len = 0;
    unsigned shift = 0;
    for (size_t i = 0; i < records->len && shift < 35; i++, shift += 7) {
        uint8_t byte = records->data[i];
        len |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *records = slice_from(*records, i + 1);
            if (len > records->len) {
                return false;
            }
            *record = slice_of(records->data, (size_t)len);
            *records = slice_from(*records, (size_t)len);
            return true;
        }
    }
    return false;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/*
 *     0 magic number   4 CRC of what follows, records included   8 length of the records
 *     12 how many batches up to this one were not synced before it was written   16 batch
 */
void wal_frame_put(uint8_t *at, uint64_t batch, uint64_t synced, size_t len)
{
    put_u32(at + 8, (uint32_t)len);
    put_u32(at + 12, (uint32_t)(batch - synced));
    put_u64(at + 16, batch);
}

/* No byte of it is zero, so that it isn't found all over in zeros. */
static uint32_t magic_of(const struct wal_segment_header *header)
{
    return (uint32_t)header->salt | 0x01010101u;
}

static uint32_t crc_of(const uint8_t *frame, size_t len, const struct wal_segment_header *header)
{
    uint8_t life[16];
    put_u64(life, header->salt);
    put_u64(life + 8, header->number);
    return crc32c(crc32c(0, life, sizeof(life)), frame + 8, WAL_FRAME_HEADER_BYTES - 8 + len);
}

void wal_frames_stamp(uint8_t *bytes, size_t len, const struct wal_segment_header *header)
{
    for (size_t at = 0; at < len;) {
        uint8_t *frame = bytes + at;
        size_t records_len = get_u32(frame + 8);
        put_u32(frame, magic_of(header));
        put_u32(frame + 4, crc_of(frame, records_len, header));
        at += WAL_FRAME_HEADER_BYTES + records_len;
    }
}

bool wal_frame_read(struct slice segment, uint32_t offset, const struct wal_segment_header *header,
                    struct wal_frame *frame)
{
    if (segment.len < offset || segment.len - offset < WAL_FRAME_HEADER_BYTES) {
        return false;
    }
    const uint8_t *at = segment.data + offset;
    uint32_t len = get_u32(at + 8);
    if (get_u32(at) != magic_of(header) || segment.len - offset - WAL_FRAME_HEADER_BYTES < len ||
        get_u32(at + 4) != crc_of(at, len, header)) {
        return false;
    }
    uint64_t batch = get_u64(at + 16);
    uint32_t unsynced = get_u32(at + 12);
    if (unsynced > batch) {
        return false;
    }
    *frame = (struct wal_frame){.batch = batch,
                                .synced = batch - unsynced,
                                .records = slice_of(at + WAL_FRAME_HEADER_BYTES, len),
                                .end = offset + WAL_FRAME_HEADER_BYTES + len};
    return true;
}

uint32_t wal_frame_search(struct slice segment, uint32_t offset,
                          const struct wal_segment_header *header)
{
    if (offset >= segment.len) {
        return (uint32_t)segment.len;
    }
    uint8_t magic[4];
    put_u32(magic, magic_of(header));
    const uint8_t *found =
        memmem(segment.data + offset, segment.len - offset, magic, sizeof(magic));
    return found != NULL ? (uint32_t)(found - segment.data) : (uint32_t)segment.len;
}

uint32_t wal_frame_claimed_end(struct slice segment, uint32_t offset, uint64_t at_least)
{
    size_t rest = segment.len - offset;
    if (rest < WAL_FRAME_HEADER_BYTES) {
        return (uint32_t)segment.len;
    }
    uint64_t batch = get_u64(segment.data + offset + 16);
    if (batch < at_least || batch - at_least > UINT32_MAX) {
        return offset;
    }
    size_t len = get_u32(segment.data + offset + 8);
    bool fits = len <= rest - WAL_FRAME_HEADER_BYTES;
    return fits ? offset + WAL_FRAME_HEADER_BYTES + (uint32_t)len : (uint32_t)segment.len;
}

/* ---- files ----------------------------------------------------------------------------------- */

enum err wal_error_of(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? ERR_FULL : ERR_IO;
}

int wal_write(const struct files *files, int fd, struct slice bytes, off_t at)
{
    while (bytes.len > 0) {
        ssize_t written = files->pwrite(files->context, fd, bytes.data, bytes.len, at);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            errno = written < 0 ? errno : EIO;
            return -1;
        }
        bytes = slice_from(bytes, (size_t)written);
        at += written;
    }
    return 0;
}

/* -1: an error, or the file is shorter. */
static int read_exactly(const struct files *files, int fd, uint8_t *data, size_t len, size_t at)
{
    while (len > 0) {
        ssize_t got = files->pread(files->context, fd, data, len, (off_t)at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return -1;
        }
        data += got;
        len -= (size_t)got;
        at += (size_t)got;
    }
    return 0;
}

/* A bad spot of a disk takes little with it, and what fails once may work again. */
static size_t read_patiently(const struct files *files, int fd, uint8_t *data, size_t len,
                             size_t at)
{
    size_t unreadable = 0;
    for (size_t done = 0; done < len; done += READ_BYTES_SMALL) {
        size_t piece = len - done < READ_BYTES_SMALL ? len - done : READ_BYTES_SMALL;
        if (read_exactly(files, fd, data + done, piece, at + done) != 0 &&
            read_exactly(files, fd, data + done, piece, at + done) != 0) {
            memset(data + done, 0, piece);
            unreadable += piece;
        }
    }
    return unreadable;
}

enum err wal_read_file(const struct files *files, int fd, size_t limit, uint8_t **data, size_t *len,
                       size_t *unreadable)
{
    off_t size = files->size(files->context, fd);
    if (size < 0) {
        return ERR_IO;
    }
    if ((uint64_t)size > WAL_SEGMENT_BYTES_MAX && limit == SIZE_MAX) {
        return ERR_RANGE;
    }
    size_t whole = (uint64_t)size < limit ? (size_t)size : limit;
    uint8_t *bytes = mem_try_alloc(whole > 0 ? whole : 1);
    if (bytes == NULL) {
        return ERR_MEMORY;
    }
    *unreadable = 0;
    for (size_t at = 0; at < whole; at += READ_BYTES) {
        size_t piece = whole - at < READ_BYTES ? whole - at : READ_BYTES;
        if (read_exactly(files, fd, bytes + at, piece, at) != 0) {
            *unreadable += read_patiently(files, fd, bytes + at, piece, at);
        }
    }
    *data = bytes;
    *len = whole;
    return ERR_OK;
}
