#include "storage/engine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "storage/mysql_batch.h"
#include "storage/mysql_connection.h"
#include "storage/mysql_load.h"
#include "storage/mysql_owner.h"
#include "storage/mysql_schema.h"
#include "storage/mysql_tend.h"

/*
 * The engine for MySQL and MariaDB: one connection commits and holds the owner's lock, another one
 * loads and cleans up. The database makes each commit safe, so there is nothing to sync.
 *
 * Invariant: `commit` is connected only while it holds the owner's lock.
 */
#define OWNER_BYTES_MAX 255u
#define PACKET_BYTES_MIN (1024u * 1024)

/* How often the row of this process says when it was last seen. */
#define LAST_SEEN_MS 1000u

/* Between two attempts of an idle node to find its server again. */
#define FIND_AGAIN_MS 5000u

struct mysql_engine {
    struct engine engine;
    struct mysql_settings settings;
    struct mysql_deadline deadline;
    struct mysql_connection commit;
    struct mysql_connection other; /* loads and cleans up */
    struct mysql_owner owner;
    struct mysql_batch batch;
    struct mysql_tend tend;
    uint64_t seen_ms; /* the latest batch.now_ms */
    uint64_t find_ms; /* monotonic: when an idle node may look for its server again */
    bool used;        /* `commit` has worked since the last life sign */
    bool failing;     /* the last batch failed: it comes again, and looks for the server itself */
};

static struct mysql_engine *mysql_of(struct engine *engine)
{
    return container_of(engine, struct mysql_engine, engine);
}

static void describe(const struct mysql_engine *mysql, char *buffer, size_t size)
{
    mysql_url_describe(&mysql->settings.url, buffer, size);
}

static void say_trouble(struct mysql_engine *mysql, enum err err,
                        const struct mysql_connection *connection)
{
    char server[120];
    describe(mysql, server, sizeof server);
    bool words = err != ERR_MEMORY && connection->trouble[0] != '\0';
    engine_trouble(&mysql->engine, "%s: %s", server, words ? connection->trouble : err_text(err));
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum err read_url(struct mysql_engine *mysql, const struct storage_config *config)
{
    const char *why = NULL;
    enum err err = mysql_url_parse(config->mysql_url != NULL ? config->mysql_url : "",
                                   &mysql->settings.url, &why);
    if (err != ERR_OK) {
        log_error(LOG_STORAGE, "storage.mysql is not mysql://user:password@host:port/database",
                  log_text("reason", why));
        return ERR_INVALID;
    }
    const char *files[] = {config->mysql_tls_ca, config->mysql_tls_certificate,
                           config->mysql_tls_key};
    for (size_t i = 0; i < ARRAY_COUNT(files) && config->mysql_tls != MYSQL_TLS_OFF; i++) {
        if (files[i] != NULL && access(files[i], R_OK) != 0) {
            log_error(LOG_STORAGE, "a file that TLS needs can't be read",
                      log_text("file", files[i]), log_text("error", strerror(errno)));
            return ERR_INVALID;
        }
    }
    size_t owner_len = config->owner != NULL ? strlen(config->owner) : 0;
    if (owner_len < 1 || owner_len > OWNER_BYTES_MAX) {
        log_error(LOG_STORAGE, "the id of this node must have 1 to 255 bytes");
        return ERR_INVALID;
    }
    return ERR_OK;
}

/* Of a server that may be another one each time. */
static enum err check_server(struct mysql_engine *mysql)
{
    if (mysql->commit.packet_bytes_max < PACKET_BYTES_MIN) {
        (void)snprintf(mysql->commit.trouble, sizeof mysql->commit.trouble,
                       "the server's max_allowed_packet is %llu, at least %u is needed",
                       (unsigned long long)mysql->commit.packet_bytes_max, PACKET_BYTES_MIN);
        return ERR_INVALID;
    }
    return mysql->settings.config->policy == COMMIT_STRICT
               ? mysql_schema_check_durability(&mysql->commit)
               : ERR_OK;
}

static enum err open_store(struct mysql_engine *mysql, struct mysql_strangers *strangers)
{
    enum err err = mysql_connection_open(&mysql->commit);
    if (err == ERR_OK) {
        err = check_server(mysql);
    }
    if (err == ERR_OK) {
        err = mysql_schema_prepare(&mysql->commit);
    }
    if (err == ERR_OK) {
        err = mysql_owner_enter(&mysql->owner, mysql->settings.config->owner, &mysql->commit,
                                clock_wall_ms());
    }
    if (err == ERR_OK) {
        err = mysql_owner_find_strangers(&mysql->owner, &mysql->commit, strangers);
    }
    return err;
}

/* Under a name that it never had, a node finds nothing of its own: then this says where it is. */
static void say_strangers(const struct mysql_strangers *strangers)
{
    if (strangers->sessions > 0) {
        log_notice(LOG_STORAGE, "the database holds sessions of other nodes, which are not read",
                   log_slice("owners", slice_text(strangers->owners)),
                   log_uint("sessions", strangers->sessions));
    }
}

static void close_store(struct mysql_engine *mysql)
{
    mysql_connection_close(&mysql->commit);
    mysql_connection_close(&mysql->other);
    mysql_batch_fini(&mysql->batch);
    mysql_tend_fini(&mysql->tend);
    mysql_url_fini(&mysql->settings.url);
    mysql_deadline_fini(&mysql->deadline);
    mem_free(mysql);
}

static enum err open_engine(const struct storage_config *config, struct storage_stats *stats,
                            struct engine **out)
{
    struct mysql_engine *mysql = mem_alloc(sizeof *mysql);
    char server[300] = "";
    struct mysql_strangers strangers = {.sessions = 0};
    mysql->engine.type = &engine_mysql;
    mysql_deadline_init(&mysql->deadline);
    mysql->settings =
        (struct mysql_settings){.deadline = &mysql->deadline, .config = config, .stats = stats};
    mysql_connection_init(&mysql->commit, &mysql->settings);
    mysql_connection_init(&mysql->other, &mysql->settings);
    enum err err = read_url(mysql, config);
    if (err != ERR_OK) {
        close_store(mysql);
        return err;
    }
    describe(mysql, server, sizeof server);
    err = open_store(mysql, &strangers);
    if (err != ERR_OK) {
        bool again = config->told && err == ERR_UNAVAILABLE;
        LOG_AT(LOG_STORAGE, again ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, "the database can't be used",
               log_slice("server", slice_text(server)), log_text("error", err_text(err)),
               log_slice("reason", slice_text(mysql->commit.trouble)));
        close_store(mysql);
        return err;
    }
    log_notice(LOG_STORAGE, "the database is open", log_slice("server", slice_text(server)),
               log_slice("owner", slice_text(config->owner)),
               log_uint("id_range", mysql->owner.range));
    say_strangers(&strangers);
    mysql->seen_ms = mysql->owner.last_seen_ms;
    *out = &mysql->engine;
    return ERR_OK;
}

/* ---- connecting again ------------------------------------------------------------------------ */

/* Makes the connection that commits anew, if it was lost. */
static enum err reconnect(struct mysql_engine *mysql)
{
    if (mysql->commit.client != NULL) {
        return ERR_OK;
    }
    enum err err = mysql_connection_open(&mysql->commit);
    if (err == ERR_OK) {
        err = check_server(mysql);
    }
    if (err == ERR_OK) {
        err = mysql_owner_enter_again(&mysql->owner, &mysql->commit);
    }
    if (err != ERR_OK) {
        mysql_connection_close(&mysql->commit);
        return err;
    }
    stat_add(mysql->settings.stats, STAT_RECONNECTS, 1);
    return ERR_OK;
}

/* ---- loading --------------------------------------------------------------------------------- */

static enum err load(struct engine *engine, const struct operation_sink *sink,
                     struct engine_loaded *loaded)
{
    struct mysql_engine *mysql = mysql_of(engine);
    *loaded = (struct engine_loaded){.last_seen_ms = mysql->owner.last_seen_ms,
                                     .next_id = mysql->owner.next_id};
    enum err err = mysql_connection_open(&mysql->other);
    if (err == ERR_OK) {
        err =
            mysql_load(&mysql->other, mysql->settings.config->owner, sink, &mysql->tend.leftovers);
    }
    if (err != ERR_OK) {
        say_trouble(mysql, err, &mysql->other);
        return err;
    }
    /* It was silent for as long as that took. */
    if (mysql_connection_run(&mysql->commit, "DO 1") != ERR_OK) {
        err = reconnect(mysql);
    }
    if (err != ERR_OK) {
        say_trouble(mysql, err, &mysql->commit);
    }
    return err;
}

/* ---- batches --------------------------------------------------------------------------------- */

static enum err commit(struct mysql_engine *mysql, struct batch *batch)
{
    enum err err = reconnect(mysql);
    if (err == ERR_OK) {
        err = mysql_owner_reserve(&mysql->owner, &mysql->commit, batch->next_id);
    }
    if (err != ERR_OK) {
        return err;
    }
    bool say_seen = batch->now_ms >= mysql->owner.last_seen_ms + LAST_SEEN_MS;
    const struct mysql_batch_frame frame = {
        .owner = mysql->settings.config->owner,
        .new_from = mysql->owner.next_id,
        .id_range = mysql->owner.range,
        .last_seen_ms = say_seen ? batch->now_ms : 0,
    };
    err = mysql_batch_apply(&mysql->batch, &mysql->commit, batch, &frame);
    if (err == ERR_OK && say_seen) {
        mysql->owner.last_seen_ms = batch->now_ms;
    }
    return err;
}

static enum err apply(struct engine *engine, struct batch *batch)
{
    struct mysql_engine *mysql = mysql_of(engine);
    enum err err = commit(mysql, batch);
    mysql->failing = err != ERR_OK;
    if (err == ERR_OK) {
        mysql->used = true;
        mysql->owner.next_id =
            batch->next_id > mysql->owner.next_id ? batch->next_id : mysql->owner.next_id;
        mysql->seen_ms = batch->now_ms > mysql->seen_ms ? batch->now_ms : mysql->seen_ms;
        return ERR_OK;
    }
    say_trouble(mysql, err, &mysql->commit);
    /* What was right when the store was opened may be so again: a password in the middle of being
     * changed, a database in the middle of being restored. */
    return err == ERR_INVALID ? ERR_UNAVAILABLE : err;
}

/* A commit is safe when the server has answered, if it is told to (mysql_schema.h). */
static enum err sync_engine(struct engine *engine)
{
    (void)engine;
    return ERR_OK;
}

/* ---- background ------------------------------------------------------------------------------ */

/* Of an idle node: keeps the connection, and with it the lock, and finds out early that it is lost.
 * False: it is. */
static bool give_life_sign(struct mysql_engine *mysql)
{
    if (mysql->commit.client != NULL && mysql->used) {
        mysql->used = false;
        return true;
    }
    if (mysql->commit.client != NULL && mysql_connection_run(&mysql->commit, "DO 1") == ERR_OK) {
        return true;
    }
    if (mysql->failing || clock_mono_ms() < mysql->find_ms) {
        return false;
    }
    mysql->find_ms = clock_mono_ms() + FIND_AGAIN_MS;
    return reconnect(mysql) == ERR_OK;
}

static bool tend(struct engine *engine, uint64_t now_ms)
{
    struct mysql_engine *mysql = mysql_of(engine);
    return give_life_sign(mysql) &&
           mysql_tend_portion(&mysql->tend, &mysql->other, mysql->settings.config->owner,
                              mysql->owner.range, now_ms);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void hurry(struct engine *engine, uint64_t mono_ms)
{
    mysql_deadline_set(&mysql_of(engine)->deadline, mono_ms);
}

static void close_engine(struct engine *engine)
{
    struct mysql_engine *mysql = mysql_of(engine);
    if (mysql->commit.client != NULL && mysql->seen_ms > mysql->owner.last_seen_ms) {
        struct sql sql = {.data = NULL};
        sql_add(&sql, "UPDATE id_ranges SET last_seen_ms=");
        sql_add_number(&sql, mysql->seen_ms);
        sql_add(&sql, " WHERE id_range=");
        sql_add_number(&sql, mysql->owner.range);
        /* One that fails leaves a moment up to a second earlier. */
        (void)!mysql_connection_run_sql(&mysql->commit, &sql);
        sql_fini(&sql);
    }
    close_store(mysql);
}

const struct engine_type engine_mysql = {
    .name = "mysql",
    .open = open_engine,
    .load = load,
    .apply = apply,
    .sync = sync_engine,
    .tend = tend,
    .hurry = hurry,
    .close = close_engine,
};
