#include "node/admin/access_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "node/config.h"

#define GOOD "0123456789abcdef-good-token"

/* A file with the token, and what was read from it. */
struct fixture {
    char path[64];
    struct config config;
    struct access access;
    struct text error;
};

static void write_token(const struct fixture *fixture, const char *content, size_t len)
{
    FILE *file = fopen(fixture->path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(content, 1, len, file), len);
    fclose(file);
    chmod(fixture->path, 0600);
}

static int create(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    strcpy(fixture->path, "/tmp/pulse-admin-test-XXXXXX");
    int fd = mkstemp(fixture->path);
    if (fd < 0) {
        return -1;
    }
    close(fd);
    fixture->config.admin_token_file = fixture->path;
    *state = fixture;
    return 0;
}

static int destroy(void **state)
{
    struct fixture *fixture = *state;
    unlink(fixture->path);
    text_fini(&fixture->error);
    free(fixture);
    return 0;
}

static enum err load(struct fixture *fixture)
{
    text_fini(&fixture->error);
    return access__load(&fixture->access, &fixture->config, &fixture->error);
}

static enum err load_content(struct fixture *fixture, const char *content)
{
    write_token(fixture, content, strlen(content));
    return load(fixture);
}

static void blanks_around_the_token_do_not_count(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(load_content(fixture, " \t" GOOD "\r\n\n"), ERR_OK);
    assert_true(fixture->access.has_token);
    assert_true(access__token_is_good(&fixture->access, "Bearer " GOOD));
    assert_true(access__token_is_good(&fixture->access, "bearer  " GOOD " "));
}

static void only_the_token_itself_is_good(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(load_content(fixture, GOOD), ERR_OK);
    static const char *const wrong[] = {
        NULL,
        "",
        "Bearer",
        "Bearer ",
        GOOD,
        "Basic " GOOD,
        "Bearer" GOOD,
        "Bearer " GOOD "x",
        "Bearer 0123",
        "Bearer 0123456789abcdef-good-tokeN",
        "Bearer x" GOOD,
        "Bearer " GOOD " " GOOD,
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        if (access__token_is_good(&fixture->access, wrong[i])) {
            fail_msg("taken: %s", wrong[i]);
        }
    }
}

static void a_file_without_a_token_is_an_error_and_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(load_content(fixture, GOOD), ERR_OK);
    assert_int_equal(load_content(fixture, ""), ERR_INVALID);
    assert_non_null(strstr(fixture->error.data, fixture->path));
    assert_int_equal(load_content(fixture, " \n"), ERR_INVALID);
    assert_int_equal(load_content(fixture, "too-short"), ERR_INVALID);
    assert_int_equal(load_content(fixture, "two words are none, are they"), ERR_INVALID);
    write_token(fixture, "0123456789abcdef\0ghij", 21);
    assert_int_equal(load(fixture), ERR_INVALID);
    char long_token[5000];
    memset(long_token, 'x', sizeof(long_token));
    write_token(fixture, long_token, sizeof(long_token));
    assert_int_equal(load(fixture), ERR_INVALID);
    unlink(fixture->path);
    assert_int_equal(load(fixture), ERR_INVALID);
    assert_null(strstr(fixture->error.data, GOOD));
    assert_true(access__token_is_good(&fixture->access, "Bearer " GOOD));
}

static void a_new_token_replaces_the_old_one(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(load_content(fixture, GOOD), ERR_OK);
    assert_int_equal(load_content(fixture, "another-token-of-some-length"), ERR_OK);
    assert_false(access__token_is_good(&fixture->access, "Bearer " GOOD));
    assert_true(access__token_is_good(&fixture->access, "Bearer another-token-of-some-length"));
}

static void wrong_tokens_take_longer_and_longer(void **state)
{
    struct fixture *fixture = *state;
    uint64_t now = 1000000;
    uint64_t first = access__failed(&fixture->access, now);
    uint64_t last = first;
    assert_true(first > 0);
    for (unsigned i = 0; i < 3; i++) {
        uint64_t next = access__failed(&fixture->access, now);
        assert_int_equal(next, last * 2);
        last = next;
    }
    for (unsigned i = 0; i < 100; i++) {
        last = access__failed(&fixture->access, now);
    }
    assert_int_equal(last, 4000); /* the limit */
    assert_int_equal(access__failed(&fixture->access, now + 60001), first);
}

static void only_names_of_this_host_are_local(void **state)
{
    (void)state;
    static const char *const local[] = {
        "localhost",   "LocalHost:9002", "127.0.0.1",  "127.0.0.1:9002",
        "127.1.2.3:1", "[::1]",          "[::1]:9002", "localhost:",
    };
    static const char *const other[] = {
        NULL,
        "",
        "localhost.evil.example",
        "evil.example",
        "evil.example:9002",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::1",
        "::1",
        "[localhost]",
        "localhost:90x",
        "localhost:1:2",
        "localhost@evil.example",
        "127.0.0.1 evil.example",
        "[::1]evil.example",
        "2130706433",
        "127.1",
    };
    for (size_t i = 0; i < ARRAY_COUNT(local); i++) {
        if (!access__host_is_local(local[i])) {
            fail_msg("refused: %s", local[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(other); i++) {
        if (access__host_is_local(other[i])) {
            fail_msg("taken: %s", other[i]);
        }
    }
    char long_name[1000];
    memset(long_name, 'x', sizeof(long_name));
    long_name[sizeof(long_name) - 1] = '\0';
    assert_false(access__host_is_local(long_name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blanks_around_the_token_do_not_count, create, destroy),
        cmocka_unit_test_setup_teardown(only_the_token_itself_is_good, create, destroy),
        cmocka_unit_test_setup_teardown(a_file_without_a_token_is_an_error_and_changes_nothing,
                                        create, destroy),
        cmocka_unit_test_setup_teardown(a_new_token_replaces_the_old_one, create, destroy),
        cmocka_unit_test_setup_teardown(wrong_tokens_take_longer_and_longer, create, destroy),
        cmocka_unit_test(only_names_of_this_host_are_local),
    };
    return log_set_filter("off") == ERR_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
