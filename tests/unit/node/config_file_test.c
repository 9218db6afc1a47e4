/*
 * What libcyaml would take for something else, or would explain badly: each case here was measured
 * before the reader was written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/config_source_priv.h"

/* A file with known content, removed by file_remove. */
static char path[64];

static void file_write(struct slice content)
{
    strcpy(path, "/tmp/pulse-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content.data, content.len), content.len);
    close(fd);
}

static void file_remove(void)
{
    unlink(path);
}

static enum err read_bytes(struct slice content, struct config_settings *settings,
                           struct text *error)
{
    file_write(content);
    enum err err = config__file_read(settings, path, error);
    file_remove();
    return err;
}

/* Reads `yaml`, which must be good. */
static struct config_settings good(const char *yaml)
{
    struct config_settings settings = {0};
    struct text error = {0};
    if (read_bytes(slice_text(yaml), &settings, &error) != ERR_OK) {
        fail_msg("refused: %s", error.data);
    }
    assert_int_equal(error.len, 0);
    return settings;
}

static void assert_empty(const char *yaml)
{
    struct config_settings settings = good(yaml);
    assert_int_equal(settings.count, 0);
    config__settings_fini(&settings);
}

/* `yaml` gives one setting: the words that were written, and their line. */
static void assert_one(const char *yaml, const char *option, const char *words, unsigned line)
{
    struct config_settings settings = good(yaml);
    assert_int_equal(settings.count, 1);
    assert_string_equal(settings.items[0].option->path, option);
    assert_string_equal(settings.items[0].words, words);
    assert_int_equal(settings.items[0].origin, CONFIG_FILE);
    struct text place = {0};
    text_printf(&place, "%s:%u", path, line);
    assert_string_equal(settings.items[0].place, place.data);
    text_fini(&place);
    config__settings_fini(&settings);
}

/* The error is the file's name and then `rest`. */
static void assert_bytes_refused(struct slice yaml, const char *rest)
{
    struct config_settings settings = {0};
    struct text error = {0};
    assert_int_equal(read_bytes(yaml, &settings, &error), ERR_SYNTAX);
    assert_int_equal(settings.count, 0);
    assert_memory_equal(error.data, path, strlen(path));
    assert_string_equal(error.data + strlen(path), rest);
    text_fini(&error);
}

static void assert_refused(const char *yaml, const char *rest)
{
    assert_bytes_refused(slice_text(yaml), rest);
}

/* libcyaml reads 10s into an integer as 10, 010 as 8 and 0x10 as 16, and maybe as true. */
static void values_come_as_they_are_written(void **state)
{
    (void)state;
    assert_one("server:\n  worker_threads: 10s\n", "server.worker_threads", "10s", 2);
    assert_one("server:\n  worker_threads: 010\n", "server.worker_threads", "010", 2);
    assert_one("server:\n  worker_threads: 0x10\n", "server.worker_threads", "0x10", 2);
    assert_one("server:\n  worker_threads: maybe\n", "server.worker_threads", "maybe", 2);
    assert_one("server:\n  worker_threads: 0\n", "server.worker_threads", "0", 2);
    assert_one("storage:\n  engine: MEMORY\n", "storage.engine", "MEMORY", 2);
}

static void a_section_with_nothing_in_it_leaves_the_defaults(void **state)
{
    (void)state;
    assert_empty("server:\n");
    assert_empty("server: ~\nlimits: null\nstorage: {}\n");
    assert_one("limits:\nserver:\n  bind: a:1\n", "server.bind", "a:1", 3);
}

static void a_key_with_nothing_behind_it_leaves_the_default(void **state)
{
    (void)state;
    assert_empty("server:\n  bind:\n  worker_threads: ~\n");
    assert_empty("server:\n  bind: \"\"\n");
}

static void an_empty_file_leaves_the_defaults(void **state)
{
    (void)state;
    assert_empty("");
    assert_empty("# nothing\n\n  # at all\n");
    assert_empty("{}\n");
    assert_one("---\nserver: {bind: 'a:1'}\n...\n", "server.bind", "a:1", 2);
}

/* A nested line without a deeper key is a continuation in YAML: "info file". The value's parser
 * sees it. */
static void wrong_indentation_folds_lines_into_one_value(void **state)
{
    (void)state;
    assert_one("observability:\n  log: info\n    file\n", "observability.log", "info file", 2);
    assert_refused("observability:\n  log: info\n    file: x\n",
                   ":3: this is not YAML: mapping values are not allowed in this context");
}

static void an_unknown_key_is_refused_with_a_guess(void **state)
{
    (void)state;
    assert_refused("server:\n  # a comment\n  bnd: x\n",
                   ":3: unknown key \"server.bnd\"; did you mean \"server.bind\"?");
    assert_refused("server:\n  bind: a:1\n  log: info\n",
                   ":3: unknown key \"server.log\"; did you mean \"observability.log\"?");
    assert_refused("limits:\n  frobnicate: 1\n", ":2: unknown key \"limits.frobnicate\"");
    assert_refused("server:\n  \"a\\nb\": 1\n", ":2: unknown key \"server.a...\"");
}

static void an_unknown_section_is_refused_with_a_guess(void **state)
{
    (void)state;
    assert_refused("sever:\n  bind: x\n",
                   ":1: unknown section \"sever\"; did you mean \"server\"?");
    assert_refused("\nbind: x\n", ":2: unknown section \"bind\"; did you mean \"server.bind\"?");
    assert_refused("bridges:\n  bind: x\n", ":1: unknown section \"bridges\"");
}

static void a_key_given_twice_is_refused(void **state)
{
    (void)state;
    assert_refused("server:\n  bind: a:1\n  bind: b:1\n",
                   ":3: server.bind: given twice, first in line 2");
    assert_refused("server:\n  bind: a:1\nlimits:\nserver:\n  worker_threads: 1\n",
                   ":4: server: given twice, first in line 1");
}

static void a_merge_key_is_refused(void **state)
{
    (void)state;
    assert_refused("server: &s\n  bind: a:1\nlimits:\n  <<: *s\n", ":4: unknown key \"limits.<<\"");
}

/* libcyaml ignores it with a warning. */
static void a_second_document_is_refused(void **state)
{
    (void)state;
    assert_refused("server:\n  bind: a:1\n---\nserver:\n  bind: b:1\n",
                   ":4: a second document is not read; keep all in one");
    assert_refused("server:\n  bind: a:1\n---\n",
                   ":4: a second document is not read; keep all in one");
}

static void a_list_or_a_mapping_is_no_value(void **state)
{
    (void)state;
    assert_refused("server:\n  bind: [a, b]\n", ":2: server.bind: one value is expected here");
    assert_refused("server:\n  bind: {a: b}\n", ":2: server.bind: one value is expected here");
    assert_refused("server:\n  bind: [::1]:1883\n",
                   ":2: this is not YAML: did not find expected node content");
}

static void a_section_must_have_keys(void **state)
{
    (void)state;
    assert_refused("server: x\n", ":1: server: keys and values are expected below it");
    assert_refused("limits:\nserver: [a]\n", ":2: server: keys and values are expected below it");
}

static void a_file_must_have_sections(void **state)
{
    (void)state;
    assert_refused("hello\n", ":1: a section such as \"server:\" is expected here");
    assert_refused("- a\n", ":1: a section such as \"server:\" is expected here");
    assert_refused("~\n", ":1: a section such as \"server:\" is expected here");
}

/* libcyaml gives up on it without a reason. */
static void a_key_that_is_no_word_is_refused(void **state)
{
    (void)state;
    assert_refused("? [a]\n: b\n", ":1: a key is expected here");
    assert_refused("server:\n  ? {a: b}\n  : c\n", ":2: a key is expected here");
}

/* libcyaml ends the string there. */
static void a_value_with_a_nul_byte_is_refused(void **state)
{
    (void)state;
    assert_refused("server:\n  bind: \"a:1\\0b\"\n", ":2: server.bind: one value is expected here");
    assert_refused("server:\n  \"bind\\0x\": a\n", ":2: a key is expected here");
}

static void aliases_work_and_unknown_ones_are_refused(void **state)
{
    (void)state;
    struct config_settings settings = good("server:\n  worker_threads: &n 4\n"
                                           "limits:\n  max_inflight: *n\n");
    assert_int_equal(settings.count, 2);
    assert_string_equal(settings.items[1].option->path, "limits.max_inflight");
    assert_string_equal(settings.items[1].words, "4");
    assert_non_null(strstr(settings.items[1].place, ":4"));
    config__settings_fini(&settings);
    assert_refused("server:\n  bind: *nobody\n", ":2: this is not YAML: found undefined alias");
}

static void text_that_is_not_yaml_is_refused_with_its_line(void **state)
{
    (void)state;
    assert_refused("server:\n\tbind: a:1\n",
                   ":2: this is not YAML: found character that cannot start any token");
    assert_refused("server:\n  bind: \"a:1\n  worker_threads: 1\n",
                   ":2: this is not YAML: found unexpected end of stream");
    assert_refused("server:\n  bind: {a\n",
                   ":3: this is not YAML: did not find expected ',' or '}'");
}

static void bytes_that_are_not_text_are_refused(void **state)
{
    (void)state;
    assert_refused("server:\n  bind: \xff\n",
                   ": at byte 16: this is not YAML: invalid leading UTF-8 octet");
    assert_bytes_refused(slice_of("\0\0\0", 3),
                         ": at byte 0: this is not YAML: control characters are not allowed");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    char yaml[20000];
    memset(yaml, '[', sizeof(yaml) - 1);
    yaml[sizeof(yaml) - 1] = '\0';
    struct config_settings settings = {0};
    struct text error = {0};
    assert_int_equal(read_bytes(slice_text(yaml), &settings, &error), ERR_SYNTAX);
    assert_null(strchr(error.data, '\n'));
    text_fini(&error);
}

static void a_file_of_sixteen_mebibytes_is_read_and_a_longer_one_is_not(void **state)
{
    (void)state;
    struct text yaml = {0};
    struct text error = {0};
    struct config_settings settings = {0};
    text_add(&yaml, "server:\n  bind: a:1\n");
    while (yaml.len < CONFIG_FILE_MAX) {
        text_add(&yaml, yaml.len % 80 == 79 ? "\n" : "#");
    }
    assert_int_equal(read_bytes(slice_of(yaml.data, yaml.len), &settings, &error), ERR_OK);
    assert_int_equal(settings.count, 1);
    text_add(&yaml, "#");
    assert_int_equal(read_bytes(slice_of(yaml.data, yaml.len), &settings, &error), ERR_IO);
    assert_string_equal(error.data + strlen(path), ": larger than 16777216 bytes");
    config__settings_fini(&settings);
    text_fini(&error);
    text_fini(&yaml);
}

static void a_file_that_cannot_be_read_is_an_error_with_its_reason(void **state)
{
    (void)state;
    struct config_settings settings = {0};
    struct text error = {0};
    assert_int_equal(config__file_read(&settings, "/nowhere/a\nb.yaml", &error), ERR_IO);
    assert_string_equal(error.data, "cannot read /nowhere/a\\nb.yaml: No such file or directory");
    text_fini(&error);
    assert_int_equal(config__file_read(&settings, "/tmp", &error), ERR_IO);
    assert_string_equal(error.data, "cannot read /tmp: Is a directory");
    text_fini(&error);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_as_they_are_written),
        cmocka_unit_test(a_section_with_nothing_in_it_leaves_the_defaults),
        cmocka_unit_test(a_key_with_nothing_behind_it_leaves_the_default),
        cmocka_unit_test(an_empty_file_leaves_the_defaults),
        cmocka_unit_test(wrong_indentation_folds_lines_into_one_value),
        cmocka_unit_test(an_unknown_key_is_refused_with_a_guess),
        cmocka_unit_test(an_unknown_section_is_refused_with_a_guess),
        cmocka_unit_test(a_key_given_twice_is_refused),
        cmocka_unit_test(a_merge_key_is_refused),
        cmocka_unit_test(a_second_document_is_refused),
        cmocka_unit_test(a_list_or_a_mapping_is_no_value),
        cmocka_unit_test(a_section_must_have_keys),
        cmocka_unit_test(a_file_must_have_sections),
        cmocka_unit_test(a_key_that_is_no_word_is_refused),
        cmocka_unit_test(a_value_with_a_nul_byte_is_refused),
        cmocka_unit_test(aliases_work_and_unknown_ones_are_refused),
        cmocka_unit_test(text_that_is_not_yaml_is_refused_with_its_line),
        cmocka_unit_test(bytes_that_are_not_text_are_refused),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(a_file_of_sixteen_mebibytes_is_read_and_a_longer_one_is_not),
        cmocka_unit_test(a_file_that_cannot_be_read_is_an_error_with_its_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
