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
 * What is cut must never come back, not even when the batches that follow are written over a part
 * of it, and a sound frame behind them has just the number that comes next. So before anything is
 * appended the log writes zeros over all that is cut, and syncs them; a crash in between finds less
 * to cut, and cuts it again. Where that fails the segment is ended instead: the next one says in
 * its header that it begins with the first batch that was cut, which makes those void for every
 * later reading. So it is, too, when a part of the segment can't be read now, which may be sound
 * frames later, or is damaged: the frames that are cut may be the only ones that say so.
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
    uint32_t offset;                /* where its next frame goes */
    uint32_t cut_end;               /* what is from there to here must be written over with zeros */
    bool ended;                     /* it must not be continued */
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
