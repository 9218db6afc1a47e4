#include "storage/wal_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

char *wal_dir_path(const char *dir, const char *name)
{
    size_t dir_len = strlen(dir), name_len = strlen(name);
    char *path = mem_alloc(dir_len + name_len + 2);
    memcpy(path, dir, dir_len);
    path[dir_len] = '/';
    memcpy(path + dir_len + 1, name, name_len);
    return path;
}

bool wal_dir_remove(const struct files *files, const char *dir, const char *name)
{
    char *path = wal_dir_path(dir, name);
    bool gone = files->unlink(files->context, path) == 0 || errno == ENOENT;
    mem_free(path);
    return gone;
}

enum err wal_dir_err(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG ? ERR_FULL : ERR_IO;
}

/* The name of a new folder is safe only when the one above it is synced. */
static enum err sync_parent(const struct files *files, const char *dir)
{
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/') {
        len--;
    }
    while (len > 0 && dir[len - 1] != '/') {
        len--;
    }
    char *parent = len > 0 ? mem_copy_text(dir, len) : mem_copy_text(".", 1);
    int done = files->sync_directory(files->context, parent);
    mem_free(parent);
    return done == 0 ? ERR_OK : ERR_IO;
}

static enum err make(const struct files *files, const char *dir)
{
    if (files->mkdir(files->context, dir, 0700) == 0) {
        return sync_parent(files, dir);
    }
    return errno == EEXIST ? ERR_OK : ERR_IO;
}

static enum err trouble(const char *dir, const char *what)
{
    log_error(LOG_STORAGE, what, log_slice("dir", slice_text(dir)),
              log_text("error", strerror(errno)));
    return ERR_IO;
}

/* For people: who holds it. Nothing depends on it, so an error is harmless. */
static void write_pid(const struct files *files, int fd)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "%-10ld\n", (long)getpid());
    (void)!files->pwrite(files->context, fd, text, (size_t)len, 0);
}

enum err wal_dir_lock(const struct files *files, const char *dir, int *lock)
{
    if (make(files, dir) != ERR_OK) {
        return trouble(dir, "can't make the folder of the wal");
    }
    char *path = wal_dir_path(dir, WAL_LOCK_NAME);
    int fd = files->open(files->context, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    mem_free(path);
    if (fd < 0) {
        return trouble(dir, "can't open the lock of the wal");
    }
    if (files->lock(files->context, fd) != 0) {
        bool held = errno == EWOULDBLOCK;
        (void)trouble(dir, held ? "the wal is in use by another process" : "can't lock the wal");
        (void)files->close(files->context, fd); /* nothing was written */
        return held ? ERR_LOCKED : ERR_IO;
    }
    write_pid(files, fd);
    *lock = fd;
    return ERR_OK;
}

void wal_dir_unlock(const struct files *files, int lock)
{
    (void)files->close(files->context, lock); /* only the process id was written */
}
