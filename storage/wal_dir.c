#include "storage/wal_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define PID_BYTES 11u /* ten digits, padded with blanks, and a line feed */

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

/* ---- the lock -------------------------------------------------------------------------------- */

static int open_lock_file(const struct files *files, const char *dir, int flags)
{
    char *path = wal_dir_path(dir, WAL_LOCK_NAME);
    int fd = files->open(files->context, path, flags | O_CLOEXEC, 0600);
    mem_free(path);
    return fd;
}

/* Close never matters here: only the process id was written. */
static void close_lock(const struct files *files, int *fd)
{
    if (*fd >= 0) {
        (void)files->close(files->context, *fd);
    }
    *fd = -1;
}

/* The process id that whoever has the lock wrote into the file; 0: it can't be told. */
static uint64_t read_pid(const struct files *files, const char *dir)
{
    char text[PID_BYTES];
    uint64_t pid = 0;
    int fd = open_lock_file(files, dir, O_RDONLY);
    ssize_t len = fd >= 0 ? files->pread(files->context, fd, text, sizeof(text), 0) : 0;
    for (ssize_t i = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
        pid = pid * 10 + (uint64_t)(text[i] - '0');
    }
    close_lock(files, &fd);
    return pid;
}

/* For people: who holds it. Nothing depends on it, so an error is harmless. */
static void write_pid(const struct files *files, int fd)
{
    char text[PID_BYTES + 1];
    (void)snprintf(text, sizeof(text), "%-10d\n", (int)getpid());
    (void)!files->pwrite(files->context, fd, text, PID_BYTES, 0);
}

static enum err take(const struct files *files, const char *dir, int fd)
{
    if (files->lock(files->context, fd) == 0) {
        return ERR_OK;
    }
    if (errno != EWOULDBLOCK) {
        return trouble(dir, "can't lock the wal");
    }
    log_error(LOG_STORAGE, "the wal is in use by another process",
              log_slice("dir", slice_text(dir)), log_uint("pid", read_pid(files, dir)));
    return ERR_LOCKED;
}

/* The folder first: people remove lock files, and one that was made anew would lock nothing. The
 * file too, for a Pulse that knows of nothing else. */
static enum err take_both(const struct files *files, const char *dir, struct wal_lock *lock)
{
    lock->folder = files->open(files->context, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (lock->folder < 0) {
        return trouble(dir, "can't open the folder of the wal");
    }
    enum err err = take(files, dir, lock->folder);
    if (err != ERR_OK) {
        return err;
    }
    lock->file = open_lock_file(files, dir, O_RDWR | O_CREAT);
    if (lock->file < 0) {
        return trouble(dir, "can't open the lock of the wal");
    }
    err = take(files, dir, lock->file);
    if (err == ERR_OK) {
        write_pid(files, lock->file);
    }
    return err;
}

enum err wal_dir_lock(const struct files *files, const char *dir, struct wal_lock *lock)
{
    *lock = (struct wal_lock){.folder = -1, .file = -1};
    if (make(files, dir) != ERR_OK) {
        return trouble(dir, "can't make the folder of the wal");
    }
    enum err err = take_both(files, dir, lock);
    if (err != ERR_OK) {
        wal_dir_unlock(files, lock);
    }
    return err;
}

void wal_dir_unlock(const struct files *files, struct wal_lock *lock)
{
    close_lock(files, &lock->file);
    close_lock(files, &lock->folder); /* last: until then nobody sees a lock file without a lock */
}

bool wal_dir_in_use(const struct files *files, const char *dir)
{
    int fd = files->open(files->context, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    bool locked = files->lock(files->context, fd) != 0;
    close_lock(files, &fd); /* which also ends a lock that was taken */
    return locked;
}
