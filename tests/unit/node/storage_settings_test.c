/* The options about storage: what selects an engine, what excludes what, what storage is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/storage_settings.h"

#define WORDS_MAX 16

/* One call of config_load, and everything that came of it. */
struct run {
    struct config config;
    struct storage_settings settings;
    enum config_action action;
    char *out;
    char *complaints;
};

static char file_path[64];

static void file_write(const char *content)
{
    strcpy(file_path, "/tmp/pulse-settings-XXXXXX");
    int fd = mkstemp(file_path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

/* Cuts `line` at its blanks into `words`, which end with NULL. */
static int split(char *line, char *words[static WORDS_MAX])
{
    int count = 0;
    char *rest = line;
    for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
        if (word[0] != '\0') {
            assert_true(count < WORDS_MAX - 1);
            words[count++] = word;
        }
    }
    words[count] = NULL;
    return count;
}

/* Runs pulse with a file of that content (NULL: none), those variables and those arguments. */
static void run(struct run *result, const char *file, const char *environment,
                const char *arguments)
{
    char line[512];
    char variables[512];
    char *argv[WORDS_MAX];
    char *envp[WORDS_MAX];
    size_t out_len = 0;
    size_t complaints_len = 0;
    *result = (struct run){0};
    snprintf(line, sizeof(line), "pulse %s", arguments);
    if (file != NULL) {
        file_write(file);
        snprintf(line, sizeof(line), "pulse -c %s %s", file_path, arguments);
    }
    snprintf(variables, sizeof(variables), "%s", environment);
    int argc = split(line, argv);
    split(variables, envp);
    FILE *out = open_memstream(&result->out, &out_len);
    FILE *complaints = open_memstream(&result->complaints, &complaints_len);
    result->action = config_load(&result->config, argc, argv, envp, out, complaints);
    fclose(out);
    fclose(complaints);
    if (file != NULL) {
        unlink(file_path);
    }
}

static void run_end(struct run *result)
{
    config_fini(&result->config);
    free(result->out);
    free(result->complaints);
}

static void good(struct run *result, const char *file, const char *environment,
                 const char *arguments)
{
    run(result, file, environment, arguments);
    assert_string_equal(result->complaints, "");
    assert_int_equal(result->action, CONFIG_RUN);
    storage_settings_init(&result->settings, &result->config);
}

static void assert_engine(const char *file, const char *environment, const char *arguments,
                          enum storage_engine_kind engine)
{
    struct run result;
    good(&result, file, environment, arguments);
    assert_int_equal(result.settings.storage.engine, engine);
    run_end(&result);
}

static void assert_refused(const char *environment, const char *arguments, const char *line)
{
    struct run result;
    run(&result, NULL, environment, arguments);
    assert_string_equal(result.complaints, line);
    assert_int_equal(result.action, CONFIG_EXIT_ERROR);
    run_end(&result);
}

/* As assert_engine, with a warning. */
static void assert_engine_warns(const char *file, const char *environment, const char *arguments,
                                enum storage_engine_kind engine, const char *warning)
{
    struct run result;
    run(&result, file, environment, arguments);
    assert_int_equal(result.action, CONFIG_RUN);
    assert_string_equal(result.complaints, warning);
    assert_int_equal(result.config.storage_engine, engine);
    run_end(&result);
}

#define SQLITE_UNUSED(engine) \
    "pulse: storage.sqlite is not used, because storage.engine is " engine "\n"
#define MYSQL_UNUSED(engine) \
    "pulse: storage.mysql is not used, because storage.engine is " engine "\n"

static void without_anything_nothing_is_kept_and_the_rest_has_its_defaults(void **state)
{
    (void)state;
    struct run result;
    char name[NODE_ID_SIZE];
    good(&result, NULL, "", "");
    const struct storage_config *storage = &result.settings.storage;
    assert_int_equal(storage->engine, STORAGE_MEMORY);
    assert_int_equal(storage->policy, COMMIT_BALANCED);
    assert_string_equal(storage->wal_dir, "pulse-wal");
    assert_int_equal(storage->wal_segment_bytes, 16777216);
    assert_int_equal(storage->wal_compact_max_bytes, 67108864);
    assert_int_equal(storage->wal_compact_interval_ms, 600000);
    assert_int_equal(storage->wal_damage, DAMAGE_QUARANTINE);
    assert_null(storage->files);
    assert_null(storage->sqlite_path);
    assert_null(storage->mysql_url);
    assert_int_equal(storage->mysql_tls, MYSQL_TLS_OFF);
    assert_null(storage->mysql_tls_ca);
    assert_null(storage->mysql_tls_certificate);
    assert_null(storage->mysql_tls_key);
    assert_int_equal(storage->mysql_timeout_ms, 5000);
    assert_int_equal(result.config.storage_undo_window_ms, 2);
    assert_int_equal(gethostname(name, sizeof(name)), 0);
    assert_string_equal(storage->owner, name);
    run_end(&result);
}

static void every_option_reaches_storage(void **state)
{
    (void)state;
    struct run result;
    good(&result,
         "storage:\n  mysql: mysql://u:p@h:3307/d\n  commit_policy: strict\n"
         "  wal_segment_bytes: 1MiB\n  wal_compact_max_bytes: 0\n  wal_compact_interval_ms: 1s\n"
         "  wal_damage: refuse\n  mysql_tls: verify\n  mysql_tls_ca: ca.pem\n"
         "  mysql_tls_certificate: own.pem\n  mysql_tls_key: own.key\n"
         "  mysql_timeout_ms: 250\n  undo_window_ms: 0\ncluster:\n  node_id: a-1\n",
         "", "");
    const struct storage_config *storage = &result.settings.storage;
    assert_int_equal(storage->engine, STORAGE_MYSQL);
    assert_string_equal(storage->mysql_url, "mysql://u:p@h:3307/d");
    assert_int_equal(storage->policy, COMMIT_STRICT);
    assert_int_equal(storage->wal_segment_bytes, 1048576);
    assert_int_equal(storage->wal_compact_max_bytes, 0);
    assert_int_equal(storage->wal_compact_interval_ms, 1000);
    assert_int_equal(storage->wal_damage, DAMAGE_REFUSE);
    assert_int_equal(storage->mysql_tls, MYSQL_TLS_VERIFY);
    assert_string_equal(storage->mysql_tls_ca, "ca.pem");
    assert_string_equal(storage->mysql_tls_certificate, "own.pem");
    assert_string_equal(storage->mysql_tls_key, "own.key");
    assert_int_equal(storage->mysql_timeout_ms, 250);
    assert_string_equal(storage->owner, "a-1");
    assert_int_equal(result.config.storage_undo_window_ms, 0);
    run_end(&result);
}

static void naming_a_place_selects_its_engine(void **state)
{
    (void)state;
    assert_engine(NULL, "", "--wal-dir w", STORAGE_WAL);
    assert_engine(NULL, "", "--sqlite=/x.db", STORAGE_SQLITE);
    assert_engine(NULL, "MQTT_RS_MYSQL=mysql://u@h/d", "", STORAGE_MYSQL);
    assert_engine("storage:\n  sqlite: x.db\n", "", "", STORAGE_SQLITE);
    assert_engine(NULL, "PULSE_STORAGE_WAL_DIR=w", "", STORAGE_WAL);
}

static void the_wal_needs_no_place(void **state)
{
    (void)state;
    struct run result;
    good(&result, NULL, "", "--storage-engine wal");
    assert_int_equal(result.settings.storage.engine, STORAGE_WAL);
    assert_string_equal(result.settings.storage.wal_dir, "pulse-wal");
    run_end(&result);
}

static void within_a_layer_the_wal_beats_a_database(void **state)
{
    (void)state;
    assert_engine_warns(NULL, "", "--wal-dir w --sqlite x.db", STORAGE_WAL, SQLITE_UNUSED("wal"));
    assert_engine_warns(NULL, "", "--sqlite x.db --wal-dir w", STORAGE_WAL, SQLITE_UNUSED("wal"));
    assert_engine_warns("storage:\n  wal_dir: w\n  mysql: mysql://u@h/d\n", "", "", STORAGE_WAL,
                        MYSQL_UNUSED("wal"));
}

static void a_later_layer_selects_anew(void **state)
{
    (void)state;
    assert_engine("storage:\n  wal_dir: w\n", "PULSE_STORAGE_SQLITE=x.db", "", STORAGE_SQLITE);
    assert_engine("storage:\n  engine: memory\n", "", "--wal-dir w", STORAGE_WAL);
    assert_engine("storage:\n  wal_dir: w\n", "", "--storage-engine memory", STORAGE_MEMORY);
    assert_engine("storage:\n  sqlite: x.db\n", "MQTT_RS_WAL_DIR=w", "--storage-engine sqlite",
                  STORAGE_SQLITE);
}

/* A file that says everything, as --print-config prints it, must mean what it says. */
static void an_engine_in_the_same_layer_is_taken_at_its_word(void **state)
{
    (void)state;
    assert_engine("storage:\n  engine: memory\n  wal_dir: w\n", "", "", STORAGE_MEMORY);
    assert_engine(NULL, "", "--wal-dir w --storage-engine sqlite --sqlite x.db", STORAGE_SQLITE);
    assert_engine_warns("storage:\n  engine: memory\n  sqlite: x.db\n", "", "", STORAGE_MEMORY,
                        SQLITE_UNUSED("memory"));
}

static void a_place_that_is_off_selects_nothing(void **state)
{
    (void)state;
    assert_engine("storage:\n  sqlite: off\n  mysql: off\n", "", "", STORAGE_MEMORY);
    assert_engine("storage:\n  sqlite: x.db\n", "MQTT_RS_MYSQL=mysql://u@h/d", "--sqlite off",
                  STORAGE_MYSQL);
}

static void two_databases_exclude_each_other(void **state)
{
    (void)state;
    assert_refused("MQTT_RS_MYSQL=mysql://u@h/d", "--sqlite x.db",
                   "pulse: MQTT_RS_MYSQL: storage.mysql: only one of storage.sqlite and "
                   "storage.mysql can be given; set the other to off\n");
}

static void a_database_engine_needs_its_database(void **state)
{
    (void)state;
    assert_refused("", "--storage-engine sqlite",
                   "pulse: --storage-engine: storage.engine: sqlite needs storage.sqlite\n");
    assert_refused("PULSE_STORAGE_ENGINE=mysql", "",
                   "pulse: PULSE_STORAGE_ENGINE: storage.engine: mysql needs storage.mysql\n");
}

static void certificates_need_tls_and_each_other(void **state)
{
    (void)state;
    assert_refused("", "--mysql mysql://u@h/d --storage-mysql-tls-ca a.pem",
                   "pulse: storage.mysql_tls: must be required or verify when "
                   "storage.mysql_tls_ca, storage.mysql_tls_certificate or storage.mysql_tls_key "
                   "is given\n");
    assert_refused("", "--storage-mysql-tls verify --storage-mysql-tls-key k.pem",
                   "pulse: --storage-mysql-tls-key: storage.mysql_tls_key: needs "
                   "storage.mysql_tls_certificate\n");
    assert_refused("", "--storage-mysql-tls verify --storage-mysql-tls-certificate c.pem",
                   "pulse: --storage-mysql-tls-certificate: storage.mysql_tls_certificate: needs "
                   "storage.mysql_tls_key\n");
}

static void a_url_that_is_none_is_refused_without_being_shown(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "h/d",         "mysql:",          "mysql://u@h",      "mysql://u@h/",     "mysql://u:p@/d",
        "mysql://h/d", "mysql://u@h:0/d", "postgres://u@h/d", "mysql://u:pw%@h/d"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char flag[64];
        snprintf(flag, sizeof(flag), "--mysql=%s", bad[i]);
        assert_refused("", flag,
                       "pulse: --mysql: the value is not the URL of a database (allowed: "
                       "mysql://user:password@host:port/database, each part "
                       "percent-encoded; off)\n");
    }
}

static void assert_printed_url(const char *url, const char *shown)
{
    struct run result;
    char arguments[256];
    char line[256];
    snprintf(arguments, sizeof(arguments), "--print-config --mysql %s", url);
    snprintf(line, sizeof(line), "  mysql: \"%s\" # --mysql\n", shown);
    run(&result, NULL, "", arguments);
    assert_int_equal(result.action, CONFIG_EXIT_OK);
    assert_non_null(strstr(result.out, line));
    run_end(&result);
}

static void print_config_hides_the_password_and_nothing_else(void **state)
{
    (void)state;
    assert_printed_url("mysql://u:secret@h:3306/d", "mysql://u:***@h:3306/d");
    assert_printed_url("mariadb://u:%40b%2F@h/d", "mariadb://u:***@h/d");
    assert_printed_url("mysql://u:@[::1]/d", "mysql://u:***@[::1]/d");
    assert_printed_url("mysql://u@h:3306/d", "mysql://u@h:3306/d");
}

static void a_size_of_a_segment_and_an_undo_window_have_bounds(void **state)
{
    (void)state;
    assert_refused("", "--storage-wal-segment-bytes 1048575",
                   "pulse: --storage-wal-segment-bytes: \"1048575\" is out of range (allowed: "
                   "1MiB to 1GiB, such as 65536 or 64KiB)\n");
    assert_refused("", "--storage-undo-window-ms 1001",
                   "pulse: --storage-undo-window-ms: \"1001\" is out of range (allowed: 0 to 1s, "
                   "such as 500ms, 10s or 5m)\n");
}

static void a_node_id_is_a_short_printable_text(void **state)
{
    (void)state;
    struct run result;
    good(&result, NULL, "", "--cluster-node-id hostname");
    assert_ptr_equal(result.settings.storage.owner, result.settings.hostname);
    run_end(&result);
    assert_refused("", "--cluster-node-id=",
                   "pulse: --cluster-node-id: \"\" is not the name of a node (allowed: 1 to 255 "
                   "bytes of UTF-8 without control characters; hostname)\n");
    assert_refused("", "--cluster-node-id a\nb",
                   "pulse: --cluster-node-id: \"a\\nb\" is not the name of a node (allowed: 1 to "
                   "255 bytes of UTF-8 without control characters; hostname)\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_anything_nothing_is_kept_and_the_rest_has_its_defaults),
        cmocka_unit_test(every_option_reaches_storage),
        cmocka_unit_test(naming_a_place_selects_its_engine),
        cmocka_unit_test(the_wal_needs_no_place),
        cmocka_unit_test(within_a_layer_the_wal_beats_a_database),
        cmocka_unit_test(a_later_layer_selects_anew),
        cmocka_unit_test(an_engine_in_the_same_layer_is_taken_at_its_word),
        cmocka_unit_test(a_place_that_is_off_selects_nothing),
        cmocka_unit_test(two_databases_exclude_each_other),
        cmocka_unit_test(a_database_engine_needs_its_database),
        cmocka_unit_test(certificates_need_tls_and_each_other),
        cmocka_unit_test(a_url_that_is_none_is_refused_without_being_shown),
        cmocka_unit_test(print_config_hides_the_password_and_nothing_else),
        cmocka_unit_test(a_size_of_a_segment_and_an_undo_window_have_bounds),
        cmocka_unit_test(a_node_id_is_a_short_printable_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
