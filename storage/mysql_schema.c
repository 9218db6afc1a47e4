#include "storage/mysql_schema.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <openssl/sha.h>

#include "base/clock.h"
#include "base/log.h"

/*
 * Invariants:
 *   a statement, once released, never changes: a change is a new version with its own statements;
 *   each can be run again after it was done: DDL ends the transaction, so a server that dies in the
 *   middle leaves some done and the version row old.
 *
 * Client ids, topics and filters may have 65,535 bytes, keys 3072: so they are keyed by their
 * SHA-256. Columns are binary: text ones would pad blanks and, by some collations, fold cases.
 */
#define TABLE(name, columns) \
    "CREATE TABLE IF NOT EXISTS " name " (" columns ") ENGINE=InnoDB ROW_FORMAT=DYNAMIC"

static const char *const version_1[] = {
    /* One row for each time a node opened the store: whose ids those are that begin there. */
    TABLE("id_ranges", "id_range BIGINT UNSIGNED NOT NULL PRIMARY KEY,"
                       "ranges INT UNSIGNED NOT NULL,"
                       "owner VARBINARY(255) NOT NULL,"
                       "opened_at_ms BIGINT UNSIGNED NOT NULL,"
                       "last_seen_ms BIGINT UNSIGNED NOT NULL,"
                       "KEY by_owner (owner)"),
    TABLE("sessions", "id BIGINT UNSIGNED NOT NULL PRIMARY KEY,"
                      "client_id_hash BINARY(32) NOT NULL,"
                      "client_id BLOB NOT NULL,"
                      "expiry_s INT UNSIGNED NOT NULL,"
                      "offline_since_ms BIGINT UNSIGNED NOT NULL,"
                      "sent_to BIGINT UNSIGNED NOT NULL,"
                      "owner VARBINARY(255) NOT NULL,"
                      "epoch BIGINT UNSIGNED NOT NULL,"
                      "KEY by_client_id (client_id_hash),"
                      "KEY by_owner (owner)"),
    TABLE("subscriptions", "session_id BIGINT UNSIGNED NOT NULL,"
                           "filter_hash BINARY(32) NOT NULL,"
                           "filter BLOB NOT NULL,"
                           "qos TINYINT UNSIGNED NOT NULL,"
                           "no_local TINYINT UNSIGNED NOT NULL,"
                           "retain_as_published TINYINT UNSIGNED NOT NULL,"
                           "retain_handling TINYINT UNSIGNED NOT NULL,"
                           "subscription_id INT UNSIGNED NOT NULL,"
                           "PRIMARY KEY (session_id, filter_hash)"),
    TABLE("wills", "session_id BIGINT UNSIGNED NOT NULL PRIMARY KEY,"
                   "message_id BIGINT UNSIGNED NOT NULL,"
                   "delay_s INT UNSIGNED NOT NULL,"
                   "message_expiry_s INT UNSIGNED NULL"),
    TABLE("inbound_qos2", "session_id BIGINT UNSIGNED NOT NULL,"
                          "packet_id SMALLINT UNSIGNED NOT NULL,"
                          "PRIMARY KEY (session_id, packet_id)"),
    TABLE("messages", "id BIGINT UNSIGNED NOT NULL PRIMARY KEY,"
                      "topic BLOB NOT NULL,"
                      "properties LONGBLOB NOT NULL,"
                      "payload LONGBLOB NOT NULL,"
                      "qos TINYINT UNSIGNED NOT NULL,"
                      "retain TINYINT UNSIGNED NOT NULL,"
                      "expires_at_ms BIGINT UNSIGNED NULL,"
                      "publisher BIGINT UNSIGNED NOT NULL,"
                      "split_at INT UNSIGNED NULL"),
    TABLE("queue", "session_id BIGINT UNSIGNED NOT NULL,"
                   "position BIGINT UNSIGNED NOT NULL,"
                   "message_id BIGINT UNSIGNED NULL,"
                   "qos TINYINT UNSIGNED NOT NULL,"
                   "retain TINYINT UNSIGNED NOT NULL,"
                   "shared TINYINT UNSIGNED NOT NULL,"
                   "released TINYINT UNSIGNED NOT NULL,"
                   "subscription_ids MEDIUMBLOB NULL,"
                   "PRIMARY KEY (session_id, position)"),
    TABLE("retained_messages", "topic_hash BINARY(32) NOT NULL PRIMARY KEY,"
                               "topic BLOB NOT NULL,"
                               "properties LONGBLOB NOT NULL,"
                               "payload LONGBLOB NOT NULL,"
                               "qos TINYINT UNSIGNED NOT NULL,"
                               "expires_at_ms BIGINT UNSIGNED NULL,"
                               "publisher BIGINT UNSIGNED NOT NULL,"
                               "split_at INT UNSIGNED NULL,"
                               "KEY by_expiry (expires_at_ms)"),
    TABLE("body_parts", "body BINARY(32) NOT NULL,"
                        "part INT UNSIGNED NOT NULL,"
                        "bytes LONGBLOB NOT NULL,"
                        "PRIMARY KEY (body, part)"),
};

#define META                                                       \
    TABLE("meta", "name VARBINARY(64) NOT NULL PRIMARY KEY,"       \
                  "value BIGINT UNSIGNED NOT NULL")                \
    ";INSERT INTO meta (name, value) VALUES ('next_id_range', 1)," \
    "('schema_version', 0) ON DUPLICATE KEY UPDATE value = value"

/* From version i to i + 1. */
static const struct {
    const char *const *statements;
    size_t count;
} migrations[] = {{version_1, ARRAY_COUNT(version_1)}};

static_assert(ARRAY_COUNT(migrations) == MYSQL_SCHEMA_VERSION, "one migration for each version");

/* ---- locks ----------------------------------------------------------------------------------- */

#define SCHEMA_LOCK "schema"
#define SCHEMA_LOCK_WAIT_MS 30000u
#define LOCK_PAUSE_NS 50000000

/* 'pulse.' and 40 digits, as a literal. */
static void add_lock_name(const struct mysql_connection *connection, const char *what,
                          struct sql *sql)
{
    const char *database = connection->settings->url.database;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    struct sql words = {.data = NULL};
    sql_add(&words, database);
    sql_add_raw(&words, "", 1);
    sql_add(&words, what);
    SHA256((const unsigned char *)words.data, words.len, digest);
    sql->failed = sql->failed || words.failed;
    sql_fini(&words);

    char name[64];
    size_t len = (size_t)snprintf(name, sizeof name, "'pulse.");
    for (size_t i = 0; i < 20; i++) {
        len += (size_t)snprintf(name + len, sizeof name - len, "%02x", digest[i]);
    }
    sql_add(sql, name);
    sql_add(sql, "'");
}

static enum err ask_about_lock(struct mysql_connection *connection, const char *function,
                               const char *what, const char *rest, uint64_t *answer)
{
    struct sql sql = {.data = NULL};
    bool found = false;
    sql_add(&sql, "SELECT ");
    sql_add(&sql, function);
    sql_add(&sql, "(");
    add_lock_name(connection, what, &sql);
    sql_add(&sql, rest);
    enum err err = mysql_connection_numbers(connection, &sql, answer, 1, &found);
    sql_fini(&sql);
    return err;
}

/* Asks again and again: a server that waits for us would have to answer before our timeout. */
enum err mysql_lock_take(struct mysql_connection *connection, const char *what, uint64_t wait_ms)
{
    uint64_t deadline_ms = clock_mono_ms() + wait_ms;
    for (;;) {
        uint64_t got = 0;
        enum err err = ask_about_lock(connection, "GET_LOCK", what, ",0)", &got);
        if (err != ERR_OK || got == 1) {
            return err;
        }
        if (clock_mono_ms() >= deadline_ms) {
            (void)snprintf(connection->trouble, sizeof connection->trouble,
                           "another connection holds the lock");
            return ERR_LOCKED;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
    }
}

enum err mysql_lock_release(struct mysql_connection *connection, const char *what)
{
    uint64_t released = 0;
    return ask_about_lock(connection, "RELEASE_LOCK", what, ")", &released);
}

enum err mysql_lock_holder(struct mysql_connection *connection, const char *what, uint64_t *id)
{
    return ask_about_lock(connection, "IS_USED_LOCK", what, ")", id);
}

/* ---- the tables ------------------------------------------------------------------------------ */

static enum err set_version(struct mysql_connection *connection, uint64_t version)
{
    struct sql sql = {.data = NULL};
    sql_add(&sql, "UPDATE meta SET value=");
    sql_add_number(&sql, version);
    sql_add(&sql, " WHERE name='schema_version'");
    enum err err = mysql_connection_run_sql(connection, &sql);
    sql_fini(&sql);
    return err;
}

static enum err find_number(struct mysql_connection *connection, const char *query,
                            uint64_t *number, bool *found)
{
    struct sql sql = {.data = NULL};
    sql_add(&sql, query);
    enum err err = mysql_connection_numbers(connection, &sql, number, 1, found);
    sql_fini(&sql);
    return err;
}

/* A database that is up to date is only read: that needs no right to make tables. */
static enum err find_version(struct mysql_connection *connection, uint64_t *version)
{
    uint64_t tables = 0;
    bool found = false;
    *version = 0;
    enum err err = find_number(connection,
                               "SELECT COUNT(*) FROM information_schema.tables WHERE "
                               "table_schema=DATABASE() AND table_name='meta'",
                               &tables, &found);
    if (err != ERR_OK || tables == 0) {
        return err;
    }
    return find_number(connection, "SELECT value FROM meta WHERE name='schema_version'", version,
                       &found);
}

static enum err migrate(struct mysql_connection *connection, uint64_t version)
{
    enum err err = mysql_connection_run(connection, META);
    for (; err == ERR_OK && version < MYSQL_SCHEMA_VERSION; version++) {
        for (size_t i = 0; err == ERR_OK && i < migrations[version].count; i++) {
            err = mysql_connection_run(connection, migrations[version].statements[i]);
        }
        if (err == ERR_OK) {
            err = set_version(connection, version + 1);
        }
        if (err == ERR_OK) {
            log_notice(LOG_STORAGE, "the tables of the store are made",
                       log_uint("schema_version", version + 1));
        }
    }
    return err;
}

/* With the lock held. */
static enum err prepare(struct mysql_connection *connection)
{
    uint64_t version = 0;
    enum err err = find_version(connection, &version);
    if (err != ERR_OK) {
        return err;
    }
    if (version > MYSQL_SCHEMA_VERSION) {
        (void)snprintf(connection->trouble, sizeof connection->trouble,
                       "the tables have version %llu, this Pulse knows %u",
                       (unsigned long long)version, MYSQL_SCHEMA_VERSION);
        return ERR_VERSION;
    }
    return version < MYSQL_SCHEMA_VERSION ? migrate(connection, version) : ERR_OK;
}

enum err mysql_schema_prepare(struct mysql_connection *connection)
{
    enum err err = mysql_lock_take(connection, SCHEMA_LOCK, SCHEMA_LOCK_WAIT_MS);
    if (err != ERR_OK) {
        return err == ERR_LOCKED ? ERR_UNAVAILABLE : err; /* another node is at it */
    }
    err = prepare(connection);
    if (connection->client == NULL) {
        return err; /* the lock went with the connection */
    }
    enum err unlock_err = mysql_lock_release(connection, SCHEMA_LOCK);
    return err != ERR_OK ? err : unlock_err;
}

/* ---- the server's settings ------------------------------------------------------------------- */

enum err mysql_schema_check_durability(struct mysql_connection *connection)
{
    uint64_t values[3] = {1, 0, 1};
    bool found = false;
    struct sql sql = {.data = NULL};
    sql_add(&sql, "SELECT @@innodb_flush_log_at_trx_commit,@@log_bin,@@sync_binlog");
    enum err err = mysql_connection_numbers(connection, &sql, values, ARRAY_COUNT(values), &found);
    sql_fini(&sql);
    if (err != ERR_OK) {
        return err;
    }
    if (values[0] != 1) {
        log_warning(LOG_STORAGE,
                    "commit policy strict, but the database server does not sync each commit: it "
                    "may lose acknowledged messages in a power loss",
                    log_uint("innodb_flush_log_at_trx_commit", values[0]), log_text("needed", "1"));
    }
    if (values[1] != 0 && values[2] != 1) {
        log_warning(LOG_STORAGE,
                    "commit policy strict, but the database server does not sync its binary log "
                    "with each commit: it may disagree with its replicas after a power loss",
                    log_uint("sync_binlog", values[2]), log_text("needed", "1"));
    }
    return ERR_OK;
}
