#include "storage/wal_engine_priv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/storage/wal_store_support.h"

/* What a start with damage tells, and what it keeps of what can't be used any more. */

#define MESSAGES 200u
#define BODY_BYTES 1000u

static struct wal_store store;
static int log_fd;
static char lines[1 << 16];

static int set_up(void **state)
{
    (void)state;
    log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(log_fd >= 0);
    log_init(log_fd, LOG_FORMAT_TEXT);
    wal_store_init(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    wal_store_fini(&store);
    log_init(STDERR_FILENO, LOG_FORMAT_TEXT);
    (void)close(log_fd);
    return 0;
}

static void expect_told(const char *words)
{
    ssize_t len = pread(log_fd, lines, sizeof(lines) - 1, 0);
    assert_true(len >= 0);
    lines[len] = '\0';
    if (strstr(lines, words) == NULL) {
        fail_msg("\"%s\" is not in the log:\n%s", words, lines);
    }
}

static void expect_silence(const char *words)
{
    ssize_t len = pread(log_fd, lines, sizeof(lines) - 1, 0);
    assert_true(len >= 0);
    lines[len] = '\0';
    if (strstr(lines, words) != NULL) {
        fail_msg("\"%s\" is in the log:\n%s", words, lines);
    }
}

/* The number behind `words`, which must be there. */
static unsigned told_number(const char *words)
{
    unsigned number = 0;
    expect_told(words);
    assert_int_equal(sscanf(strstr(lines, words) + strlen(words), "%u", &number), 1);
    return number;
}

/* A session in the first segment, and a queue that fills the next ones. */
static void fill(void)
{
    static uint8_t payload[BODY_BYTES];
    const struct operation session = {
        .type = OPERATION_SESSION_PUT, .session = 1, .client_id = slice_text("meter-7")};
    assert_int_equal(wal_store_apply(&store, &session, 1), ERR_OK);
    for (uint64_t id = 2; id < 2 + MESSAGES; id++) {
        const struct operation operations[] = {
            {.type = OPERATION_MESSAGE_PUT,
             .message = id,
             .topic = slice_text("t"),
             .payload = slice_of(payload, sizeof(payload))},
            {.type = OPERATION_QUEUE_PUSH, .session = 1, .position = id, .message = id},
        };
        store.next_id = id + 1;
        assert_int_equal(wal_store_apply(&store, operations, 2), ERR_OK);
    }
    assert_int_equal(engine_wal.sync(store.engine), ERR_OK);
}

/* In the record of the session's frame, which is the first; its name stays readable. */
static void spoil_session(void)
{
    faulty_files_spoil(&store.disk, wal_store_path("log.0000000000000001"), 8192 + 5);
}

static void what_damaged_bytes_held_is_told(void **state)
{
    (void)state;
    fill();
    wal_store_close(&store);
    spoil_session();
    assert_int_equal(wal_store_open(&store), ERR_OK);
    expect_told("damage in the wal: what stood there is lost");
    expect_told("held=\"1 session_put\" client_ids=\"meter-7\" set_aside=\"/wal/quarantine.");
}

static void refusing_says_that_nothing_is_changed(void **state)
{
    (void)state;
    fill();
    wal_store_close(&store);
    spoil_session();
    store.config.wal_damage = DAMAGE_REFUSE;
    assert_int_equal(wal_store_open(&store), ERR_DAMAGED);
    expect_told("damage in the wal: nothing is changed");
    expect_told("held=\"1 session_put\" client_ids=\"meter-7\" set_aside=\"no\"");
    expect_silence("lost");
    assert_int_equal(wal_store_count(&store, "quarantine"), 0);
}

static void what_a_damaged_snapshot_held_is_told(void **state)
{
    (void)state;
    fill();
    assert_true(wal_store_compact(&store));
    wal_store_close(&store);
    size_t len;
    const char *path = wal_store_path("snapshot.0000000000000001");
    const uint8_t *data = faulty_files_data(&store.disk, path, &len);
    const uint8_t *name = memmem(data, len, "meter-7", 7);
    assert_non_null(name);
    faulty_files_spoil(&store.disk, path, (size_t)(name - data) + 6);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    expect_told("held=\"1 session_put, 200 message_put, 200 queue_push\" client_ids=\"meter-");
    expect_told("set_aside=\"quarantine.snapshot.0000000000000001, after the next compaction\"");
}

/* The session is gone with the first segment, so its queue in the others means nothing. */
static void lose_session(void)
{
    fill();
    assert_true(wal_store_count(&store, "log.") > 3);
    wal_store_close(&store);
    faulty_files_remove(&store.disk, wal_store_path("log.0000000000000001"));
}

static void what_is_ignored_because_of_damage_is_told_and_kept(void **state)
{
    (void)state;
    lose_session();
    size_t segments = wal_store_count(&store, "log.");
    assert_int_equal(wal_store_open(&store), ERR_OK);
    /* all batches are missing or told of as ignored: one has the session, each other one an entry
     */
    unsigned missing = told_number("batches_missing=");
    assert_in_range(missing, 2, MESSAGES);
    assert_int_equal(missing - 1 + told_number("of_unknown_sessions=\""), MESSAGES);
    expect_told("a segment of the wal is missing dir=\"/wal\" number=1 batches_missing=");
    expect_told("parts of the wal are ignored");
    expect_told(" queue_push\" references_to_lost_messages=0 messages_without_reference=1");
    assert_true(wal_store_compact(&store));
    assert_true(wal_store_count(&store, "quarantine.log.") >= segments);
    assert_int_equal(wal_store_count(&store, "quarantine.pending"), 0);
    size_t kept = wal_store_count(&store, "quarantine.log.");
    assert_true(wal_store_compact(&store)); /* this one has nothing to keep */
    assert_int_equal(wal_store_count(&store, "quarantine.log."), kept);
}

static void the_batches_of_a_missing_segment_are_counted(void **state)
{
    (void)state;
    unsigned left = 0;
    fill();
    wal_store_close(&store);
    faulty_files_remove(&store.disk, wal_store_path("log.0000000000000002"));
    assert_int_equal(wal_store_open(&store), ERR_OK);
    for (const char *at = store.content.data; (at = strstr(at, "queue_push")) != NULL; at++) {
        left++;
    }
    assert_in_range(left, 1, MESSAGES - 1);
    expect_told("a segment of the wal is missing dir=\"/wal\" number=2 batches_missing=");
    assert_int_equal(told_number("batches_missing="), MESSAGES - left);
    expect_silence("ignored");
}

/* The snapshot is sound, and what came after it can't be understood without it. */
static void the_old_snapshot_is_kept_as_well(void **state)
{
    (void)state;
    char name[64];
    assert_true(wal_store_compact(&store));
    (void)snprintf(name, sizeof(name), "log.%016u",
                   (unsigned)wal_store_engine(&store)->manifest.first);
    fill();
    wal_store_close(&store);
    faulty_files_spoil(&store.disk, wal_store_path(name), 8192 + 5);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    expect_told("of_unknown_sessions=\"200 queue_push\"");
    assert_true(wal_store_compact(&store));
    assert_int_equal(wal_store_count(&store, "quarantine.snapshot.0000000000000001"), 1);
    assert_int_equal(wal_store_count(&store, "snapshot.0000000000000001"), 0);
    assert_int_equal(wal_store_count(&store, "snapshot.0000000000000002"), 1);
}

/* Nothing depends on what was damaged: the log needn't be kept twice. */
static void nothing_is_kept_when_nothing_is_ignored(void **state)
{
    (void)state;
    const struct operation alone = {
        .type = OPERATION_SESSION_PUT, .session = 900, .client_id = slice_text("alone")};
    assert_int_equal(wal_store_apply(&store, &alone, 1), ERR_OK);
    fill();
    wal_store_close(&store);
    spoil_session();
    assert_int_equal(wal_store_open(&store), ERR_OK);
    expect_told("client_ids=\"alone\"");
    expect_silence("ignored");
    assert_true(wal_store_compact(&store));
    assert_int_equal(wal_store_count(&store, "quarantine.log."), 0);
    assert_int_equal(wal_store_count(&store, "quarantine."), 1);
}

static void begin_again(void)
{
    wal_store_fini(&store);
    wal_store_init(&store);
    assert_int_equal(wal_store_open(&store), ERR_OK);
    lose_session();
    assert_int_equal(wal_store_open(&store), ERR_OK);
}

static void expect_kept(void)
{
    if (wal_store_engine(&store)->salvage) {
        assert_true(wal_store_compact(&store));
    }
    (void)engine_wal.tend(store.engine, 1);
    assert_false(wal_store_engine(&store)->keep_old);
    assert_false(wal_store_engine(&store)->drop_due);
    assert_int_equal(wal_store_count(&store, "quarantine.log.0000000000000002"), 1);
    assert_int_equal(wal_store_count(&store, "quarantine.log.0000000000000003"), 1);
    assert_int_equal(wal_store_count(&store, "quarantine.pending"), 0);
}

static void a_crash_while_they_are_kept_loses_none(void **state)
{
    (void)state;
    for (unsigned loss = LOSS_NONE; loss <= LOSS_SOME; loss++) {
        bool reached = true;
        for (unsigned at = 1; reached; at++) {
            begin_again();
            wal_store_freeze(&store, at);
            (void)wal_store_compact(&store);
            reached = store.disk.calls >= store.disk.frozen_at;
            wal_store_close(&store);
            faulty_files_restart(&store.disk, (enum faulty_loss)loss, at);
            assert_int_equal(wal_store_open(&store), ERR_OK);
            expect_kept();
            assert_in_range(at, 1, 1000);
        }
    }
}

static void an_error_while_they_are_kept_loses_none(void **state)
{
    (void)state;
    bool reached = true;
    for (unsigned at = 1; reached; at++) {
        begin_again();
        wal_store_fail(&store, at, 1 + at % 2, EIO);
        (void)wal_store_compact(&store);
        reached = wal_store_end_faults(&store);
        expect_kept();
        assert_in_range(at, 1, 1000);
    }
}

static enum err refuse(void *context, const struct operation *operation)
{
    (void)context;
    (void)operation;
    return ERR_EXISTS;
}

/* An import into a full store: it says so itself. */
static void a_reader_that_wants_nothing_is_no_trouble_of_the_wal(void **state)
{
    (void)state;
    fill();
    wal_store_close(&store);
    const struct operation_sink sink = {.take = refuse};
    assert_int_equal(engine_wal.open(&store.config, &store.stats, &store.engine), ERR_OK);
    assert_int_equal(engine_wal.load(store.engine, &sink, &store.loaded), ERR_EXISTS);
    expect_silence("can't read the wal");
}

#define test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(what_damaged_bytes_held_is_told),
        test(refusing_says_that_nothing_is_changed),
        test(what_a_damaged_snapshot_held_is_told),
        test(what_is_ignored_because_of_damage_is_told_and_kept),
        test(the_batches_of_a_missing_segment_are_counted),
        test(the_old_snapshot_is_kept_as_well),
        test(nothing_is_kept_when_nothing_is_ignored),
        test(a_crash_while_they_are_kept_loses_none),
        test(an_error_while_they_are_kept_loses_none),
        test(a_reader_that_wants_nothing_is_no_trouble_of_the_wal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
