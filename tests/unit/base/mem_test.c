#include "base/mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/macros.h"

static void allocated_memory_is_zeroed(void **state)
{
    (void)state;
    static const char zeros[4096];
    for (size_t size = 1; size <= sizeof(zeros); size *= 4) {
        char *block = mem_alloc(size);
        assert_memory_equal(block, zeros, size);
        memset(block, 0xff, size); /* what the next one may get */
        mem_free(block);
    }
}

static void an_array_is_zeroed_and_has_room_for_all(void **state)
{
    (void)state;
    uint64_t *numbers = mem_alloc_array(1000, sizeof(*numbers));
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(numbers[i], 0);
        numbers[i] = i;
    }
    mem_free(numbers);
}

static void a_text_copy_ends_with_a_nul(void **state)
{
    (void)state;
    char *copy = mem_copy_text("abcdef", 3);
    assert_string_equal(copy, "abc");
    mem_free(copy);
    copy = mem_copy_text(NULL, 0);
    assert_string_equal(copy, "");
    mem_free(copy);
}

static void resizing_keeps_the_content(void **state)
{
    (void)state;
    char *block = mem_resize(NULL, 4);
    memcpy(block, "abc", 4);
    block = mem_resize(block, 100000);
    assert_string_equal(block, "abc");
    block = mem_resize(block, 4);
    assert_string_equal(block, "abc");
    mem_free(block);
}

/* Sanitizers end the process when too much is asked for; here they let malloc fail as it does
 * without. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* Volatile, so that the compiler has no opinion about the size. */
static volatile size_t far_too_much = (size_t)1 << 60;

static void trying_for_too_much_is_an_answer_and_keeps_the_old_block(void **state)
{
    (void)state;
    assert_null(mem_try_alloc(far_too_much));
    char *block = mem_try_alloc(4);
    assert_non_null(block);
    memcpy(block, "abc", 4);
    char *larger = mem_try_resize(block, far_too_much);
    assert_null(larger);
    assert_string_equal(block, "abc");
    mem_free(block);
}

static void freeing_nothing_is_allowed(void **state)
{
    (void)state;
    mem_free(NULL);
}

static void allocate_far_too_much(void)
{
    mem_free(mem_alloc(far_too_much));
}

static void multiply_far_too_much(void)
{
    mem_free(mem_alloc_array(far_too_much, 64)); /* wraps around when multiplied carelessly */
}

static void break_an_invariant(void)
{
    ASSERT(far_too_much == 0);
}

/* Runs `action` in a process of its own and fails unless that ended by abort(). */
static void assert_aborts(void (*action)(void))
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        action();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void without_memory_the_process_aborts(void **state)
{
    (void)state;
    assert_aborts(allocate_far_too_much);
    assert_aborts(multiply_far_too_much);
}

static void a_broken_invariant_aborts(void **state)
{
    (void)state;
    assert_aborts(break_an_invariant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocated_memory_is_zeroed),
        cmocka_unit_test(an_array_is_zeroed_and_has_room_for_all),
        cmocka_unit_test(a_text_copy_ends_with_a_nul),
        cmocka_unit_test(resizing_keeps_the_content),
        cmocka_unit_test(trying_for_too_much_is_an_answer_and_keeps_the_old_block),
        cmocka_unit_test(freeing_nothing_is_allowed),
        cmocka_unit_test(without_memory_the_process_aborts),
        cmocka_unit_test(a_broken_invariant_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
