/*
 * sqlite_db: a connection to the SQLite file: its lock, its settings, its errors, and when what is
 * in its log (the -wal file beside it) is safe.
 *
 * Owns      the connection, the lock file `<path>.lock`, and a descriptor of the file itself.
 * Thread    one at a time.
 * Errors    those of engine.h. SQLite's own words go to engine_trouble, or, before the engine is
 *           open, to the log.
 * Source    SQLite's documents on write-ahead logging and on result codes.
 * Not here  tables (sqlite_schema.h), statements (sqlite_write.h, sqlite_load.h, sqlite_sweep.h).
 */
#ifndef PULSE_STORAGE_SQLITE_DB_H
#define PULSE_STORAGE_SQLITE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/engine.h"

struct sqlite_db {
    sqlite3 *handle; /* NULL: it was closed after an error and could not be opened again yet */
    char *path;      /* symbolic links resolved */
    struct storage_stats *stats;
    int lock; /* descriptor of the lock file */
    int file; /* of the database's file: locked, too, and closed only after SQLite has closed it */
    ino_t log_inode;       /* of the file of the log; 0: not known yet */
    uint64_t looked_ms;    /* monotonic: when the files were looked at */
    struct engine *engine; /* whose trouble it is; NULL: it is being opened */
    bool commits_sync;     /* strict: a commit is safe by itself */
    bool unsynced;         /* something was committed and not synced */
    bool log_suspect;      /* a sync failed: the log is written again before it is used */
    bool broken;           /* to be closed and opened again before it is used */
    bool log_known;      /* log_pages is right: something was committed since the file was opened */
    bool gone;           /* somebody removed or replaced a file, and that was said */
    unsigned log_large;  /* checkpoints in a row that met a large log; 2 is the most */
    uint32_t log_pages;  /* in the log after the latest commit */
    uint32_t log_copied; /* of them, in the database file too: checkpointed */
    uint32_t page_bytes;
};

/* Locks and opens the file, makes it if there is none. Nothing is written to it before
 * sqlite_db_set_up. */
must_check enum err sqlite_db_open(struct sqlite_db *db, const struct storage_config *config,
                                   struct storage_stats *stats);

/* Makes the settings that this engine relies on. */
must_check enum err sqlite_db_set_up(struct sqlite_db *db);

/* ERR_IO: somebody removed or replaced the file or its log, so that what is written now is lost at
 * the end. Looks when the last look was `age_ms` ago, or failed. */
must_check enum err sqlite_db_look(struct sqlite_db *db, uint64_t age_ms);

/* Opens a broken connection again; all statements were ended. On an error it stays broken. */
must_check enum err sqlite_db_reopen(struct sqlite_db *db);

/* Syncs, closes, unlocks. All statements were ended. */
void sqlite_db_close(struct sqlite_db *db);

/* Closes and unlocks a file that isn't to be used after all, and leaves it as it is. */
void sqlite_db_abandon(struct sqlite_db *db);

/* Says what SQLite said to `code` while `doing` (words of ours), and returns it as an error of
 * ours. */
enum err sqlite_db_error(struct sqlite_db *db, int code, const char *doing);

must_check enum err sqlite_db_exec(struct sqlite_db *db, const char *sql);

/* The first column of the first row, a number. */
must_check enum err sqlite_db_number(struct sqlite_db *db, const char *sql, int64_t *out);

/* Gives a statement for frequent use; end it with sqlite3_finalize. */
must_check enum err sqlite_db_prepare(struct sqlite_db *db, const char *sql, sqlite3_stmt **out);

/* Makes all that was committed safe against power loss. */
must_check enum err sqlite_db_sync(struct sqlite_db *db);

/* Copies the log into the database file as far as readers allow, so that the log begins anew. */
must_check enum err sqlite_db_checkpoint(struct sqlite_db *db);

/* Brings the statistics of the disk up to date. */
void sqlite_db_measure(struct sqlite_db *db);

#endif
