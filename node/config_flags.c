#include "node/config_source_priv.h"

#include "node/command.h"
#include "node/config_value_priv.h"

struct command_flag {
    enum config_command command;
    const char *name;
    const char *letter;
};

static const struct command_flag command_flags[] = {
#define X(command, name, letter, about) {CONFIG_COMMAND_##command, name, letter},
    CONFIG_COMMANDS(X)
#undef X
};

/* The rest of the command line while it is read. */
struct reader {
    int argc;
    char *const *argv;
    int next; /* index of the next word */
    struct config_settings *settings;
    struct config_flags *flags;
    struct text *error;
};

/* Is `argument` the flag `name`, alone or with a value behind '='? */
static bool matches(const char *argument, const char *name)
{
    size_t len = strlen(name);
    return strncmp(argument, name, len) == 0 && (argument[len] == '\0' || argument[len] == '=');
}

/* Is `argument` the flag `name` with no- in it? */
static bool matches_no(const char *argument, const char *name)
{
    size_t len = strlen("--no-");
    return strncmp(argument, "--no-", len) == 0 && matches(argument + len, name + strlen("--"));
}

/* Is `argument` a flag of `option`, whose name is `name`? */
static bool is_flag_of(const struct config_option *option, const char *argument, const char *name)
{
    return matches(argument, name) ||
           (option->kind == CONFIG_KIND_BOOL && matches_no(argument, name));
}

/* The option of the flag `argument`, with the flag's name in `name`, or NULL. */
static const struct config_option *find_option(const char *argument, struct text *name)
{
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        struct text full = {0};
        struct text brief = {0};
        config__option_add_flag(&config__options[i], &full);
        config__option_add_short_flag(&config__options[i], &brief);
        bool is_full = is_flag_of(&config__options[i], argument, full.data);
        bool is_brief = brief.len > 0 && is_flag_of(&config__options[i], argument, brief.data);
        if (is_full || is_brief) {
            text_add(name, is_full ? full.data : brief.data);
        }
        text_fini(&full);
        text_fini(&brief);
        if (is_full || is_brief) {
            return &config__options[i];
        }
    }
    return NULL;
}

/* Borrows the value of the flag at hand: what stands behind its '=', or the next word. NULL: none.
 */
static const char *take_value(struct reader *reader, const char *argument, const char *name)
{
    if (argument[strlen(name)] == '=') {
        return argument + strlen(name) + 1;
    }
    bool there = reader->next < reader->argc && strncmp(reader->argv[reader->next], "--", 2) != 0;
    return there ? reader->argv[reader->next++] : NULL;
}

static void add(struct reader *reader, const struct config_option *option, const char *words,
                const char *name)
{
    config__settings_add(reader->settings, (struct config_setting){.option = option,
                                                                   .origin = CONFIG_FLAG,
                                                                   .words = (char *)words,
                                                                   .place = (char *)name});
}

static bool is_yes_or_no(const struct config_option *option, const char *words)
{
    struct config_value ignored;
    struct text reason = {0};
    bool good = config__value_parse(option, words, &ignored, &reason) == ERR_OK;
    text_fini(&reason);
    return good;
}

/* --flag and --no-flag are a yes and a no; the word behind them is another argument. */
static enum err read_yes_or_no(struct reader *reader, const struct config_option *option,
                               const char *argument, const char *name)
{
    const char *equals = strchr(argument, '=');
    bool no = matches_no(argument, name);
    if (no && equals != NULL) {
        text_printf(reader->error, "--no-%s: no value is expected", name + strlen("--"));
        return ERR_SYNTAX;
    }
    if (equals == NULL && reader->next < reader->argc &&
        is_yes_or_no(option, reader->argv[reader->next])) {
        text_printf(reader->error, "%s: its value stands behind a =, as in %s=true", argument,
                    name);
        return ERR_SYNTAX;
    }
    add(reader, option, no ? "false" : equals == NULL ? "true" : equals + 1, no ? argument : name);
    return ERR_OK;
}

static enum err read_option(struct reader *reader, const struct config_option *option,
                            const char *argument, const char *name)
{
    if (option->kind == CONFIG_KIND_BOOL) {
        return read_yes_or_no(reader, option, argument, name);
    }
    const char *words = take_value(reader, argument, name);
    if (words == NULL) {
        text_printf(reader->error, "%s: a value is missing", name);
        return ERR_SYNTAX;
    }
    add(reader, option, words, name);
    return ERR_OK;
}

static enum err read_file(struct reader *reader, const char *argument, const char *name)
{
    const char *path = take_value(reader, argument, name);
    if (path == NULL || path[0] == '\0') {
        text_printf(reader->error, "%s: the name of a file is missing", name);
        return ERR_SYNTAX;
    }
    if (reader->flags->file != NULL) {
        text_printf(reader->error, "%s: there can be only one configuration file", name);
        return ERR_SYNTAX;
    }
    reader->flags->file = path;
    return ERR_OK;
}

/* Offers the flag of `option` if it was only written without its section. */
static void offer_without_section(struct config_guess *guess, const struct config_option *option)
{
    struct text flag = {0};
    config__option_add_flag(option, &flag);
    size_t section_len = strlen(config__section_path(option->section)) + strlen("-");
    if (strncmp(guess->word, "--", 2) == 0 &&
        strcmp(guess->word + 2, flag.data + 2 + section_len) == 0) {
        text_add(&guess->best, flag.data);
    }
    text_fini(&flag);
}

/* Offers a flag, and that of its no. */
static void offer_flag(struct config_guess *guess, const struct config_option *option,
                       const char *flag)
{
    config__guess_offer(guess, flag);
    if (option->kind == CONFIG_KIND_BOOL) {
        struct text no = {0};
        text_printf(&no, "--no-%s", flag + strlen("--"));
        config__guess_offer(guess, no.data);
        text_fini(&no);
    }
}

static void offer_flags(struct config_guess *guess)
{
#define X(name, ...) config__guess_offer(guess, #name);
    COMMANDS(X)
#undef X
    config__guess_offer(guess, "--config");
    for (size_t i = 0; i < ARRAY_COUNT(command_flags); i++) {
        config__guess_offer(guess, command_flags[i].name);
    }
    for (size_t i = 0; i < CONFIG_OPTION_COUNT; i++) {
        struct text flag = {0};
        config__option_add_flag(&config__options[i], &flag);
        offer_flag(guess, &config__options[i], flag.data);
        text_fini(&flag);
        config__option_add_short_flag(&config__options[i], &flag);
        if (flag.len > 0) {
            offer_flag(guess, &config__options[i], flag.data);
        }
        text_fini(&flag);
    }
    for (size_t i = 0; i < CONFIG_OPTION_COUNT && guess->best.len == 0; i++) {
        offer_without_section(guess, &config__options[i]);
    }
}

static enum err refuse(struct reader *reader, const char *argument)
{
    size_t len = strcspn(argument, "=");
    struct text name = {0};
    text_add_bytes(&name, argument, len);
    struct config_guess guess = {.word = name.data};
    offer_flags(&guess);
    text_add(reader->error, argument[0] == '-' ? "unknown flag \"" : "unexpected argument \"");
    text_add_json(reader->error, slice_of(argument, len < 80 ? len : 80));
    text_add(reader->error, guess.best.len > 0 ? "\"" : "\"; --help lists what there is");
    config__guess_finish(&guess, reader->error);
    text_fini(&name);
    return ERR_SYNTAX;
}

static const struct command_flag *find_command(const char *argument)
{
    for (size_t i = 0; i < ARRAY_COUNT(command_flags); i++) {
        const struct command_flag *flag = &command_flags[i];
        if (matches(argument, flag->name) ||
            (flag->letter != NULL && strcmp(argument, flag->letter) == 0)) {
            return flag;
        }
    }
    return NULL;
}

static enum err read_command(struct reader *reader, const struct command_flag *flag,
                             const char *argument)
{
    if (strchr(argument, '=') != NULL) {
        text_printf(reader->error, "%s: no value is expected", flag->name);
        return ERR_SYNTAX;
    }
    reader->flags->command = flag->command;
    return ERR_OK;
}

/* Is it the one word without a flag that may be there, and the first one? */
static bool takes_operand(const struct reader *reader, const char *argument)
{
    const char **operand = reader->flags->operand;
    return operand != NULL && *operand == NULL && argument[0] != '-';
}

static enum err read_one(struct reader *reader)
{
    const char *argument = reader->argv[reader->next++];
    const struct command_flag *command = find_command(argument);
    if (command != NULL) {
        return read_command(reader, command, argument);
    }
    if (strcmp(argument, "-c") == 0 || matches(argument, "--config")) {
        return read_file(reader, argument, argument[1] == 'c' ? "-c" : "--config");
    }
    if (takes_operand(reader, argument)) {
        *reader->flags->operand = argument;
        return ERR_OK;
    }
    struct text name = {0};
    const struct config_option *option = find_option(argument, &name);
    enum err err = option == NULL ? refuse(reader, argument)
                                  : read_option(reader, option, argument, name.data);
    text_fini(&name);
    return err;
}

bool config__stands_alone(enum config_command command)
{
    return command == CONFIG_COMMAND_HELP || command == CONFIG_COMMAND_VERSION ||
           command == CONFIG_COMMAND_REFERENCE || command == CONFIG_COMMAND_METRICS;
}

enum err config__flags_read(struct config_settings *settings, struct config_flags *flags, int argc,
                            char *const *argv, struct text *error)
{
    struct reader reader = {.argc = argc,
                            .argv = argv,
                            .next = 1,
                            .settings = settings,
                            .flags = flags,
                            .error = error};
    while (reader.next < argc && !config__stands_alone(flags->command)) {
        enum err err = read_one(&reader);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}
