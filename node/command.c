#include "node/command.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/macros.h"
#include "node/config.h"
#include "node/passwd_command.h"
#include "node/ctl_command.h"
#include "node/storage_settings.h"
#include "storage/transfer.h"
#include "storage/wal_tool.h"

#define EXIT_FAILED 1
#define EXIT_USAGE 2

/* One of export and import, while it runs. */
struct transfer {
    struct config config;
    struct storage_settings settings;
    const char *file; /* to import; NULL: standard input */
    struct transfer_counts counts;
    struct text error;
};

/* clang-format off */
static const char export_help[] =
    "usage: pulse export [-c FILE] [--OPTION VALUE]... > FILE\n"
    "\n"
    "Writes all that the configured store holds to standard output, as lines of JSON: sessions with\n"
    "their subscriptions, queues and wills, and retained messages. Takes the options of the broker,\n"
    "from the same places. The broker must not run meanwhile.\n"
    "\n"
    "  pulse export -c /etc/pulse/pulse.yaml > state.jsonl\n"
    "  pulse export --wal-dir /var/lib/pulse > state.jsonl\n";

static const char import_help[] =
    "usage: pulse import [-c FILE] [--OPTION VALUE]... [FILE]\n"
    "\n"
    "Fills the configured store, which is made or must be empty, with what `pulse export` has\n"
    "written: from FILE, or from standard input. Everything is checked before the first change.\n"
    "Takes the options of the broker, from the same places. The broker must not run meanwhile.\n"
    "\n"
    "  pulse import -c /etc/pulse/pulse.yaml state.jsonl\n"
    "  pulse export --wal-dir old | pulse import --sqlite new.db\n";
/* clang-format on */

static void add_counts(const struct transfer_counts *counts, struct text *text)
{
    text_printf(text,
                "%" PRIu64 " sessions, %" PRIu64 " subscriptions, %" PRIu64 " queued messages, "
                "%" PRIu64 " retained messages",
                counts->by_type[OPERATION_SESSION_PUT], counts->by_type[OPERATION_SUBSCRIPTION_PUT],
                counts->by_type[OPERATION_QUEUE_PUSH], counts->by_type[OPERATION_RETAINED_PUT]);
}

/* Says how it ended: on stderr, because standard output may be the export itself. */
static int report(const struct transfer *transfer, const char *done, enum err err)
{
    struct text line = {0};
    if (err == ERR_OK) {
        text_printf(&line, "%s ", done);
        add_counts(&transfer->counts, &line);
    } else {
        text_add(&line, transfer->error.len > 0 ? transfer->error.data : err_text(err));
    }
    fprintf(stderr, "pulse: %s\n", line.data);
    text_fini(&line);
    return err == ERR_OK ? 0 : EXIT_FAILED;
}

static int export_store(struct transfer *transfer)
{
    enum err err =
        transfer_export(&transfer->settings.storage, stdout, &transfer->counts, &transfer->error);
    return report(transfer, "exported", err);
}

static int import_store(struct transfer *transfer)
{
    FILE *in = transfer->file == NULL ? stdin : fopen(transfer->file, "re");
    if (in == NULL) {
        fprintf(stderr, "pulse: cannot read %s: %s\n", transfer->file, strerror(errno));
        return EXIT_FAILED;
    }
    enum err err =
        transfer_import(&transfer->settings.storage, in, &transfer->counts, &transfer->error);
    if (in != stdin) {
        fclose(in);
    }
    return report(transfer, "imported", err);
}

/* Makes ready what an engine expects, and goes to work. */
static int start(struct transfer *transfer, int (*work)(struct transfer *transfer))
{
    bool json = transfer->config.observability_log_format == CONFIG_LOG_JSON;
    log_init(STDERR_FILENO, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT);
    hash_seed_init();
    signal(SIGPIPE, SIG_IGN); /* a reader that stops is an error of writing */
    storage_settings_init(&transfer->settings, &transfer->config);
    return work(transfer);
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static int print_help(const char *help)
{
    bool printed = fputs(help, stdout) != EOF && fflush(stdout) == 0;
    return printed ? 0 : EXIT_FAILED;
}

/* What is particular to a command. */
struct kind {
    const char *help;
    int (*work)(struct transfer *transfer);
    bool takes_file;
};

/* What stands behind the name of the command is read as a command line of its own. */
static enum config_action load(struct transfer *transfer, const struct kind *kind, int argc,
                               char **argv, char **environment)
{
    return kind->takes_file
               ? config_load_operand(&transfer->config, argc - 1, argv + 1, environment, stdout,
                                     stderr, &transfer->file)
               : config_load(&transfer->config, argc - 1, argv + 1, environment, stdout, stderr);
}

static int run_transfer(const struct kind *kind, int argc, char **argv, char **environment)
{
    struct transfer transfer = {0};
    int code = EXIT_USAGE;
    if (asks_for_help(argc, argv)) {
        return print_help(kind->help);
    }
    switch (load(&transfer, kind, argc, argv, environment)) {
    case CONFIG_RUN:
        code = start(&transfer, kind->work);
        break;
    case CONFIG_EXIT_OK:
        code = 0;
        break;
    case CONFIG_EXIT_ERROR:
        break;
    }
    config_fini(&transfer.config);
    text_fini(&transfer.error);
    return code;
}

static int run_export(int argc, char **argv, char **environment)
{
    const struct kind kind = {.help = export_help, .work = export_store};
    return run_transfer(&kind, argc, argv, environment);
}

static int run_import(int argc, char **argv, char **environment)
{
    const struct kind kind = {.help = import_help, .work = import_store, .takes_file = true};
    return run_transfer(&kind, argc, argv, environment);
}

/* The tool has a command line of its own: `pulse wal` is its name there. */
static int run_wal(int argc, char **argv, char **environment)
{
    static char name[] = "pulse wal";
    (void)environment;
    if (asks_for_help(argc, argv)) {
        return print_help(wal_tool_help);
    }
    hash_seed_init();
    argv[1] = name;
    return wal_tool_main(argc - 1, argv + 1);
}

static int run_ctl(int argc, char **argv, char **environment)
{
    (void)environment;
    return ctl_command(argc - 1, argv + 1);
}

/* Its options are its own, too. */
static int run_passwd(int argc, char **argv, char **environment)
{
    (void)environment;
    if (asks_for_help(argc, argv)) {
        return print_help(passwd_command_help);
    }
    return passwd_command_run(argc - 1, argv + 1);
}

bool command_run(int argc, char **argv, char **environment, int *exit_code)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv, char **environment);
    } commands[] = {
#define X(name, words, about) {#name, run_##name},
        COMMANDS(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_COUNT(commands) && argc > 1; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            *exit_code = commands[i].run(argc, argv, environment);
            return true;
        }
    }
    return false;
}
