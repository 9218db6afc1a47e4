/*
 * faulty_files_support: a file system in memory for tests, which counts calls, makes them fail, and
 * knows what a disk would hold after a power loss.
 *
 * What a file holds is safe after `datasync`, what a folder holds after `sync_directory`; until
 * then sectors of 512 bytes survive in any order, changes of a folder in theirs. A datasync that
 * fails forgets which sectors it had to write: as with a real kernel, the next one succeeds and
 * they are not safe.
 *
 * Thread    any.
 */
#ifndef PULSE_TESTS_FAULTY_FILES_SUPPORT_H
#define PULSE_TESTS_FAULTY_FILES_SUPPORT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/files.h"
#include "tests/unit/storage/faulty_disk_support.h"

enum faulty_call {
    CALL_OPEN,
    CALL_CLOSE,
    CALL_READ,
    CALL_WRITE,
    CALL_SIZE,
    CALL_DATASYNC,
    CALL_LOCK,
    CALL_MKDIR,
    CALL_LIST,
    CALL_SYNC_DIRECTORY,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_RANDOM,
    CALL_KINDS
};

enum faulty_loss {
    LOSS_NONE, /* the process was killed, the computer runs on */
    LOSS_ALL,  /* nothing is left that wasn't safe */
    LOSS_SOME, /* of what wasn't safe any part survives, as `seed` says */
};

struct faulty_files {
    struct files files; /* give &files to what is tested */
    pthread_mutex_t mutex;
    struct faulty_disk disk;
    struct faulty_node **open; /* by descriptor */
    size_t open_count;
    uint64_t random;

    unsigned calls; /* since faulty_files_init */
    unsigned calls_of[CALL_KINDS];
    unsigned fail_at;     /* the call with this number fails; 0: none */
    unsigned fail_count;  /* and this many from there on */
    int error;            /* with this errno, */
    bool torn;            /* but a write is done in part before it fails */
    unsigned broken;      /* calls of these kinds fail, too: a bit for each kind */
    unsigned failed;      /* calls that were made to fail */
    unsigned frozen_at;   /* from this call on nothing is done any more; 0: never */
    uint64_t room;        /* bytes that all files may have */
    const char *bad_path; /* reads of this file that touch bytes from bad_from to bad_to fail */
    off_t bad_from;
    off_t bad_to;
    unsigned bad_times; /* so often; 0: always */
};

void faulty_files_init(struct faulty_files *faulty);
void faulty_files_fini(struct faulty_files *faulty);

/* Calls number `at` (from 1 on, counted from now) and the `count - 1` behind it fail. */
void faulty_files_fail(struct faulty_files *faulty, unsigned at, unsigned count, int error,
                       bool torn);

/* From call number `at` on, counted from now, nothing happens: the process is dead. */
void faulty_files_freeze(struct faulty_files *faulty, unsigned at);

/* The computer is on again, with what is left; no faults are set any more. */
void faulty_files_restart(struct faulty_files *faulty, enum faulty_loss loss, uint64_t seed);

/* The bytes of a file, to look at and to change; NULL: there is none. */
uint8_t *faulty_files_data(struct faulty_files *faulty, const char *path, size_t *len);

/* Changes one byte, on the disk and as the process sees it. Twice doesn't change it back. */
void faulty_files_spoil(struct faulty_files *faulty, const char *path, size_t at);

/* Cuts a file, safely. */
void faulty_files_truncate(struct faulty_files *faulty, const char *path, size_t len);

/* Removes a file, safely. */
void faulty_files_remove(struct faulty_files *faulty, const char *path);

/* Makes `to`, which is empty, a copy of what `from` sees; all of it is safe. */
void faulty_files_copy(struct faulty_files *to, const struct faulty_files *from);

/* How many files have a path that starts with `prefix`. */
size_t faulty_files_count(struct faulty_files *faulty, const char *prefix);

/* Bytes in all files. */
uint64_t faulty_files_bytes(struct faulty_files *faulty);

#endif
