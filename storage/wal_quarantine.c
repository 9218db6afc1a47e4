#include "storage/wal_quarantine_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* A search for a name that ends in `-<segment>-<offset>`. */
struct lookup {
    struct wal_quarantine *quarantine;
    char ending[64];
    bool found;
};

static void look_at(void *argument, const char *name)
{
    struct lookup *lookup = argument;
    size_t len = strlen(name);
    size_t ending_len = strlen(lookup->ending);
    if (!lookup->found && strncmp(name, "quarantine.", 11) == 0 && len > ending_len &&
        strcmp(name + len - ending_len, lookup->ending) == 0) {
        lookup->found = true;
        (void)snprintf(lookup->quarantine->path, WAL_PATH_BYTES, "%s/%s", lookup->quarantine->dir,
                       name);
    }
}

static int write_copy(const struct wal_quarantine *quarantine, struct slice bytes)
{
    const struct files *files = quarantine->files;
    int fd = files->open(files->context, quarantine->path, O_WRONLY | O_CREAT | O_TRUNC,
                         S_IRUSR | S_IWUSR);
    if (fd < 0) {
        return -1;
    }
    int result = wal_write(files, fd, bytes, 0);
    if (result == 0) {
        result = files->datasync(files->context, fd);
    }
    int error = errno;
    if (files->close(files->context, fd) != 0 && result == 0) {
        result = -1;
        error = errno;
    }
    if (result == 0) {
        result = files->sync_directory(files->context, quarantine->dir);
        error = errno;
    }
    if (result != 0) {
        (void)files->unlink(files->context, quarantine->path); /* half a copy misleads */
    }
    errno = error;
    return result;
}

enum err wal_quarantine_copy(struct wal_quarantine *quarantine, uint64_t segment, uint64_t offset,
                             struct slice bytes)
{
    const struct files *files = quarantine->files;
    struct lookup lookup = {.quarantine = quarantine};
    (void)snprintf(lookup.ending, sizeof(lookup.ending), "-%" PRIu64 "-%" PRIu64, segment, offset);
    if (files->list(files->context, quarantine->dir, look_at, &lookup) != 0) {
        return ERR_IO;
    }
    quarantine->copied = !lookup.found;
    if (lookup.found) {
        return ERR_OK;
    }
    (void)snprintf(quarantine->path, sizeof(quarantine->path), "%s/quarantine.%" PRIu64 "%s",
                   quarantine->dir, clock_wall_ms() / 1000, lookup.ending);
    if (write_copy(quarantine, bytes) != 0) {
        return wal_error_of(errno);
    }
    return ERR_OK;
}
