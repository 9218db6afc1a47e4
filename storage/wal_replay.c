#include "storage/wal_replay.h"

#include <errno.h>
#include <fcntl.h>

#include "storage/wal_segment_priv.h"
#include "storage/wal_snapshot.h"

#define PROGRESS_RECORDS 16384u /* between two looks at the clock */

/* ---- records --------------------------------------------------------------------------------- */

static bool cancelled(const struct wal_replay *replay)
{
    return replay->cancel != NULL && atomic_load_explicit(replay->cancel, memory_order_relaxed);
}

static void tell(struct wal_replay *replay, const struct wal_damage *damage)
{
    if (replay->damage != NULL) {
        replay->damage(replay->context, damage);
    }
}

static enum err step(struct wal_replay *replay)
{
    if (replay->records++ % PROGRESS_RECORDS != 0) {
        return ERR_OK;
    }
    if (replay->progress != NULL) {
        replay->progress(replay->context);
    }
    return cancelled(replay) ? ERR_STOPPED : ERR_OK;
}

/* A record that is sound, but none that we know. */
static enum err refuse_record(struct wal_replay *replay, struct wal_place place,
                              struct slice record)
{
    struct wal_damage damage = {
        .segment = place.segment, .offset = place.offset, .len = place.len, .record = record};
    if (wal_place_in_snapshot(place.segment)) {
        replay->snapshot_damaged = true;
        damage.record = slice_of(NULL, 0);
    } else {
        replay->log_damaged = true;
    }
    tell(replay, &damage);
    return replay->pass_over ? ERR_OK : ERR_DAMAGED;
}

static enum err apply_record(void *context, struct wal_place place, struct slice record)
{
    struct wal_replay *replay = context;
    enum err err = step(replay);
    if (err != ERR_OK) {
        return err;
    }
    if (replay->seen != NULL) {
        replay->seen(replay->context, place, record);
    }
    err = wal_state_apply(replay->state, place, record);
    return err == ERR_DAMAGED ? refuse_record(replay, place, record) : err;
}

/* ---- the snapshot ---------------------------------------------------------------------------- */

static void snapshot_damage(void *context, uint64_t offset, uint64_t len)
{
    struct wal_replay *replay = context;
    replay->snapshot_damaged = true;
    tell(replay, &(struct wal_damage){.segment = wal_snapshot_segment(replay->manifest->snapshot),
                                      .offset = offset,
                                      .len = len});
}

static enum err apply_head(void *context, const struct wal_snapshot_head *head)
{
    struct wal_replay *replay = context;
    wal_state_set_clock(replay->state, head->clock);
    if (head->first != replay->manifest->first) {
        snapshot_damage(replay, 0, 0); /* not the snapshot that the manifest was written for */
    }
    return ERR_OK;
}

enum err wal_replay_snapshot(struct wal_replay *replay)
{
    uint64_t number = replay->manifest->snapshot;
    if (number == 0) {
        return ERR_OK;
    }
    const struct wal_snapshot_reader reader = {
        .context = replay, .head = apply_head, .record = apply_record, .damage = snapshot_damage};
    enum err err = wal_snapshot_read(replay->files, replay->dir, number, &reader);
    return err == ERR_OK && replay->snapshot_damaged && !replay->pass_over ? ERR_DAMAGED : err;
}

/* ---- segments -------------------------------------------------------------------------------- */

static void segment_damage(void *context, uint64_t segment, uint64_t offset, uint64_t len,
                           const char *quarantine_path)
{
    struct wal_replay *replay = context;
    if (quarantine_path != NULL && quarantine_path[0] == '\0') {
        return; /* an end that a crash left unfinished is none */
    }
    replay->log_damaged = true;
    tell(replay, &(struct wal_damage){.segment = segment,
                                      .offset = offset,
                                      .len = len,
                                      .set_aside = quarantine_path,
                                      .batches = len == 0 ? replay->batches_missing : 0});
}

static void segment_missing(void *context, uint64_t segment, uint64_t batches)
{
    struct wal_replay *replay = context;
    (void)segment; /* segment_damage follows, with the same */
    replay->batches_missing = batches;
}

struct wal_log_reader wal_replay_log_reader(struct wal_replay *replay)
{
    return (struct wal_log_reader){.context = replay,
                                   .record = apply_record,
                                   .damage = segment_damage,
                                   .missing = segment_missing};
}

enum err wal_replay_segments(struct wal_replay *replay, uint64_t last)
{
    const struct wal_log_reader reader = wal_replay_log_reader(replay);
    const struct wal_scan scan = {
        .dir = replay->dir, .files = replay->files, .first = replay->manifest->first, .last = last};
    if (last < scan.first) {
        return ERR_OK;
    }
    enum err err = wal_log_scan(&scan, &reader);
    return err == ERR_OK && replay->log_damaged && !replay->pass_over ? ERR_DAMAGED : err;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

struct body_reading {
    struct wal_replay *replay;
    const struct wal_body_sink *sink;
    uint64_t found;
};

static enum err take_body(void *context, struct wal_place place, struct slice record)
{
    struct body_reading *reading = context;
    struct operation operation;
    enum err err = step(reading->replay);
    if (err != ERR_OK) {
        return err;
    }
    enum wal_want want = wal_state_want(reading->replay->state, place, record, &operation);
    if (want == WAL_WANT_NOTHING) {
        return ERR_OK;
    }
    reading->found += place.len;
    return reading->sink->take(reading->sink->context, want, place, record, &operation);
}

static enum err pass_head(void *context, const struct wal_snapshot_head *head)
{
    (void)context;
    (void)head;
    return ERR_OK;
}

static void pass_snapshot_damage(void *context, uint64_t offset, uint64_t len)
{
    (void)context; /* what matters is which bodies were found */
    (void)offset;
    (void)len;
}

static void pass_segment_damage(void *context, uint64_t segment, uint64_t offset, uint64_t len,
                                const char *quarantine_path)
{
    (void)context;
    (void)segment;
    (void)offset;
    (void)len;
    (void)quarantine_path;
}

static bool segment_exists(const struct wal_replay *replay, uint64_t segment)
{
    char path[WAL_PATH_BYTES];
    wal_segment_path(path, replay->dir, segment);
    int fd = replay->files->open(replay->files->context, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        (void)replay->files->close(replay->files->context, fd); /* nothing was done with it */
    }
    return fd >= 0 || errno != ENOENT;
}

enum err wal_replay_bodies(struct wal_replay *replay, uint64_t segment,
                           const struct wal_body_sink *sink, uint64_t *found)
{
    struct body_reading reading = {.replay = replay, .sink = sink};
    enum err err = ERR_OK;
    if (wal_place_in_snapshot(segment)) {
        const struct wal_snapshot_reader reader = {.context = &reading,
                                                   .head = pass_head,
                                                   .record = take_body,
                                                   .damage = pass_snapshot_damage};
        err = wal_snapshot_read(replay->files, replay->dir, wal_place_snapshot(segment), &reader);
    } else if (segment_exists(replay, segment)) {
        const struct wal_log_reader reader = {
            .context = &reading, .record = take_body, .damage = pass_segment_damage};
        const struct wal_scan scan = {.dir = replay->dir,
                                      .files = replay->files,
                                      .first = segment,
                                      .last = segment,
                                      .every_frame = true};
        err = wal_log_scan(&scan, &reader);
    }
    *found = reading.found;
    return err;
}
