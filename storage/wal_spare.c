#include "storage/wal_spare_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/mem.h"
#include "storage/wal_segment_priv.h"

/* Dirty pages are written out in portions, so that a sync of the log never waits for many. */
#define SYNC_BYTES ((uint64_t)1 << 20)

/*
 * Invariants:
 *   numbers[0 .. count) are files that are ready, and nobody else touches them;
 *   names that were given out once are not used again by this process.
 */
struct wal_spares {
    struct wal_spares_config config;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t mutex; /* of all below; a leaf */
    pthread_cond_t changed;
    uint64_t numbers[SPARES_MAX];
    unsigned count;
    uint64_t next_number;
    bool wanted;
    bool stopping;
};

static uint8_t zeros[64 * 1024]; /* never written */

static void spare_path(const struct wal_spares *spares, char path[WAL_PATH_BYTES], uint64_t number)
{
    (void)snprintf(path, WAL_PATH_BYTES, "%s/spare.%" PRIu64, spares->config.dir, number);
}

static void lock(struct wal_spares *spares)
{
    (void)pthread_mutex_lock(&spares->mutex); /* can't fail: not recursive, never destroyed */
}

static void unlock(struct wal_spares *spares)
{
    (void)pthread_mutex_unlock(&spares->mutex);
}

static void count_disk(struct wal_spares *spares, uint64_t bytes)
{
    stat_add(spares->config.stats, STAT_DISK_BYTES, (int64_t)bytes);
}

static void remove_file(struct wal_spares *spares, const char *path)
{
    (void)spares->config.files->unlink(spares->config.files->context, path); /* a later start tries
                                                                                again */
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool is_stopping(struct wal_spares *spares)
{
    lock(spares);
    bool stopping = spares->stopping;
    unlock(spares);
    return stopping;
}

static bool write_zeros(struct wal_spares *spares, int fd)
{
    const struct files *files = spares->config.files;
    uint64_t whole = spares->config.file_bytes;
    for (uint64_t at = 0; at < whole;) {
        uint64_t piece = whole - at < sizeof(zeros) ? whole - at : sizeof(zeros);
        if (is_stopping(spares) ||
            wal_write(files, fd, slice_of(zeros, (size_t)piece), (off_t)at) != 0) {
            return false;
        }
        stat_add(spares->config.stats, STAT_BYTES_WRITTEN, (int64_t)piece);
        at += piece;
        if ((at % SYNC_BYTES == 0 || at == whole) && files->datasync(files->context, fd) != 0) {
            return false;
        }
    }
    return true;
}

static bool make_file(struct wal_spares *spares, const char *path)
{
    const struct files *files = spares->config.files;
    int fd = files->open(files->context, path, O_WRONLY | O_CREAT | O_TRUNC, S_IRUSR | S_IWUSR);
    if (fd < 0) {
        return false;
    }
    bool made = write_zeros(spares, fd);
    made = files->close(files->context, fd) == 0 && made;
    if (!made) {
        remove_file(spares, path);
    }
    return made;
}

/* After a failure it waits until the next file is wanted: a full disk is not helped by trying. */
static void *run(void *argument)
{
    struct wal_spares *spares = argument;
    lock(spares);
    while (!spares->stopping) {
        if (!spares->wanted || spares->count > 0) {
            (void)pthread_cond_wait(&spares->changed, &spares->mutex);
            continue;
        }
        spares->wanted = false;
        uint64_t number = spares->next_number++;
        unlock(spares);
        char path[WAL_PATH_BYTES];
        spare_path(spares, path, number);
        bool made = make_file(spares, path);
        lock(spares);
        if (made && spares->count < SPARES_MAX) {
            spares->numbers[spares->count++] = number;
            count_disk(spares, spares->config.file_bytes);
        } else if (made) {
            remove_file(spares, path); /* dropped segments came meanwhile */
        }
    }
    unlock(spares);
    return NULL;
}

/* ---- the log's side -------------------------------------------------------------------------- */

static uint64_t size_of(const struct files *files, const char *path)
{
    int fd = files->open(files->context, path, O_RDONLY, 0);
    if (fd < 0) {
        return 0;
    }
    off_t size = files->size(files->context, fd);
    (void)files->close(files->context, fd); /* it was only looked at */
    return size > 0 ? (uint64_t)size : 0;
}

static void add_found(void *argument, const char *name)
{
    struct wal_spares *spares = argument;
    uint64_t number;
    if (!wal_name_parse(name, "spare.", &number)) {
        return;
    }
    char path[WAL_PATH_BYTES];
    spare_path(spares, path, number);
    if (number < UINT64_MAX && number >= spares->next_number) {
        spares->next_number = number + 1;
    }
    if (spares->count == SPARES_MAX ||
        size_of(spares->config.files, path) != spares->config.file_bytes) {
        remove_file(spares, path);
        return;
    }
    spares->numbers[spares->count++] = number;
    count_disk(spares, spares->config.file_bytes);
}

struct wal_spares *wal_spares_create(const struct wal_spares_config *config)
{
    struct wal_spares *spares = mem_alloc(sizeof(*spares));
    *spares = (struct wal_spares){.config = *config, .next_number = 1, .wanted = true};
    (void)pthread_mutex_init(&spares->mutex, NULL); /* can't fail with default attributes */
    (void)pthread_cond_init(&spares->changed, NULL);
    (void)config->files->list(config->files->context, config->dir, add_found,
                              spares); /* none found: then new ones are made */
    spares->has_thread =
        config->background && pthread_create(&spares->thread, NULL, run, spares) == 0;
    return spares;
}

void wal_spares_destroy(struct wal_spares *spares)
{
    if (spares == NULL) {
        return;
    }
    lock(spares);
    spares->stopping = true;
    (void)pthread_cond_signal(&spares->changed);
    unlock(spares);
    if (spares->has_thread) {
        (void)pthread_join(spares->thread, NULL); /* it is ours and joined once */
    }
    (void)pthread_cond_destroy(&spares->changed);
    (void)pthread_mutex_destroy(&spares->mutex);
    mem_free(spares);
}

bool wal_spares_take(struct wal_spares *spares, const char *path)
{
    const struct files *files = spares->config.files;
    char from[WAL_PATH_BYTES];
    bool taken = false;
    lock(spares);
    while (!taken && spares->count > 0) {
        spare_path(spares, from, spares->numbers[--spares->count]);
        taken = files->rename(files->context, from, path) == 0;
        if (!taken) {
            remove_file(spares, from);
            count_disk(spares, -spares->config.file_bytes);
        }
    }
    spares->wanted = true;
    (void)pthread_cond_signal(&spares->changed);
    unlock(spares);
    return taken;
}

enum err wal_spares_give(struct wal_spares *spares, const char *path, uint64_t file_bytes)
{
    const struct files *files = spares->config.files;
    char to[WAL_PATH_BYTES];
    bool kept = false;
    lock(spares);
    if (spares->count < SPARES_MAX && file_bytes == spares->config.file_bytes) {
        uint64_t number = spares->next_number++;
        spare_path(spares, to, number);
        kept = files->rename(files->context, path, to) == 0;
        if (kept) {
            spares->numbers[spares->count++] = number;
        }
    }
    unlock(spares);
    if (kept) {
        return ERR_OK;
    }
    if (files->unlink(files->context, path) != 0 && errno != ENOENT) {
        return ERR_IO;
    }
    count_disk(spares, -file_bytes);
    return ERR_OK;
}
