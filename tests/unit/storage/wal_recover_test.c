#include "storage/wal_recover.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "storage/wal_snapshot.h"
#include "tests/unit/storage/faulty_files_support.h"

#define DIR "/wal"

static struct faulty_files disk;
static struct wal_manifest manifest;

static int set_up(void **state)
{
    (void)state;
    faulty_files_init(&disk);
    assert_int_equal(disk.files.mkdir(disk.files.context, DIR, 0700), 0);
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

static void make_file(const char *name)
{
    char path[64];
    (void)snprintf(path, sizeof(path), DIR "/%s", name);
    int fd = disk.files.open(disk.files.context, path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    (void)disk.files.close(disk.files.context, fd);
}

static void make_snapshot(uint64_t number)
{
    const uint64_t keep[] = {number, number + 1};
    const struct wal_snapshot_head head = {
        .number = number, .first = 10 * number, .keep = keep, .keep_count = 2};
    struct wal_snapshot_writer *writer;
    uint64_t bytes;
    assert_int_equal(wal_snapshot_create(&disk.files, DIR, &head, &writer), ERR_OK);
    assert_int_equal(wal_snapshot_add(writer, slice_text("record")), ERR_OK);
    assert_int_equal(wal_snapshot_finish(writer, &bytes), ERR_OK);
}

/* Changes a byte of a snapshot. */
static void damage(const char *name, size_t at)
{
    char path[64];
    size_t len;
    (void)snprintf(path, sizeof(path), DIR "/%s", name);
    uint8_t *data = faulty_files_data(&disk, path, &len);
    assert_true(data != NULL && at < len);
    data[at] ^= 1;
}

static void recover(void)
{
    struct wal_listing listing;
    assert_int_equal(wal_listing_init(&listing, &disk.files, DIR), ERR_OK);
    assert_int_equal(wal_recover_manifest(&disk.files, DIR, &listing, &manifest), ERR_OK);
    wal_listing_fini(&listing);
}

static void a_listing_knows_what_counts(void **state)
{
    (void)state;
    struct wal_listing listing;
    make_file("lock");
    make_file("quarantine.snapshot.0000000000000009");
    make_file("spare.1");
    assert_int_equal(wal_listing_init(&listing, &disk.files, DIR), ERR_OK);
    assert_true(wal_listing_empty(&listing));
    wal_listing_fini(&listing);
    make_file("log.0000000000000012");
    make_file("log.0000000000000007");
    make_file("manifest.tmp");
    make_file("snapshot.0000000000000003");
    make_file("snapshot.0000000000000002");
    assert_int_equal(wal_listing_init(&listing, &disk.files, DIR), ERR_OK);
    assert_false(wal_listing_empty(&listing));
    assert_int_equal(listing.lowest_segment, 7);
    assert_int_equal(listing.snapshot_count, 2);
    assert_int_equal(listing.snapshots[0], 2);
    assert_int_equal(listing.snapshots[1], 3);
    assert_true(listing.manifest_tmp && !listing.snapshot_tmp);
    wal_listing_fini(&listing);
}

static void the_latest_whole_snapshot_gives_the_manifest(void **state)
{
    (void)state;
    make_snapshot(1);
    make_snapshot(2);
    make_snapshot(3);
    damage("snapshot.0000000000000003", 100);
    recover();
    assert_int_equal(manifest.snapshot, 2);
    assert_int_equal(manifest.first, 20);
    assert_int_equal(manifest.keep_count, 2);
    assert_int_equal(manifest.keep[0], 2);
    assert_int_equal(manifest.keep[1], 3);
}

static void a_damaged_snapshot_is_better_than_none(void **state)
{
    (void)state;
    make_snapshot(4);
    make_snapshot(5);
    damage("snapshot.0000000000000004", 40); /* its head */
    damage("snapshot.0000000000000005", 120);
    recover();
    assert_int_equal(manifest.snapshot, 5);
    assert_int_equal(manifest.first, 50);
}

static void without_a_snapshot_the_whole_log_counts(void **state)
{
    (void)state;
    make_snapshot(4);
    damage("snapshot.0000000000000004", 40);
    make_file("log.0000000000000006");
    make_file("log.0000000000000008");
    recover();
    assert_int_equal(manifest.snapshot, 0);
    assert_int_equal(manifest.first, 6);
    assert_int_equal(manifest.keep_count, 0);
}

static void tidying_deletes_what_a_crash_left_and_nothing_else(void **state)
{
    (void)state;
    struct wal_listing listing;
    make_snapshot(1);
    make_snapshot(2);
    make_snapshot(3);
    make_file("manifest");
    make_file("manifest.tmp");
    make_file("snapshot.tmp");
    make_file("quarantine.manifest");
    manifest.snapshot = 2;
    assert_int_equal(wal_listing_init(&listing, &disk.files, DIR), ERR_OK);
    wal_recover_tidy(&disk.files, DIR, &listing, &manifest);
    wal_listing_fini(&listing);
    assert_int_equal(faulty_files_count(&disk, DIR "/snapshot"), 1);
    assert_int_equal(faulty_files_count(&disk, DIR "/snapshot.0000000000000002"), 1);
    assert_int_equal(faulty_files_count(&disk, DIR "/manifest"), 1);
    assert_int_equal(faulty_files_count(&disk, DIR "/quarantine"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_listing_knows_what_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_latest_whole_snapshot_gives_the_manifest, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_snapshot_is_better_than_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_snapshot_the_whole_log_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tidying_deletes_what_a_crash_left_and_nothing_else, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
