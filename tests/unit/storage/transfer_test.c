#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/hash.h"
#include "tests/unit/storage/transfer_support.h"

/* ---- what goes in comes out ------------------------------------------------------------------ */

static void what_was_imported_is_exported_byte_for_byte(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_OK);
    assert_int_equal(rig.counts.operations, 14);
    assert_int_equal(rig.counts.by_type[OPERATION_QUEUE_PUSH], 3);
    assert_string_equal(transfer_rig_export(&rig), transfer_everything);
    assert_int_equal(rig.counts.operations, 14);
    assert_int_equal(rig.counts.by_type[OPERATION_MESSAGE_PUT], 2);
    assert_int_equal(rig.counts.by_type[OPERATION_SUBSCRIPTION_PUT], 2);
    assert_int_equal(fake_store_calls(rig.store, FAKE_SYNC), 1);
    assert_int_equal(fake_store_calls(rig.store, FAKE_CLOSE), 2);
    transfer_rig_end(&rig);
}

static void an_empty_store_is_a_header_and_an_end(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    assert_string_equal(transfer_rig_export(&rig), HEADER END("0"));
    assert_int_equal(transfer_rig_import(&rig, HEADER END("0")), ERR_OK);
    transfer_rig_end(&rig);
}

/* The order in which an engine gives things, the order in a file, and ids make no difference. */
static void an_export_has_one_order(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    assert_int_equal(transfer_rig_import(
                         &rig,
                         HEADER RETAINED("b") SESSION("20", "z") RETAINED("a")
                             SESSION("\"9007199254740993\"", "y") SUBSCRIPTION("20", "f")
                                 MESSAGE("4", "t") PUSH("20", "9", "4", "false") MESSAGE("20", "u")
                                     PUSH("\"9007199254740993\"", "8", "20", "false")
                                         SUBSCRIPTION("\"9007199254740993\"", "g")
                                             SUBSCRIPTION("\"9007199254740993\"", "f") END("11")),
                     ERR_OK);
    assert_string_equal(
        transfer_rig_export(&rig),
        HEADER SESSION("1", "z") SESSION("2", "y") SUBSCRIPTION("1", "f") SUBSCRIPTION("2", "f")
            SUBSCRIPTION("2", "g") MESSAGE("3", "t") PUSH("1", "9", "3", "false") MESSAGE("4", "u")
                PUSH("2", "8", "4", "false") RETAINED("a") RETAINED("b") END("11"));
    transfer_rig_end(&rig);
}

/* Drops session 1, and says that ids below `next_id` are taken. */
static void drop_session(uint64_t next_id)
{
    const struct operation drop = {.type = OPERATION_SESSION_DROP, .session = 1};
    struct storage_stats stats = {0};
    struct array_batch batch;
    struct engine *engine = NULL;
    array_batch_init(&batch, &drop, 1);
    batch.batch.next_id = next_id;
    assert_int_equal(fake_engine.open(&transfer_no_config, &stats, &engine), ERR_OK);
    assert_int_equal(fake_engine.apply(engine, &batch.batch), ERR_OK);
    fake_engine.close(engine);
}

/* Other nodes may have them, in a database that is shared. */
static void ids_that_are_taken_in_the_store_are_not_used(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    assert_int_equal(transfer_rig_import(&rig, HEADER SESSION("1", "a") END("1")), ERR_OK);
    assert_int_equal(fake_store_next_id(rig.store), 2);
    drop_session(1000);
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_OK);
    assert_int_equal(fake_store_next_id(rig.store), 1004);
    assert_non_null(strstr(fake_store_contents(rig.store), "session=1000"));
    assert_non_null(strstr(fake_store_contents(rig.store), "message=1003"));
    assert_null(strstr(fake_store_contents(rig.store), "message=3"));
    assert_string_equal(transfer_rig_export(&rig), transfer_everything);
    transfer_rig_end(&rig);
}

/* The clock of a store never goes back. */
static void a_store_that_has_seen_the_future_stays_there(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    uint64_t before = clock_wall_ms();
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_OK);
    assert_true(fake_store_now_ms(rig.store) >= before);
    transfer_rig_end(&rig);
    rig = transfer_rig_create();
    uint64_t future = clock_wall_ms() + 1000000;
    fake_store_set_last_seen(rig.store, future);
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_OK);
    assert_int_equal(fake_store_now_ms(rig.store), future);
    transfer_rig_end(&rig);
}

/* Blanks and the last line's end may be otherwise. */
static void a_file_that_was_edited_by_hand_is_read(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    assert_int_equal(
        transfer_rig_import(&rig, "{ \"version\" : 1 , \"format\" : \"pulse-state\" }\r\n"
                                  "{\"client_id\":\"\\u0061\",\"session\":1,\"sent_to\":0,\t"
                                  "\"offline_since_ms\":0,\"expiry_s\":0,\"op\":\"session_put\"}\n"
                                  "{\"operations\":1,\"end\":true}"),
        ERR_OK);
    assert_string_equal(transfer_rig_export(&rig),
                        HEADER "{\"op\":\"session_put\",\"session\":1,\"client_id\":\"a\","
                               "\"expiry_s\":0,\"offline_since_ms\":0,\"sent_to\":0}\n" END("1"));
    transfer_rig_end(&rig);
}

/* Adds `count` messages in the queue of a session. */
static void add_queue(struct text *file, unsigned session, unsigned first_id, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        text_printf(file,
                    "{\"op\":\"message_put\",\"message\":%u,\"topic\":\"t/%u\",\"properties\":\"\","
                    "\"payload\":\"\",\"qos\":1,\"retain\":false,\"expires_at_ms\":null,"
                    "\"publisher\":0}\n",
                    first_id + i, i);
        text_printf(file,
                    "{\"op\":\"queue_push\",\"session\":%u,\"position\":%u,\"message\":%u,"
                    "\"qos\":1,\"retain\":false,\"shared\":false,\"released\":false,"
                    "\"subscription_ids\":[]}\n",
                    session, i + 1, first_id + i);
    }
}

/* The store complains when a message is kept after a batch that nothing refers to. */
static void a_message_and_what_refers_to_it_come_in_one_batch(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    struct text file = {0};
    text_add(&file, HEADER SESSION("1", "a") SESSION("2", "b") SESSION("3", "c"));
    add_queue(&file, 1, 4, 777);
    add_queue(&file, 2, 781, 700);
    text_add(&file, END("2957"));
    assert_int_equal(transfer_rig_import(&rig, file.data), ERR_OK);
    assert_true(fake_store_calls(rig.store, FAKE_APPLY) >= 3);
    assert_string_equal(transfer_rig_export(&rig), file.data);
    text_fini(&file);
    transfer_rig_end(&rig);
}

static void a_store_that_holds_something_is_left_alone(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    assert_int_equal(transfer_rig_import(&rig, HEADER RETAINED("x") END("1")), ERR_OK);
    unsigned applied = fake_store_calls(rig.store, FAKE_APPLY);
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_EXISTS);
    assert_string_equal(rig.error.data, "the store is not empty; an import needs an empty one");
    assert_int_equal(fake_store_calls(rig.store, FAKE_APPLY), applied);
    assert_string_equal(transfer_rig_export(&rig), HEADER RETAINED("x") END("1"));
    transfer_rig_end(&rig);
}

/* ---- engines that fail ----------------------------------------------------------------------- */

static void an_engine_out_of_reach_is_asked_again(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    fake_store_fail(rig.store, FAKE_APPLY, ERR_UNAVAILABLE, 2, "gone");
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_OK);
    assert_string_equal(transfer_rig_export(&rig), transfer_everything);
    transfer_rig_end(&rig);
}

static void an_engine_that_fails_is_told_with_its_own_words(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    fake_store_fail(rig.store, FAKE_APPLY, ERR_FULL, 1, "no space left on the disk");
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_FULL);
    assert_string_equal(rig.error.data,
                        "can't fill the fake store: limit reached: no space left on the disk; the "
                        "store holds a part of the state now, and must be emptied before the next "
                        "import");
    fake_store_fail(rig.store, FAKE_SYNC, ERR_IO, 1, "bad sector");
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_IO);
    fake_store_fail(rig.store, FAKE_OPEN, ERR_LOCKED, 1, "");
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_LOCKED);
    assert_string_equal(rig.error.data, "can't open the fake store nowhere: in use by another "
                                        "process (a broker? stop it first)");
    transfer_rig_end(&rig);
}

static void an_export_of_a_store_that_cannot_be_read_fails(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    FILE *out = fopen("/dev/null", "w");
    fake_store_fail(rig.store, FAKE_LOAD, ERR_DAMAGED, 1, "page 7");
    assert_int_equal(
        transfer__export(&fake_engine, &transfer_no_config, out, &rig.counts, &rig.error),
        ERR_DAMAGED);
    assert_string_equal(rig.error.data,
                        "can't read the fake store: stored data is damaged: page 7");
    fclose(out);
    transfer_rig_end(&rig);
}

/* An engine that gives exactly these operations. */
static const struct operation *canned;
static size_t canned_count;
static const struct engine_type canned_engine;

static enum err canned_open(const struct storage_config *config, struct storage_stats *stats,
                            struct engine **out)
{
    static struct engine engine;
    (void)config;
    (void)stats;
    engine = (struct engine){.type = &canned_engine};
    *out = &engine;
    return ERR_OK;
}

static enum err canned_load(struct engine *engine, const struct operation_sink *sink,
                            struct engine_loaded *loaded)
{
    enum err err = ERR_OK;
    (void)engine;
    *loaded = (struct engine_loaded){.next_id = 1};
    for (size_t i = 0; i < canned_count && err == ERR_OK; i++) {
        err = sink->take(sink->context, &canned[i]);
    }
    return err;
}

static void canned_close(struct engine *engine)
{
    (void)engine;
}

static const struct engine_type canned_engine = {
    .name = "canned", .open = canned_open, .load = canned_load, .close = canned_close};

/* Exports these operations, and checks how it ends, and with how many lines. */
static void assert_export(const struct operation *operations, size_t count, enum err expected,
                          const char *words, uint64_t written)
{
    struct transfer_counts counts = {0};
    struct text error = {0};
    FILE *out = fopen("/dev/null", "w");
    canned = operations;
    canned_count = count;
    enum err err = transfer__export(&canned_engine, &transfer_no_config, out, &counts, &error);
    fclose(out);
    assert_string_equal(error.data == NULL ? "" : error.data, words);
    assert_int_equal(err, expected);
    assert_int_equal(counts.operations, written);
    text_fini(&error);
}

static void what_an_engine_must_not_give_ends_an_export(void **state)
{
    (void)state;
    const struct operation message = {
        .type = OPERATION_MESSAGE_PUT, .message = 5, .topic = slice_text("t")};
    const struct operation session = {
        .type = OPERATION_SESSION_PUT, .session = 7, .client_id = slice_text("a")};
    const struct operation push = {
        .type = OPERATION_QUEUE_PUSH, .session = 7, .position = 1, .message = 5};
    const struct operation drop = {.type = OPERATION_SESSION_DROP, .session = 7};
    const struct operation all[] = {message, session, push};
    assert_export(all, 3, ERR_OK, "", 3);
    assert_export(all, 2, ERR_OK, "", 1); /* nothing refers to the message */
    assert_export(&all[1], 2, ERR_DAMAGED,
                  "session 7 refers to message 5, which the store did not give", 0);
    assert_export(&push, 1, ERR_DAMAGED, "the store did not give session 7", 0);
    assert_export(&drop, 1, ERR_DAMAGED, "the store gave a session_drop", 0);
}

static void an_export_that_cannot_be_written_fails(void **state)
{
    (void)state;
    struct transfer_rig rig = transfer_rig_create();
    assert_int_equal(transfer_rig_import(&rig, transfer_everything), ERR_OK);
    FILE *full = fopen("/dev/full", "w");
    assert_int_equal(
        transfer__export(&fake_engine, &transfer_no_config, full, &rig.counts, &rig.error),
        ERR_FULL);
    assert_string_equal(rig.error.data, "can't write: No space left on device");
    fclose(full);
    transfer_rig_end(&rig);
}

static void without_a_store_there_is_nothing_to_export_or_import(void **state)
{
    (void)state;
    struct transfer_counts counts;
    struct text error = {0};
    const struct storage_config memory = {.engine = STORAGE_MEMORY};
    const struct storage_config nowhere = {.engine = STORAGE_SQLITE, .sqlite_path = "/nowhere/x"};
    assert_int_equal(transfer_export(&memory, stdout, &counts, &error), ERR_INVALID);
    assert_string_equal(error.data,
                        "there is no store: storage.engine is memory, which keeps nothing");
    text_fini(&error);
    assert_int_equal(transfer_import(&memory, stdin, &counts, &error), ERR_INVALID);
    text_fini(&error);
    assert_int_equal(transfer_export(&nowhere, stdout, &counts, &error), ERR_IO);
    assert_string_equal(error.data,
                        "can't find the sqlite store /nowhere/x: No such file or directory");
    text_fini(&error);
}

/* ---- a file that was tampered with ----------------------------------------------------------- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Gives the meaning of a file: its lines with keys sorted and blanks gone, and the lines sorted. */
static char *meaning(const char *bytes, size_t len)
{
    char *lines[40];
    size_t count = 0;
    struct text all = {0};
    for (const char *at = bytes; at < bytes + len;) {
        const char *end = memchr(at, '\n', (size_t)(bytes + len - at));
        size_t line_len = (size_t)((end == NULL ? bytes + len : end) - at);
        json_t *json = json_loadb(at, line_len, 0, NULL);
        assert_non_null(json);
        assert_true(count < sizeof(lines) / sizeof(lines[0]));
        lines[count++] = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
        json_decref(json);
        at += line_len + 1;
    }
    qsort(lines, count, sizeof(lines[0]), compare_lines);
    for (size_t i = 0; i < count; i++) {
        text_printf(&all, "%s\n", lines[i]);
        free(lines[i]);
    }
    return all.data;
}

/* Imports what must be refused without a trace, or mean what it says. True: it was accepted. */
static bool import_tampered(const char *bytes, size_t len)
{
    struct transfer_rig rig = transfer_rig_create();
    bool accepted = transfer_rig_import_bytes(&rig, bytes, len) == ERR_OK;
    if (accepted) {
        transfer_rig_export(&rig);
        char *before = meaning(bytes, len);
        char *after = meaning(rig.exported, strlen(rig.exported));
        assert_string_equal(before, after);
        free(before);
        free(after);
    } else {
        assert_int_equal(fake_store_calls(rig.store, FAKE_APPLY), 0);
    }
    transfer_rig_end(&rig);
    return accepted;
}

static uint32_t next_random(uint32_t *random)
{
    *random = *random * 1664525 + 1013904223;
    return *random >> 8;
}

/* Changes, drops or adds a byte, or copies a piece over another. */
static size_t tamper(char *bytes, size_t len, uint32_t *random)
{
    static const char likely[] = "0123456789\"\\{}[],:-.eE ntfu\n\t\x01\xff=A";
    size_t at = next_random(random) % len;
    char letter = likely[next_random(random) % (sizeof(likely) - 1)];
    switch (next_random(random) % 5) {
    case 0:
    case 1:
        bytes[at] = letter;
        return len;
    case 2:
        memmove(bytes + at, bytes + at + 1, len - at - 1);
        return len - 1;
    case 3:
        memmove(bytes + at + 1, bytes + at, len - at);
        bytes[at] = letter;
        return len + 1;
    default: {
        size_t from = next_random(random) % len;
        size_t longest = len - (from > at ? from : at);
        size_t piece = next_random(random) % (longest < 40 ? longest : 40);
        memmove(bytes + at, bytes + from, piece);
        return len;
    }
    }
}

static void a_tampered_file_is_refused_or_means_what_it_says(void **state)
{
    (void)state;
    const char *given = getenv("PULSE_TEST_SEED");
    uint32_t seed = given == NULL ? (uint32_t)clock_mono_ns() : (uint32_t)strtoul(given, NULL, 10);
    uint32_t random = seed;
    unsigned accepted = 0;
    print_message("PULSE_TEST_SEED=%u\n", seed);
    for (unsigned i = 0; i < 4000; i++) {
        char bytes[4096];
        size_t len = strlen(transfer_everything);
        assert_true(len + 8 < sizeof(bytes));
        memcpy(bytes, transfer_everything, len);
        for (unsigned changes = next_random(&random) % 3 + 1; changes > 0; changes--) {
            len = tamper(bytes, len, &random);
        }
        accepted += import_tampered(bytes, len);
    }
    assert_true(accepted > 50 && accepted < 3000); /* both ways were taken */
}

static int seed(void **state)
{
    (void)state;
    hash_seed_init();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_imported_is_exported_byte_for_byte),
        cmocka_unit_test(an_empty_store_is_a_header_and_an_end),
        cmocka_unit_test(an_export_has_one_order),
        cmocka_unit_test(ids_that_are_taken_in_the_store_are_not_used),
        cmocka_unit_test(a_store_that_has_seen_the_future_stays_there),
        cmocka_unit_test(a_file_that_was_edited_by_hand_is_read),
        cmocka_unit_test(a_message_and_what_refers_to_it_come_in_one_batch),
        cmocka_unit_test(a_store_that_holds_something_is_left_alone),
        cmocka_unit_test(an_engine_out_of_reach_is_asked_again),
        cmocka_unit_test(an_engine_that_fails_is_told_with_its_own_words),
        cmocka_unit_test(an_export_of_a_store_that_cannot_be_read_fails),
        cmocka_unit_test(what_an_engine_must_not_give_ends_an_export),
        cmocka_unit_test(an_export_that_cannot_be_written_fails),
        cmocka_unit_test(without_a_store_there_is_nothing_to_export_or_import),
        cmocka_unit_test(a_tampered_file_is_refused_or_means_what_it_says),
    };
    return cmocka_run_group_tests(tests, seed, NULL);
}
