#include "storage/sqlite_schema.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"

/* "PULS": tells our files from those of other programs. */
#define APPLICATION_ID 0x50554c53

/*
 * The check reads the whole file. Loading does so too, and meets damage in the tables itself; what
 * the check adds isn't worth a start of minutes.
 */
#define CHECK_BYTES_MAX (512 * 1024 * 1024)
#define CHECK_MS_MAX 5000
#define CHECK_STEPS 1000 /* of SQLite's machine, between two looks at the clock */

/*
 * Step n makes version n + 1 out of version n. Steps are never changed once released. Their text,
 * comments included, is what `.schema` shows in SQLite's shell.
 *
 * Keys are ids that grow, so that new rows go to the end of a table: a commit writes whole pages.
 */
static const char *const steps[] = {
    "CREATE TABLE meta (\n"
    "    name TEXT PRIMARY KEY,\n"
    "    value INTEGER NOT NULL\n"
    ") WITHOUT ROWID;\n"

    "CREATE TABLE sessions (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    client_id TEXT NOT NULL,\n"
    "    expiry_s INTEGER NOT NULL, -- 4294967295: never\n"
    "    offline_since_ms INTEGER NOT NULL, -- since 1970; 0: connected\n"
    "    sent_to INTEGER NOT NULL, -- queue entries before this position have been sent before\n"
    "    owner TEXT NOT NULL, -- the node that last held it\n"
    "    epoch INTEGER NOT NULL\n"
    ");\n"

    "CREATE TABLE subscriptions (\n"
    "    session INTEGER NOT NULL,\n"
    "    filter TEXT NOT NULL,\n"
    "    qos INTEGER NOT NULL,\n"
    "    no_local INTEGER NOT NULL,\n"
    "    retain_as_published INTEGER NOT NULL,\n"
    "    retain_handling INTEGER NOT NULL,\n"
    "    subscription_id INTEGER NOT NULL, -- 0: none\n"
    "    PRIMARY KEY (session, filter)\n"
    ") WITHOUT ROWID;\n"

    "CREATE TABLE wills (\n"
    "    session INTEGER PRIMARY KEY,\n"
    "    message INTEGER NOT NULL,\n"
    "    delay_s INTEGER NOT NULL,\n"
    "    message_expiry_s INTEGER -- from its publication on; NULL: never\n"
    ");\n"

    "CREATE TABLE messages ( -- each once, for all queues and wills that refer to it\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    qos INTEGER NOT NULL,\n"
    "    retain INTEGER NOT NULL,\n"
    "    expires_at_ms INTEGER, -- since 1970; NULL: never\n"
    "    publisher INTEGER NOT NULL, -- a hash of the client id; 0: none\n"
    "    topic TEXT NOT NULL,\n"
    "    properties BLOB NOT NULL, -- as in a PUBLISH of MQTT 5.0\n"
    "    payload BLOB NOT NULL\n"
    ");\n"

    "CREATE TABLE queue (\n"
    "    session INTEGER NOT NULL,\n"
    "    position INTEGER NOT NULL,\n"
    "    message INTEGER NOT NULL, -- 0 when released\n"
    "    qos INTEGER NOT NULL,\n"
    "    retain INTEGER NOT NULL,\n"
    "    shared INTEGER NOT NULL, -- came by a shared subscription\n"
    "    released INTEGER NOT NULL, -- PUBREC came, PUBCOMP is waited for\n"
    "    subscription_ids TEXT, -- 7,12\n"
    "    PRIMARY KEY (session, position)\n"
    ") WITHOUT ROWID;\n"

    "CREATE TABLE inbound_qos2 ( -- accepted from the client, which has not released them\n"
    "    session INTEGER NOT NULL,\n"
    "    packet_id INTEGER NOT NULL,\n"
    "    PRIMARY KEY (session, packet_id)\n"
    ") WITHOUT ROWID;\n"

    "CREATE TABLE retained_messages (\n"
    "    id INTEGER PRIMARY KEY,\n"
    "    qos INTEGER NOT NULL,\n"
    "    expires_at_ms INTEGER,\n"
    "    publisher INTEGER NOT NULL,\n"
    "    topic TEXT NOT NULL UNIQUE,\n"
    "    properties BLOB NOT NULL,\n"
    "    payload BLOB NOT NULL\n"
    ");\n"
    "CREATE INDEX retained_messages_expiry ON retained_messages (expires_at_ms)\n"
    "    WHERE expires_at_ms IS NOT NULL;\n",
};

#define VERSION ((int64_t)ARRAY_COUNT(steps))

static enum err check_owner(struct sqlite_db *db, int64_t version)
{
    int64_t application = 0;
    int64_t tables = 0;
    enum err err = sqlite_db_number(db, "PRAGMA application_id", &application);
    if (err == ERR_OK) {
        err = sqlite_db_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
    }
    if (err != ERR_OK) {
        return err;
    }
    bool empty = version == 0 && application == 0 && tables == 0;
    if (application != APPLICATION_ID && !empty) {
        log_error(LOG_STORAGE, "this SQLite file belongs to another program, it is left alone",
                  log_text("file", db->path), log_int("application_id", application));
        return ERR_INVALID;
    }
    if (version < 0) {
        log_error(LOG_STORAGE, "the database is damaged: it has no version that there could be",
                  log_text("file", db->path), log_int("version", version));
        return ERR_DAMAGED;
    }
    if (version > VERSION) {
        log_error(LOG_STORAGE, "the database was made by a newer version of Pulse",
                  log_text("file", db->path), log_int("its_version", version),
                  log_int("known_version", VERSION));
        return ERR_VERSION;
    }
    return ERR_OK;
}

static int is_late(void *context)
{
    return clock_mono_ms() > *(const uint64_t *)context;
}

/* The first line of SQLite's answer is "ok" or the first damage that it found. */
static enum err take_answer(struct sqlite_db *db, sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    if (code == SQLITE_INTERRUPT) {
        log_notice(LOG_STORAGE, "the check of the database took too long and was ended",
                   log_text("file", db->path));
        return ERR_OK;
    }
    if (code != SQLITE_ROW) {
        return sqlite_db_error(db, code, "check");
    }
    const char *answer = (const char *)sqlite3_column_text(statement, 0);
    if (answer != NULL && strcmp(answer, "ok") == 0) {
        return ERR_OK;
    }
    log_error(LOG_STORAGE,
              "the database is damaged: restore a copy, or let SQLite's shell recover what it can "
              "into a new file (.recover)",
              log_text("file", db->path), log_text("damage", answer != NULL ? answer : ""));
    return ERR_DAMAGED;
}

static enum err check_pages(struct sqlite_db *db)
{
    struct stat info;
    if (stat(db->path, &info) != 0 || info.st_size > CHECK_BYTES_MAX) {
        log_notice(LOG_STORAGE, "the database is too large to be checked at start",
                   log_text("file", db->path));
        return ERR_OK;
    }
    sqlite3_stmt *statement = NULL;
    enum err err = sqlite_db_prepare(db, "PRAGMA quick_check(1)", &statement);
    if (err != ERR_OK) {
        return err;
    }
    uint64_t until_ms = clock_mono_ms() + CHECK_MS_MAX;
    sqlite3_progress_handler(db->handle, CHECK_STEPS, is_late, &until_ms);
    err = take_answer(db, statement);
    sqlite3_progress_handler(db->handle, 0, NULL, NULL);
    sqlite3_finalize(statement);
    return err;
}

enum err sqlite_schema_check(struct sqlite_db *db)
{
    int64_t version = 0;
    enum err err = sqlite_db_number(db, "PRAGMA user_version", &version);
    if (err == ERR_OK) {
        err = check_owner(db, version);
    }
    return err == ERR_OK && version > 0 ? check_pages(db) : err;
}

static enum err take_step(struct sqlite_db *db, int64_t version)
{
    char mark[96];
    (void)snprintf(mark, sizeof(mark), "PRAGMA application_id = %d; PRAGMA user_version = %lld;",
                   APPLICATION_ID, (long long)version + 1); /* has room for any number */
    enum err err = sqlite_db_exec(db, "BEGIN IMMEDIATE");
    if (err == ERR_OK) {
        err = sqlite_db_exec(db, steps[version]);
    }
    if (err == ERR_OK) {
        err = sqlite_db_exec(db, mark);
    }
    if (err == ERR_OK) {
        err = sqlite_db_exec(db, "COMMIT");
    }
    if (err != ERR_OK && sqlite3_get_autocommit(db->handle) == 0) {
        /* The first error is the one that counts. */
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    return err;
}

enum err sqlite_schema_migrate(struct sqlite_db *db)
{
    int64_t version = 0;
    enum err err = sqlite_db_number(db, "PRAGMA user_version", &version);
    while (err == ERR_OK && version < VERSION) {
        log_notice(LOG_STORAGE, version == 0 ? "making a new database" : "migrating the database",
                   log_text("file", db->path), log_int("version", version + 1));
        err = take_step(db, version);
        version++;
    }
    return err;
}
