#include "storage/wal_engine_priv.h"

#include <fcntl.h>

#include "base/clock.h"
#include "base/mem.h"
#include "storage/wal_dir.h"
#include "storage/wal_recover.h"
#include "storage/wal_replay.h"
#include "storage/wal_snapshot.h"

#define PROGRESS_MS 2000u /* between two lines in the log */

struct loading {
    struct wal_engine *wal;
    struct wal_replay replay;
    const struct operation_sink *sink;
    uint64_t told_ms;
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

static void tell_damage(void *context, const struct wal_damage *damage)
{
    const struct loading *loading = context;
    struct wal_engine *wal = loading->wal;
    bool in_snapshot = wal_place_in_snapshot(damage->segment);
    log_error(
        LOG_STORAGE, "damage in the wal: what stood there is lost", wal_engine__dir(wal),
        log_text("file", in_snapshot ? "snapshot" : "log"),
        log_uint("number", in_snapshot ? wal_place_snapshot(damage->segment) : damage->segment),
        log_uint("offset", damage->offset), log_uint("bytes", damage->len),
        log_text("set_aside", damage->set_aside != NULL ? damage->set_aside : "the file itself"));
    if (in_snapshot) {
        stat_add(wal->stats, STAT_QUARANTINED_BYTES, (int64_t)damage->len);
    }
    wal->salvage = true;
}

static enum err read_state(struct loading *loading)
{
    struct wal_engine *wal = loading->wal;
    enum err err = wal_replay_snapshot(&loading->replay);
    if (err == ERR_OK) {
        const struct wal_log_reader reader = wal_replay_log_reader(&loading->replay);
        err = wal_log_read(wal->log, &reader);
    }
    return err;
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

/* Gives the bodies of all that is live, file by file. */
static enum err give_bodies(struct loading *loading)
{
    const struct wal_body_sink sink = {.context = loading, .take = give_body};
    struct wal_file_use *uses = NULL;
    size_t count = 0;
    enum err err = wal_state_files(loading->replay.state, &uses, &count);
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        uint64_t found = 0;
        err = wal_replay_bodies(&loading->replay, uses[i].segment, &sink, &found);
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
    enum err err = read_state(&loading);
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
    } else if (err != ERR_STOPPED) {
        log_error(LOG_STORAGE, "can't read the wal", wal_engine__dir(wal),
                  log_text("error", err_text(err)));
    }
    return err;
}
