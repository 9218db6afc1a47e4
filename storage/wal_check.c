#include "storage/wal_check.h"

#include "base/mem.h"
#include "storage/wal_recover.h"
#include "storage/wal_snapshot.h"

struct checking {
    struct wal_check *check;
    const struct wal_check_sink *sink;
};

void wal_check_fini(struct wal_check *check)
{
    wal_manifest_fini(&check->manifest);
    mem_free(check->files);
    *check = (struct wal_check){0};
}

bool wal_check_fine(const struct wal_check *check)
{
    return check->err == ERR_OK && check->damage_count == 0 && check->missing == 0 &&
           (check->empty || (check->manifest_found && check->manifest_sound));
}

static void note_damage(void *context, const struct wal_damage *damage)
{
    struct wal_check *check = ((struct checking *)context)->check;
    if (check->damage_count < WAL_CHECK_DAMAGES) {
        check->damages[check->damage_count] = *damage;
    }
    check->damage_count++;
}

/* All parts of a large snapshot are one file. */
static uint64_t file_of(struct wal_place place)
{
    return wal_place_in_snapshot(place.segment)
               ? wal_snapshot_segment(wal_place_snapshot(place.segment))
               : place.segment;
}

static void note_record(void *context, struct wal_place place, struct slice record)
{
    struct checking *checking = context;
    struct wal_check *check = checking->check;
    uint64_t segment = file_of(place);
    if (check->file_count == 0 || check->files[check->file_count - 1].segment != segment) {
        check->files = mem_grow(check->files, check->file_count, &check->file_cap,
                                sizeof(struct wal_check_file));
        check->files[check->file_count++] = (struct wal_check_file){.segment = segment};
    }
    check->files[check->file_count - 1].records++;
    check->files[check->file_count - 1].bytes += record.len;
    if (checking->sink != NULL) {
        checking->sink->seen(checking->sink->context, place, record);
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum err read_manifest(struct wal_check *check, const struct files *files, const char *dir)
{
    struct wal_listing listing;
    enum err err = wal_listing_init(&listing, files, dir);
    if (err == ERR_OK) {
        err = wal_manifest_read(files, dir, &check->manifest, &check->manifest_found);
        check->manifest_sound = err == ERR_OK && check->manifest_found;
        check->empty = err == ERR_OK && !check->manifest_found && wal_listing_empty(&listing);
    }
    if (err == ERR_DAMAGED || (err == ERR_OK && !check->manifest_found && !check->empty)) {
        err = wal_recover_manifest(files, dir, &listing, &check->manifest);
    }
    wal_listing_fini(&listing);
    return err;
}

static enum err pass_body(void *context, enum wal_want want, struct wal_place place,
                          struct slice record, const struct operation *operation)
{
    (void)context;
    (void)want;
    (void)place;
    (void)record;
    (void)operation;
    return ERR_OK;
}

static enum err read_bodies(struct wal_replay *replay)
{
    const struct wal_body_sink sink = {.take = pass_body};
    struct wal_file_use *uses = NULL;
    size_t count = 0;
    enum err err = wal_state_files(replay->state, &uses, &count);
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        uint64_t found = 0;
        err = wal_replay_bodies(replay, uses[i].segment, &sink, &found);
    }
    mem_free(uses);
    return err;
}

static enum err read_all(struct wal_check *check, struct wal_replay *replay)
{
    enum err err = wal_replay_snapshot(replay);
    if (err == ERR_OK) {
        err = wal_replay_segments(replay, UINT64_MAX);
    }
    if (err == ERR_OK) {
        err = read_bodies(replay);
    }
    check->counts = wal_state_counts(replay->state);
    check->clock = wal_state_clock(replay->state);
    check->missing = err == ERR_OK ? wal_state_missing(replay->state) : 0;
    return err;
}

void wal_check_init(struct wal_check *check, const struct files *files, const char *dir,
                    const struct wal_check_sink *sink)
{
    *check = (struct wal_check){0};
    wal_manifest_init(&check->manifest);
    check->err = read_manifest(check, files, dir);
    if (check->err != ERR_OK || check->empty) {
        return;
    }
    struct checking checking = {.check = check, .sink = sink};
    struct wal_replay replay = {.files = files,
                                .dir = dir,
                                .manifest = &check->manifest,
                                .state = wal_state_create(),
                                .pass_over = true,
                                .context = &checking,
                                .damage = note_damage,
                                .seen = note_record};
    check->err = replay.state != NULL ? read_all(check, &replay) : ERR_MEMORY;
    wal_state_destroy(replay.state);
}
