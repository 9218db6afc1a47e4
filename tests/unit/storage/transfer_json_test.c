#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "storage/transfer_json.h"
#include "tests/unit/storage/operation_text_support.h"

static void assert_comes_back(const struct operation *operation)
{
    char *line = NULL;
    struct transfer_line read;
    struct text error = {0};
    struct text before = {0};
    struct text after = {0};
    assert_int_equal(transfer_json_operation(operation, &line, &error), ERR_OK);
    enum err err = transfer_json_read(slice_text(line), &read, &error);
    if (err != ERR_OK) {
        fail_msg("%s: %s", line, error.data);
    }
    assert_int_equal(read.kind, TRANSFER_OPERATION);
    operation_text_add(&before, operation);
    operation_text_add(&after, &read.operation);
    assert_string_equal(before.data, after.data);
    transfer_line_fini(&read);
    text_fini(&before);
    text_fini(&after);
    free(line);
}

/* Fills the fields of `operation` that its type has. */
static void fill_fields(struct operation *operation, uint64_t number, struct slice text,
                        struct slice bytes)
{
    static const uint32_t ids[] = {1, UINT32_MAX, 0};
    const struct operation_info *info = operation_info(operation->type);
    for (size_t i = 0; i < info->field_count; i++) {
        void *place = (char *)operation + info->fields[i].offset;
        switch (info->fields[i].kind) {
        case OPERATION_U8:
            *(uint8_t *)place = (uint8_t)number;
            break;
        case OPERATION_U16:
            *(uint16_t *)place = (uint16_t)number;
            break;
        case OPERATION_U32:
            *(uint32_t *)place = (uint32_t)number;
            break;
        case OPERATION_U64:
            *(uint64_t *)place = number;
            break;
        case OPERATION_BOOL:
            *(bool *)place = number % 2 == 1;
            break;
        case OPERATION_TEXT:
            *(struct slice *)place = text;
            break;
        case OPERATION_BYTES:
            *(struct slice *)place = bytes;
            break;
        case OPERATION_IDS:
            operation->subscription_ids = number == 0 ? NULL : ids;
            operation->subscription_id_count = number == 0 ? 0 : 3;
            break;
        }
    }
}

static void every_operation_comes_back_with_every_value(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0,
                                       1,
                                       255,
                                       (1ULL << 53) - 1,
                                       1ULL << 53,
                                       (1ULL << 53) + 1,
                                       INT64_MAX,
                                       1ULL << 63,
                                       UINT64_MAX - 1,
                                       UINT64_MAX};
    uint8_t bytes[5000];
    char text[] = "a\"\\/\b\f\n\r\t\x01\x7f \xc3\xa4\xe2\x80\xa8\xf0\x9f\x98\x80";
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (unsigned type = 0; type < OPERATION_TYPES; type++) {
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
            struct operation operation = {.type = (enum operation_type)type};
            fill_fields(&operation, numbers[i], slice_text(text), slice_of(bytes, i));
            assert_comes_back(&operation);
        }
        struct operation large = {.type = (enum operation_type)type};
        fill_fields(&large, 1, slice_text(text), slice_of(bytes, sizeof(bytes)));
        assert_comes_back(&large);
    }
}

static void numbers_are_written_so_that_any_reader_keeps_them(void **state)
{
    (void)state;
    char *line = NULL;
    struct text error = {0};
    struct operation operation = {.type = OPERATION_SESSION_DROP, .session = 1ULL << 53};
    assert_int_equal(transfer_json_operation(&operation, &line, &error), ERR_OK);
    assert_string_equal(line, "{\"op\":\"session_drop\",\"session\":9007199254740992}");
    free(line);
    operation.session++;
    assert_int_equal(transfer_json_operation(&operation, &line, &error), ERR_OK);
    assert_string_equal(line, "{\"op\":\"session_drop\",\"session\":\"9007199254740993\"}");
    free(line);
}

static void text_that_is_no_utf_8_is_not_written(void **state)
{
    (void)state;
    char *line = NULL;
    struct text error = {0};
    struct operation operation = {.type = OPERATION_RETAINED_DROP, .topic = slice_of("\xff", 1)};
    assert_int_equal(transfer_json_operation(&operation, &line, &error), ERR_DAMAGED);
    assert_string_equal(error.data, "retained_drop: topic can't be written: it is not UTF-8, or "
                                    "memory is short");
    text_fini(&error);
}

/* Opens a file of the project: this one is tests/unit/storage/transfer_json_test.c in it. */
static FILE *open_in_project(const char *name)
{
    char full[1024];
    const char *tail = strstr(__FILE__, "tests/unit/storage/");
    assert_non_null(tail);
    snprintf(full, sizeof(full), "%.*s%s", (int)(tail - __FILE__), __FILE__, name);
    FILE *file = fopen(full, "r");
    assert_non_null(file);
    return file;
}

/* What makes a state is described with all its fields in docs/storage.md. */
static void the_page_in_docs_knows_every_field(void **state)
{
    (void)state;
    static const enum operation_type types[] = {
        OPERATION_SESSION_PUT,  OPERATION_SUBSCRIPTION_PUT, OPERATION_WILL_PUT,
        OPERATION_MESSAGE_PUT,  OPERATION_QUEUE_PUSH,       OPERATION_INBOUND_QOS2_PUT,
        OPERATION_RETAINED_PUT,
    };
    static char page[65536];
    FILE *file = open_in_project("docs/storage.md");
    assert_true(fread(page, 1, sizeof(page) - 1, file) > 0);
    fclose(file);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        const struct operation_info *info = operation_info(types[i]);
        struct text row = {0};
        text_printf(&row, "\n| `%s` | ", info->name);
        for (size_t j = 0; j < info->field_count; j++) {
            text_printf(&row, "`%s` ", info->fields[j].name);
        }
        text_add(&row, "| ");
        assert_non_null(strstr(page, row.data));
        text_fini(&row);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_comes_back_with_every_value),
        cmocka_unit_test(numbers_are_written_so_that_any_reader_keeps_them),
        cmocka_unit_test(text_that_is_no_utf_8_is_not_written),
        cmocka_unit_test(the_page_in_docs_knows_every_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
