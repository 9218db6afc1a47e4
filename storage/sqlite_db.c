#include "storage/sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

/* How long a statement waits for somebody else who writes: an operator with a shell. */
#define BUSY_MS 250
#define READ_AHEAD_BYTES (1024 * 1024 * 1024)
#define READ_BYTES (64 * 1024)
#define LOG_PAGES_LARGE 65536u /* 256 MiB */
#define FRAME_HEADER_BYTES 24  /* of a page in the log */

/* ---- the file and its lock ------------------------------------------------------------------- */

static enum err file_error(const char *doing, const char *path)
{
    int code = errno;
    log_error(LOG_STORAGE, doing, log_text("file", path), log_text("error", strerror(code)));
    return code == ENOSPC || code == EDQUOT ? ERR_FULL : ERR_IO;
}

static enum err lock_descriptor(struct sqlite_db *db, int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        return ERR_OK;
    }
    if (errno != EWOULDBLOCK) {
        return file_error("can't lock the database", db->path);
    }
    log_error(LOG_STORAGE, "the database is in use by another broker", log_text("file", db->path));
    return ERR_LOCKED;
}

/*
 * A lock file, and not SQLite's exclusive mode, which would shut out an operator's shell and
 * backups as well. It stays when we go: to remove it would be a race with the next one who locks.
 */
static enum err lock_beside(struct sqlite_db *db)
{
    char name[PATH_MAX];
    int len = snprintf(name, sizeof(name), "%s.lock", db->path);
    if (len < 0 || (size_t)len >= sizeof(name)) {
        return ERR_INVALID;
    }
    db->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (db->lock == -1) {
        return file_error("can't open the lock file of the database", name);
    }
    return lock_descriptor(db, db->lock);
}

/*
 * The file itself as well, because people remove lock files. SQLite's own locks are others
 * (fcntl), which this one doesn't meet; but they end with any descriptor of the file that this
 * process closes: so this one stays open, also while SQLite opens its own again.
 */
static enum err lock_file(struct sqlite_db *db)
{
    enum err err = lock_beside(db);
    if (err != ERR_OK) {
        return err;
    }
    db->file = open(db->path, O_RDONLY | O_CLOEXEC);
    return db->file != -1 ? lock_descriptor(db, db->file)
                          : file_error("can't open the database", db->path);
}

/* SQLite would make the file with the rights that umask leaves; its log gets those of the file. */
static enum err find_file(struct sqlite_db *db, const char *path)
{
    char real[PATH_MAX];
    if (realpath(path, real) == NULL) {
        int fd = errno == ENOENT ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
        if (fd == -1 || close(fd) != 0 || realpath(path, real) == NULL) {
            return file_error("can't open the database", path);
        }
    }
    db->path = mem_copy_text(real, strlen(real));
    return ERR_OK;
}

/* Reads the file once, in its order, into the system's cache: SQLite will read all of it, in the
 * order of its tables, which takes a disk ten times as long. */
static void read_ahead(struct sqlite_db *db)
{
    void *buffer = mem_alloc(READ_BYTES);
    ssize_t len = 1;
    for (off_t at = 0; at < READ_AHEAD_BYTES && len > 0; at += len) {
        len = pread(db->file, buffer, READ_BYTES, at); /* SQLite will say why it can't be read */
    }
    mem_free(buffer);
}

static void close_descriptor(int *fd)
{
    if (*fd != -1) {
        (void)close(*fd); /* nothing was written to it */
        *fd = -1;
    }
}

static void unlock_file(struct sqlite_db *db)
{
    close_descriptor(&db->file);
    close_descriptor(&db->lock);
    mem_free(db->path);
    db->path = NULL;
}

static bool log_status(const struct sqlite_db *db, struct stat *info)
{
    char name[PATH_MAX];
    int len = snprintf(name, sizeof(name), "%s-wal", db->path);
    return len > 0 && (size_t)len < sizeof(name) && stat(name, info) == 0;
}

/* The name still leads to the file that SQLite has open. */
static bool database_is_there(const struct sqlite_db *db)
{
    struct stat named, open_one;
    return stat(db->path, &named) == 0 && fstat(db->file, &open_one) == 0 &&
           named.st_dev == open_one.st_dev && named.st_ino == open_one.st_ino;
}

static bool log_is_there(struct sqlite_db *db)
{
    struct stat named;
    bool found = log_status(db, &named);
    if (db->log_inode == 0 && found && db->log_known) {
        db->log_inode = named.st_ino;
    }
    return db->log_inode == 0 || (found && named.st_ino == db->log_inode);
}

enum err sqlite_db_look(struct sqlite_db *db, uint64_t age_ms)
{
    uint64_t now_ms = clock_mono_ms();
    if (!db->gone && now_ms - db->looked_ms < age_ms) {
        return ERR_OK;
    }
    db->looked_ms = now_ms;
    db->gone = !database_is_there(db) || !log_is_there(db);
    if (!db->gone) {
        return ERR_OK;
    }
    engine_trouble(db->engine,
                   "the file or its -wal file was removed or replaced: put it back as it was, or "
                   "restart the broker: %s",
                   db->path);
    return ERR_IO;
}

/* ---- the connection -------------------------------------------------------------------------- */

static int committed(void *context, sqlite3 *handle, const char *name, int pages)
{
    (void)handle;
    (void)name;
    struct sqlite_db *db = context;
    uint32_t now = (uint32_t)pages;
    if (now < db->log_pages) { /* the log began anew */
        db->log_pages = 0;
        db->log_copied = 0;
    }
    if (db->log_known) {
        stat_add(db->stats, STAT_BYTES_WRITTEN,
                 (int64_t)(now - db->log_pages) * (db->page_bytes + FRAME_HEADER_BYTES));
    }
    db->log_known = true;
    db->log_pages = now;
    db->unsynced = !db->commits_sync;
    return SQLITE_OK;
}

static enum err connect_file(struct sqlite_db *db)
{
    int code =
        sqlite3_open_v2(db->path, &db->handle,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (code != SQLITE_OK) {
        enum err err = sqlite_db_error(db, code, "open");
        sqlite3_close(db->handle);
        db->handle = NULL;
        return err;
    }
    db->broken = false;
    db->log_known = false;
    db->log_inode = 0;
    db->log_pages = 0;
    db->log_copied = 0;
    (void)sqlite3_busy_timeout(db->handle, BUSY_MS); /* can't fail with a valid handle */
    return ERR_OK;
}

static void close_handle(struct sqlite_db *db)
{
    int code = sqlite3_close(db->handle);
    ASSERT(code == SQLITE_OK); /* or a statement of ours was not ended */
    db->handle = NULL;
}

static void close_as_it_is(struct sqlite_db *db)
{
    (void)sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    close_handle(db);
}

enum err sqlite_db_open(struct sqlite_db *db, const struct storage_config *config,
                        struct storage_stats *stats)
{
    *db = (struct sqlite_db){
        .stats = stats, .lock = -1, .file = -1, .commits_sync = config->policy == COMMIT_STRICT};
    enum err err = find_file(db, config->sqlite_path);
    if (err == ERR_OK) {
        err = lock_file(db);
    }
    if (err == ERR_OK) {
        read_ahead(db);
        err = connect_file(db);
    }
    if (err != ERR_OK) {
        unlock_file(db);
    }
    return err;
}

static enum err set_up_log(struct sqlite_db *db)
{
    sqlite3_stmt *statement = NULL;
    enum err err = sqlite_db_prepare(db, "PRAGMA journal_mode = WAL", &statement);
    if (err != ERR_OK) {
        return err;
    }
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW) {
        err = sqlite_db_error(db, code, "set the journal mode");
    } else if (strcmp((const char *)sqlite3_column_text(statement, 0), "wal") != 0) {
        log_error(LOG_STORAGE, "SQLite can't keep a write-ahead log beside the database here",
                  log_text("file", db->path));
        err = ERR_INVALID;
    }
    sqlite3_finalize(statement);
    return err;
}

/*
 * synchronous=FULL syncs the log at each commit. With NORMAL a commit is only written, and SQLite
 * syncs the log before a checkpoint copies from it, and the database before the log begins anew.
 *
 * auto_vacuum, which only a new file takes, lets sqlite_sweep.c give free pages back.
 * secure_delete is on in some builds: it would write zeros over each row and page that is freed.
 * Checkpoints are ours (wal_autocheckpoint=0): they would hold up a commit that is waited for.
 * journal_size_limit: what a burst left of the log is cut; a file that needn't grow syncs faster.
 */
enum err sqlite_db_set_up(struct sqlite_db *db)
{
    enum err err = sqlite_db_exec(db, "PRAGMA auto_vacuum = INCREMENTAL");
    if (err == ERR_OK) {
        err = set_up_log(db);
    }
    if (err == ERR_OK) {
        err = sqlite_db_exec(db, "PRAGMA wal_autocheckpoint = 0;"
                                 "PRAGMA journal_size_limit = 33554432;"
                                 "PRAGMA secure_delete = OFF;"
                                 "PRAGMA foreign_keys = OFF;"
                                 "PRAGMA trusted_schema = OFF;"
                                 "PRAGMA temp_store = MEMORY;"
                                 "PRAGMA cache_size = -16384;");
    }
    if (err == ERR_OK) {
        err = sqlite_db_exec(db, db->commits_sync ? "PRAGMA synchronous = FULL"
                                                  : "PRAGMA synchronous = NORMAL");
    }
    int64_t number = 0;
    if (err == ERR_OK) {
        err = sqlite_db_number(db, "PRAGMA page_size", &number);
    }
    if (err == ERR_OK) {
        db->page_bytes = (uint32_t)number;
        sqlite3_wal_hook(db->handle, committed, db);
    }
    return err;
}

/* The log's file as SQLite has it open; NULL: it isn't yet. */
static sqlite3_file *log_file(struct sqlite_db *db)
{
    sqlite3_file *file = NULL;
    int code = sqlite3_file_control(db->handle, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
    return code == SQLITE_OK && file != NULL && file->pMethods != NULL ? file : NULL;
}

static int write_again(sqlite3_file *file)
{
    sqlite3_int64 size = 0;
    int code = file->pMethods->xFileSize(file, &size);
    void *buffer = mem_alloc(READ_BYTES);
    for (sqlite3_int64 at = 0; at < size && code == SQLITE_OK; at += READ_BYTES) {
        int len = size - at < READ_BYTES ? (int)(size - at) : READ_BYTES;
        code = file->pMethods->xRead(file, buffer, len, at);
        if (code == SQLITE_OK) {
            code = file->pMethods->xWrite(file, buffer, len, at);
        }
    }
    mem_free(buffer);
    return code == SQLITE_OK ? file->pMethods->xSync(file, SQLITE_SYNC_NORMAL) : code;
}

/*
 * After a failed sync the kernel may have dropped the very pages that it could not write, and call
 * them clean: a second sync of that file proves nothing, and frames that are appended count for
 * nothing without those before them. But what was written is still to be read: so it is written
 * once more, under the lock that whoever writes holds. A checkpoint would not do: should the power
 * fail before the log is gone for good, too, what is left of it would be laid over a newer
 * database.
 */
static enum err rewrite_log(struct sqlite_db *db)
{
    enum err err = sqlite_db_exec(db, "BEGIN IMMEDIATE");
    if (err != ERR_OK) {
        return err;
    }
    sqlite3_file *file = log_file(db);
    int code = file == NULL ? SQLITE_IOERR_FSYNC : write_again(file);
    if (code == SQLITE_OK) {
        db->log_suspect = false;
        db->unsynced = false;
    } else {
        err = sqlite_db_error(db, code, "write the log again");
    }
    (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL); /* nothing was changed */
    return err;
}

enum err sqlite_db_reopen(struct sqlite_db *db)
{
    if (db->handle != NULL) {
        close_as_it_is(db); /* what is wrong is not known: the log is read again */
    }
    enum err err = connect_file(db);
    if (err == ERR_OK) {
        err = sqlite_db_set_up(db);
    }
    if (err == ERR_OK && db->log_suspect) {
        err = rewrite_log(db);
    }
    db->broken = err != ERR_OK;
    return err;
}

/* A broken one is opened again for that, if it is still the one that has the name. */
static bool sync_at_end(struct sqlite_db *db)
{
    return !db->unsynced || (!db->broken && sqlite_db_sync(db) == ERR_OK) ||
           (database_is_there(db) && log_is_there(db) && sqlite_db_reopen(db) == ERR_OK &&
            sqlite_db_sync(db) == ERR_OK);
}

void sqlite_db_close(struct sqlite_db *db)
{
    if (!database_is_there(db)) {
        log_error(LOG_STORAGE, "the database was removed or replaced: what it held goes with it",
                  log_text("file", db->path));
    }
    if (!sync_at_end(db)) {
        log_error(LOG_STORAGE, "the database was closed without a sync",
                  log_text("file", db->path));
    }
    if (db->handle != NULL && (db->broken || db->log_suspect)) {
        close_as_it_is(db);
    } else if (db->handle != NULL) {
        /* Copies the log into the database and removes it, unless a shell has it open, too. */
        close_handle(db);
    }
    unlock_file(db);
}

void sqlite_db_abandon(struct sqlite_db *db)
{
    if (db->handle != NULL) {
        close_as_it_is(db);
    }
    unlock_file(db);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static enum err error_of(int code, int system)
{
    switch (code & 0xff) {
    case SQLITE_OK:
        return ERR_OK;
    case SQLITE_FULL:
        return ERR_FULL;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
    case SQLITE_PROTOCOL:
        return ERR_UNAVAILABLE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_DAMAGED;
    case SQLITE_ERROR: /* such as a table that somebody dropped */
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_SCHEMA:
        return ERR_INVALID;
    default:
        return system == ENOSPC || system == EDQUOT ? ERR_FULL : ERR_IO;
    }
}

enum err sqlite_db_error(struct sqlite_db *db, int code, const char *doing)
{
    bool of_system = (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN;
    int system = of_system && db->handle != NULL ? sqlite3_system_errno(db->handle) : 0;
    enum err err = error_of(code, system);
    const char *words = db->handle != NULL && sqlite3_errcode(db->handle) == code
                            ? sqlite3_errmsg(db->handle)
                            : sqlite3_errstr(code);
    if (db->engine != NULL) {
        engine_trouble(db->engine, "%s: %s (%d)%s%s", doing, words, code, system != 0 ? ", " : "",
                       system != 0 ? strerror(system) : "");
    } else {
        log_error(LOG_STORAGE, "SQLite failed", log_text("doing", doing),
                  log_text("file", db->path), log_int("code", code), log_text("error", words),
                  log_text("system", system != 0 ? strerror(system) : ""));
    }
    if (err != ERR_FULL && err != ERR_UNAVAILABLE) {
        db->broken = true;
    }
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC) {
        db->log_suspect = true;
    }
    return err;
}

/* ---- statements ------------------------------------------------------------------------------ */

enum err sqlite_db_exec(struct sqlite_db *db, const char *sql)
{
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? ERR_OK : sqlite_db_error(db, code, sql);
}

enum err sqlite_db_number(struct sqlite_db *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    enum err err = sqlite_db_prepare(db, sql, &statement);
    if (err != ERR_OK) {
        return err;
    }
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *out = sqlite3_column_int64(statement, 0);
    } else {
        err = sqlite_db_error(db, code == SQLITE_DONE ? SQLITE_CORRUPT : code, sql);
    }
    sqlite3_finalize(statement);
    return err;
}

enum err sqlite_db_prepare(struct sqlite_db *db, const char *sql, sqlite3_stmt **out)
{
    int code = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
    return code == SQLITE_OK ? ERR_OK : sqlite_db_error(db, code, sql);
}

/* ---- what is safe ---------------------------------------------------------------------------- */

/*
 * Whatever was committed is either in the log as whole frames, or was copied into the database,
 * which SQLite synced before it let the log begin anew; the log's header is synced when it is
 * written. So one sync of the log's file is all that a power loss leaves to be done, the one that
 * synchronous=FULL does at each commit.
 */
enum err sqlite_db_sync(struct sqlite_db *db)
{
    if (!db->unsynced) {
        return ERR_OK;
    }
    sqlite3_file *file = log_file(db);
    int code = file == NULL
                   ? SQLITE_IOERR_FSYNC
                   : file->pMethods->xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
    if (code != SQLITE_OK) {
        return sqlite_db_error(db, code, "sync");
    }
    db->unsynced = false;
    return ERR_OK;
}

/* A shell with an open transaction, or a backup, holds on to what it has begun to read: then a
 * large log is still there at the next checkpoint. */
static void look_at_log(struct sqlite_db *db)
{
    if (db->log_pages < LOG_PAGES_LARGE) {
        db->log_large = 0;
        return;
    }
    if (db->log_large == 1) {
        log_warning(LOG_STORAGE, "somebody who reads the database keeps its log growing",
                    log_text("file", db->path),
                    log_uint("log_bytes", (uint64_t)db->log_pages * db->page_bytes));
    }
    db->log_large += db->log_large < 2 ? 1 : 0;
}

enum err sqlite_db_checkpoint(struct sqlite_db *db)
{
    int pages = 0;
    int copied = 0;
    int code =
        sqlite3_wal_checkpoint_v2(db->handle, "main", SQLITE_CHECKPOINT_PASSIVE, &pages, &copied);
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) {
        return sqlite_db_error(db, code, "checkpoint");
    }
    if (copied >= 0 && (uint32_t)copied > db->log_copied) {
        /* An upper bound: a page that is in the log several times is copied once. */
        stat_add(db->stats, STAT_BYTES_WRITTEN,
                 (int64_t)((uint32_t)copied - db->log_copied) * db->page_bytes);
        db->log_copied = (uint32_t)copied;
    }
    if (pages >= 0) {
        db->log_pages = (uint32_t)pages; /* of whoever writes */
    }
    look_at_log(db);
    return ERR_OK;
}

void sqlite_db_measure(struct sqlite_db *db)
{
    struct stat info;
    int64_t bytes = stat(db->path, &info) == 0 ? info.st_size : 0;
    bytes += log_status(db, &info) ? info.st_size : 0;
    stat_set(db->stats, STAT_DISK_BYTES, bytes);
}
