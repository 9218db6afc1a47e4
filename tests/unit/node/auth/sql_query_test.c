/*
 * Queries of the configuration: what becomes a value, and what is an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "node/auth/sql_priv.h"

static void values_are_taken_out_of_the_text(void **state)
{
    (void)state;
    struct sql_query query;
    struct text error = {.data = NULL};
    assert_int_equal(sql_query_read(&query,
                                    "SELECT h FROM t WHERE u=%u AND (c = %c OR c LIKE 'x%%') "
                                    "AND u <> '?' AND n=\"it's\" AND d = '%d''%%u' AND u=%u",
                                    "option", &error),
                     ERR_OK);
    assert_string_equal(query.text, "SELECT h FROM t WHERE u=? AND (c = ? OR c LIKE 'x%') AND u <> "
                                    "'?' AND n=\"it's\" AND d = '%d''%u' AND u=?");
    assert_int_equal(query.value_count, 3);
    assert_int_equal(query.values[0], SQL_USERNAME);
    assert_int_equal(query.values[1], SQL_CLIENT_ID);
    assert_int_equal(query.values[2], SQL_USERNAME);
    sql_query_fini(&query);
}

/* In quotation marks they would be text, and the query would find nobody, or anybody. */
static void queries_that_can_not_be_meant_are_an_error(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *words;
    } cases[] = {
        {"SELECT h FROM t WHERE u = '%u'", "no quotation marks"},
        {"SELECT h FROM t WHERE u = \"%u\"", "no quotation marks"},
        {"SELECT h FROM t WHERE u = `%c`", "no quotation marks"},
        {"SELECT h FROM t WHERE u = 'a''%u'", "no quotation marks"},
        {"SELECT h FROM t WHERE u = ?", "not ?"},
        {"SELECT h FROM t WHERE u = %u AND v = ?", "not ?"},
        {"SELECT h FROM t", "neither %u nor %c"},
        {"SELECT h FROM t WHERE u = %%u", "neither %u nor %c"},
        {"", "neither %u nor %c"},
        {"SELECT h FROM t WHERE u = %u AND v = 'x", "without its end"},
        {"%u%u%u%u%u%u%u%u%u%u%u%u%u%u%u%u%u", "more than 16"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct sql_query query;
        struct text error = {.data = NULL};
        assert_int_equal(sql_query_read(&query, cases[i].query, "auth.sql_user_query", &error),
                         ERR_SYNTAX);
        assert_null(query.text);
        assert_non_null(strstr(error.data, cases[i].words));
        assert_ptr_equal(strstr(error.data, "auth.sql_user_query: "), error.data);
        text_fini(&error);
    }
}

static void patience_ends_at_the_deadline_or_when_nobody_waits(void **state)
{
    (void)state;
    atomic_bool cancelled = false;
    struct sql_patience patience = {.deadline_ms = clock_mono_ms() + 60000,
                                    .cancelled = &cancelled};
    assert_int_equal(sql_patience_left(&patience), ERR_OK);
    patience.deadline_ms = clock_mono_ms();
    assert_int_equal(sql_patience_left(&patience), ERR_UNAVAILABLE);
    atomic_store(&cancelled, true);
    assert_int_equal(sql_patience_left(&patience), ERR_STOPPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_taken_out_of_the_text),
        cmocka_unit_test(queries_that_can_not_be_meant_are_an_error),
        cmocka_unit_test(patience_ends_at_the_deadline_or_when_nobody_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
