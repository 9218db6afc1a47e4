/* The SQLite engine beyond the contract: its file, its tables, and whoever else looks at them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/macros.h"
#include "base/mem.h"
#include "tests/unit/storage/contract_support.h"

#define PATH_BYTES 200
#define PAYLOAD_BYTES 2000u

static struct store *opened(void **state)
{
    struct store *store = *state;
    store_open(store);
    return store;
}

/* ---- an operator's shell --------------------------------------------------------------------- */

static sqlite3 *shell_open(const struct store *store)
{
    sqlite3 *shell = NULL;
    assert_int_equal(sqlite3_open_v2(store->config.sqlite_path, &shell,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
                     SQLITE_OK);
    return shell;
}

static void shell_run(sqlite3 *shell, const char *sql)
{
    if (sqlite3_exec(shell, sql, NULL, NULL, NULL) != SQLITE_OK) {
        fail_msg("%s: %s", sql, sqlite3_errmsg(shell));
    }
}

static int64_t shell_number(sqlite3 *shell, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(shell, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

/* Opens the shell for one statement. */
static void run(const struct store *store, const char *sql)
{
    sqlite3 *shell = shell_open(store);
    shell_run(shell, sql);
    sqlite3_close(shell);
}

static int64_t number(const struct store *store, const char *sql)
{
    sqlite3 *shell = shell_open(store);
    int64_t found = shell_number(shell, sql);
    sqlite3_close(shell);
    return found;
}

/* ---- the file -------------------------------------------------------------------------------- */

static mode_t mode_of(const struct store *store, const char *suffix)
{
    char path[PATH_BYTES];
    struct stat info;
    (void)snprintf(path, sizeof(path), "%s%s", store->config.sqlite_path, suffix);
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 0777;
}

static void the_files_are_private(void **state)
{
    mode_t before = umask(0);
    struct store *store = opened(state);
    umask(before);
    const struct operation session = session_put(1, "one");
    store_apply(store, &session, 1);
    assert_int_equal(mode_of(store, ""), 0600);
    assert_int_equal(mode_of(store, "-wal"), 0600);
    assert_int_equal(mode_of(store, ".lock"), 0600);
}

static void a_missing_folder_is_an_error(void **state)
{
    struct store *store = *state;
    const char *path = store->config.sqlite_path;
    store->config.sqlite_path = "/tmp/pulse-there-is-no-such-folder/broker.db";
    assert_int_equal(store_try_open(store), ERR_IO);
    store->config.sqlite_path = path;
}

/* Also for another engine in the same process, and under another name. */
static void a_file_is_opened_once_under_all_its_names(void **state)
{
    struct store *store = opened(state);
    struct store other = {.type = store->type, .config = store->config};
    assert_int_equal(store_try_open(&other), ERR_LOCKED);
    char link[PATH_BYTES];
    (void)snprintf(link, sizeof(link), "%s/link", store->directory);
    assert_int_equal(symlink(store->config.sqlite_path, link), 0);
    other.config.sqlite_path = link;
    assert_int_equal(store_try_open(&other), ERR_LOCKED);
    const struct operation session = session_put(1, "one");
    store_apply(store, &session, 1); /* the first one was not disturbed */
    store_close(store);
    assert_int_equal(store_try_open(&other), ERR_OK);
}

/* The bytes of the file; end with mem_free. */
static uint8_t *read_file(const struct store *store, size_t *len)
{
    struct stat info;
    int fd = open(store->config.sqlite_path, O_RDONLY | O_CLOEXEC);
    assert_true(fd != -1 && fstat(fd, &info) == 0);
    *len = (size_t)info.st_size;
    uint8_t *bytes = mem_alloc(*len + 1);
    assert_int_equal(read(fd, bytes, *len), *len);
    (void)close(fd);
    return bytes;
}

static void assert_refused_and_untouched(struct store *store, enum err err)
{
    size_t before_len = 0;
    size_t after_len = 0;
    uint8_t *before = read_file(store, &before_len);
    assert_int_equal(store_try_open(store), err);
    uint8_t *after = read_file(store, &after_len);
    assert_int_equal(after_len, before_len);
    assert_memory_equal(after, before, before_len);
    mem_free(before);
    mem_free(after);
}

static void the_database_of_another_program_is_left_alone(void **state)
{
    struct store *store = *state;
    run(store, "CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')");
    assert_refused_and_untouched(store, ERR_INVALID);
    run(store, "PRAGMA application_id = 7; PRAGMA user_version = 1");
    assert_refused_and_untouched(store, ERR_INVALID);
}

static void a_file_that_is_no_database_is_left_alone(void **state)
{
    struct store *store = *state;
    FILE *file = fopen(store->config.sqlite_path, "w");
    assert_non_null(file);
    for (int i = 0; i < 1000; i++) {
        (void)fputs("this is no database\n", file);
    }
    assert_int_equal(fclose(file), 0);
    assert_refused_and_untouched(store, ERR_DAMAGED);
}

static void a_version_that_cant_be_is_damage(void **state)
{
    struct store *store = opened(state);
    store_close(store);
    run(store, "PRAGMA user_version = -3");
    assert_refused_and_untouched(store, ERR_DAMAGED);
}

static void a_step_of_a_migration_that_fails_is_undone(void **state)
{
    struct store *store = opened(state);
    store_close(store);
    run(store, "DROP TABLE meta; DROP TABLE sessions; PRAGMA user_version = 0");
    assert_int_equal(store_try_open(store), ERR_INVALID); /* there are subscriptions already */
    assert_int_equal(number(store, "PRAGMA user_version"), 0);
    assert_int_equal(number(store, "SELECT count(*) FROM sqlite_schema WHERE name = 'meta'"), 0);
}

static void a_store_needs_no_owner(void **state)
{
    struct store *store = *state;
    store->config.owner = NULL;
    store_open(store);
    const struct operation session = session_put(1, "one");
    store_apply(store, &session, 1);
    assert_int_equal(number(store, "SELECT count(*) FROM sessions WHERE owner = ''"), 1);
}

/* Messages enough for a file of many pages. */
static void fill(struct store *store, uint64_t count)
{
    struct slice payload = long_text("payload ", PAYLOAD_BYTES);
    const struct operation session = session_put(1, "one");
    store_apply(store, &session, 1);
    for (uint64_t i = 1; i <= count; i++) {
        struct operation batch[] = {message_put(i, "t", ""), queue_push(1, i, i)};
        batch[0].payload = payload;
        store_apply_all(store, batch);
    }
}

static void a_damaged_page_is_found_when_opening(void **state)
{
    struct store *store = opened(state);
    fill(store, 200);
    store_close(store);
    int fd = open(store->config.sqlite_path, O_RDWR | O_CLOEXEC);
    assert_true(fd != -1);
    char garbage[4096];
    memset(garbage, 0x5a, sizeof(garbage));
    assert_int_equal(pwrite(fd, garbage, sizeof(garbage), 40 * 4096), sizeof(garbage));
    (void)close(fd);
    assert_refused_and_untouched(store, ERR_DAMAGED);
}

static enum err ignore(void *context, const struct operation *operation)
{
    (void)context;
    (void)operation;
    return ERR_OK;
}

static enum err try_load(struct store *store)
{
    struct engine *engine = NULL;
    struct engine_loaded loaded;
    assert_int_equal(store->type->open(&store->config, &store->stats, &engine), ERR_OK);
    enum err err = store->type->load(engine, &(struct operation_sink){NULL, ignore}, &loaded);
    store->type->close(engine);
    return err;
}

/* An operator changed something by hand. */
static void a_row_that_cant_be_is_damage(void **state)
{
    static const char *const changes[][2] = {
        {"UPDATE queue SET qos = 3", "UPDATE queue SET qos = 1"},
        {"UPDATE queue SET retain = 2", "UPDATE queue SET retain = 0"},
        {"UPDATE queue SET subscription_ids = '7,x'", "UPDATE queue SET subscription_ids = NULL"},
        {"UPDATE queue SET subscription_ids = ','", "UPDATE queue SET subscription_ids = '7'"},
        {"UPDATE queue SET subscription_ids = '7,'", "UPDATE queue SET subscription_ids = '7,8'"},
        {"UPDATE queue SET subscription_ids = ',,,,'", "UPDATE queue SET subscription_ids = '7'"},
        {"UPDATE queue SET subscription_ids = '99999999999999999999999'",
         "UPDATE queue SET subscription_ids = '4294967295'"},
        {"UPDATE queue SET subscription_ids = '4294967296'",
         "UPDATE queue SET subscription_ids = NULL"},
        {"UPDATE messages SET topic = ''", "UPDATE messages SET topic = 't'"},
        {"UPDATE sessions SET expiry_s = -1", "UPDATE sessions SET expiry_s = 3600"},
        {"INSERT INTO inbound_qos2 VALUES (1, 65536)", "DELETE FROM inbound_qos2"},
    };
    struct store *store = opened(state);
    fill(store, 1);
    store_close(store);
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        run(store, changes[i][0]);
        assert_int_equal(try_load(store), ERR_DAMAGED);
        run(store, changes[i][1]);
        assert_int_equal(try_load(store), ERR_OK);
    }
    store_open(store);
}

/* The file alone: a log beside it would be taken for its own. */
static void write_file(const struct store *store, const uint8_t *bytes, size_t len)
{
    char log_name[PATH_BYTES];
    (void)snprintf(log_name, sizeof(log_name), "%s-wal", store->config.sqlite_path);
    (void)unlink(log_name); /* there may be none */
    FILE *file = fopen(store->config.sqlite_path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

/* Opens a damaged file and uses it as far as it goes. */
static void use_damaged(struct store *store)
{
    struct engine *engine = NULL;
    struct engine_loaded loaded;
    if (store->type->open(&store->config, &store->stats, &engine) != ERR_OK) {
        return;
    }
    if (store->type->load(engine, &(struct operation_sink){NULL, ignore}, &loaded) == ERR_OK) {
        const struct operation drop = session_drop(1);
        struct array_batch batch;
        array_batch_init(&batch, &drop, 1);
        (void)store->type->apply(engine, &batch.batch); /* may be possible, or not */
        for (int i = 0; i < 20 && store->type->tend(engine, store->now_ms); i++) {
        }
    }
    store->type->close(engine);
}

static void damage_anywhere_is_an_error_or_harmless(void **state)
{
    struct store *store = opened(state);
    uint64_t random = contract_seed();
    size_t len = 0;
    fill(store, 30);
    store_close(store);
    uint8_t *bytes = read_file(store, &len);
    uint8_t *damaged = mem_alloc(len);
    for (unsigned i = 0; i < 100; i++) {
        memcpy(damaged, bytes, len);
        for (uint64_t flips = 1 + contract_draw(&random, 20); flips > 0; flips--) {
            size_t at = contract_draw(&random, contract_draw(&random, 2) == 0 ? len : 4096);
            damaged[at] = (uint8_t)contract_draw(&random, 256);
        }
        write_file(store, damaged, contract_draw(&random, 8) == 0 ? len / 2 : len);
        use_damaged(store);
    }
    write_file(store, bytes, len);
    mem_free(bytes);
    mem_free(damaged);
    store_open(store);
}

/* ---- others who look on ---------------------------------------------------------------------- */

static void an_operator_reads_the_tables_while_the_broker_runs(void **state)
{
    struct store *store = opened(state);
    struct operation batch[] = {
        session_put(1, "gateway-7"), subscription_put(1, "a/+"), message_put(5, "a/b", "hello"),
        queue_push(1, 3, 5),         inbound_put(1, 9),          will_put(1, 5),
        retained_put("a/b", "kept")};
    static const uint32_t ids[] = {7, 12};
    batch[3].subscription_ids = ids;
    batch[3].subscription_id_count = ARRAY_COUNT(ids);
    store_apply_all(store, batch);
    assert_int_equal(number(store,
                            "SELECT count(*) FROM sessions JOIN queue ON session = sessions.id"
                            " JOIN messages ON messages.id = message"
                            " WHERE client_id = 'gateway-7' AND owner = 'node-1'"
                            " AND topic = 'a/b' AND payload = CAST('hello' AS BLOB)"
                            " AND expires_at_ms IS NULL AND subscription_ids = '7,12'"),
                     1);
    assert_int_equal(number(store, "SELECT count(*) FROM subscriptions JOIN inbound_qos2"
                                   " USING (session) JOIN wills USING (session)"
                                   " WHERE filter = 'a/+' AND packet_id = 9 AND delay_s = 5"),
                     1);
    assert_int_equal(number(store, "SELECT count(*) FROM retained_messages WHERE topic = 'a/b'"),
                     1);
    store_apply_all(store, batch); /* and the broker goes on */
    store_reopen(store);
}

static void an_operator_who_writes_holds_up_a_batch_for_a_while(void **state)
{
    struct store *store = opened(state);
    const struct operation session = session_put(1, "one");
    sqlite3 *shell = shell_open(store);
    shell_run(shell, "BEGIN IMMEDIATE; UPDATE sessions SET epoch = 9");
    struct array_batch batch;
    array_batch_init(&batch, &session, 1);
    assert_int_equal(store->type->apply(store->engine, &batch.batch), ERR_UNAVAILABLE);
    assert_non_null(strstr(store->engine->trouble, "locked"));
    shell_run(shell, "COMMIT");
    store_apply(store, &session, 1);
    sqlite3_close(shell);
    store_reopen(store);
}

static int64_t log_bytes(const struct store *store)
{
    char path[PATH_BYTES];
    struct stat info;
    (void)snprintf(path, sizeof(path), "%s-wal", store->config.sqlite_path);
    return stat(path, &info) == 0 ? info.st_size : 0;
}

/* It can't be emptied then, but soon after. */
static void an_operator_who_reads_holds_up_nothing_but_the_log(void **state)
{
    struct store *store = opened(state);
    fill(store, 10);
    sqlite3 *shell = shell_open(store);
    shell_run(shell, "BEGIN");
    assert_int_equal(shell_number(shell, "SELECT count(*) FROM queue"), 10);
    fill(store, 2000);
    store_tend(store);
    int64_t held_bytes = log_bytes(store);
    assert_int_equal(shell_number(shell, "SELECT count(*) FROM queue"), 10);
    shell_run(shell, "COMMIT");
    store_tend(store);
    fill(store, 1000);
    assert_true(log_bytes(store) <= held_bytes);
    sqlite3_close(shell);
    store_reopen(store);
}

static void a_session_that_is_put_again_keeps_its_epoch(void **state)
{
    struct store *store = opened(state);
    const struct operation session = session_put(1, "one");
    store_apply(store, &session, 1);
    run(store, "UPDATE sessions SET epoch = 4");
    store_apply(store, &session, 1);
    assert_int_equal(number(store, "SELECT epoch FROM sessions"), 4);
}

/* ---- tending --------------------------------------------------------------------------------- */

static void tending_keeps_the_log_short(void **state)
{
    struct store *store = opened(state);
    for (int i = 0; i < 20; i++) {
        fill(store, 200);
        store_tend(store);
        assert_true(log_bytes(store) < 20 * 1024 * 1024);
    }
    assert_in_range(stat_get(&store->stats, STAT_DISK_BYTES), 400 * 1024, 40 * 1024 * 1024);
}

static void tending_removes_expired_retained_messages(void **state)
{
    struct store *store = opened(state);
    struct operation batch[300];
    char topics[ARRAY_COUNT(batch)][12];
    for (size_t i = 0; i < ARRAY_COUNT(batch); i++) {
        (void)snprintf(topics[i], sizeof(topics[i]), "topic/%u", (unsigned)i);
        batch[i] = retained_put(topics[i], "p");
        batch[i].expires_at_ms = i < 250 ? store->now_ms + i : OPERATION_NEVER_MS;
    }
    store_apply_all(store, batch);
    store->now_ms += 99;
    store_tend(store);
    assert_int_equal(number(store, "SELECT count(*) FROM retained_messages"), 200);
    store->now_ms += 1000;
    store_tend(store);
    assert_int_equal(number(store, "SELECT count(*) FROM retained_messages"), 50);
}

/* Left by hand, or by an earlier version's mistake; and found when the store is opened. */
static void tending_removes_what_belongs_to_nobody(void **state)
{
    struct store *store = opened(state);
    fill(store, 500);
    store_close(store);
    run(store, "INSERT INTO queue SELECT 77, position, message, 1, 0, 0, 0, NULL FROM queue;"
               "INSERT INTO subscriptions VALUES (78, 'f', 1, 0, 0, 0, 0);"
               "INSERT INTO wills VALUES (79, 1, 0, NULL);"
               "INSERT INTO inbound_qos2 VALUES (80, 1);"
               "DELETE FROM queue WHERE session = 1 AND position > 100");
    struct operation rest = queue_pop(1, 101, 500);
    model_apply(&store->expected, &rest);
    store_open(store);
    store_tend(store);
    assert_int_equal(number(store, "SELECT count(*) FROM queue"), 100);
    assert_int_equal(number(store, "SELECT count(*) FROM messages"), 100);
    assert_int_equal(number(store, "SELECT count(*) FROM subscriptions"), 0);
    assert_int_equal(number(store, "SELECT count(*) FROM wills"), 0);
    assert_int_equal(number(store, "SELECT count(*) FROM inbound_qos2"), 0);
    store_reopen(store);
}

static void tending_gives_back_what_a_burst_took(void **state)
{
    struct store *store = opened(state);
    fill(store, 12000); /* 24 MB */
    store_reopen(store);
    struct operation *drops = mem_alloc_array(12000, sizeof(*drops));
    for (uint64_t i = 0; i < 12000; i++) {
        drops[i] = message_drop(i + 1);
    }
    const struct operation drop = session_drop(1);
    store_apply(store, &drop, 1);
    store_apply(store, drops, 12000);
    mem_free(drops);
    store_tend(store);
    store_reopen(store);
    /* 16 MiB are kept for the next one. */
    assert_in_range(stat_get(&store->stats, STAT_DISK_BYTES), 1, 18 * 1024 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_store(the_files_are_private),
        with_store(a_missing_folder_is_an_error),
        with_store(a_file_is_opened_once_under_all_its_names),
        with_store(the_database_of_another_program_is_left_alone),
        with_store(a_file_that_is_no_database_is_left_alone),
        with_store(a_version_that_cant_be_is_damage),
        with_store(a_step_of_a_migration_that_fails_is_undone),
        with_store(a_store_needs_no_owner),
        with_store(a_damaged_page_is_found_when_opening),
        with_store(a_row_that_cant_be_is_damage),
        with_store(damage_anywhere_is_an_error_or_harmless),
        with_store(an_operator_reads_the_tables_while_the_broker_runs),
        with_store(an_operator_who_writes_holds_up_a_batch_for_a_while),
        with_store(an_operator_who_reads_holds_up_nothing_but_the_log),
        with_store(a_session_that_is_put_again_keeps_its_epoch),
        with_store(tending_keeps_the_log_short),
        with_store(tending_removes_expired_retained_messages),
        with_store(tending_removes_what_belongs_to_nobody),
        with_store(tending_gives_back_what_a_burst_took),
    };
    if (!contract_choose("sqlite")) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    contract_end();
    return failed;
}
