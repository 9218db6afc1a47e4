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

/* An operator changed something by hand. */
static void a_row_that_cant_be_is_damage(void **state)
{
    static const char *const changes[] = {
        "UPDATE queue SET qos = 3",
        "UPDATE queue SET subscription_ids = '7,x'",
        "UPDATE queue SET subscription_ids = '4294967296'",
        "UPDATE queue SET retain = 2",
        "UPDATE messages SET topic = ''",
        "UPDATE sessions SET expiry_s = -1",
        "INSERT INTO inbound_qos2 VALUES (1, 65536)",
    };
    struct store *store = opened(state);
    fill(store, 1);
    store_close(store);
    size_t len = 0;
    uint8_t *bytes = read_file(store, &len);
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        run(store, changes[i]);
        struct engine *engine = NULL;
        struct engine_loaded loaded;
        unsigned left = 100;
        (void)left;
        assert_int_equal(store->type->open(&store->config, &store->stats, &engine), ERR_OK);
        struct model found = {0};
        assert_int_equal(store_load_into(store, engine, &found, &loaded), ERR_DAMAGED);
        model_fini(&found);
        store->type->close(engine);
        FILE *file = fopen(store->config.sqlite_path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(bytes, 1, len, file), len);
        assert_int_equal(fclose(file), 0);
    }
    mem_free(bytes);
    store_open(store);
}
