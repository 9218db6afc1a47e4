#include "tests/unit/storage/operation_text_support.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void add_field(struct text *text, const struct operation *operation,
                      const struct operation_field *field)
{
    const uint8_t *at = (const uint8_t *)operation + field->offset;
    uint64_t number = 0;
    switch (field->kind) {
    case OPERATION_U8:
    case OPERATION_BOOL:
        number = *at;
        break;
    case OPERATION_U16:
        number = *(const uint16_t *)(const void *)at;
        break;
    case OPERATION_U32:
        number = *(const uint32_t *)(const void *)at;
        break;
    case OPERATION_U64:
        number = *(const uint64_t *)(const void *)at;
        break;
    case OPERATION_TEXT:
    case OPERATION_BYTES: {
        const struct slice *slice = (const void *)at;
        if (slice->len > 0) {
            text_printf(text, " %s=", field->name);
            text_add_escaped(text, *slice);
        }
        return;
    }
    case OPERATION_IDS:
        for (size_t i = 0; i < operation->subscription_id_count; i++) {
            text_printf(text, i == 0 ? " ids=%" PRIu32 : ",%" PRIu32,
                        operation->subscription_ids[i]);
        }
        return;
    }
    if (number == OPERATION_NEVER_MS) {
        text_printf(text, " %s=never", field->name);
    } else if (number != 0) {
        text_printf(text, " %s=%" PRIu64, field->name, number);
    }
}

void operation_text_add(struct text *text, const struct operation *operation)
{
    const struct operation_info *info = operation_info(operation->type);
    text_add(text, info->name);
    for (size_t i = 0; i < info->field_count; i++) {
        add_field(text, operation, &info->fields[i]);
    }
    text_add(text, "\n");
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void operation_text_sort(struct text *text)
{
    if (text->len == 0) {
        return;
    }
    char **lines = calloc(text->len, sizeof(*lines));
    char *all = strdup(text->data);
    char *rest = NULL;
    size_t count = 0;
    for (char *line = strtok_r(all, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        lines[count++] = line;
    }
    qsort(lines, count, sizeof(*lines), compare_lines);
    text_fini(text);
    *text = (struct text){0};
    for (size_t i = 0; i < count; i++) {
        text_printf(text, "%s\n", lines[i]);
    }
    free(all);
    free(lines);
}
