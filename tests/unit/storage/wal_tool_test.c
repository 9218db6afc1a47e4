#include "storage/wal_tool.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"
#include "storage/batch.h"
#include "storage/wal_engine_priv.h"

/* On the real file system, for the tool is used there. */
static char folder[64];
static char dir[80];
static char output[65536]; /* of the last run, stdout and stderr */
static struct storage_stats stats;

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/pulse-wal-tool-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(dir, sizeof(dir), "%s/wal", folder);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static enum err pass(void *context, const struct operation *operation)
{
    unsigned *count = context;
    *count += operation->type == OPERATION_RETAINED_PUT ? 1 : 0;
    return ERR_OK;
}

/* Opens the store; `*count` is how many retained messages it gave. */
static struct engine *open_store(enum storage_damage damage, unsigned *count)
{
    const struct storage_config config = {
        .engine = STORAGE_WAL, .wal_dir = dir, .wal_segment_bytes = 1 << 20, .wal_damage = damage};
    const struct operation_sink sink = {.context = count, .take = pass};
    struct engine *engine = NULL;
    struct engine_loaded loaded;
    *count = 0;
    if (engine_wal.open(&config, &stats, &engine) != ERR_OK) {
        return NULL;
    }
    if (engine_wal.load(engine, &sink, &loaded) != ERR_OK) {
        engine_wal.close(engine);
        return NULL;
    }
    return engine;
}

/* Makes a store with a session, `retained` retained messages, each in a batch of its own, a
 * compaction after half of them. */
static void make_store(unsigned retained)
{
    unsigned count;
    struct engine *engine = open_store(DAMAGE_REFUSE, &count);
    assert_non_null(engine);
    char topic[32];
    for (unsigned i = 0; i < retained; i++) {
        const struct operation operations[] = {
            {.type = OPERATION_SESSION_PUT, .session = 7, .client_id = slice_text("cli\"ent")},
            {.type = OPERATION_RETAINED_PUT,
             .topic = slice_of(topic, (size_t)snprintf(topic, sizeof(topic), "topic/%u", i)),
             .payload = slice_text("secret")},
        };
        struct array_batch batch;
        array_batch_init(&batch, operations, ARRAY_COUNT(operations));
        batch.batch.now_ms = 1700000000000;
        batch.batch.next_id = 100;
        assert_int_equal(engine_wal.apply(engine, &batch.batch), ERR_OK);
        assert_int_equal(engine_wal.sync(engine), ERR_OK);
        if (i == retained / 2) {
            assert_int_equal(wal_engine__compact(wal_engine__of(engine)), ERR_OK);
            wal_engine__end_compaction(wal_engine__of(engine), false);
        }
    }
    engine_wal.close(engine);
}

static void redirect(int fd, const char *path, int *saved)
{
    (void)fflush(fd == STDOUT_FILENO ? stdout : stderr);
    *saved = dup(fd);
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_true(file >= 0 && *saved >= 0);
    (void)dup2(file, fd);
    (void)close(file);
}

static void restore(int fd, int saved)
{
    (void)fflush(fd == STDOUT_FILENO ? stdout : stderr);
    (void)dup2(saved, fd);
    (void)close(saved);
}

/* Runs the tool with up to three arguments; NULL: no more. */
static int run(const char *what, const char *where, const char *option)
{
    char *argv[] = {"pulse wal", (char *)what, (char *)where, (char *)option, NULL};
    int argc = what == NULL ? 1 : where == NULL ? 2 : option == NULL ? 3 : 4;
    char path[96];
    int out, err;
    (void)snprintf(path, sizeof(path), "%s/output", folder);
    (void)unlink(path);
    redirect(STDOUT_FILENO, path, &out);
    redirect(STDERR_FILENO, path, &err);
    int code = wal_tool_main(argc, argv);
    restore(STDOUT_FILENO, out);
    restore(STDERR_FILENO, err);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    output[fread(output, 1, sizeof(output) - 1, file)] = '\0';
    (void)fclose(file);
    return code;
}

static void expect_words(const char *words)
{
    if (strstr(output, words) == NULL) {
        fail_msg("\"%s\" is not in the output:\n%s", words, output);
    }
}

/* Flips a bit of a file in the store. */
static void flip(const char *name, off_t at)
{
    char path[128];
    uint8_t byte;
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 8;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static void wrong_arguments_give_the_usage(void **state)
{
    (void)state;
    assert_int_equal(run(NULL, NULL, NULL), WAL_TOOL_USAGE);
    assert_int_equal(run("verify", NULL, NULL), WAL_TOOL_USAGE);
    assert_int_equal(run("verify", dir, "--records"), WAL_TOOL_USAGE);
    assert_int_equal(run("inspect", dir, "--else"), WAL_TOOL_USAGE);
    assert_int_equal(run("destroy", dir, NULL), WAL_TOOL_USAGE);
    assert_string_equal(output, wal_tool_help);
}

static void a_folder_that_is_not_there_cannot_be_read(void **state)
{
    (void)state;
    assert_int_equal(run("verify", dir, NULL), WAL_TOOL_DAMAGE);
    expect_words("can't read it: input/output error");
}

static void a_folder_without_a_wal_is_fine_and_stays_empty(void **state)
{
    (void)state;
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(run("verify", dir, NULL), WAL_TOOL_FINE);
    expect_words("no wal");
    assert_int_equal(rmdir(dir), 0);
}

static void a_good_store_is_fine(void **state)
{
    (void)state;
    make_store(10);
    assert_int_equal(run("verify", dir, NULL), WAL_TOOL_FINE);
    assert_string_equal(output, "fine\n");
    assert_int_equal(run("repair", dir, NULL), WAL_TOOL_FINE);
    assert_int_equal(run("inspect", dir, NULL), WAL_TOOL_FINE);
    expect_words("snapshot       1\n");
    expect_words("sessions       1\n");
    expect_words("retained       10\n");
    expect_words("next id        100\n");
    expect_words("last written   2023-11-14T22:13:20Z\n");
}

static void records_are_listed_without_what_clients_wrote_in_them(void **state)
{
    (void)state;
    make_store(3);
    assert_int_equal(run("inspect", dir, "--records"), WAL_TOOL_FINE);
    expect_words("session_put session=7 client_id=\"cli\\\"ent\" expiry_s=0");
    expect_words("retained_put topic=\"topic/2\" properties=0 bytes payload=6 bytes");
    expect_words("clock now_ms=1700000000000 next_id=100");
    assert_null(strstr(output, "secret"));
}

static void a_store_that_is_in_use_is_read_all_the_same_but_not_repaired(void **state)
{
    (void)state;
    unsigned count;
    make_store(5);
    flip("snapshot.0000000000000001", 120);
    struct engine *engine = open_store(DAMAGE_QUARANTINE, &count);
    assert_non_null(engine);
    assert_int_equal(run("verify", dir, NULL), WAL_TOOL_DAMAGE);
    expect_words("in use");
    assert_int_equal(run("repair", dir, NULL), WAL_TOOL_DAMAGE);
    expect_words("not repaired: in use by another process");
    assert_true(wal_engine__compact(wal_engine__of(engine)) == ERR_OK);
    wal_engine__end_compaction(wal_engine__of(engine), false);
    assert_int_equal(run("verify", dir, NULL), WAL_TOOL_FINE);
    assert_int_equal(run("repair", dir, NULL), WAL_TOOL_DAMAGE); /* also when all is well */
    engine_wal.close(engine);
}

/* verify finds it, and changes nothing; repair sets it aside; then all is fine. */
static void expect_repair(const char *words, unsigned left)
{
    unsigned count;
    assert_null(open_store(DAMAGE_REFUSE, &count));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(run("verify", dir, NULL), WAL_TOOL_DAMAGE);
        expect_words(words);
    }
    assert_int_equal(run("inspect", dir, NULL), WAL_TOOL_DAMAGE);
    expect_words(words);
    assert_int_equal(run("repair", dir, NULL), WAL_TOOL_DAMAGE);
    expect_words(words);
    expect_words("is in 1 new quarantine.* files\n");
    assert_int_equal(run("verify", dir, NULL), WAL_TOOL_FINE);
    struct engine *engine = open_store(DAMAGE_REFUSE, &count);
    assert_non_null(engine);
    engine_wal.close(engine);
    assert_int_equal(count, left);
}

static void a_damaged_log_is_repaired(void **state)
{
    (void)state;
    make_store(10);
    flip("log.0000000000000002", 8192 + 40);
    expect_repair("damage: segment 2, ", 9);
}

static void a_damaged_snapshot_is_repaired(void **state)
{
    (void)state;
    make_store(10);
    flip("snapshot.0000000000000001", 120);
    expect_repair("damage: snapshot 1, ", 4);
}

static void a_damaged_manifest_is_repaired(void **state)
{
    (void)state;
    make_store(10);
    flip("manifest", 20);
    expect_repair("damage: the manifest is damaged", 10);
}

static void a_lost_manifest_is_repaired_with_nothing_to_set_aside(void **state)
{
    (void)state;
    char path[128];
    make_store(10);
    (void)snprintf(path, sizeof(path), "%s/manifest", dir);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(run("repair", dir, NULL), WAL_TOOL_DAMAGE);
    expect_words("repaired: there was nothing to set aside\n");
    assert_int_equal(run("verify", dir, NULL), WAL_TOOL_FINE);
}

/* By hand, because it was taken for stale. */
static void a_store_whose_lock_file_was_removed_is_still_in_use(void **state)
{
    (void)state;
    unsigned count;
    char path[128];
    make_store(5);
    struct engine *engine = open_store(DAMAGE_QUARANTINE, &count);
    assert_non_null(engine);
    (void)snprintf(path, sizeof(path), "%s/lock", dir);
    assert_int_equal(unlink(path), 0);
    assert_null(open_store(DAMAGE_QUARANTINE, &count));
    assert_int_equal(run("verify", dir, NULL), WAL_TOOL_FINE);
    expect_words("in use");
    assert_int_equal(run("repair", dir, NULL), WAL_TOOL_DAMAGE);
    engine_wal.close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_arguments_give_the_usage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_that_is_not_there_cannot_be_read, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_folder_without_a_wal_is_fine_and_stays_empty, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_good_store_is_fine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(records_are_listed_without_what_clients_wrote_in_them,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            a_store_that_is_in_use_is_read_all_the_same_but_not_repaired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_log_is_repaired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_snapshot_is_repaired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_manifest_is_repaired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_lost_manifest_is_repaired_with_nothing_to_set_aside,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_store_whose_lock_file_was_removed_is_still_in_use, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
