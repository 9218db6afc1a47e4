/*
 * wal_scan: reading the segments that count: which batches they hold, what is damaged, where the
 * log ends.
 *
 * Batches are numbered without gaps, so what is missing shows. A bad spot is damage when what is
 * missing there had been synced: in all segments but the last, and where a later frame says so.
 * Otherwise it is the end that a crash left behind: a power loss keeps unsynced pages in any order,
 * so sound frames may stand behind it. All of it is cut, for what came later must not survive
 * without what came before.
 *
 * What is cut never comes back. Sound frames behind the cut: the segment is ended there, and the
 * next one says in its header that it begins with the first batch that was cut, which makes those
 * void for every later reading. None: the segment is continued over the rest; an unsound frame
 * there stays unsound, for bytes that are not overwritten don't change, and once a byte of it is
 * overwritten it is looked at only from where the new frames end.
 *
 * Owns      nothing but struct wal_end's `tail`.
 * Thread    the caller's.
 */
#ifndef PULSE_STORAGE_WAL_SCAN_PRIV_H
#define PULSE_STORAGE_WAL_SCAN_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/config.h"
#include "storage/stats.h"
#include "storage/wal_log.h"
#include "storage/wal_survey_priv.h"

struct wal_walk {
    const struct wal_log_reader *reader;
    uint64_t first; /* segments from here */
    uint64_t last;  /* to here, inclusive */
    bool look_only; /* damage is reported and passed over; otherwise as `damage` says */
    enum storage_damage damage;
    struct storage_stats *stats; /* NULL: none are kept */
};

/* How a log ends. */
struct wal_end {
    uint64_t next_batch;
    uint64_t synced_batch; /* up to this one the log itself says that they were synced */
    bool has_last;
    struct wal_segment_header last; /* the segment that was written last */
    uint32_t offset;                /* where its next frame goes, */
    bool ended;                     /* unless it must not be continued */
    uint8_t *tail;                  /* its frames behind `synced_batch`; NULL: none */
    size_t tail_len;
};

/* Reads the chain of `survey`. `end`, of a walk to the end of the log, may be NULL; its tail is
 * given: mem_free. */
must_check enum err wal_walk_chain(struct wal_survey *survey, const struct wal_walk *walk,
                                   struct wal_end *end);

/* Reads each segment of `survey` by itself. */
must_check enum err wal_walk_each(struct wal_survey *survey, const struct wal_walk *walk);

#endif
