#include "node/ctl_command.h"

#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "node/ctl_priv.h"

struct option {
    const char *name;
    const char *value; /* empty: a switch */
    const char *about;
    size_t offset; /* of its field in struct ctl */
};

static const struct option options[] = {
#define X(field, name_, value_, about_) \
    {.name = name_, .value = value_, .about = about_, .offset = offsetof(struct ctl, field)},
    CTL_OPTIONS(X)
#undef X
};

int ctl__fail(const char *format, ...)
{
    va_list args;
    fputs("pulse ctl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return CTL_FAILED;
}

/* Is it an option of the verb? */
static bool is_for(const struct ctl_verb *verb, const struct option *option)
{
    char padded[48];
    snprintf(padded, sizeof(padded), " %s ", option->name);
    return option < options + CTL_COMMON_OPTIONS || strstr(verb->options, padded) != NULL;
}

/* ---- help ------------------------------------------------------------------------------------ */

static void print_options(const struct ctl_verb *verb)
{
    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        char name[40];
        if (verb != NULL && !is_for(verb, &options[i])) {
            continue;
        }
        snprintf(name, sizeof(name), "--%s %s", options[i].name, options[i].value);
        printf("  %-24s %s\n", name, options[i].about);
    }
}

static int print_help(const struct ctl_verb *verb)
{
    if (verb != NULL) {
        printf("usage: pulse ctl %s %s [--OPTION VALUE]...\n\n%s\n\n", verb->name, verb->words,
               verb->about);
        print_options(verb);
        return ctl__finish_output();
    }
    printf("usage: pulse ctl VERB [--OPTION VALUE]...\n\n"
           "Asks the admin API of a running broker (admin.enabled).\n\n");
    for (size_t i = 0; i < ctl__verb_count; i++) {
        char words[48];
        snprintf(words, sizeof(words), "%s %s", ctl__verbs[i].name, ctl__verbs[i].words);
        printf("  %-24s %s\n", words, ctl__verbs[i].about);
    }
    printf("\n");
    print_options(NULL);
    printf("\nExit codes: 0 done, 1 refused or not reachable, 2 the command line is wrong.\n");
    return ctl__finish_output();
}

/* ---- the command line ------------------------------------------------------------------------ */

static const struct ctl_verb *find_verb(const char *name)
{
    for (size_t i = 0; name != NULL && i < ctl__verb_count; i++) {
        if (strcmp(ctl__verbs[i].name, name) == 0) {
            return &ctl__verbs[i];
        }
    }
    return NULL;
}

static const struct option *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        if (strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0) {
            return &options[i];
        }
    }
    return NULL;
}

static const char **field(struct ctl *ctl, const struct option *option)
{
    return (const char **)(void *)((char *)ctl + option->offset);
}

/* Takes the option at argv[*at], and its value. False: told. */
static bool take_option(struct ctl *ctl, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find_option(name, len);
    if (option == NULL) {
        (void)ctl__fail("unknown option --%.*s; --help lists them", (int)len, name);
        return false;
    }
    const char *value = equals != NULL ? equals + 1 : "";
    bool wants = option->value[0] != '\0';
    if (wants && equals == NULL) {
        value = argv[*at + 1];
        *at += value != NULL;
    }
    if (value == NULL || (!wants && equals != NULL)) {
        (void)ctl__fail(wants ? "--%s needs a value" : "--%s takes no value", option->name);
        return false;
    }
    *field(ctl, option) = value;
    return true;
}

/* The first word is the verb. False: told. */
static bool take_word(struct ctl *ctl, const struct ctl_verb **verb, const char *word)
{
    if (*verb == NULL) {
        *verb = find_verb(word);
        if (*verb == NULL) {
            (void)ctl__fail("no such verb: %s; --help lists them", word);
        }
        return *verb != NULL;
    }
    if (ctl->argument_count == (*verb)->arguments_max) {
        (void)ctl__fail("one word too many: %s", word);
        return false;
    }
    ctl->arguments[ctl->argument_count++] = word;
    return true;
}

static bool parse(struct ctl *ctl, const struct ctl_verb **verb, char **argv)
{
    bool only_words = false;
    bool good = true;
    for (int at = 1; good && argv[at] != NULL; at++) {
        if (!only_words && strcmp(argv[at], "--") == 0) {
            only_words = true;
        } else if (!only_words && strcmp(argv[at], "-h") == 0) {
            ctl->help = "";
        } else if (!only_words && strncmp(argv[at], "--", 2) == 0) {
            good = take_option(ctl, argv, &at);
        } else {
            good = take_word(ctl, verb, argv[at]);
        }
    }
    return good;
}

/* Whether what was given is for the verb, and enough. False: told. */
static bool check(struct ctl *ctl, const struct ctl_verb *verb)
{
    if (verb == NULL) {
        (void)ctl__fail("a verb is missing; --help lists them");
        return false;
    }
    for (size_t i = 0; i < ARRAY_COUNT(options); i++) {
        if (*field(ctl, &options[i]) != NULL && !is_for(verb, &options[i])) {
            (void)ctl__fail("%s has no option --%s", verb->name, options[i].name);
            return false;
        }
    }
    if (ctl->argument_count < verb->arguments_min) {
        (void)ctl__fail("usage: pulse ctl %s %s", verb->name, verb->words);
        return false;
    }
    return true;
}

int ctl_command(int argc, char **argv)
{
    struct ctl ctl = {.url = NULL};
    const struct ctl_verb *verb = NULL;
    (void)argc;
    if (!parse(&ctl, &verb, argv)) {
        return CTL_USAGE;
    }
    if (ctl.help != NULL) {
        return print_help(verb);
    }
    if (!check(&ctl, verb)) {
        return CTL_USAGE;
    }
    signal(SIGPIPE, SIG_IGN); /* a reader that stops is an error of writing */
    ctl.http = ctl__http_open(&ctl);
    int code = ctl.http != NULL ? verb->run(&ctl) : CTL_FAILED;
    ctl__http_close(ctl.http);
    return code;
}
