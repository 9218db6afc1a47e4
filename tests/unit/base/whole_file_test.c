#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/whole_file.h"

#define BYTES_MAX 10

struct fixture {
    char folder[64];
    char path[96];
    struct whole_file file;
    struct text error;
};

static int set_up(void **state)
{
    struct fixture *fixture = mem_alloc(sizeof(*fixture));
    strcpy(fixture->folder, "/tmp/pulse-file-test-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->path, sizeof(fixture->path), "%s/file", fixture->folder);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    whole_file_fini(&fixture->file);
    text_fini(&fixture->error);
    unlink(fixture->path);
    rmdir(fixture->folder);
    mem_free(fixture);
    return 0;
}

static enum err read_content(struct fixture *fixture, const char *content, mode_t mode)
{
    FILE *out = fopen(fixture->path, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(content, 1, strlen(content), out), strlen(content));
    assert_int_equal(fchmod(fileno(out), mode), 0);
    assert_int_equal(fclose(out), 0);
    whole_file_fini(&fixture->file);
    return whole_file_read(&fixture->file, fixture->path, BYTES_MAX, &fixture->error);
}

static void assert_refused(struct fixture *fixture, const char *path, enum err err, const char *why)
{
    assert_int_equal(whole_file_read(&fixture->file, path, BYTES_MAX, &fixture->error), err);
    assert_null(fixture->file.data);
    assert_true(slice_starts_with(slice_text(fixture->error.data), path));
    assert_non_null(strstr(fixture->error.data, why));
    text_fini(&fixture->error);
}

static void a_file_up_to_the_limit_is_read_with_a_nul_behind_it(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(read_content(fixture, "", 0600), ERR_OK);
    assert_int_equal(fixture->file.len, 0);
    assert_string_equal((char *)fixture->file.data, "");
    assert_int_equal(read_content(fixture, "0123456789", 0600), ERR_OK);
    assert_int_equal(fixture->file.len, 10);
    assert_string_equal((char *)fixture->file.data, "0123456789");
    assert_null(fixture->error.data);
}

static void a_line_is_what_stands_before_the_line_ends(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(read_content(fixture, "a\nb \r\n\n", 0600), ERR_OK);
    assert_true(slice_equal(whole_file_line(&fixture->file), slice_text("a\nb ")));
    assert_int_equal(read_content(fixture, "\r\n\n", 0600), ERR_OK);
    assert_int_equal(whole_file_line(&fixture->file).len, 0);
}

static void who_may_read_it_is_told(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(read_content(fixture, "a", 0640), ERR_OK);
    assert_false(fixture->file.open_to_all);
    assert_int_equal(read_content(fixture, "a", 0604), ERR_OK);
    assert_true(fixture->file.open_to_all);
}

static void what_is_no_file_or_too_large_is_refused_with_the_reason(void **state)
{
    struct fixture *fixture = *state;
    assert_refused(fixture, fixture->path, ERR_IO, "No such file");
    assert_refused(fixture, fixture->folder, ERR_IO, "not a file");
    assert_refused(fixture, "/dev/zero", ERR_IO, "not a file");
    assert_int_equal(read_content(fixture, "0123456789a", 0600), ERR_RANGE);
    text_fini(&fixture->error);
    assert_refused(fixture, fixture->path, ERR_RANGE, "larger than 10 bytes");
}

static void a_pipe_is_refused_without_waiting_for_a_writer(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(mkfifo(fixture->path, 0600), 0);
    assert_refused(fixture, fixture->path, ERR_IO, "not a file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_up_to_the_limit_is_read_with_a_nul_behind_it),
        TEST(a_line_is_what_stands_before_the_line_ends),
        TEST(who_may_read_it_is_told),
        TEST(what_is_no_file_or_too_large_is_refused_with_the_reason),
        TEST(a_pipe_is_refused_without_waiting_for_a_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
