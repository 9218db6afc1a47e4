/*
 * config_source: what the file, the environment and the command line say, before anybody judged the
 * values.
 *
 * Owns      the texts of a list of settings.
 * Thread    main.
 * Errors    ERR_IO, ERR_SYNTAX or ERR_MEMORY, with one line for people added to `error`.
 */
#ifndef PULSE_NODE_CONFIG_SOURCE_PRIV_H
#define PULSE_NODE_CONFIG_SOURCE_PRIV_H

#include "node/config_list_priv.h"

/* Larger files are not configuration. */
#define CONFIG_FILE_MAX (16 * 1024 * 1024)

/*
 * A value for an option, or for a key of the last entry of `list`, or (without an option) the
 * beginning of a new entry of `list`.
 */
struct config_setting {
    const struct config_option *option;
    const struct config_list *list; /* NULL: the option is no key of a list */
    enum config_origin origin;
    char *words; /* the value, as it was written; NULL of a new entry */
    char *place; /* "pulse.yaml:12", "PULSE_SERVER_BIND", "--bind"; printable */
};

/* A zeroed one is empty. Later ones win over earlier ones. */
struct config_settings {
    struct config_setting *items;
    size_t count;
    size_t cap;
};

void config__settings_fini(struct config_settings *settings);

/* Adds a copy of all that `setting` names. */
void config__settings_add(struct config_settings *settings, struct config_setting setting);

/*
 * The settings from index `from` on are one layer. If it names where to keep things and not the
 * engine that does so, adds that engine as its setting: of the last of storage.sqlite,
 * storage.mysql and storage.wal_dir that is there, in this order.
 */
void config__settings_imply_engine(struct config_settings *settings, size_t from);

/* Reads the YAML file `path`. */
must_check enum err config__file_read(struct config_settings *settings, const char *path,
                                      struct text *error);

/* Where everything stands in a file; 0: it is not there. */
struct config_outline {
    size_t options[CONFIG_OPTION_COUNT];
    struct {
        size_t (*entries)[1 + CONFIG_LIST_KEYS_MAX]; /* the entry, and each of its keys */
        size_t count;
    } lists[CONFIG_LIST_COUNT];
};

/*
 * Writes the lines of all that `text` names, after checking what the schema can't say well: unknown
 * keys, keys given twice, values that are not single ones, keys that must be given. `name` is the
 * printable name of the file. End `outline` with config__outline_fini, whatever was returned.
 */
must_check enum err config__outline_read(struct slice text, const char *name,
                                         struct config_outline *outline, struct text *error);
void config__outline_fini(struct config_outline *outline);

/* Reads PULSE_*, MQTT_RS_* and RUST_LOG. Adds one line to `warnings` for each that looks meant for
 * us. */
void config__environment_read(struct config_settings *settings, char *const *environment,
                              struct text *warnings);

enum config_command {
    CONFIG_COMMAND_RUN,
    CONFIG_COMMAND_HELP,
    CONFIG_COMMAND_VERSION,
    CONFIG_COMMAND_REFERENCE,
    CONFIG_COMMAND_METRICS,
    CONFIG_COMMAND_CHECK,
    CONFIG_COMMAND_PRINT
};

struct config_flags {
    enum config_command command;
    const char *file;     /* borrowed from argv, or NULL */
    const char **operand; /* where the one word goes that is no flag; NULL: there must be none */
};

/* Reads the command line up to its end, or to a flag that needs nothing else, such as --help. */
must_check enum err config__flags_read(struct config_settings *settings, struct config_flags *flags,
                                       int argc, char *const *argv, struct text *error);

/* Does the command need no configuration, so that nothing else on the line matters? */
bool config__stands_alone(enum config_command command);

/* The flags that are not options: X(COMMAND, "--flag", "-f", "what it does"). */
#define CONFIG_COMMANDS(X)                                                                    \
    X(HELP, "--help", "-h", "print this page")                                                \
    X(VERSION, "--version", "-V", "print the version")                                        \
    X(CHECK, "--check-config", NULL, "read and check everything, and exit")                   \
    X(PRINT, "--print-config", NULL, "print the effective configuration as YAML, and exit")   \
    X(REFERENCE, "--print-reference", NULL, "print the reference of all options as Markdown") \
    X(METRICS, "--print-metrics-reference", NULL, "print the reference of all metrics as Markdown")

/* The best of the candidates offered so far for a word that is not known. */
struct config_guess {
    const char *word;
    size_t distance;
    struct text best; /* empty: none is close enough */
};

void config__guess_offer(struct config_guess *guess, const char *candidate);

/* Adds `; did you mean "..."?` when there is a guess, and ends `guess`. */
void config__guess_finish(struct config_guess *guess, struct text *text);

#endif
