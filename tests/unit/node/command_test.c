#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/command.h"

#define WORDS_MAX 16
#define NOT_A_COMMAND 99

static const char state_file[] =
    "{\"format\":\"pulse-state\",\"version\":1}\n"
    "{\"op\":\"session_put\",\"session\":1,\"client_id\":\"a\",\"expiry_s\":60,"
    "\"offline_since_ms\":0,\"sent_to\":0}\n"
    "{\"op\":\"subscription_put\",\"session\":1,\"filter\":\"a/#\",\"qos\":1,\"no_local\":false,"
    "\"retain_as_published\":false,\"retain_handling\":0,\"subscription_id\":0}\n"
    "{\"op\":\"message_put\",\"message\":2,\"topic\":\"a/b\",\"properties\":\"\","
    "\"payload\":\"AP8=\",\"qos\":1,\"retain\":false,\"expires_at_ms\":null,\"publisher\":0}\n"
    "{\"op\":\"queue_push\",\"session\":1,\"position\":1,\"message\":2,\"qos\":1,"
    "\"retain\":false,\"shared\":false,\"released\":false,\"subscription_ids\":[]}\n"
    "{\"end\":true,\"operations\":4}\n";

/* A folder for one test, and what the last command wrote. */
static char folder[64];
static char out[32768];
static char complaints[4096];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/pulse-command-XXXXXX");
    return mkdtemp(folder) == NULL ? 1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static void write_file(const char *name, const char *content)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    fclose(file);
}

static void read_file(const char *name, char *buffer, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(buffer, 1, size - 1, file);
    buffer[len] = '\0';
    fclose(file);
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

/* In a process of its own: in the folder, with the standard streams in files there. */
static void run_in_child(char *line)
{
    char *argv[WORDS_MAX];
    char *environment[] = {"PULSE_OBSERVABILITY_LOG=error", NULL};
    int argc = split(line, argv);
    int code = NOT_A_COMMAND;
    if (chdir(folder) != 0 || freopen("in", "r", stdin) == NULL ||
        freopen("out", "w", stdout) == NULL || freopen("complaints", "w", stderr) == NULL) {
        _exit(98);
    }
    (void)command_run(argc, argv, environment, &code);
    fflush(stdout);
    fflush(stderr);
    exit(code);
}

/* Runs `pulse <arguments>` with that on its standard input; gives its exit code. */
static int run(const char *arguments, const char *in)
{
    char line[512];
    int status = 0;
    snprintf(line, sizeof(line), "pulse %s", arguments);
    write_file("in", in);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_in_child(line);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    read_file("out", out, sizeof(out));
    read_file("complaints", complaints, sizeof(complaints));
    return WEXITSTATUS(status);
}

static void other_words_are_no_commands(void **state)
{
    (void)state;
    assert_int_equal(run("", ""), NOT_A_COMMAND);
    assert_int_equal(run("--bind a:1", ""), NOT_A_COMMAND);
    assert_int_equal(run("exports", ""), NOT_A_COMMAND);
    assert_int_equal(run("--log info export", ""), NOT_A_COMMAND);
    assert_string_equal(complaints, "");
}

static void what_is_imported_is_exported(void **state)
{
    (void)state;
    assert_int_equal(run("import --sqlite x.db", state_file), 0);
    assert_string_equal(complaints, "pulse: imported 1 sessions, 1 subscriptions, 1 queued "
                                    "messages, 0 retained messages\n");
    assert_string_equal(out, "");
    assert_int_equal(run("export --sqlite x.db", ""), 0);
    assert_string_equal(complaints, "pulse: exported 1 sessions, 1 subscriptions, 1 queued "
                                    "messages, 0 retained messages\n");
    assert_string_equal(out, state_file);
}

static void an_import_takes_a_file_anywhere_between_its_flags(void **state)
{
    (void)state;
    write_file("state.jsonl", state_file);
    assert_int_equal(run("import state.jsonl --sqlite x.db", ""), 0);
    assert_int_equal(run("import --sqlite y.db state.jsonl", ""), 0);
    assert_int_equal(run("export --sqlite=y.db", ""), 0);
    assert_string_equal(out, state_file);
    assert_int_equal(run("import --sqlite z.db state.jsonl other", ""), 2);
    assert_string_equal(complaints,
                        "pulse: unexpected argument \"other\"; --help lists what there is\n");
    assert_int_equal(run("import --sqlite z.db nothing.jsonl", ""), 1);
    assert_string_equal(complaints, "pulse: cannot read nothing.jsonl: No such file or "
                                    "directory\n");
    assert_int_equal(run("import --sqlite z.db .", ""), 1);
    assert_string_equal(complaints, "pulse: line 1: can't read: Is a directory\n");
}

static void the_options_come_from_the_same_places_as_the_brokers(void **state)
{
    (void)state;
    write_file("pulse.yaml", "storage:\n  sqlite: x.db\n");
    assert_int_equal(run("import -c pulse.yaml", state_file), 0);
    assert_int_equal(run("export --sqlite x.db", ""), 0);
    assert_string_equal(out, state_file);
    assert_int_equal(run("export --sqlite", ""), 2);
    assert_string_equal(complaints, "pulse: --sqlite: a value is missing\n");
    assert_int_equal(run("export x.db", ""), 2);
    assert_string_equal(complaints,
                        "pulse: unexpected argument \"x.db\"; --help lists what there is\n");
    assert_int_equal(run("export --check-config --sqlite x.db", ""), 0);
    assert_string_equal(out, "configuration is valid: no file\n");
}

static void what_goes_wrong_is_told_in_one_line(void **state)
{
    (void)state;
    assert_int_equal(run("export", ""), 1);
    assert_string_equal(complaints, "pulse: there is no store: storage.engine is memory, which "
                                    "keeps nothing\n");
    assert_int_equal(run("export --sqlite x.db", ""), 1);
    assert_string_equal(complaints,
                        "pulse: can't find the sqlite store x.db: No such file or directory\n");
    assert_int_equal(run("import --sqlite x.db", "{}\n"), 1);
    assert_string_equal(complaints, "pulse: line 1: an export of pulse begins with "
                                    "{\"format\":\"pulse-state\",\"version\":1}\n");
    assert_int_equal(run("import --sqlite x.db", state_file), 0);
    assert_int_equal(run("import --sqlite x.db", state_file), 1);
    assert_string_equal(complaints,
                        "pulse: the store is not empty; an import needs an empty one\n");
}

static void the_wal_has_a_tool(void **state)
{
    (void)state;
    assert_int_equal(run("import --wal-dir w", state_file), 0);
    assert_int_equal(run("wal verify w", ""), 0);
    assert_int_equal(run("wal inspect w", ""), 0);
    assert_int_equal(run("wal verify nothing", ""), 1);
    assert_int_equal(run("wal", ""), 2);
    assert_non_null(strstr(complaints, "usage: pulse wal inspect"));
}

static void every_command_has_a_help(void **state)
{
    (void)state;
#define X(name, words, about)                            \
    assert_int_equal(run(#name " --help", ""), 0);       \
    assert_non_null(strstr(out, "usage: pulse " #name)); \
    assert_string_equal(complaints, "");
    COMMANDS(X)
#undef X
    assert_int_equal(run("import --sqlite x.db -h", ""), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
        TEST(other_words_are_no_commands),
        TEST(what_is_imported_is_exported),
        TEST(an_import_takes_a_file_anywhere_between_its_flags),
        TEST(the_options_come_from_the_same_places_as_the_brokers),
        TEST(what_goes_wrong_is_told_in_one_line),
        TEST(the_wal_has_a_tool),
        TEST(every_command_has_a_help),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
