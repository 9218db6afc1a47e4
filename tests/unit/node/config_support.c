#include "tests/unit/node/config_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"

#define WORDS_MAX 24

static char path[64];

void config_file_write(const char *content)
{
    strcpy(path, "/tmp/pulse-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
}

void config_file_remove(void)
{
    unlink(path);
}

const char *config_file_name(void)
{
    return path;
}

/* Cuts `line` at its blanks into `words`, which end with NULL. */
static int split(char *line, char *words[static WORDS_MAX])
{
    int count = 0;
    char *rest = line;
    for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
        if (word[0] != '\0') {
            assert_true(count < WORDS_MAX - 1);
            words[count++] = strcmp(word, "FILE") == 0 ? path : word;
        }
    }
    words[count] = NULL;
    return count;
}

struct config_run config_run(const char *environment, const char *arguments)
{
    char line[1024];
    char variables[1024];
    char *argv[WORDS_MAX];
    char *envp[WORDS_MAX];
    struct config_run result = {0};
    size_t out_len = 0;
    size_t complaints_len = 0;
    snprintf(line, sizeof(line), "pulse %s", arguments);
    snprintf(variables, sizeof(variables), "%s", environment);
    int argc = split(line, argv);
    split(variables, envp);
    FILE *out = open_memstream(&result.out, &out_len);
    FILE *complaints = open_memstream(&result.complaints, &complaints_len);
    result.action = config_load(&result.config, argc, argv, envp, out, complaints);
    fclose(out);
    fclose(complaints);
    return result;
}

void config_run_end(struct config_run *result)
{
    config_fini(&result->config);
    free(result->out);
    free(result->complaints);
}

static void assert_quiet(const struct config_run *result)
{
    assert_string_equal(result->complaints, "");
    assert_int_equal(result->action, CONFIG_RUN);
    assert_string_equal(result->out, "");
}

struct config_run config_good(const char *environment, const char *arguments)
{
    struct config_run result = config_run(environment, arguments);
    assert_quiet(&result);
    return result;
}

struct config_run config_run_file(const char *yaml, const char *arguments)
{
    char line[1000];
    snprintf(line, sizeof(line), "-c FILE %s", arguments);
    config_file_write(yaml);
    struct config_run result = config_run("", line);
    config_file_remove();
    return result;
}

struct config_run config_good_file(const char *yaml, const char *arguments)
{
    struct config_run result = config_run_file(yaml, arguments);
    assert_quiet(&result);
    return result;
}

void assert_config_refused(const char *environment, const char *arguments, const char *line)
{
    struct config_run result = config_run(environment, arguments);
    assert_string_equal(result.complaints, line);
    assert_int_equal(result.action, CONFIG_EXIT_ERROR);
    assert_string_equal(result.out, "");
    config_run_end(&result);
}

/* Adds `lines` with "pulse: " before each and the name of the file for FILE. */
static void add_lines(const char *lines, struct text *text)
{
    while (*lines != '\0') {
        text_add(text, "pulse: ");
        for (; *lines != '\0' && *lines != '\n'; lines++) {
            if (strncmp(lines, "FILE", 4) == 0) {
                text_add(text, path);
                lines += 3;
            } else {
                text_add_bytes(text, lines, 1);
            }
        }
        text_add(text, "\n");
        lines += *lines == '\n' ? 1 : 0;
    }
}

static void assert_complaints(const char *yaml, const char *arguments, const char *lines,
                              enum config_action action)
{
    struct config_run result = config_run_file(yaml, arguments);
    struct text expected = {0};
    add_lines(lines, &expected);
    assert_string_equal(result.complaints, expected.data);
    assert_int_equal(result.action, action);
    text_fini(&expected);
    config_run_end(&result);
}

void assert_config_file_refused(const char *yaml, const char *arguments, const char *line)
{
    assert_complaints(yaml, arguments, line, CONFIG_EXIT_ERROR);
}

void assert_config_file_warned(const char *yaml, const char *arguments, const char *lines)
{
    assert_complaints(yaml, arguments, lines, CONFIG_RUN);
}
