#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/hash.h"
#include "node/auth/password.h"
#include "node/auth/password_file.h"
#include "node/command.h"

#define WORDS_MAX 12

static char folder[64];
static char out[4096];
static char complaints[4096];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/pulse-passwd-XXXXXX");
    return mkdtemp(folder) == NULL ? 1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[100];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static void read_file(const char *name, char *buffer, size_t size)
{
    FILE *file = fopen(path_of(name), "r");
    assert_non_null(file);
    size_t len = fread(buffer, 1, size - 1, file);
    buffer[len] = '\0';
    fclose(file);
}

static unsigned mode_of(const char *name)
{
    struct stat info;
    assert_int_equal(stat(path_of(name), &info), 0);
    return info.st_mode & 07777u;
}

/* ---- running it ------------------------------------------------------------------------------ */

/* Words are divided by blanks; '' is an empty one. */
static int call(const char *arguments)
{
    static char empty[] = "";
    char line[512];
    char *argv[WORDS_MAX] = {NULL};
    char *rest = line;
    int argc = 0;
    int code = 99;
    snprintf(line, sizeof(line), "pulse passwd %s", arguments);
    for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
        argv[argc++] = strcmp(word, "''") == 0 ? empty : word;
    }
    argc -= argv[argc - 1][0] == '\0' && arguments[0] == '\0';
    char *environment[] = {NULL};
    (void)command_run(argc, argv, environment, &code);
    fflush(NULL);
    return code;
}

/* `pulse passwd <arguments>` in a process of its own, in the folder; gives its exit code. */
static int run(const char *arguments, const char *in)
{
    int status = 0;
    write_file("in", in);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (setsid() < 0 || chdir(folder) != 0 || freopen("in", "r", stdin) == NULL ||
            freopen("out", "w", stdout) == NULL || freopen("complaints", "w", stderr) == NULL) {
            _exit(98);
        }
        exit(call(arguments));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    read_file("out", out, sizeof(out));
    read_file("complaints", complaints, sizeof(complaints));
    return WEXITSTATUS(status);
}

/* ---- looking at the file --------------------------------------------------------------------- */

struct found {
    bool there;
    struct password_hash hash;
    char groups[100];
    size_t users;
};

static struct found find(const char *file, const char *username)
{
    struct found found = {.there = false};
    struct slice text;
    struct text error = {0};
    struct password_file_entry entry;
    bool open_to_all = false;
    bool more = true;
    assert_int_equal(password_file_read(path_of(file), &text, &open_to_all, &error), ERR_OK);
    struct password_file_reader reader = {.rest = text, .name = file};
    while (more) {
        assert_int_equal(password_file_next(&reader, &entry, &more, &error), ERR_OK);
        found.users += entry.is_user;
        if (entry.is_user && slice_equal(entry.username, slice_text(username))) {
            found.there = true;
            found.hash = entry.hash;
            snprintf(found.groups, sizeof(found.groups), "%.*s", (int)entry.groups.len,
                     entry.groups.len > 0 ? (const char *)entry.groups.data : "");
        }
    }
    password_file_free(text);
    return found;
}

static void assert_password(const char *file, const char *username, const char *password)
{
    struct found found = find(file, username);
    assert_true(found.there);
    assert_true(password_hash_fits(&found.hash, slice_text(password)));
    assert_false(password_hash_fits(&found.hash, slice_text("another")));
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_new_file_is_for_its_owner_only(void **state)
{
    (void)state;
    mode_t before = umask(0);
    assert_int_equal(run("--stdin users alice", "wonderland\n"), 0);
    umask(before);
    assert_int_equal(mode_of("users"), 0600);
    assert_password("users", "alice", "wonderland");
    assert_int_equal(find("users", "alice").hash.kind, PASSWORD_SCRYPT);
    assert_string_equal(out, "");
    assert_string_equal(complaints, "");
}

static void every_kind_of_hash_can_be_chosen(void **state)
{
    (void)state;
    static const struct {
        const char *arguments;
        enum password_kind kind;
    } kinds[] = {{"--stdin --hash scrypt users a", PASSWORD_SCRYPT},
                 {"--hash pbkdf2 --stdin users b", PASSWORD_PBKDF2},
                 {"users --stdin c --hash argon2id", PASSWORD_ARGON2ID},
                 {"--scram --stdin users d", PASSWORD_SCRAM}};
    static const char *const names[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        assert_int_equal(run(kinds[i].arguments, "secret\n"), 0);
        assert_int_equal(find("users", names[i]).hash.kind, kinds[i].kind);
        assert_password("users", names[i], "secret");
    }
    assert_int_equal(find("users", "a").users, 4);
}

static void a_change_leaves_all_other_lines_the_mode_and_the_groups(void **state)
{
    (void)state;
    char text[2048];
    char before[2200];
    assert_int_equal(run("--stdin --groups admins,ops made alice", "old\n"), 0);
    read_file("made", text, sizeof(text));
    snprintf(before, sizeof(before), "# people\n\n%s# the end", text);
    write_file("users", before);
    assert_int_equal(chmod(path_of("users"), 0640), 0);
    assert_int_equal(run("--stdin users alice", "new\n"), 0);
    assert_password("users", "alice", "new");
    assert_string_equal(find("users", "alice").groups, "admins,ops");
    assert_int_equal(mode_of("users"), 0640);
    read_file("users", text, sizeof(text));
    assert_true(strncmp(text, "# people\n\nalice:$scrypt$", 24) == 0);
    assert_non_null(strstr(text, "\n# the end\n"));
    assert_int_equal(run("--stdin --groups '' users alice", "new\n"), 0);
    assert_string_equal(find("users", "alice").groups, "");
}

static void a_user_can_be_removed_and_the_last_one_is_warned_of(void **state)
{
    (void)state;
    assert_int_equal(run("--stdin users alice", "x\n"), 0);
    assert_int_equal(run("--stdin users bob", "y\n"), 0);
    assert_int_equal(run("--delete users alice", ""), 0);
    assert_false(find("users", "alice").there);
    assert_password("users", "bob", "y");
    assert_int_equal(run("--delete users alice", ""), 1);
    assert_non_null(strstr(complaints, "no such user"));
    assert_int_equal(run("--delete users bob", ""), 0);
    assert_non_null(strstr(complaints, "no users any more"));
    assert_int_equal(run("--delete none bob", ""), 1);
}

static void a_link_stays_one(void **state)
{
    (void)state;
    char target[128];
    struct stat info;
    assert_int_equal(run("--stdin users alice", "x\n"), 0);
    strcpy(target, path_of("users"));
    assert_int_equal(symlink(target, path_of("link")), 0);
    assert_int_equal(run("--stdin link bob", "y\n"), 0);
    assert_int_equal(lstat(path_of("link"), &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_password("users", "bob", "y");
}

static void an_entry_for_the_configuration_is_printed_without_a_file(void **state)
{
    (void)state;
    char hash_text[512];
    char username[64];
    struct password_hash hash;
    struct text error = {0};
    assert_int_equal(run("--print --stdin --groups a,b alice", "wonderland\n"), 0);
    assert_int_equal(
        sscanf(out, "- username: \"%63[^\"]\"\n  password: \"%511[^\"]\"", username, hash_text), 2);
    assert_string_equal(username, "alice");
    assert_non_null(strstr(out, "  groups: \"a,b\"\n"));
    assert_int_equal(password_parse(slice_text(hash_text), &hash, &error), ERR_OK);
    assert_true(password_hash_fits(&hash, slice_text("wonderland")));
}

static void bad_passwords_change_nothing(void **state)
{
    (void)state;
    char long_one[1100];
    memset(long_one, 'x', sizeof(long_one));
    long_one[sizeof(long_one) - 1] = '\0';
    const char *const passwords[] = {"", "\n", "a\tb\n", "\xff\xfe\n", long_one};
    for (size_t i = 0; i < ARRAY_COUNT(passwords); i++) {
        assert_int_equal(run("--stdin users alice", passwords[i]), 1);
        assert_true(complaints[0] != '\0');
        assert_int_not_equal(access(path_of("users"), F_OK), 0);
    }
}

static void a_bad_file_is_not_touched(void **state)
{
    (void)state;
    char text[64];
    write_file("users", "alice:secret\n");
    assert_int_equal(run("--stdin users bob", "x\n"), 1);
    assert_non_null(strstr(complaints, "users:1:"));
    assert_null(strstr(complaints, "secret"));
    read_file("users", text, sizeof(text));
    assert_string_equal(text, "alice:secret\n");
    assert_int_equal(run("--stdin no/such/folder/users bob", "x\n"), 1);
}

static void a_wrong_command_line_is_told_with_code_2(void **state)
{
    (void)state;
    const char *const lines[] = {"",
                                 "users",
                                 "users alice more",
                                 "--unknown users alice",
                                 "--hash md5 users alice",
                                 "--hash",
                                 "users alice --groups",
                                 "--scram --hash scrypt users alice",
                                 "--print --delete users alice",
                                 "--print users alice",
                                 "--delete --scram users alice",
                                 "--stdin users a:b",
                                 "--stdin users ''",
                                 "--stdin --groups a,,b users alice"};
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        assert_int_equal(run(lines[i], "x\n"), 2);
        assert_non_null(strstr(complaints, "pulse: "));
        assert_int_not_equal(access(path_of("users"), F_OK), 0);
    }
    assert_int_equal(run("--help", ""), 0);
    assert_non_null(strstr(out, "usage: pulse passwd"));
}

static void without_a_terminal_it_asks_for_stdin(void **state)
{
    (void)state;
    assert_int_equal(run("users alice", "x\n"), 1);
    assert_non_null(strstr(complaints, "--stdin"));
}

/* ---- on a terminal --------------------------------------------------------------------------- */

/* What the terminal shows, up to `end`; fails when that does not come. */
static void expect(int terminal, const char *end, char *shown, size_t size)
{
    size_t len = 0;
    shown[0] = '\0';
    while (strstr(shown, end) == NULL) {
        assert_true(len + 1 < size);
        ssize_t got = read(terminal, shown + len, 1);
        assert_int_equal(got, 1);
        len++;
        shown[len] = '\0';
    }
}

static void type(int terminal, const char *keys)
{
    assert_int_equal(write(terminal, keys, strlen(keys)), strlen(keys));
}

static pid_t start_on_terminal(int *terminal)
{
    pid_t pid = forkpty(terminal, NULL, NULL, NULL);
    if (pid == 0) {
        alarm(20);
        exit(chdir(folder) == 0 ? call("users alice") : 98);
    }
    assert_true(pid > 0);
    return pid;
}

/* Types one after the other; gives the exit code. */
static int run_on_terminal(const char *first, const char *second)
{
    int terminal = -1;
    int status = 0;
    char shown[200];
    pid_t pid = start_on_terminal(&terminal);
    expect(terminal, "Password: ", shown, sizeof(shown));
    type(terminal, first);
    expect(terminal, "Once more: ", shown, sizeof(shown));
    assert_null(strstr(shown, "open-sesame"));
    type(terminal, second);
    while (read(terminal, shown, sizeof(shown)) > 0) {
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(terminal);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_terminal_is_asked_twice_without_an_echo(void **state)
{
    (void)state;
    assert_int_equal(run_on_terminal("open-sesame\n", "open-sesame\n"), 0);
    assert_password("users", "alice", "open-sesame");
    assert_int_equal(run_on_terminal("open-sesame\n", "open-says-me\n"), 1);
    assert_password("users", "alice", "open-sesame");
}

static void an_interrupt_ends_it_and_gives_the_echo_back(void **state)
{
    (void)state;
    int terminal = -1;
    int status = 0;
    char shown[200];
    struct termios settings;
    pid_t pid = start_on_terminal(&terminal);
    expect(terminal, "Password: ", shown, sizeof(shown));
    assert_int_equal(tcgetattr(terminal, &settings), 0);
    assert_true((settings.c_lflag & (tcflag_t)ECHO) == 0);
    type(terminal, "\x03");
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    assert_int_equal(tcgetattr(terminal, &settings), 0);
    assert_true((settings.c_lflag & (tcflag_t)ECHO) != 0);
    close(terminal);
    assert_int_not_equal(access(path_of("users"), F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    hash_seed_init();
    const struct CMUnitTest tests[] = {
        TEST(a_new_file_is_for_its_owner_only),
        TEST(every_kind_of_hash_can_be_chosen),
        TEST(a_change_leaves_all_other_lines_the_mode_and_the_groups),
        TEST(a_user_can_be_removed_and_the_last_one_is_warned_of),
        TEST(a_link_stays_one),
        TEST(an_entry_for_the_configuration_is_printed_without_a_file),
        TEST(bad_passwords_change_nothing),
        TEST(a_bad_file_is_not_touched),
        TEST(a_wrong_command_line_is_told_with_code_2),
        TEST(without_a_terminal_it_asks_for_stdin),
        TEST(a_terminal_is_asked_twice_without_an_echo),
        TEST(an_interrupt_ends_it_and_gives_the_echo_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
