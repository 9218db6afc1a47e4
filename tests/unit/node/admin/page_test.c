#include "node/admin/page_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "node/admin/admin_priv.h"

static void a_cursor_is_three_numbers(void **state)
{
    (void)state;
    uint32_t cursor[CURSOR_NUMBERS];
    assert_true(page__parse_cursor(slice_text("1.22.333"), cursor));
    assert_int_equal(cursor[0], 1);
    assert_int_equal(cursor[1], 22);
    assert_int_equal(cursor[2], 333);
    assert_true(page__parse_cursor(slice_text("0.0.4000000000"), cursor));
    assert_int_equal(cursor[2], 4000000000u);
}

static void what_is_no_cursor_is_refused_and_writes_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",     "1",      "1.2",   "1.2.3.4", ".1.2",           "1..2",
        "1.2.", "-1.0.0", "1.2.x", "1.2.3 ",  "4294967296.0.0", "99999999999999999999.0.0",
    };
    uint32_t cursor[CURSOR_NUMBERS] = {7, 8, 9};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        if (page__parse_cursor(slice_text(wrong[i]), cursor)) {
            fail_msg("taken: %s", wrong[i]);
        }
    }
    assert_int_equal(cursor[0], 7);
    assert_int_equal(cursor[2], 9);
}

/* A request for `target` that nobody has sent; end with finish(). */
static void begin(struct request *request, const char *target)
{
    *request = (struct request){.status = 0};
    request->target_text = mem_copy_text(target, strlen(target));
    assert_int_equal(
        target__parse(request->target_text, strlen(request->target_text), &request->target),
        ERR_OK);
}

static void finish(struct request *request)
{
    text_fini(&request->page);
    mem_free(request->target_text);
}

static void limit_and_cursor_come_from_the_parameters(void **state)
{
    (void)state;
    struct request request;
    struct page page;
    begin(&request, "/x?limit=7&cursor=1.2.3");
    assert_true(page__init(&page, &request));
    assert_int_equal(page.limit, 7);
    assert_int_equal(page.cursor[1], 2);
    finish(&request);
    begin(&request, "/x");
    assert_true(page__init(&page, &request));
    assert_int_equal(page.limit, PAGE_LIMIT);
    assert_int_equal(page.cursor[0], 0);
    finish(&request);
}

static void wrong_ones_fail_the_request(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "/x?limit=0",
        "/x?limit=1001",
        "/x?limit=",
        "/x?limit=-1",
        "/x?limit=1e2",
        "/x?limit=%00",
        "/x?limit=99999999999",
        "/x?cursor=",
        "/x?cursor=1",
        "/x?limit=5&cursor=a.b.c",
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        struct request request;
        struct page page;
        begin(&request, wrong[i]);
        if (page__init(&page, &request)) {
            fail_msg("taken: %s", wrong[i]);
        }
        assert_int_equal(request.status, 400);
        assert_non_null(strstr(request.page.data, "bad_parameter"));
        finish(&request);
    }
}

static void a_page_is_full_by_rows_bytes_or_what_was_looked_at(void **state)
{
    (void)state;
    struct page page = {.limit = 2};
    assert_false(page__is_full(&page));
    page__row(&page);
    assert_false(page__is_full(&page));
    page__row(&page);
    assert_true(page__is_full(&page));
    page__fini(&page);

    page = (struct page){.limit = 1000, .looked_at = PAGE_ENTRIES_MAX - 1};
    assert_false(page__is_full(&page));
    page.looked_at++;
    assert_true(page__is_full(&page));

    page = (struct page){.limit = 1000};
    char kibi[1024] = "";
    memset(kibi, 'x', sizeof(kibi));
    for (size_t i = 0; i < PAGE_BYTES_MAX / sizeof(kibi); i++) {
        assert_false(page__is_full(&page));
        text_add_bytes(&page.rows, kibi, sizeof(kibi));
    }
    assert_true(page__is_full(&page));
    page__fini(&page);
}

static void a_reply_has_rows_and_the_next_cursor(void **state)
{
    (void)state;
    struct request request;
    begin(&request, "/x");
    struct page page = {.limit = 5, .cursor = {1, 2, 3}};
    page__row(&page);
    text_add(&page.rows, "{\"a\":1}");
    page__row(&page);
    text_add(&page.rows, "{\"a\":2}");
    page__reply(&page, &request, "things");
    assert_int_equal(request.status, 200);
    assert_string_equal(request.page.data,
                        "{\"things\":[{\"a\":1},\n{\"a\":2}],\"cursor\":\"1.2.3\"}\n");
    page__fini(&page);
    finish(&request);

    begin(&request, "/x");
    page = (struct page){.ended = true};
    page__reply(&page, &request, "things");
    assert_string_equal(request.page.data, "{\"things\":[],\"cursor\":null}\n");
    finish(&request);
}

/* ---- routes ---------------------------------------------------------------------------------- */

static const struct route *route_of(const char *method, const char *target, struct text *allow)
{
    struct request request;
    struct slice variable = slice_of(NULL, 0);
    begin(&request, target);
    const struct route *route = admin__find_route(&request.target, method, &variable, allow);
    finish(&request);
    return route;
}

static void a_route_is_found_by_method_and_path(void **state)
{
    (void)state;
    struct text allow = {0};
    const struct route *route = route_of("DELETE", "/api/v1/clients/x", &allow);
    assert_non_null(route);
    assert_string_equal(route->method, "DELETE");
    assert_string_equal(route->path, "/api/v1/clients/{client_id}");
    assert_non_null(route_of("HEAD", "/api/v1/status", &allow)); /* as GET */
    text_fini(&allow);
}

static void other_methods_are_told_those_of_the_path(void **state)
{
    (void)state;
    struct text allow = {0};
    assert_null(route_of("POST", "/api/v1/clients/x", &allow));
    assert_string_equal(allow.data, "GET, HEAD, DELETE, OPTIONS");
    text_fini(&allow);
    assert_null(route_of("get", "/api/v1/log", &allow));
    assert_string_equal(allow.data, "GET, HEAD, PUT, OPTIONS");
    text_fini(&allow);
}

static void an_unknown_path_has_no_methods(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/", "/api/v1", "/api/v1/", "/api/v2/status", "/api/v1/clients/", "/api/v1/retained/a/b"};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        struct text allow = {0};
        assert_null(route_of("GET", paths[i], &allow));
        assert_int_equal(allow.len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_is_three_numbers),
        cmocka_unit_test(what_is_no_cursor_is_refused_and_writes_nothing),
        cmocka_unit_test(limit_and_cursor_come_from_the_parameters),
        cmocka_unit_test(wrong_ones_fail_the_request),
        cmocka_unit_test(a_page_is_full_by_rows_bytes_or_what_was_looked_at),
        cmocka_unit_test(a_reply_has_rows_and_the_next_cursor),
        cmocka_unit_test(a_route_is_found_by_method_and_path),
        cmocka_unit_test(other_methods_are_told_those_of_the_path),
        cmocka_unit_test(an_unknown_path_has_no_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
