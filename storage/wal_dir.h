/*
 * wal_dir: the directory of a WAL: made when it is missing, and locked against a second process.
 *
 *     <dir>         held with flock while the store is open: nobody can remove it from under us
 *     <dir>/lock    held as well; holds the process id, for people
 *
 * Owns      the lock.
 * Thread    the caller's.
 * Errors    ERR_IO; ERR_LOCKED: another process (or another engine of this one) has it. Logged.
 */
#ifndef PULSE_STORAGE_WAL_DIR_H
#define PULSE_STORAGE_WAL_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/files.h"

#define WAL_LOCK_NAME "lock"

/* Descriptors; -1: not open. */
struct wal_lock {
    int folder;
    int file;
};

/* Makes `dir` (mode 0700; the folder above it must be there) and locks it. `*lock` is for
 * wal_dir_unlock, also after an error. */
must_check enum err wal_dir_lock(const struct files *files, const char *dir, struct wal_lock *lock);
void wal_dir_unlock(const struct files *files, struct wal_lock *lock);

/* Whether somebody has it, this process included. */
bool wal_dir_in_use(const struct files *files, const char *dir);

/* Gives "<dir>/<name>"; end it with mem_free. */
char *wal_dir_path(const char *dir, const char *name);

/* Deletes `name` in `dir`. True: it is gone, or was not there. */
bool wal_dir_remove(const struct files *files, const char *dir, const char *name);

/* ERR_FULL when `error` (an errno) says that there is no room, else ERR_IO. */
enum err wal_dir_err(int error);

#endif
