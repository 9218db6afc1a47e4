/* Export and import with the engines that need no server: whatever a state is, it survives the way
 * through them without a change of a byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "storage/transfer_json.h"
#include "tests/unit/storage/transfer_support.h"

/* A folder for one test, with the stores in it. */
static char folder[64];
static char wal_dir[80];
static char sqlite_path[80];

static struct storage_config config_of(enum storage_engine_kind engine)
{
    return (struct storage_config){.engine = engine,
                                   .policy = COMMIT_BALANCED,
                                   .wal_dir = wal_dir,
                                   .wal_segment_bytes = 1024 * 1024,
                                   .sqlite_path = sqlite_path,
                                   .owner = "test"};
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/pulse-transfer-test-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(wal_dir, sizeof(wal_dir), "%s/wal", folder);
    snprintf(sqlite_path, sizeof(sqlite_path), "%s/store.db", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

/* ---- a random state -------------------------------------------------------------------------- */

#define SESSIONS 40

struct maker {
    uint32_t random;
    uint64_t next_id; /* as an export numbers: sessions from 1 on, messages behind them */
    uint64_t next_word;
    uint64_t operations;
    struct text file;
};

static uint32_t below(struct maker *maker, uint32_t limit)
{
    maker->random = maker->random * 1664525 + 1013904223;
    return (uint32_t)((uint64_t)(maker->random >> 8) * limit >> 24);
}

static void add(struct maker *maker, struct operation operation)
{
    char *line = NULL;
    struct text error = {0};
    assert_int_equal(transfer_json_operation(&operation, &line, &error), ERR_OK);
    text_printf(&maker->file, "%s\n", line);
    maker->operations++;
    free(line);
}

/* Bytes of a random length, mostly short, up to `longest`; good until the next call for `buffer`.
 */
static struct slice bytes(struct maker *maker, uint8_t *buffer, uint32_t longest)
{
    uint32_t len = below(maker, below(maker, 20) == 0 ? longest + 1 : 200);
    for (uint32_t i = 0; i < len; i++) {
        buffer[i] = (uint8_t)below(maker, 256);
    }
    return slice_of(buffer, len);
}

/* A text that no other call gives, with characters that make trouble, seldom very long. */
static struct slice words(struct maker *maker, char *buffer)
{
    static const char *const pieces[] = {"a",
                                         "A",
                                         "/",
                                         " ",
                                         "\"",
                                         "\\",
                                         "'",
                                         "%",
                                         "_",
                                         "\xc3\xa4",
                                         "\t",
                                         "\x7f",
                                         "\n",
                                         "\xe2\x82\xac",
                                         "\xf0\x9f\x98\x80",
                                         "$"};
    size_t longest = below(maker, 50) == 0 ? 65535 : 40;
    size_t len = (size_t)snprintf(buffer, 32, "%llu/", (unsigned long long)maker->next_word++);
    while (below(maker, 30000) != 0) {
        const char *piece = pieces[below(maker, sizeof(pieces) / sizeof(pieces[0]))];
        if (len + strlen(piece) > longest) {
            break;
        }
        memcpy(buffer + len, piece, strlen(piece));
        len += strlen(piece);
    }
    return slice_of(buffer, len);
}

static uint64_t moment(struct maker *maker)
{
    return below(maker, 3) == 0 ? OPERATION_NEVER_MS : 1700000000000u + below(maker, 100000000);
}

/* Adds a new message, and gives its id. */
static uint64_t add_message(struct maker *maker)
{
    static char topic[65536];
    static uint8_t payload[100000];
    uint64_t id = maker->next_id++;
    static const uint8_t properties[] = {0x01, 0x01};
    add(maker, (struct operation){.type = OPERATION_MESSAGE_PUT,
                                  .message = id,
                                  .topic = words(maker, topic),
                                  .properties = slice_of(properties, below(maker, 2) * 2),
                                  .payload = bytes(maker, payload, sizeof(payload)),
                                  .qos = (uint8_t)(1 + below(maker, 2)),
                                  .retain = below(maker, 2) == 1,
                                  .expires_at_ms = moment(maker),
                                  .publisher = (uint64_t)below(maker, 1 << 24) << 40 | 1});
    return id;
}

static void add_queue(struct maker *maker, uint64_t session, uint64_t *shared_message)
{
    static const uint32_t ids[] = {1, 268435455, 7};
    uint64_t position = 0;
    for (uint32_t i = below(maker, 30); i > 0; i--) {
        bool released = below(maker, 8) == 0;
        bool old = *shared_message != 0 && below(maker, 2) == 0;
        uint64_t message = released ? 0 : old ? *shared_message : add_message(maker);
        *shared_message = released ? *shared_message : message;
        position += 1 + below(maker, 3);
        add(maker, (struct operation){.type = OPERATION_QUEUE_PUSH,
                                      .session = session,
                                      .position = position,
                                      .message = message,
                                      .qos = released ? 2 : (uint8_t)(1 + below(maker, 2)),
                                      .retain = below(maker, 2) == 1,
                                      .shared = below(maker, 2) == 1,
                                      .released = released,
                                      .subscription_ids = ids,
                                      .subscription_id_count = below(maker, 4)});
    }
}

static void add_subscriptions(struct maker *maker, uint64_t session)
{
    static char filter[65536];
    for (uint32_t i = below(maker, 4); i > 0; i--) {
        add(maker, (struct operation){.type = OPERATION_SUBSCRIPTION_PUT,
                                      .session = session,
                                      .filter = words(maker, filter),
                                      .qos = (uint8_t)below(maker, 3),
                                      .no_local = below(maker, 2) == 1,
                                      .retain_as_published = below(maker, 2) == 1,
                                      .retain_handling = (uint8_t)below(maker, 3),
                                      .subscription_id = below(maker, 2) * 268435455});
    }
}

static void add_session(struct maker *maker, uint64_t session)
{
    static char client_id[65536];
    add(maker,
        (struct operation){.type = OPERATION_SESSION_PUT,
                           .session = session,
                           .client_id = words(maker, client_id),
                           .expiry_s = below(maker, 2) == 0 ? UINT32_MAX : 1 + below(maker, 99),
                           .offline_since_ms = below(maker, 2) * 1700000000000u,
                           .sent_to = below(maker, 10)});
}

static void add_will(struct maker *maker, uint64_t session)
{
    bool has_expiry = below(maker, 2) == 1;
    if (below(maker, 3) == 0) {
        add(maker, (struct operation){.type = OPERATION_WILL_PUT,
                                      .session = session,
                                      .message = add_message(maker),
                                      .delay_s = below(maker, 100),
                                      .has_expiry = has_expiry,
                                      .message_expiry_s = has_expiry ? below(maker, 100) : 0});
    }
}

static void add_packet_ids(struct maker *maker, uint64_t session)
{
    for (uint16_t id = 1; below(maker, 3) == 0; id = (uint16_t)(id * 2 + 1)) {
        add(maker, (struct operation){
                       .type = OPERATION_INBOUND_QOS2_PUT, .session = session, .packet_id = id});
    }
}

static void add_retained(struct maker *maker)
{
    static char topic[65536];
    static uint8_t payload[100000];
    add(maker, (struct operation){.type = OPERATION_RETAINED_PUT,
                                  .topic = words(maker, topic),
                                  .payload = bytes(maker, payload, sizeof(payload)),
                                  .qos = (uint8_t)below(maker, 3),
                                  .expires_at_ms = moment(maker),
                                  .publisher = UINT64_MAX - 1});
}

/* Only the order of filters and topics differs from that of an export. */
static struct maker make_state(uint32_t seed)
{
    struct maker maker = {.random = seed, .next_id = SESSIONS + 1};
    uint64_t shared_message = 0;
    static void (*const makers[])(struct maker * maker,
                                  uint64_t session) = {add_session, add_subscriptions, add_will};
    text_add(&maker.file, HEADER);
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        for (uint64_t session = 1; session <= SESSIONS; session++) {
            makers[i](&maker, session);
        }
    }
    for (uint64_t session = 1; session <= SESSIONS; session++) {
        add_queue(&maker, session, &shared_message);
    }
    for (uint64_t session = 1; session <= SESSIONS; session++) {
        add_packet_ids(&maker, session);
        add_retained(&maker);
    }
    text_printf(&maker.file, "{\"end\":true,\"operations\":%llu}\n",
                (unsigned long long)maker.operations);
    return maker;
}

/* ---- through the engines --------------------------------------------------------------------- */

static void import(enum storage_engine_kind engine, const char *text)
{
    struct storage_config config = config_of(engine);
    struct transfer_counts counts;
    struct text error = {0};
    FILE *in = fmemopen((void *)text, strlen(text), "r");
    enum err err = transfer_import(&config, in, &counts, &error);
    fclose(in);
    if (err != ERR_OK) {
        fail_msg("import: %s", error.data);
    }
}

/* Gives what was exported; free() it. */
static char *export(enum storage_engine_kind engine)
{
    struct storage_config config = config_of(engine);
    struct transfer_counts counts;
    struct text error = {0};
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    enum err err = transfer_export(&config, out, &counts, &error);
    fclose(out);
    if (err != ERR_OK) {
        fail_msg("export: %s", error.data);
    }
    return text;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Gives the lines of `text` in the order of their bytes. */
static char *sorted(const char *text)
{
    char *copy = strdup(text);
    char **lines = calloc(strlen(text) / 2 + 1, sizeof(*lines));
    size_t count = 0;
    struct text all = {0};
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
        lines[count++] = line;
    }
    qsort(lines, count, sizeof(*lines), compare_lines);
    for (size_t i = 0; i < count; i++) {
        text_printf(&all, "%s\n", lines[i]);
    }
    free(lines);
    free(copy);
    return all.data;
}

static void assert_equal_and_free(char *a, char *b)
{
    assert_true(strcmp(a, b) == 0); /* far too long to be shown */
    free(a);
    free(b);
}

static void a_state_survives_the_way_through_every_engine(void **state)
{
    (void)state;
    const char *given = getenv("PULSE_TEST_SEED");
    uint32_t seed = given == NULL ? (uint32_t)clock_mono_ns() : (uint32_t)strtoul(given, NULL, 10);
    print_message("PULSE_TEST_SEED=%u\n", seed);
    struct maker maker = make_state(seed);

    import(STORAGE_SQLITE, maker.file.data);
    char *from_sqlite = export(STORAGE_SQLITE);
    import(STORAGE_WAL, from_sqlite);
    char *from_wal = export(STORAGE_WAL);
    struct transfer_rig rig = transfer_rig_create();
    assert_int_equal(transfer_rig_import(&rig, from_wal), ERR_OK);
    char *from_fake = strdup(transfer_rig_export(&rig));
    transfer_rig_end(&rig);

    assert_equal_and_free(sorted(maker.file.data), sorted(from_sqlite));
    assert_equal_and_free(strdup(from_sqlite), strdup(from_wal));
    assert_equal_and_free(from_sqlite, from_fake);
    free(from_wal);
    text_fini(&maker.file);
}

/* The second open of a store fails, within one process too. */
static void assert_locked(enum storage_engine_kind kind, const char *error_line)
{
    struct storage_config config = config_of(kind);
    struct storage_stats stats = {0};
    struct engine *engine = NULL;
    struct transfer_counts counts;
    struct text error = {0};
    assert_int_equal(engine_type_of(kind)->open(&config, &stats, &engine), ERR_OK);
    FILE *in = fmemopen((void *)transfer_everything, strlen(transfer_everything), "r");
    assert_int_equal(transfer_export(&config, stdout, &counts, &error), ERR_LOCKED);
    assert_string_equal(error.data, error_line);
    text_fini(&error);
    assert_int_equal(transfer_import(&config, in, &counts, &error), ERR_LOCKED);
    assert_string_equal(error.data, error_line);
    text_fini(&error);
    fclose(in);
    engine->type->close(engine);
}

static void a_store_in_use_is_left_alone(void **state)
{
    (void)state;
    char line[200];
    snprintf(line, sizeof(line),
             "can't open the wal store %s: in use by another process (a broker? stop it first)",
             wal_dir);
    assert_locked(STORAGE_WAL, line);
    snprintf(line, sizeof(line),
             "can't open the sqlite store %s: in use by another process (a broker? stop it first)",
             sqlite_path);
    assert_locked(STORAGE_SQLITE, line);
}

static void a_store_that_is_not_there_is_not_made_by_an_export(void **state)
{
    (void)state;
    static const enum storage_engine_kind kinds[] = {STORAGE_WAL, STORAGE_SQLITE};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct storage_config config = config_of(kinds[i]);
        struct transfer_counts counts;
        struct text error = {0};
        for (unsigned twice = 0; twice < 2; twice++) {
            assert_int_equal(transfer_export(&config, stdout, &counts, &error), ERR_IO);
            assert_non_null(strstr(error.data, ": No such file or directory"));
            text_fini(&error);
        }
    }
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
        TEST(a_state_survives_the_way_through_every_engine),
        TEST(a_store_in_use_is_left_alone),
        TEST(a_store_that_is_not_there_is_not_made_by_an_export),
#undef TEST
    };
    return cmocka_run_group_tests(tests, seed, NULL);
}
