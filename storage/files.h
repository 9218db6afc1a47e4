/*
 * files: the calls to the system that the WAL makes, as a table, so that tests can make each
 * of them fail, and can show what a disk holds that lost everything not synced.
 *
 * Thread    any.
 * Errors    as the system calls: -1 and errno.
 */
#ifndef PULSE_STORAGE_FILES_H
#define PULSE_STORAGE_FILES_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Gets the name of one entry of a folder, without the path; good during the call. */
typedef void (*files_name_fn)(void *argument, const char *name);

struct files {
    void *context;
    int (*open)(void *context, const char *path, int flags, mode_t mode);
    int (*close)(void *context, int fd);
    ssize_t (*pread)(void *context, int fd, void *data, size_t len, off_t at);
    ssize_t (*pwrite)(void *context, int fd, const void *data, size_t len, off_t at);
    off_t (*size)(void *context, int fd);
    int (*datasync)(void *context, int fd);
    int (*lock)(void *context, int fd); /* for this process alone, until it is closed; no wait */
    int (*mkdir)(void *context, const char *path, mode_t mode);
    int (*list)(void *context, const char *path, files_name_fn each, void *argument);
    int (*sync_directory)(void *context, const char *path);
    int (*rename)(void *context, const char *from, const char *to);
    int (*unlink)(void *context, const char *path);
    int (*random)(void *context, void *data, size_t len); /* bytes that nobody can guess */
};

/* The system's own. */
extern const struct files files_system;

#endif
