/*
 * The SQLite engine: one transaction per batch in one file that an operator can read with SQLite's
 * shell, also while the broker runs.
 *
 * Checkpoints (copying SQLite's log into the database file, so that the log begins anew) happen in
 * tend, not in a commit that publishers wait for, and take some milliseconds each.
 */
#include "storage/engine.h"

#include "base/log.h"
#include "base/mem.h"
#include "storage/sqlite_db.h"
#include "storage/sqlite_load.h"
#include "storage/sqlite_schema.h"
#include "storage/sqlite_sweep.h"
#include "storage/sqlite_write.h"

#define LOG_PAGES 2000u /* 8 MiB, that a checkpoint is worth while for */

/* `meta` is written this seldom, as a page of its own is part of each commit that writes it. */
#define SEEN_STEP_MS 1000u
#define IDS_STEP 65536u

/* Before a commit, the names of the files are looked at this seldom. */
#define LOOK_MS 100u

struct sqlite_meta {
    uint64_t last_seen_ms;
    uint64_t next_id;
};

/* Invariant: there are statements unless db.broken. */
struct sqlite_engine {
    struct engine engine;
    struct sqlite_db db;
    struct sqlite_write *write;
    struct sqlite_sweep *sweep;
    struct sqlite_unused unused; /* found while loading, to be removed */
    const char *owner;
    bool tend_failed;
    struct sqlite_meta saved; /* what is in the table, or less */
    uint64_t seen_ms;         /* the latest moment that a batch named */
};

static struct sqlite_engine *own(struct engine *engine)
{
    return container_of(engine, struct sqlite_engine, engine);
}

/* ---- open and close -------------------------------------------------------------------------- */

static enum err prepare(struct sqlite_engine *engine)
{
    enum err err = sqlite_write_open(&engine->db, engine->owner, &engine->write);
    if (err == ERR_OK) {
        err = sqlite_sweep_open(&engine->db, &engine->unused, &engine->sweep);
    }
    return err;
}

static void end_statements(struct sqlite_engine *engine)
{
    sqlite_write_close(engine->write);
    engine->write = NULL;
    sqlite_sweep_close(engine->sweep);
    engine->sweep = NULL;
}

static enum err sqlite_engine_open(const struct storage_config *config, struct storage_stats *stats,
                                   struct engine **out)
{
    struct sqlite_engine *engine = mem_alloc(sizeof(*engine));
    *engine = (struct sqlite_engine){.engine = {.type = &engine_sqlite}, .owner = config->owner};
    enum err err = sqlite_db_open(&engine->db, config, stats);
    if (err != ERR_OK) {
        mem_free(engine);
        return err;
    }
    err = sqlite_schema_check(&engine->db);
    if (err == ERR_OK) {
        err = sqlite_db_set_up(&engine->db);
    }
    if (err == ERR_OK) {
        err = sqlite_schema_migrate(&engine->db);
    }
    if (err == ERR_OK) {
        err = prepare(engine);
    }
    if (err == ERR_OK) {
        /* What an earlier process wrote before it was killed is to be safe now. */
        engine->db.unsynced = true;
        err = sqlite_db_sync(&engine->db);
    }
    if (err != ERR_OK) {
        end_statements(engine);
        sqlite_db_abandon(&engine->db);
        mem_free(engine);
        return err;
    }
    sqlite_db_measure(&engine->db);
    engine->db.engine = &engine->engine;
    *out = &engine->engine;
    return ERR_OK;
}

/* Before anything is done: sees that the files are still ours, and opens again what broke. */
static enum err mend(struct sqlite_engine *engine, uint64_t look_age_ms)
{
    enum err err = sqlite_db_look(&engine->db, engine->db.broken ? 0 : look_age_ms);
    if (err != ERR_OK || !engine->db.broken) {
        return err;
    }
    end_statements(engine);
    err = sqlite_db_reopen(&engine->db);
    if (err == ERR_OK) {
        err = prepare(engine);
    }
    if (err != ERR_OK) {
        end_statements(engine);
        engine->db.broken = true;
    }
    return err;
}

static enum err sqlite_engine_load(struct engine *base, const struct operation_sink *sink,
                                   struct engine_loaded *loaded)
{
    struct sqlite_engine *engine = own(base);
    engine->db.engine = NULL; /* nobody else would say what is wrong */
    enum err err = sqlite_load(&engine->db, sink, loaded, &engine->unused);
    engine->db.engine = base;
    if (err == ERR_OK) {
        engine->seen_ms = loaded->last_seen_ms;
        engine->saved =
            (struct sqlite_meta){.last_seen_ms = loaded->last_seen_ms, .next_id = loaded->next_id};
    }
    return err;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* What `meta` has to know before this batch may be committed. Numbers that were passed over for a
 * crash are never used: there are enough. */
static enum err write_meta(struct sqlite_engine *engine, const struct batch *batch,
                           struct sqlite_meta *meta)
{
    enum err err = ERR_OK;
    if (batch->now_ms >= meta->last_seen_ms + SEEN_STEP_MS) {
        meta->last_seen_ms = batch->now_ms;
        err = sqlite_write_meta(engine->write, SQLITE_META_LAST_SEEN, meta->last_seen_ms);
    }
    if (err == ERR_OK && batch->next_id > meta->next_id) {
        meta->next_id =
            batch->next_id > INT64_MAX - IDS_STEP ? INT64_MAX : batch->next_id + IDS_STEP;
        err = sqlite_write_meta(engine->write, SQLITE_META_NEXT_ID, meta->next_id);
    }
    return err;
}

static enum err write_batch(struct sqlite_engine *engine, struct batch *batch)
{
    struct sqlite_write *write = engine->write;
    struct sqlite_meta meta = engine->saved;
    struct operation operation;
    batch->rewind(batch);
    enum err err = sqlite_write_begin(write);
    while (err == ERR_OK && batch->next(batch, &operation)) {
        err = sqlite_write_operation(write, &operation);
    }
    if (err == ERR_OK) {
        err = write_meta(engine, batch, &meta);
    }
    if (err == ERR_OK) {
        err = sqlite_write_commit(write);
    }
    if (err != ERR_OK) {
        sqlite_write_rollback(write);
        return err;
    }
    engine->saved = meta;
    engine->seen_ms = batch->now_ms > engine->seen_ms ? batch->now_ms : engine->seen_ms;
    return ERR_OK;
}

static enum err sqlite_engine_apply(struct engine *base, struct batch *batch)
{
    struct sqlite_engine *engine = own(base);
    enum err err = mend(engine, LOOK_MS);
    return err == ERR_OK ? write_batch(engine, batch) : err;
}

static enum err sqlite_engine_sync(struct engine *base)
{
    struct sqlite_engine *engine = own(base);
    enum err err = mend(engine, LOOK_MS);
    return err == ERR_OK ? sqlite_db_sync(&engine->db) : err;
}

static enum err tend(struct sqlite_engine *engine, uint64_t now_ms, bool *more)
{
    enum err err = mend(engine, 0);
    if (err == ERR_OK) {
        err = sqlite_sweep_portion(engine->sweep, engine->write, now_ms, more);
    }
    if (err == ERR_OK && engine->db.log_pages - engine->db.log_copied >= LOG_PAGES) {
        err = sqlite_db_checkpoint(&engine->db);
    }
    sqlite_db_measure(&engine->db);
    return err;
}

/* An error here holds up nobody, and says so once; what can't be written shows in apply. */
static bool sqlite_engine_tend(struct engine *base, uint64_t now_ms)
{
    struct sqlite_engine *engine = own(base);
    bool more = false;
    enum err err = tend(engine, now_ms, &more);
    if (err != ERR_OK && !engine->tend_failed) {
        LOG_AT(LOG_STORAGE, engine->db.gone ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
               "the database can't be tended now", log_text("error", base->trouble));
    }
    engine->tend_failed = err != ERR_OK;
    return err == ERR_OK && more;
}

static void sqlite_engine_close(struct engine *base)
{
    struct sqlite_engine *engine = own(base);
    if (!engine->db.broken && engine->seen_ms > engine->saved.last_seen_ms &&
        sqlite_write_meta(engine->write, SQLITE_META_LAST_SEEN, engine->seen_ms) != ERR_OK) {
        log_notice(LOG_STORAGE, "the time of closing was not noted");
    }
    end_statements(engine);
    sqlite_db_close(&engine->db);
    mem_free(engine->unused.ids);
    mem_free(engine);
}

const struct engine_type engine_sqlite = {
    .name = "sqlite",
    .open = sqlite_engine_open,
    .load = sqlite_engine_load,
    .apply = sqlite_engine_apply,
    .sync = sqlite_engine_sync,
    .tend = sqlite_engine_tend,
    .close = sqlite_engine_close,
};
