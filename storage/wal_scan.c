#include "storage/wal_scan_priv.h"

#include <errno.h>
#include <fcntl.h>

#include "base/mem.h"
#include "storage/wal_quarantine_priv.h"

/* Sound frames, one behind the other, of batches that follow one another. */
struct run {
    uint32_t start;
    uint32_t end;
    uint64_t first;
    uint64_t last;
    uint64_t synced; /* the latest that its frames say */
};

/* A segment in memory, and the runs in it that count. */
struct loaded {
    const struct wal_survey *survey;
    const struct wal_walk *walk;
    struct wal_file *file;
    uint64_t limit; /* batches from here on are void: a later segment has them */
    bool last;      /* of the log */
    struct slice bytes;
    size_t unreadable;
    bool damaged; /* something was passed over */
    struct run *runs;
    uint32_t run_count;
    uint32_t run_cap;
};

/* ---- a segment in memory --------------------------------------------------------------------- */

static enum err load_bytes(struct loaded *loaded)
{
    const struct files *files = loaded->survey->files;
    char path[WAL_PATH_BYTES];
    wal_segment_path(path, loaded->survey->dir, loaded->file->number);
    int fd = files->open(files->context, path, O_RDONLY, 0);
    if (fd < 0) {
        return ERR_IO;
    }
    uint8_t *data = NULL;
    size_t len = 0;
    enum err err = wal_read_file(files, fd, SIZE_MAX, &data, &len, &loaded->unreadable);
    (void)files->close(files->context, fd); /* it was only read */
    loaded->bytes = slice_of(data, len);
    return err;
}

static void unload(struct loaded *loaded)
{
    mem_free((void *)(uintptr_t)loaded->bytes.data);
    mem_free(loaded->runs);
}

static enum err add_run(struct loaded *loaded, const struct run *run)
{
    if (loaded->run_count == loaded->run_cap) {
        uint32_t cap = loaded->run_cap > 0 ? 2 * loaded->run_cap : 4;
        struct run *runs = mem_try_resize(loaded->runs, cap * sizeof(*runs));
        if (runs == NULL) {
            return ERR_MEMORY;
        }
        loaded->runs = runs;
        loaded->run_cap = cap;
    }
    loaded->runs[loaded->run_count++] = *run;
    return ERR_OK;
}

/* Extends `run`, which is empty (first 0) or ends at `offset`, by the frames that follow. False:
 * frames that are void were met: nothing that counts comes behind. */
static bool follow_run(const struct loaded *loaded, uint32_t offset, uint64_t at_least,
                       struct run *run)
{
    struct wal_frame frame;
    *run = (struct run){.start = offset, .end = offset};
    while (wal_frame_read(loaded->bytes, run->end, &loaded->file->header, &frame)) {
        if (frame.batch >= loaded->limit) {
            return false;
        }
        if (run->first == 0 ? frame.batch < at_least : frame.batch != run->last + 1) {
            break;
        }
        run->first = run->first == 0 ? frame.batch : run->first;
        run->last = frame.batch;
        run->synced = frame.synced > run->synced ? frame.synced : run->synced;
        run->end = frame.end;
    }
    return true;
}

static enum err find_runs(struct loaded *loaded)
{
    uint64_t at_least = loaded->file->header.first_batch;
    uint32_t at = WAL_FRAMES_AT;
    bool more = true;
    while (more && at < loaded->bytes.len) {
        struct run run;
        more = follow_run(loaded, at, at_least, &run);
        if (run.first == 0) {
            at = wal_frame_search(loaded->bytes, at + 1, &loaded->file->header);
            continue;
        }
        enum err err = add_run(loaded, &run);
        if (err != ERR_OK) {
            return err;
        }
        at = run.end;
        at_least = run.last + 1;
    }
    return ERR_OK;
}

static enum err load(struct loaded *loaded)
{
    enum err err = load_bytes(loaded);
    return err == ERR_OK && loaded->file->alive ? find_runs(loaded) : err;
}

/* Where the bytes end that are not zero, but not before `from`. */
static uint32_t end_of_bytes(struct slice bytes, uint32_t from)
{
    size_t end = bytes.len;
    while (end > from && bytes.data[end - 1] == 0) {
        end--;
    }
    return end > from ? (uint32_t)end : from;
}

/* ---- what is met ----------------------------------------------------------------------------- */

static enum err give_records(const struct loaded *loaded, const struct wal_frame *frame)
{
    const struct wal_log_reader *reader = loaded->walk->reader;
    struct slice rest = frame->records;
    while (rest.len > 0) {
        struct slice record;
        if (!wal_framed_next(&rest, &record)) {
            return ERR_DAMAGED; /* the CRC is right: it was written so */
        }
        struct wal_place place = {.segment = loaded->file->number,
                                  .offset = (uint32_t)(record.data - loaded->bytes.data),
                                  .len = (uint32_t)record.len};
        enum err err = reader->record(reader->context, place, record);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err give_run(const struct loaded *loaded, const struct run *run)
{
    struct wal_frame frame;
    for (uint32_t at = run->start; at < run->end; at = frame.end) {
        bool sound = wal_frame_read(loaded->bytes, at, &loaded->file->header, &frame);
        ASSERT(sound); /* it was when the run was made, and the bytes are ours */
        enum err err = give_records(loaded, &frame);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static void report(const struct wal_walk *walk, uint64_t segment, uint64_t offset, uint64_t len,
                   const char *path)
{
    walk->reader->damage(walk->reader->context, segment, offset, len, path);
}

static enum err damage(const struct loaded *loaded, uint32_t start, uint32_t end)
{
    const struct wal_walk *walk = loaded->walk;
    uint64_t number = loaded->file->number;
    if (walk->look_only || walk->damage == DAMAGE_REFUSE) {
        report(walk, number, start, end - start, NULL);
        return walk->look_only ? ERR_OK : ERR_DAMAGED;
    }
    struct wal_quarantine quarantine = {.files = loaded->survey->files, .dir = loaded->survey->dir};
    struct slice bytes = slice_of(loaded->bytes.data + start, end - start);
    enum err err = wal_quarantine_copy(&quarantine, number, start, bytes);
    if (err != ERR_OK) {
        return err;
    }
    if (walk->stats != NULL) {
        stat_add(walk->stats, STAT_QUARANTINED_BYTES, end - start);
    }
    report(walk, number, start, end - start, quarantine.path);
    return ERR_OK;
}

static void cut(const struct loaded *loaded, uint32_t start, uint32_t end)
{
    if (loaded->walk->stats != NULL && !loaded->walk->look_only) {
        stat_add(loaded->walk->stats, STAT_CUT_BYTES, end - start);
    }
    report(loaded->walk, loaded->file->number, start, end - start, "");
}

/* ---- a segment of the chain ------------------------------------------------------------------ */

/* Whether batches up to the first one missing before run `index` were synced. */
static bool was_synced(const struct loaded *loaded, uint32_t index, uint64_t missing)
{
    if (!loaded->last) {
        return true;
    }
    for (uint32_t i = index; i < loaded->run_count; i++) {
        if (loaded->runs[i].synced >= missing) {
            return true;
        }
    }
    return false;
}

/*
 * Gives the runs in order, up to one that must be cut, with all behind it. `*expected` is the next
 * batch, `*offset` the end of what counts.
 */
static enum err give_runs(struct loaded *loaded, uint64_t *expected, uint32_t *offset)
{
    for (uint32_t i = 0; i < loaded->run_count; i++) {
        const struct run *run = &loaded->runs[i];
        if (run->first != *expected || run->start != *offset) {
            if (!was_synced(loaded, i, *expected)) {
                return ERR_OK;
            }
            loaded->damaged = true;
            enum err err = damage(loaded, *offset, run->start);
            if (err != ERR_OK) {
                return err;
            }
        }
        enum err err = give_run(loaded, run);
        if (err != ERR_OK) {
            return err;
        }
        *expected = run->last + 1;
        *offset = run->end;
    }
    return ERR_OK;
}

/* Where what a crash left behind `offset` ends: the last thing that looks like a frame of a batch
 * from `expected` on. */
static uint32_t end_of_rest(const struct loaded *loaded, uint32_t offset, uint64_t expected)
{
    uint32_t end = offset;
    for (uint32_t at = wal_frame_search(loaded->bytes, offset, &loaded->file->header);
         at < loaded->bytes.len;
         at = wal_frame_search(loaded->bytes, at + 1, &loaded->file->header)) {
        uint32_t claimed = wal_frame_claimed_end(loaded->bytes, at, expected);
        end = claimed > at && claimed > end ? claimed : end;
    }
    return end;
}

static void set_end(const struct loaded *loaded, uint64_t expected, uint32_t offset,
                    struct wal_end *end)
{
    end->next_batch = expected;
    end->has_last = true;
    end->last = loaded->file->header;
    end->offset = offset;
    end->ended = loaded->unreadable > 0 || loaded->damaged;
    end->cut_end = end->ended ? offset : end_of_rest(loaded, offset, expected);
    /* Frames behind a cut say the truth about what is before it. So damage that was passed over
     * lies before what is known to be synced, and the tail has no hole. */
    end->synced_batch = loaded->file->header.first_batch - 1;
    for (uint32_t i = 0; i < loaded->run_count; i++) {
        if (loaded->runs[i].synced > end->synced_batch) {
            end->synced_batch = loaded->runs[i].synced;
        }
    }
    if (end->synced_batch >= expected) {
        end->synced_batch = expected - 1;
    }
}

/* Copies the frames of batches behind end->synced_batch: the last ones of the last run. */
static enum err keep_tail(const struct loaded *loaded, struct wal_end *end)
{
    uint32_t start = end->offset;
    struct wal_frame frame;
    for (uint32_t i = 0; i < loaded->run_count && loaded->runs[i].end <= end->offset; i++) {
        const struct run *run = &loaded->runs[i];
        if (run->last <= end->synced_batch) {
            continue;
        }
        for (uint32_t at = run->start;
             at < start && wal_frame_read(loaded->bytes, at, &loaded->file->header, &frame);
             at = frame.end) {
            start = frame.batch > end->synced_batch ? at : start;
        }
    }
    if (start == end->offset) {
        return ERR_OK;
    }
    end->tail_len = end->offset - start;
    end->tail = mem_try_alloc(end->tail_len);
    if (end->tail == NULL) {
        return ERR_MEMORY;
    }
    memcpy(end->tail, loaded->bytes.data + start, end->tail_len);
    return ERR_OK;
}

static enum err read_sealed(struct loaded *loaded, bool neighbour_follows)
{
    uint64_t expected = loaded->file->header.first_batch;
    uint32_t offset = WAL_FRAMES_AT;
    enum err err = give_runs(loaded, &expected, &offset);
    loaded->file->frame_bytes = offset;
    loaded->file->next_batch = expected;
    if (err == ERR_OK && neighbour_follows && expected < loaded->limit) {
        err = damage(loaded, offset, end_of_bytes(loaded->bytes, offset));
    }
    return err;
}

static enum err read_last(struct loaded *loaded, struct wal_end *end)
{
    uint64_t expected = loaded->file->header.first_batch;
    uint32_t offset = WAL_FRAMES_AT;
    enum err err = give_runs(loaded, &expected, &offset);
    loaded->file->frame_bytes = offset;
    if (err != ERR_OK) {
        return err;
    }
    uint32_t cut_end = end_of_rest(loaded, offset, expected);
    if (cut_end > offset) {
        cut(loaded, offset, cut_end);
    }
    if (end == NULL) {
        return ERR_OK;
    }
    set_end(loaded, expected, offset, end);
    return keep_tail(loaded, end);
}

/* ---- the chain ------------------------------------------------------------------------------- */

static struct wal_file *next_chained(const struct wal_survey *survey, uint32_t index)
{
    for (uint32_t i = index + 1; i < survey->count; i++) {
        if (survey->list[i].chained) {
            return &survey->list[i];
        }
    }
    return NULL;
}

static enum err read_chained(struct wal_survey *survey, const struct wal_walk *walk, uint32_t index,
                             struct wal_end *end)
{
    const struct wal_file *next = next_chained(survey, index);
    struct loaded loaded = {.survey = survey,
                            .walk = walk,
                            .file = &survey->list[index],
                            .limit = next != NULL ? next->header.first_batch : UINT64_MAX,
                            .last = next == NULL};
    enum err err = load(&loaded);
    if (err == ERR_OK) {
        err = next == NULL ? read_last(&loaded, end)
                           : read_sealed(&loaded, next->header.previous == loaded.file->number);
    }
    unload(&loaded);
    return err;
}

/* A file without a header, of a segment that had begun its life. */
static enum err report_headless(struct wal_survey *survey, const struct wal_walk *walk,
                                struct wal_file *file)
{
    struct loaded loaded = {.survey = survey, .walk = walk, .file = file};
    enum err err = load(&loaded);
    if (err == ERR_OK) {
        err = damage(&loaded, 0, end_of_bytes(loaded.bytes, 0));
    }
    unload(&loaded);
    return err;
}

/* How many batches are missing before `file`; 0: it isn't known. */
static uint64_t batches_missing(const struct wal_survey *survey, const struct wal_walk *walk,
                                uint64_t before, const struct wal_file *file)
{
    const struct wal_file *known = before > 0 ? wal_survey_find(survey, before) : NULL;
    uint64_t next = known != NULL ? known->next_batch : walk->first == 1 ? 1 : 0;
    return next > 0 && file->header.first_batch > next ? file->header.first_batch - next : 0;
}

/* What should stand between the chained segment `before` (0: none) and `file`, and doesn't. */
static enum err report_missing(struct wal_survey *survey, const struct wal_walk *walk,
                               uint64_t before, const struct wal_file *file)
{
    uint64_t previous = file->header.previous;
    if (previous < walk->first || previous == before) {
        return ERR_OK;
    }
    for (uint32_t i = 0; i < survey->count; i++) {
        struct wal_file *between = &survey->list[i];
        if (between->number > before && between->number >= walk->first &&
            between->number <= previous && !between->alive) {
            enum err err = report_headless(survey, walk, between);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    if (wal_survey_find(survey, previous) == NULL) {
        if (walk->reader->missing != NULL) {
            walk->reader->missing(walk->reader->context, previous,
                                  batches_missing(survey, walk, before, file));
        }
        report(walk, previous, 0, 0, NULL);
        return walk->look_only || walk->damage == DAMAGE_QUARANTINE ? ERR_OK : ERR_DAMAGED;
    }
    return ERR_OK;
}

enum err wal_walk_chain(struct wal_survey *survey, const struct wal_walk *walk, struct wal_end *end)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < survey->count && survey->list[i].number <= walk->last; i++) {
        struct wal_file *file = &survey->list[i];
        if (!file->chained) {
            continue;
        }
        enum err err = report_missing(survey, walk, before, file);
        if (err == ERR_OK) {
            err = read_chained(survey, walk, i, end);
        }
        if (err != ERR_OK) {
            return err;
        }
        before = file->number;
    }
    return ERR_OK;
}

/* ---- segments by themselves ------------------------------------------------------------------ */

static enum err read_alone(struct wal_survey *survey, const struct wal_walk *walk,
                           struct wal_file *file)
{
    struct loaded loaded = {.survey = survey, .walk = walk, .file = file, .limit = UINT64_MAX};
    enum err err = load(&loaded);
    uint32_t offset = file->alive ? WAL_FRAMES_AT : 0;
    for (uint32_t i = 0; err == ERR_OK && i < loaded.run_count; i++) {
        if (loaded.runs[i].start > offset) {
            report(walk, file->number, offset, loaded.runs[i].start - offset, NULL);
        }
        err = give_run(&loaded, &loaded.runs[i]);
        offset = loaded.runs[i].end;
    }
    if (err == ERR_OK && !file->alive) {
        report(walk, file->number, 0, end_of_bytes(loaded.bytes, 0), NULL);
    }
    unload(&loaded);
    return err;
}

enum err wal_walk_each(struct wal_survey *survey, const struct wal_walk *walk)
{
    for (uint32_t i = 0; i < survey->count && survey->list[i].number <= walk->last; i++) {
        if (survey->list[i].number < walk->first) {
            continue;
        }
        enum err err = read_alone(survey, walk, &survey->list[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err wal_log_scan(const struct wal_scan *scan, const struct wal_log_reader *reader)
{
    const struct files *files = scan->files != NULL ? scan->files : &files_system;
    struct wal_walk walk = {
        .reader = reader, .first = scan->first, .last = scan->last, .look_only = true};
    struct wal_survey survey;
    enum err err = wal_survey_init(&survey, files, scan->dir, scan->first);
    if (err == ERR_OK) {
        err = scan->every_frame ? wal_walk_each(&survey, &walk)
                                : wal_walk_chain(&survey, &walk, NULL);
    }
    wal_survey_fini(&survey);
    return err;
}
