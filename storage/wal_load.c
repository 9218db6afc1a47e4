#include "storage/wal_engine_priv.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "storage/wal_aside.h"
#include "storage/wal_dir.h"
#include "storage/wal_held.h"
#include "storage/wal_quarantine_priv.h"
#include "storage/wal_recover.h"
#include "storage/wal_replay.h"
#include "storage/wal_segment_priv.h"
#include "storage/wal_snapshot.h"

#define PROGRESS_MS 2000u /* between two lines in the log */

struct loading {
    struct wal_engine *wal;
    struct wal_replay replay;
    const struct operation_sink *sink;
    uint64_t told_ms;
    enum err err; /* of setting aside */
    struct wal_quarantine quarantine;
};

static void tell_progress(void *context)
{
    struct loading *loading = context;
    uint64_t now = clock_mono_ms();
    if (now - loading->told_ms < PROGRESS_MS) {
        return;
    }
    loading->told_ms = now;
    struct wal_counts counts = wal_state_counts(loading->replay.state);
    log_notice(LOG_STORAGE, "reading the wal", log_uint("records", loading->replay.records),
               log_uint("sessions", counts.sessions), log_uint("queued", counts.queued),
               log_uint("retained", counts.retained));
}

static uint64_t number_of(const struct wal_damage *damage)
{
    return wal_place_in_snapshot(damage->segment) ? wal_place_snapshot(damage->segment)
                                                  : damage->segment;
}

/* There are no bytes: a file is missing, or a snapshot has no end. */
static void log_missing(struct wal_engine *wal, const struct wal_damage *damage)
{
    if (wal_place_in_snapshot(damage->segment)) {
        log_error(LOG_STORAGE, "a snapshot of the wal is missing, or a part of it",
                  wal_engine__dir(wal), log_uint("number", number_of(damage)));
    } else if (damage->batches > 0) {
        log_error(LOG_STORAGE, "a segment of the wal is missing", wal_engine__dir(wal),
                  log_uint("number", damage->segment),
                  log_uint("batches_missing", damage->batches));
    } else {
        log_error(LOG_STORAGE, "a segment of the wal is missing", wal_engine__dir(wal),
                  log_uint("number", damage->segment));
    }
}

static void log_bytes(struct wal_engine *wal, const struct wal_damage *damage)
{
    struct wal_held held = {0};
    struct text counts = {0}, clients = {0};
    if (damage->record.len == 0 && damage->segment >= wal->manifest.first) { /* not a whole file */
        wal_held_read(&held, wal->files, wal->dir, damage->segment, damage->offset, damage->len);
    }
    wal_held_add_counts(&counts, held.by_type);
    wal_held_add_clients(&clients, &held);
    bool refused = wal->damage == DAMAGE_REFUSE;
    log_error(LOG_STORAGE,
              refused ? "damage in the wal: nothing is changed"
                      : "damage in the wal: what stood there is lost",
              wal_engine__dir(wal),
              log_text("file", wal_place_in_snapshot(damage->segment) ? "snapshot" : "log"),
              log_uint("number", number_of(damage)), log_uint("offset", damage->offset),
              log_uint("bytes", damage->len),
              log_text("held", counts.len > 0 ? counts.data : "can't be told"),
              log_slice("client_ids", slice_of(clients.data, clients.len)),
              log_text("set_aside", damage->set_aside != NULL ? damage->set_aside : "no"));
    text_fini(&counts);
    text_fini(&clients);
}

static void log_damage(struct wal_engine *wal, const struct wal_damage *damage)
{
    if (damage->len == 0) {
        log_missing(wal, damage);
    } else {
        log_bytes(wal, damage);
    }
    wal->salvage = true;
}

/* Copies bytes of a segment to a quarantine file; `quarantine` says to which. */
static enum err set_aside(struct wal_engine *wal, const struct wal_damage *damage,
                          struct slice bytes, struct wal_quarantine *quarantine)
{
    quarantine->files = wal->files;
    quarantine->dir = wal->dir;
    enum err err = wal_quarantine_copy(quarantine, damage->segment, damage->offset, bytes);
    if (err == ERR_OK && quarantine->copied) {
        stat_add(wal->stats, STAT_QUARANTINED_BYTES, (int64_t)bytes.len);
    }
    return err;
}

/* A damaged snapshot is set aside as a whole, by the compaction that makes a new one. */
static void tell_damage(void *context, const struct wal_damage *damage)
{
    struct loading *loading = context;
    struct wal_damage told = *damage;
    char later[WAL_SNAPSHOT_NAME_SIZE + sizeof("quarantine., after the next compaction")];
    if (loading->wal->damage == DAMAGE_REFUSE) {
        told.set_aside = NULL;
    } else if (wal_place_in_snapshot(damage->segment)) {
        stat_add(loading->wal->stats, STAT_QUARANTINED_BYTES, (int64_t)damage->len);
        char name[WAL_SNAPSHOT_NAME_SIZE];
        wal_snapshot_name(number_of(damage), name);
        (void)snprintf(later, sizeof(later), "quarantine.%s, after the next compaction", name);
        told.set_aside = later;
    } else if (damage->record.len > 0) {
        enum err err = set_aside(loading->wal, damage, damage->record, &loading->quarantine);
        if (err == ERR_OK) {
            told.set_aside = loading->quarantine.path;
        } else {
            loading->err = err;
        }
    }
    log_damage(loading->wal, &told);
}

static enum err read_state(struct loading *loading)
{
    struct wal_engine *wal = loading->wal;
    enum err err = wal_replay_snapshot(&loading->replay);
    if (err == ERR_OK) {
        const struct wal_log_reader reader = wal_replay_log_reader(&loading->replay);
        err = wal_log_read(wal->log, &reader);
    }
    return err == ERR_OK ? loading->err : err;
}

static enum err give_body(void *context, enum wal_want want, struct wal_place place,
                          struct slice record, const struct operation *operation)
{
    (void)want;
    (void)place;
    (void)record;
    struct loading *loading = context;
    return loading->sink->take(loading->sink->context, operation);
}

/* A segment that is kept for bodies lacks some of them: it is copied as a whole, for the next
 * compaction drops it. */
static enum err set_segment_aside(struct wal_engine *wal, uint64_t segment)
{
    struct wal_quarantine quarantine;
    struct wal_damage damage = {.segment = segment};
    uint8_t *data = NULL;
    size_t len = 0, unreadable = 0;
    char path[WAL_PATH_BYTES];
    wal_segment_path(path, wal->dir, segment);
    int fd = wal->files->open(wal->files->context, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) {
        log_damage(wal, &damage); /* it is missing altogether */
        return ERR_OK;
    }
    enum err err = wal_read_file(wal->files, fd, SIZE_MAX, &data, &len, &unreadable);
    (void)wal->files->close(wal->files->context, fd); /* it was only read */
    if (err == ERR_OK) {
        err = set_aside(wal, &damage, slice_of(data, len), &quarantine);
        damage.len = len;
        damage.set_aside = quarantine.path;
        mem_free(data);
    }
    if (err == ERR_OK) {
        log_damage(wal, &damage);
    }
    return err;
}

/* Gives the bodies in one file. */
static enum err give_file(struct loading *loading, const struct wal_file_use *use)
{
    const struct wal_body_sink sink = {.context = loading, .take = give_body};
    struct wal_engine *wal = loading->wal;
    uint64_t found = 0;
    enum err err = wal_replay_bodies(&loading->replay, use->segment, &sink, &found);
    bool incomplete = err == ERR_OK && found < use->messages + use->retained;
    bool told = wal_place_in_snapshot(use->segment) || use->segment >= wal->manifest.first;
    if (incomplete && !told && wal->damage == DAMAGE_QUARANTINE) {
        err = set_segment_aside(wal, use->segment);
    }
    return err;
}

/* Gives the bodies of all that is live, file by file. */
static enum err give_bodies(struct loading *loading)
{
    struct wal_file_use *uses = NULL;
    size_t count = 0;
    enum err err = wal_state_files(loading->replay.state, &uses, &count);
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        err = give_file(loading, &uses[i]);
    }
    mem_free(uses);
    return err;
}

/* Says how many messages had no body. They are left out, with the queue entries that refer to
 * them. */
static enum err check_missing(struct loading *loading)
{
    struct wal_engine *wal = loading->wal;
    uint64_t missing = wal_state_missing(loading->replay.state);
    if (missing == 0) {
        return ERR_OK;
    }
    log_error(LOG_STORAGE, "messages of the wal are lost", wal_engine__dir(wal),
              log_uint("messages", missing));
    wal->salvage = true;
    return wal->damage == DAMAGE_REFUSE ? ERR_DAMAGED : ERR_OK;
}

/* After damage: says what else can't be used because of it. The files that hold it are kept. */
static enum err tell_ignored(const struct loading *loading)
{
    struct wal_engine *wal = loading->wal;
    const struct wal_ignored ignored = wal_state_ignored(loading->replay.state);
    struct text operations = {0};
    wal_held_add_counts(&operations, ignored.by_type);
    bool any = operations.len > 0 || ignored.references > 0 || ignored.messages > 0;
    if (wal->salvage && any) {
        log_error(
            LOG_STORAGE, "parts of the wal are ignored: what they refer to is lost",
            wal_engine__dir(wal),
            log_text("of_unknown_sessions", operations.len > 0 ? operations.data : "nothing"),
            log_uint("references_to_lost_messages", ignored.references),
            log_uint("messages_without_reference", ignored.messages),
            log_text("set_aside", "all old files, as quarantine.*, after the next compaction"));
        wal->keep_old = true;
    }
    text_fini(&operations);
    return wal->keep_old ? wal_aside_plan(wal->files, wal->dir) : ERR_OK;
}

static enum err give_state(struct loading *loading)
{
    struct wal_state *state = loading->replay.state;
    enum err err = wal_state_give_sessions(state, loading->sink);
    if (err == ERR_OK) {
        err = give_bodies(loading);
    }
    if (err == ERR_OK) {
        err = check_missing(loading);
    }
    if (err == ERR_OK) {
        err = tell_ignored(loading);
    }
    return err == ERR_OK ? wal_state_give_queues(state, loading->sink) : err;
}

/* Deletes what an interrupted compaction left. Not before all was read: an old snapshot may be the
 * only whole one. */
static void tidy(struct wal_engine *wal)
{
    struct wal_listing listing;
    if (wal_listing_init(&listing, wal->files, wal->dir) == ERR_OK) {
        wal_recover_tidy(wal->files, wal->dir, &listing, &wal->manifest);
    }
    wal_listing_fini(&listing);
}

static uint64_t snapshot_size(const struct wal_engine *wal)
{
    char name[WAL_SNAPSHOT_NAME_SIZE];
    if (wal->manifest.snapshot == 0) {
        return 0;
    }
    wal_snapshot_name(wal->manifest.snapshot, name);
    char *path = wal_dir_path(wal->dir, name);
    int fd = wal->files->open(wal->files->context, path, O_RDONLY | O_CLOEXEC, 0);
    off_t size = fd >= 0 ? wal->files->size(wal->files->context, fd) : 0;
    if (fd >= 0) {
        (void)wal->files->close(wal->files->context, fd); /* nothing was done with it */
    }
    mem_free(path);
    return size > 0 ? (uint64_t)size : 0;
}

/* Keeps the old files that a start with damage wanted kept, should a crash have come before. */
static enum err finish_keeping(const struct wal_engine *wal)
{
    return wal_aside_planned(wal->files, wal->dir)
               ? wal_aside_do(wal->files, wal->dir, &wal->manifest)
               : ERR_OK;
}

enum err wal_engine__load(struct engine *engine, const struct operation_sink *sink,
                          struct engine_loaded *loaded)
{
    struct wal_engine *wal = wal_engine__of(engine);
    struct loading loading = {.wal = wal,
                              .sink = sink,
                              .told_ms = clock_mono_ms(),
                              .replay = {.files = wal->files,
                                         .dir = wal->dir,
                                         .manifest = &wal->manifest,
                                         .state = wal_state_create(),
                                         .pass_over = wal->damage == DAMAGE_QUARANTINE,
                                         .damage = tell_damage,
                                         .progress = tell_progress}};
    loading.replay.context = &loading;
    if (loading.replay.state == NULL) {
        return ERR_MEMORY;
    }
    enum err err = finish_keeping(wal);
    if (err == ERR_OK) {
        err = read_state(&loading);
    }
    if (err == ERR_OK) {
        struct wal_clock clock = wal_state_clock(loading.replay.state);
        *loaded = (struct engine_loaded){.last_seen_ms = clock.now_ms, .next_id = clock.next_id};
        err = give_state(&loading);
    }
    wal_state_destroy(loading.replay.state);
    if (err == ERR_OK) {
        wal_engine__snapshot_is(wal, snapshot_size(wal));
        if (!wal->salvage) {
            tidy(wal);
        }
    } else if (err != ERR_STOPPED && err != ERR_EXISTS) { /* the sink's own, which it tells */
        log_error(LOG_STORAGE, "can't read the wal", wal_engine__dir(wal),
                  log_text("error", err_text(err)));
    }
    return err;
}
