#include "storage/wal_aside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/mem.h"
#include "storage/wal_dir.h"
#include "storage/wal_segment_priv.h"
#include "storage/wal_snapshot.h"

#define PLAN_NAME "quarantine.pending"

struct names {
    const struct wal_manifest *manifest;
    char (*list)[WAL_SNAPSHOT_NAME_SIZE];
    uint32_t count;
    uint32_t cap;
};

static bool is_old(const struct wal_manifest *manifest, const char *name)
{
    uint64_t number = wal_snapshot_number(name);
    if (number != 0) {
        return number < manifest->snapshot; /* a later one is unfinished business */
    }
    return wal_name_parse(name, "log.", &number) && number != 0 && number < manifest->first &&
           !wal_manifest_keeps(manifest, number);
}

static void add_name(void *argument, const char *name)
{
    struct names *names = argument;
    if (is_old(names->manifest, name)) {
        names->list = mem_grow(names->list, names->count, &names->cap, sizeof(*names->list));
        (void)snprintf(names->list[names->count++], sizeof(*names->list), "%s", name);
    }
}

static enum err rename_one(const struct files *files, const char *dir, const char *name)
{
    char aside[sizeof("quarantine.") + WAL_SNAPSHOT_NAME_SIZE];
    (void)snprintf(aside, sizeof(aside), "quarantine.%s", name);
    char *from = wal_dir_path(dir, name);
    char *to = wal_dir_path(dir, aside);
    enum err err = files->rename(files->context, from, to) == 0 || errno == ENOENT
                       ? ERR_OK
                       : wal_dir_err(errno);
    mem_free(from);
    mem_free(to);
    return err;
}

static enum err sync_names(const struct files *files, const char *dir)
{
    return files->sync_directory(files->context, dir) == 0 ? ERR_OK : wal_dir_err(errno);
}

enum err wal_aside_do(const struct files *files, const char *dir,
                      const struct wal_manifest *manifest)
{
    struct names names = {.manifest = manifest};
    enum err err = files->list(files->context, dir, add_name, &names) == 0 ? ERR_OK : ERR_IO;
    for (uint32_t i = 0; i < names.count && err == ERR_OK; i++) {
        err = rename_one(files, dir, names.list[i]);
    }
    mem_free(names.list);
    if (err == ERR_OK) {
        err = sync_names(files, dir); /* first the names, then the end of the plan */
    }
    return err == ERR_OK && !wal_dir_remove(files, dir, PLAN_NAME) ? ERR_IO : err;
}

static int open_plan(const struct files *files, const char *dir, int flags)
{
    char *path = wal_dir_path(dir, PLAN_NAME);
    int fd = files->open(files->context, path, flags | O_CLOEXEC, 0600);
    int error = errno;
    mem_free(path);
    errno = error;
    return fd;
}

enum err wal_aside_plan(const struct files *files, const char *dir)
{
    int fd = open_plan(files, dir, O_WRONLY | O_CREAT);
    if (fd < 0) {
        return wal_dir_err(errno);
    }
    (void)files->close(files->context, fd); /* nothing was written: it is there, that is all */
    return sync_names(files, dir);
}

bool wal_aside_planned(const struct files *files, const char *dir)
{
    int fd = open_plan(files, dir, O_RDONLY);
    if (fd >= 0) {
        (void)files->close(files->context, fd); /* nothing was done with it */
    }
    return fd >= 0;
}
