/* The SQLite engine while somebody removes, moves or replaces its files. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"
#include "tests/unit/storage/contract_support.h"

#define PATH_BYTES 200

static struct store *opened(void **state)
{
    struct store *store = *state;
    store_open(store);
    return store;
}

static void path_beside(const struct store *store, const char *suffix, char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "%s%s", store->config.sqlite_path, suffix);
}

static void assert_locked_without_lock_file(struct store *store)
{
    char lock[PATH_BYTES];
    path_beside(store, ".lock", lock);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(store_try_open(store), ERR_LOCKED);
}

static void a_removed_lock_file_lets_no_second_broker_in(void **state)
{
    struct store *store = opened(state);
    store_close(store);
    store_while_open_elsewhere(store, assert_locked_without_lock_file);
}

static enum err try_session(struct store *store)
{
    const struct operation session = session_put(2, "two");
    struct array_batch batch;
    array_batch_init(&batch, &session, 1);
    batch.batch.now_ms = store->now_ms;
    batch.batch.next_id = store->next_id;
    return store->type->apply(store->engine, &batch.batch);
}

static void wait_for_the_next_look(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL);
}

/* Moves `<file><suffix>` away: nothing is taken until it is back. */
static void assert_missed(struct store *store, const char *suffix)
{
    char path[PATH_BYTES];
    char away[PATH_BYTES];
    path_beside(store, suffix, path);
    path_beside(store, ".away", away);
    assert_int_equal(rename(path, away), 0);
    wait_for_the_next_look();
    assert_int_equal(try_session(store), ERR_IO);
    assert_non_null(strstr(store->engine->trouble, "removed or replaced"));
    store->engine->trouble[0] = '\0';
    assert_false(store->type->tend(store->engine, store->now_ms));
    assert_non_null(strstr(store->engine->trouble, "removed or replaced"));
    FILE *other = fopen(path, "w"); /* one of the same name is not the same */
    assert_true(other != NULL && fclose(other) == 0);
    assert_int_equal(try_session(store), ERR_IO);
    assert_int_equal(rename(away, path), 0);
}

static void nothing_is_taken_while_a_file_is_not_in_its_place(void **state)
{
    struct store *store = opened(state);
    const struct operation sessions[] = {session_put(1, "one"), session_put(2, "two")};
    store_apply(store, sessions, 1);
    assert_missed(store, "");
    store_apply(store, sessions + 1, 1);
    store_tend(store);
    assert_missed(store, "-wal");
    store_apply(store, sessions, 2);
    store_reopen(store);
}

/* It is open still, and copied into the database. */
static void a_removed_log_is_not_lost_at_the_end(void **state)
{
    struct store *store = opened(state);
    char path[PATH_BYTES];
    const struct operation session = session_put(1, "one");
    store_apply(store, &session, 1);
    path_beside(store, "-wal", path);
    assert_int_equal(unlink(path), 0);
    store_reopen(store);
}

/* The one who has the name now is not to lose the log that he has under it. */
static void the_end_leaves_a_database_alone_that_took_the_place(void **state)
{
    struct store *store = opened(state);
    char log[PATH_BYTES];
    struct stat info;
    const struct operation session = session_put(1, "one");
    store_apply(store, &session, 1);
    path_beside(store, "-wal", log);
    const char *const paths[] = {store->config.sqlite_path, log};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        assert_int_equal(unlink(paths[i]), 0);
        FILE *other = fopen(paths[i], "w");
        assert_true(other != NULL && fclose(other) == 0);
    }
    store_close(store);
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        assert_int_equal(stat(paths[i], &info), 0);
        assert_int_equal(info.st_size, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_store(a_removed_lock_file_lets_no_second_broker_in),
        with_store(nothing_is_taken_while_a_file_is_not_in_its_place),
        with_store(a_removed_log_is_not_lost_at_the_end),
        with_store(the_end_leaves_a_database_alone_that_took_the_place),
    };
    if (!contract_choose("sqlite")) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    contract_end();
    return failed;
}
