#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "node/admin/admin_priv.h"

/*
 * docs/openapi.yaml says what the route table says: paths, methods, parameters of the query,
 * bodies. The file is read line by line: its layout is that of this project.
 */

/* Where the file is, seen from this one. */
#define HERE "tests/unit/node/admin/openapi_test.c"
#define FILE_NAME "docs/openapi.yaml"

struct operation {
    char *method; /* in capitals */
    char *path;
    struct text parameters; /* as the route table has them: blanks between */
    bool has_body;
};

struct page {
    struct operation operations[64];
    size_t count;
};

static unsigned indent_of(const char *line)
{
    return (unsigned)strspn(line, " ");
}

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static void add_operation(struct page *page, const char *path, const char *method)
{
    assert_true(page->count < ARRAY_COUNT(page->operations));
    struct operation *operation = &page->operations[page->count++];
    operation->method = mem_copy_text(method, strlen(method));
    operation->path = mem_copy_text(path, strlen(path));
    for (char *at = operation->method; *at != '\0'; at++) {
        *at = (char)(*at - 'a' + 'A');
    }
}

/* "#/components/parameters/exact_filter" is the parameter `filter`. */
static void add_parameter(struct operation *operation, const char *name, size_t len)
{
    static const char suffix[] = "_filter";
    size_t suffix_len = sizeof(suffix) - 1;
    bool filter = len > suffix_len && memcmp(name + len - suffix_len, suffix, suffix_len) == 0;
    text_add(&operation->parameters, operation->parameters.len > 0 ? " " : "");
    text_add_bytes(&operation->parameters, filter ? "filter" : name, filter ? 6 : len);
}

/* A line below an operation. */
static void read_detail(struct operation *operation, const char *words)
{
    static const char reference[] = "- {$ref: \"#/components/parameters/";
    static const char name[] = "- name: ";
    if (starts_with(words, reference)) {
        const char *at = words + sizeof(reference) - 1;
        add_parameter(operation, at, strcspn(at, "\""));
    } else if (starts_with(words, name)) {
        const char *at = words + sizeof(name) - 1;
        add_parameter(operation, at, strcspn(at, "\n"));
    } else if (starts_with(words, "requestBody:")) {
        operation->has_body = true;
    }
}

static void read_line(struct page *page, const char *line, char path[256])
{
    static const char *const methods[] = {"get", "put", "post", "delete"};
    const char *words = line + indent_of(line);
    size_t len = strcspn(words, ":\n");
    if (indent_of(line) == 2) {
        snprintf(path, 256, "%.*s", (int)len, words);
    } else if (indent_of(line) == 4) {
        for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
            if (strlen(methods[i]) == len && starts_with(words, methods[i])) {
                add_operation(page, path, methods[i]);
            }
        }
    } else if (indent_of(line) > 4 && page->count > 0 &&
               strcmp(page->operations[page->count - 1].path, path) == 0) {
        read_detail(&page->operations[page->count - 1], words);
    }
}

static FILE *open_page(void)
{
    char name[1024];
    size_t root = strlen(__FILE__) - strlen(HERE);
    snprintf(name, sizeof(name), "%.*s%s", (int)root, __FILE__, FILE_NAME);
    FILE *file = fopen(name, "re");
    if (file == NULL) {
        fail_msg("%s can't be read", name);
    }
    return file;
}

static int read_page(void **state)
{
    struct page *page = mem_alloc(sizeof(*page));
    char line[1024];
    char path[256] = "";
    bool in_paths = false;
    FILE *file = open_page();
    while (fgets(line, sizeof(line), file) != NULL) {
        if (indent_of(line) == 0) {
            in_paths = starts_with(line, "paths:");
        } else if (in_paths) {
            read_line(page, line, path);
        }
    }
    fclose(file);
    *state = page;
    return 0;
}

static int free_page(void **state)
{
    struct page *page = *state;
    for (size_t i = 0; i < page->count; i++) {
        mem_free(page->operations[i].method);
        mem_free(page->operations[i].path);
        text_fini(&page->operations[i].parameters);
    }
    mem_free(page);
    return 0;
}

static const struct operation *find_operation(const struct page *page, const struct route *route)
{
    for (size_t i = 0; i < page->count; i++) {
        if (strcmp(page->operations[i].path, route->path) == 0 &&
            strcmp(page->operations[i].method, route->method) == 0) {
            return &page->operations[i];
        }
    }
    return NULL;
}

/* Each word of `one` is one of `other`. */
static bool has_words_of(const char *one, const char *other)
{
    char padded[512];
    snprintf(padded, sizeof(padded), " %s ", other);
    for (const char *at = one; *at != '\0';) {
        char word[128];
        size_t len = strcspn(at, " ");
        snprintf(word, sizeof(word), " %.*s ", (int)len, at);
        if (strstr(padded, word) == NULL) {
            return false;
        }
        at += len + strspn(at + len, " ");
    }
    return true;
}

static void every_route_is_described(void **state)
{
    for (size_t i = 0; i < admin__route_count; i++) {
        const struct route *route = &admin__routes[i];
        if (find_operation(*state, route) == NULL) {
            fail_msg("%s %s is not in " FILE_NAME, route->method, route->path);
        }
    }
}

static void nothing_else_is_described(void **state)
{
    const struct page *page = *state;
    assert_int_equal(page->count, admin__route_count); /* with the test above: no more than these */
}

static void parameters_and_bodies_are_those_of_the_routes(void **state)
{
    for (size_t i = 0; i < admin__route_count; i++) {
        const struct route *route = &admin__routes[i];
        const struct operation *operation = find_operation(*state, route);
        assert_non_null(operation);
        const char *described =
            operation->parameters.data != NULL ? operation->parameters.data : "";
        if (!has_words_of(described, route->parameters) ||
            !has_words_of(route->parameters, described)) {
            fail_msg("%s %s: \"%s\" in " FILE_NAME ", \"%s\" in the route table", route->method,
                     route->path, described, route->parameters);
        }
        if (operation->has_body != route->has_body) {
            fail_msg("%s %s: a body is in one of both only", route->method, route->path);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_route_is_described, read_page, free_page),
        cmocka_unit_test_setup_teardown(nothing_else_is_described, read_page, free_page),
        cmocka_unit_test_setup_teardown(parameters_and_bodies_are_those_of_the_routes, read_page,
                                        free_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
