#include "storage/wal_manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "tests/unit/storage/faulty_files_support.h"

static struct faulty_files disk;
static struct wal_manifest manifest;

static int set_up(void **state)
{
    (void)state;
    faulty_files_init(&disk);
    assert_int_equal(disk.files.mkdir(disk.files.context, "/wal", 0700), 0);
    assert_int_equal(disk.files.sync_directory(disk.files.context, "/"), 0);
    wal_manifest_init(&manifest);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wal_manifest_fini(&manifest);
    faulty_files_fini(&disk);
    return 0;
}

static void keep(uint64_t segment)
{
    assert_int_equal(wal_manifest_keep(&manifest, segment), ERR_OK);
}

/* Whether `body`, with its right CRC behind it, is taken. */
static enum err parse(const char *body)
{
    struct text text = {0};
    struct wal_manifest parsed;
    wal_manifest_init(&parsed);
    text_add(&text, body);
    text_printf(&text, "crc %08x\n", crc32c(0, body, strlen(body)));
    enum err err = wal_manifest_parse(slice_of(text.data, text.len), &parsed);
    text_fini(&text);
    wal_manifest_fini(&parsed);
    return err;
}

static void a_manifest_comes_back(void **state)
{
    (void)state;
    struct text text = {0};
    struct wal_manifest parsed;
    wal_manifest_init(&parsed);
    manifest.snapshot = 7;
    manifest.first = UINT64_MAX;
    keep(1);
    keep(3);
    keep(UINT64_MAX - 1);
    wal_manifest_print(&manifest, &text);
    assert_int_equal(wal_manifest_parse(slice_of(text.data, text.len), &parsed), ERR_OK);
    assert_int_equal(parsed.snapshot, 7);
    assert_true(parsed.first == UINT64_MAX);
    assert_int_equal(parsed.keep_count, 3);
    assert_memory_equal(parsed.keep, manifest.keep, 3 * sizeof(uint64_t));
    assert_true(wal_manifest_keeps(&parsed, 3) && wal_manifest_keeps(&parsed, 1));
    assert_false(wal_manifest_keeps(&parsed, 2) || wal_manifest_keeps(&parsed, 0));
    wal_manifest_fini(&parsed);
    text_fini(&text);
}

static void every_changed_byte_is_noticed(void **state)
{
    (void)state;
    struct text text = {0};
    manifest.snapshot = 2;
    manifest.first = 5;
    keep(4);
    wal_manifest_print(&manifest, &text);
    for (size_t i = 0; i < text.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            text.data[i] = (char)(text.data[i] ^ (1 << bit));
            enum err err = wal_manifest_parse(slice_of(text.data, text.len), &manifest);
            assert_true(err == ERR_DAMAGED || err == ERR_VERSION);
            text.data[i] = (char)(text.data[i] ^ (1 << bit));
        }
    }
    for (size_t len = 0; len < text.len; len++) {
        assert_int_equal(wal_manifest_parse(slice_of(text.data, len), &manifest), ERR_DAMAGED);
    }
    assert_int_equal(manifest.first, 5); /* untouched */
    text_fini(&text);
}

static void lines_that_make_no_sense_are_damage_though_the_crc_is_right(void **state)
{
    (void)state;
    assert_int_equal(parse("pulse-wal 1\nsnapshot 0\nfirst 1\n"), ERR_OK);
    assert_int_equal(parse("pulse-wal 1\nsnapshot 0\nfirst 9\nkeep 2\nkeep 3\n"), ERR_OK);
    assert_int_equal(parse("pulse-wal 1\nsnapshot 0\nfirst 0\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 1\nsnapshot 0\nfirst 01\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 1\nsnapshot 4294967296\nfirst 1\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 1\nsnapshot 0\nfirst 18446744073709551616\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 1\nsnapshot 0\nfirst 9\nkeep 3\nkeep 3\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 1\nsnapshot 0\nfirst 9\nkeep 9\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 1\nsnapshot 0\nfirst 9\nkeep 0\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 1\nsnapshot 0\nfirst 9\nelse 2\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 1\nfirst 9\nsnapshot 0\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 1\nsnapshot \nfirst 9\n"), ERR_DAMAGED);
    assert_int_equal(parse("pulse-wal 0\nsnapshot 0\nfirst 9\n"), ERR_DAMAGED);
    assert_int_equal(parse(""), ERR_DAMAGED);
}

static void a_newer_version_is_told_apart(void **state)
{
    (void)state;
    assert_int_equal(parse("pulse-wal 2\nsomething new\n"), ERR_VERSION);
    struct slice other = slice_text("pulse-wal 1000\n{\"all\": \"different\"}\n");
    assert_int_equal(wal_manifest_parse(other, &manifest), ERR_VERSION);
}

static void a_missing_file_is_not_an_error(void **state)
{
    (void)state;
    bool found = true;
    assert_int_equal(wal_manifest_read(&disk.files, "/wal", &manifest, &found), ERR_OK);
    assert_false(found);
}

/* Writes `manifest` while call number `at` fails or is the last. True: it was reached. */
static bool interrupted(unsigned at, bool crash, enum faulty_loss loss)
{
    if (crash) {
        faulty_files_freeze(&disk, at);
    } else {
        faulty_files_fail(&disk, at, 1, EIO, true);
    }
    enum err err = wal_manifest_write(&disk.files, "/wal", &manifest);
    faulty_files_restart(&disk, loss, at);
    return err != ERR_OK;
}

static void the_file_is_the_old_one_or_the_new_one_after_a_crash_at_any_call(void **state)
{
    (void)state;
    for (unsigned variant = 0; variant < 6; variant++) {
        bool reached = true;
        for (unsigned at = 1; reached; at++) {
            manifest.first = 10;
            assert_int_equal(wal_manifest_write(&disk.files, "/wal", &manifest), ERR_OK);
            manifest.first = 20;
            reached = interrupted(at, variant < 3, (enum faulty_loss)(variant % 3));
            struct wal_manifest there;
            bool found = false;
            wal_manifest_init(&there);
            assert_int_equal(wal_manifest_read(&disk.files, "/wal", &there, &found), ERR_OK);
            assert_true(found && (there.first == 10 || there.first == 20));
            assert_true(reached || there.first == 20);
            wal_manifest_fini(&there);
            assert_in_range(at, 1, 50);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_manifest_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_changed_byte_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lines_that_make_no_sense_are_damage_though_the_crc_is_right,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_newer_version_is_told_apart, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_file_is_not_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_file_is_the_old_one_or_the_new_one_after_a_crash_at_any_call, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
