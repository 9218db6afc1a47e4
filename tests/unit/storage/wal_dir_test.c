#include "storage/wal_dir.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"

static char folder[64];
static char dir[80];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof(folder), "/tmp/pulse-wal-dir-XXXXXX");
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

static void the_folder_is_made_for_its_owner_alone(void **state)
{
    (void)state;
    struct wal_lock lock;
    struct stat found;
    assert_int_equal(wal_dir_lock(&files_system, dir, &lock), ERR_OK);
    assert_int_equal(stat(dir, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0700);
    wal_dir_unlock(&files_system, &lock);
}

static void a_folder_without_one_above_it_is_an_error(void **state)
{
    (void)state;
    struct wal_lock lock;
    char deep[128];
    (void)snprintf(deep, sizeof(deep), "%s/more", dir);
    assert_int_equal(wal_dir_lock(&files_system, deep, &lock), ERR_IO);
    assert_int_equal(lock.folder, -1);
    assert_int_equal(lock.file, -1);
}

static void a_file_in_its_place_is_an_error(void **state)
{
    (void)state;
    struct wal_lock lock;
    FILE *file = fopen(dir, "w");
    assert_non_null(file);
    (void)fclose(file);
    assert_int_equal(wal_dir_lock(&files_system, dir, &lock), ERR_IO);
}

static void the_lock_is_had_once_in_a_process(void **state)
{
    (void)state;
    struct wal_lock lock, second;
    assert_int_equal(wal_dir_lock(&files_system, dir, &lock), ERR_OK);
    assert_int_equal(wal_dir_lock(&files_system, dir, &second), ERR_LOCKED);
    wal_dir_unlock(&files_system, &lock);
    assert_int_equal(wal_dir_lock(&files_system, dir, &second), ERR_OK);
    wal_dir_unlock(&files_system, &second);
}

static void the_lock_keeps_other_processes_out_and_ends_with_its_process(void **state)
{
    (void)state;
    int ready[2];
    struct wal_lock lock;
    char byte = 0;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        enum err err = wal_dir_lock(&files_system, dir, &lock);
        byte = err == ERR_OK ? 'y' : 'n';
        (void)!write(ready[1], &byte, 1);
        for (;;) {
            (void)pause(); /* until it is killed */
        }
    }
    assert_true(child > 0);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_int_equal(wal_dir_lock(&files_system, dir, &lock), ERR_LOCKED);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(wal_dir_lock(&files_system, dir, &lock), ERR_OK);
    wal_dir_unlock(&files_system, &lock);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

/* An old habit of people, who take it for stale. */
static void the_lock_holds_when_its_file_is_removed(void **state)
{
    (void)state;
    struct wal_lock lock, second;
    assert_false(wal_dir_in_use(&files_system, dir));
    assert_int_equal(wal_dir_lock(&files_system, dir, &lock), ERR_OK);
    assert_true(wal_dir_in_use(&files_system, dir));
    assert_true(wal_dir_remove(&files_system, dir, WAL_LOCK_NAME));
    assert_int_equal(wal_dir_lock(&files_system, dir, &second), ERR_LOCKED);
    assert_true(wal_dir_in_use(&files_system, dir));
    wal_dir_unlock(&files_system, &lock);
    assert_false(wal_dir_in_use(&files_system, dir));
    assert_int_equal(wal_dir_lock(&files_system, dir, &second), ERR_OK);
    wal_dir_unlock(&files_system, &second);
}

static void errors_of_a_full_disk_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(wal_dir_err(ENOSPC), ERR_FULL);
    assert_int_equal(wal_dir_err(EDQUOT), ERR_FULL);
    assert_int_equal(wal_dir_err(EIO), ERR_IO);
    char *path = wal_dir_path("a", "b");
    assert_string_equal(path, "a/b");
    mem_free(path);
    assert_true(wal_dir_remove(&files_system, folder, "nothing"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_folder_is_made_for_its_owner_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_folder_without_one_above_it_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_file_in_its_place_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_lock_is_had_once_in_a_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_lock_keeps_other_processes_out_and_ends_with_its_process, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_lock_holds_when_its_file_is_removed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_of_a_full_disk_are_told_apart, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
