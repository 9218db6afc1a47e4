#include "node/passwd_command.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/auth/password_edit.h"
#include "node/auth/password_file.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2

/* More than this is no password that somebody typed. */
#define PASSWORD_BYTES_MAX 1000

/* clang-format off */
const char passwd_command_help[] =
    "usage: pulse passwd [OPTION]... FILE USER\n"
    "       pulse passwd --delete FILE USER\n"
    "       pulse passwd --print [OPTION]... USER\n"
    "\n"
    "Adds a user to a password file, or gives it another password. The password is asked for twice on\n"
    "the terminal. A file that is not there is made, for its owner to read only; the broker must be\n"
    "able to read it, too. A running broker takes the change at SIGHUP.\n"
    "\n"
    "  --stdin         read the password from standard input, one line\n"
    "  --groups A,B    groups of the user; not given: those it has. '' takes all away\n"
    "  --hash KIND     scrypt (if nothing is said), pbkdf2 or argon2id\n"
    "  --scram         store what SCRAM-SHA-256 needs; does for logins without it, too\n"
    "  --delete        remove the user\n"
    "  --print         change no file, and print an entry for auth.users of the configuration\n"
    "\n"
    "  pulse passwd /etc/pulse/passwords alice\n"
    "  pulse passwd --stdin --groups sensors passwords device-7 < secret\n";
/* clang-format on */

struct passwd {
    bool from_stdin;
    bool remove;
    bool print;
    enum password_kind kind;
    bool kind_given;
    const char *groups; /* NULL: not given */
    const char *words[2];
    int word_count;
    const char *file;
    struct slice username;
};

/* ---- the command line ------------------------------------------------------------------------ */

static bool wrong_usage(const char *what, const char *word)
{
    fprintf(stderr, "pulse: %s%s%s; pulse passwd --help says how it is used\n", what,
            word != NULL ? " " : "", word != NULL ? word : "");
    return false;
}

static bool read_kind(const char *word, struct passwd *passwd)
{
    static const struct {
        const char *name;
        enum password_kind kind;
    } kinds[] = {
        {"scrypt", PASSWORD_SCRYPT}, {"pbkdf2", PASSWORD_PBKDF2}, {"argon2id", PASSWORD_ARGON2ID}};
    if (passwd->kind_given) {
        return wrong_usage("--hash and --scram exclude each other, and each is given once", NULL);
    }
    passwd->kind_given = true;
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        if (strcmp(word, kinds[i].name) == 0) {
            passwd->kind = kinds[i].kind;
            return true;
        }
    }
    if (strcmp(word, "scram") == 0) {
        passwd->kind = PASSWORD_SCRAM;
        return true;
    }
    return wrong_usage("--hash is scrypt, pbkdf2 or argon2id, not", word);
}

/* Reads the option at `argv[*at]`, and moves over its value. */
static bool read_option(int argc, char **argv, int *at, struct passwd *passwd)
{
    const char *option = argv[*at];
    bool has_value = strcmp(option, "--groups") == 0 || strcmp(option, "--hash") == 0;
    if (has_value && *at + 1 == argc) {
        return wrong_usage("a value is missing behind", option);
    }
    if (strcmp(option, "--stdin") == 0) {
        passwd->from_stdin = true;
    } else if (strcmp(option, "--delete") == 0) {
        passwd->remove = true;
    } else if (strcmp(option, "--print") == 0) {
        passwd->print = true;
    } else if (strcmp(option, "--scram") == 0) {
        return read_kind("scram", passwd);
    } else if (strcmp(option, "--groups") == 0) {
        passwd->groups = argv[++*at];
    } else if (strcmp(option, "--hash") == 0) {
        return read_kind(argv[++*at], passwd);
    } else {
        return wrong_usage("there is no option", option);
    }
    return true;
}

static bool check_words(struct passwd *passwd)
{
    int wanted = passwd->print ? 1 : 2;
    if (passwd->print && passwd->remove) {
        return wrong_usage("--print and --delete exclude each other", NULL);
    }
    if (passwd->remove && (passwd->groups != NULL || passwd->kind_given)) {
        return wrong_usage("--delete takes no other options", NULL);
    }
    if (passwd->word_count != wanted) {
        return wrong_usage(passwd->print ? "expected USER" : "expected FILE and USER", NULL);
    }
    passwd->file = passwd->print ? NULL : passwd->words[0];
    passwd->username = slice_text(passwd->words[wanted - 1]);
    const char *wrong = password_file_check_username(passwd->username);
    if (wrong == NULL && passwd->groups != NULL) {
        wrong = password_file_check_groups(slice_text(passwd->groups));
    }
    return wrong == NULL || wrong_usage(wrong, NULL);
}

static bool read_command_line(int argc, char **argv, struct passwd *passwd)
{
    bool options = true;
    *passwd = (struct passwd){.kind = PASSWORD_SCRYPT};
    for (int i = 1; i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0) {
            options = false;
        } else if (options && argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!read_option(argc, argv, &i, passwd)) {
                return false;
            }
        } else if (passwd->word_count == (int)ARRAY_COUNT(passwd->words)) {
            return wrong_usage("one word too many:", argv[i]);
        } else {
            passwd->words[passwd->word_count++] = argv[i];
        }
    }
    return check_words(passwd);
}

/* ---- the password ---------------------------------------------------------------------------- */

/* One line, or what there is of it. */
struct line {
    uint8_t bytes[PASSWORD_BYTES_MAX + 2];
    size_t len;
};

static const char no_password[] = "no password was given";

/* Why it is no good: constant text. NULL: it is. */
static const char *check_password(struct slice password)
{
    if (password.len == 0) {
        return no_password;
    }
    if (password.len > PASSWORD_BYTES_MAX) {
        return "the password is longer than 1000 bytes";
    }
    return password_is_text(password)
               ? NULL
               : "the password is not UTF-8, or has control characters in it";
}

/* Waits until there is something to read; false when a signal comes that ends the process. */
static bool wait_for_input(int fd, int signals)
{
    struct pollfd both[2] = {{.fd = fd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
    while (poll(both, 2, -1) < 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return both[1].revents == 0;
}

/* Reads byte by byte: what stands behind the line is not ours. `signals`: -1 for none. */
static bool read_line(int fd, int signals, struct line *line)
{
    line->len = 0;
    while (line->len < sizeof(line->bytes)) {
        ssize_t got = wait_for_input(fd, signals) ? read(fd, &line->bytes[line->len], 1) : -1;
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return false;
        }
        if (got == 0 || line->bytes[line->len] == '\n') {
            break;
        }
        line->len++;
    }
    if (line->len > 0 && line->bytes[line->len - 1] == '\r') {
        line->len--;
    }
    return true;
}

static bool say(int fd, const char *words)
{
    size_t len = strlen(words);
    return write(fd, words, len) == (ssize_t)len;
}

/* Asks for one line without showing what is typed. */
static bool ask_hidden(int terminal, int signals, const char *question, struct line *line)
{
    struct termios shown;
    if (tcgetattr(terminal, &shown) != 0) {
        return false;
    }
    struct termios hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    if (tcsetattr(terminal, TCSAFLUSH, &hidden) != 0) {
        return false;
    }
    bool done = say(terminal, question) && read_line(terminal, signals, line);
    bool restored = tcsetattr(terminal, TCSAFLUSH, &shown) == 0;
    return say(terminal, "\n") && done && restored;
}

static const char *ask_twice(int terminal, int signals, struct line *line)
{
    struct line again;
    const char *wrong = NULL;
    if (!ask_hidden(terminal, signals, "Password: ", line)) {
        return no_password;
    }
    wrong = check_password(slice_of(line->bytes, line->len));
    if (wrong == NULL && !ask_hidden(terminal, signals, "Once more: ", &again)) {
        return no_password;
    }
    if (wrong == NULL &&
        (again.len != line->len || CRYPTO_memcmp(again.bytes, line->bytes, line->len) != 0)) {
        wrong = "the two passwords differ";
    }
    OPENSSL_cleanse(&again, sizeof(again));
    return wrong;
}

/*
 * Signals that would end the process wait until the terminal shows again what is typed; they come
 * when they are unblocked.
 */
static const char *ask_on_terminal(struct line *line)
{
    sigset_t held;
    sigset_t before;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGQUIT);
    sigaddset(&held, SIGTSTP);
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (terminal < 0) {
        return "there is no terminal to ask for the password; see --stdin";
    }
    sigprocmask(SIG_BLOCK, &held, &before);
    int signals = signalfd(-1, &held, SFD_CLOEXEC);
    const char *wrong = signals < 0 ? "no file descriptor" : ask_twice(terminal, signals, line);
    if (signals >= 0) {
        close(signals);
    }
    close(terminal);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return wrong;
}

static const char *read_password(const struct passwd *passwd, struct line *line)
{
    if (!passwd->from_stdin) {
        return ask_on_terminal(line);
    }
    return read_line(STDIN_FILENO, -1, line) ? check_password(slice_of(line->bytes, line->len))
                                             : no_password;
}

static bool make_hash(const struct passwd *passwd, struct password_hash *hash)
{
    struct line line = {.len = 0};
    const char *wrong = read_password(passwd, &line);
    if (wrong == NULL &&
        password_make(passwd->kind, 0, slice_of(line.bytes, line.len), hash) != ERR_OK) {
        wrong = "no memory, or no random numbers";
    }
    OPENSSL_cleanse(&line, sizeof(line));
    if (wrong != NULL) {
        fprintf(stderr, "pulse: %s\n", wrong);
    }
    return wrong == NULL;
}

/* ---- what to do ------------------------------------------------------------------------------ */

/* In YAML, in double quotes: the same escapes as in JSON. */
static int print_entry(const struct passwd *passwd, const struct password_hash *hash)
{
    struct text out = {0};
    text_add(&out, "- username: \"");
    text_add_json(&out, passwd->username);
    text_add(&out, "\"\n  password: \"");
    password_print(hash, &out);
    text_add(&out, "\"\n");
    if (passwd->groups != NULL && passwd->groups[0] != '\0') {
        text_add(&out, "  groups: \"");
        text_add_json(&out, slice_text(passwd->groups));
        text_add(&out, "\"\n");
    }
    bool printed = fputs(out.data, stdout) != EOF && fflush(stdout) == 0;
    text_fini(&out);
    return printed ? 0 : EXIT_FAILED;
}

static int change_file(const struct passwd *passwd, const struct password_hash *hash)
{
    struct text error = {0};
    struct slice groups = slice_text(passwd->groups != NULL ? passwd->groups : "");
    struct password_change change = {.username = passwd->username,
                                     .hash = hash,
                                     .groups = passwd->groups != NULL ? &groups : NULL};
    size_t left = 0;
    enum err err = password_file_change(passwd->file, &change, &left, &error);
    if (err != ERR_OK) {
        fprintf(stderr, "pulse: %s\n", error.data);
    } else if (left == 0) {
        fprintf(stderr, "pulse: %s has no users any more; the broker does not take it like that\n",
                passwd->file);
    }
    text_fini(&error);
    return err == ERR_OK ? 0 : EXIT_FAILED;
}

int passwd_command_run(int argc, char **argv)
{
    struct passwd passwd;
    struct password_hash hash;
    if (!read_command_line(argc, argv, &passwd)) {
        return EXIT_USAGE;
    }
    if (passwd.remove) {
        return change_file(&passwd, NULL);
    }
    if (!make_hash(&passwd, &hash)) {
        return EXIT_FAILED;
    }
    int code = passwd.print ? print_entry(&passwd, &hash) : change_file(&passwd, &hash);
    OPENSSL_cleanse(&hash, sizeof(hash));
    return code;
}
