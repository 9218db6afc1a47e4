#include "storage/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static int open_file(void *context, const char *path, int flags, mode_t mode)
{
    (void)context;
    return open(path, flags | O_CLOEXEC, mode);
}

static int close_file(void *context, int fd)
{
    (void)context;
    return close(fd);
}

static ssize_t pread_file(void *context, int fd, void *data, size_t len, off_t at)
{
    (void)context;
    return pread(fd, data, len, at);
}

static ssize_t pwrite_file(void *context, int fd, const void *data, size_t len, off_t at)
{
    (void)context;
    return pwrite(fd, data, len, at);
}

static off_t size_file(void *context, int fd)
{
    (void)context;
    struct stat stat;
    return fstat(fd, &stat) == 0 ? stat.st_size : -1;
}

static int datasync_file(void *context, int fd)
{
    (void)context;
    return fdatasync(fd);
}

static int lock_file(void *context, int fd)
{
    (void)context;
    return flock(fd, LOCK_EX | LOCK_NB);
}

static int make_directory(void *context, const char *path, mode_t mode)
{
    (void)context;
    return mkdir(path, mode);
}

static int list_directory(void *context, const char *path, files_name_fn each, void *argument)
{
    (void)context;
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return -1;
    }
    errno = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        each(argument, entry->d_name);
        errno = 0; /* readdir says by errno alone whether NULL is the end */
    }
    int error = errno;
    (void)closedir(directory); /* it was only read */
    errno = error;
    return error == 0 ? 0 : -1;
}

static int sync_directory(void *context, const char *path)
{
    (void)context;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = fsync(fd);
    int error = errno;
    (void)close(fd); /* nothing was written through it */
    errno = error;
    return result;
}

static int rename_file(void *context, const char *from, const char *to)
{
    (void)context;
    return rename(from, to);
}

static int unlink_file(void *context, const char *path)
{
    (void)context;
    return unlink(path);
}

static int random_bytes(void *context, void *data, size_t len)
{
    (void)context;
    int result = uv_random(NULL, NULL, data, len, 0, NULL);
    errno = -result;
    return result == 0 ? 0 : -1;
}

const struct files files_system = {.open = open_file,
                                   .close = close_file,
                                   .pread = pread_file,
                                   .pwrite = pwrite_file,
                                   .size = size_file,
                                   .datasync = datasync_file,
                                   .lock = lock_file,
                                   .mkdir = make_directory,
                                   .list = list_directory,
                                   .sync_directory = sync_directory,
                                   .rename = rename_file,
                                   .unlink = unlink_file,
                                   .random = random_bytes};
