/*
 * wal_manifest: the one file that says which files of the folder count.
 *
 *     pulse-wal 1
 *     snapshot 7                  or 0: there is none yet
 *     first 18                    the first segment that is replayed on top of it
 *     keep 3                      a segment before that holds bodies of messages; sorted, any
 * number crc 1a2b3c4d                CRC32C of the lines before
 *
 * Replaced as a whole: manifest.tmp, sync, rename, sync of the folder. So a crash leaves the old
 * state or the new one.
 *
 * Owns      struct wal_manifest: its list.
 * Thread    the caller's.
 * Errors    ERR_IO, ERR_FULL, ERR_MEMORY; reading: ERR_VERSION, ERR_DAMAGED.
 */
#ifndef PULSE_STORAGE_WAL_MANIFEST_H
#define PULSE_STORAGE_WAL_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "storage/files.h"

#define WAL_MANIFEST_NAME "manifest"
#define WAL_MANIFEST_TMP "manifest.tmp"
#define WAL_MANIFEST_VERSION 1u
#define WAL_MANIFEST_BYTES_MAX (64u << 20) /* over two million kept segments */

struct wal_manifest {
    uint64_t snapshot; /* its number; 0: none */
    uint64_t first;    /* at least 1 */
    uint64_t *keep;    /* sorted, all less than `first` */
    size_t keep_count;
    size_t keep_cap;
};

/* That of a new store. End with wal_manifest_fini. */
void wal_manifest_init(struct wal_manifest *manifest);
void wal_manifest_fini(struct wal_manifest *manifest);

/* Adds a kept segment, which is greater than the last one. */
must_check enum err wal_manifest_keep(struct wal_manifest *manifest, uint64_t segment);

bool wal_manifest_keeps(const struct wal_manifest *manifest, uint64_t segment);

/* The text of `manifest`, and back. Parsing fills an initialised one; it is unchanged but on
 * ERR_OK. */
void wal_manifest_print(const struct wal_manifest *manifest, struct text *text);
must_check enum err wal_manifest_parse(struct slice text, struct wal_manifest *manifest);

/* Reads the manifest of `dir` into an initialised one. `*found` false: there is no such file. */
must_check enum err wal_manifest_read(const struct files *files, const char *dir,
                                      struct wal_manifest *manifest, bool *found);

/* Puts `manifest` in place of the old one. After an error it may be either. */
must_check enum err wal_manifest_write(const struct files *files, const char *dir,
                                       const struct wal_manifest *manifest);

#endif
