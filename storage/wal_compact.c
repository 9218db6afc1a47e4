#include "storage/wal_compact.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"
#include "storage/wal_aside.h"
#include "storage/wal_dir.h"
#include "storage/wal_recover.h"
#include "storage/wal_replay.h"
#include "storage/wal_segment_priv.h"
#include "storage/wal_snapshot.h"

#define NICE 5 /* the workers and the writer come first, but a third of their share is sure */

struct wal_compact {
    struct wal_compact_config config;
    struct wal_manifest manifest; /* the old one */
    _Atomic bool cancel;
    _Atomic bool done;
    pthread_t thread;
    enum err err;
    struct wal_compact_result result;
};

/* One compaction at work. */
struct work {
    const struct wal_compact_config *config;
    struct wal_replay replay;
    struct wal_state *state;
    struct wal_file_use *uses; /* sorted by segment */
    size_t use_count;
    struct wal_snapshot_writer *writer;
    struct wal_compact_result *result;
};

/* ---- which segments stay --------------------------------------------------------------------- */

/* The bytes that a segment takes on disk; 0: it can't be told. */
static uint64_t segment_bytes(const struct wal_compact_config *config, uint64_t segment)
{
    const struct files *files = config->files;
    char path[WAL_PATH_BYTES];
    wal_segment_path(path, config->dir, segment);
    int fd = files->open(files->context, path, O_RDONLY | O_CLOEXEC, 0);
    off_t size = fd >= 0 ? files->size(files->context, fd) : 0;
    if (fd >= 0) {
        (void)files->close(files->context, fd); /* nothing was done with it */
    }
    return size > 0 ? (uint64_t)size : 0;
}

static bool worth_keeping(const struct work *work, const struct wal_file_use *use)
{
    if (wal_place_in_snapshot(use->segment) || work->config->salvage) {
        return false;
    }
    uint64_t bytes = segment_bytes(work->config, use->segment);
    return bytes > 0 && use->messages >= bytes / 2;
}

static enum err choose_kept(struct work *work)
{
    enum err err = wal_state_files(work->state, &work->uses, &work->use_count);
    if (err != ERR_OK) {
        return err;
    }
    for (size_t i = 0; i < work->use_count && err == ERR_OK; i++) {
        if (worth_keeping(work, &work->uses[i])) {
            err = wal_manifest_keep(&work->result->manifest, work->uses[i].segment);
        }
    }
    return err;
}

static bool stays(void *context, uint64_t segment)
{
    const struct work *work = context;
    return wal_manifest_keeps(&work->result->manifest, segment);
}

/* ---- the snapshot ---------------------------------------------------------------------------- */

static enum err add_record(void *context, struct slice record)
{
    struct work *work = context;
    if (work->replay.cancel != NULL &&
        atomic_load_explicit(work->replay.cancel, memory_order_relaxed)) {
        return ERR_STOPPED;
    }
    return wal_snapshot_add(work->writer, record);
}

static enum err copy_body(void *context, enum wal_want want, struct wal_place place,
                          struct slice record, const struct operation *operation)
{
    (void)operation;
    if (want == WAL_WANT_MESSAGE && stays(context, place.segment)) {
        return ERR_OK;
    }
    return add_record(context, record);
}

/* Copies what has to be copied out of one file. */
static enum err copy_file(struct work *work, const struct wal_file_use *use)
{
    const struct wal_body_sink sink = {.context = work, .take = copy_body};
    uint64_t found = 0;
    if (use->retained == 0 && stays(work, use->segment)) {
        return ERR_OK;
    }
    enum err err = wal_replay_bodies(&work->replay, use->segment, &sink, &found);
    uint64_t wanted = use->messages + use->retained;
    if (err == ERR_OK && found < wanted) {
        work->result->lost += wanted - found;
        err = work->config->salvage ? ERR_OK : ERR_DAMAGED;
    }
    return err;
}

static enum err fill_snapshot(struct work *work)
{
    const struct wal_record_sink sink = {.context = work, .take = add_record};
    enum err err = wal_state_save(work->state, &sink, stays);
    for (size_t i = 0; i < work->use_count && err == ERR_OK; i++) {
        err = copy_file(work, &work->uses[i]);
    }
    return err;
}

static enum err write_snapshot(struct work *work)
{
    const struct wal_compact_config *config = work->config;
    struct wal_manifest *manifest = &work->result->manifest;
    const struct wal_snapshot_head head = {.number = manifest->snapshot,
                                           .first = manifest->first,
                                           .clock = wal_state_clock(work->state),
                                           .keep = manifest->keep,
                                           .keep_count = manifest->keep_count};
    enum err err = wal_snapshot_create(config->files, config->dir, &head, &work->writer);
    if (err != ERR_OK) {
        return err;
    }
    err = fill_snapshot(work);
    work->result->bytes_written = wal_snapshot_bytes(work->writer);
    if (err != ERR_OK) {
        wal_snapshot_abandon(work->writer);
        return err;
    }
    return wal_snapshot_finish(work->writer, &work->result->snapshot_bytes);
}

/* Keeps a snapshot that is damaged for people to look at. */
static void set_aside(const struct work *work)
{
    const struct files *files = work->config->files;
    const char *dir = work->config->dir;
    char name[WAL_SNAPSHOT_NAME_SIZE];
    char aside[sizeof("quarantine.") + WAL_SNAPSHOT_NAME_SIZE];
    wal_snapshot_name(work->config->manifest->snapshot, name);
    (void)snprintf(aside, sizeof(aside), "quarantine.%s", name);
    char *from = wal_dir_path(dir, name);
    char *to = wal_dir_path(dir, aside);
    (void)files->rename(files->context, from, to); /* it may be missing altogether */
    mem_free(from);
    mem_free(to);
}

/* Deletes all snapshots but the new one. What fails is done by the next start. */
static void remove_old(const struct work *work)
{
    struct wal_listing listing;
    if (work->replay.snapshot_damaged) {
        set_aside(work);
    }
    if (work->config->keep_old) {
        work->result->old_left =
            wal_aside_do(work->config->files, work->config->dir, &work->result->manifest) != ERR_OK;
    }
    if (work->result->old_left) {
        return;
    }
    if (wal_listing_init(&listing, work->config->files, work->config->dir) == ERR_OK) {
        wal_recover_tidy(work->config->files, work->config->dir, &listing, &work->result->manifest);
    }
    wal_listing_fini(&listing);
}

/* The manifest could not be written: deletes the new snapshot, unless the manifest on disk may be
 * the one that names it. */
static void remove_new(const struct work *work)
{
    struct wal_manifest there;
    bool found = false;
    wal_manifest_init(&there);
    enum err err = wal_manifest_read(work->config->files, work->config->dir, &there, &found);
    if (err == ERR_OK && found && there.snapshot != work->config->number) {
        char name[WAL_SNAPSHOT_NAME_SIZE];
        wal_snapshot_name(work->config->number, name);
        (void)wal_dir_remove(work->config->files, work->config->dir, name);
    }
    wal_manifest_fini(&there);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static enum err replay_all(struct work *work)
{
    enum err err = wal_replay_snapshot(&work->replay);
    if (err == ERR_OK) {
        err = wal_replay_segments(&work->replay, work->config->next - 1);
    }
    work->result->counts = wal_state_counts(work->state);
    return err;
}

static enum err run(struct work *work)
{
    struct wal_compact_result *result = work->result;
    result->manifest.snapshot = work->config->number;
    result->manifest.first = work->config->next;
    enum err err = replay_all(work);
    if (err == ERR_OK) {
        err = choose_kept(work);
    }
    if (err == ERR_OK) {
        err = write_snapshot(work);
    }
    if (err != ERR_OK) {
        return err;
    }
    err = wal_manifest_write(work->config->files, work->config->dir, &result->manifest);
    if (err == ERR_OK) {
        remove_old(work);
    } else {
        remove_new(work);
    }
    return err;
}

enum err wal_compact_run(const struct wal_compact_config *config, const _Atomic bool *cancel,
                         struct wal_compact_result *result)
{
    *result = (struct wal_compact_result){0};
    wal_manifest_init(&result->manifest);
    struct work work = {.config = config, .state = wal_state_create(), .result = result};
    if (work.state == NULL) {
        return ERR_MEMORY;
    }
    work.replay = (struct wal_replay){.files = config->files,
                                      .dir = config->dir,
                                      .manifest = config->manifest,
                                      .state = work.state,
                                      .pass_over = config->salvage,
                                      .cancel = cancel};
    enum err err = run(&work);
    mem_free(work.uses);
    wal_state_destroy(work.state);
    return err;
}

/* ---- in the background ----------------------------------------------------------------------- */

static void *thread_main(void *context)
{
    struct wal_compact *compact = context;
    if (!compact->config.hurry) {
        /* of this thread only, as Linux has it; without it the work is done all the same */
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    }
    compact->err = wal_compact_run(&compact->config, &compact->cancel, &compact->result);
    atomic_store_explicit(&compact->done, true, memory_order_release);
    return NULL;
}

static enum err copy_manifest(const struct wal_manifest *from, struct wal_manifest *to)
{
    wal_manifest_init(to);
    to->snapshot = from->snapshot;
    to->first = from->first;
    enum err err = ERR_OK;
    for (size_t i = 0; i < from->keep_count && err == ERR_OK; i++) {
        err = wal_manifest_keep(to, from->keep[i]);
    }
    return err;
}

static void free_compact(struct wal_compact *compact)
{
    wal_manifest_fini(&compact->manifest);
    mem_free(compact);
}

enum err wal_compact_start(const struct wal_compact_config *config, struct wal_compact **out)
{
    struct wal_compact *compact = mem_alloc(sizeof(*compact));
    compact->config = *config;
    compact->config.manifest = &compact->manifest;
    enum err err = copy_manifest(config->manifest, &compact->manifest);
    if (err == ERR_OK && pthread_create(&compact->thread, NULL, thread_main, compact) != 0) {
        err = ERR_MEMORY;
    }
    if (err != ERR_OK) {
        free_compact(compact);
        return err;
    }
    *out = compact;
    return ERR_OK;
}

bool wal_compact_done(const struct wal_compact *compact)
{
    return atomic_load_explicit(&compact->done, memory_order_acquire);
}

void wal_compact_cancel(struct wal_compact *compact)
{
    atomic_store_explicit(&compact->cancel, true, memory_order_relaxed);
}

enum err wal_compact_end(struct wal_compact *compact, struct wal_compact_result *result)
{
    (void)pthread_join(compact->thread, NULL); /* it was started, and is joined once */
    enum err err = compact->err;
    *result = compact->result;
    free_compact(compact);
    return err;
}
