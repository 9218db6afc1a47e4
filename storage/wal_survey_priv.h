/*
 * wal_survey: which segments stand in a folder, and which of them count.
 *
 * Each segment says in its header which one came before it, so those that count are a chain that is
 * followed from the highest one back. A file without a valid header has not begun its life; a
 * segment that isn't in the chain was given up while it was begun.
 *
 * Owns      its list.
 * Thread    the caller's.
 * Errors    ERR_IO; ERR_VERSION: a newer Pulse wrote a segment.
 */
#ifndef PULSE_STORAGE_WAL_SURVEY_PRIV_H
#define PULSE_STORAGE_WAL_SURVEY_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/files.h"
#include "storage/wal_segment_priv.h"

struct wal_file {
    uint64_t number;
    uint64_t file_bytes;
    uint64_t frame_bytes; /* up to the end of the last frame that counts; set by reading it */
    bool alive;           /* has a header */
    bool chained;         /* counts */
    struct wal_segment_header header;
    uint64_t next_batch; /* behind the last one that it holds; 0: it wasn't read yet */
};

struct wal_survey {
    const struct files *files;
    const char *dir;
    struct wal_file *list; /* by number */
    uint32_t count;
    uint32_t cap;
};

/* Lists `dir` (both are borrowed by `survey`) and reads the headers; marks the chain of segments
 * from `first` on. End with wal_survey_fini, also after an error. */
must_check enum err wal_survey_init(struct wal_survey *survey, const struct files *files,
                                    const char *dir, uint64_t first);
void wal_survey_fini(struct wal_survey *survey);

/* Adds a file. */
void wal_survey_add(struct wal_survey *survey, const struct wal_file *file);

/* The file called `number`, or NULL. */
struct wal_file *wal_survey_find(const struct wal_survey *survey, uint64_t number);

#endif
