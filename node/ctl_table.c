#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/ctl_priv.h"

#define WIDTH_MAX 40 /* longer values push what follows to the right */

/* Adds text from outside: nothing in it reaches the terminal as a command. */
static void add_safe(struct text *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool c1 = byte == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0;
        if (byte < ' ' || byte == 0x7f) {
            text_printf(out, "\\x%02x", byte);
        } else if (c1) { /* U+0080 to U+009F */
            text_printf(out, "\\x%02x", (unsigned char)text[++i]);
        } else {
            text_add_bytes(out, text + i, 1);
        }
    }
}

void ctl__add_value(struct text *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        add_safe(out, json_string_value(value), json_string_length(value));
        return;
    case JSON_INTEGER:
        text_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return;
    case JSON_REAL:
        text_printf(out, "%g", json_real_value(value));
        return;
    case JSON_TRUE:
        text_add(out, "yes");
        return;
    case JSON_FALSE:
        text_add(out, "no");
        return;
    case JSON_NULL:
        text_add(out, "-");
        return;
    case JSON_ARRAY:
    case JSON_OBJECT:
        text_add(out, "...");
        return;
    }
}

static void add_member(struct text *out, const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    if (value != NULL) {
        ctl__add_value(out, value);
    } else {
        text_add(out, "-");
    }
}

/* Characters, about: bytes that begin one. */
static size_t width_of(const struct text *text)
{
    size_t width = 0;
    for (size_t i = 0; i < text->len; i++) {
        width += ((unsigned char)text->data[i] & 0xc0) != 0x80;
    }
    return width;
}

static void widen(size_t *width, size_t wanted)
{
    wanted = wanted < WIDTH_MAX ? wanted : WIDTH_MAX;
    *width = *width > wanted ? *width : wanted;
}

static void measure(struct ctl_table *table, const json_t *rows)
{
    size_t index;
    const json_t *row;
    for (size_t i = 0; i < table->count; i++) {
        widen(&table->widths[i], strlen(table->columns[i].title));
    }
    json_array_foreach(rows, index, row)
    {
        for (size_t i = 0; i < table->count; i++) {
            struct text cell = {0};
            add_member(&cell, row, table->columns[i].key);
            widen(&table->widths[i], width_of(&cell));
            text_fini(&cell);
        }
    }
}

static void add_cell(struct text *line, const struct ctl_table *table, size_t column,
                     const struct text *cell)
{
    text_add_bytes(line, cell->data, cell->len);
    bool last = column + 1 == table->count;
    size_t width = width_of(cell);
    for (size_t i = width; !last && i < table->widths[column] + 2; i++) {
        text_add(line, " ");
    }
    if (!last && width >= table->widths[column] + 2) {
        text_add(line, "  ");
    }
}

static void print_titles(const struct ctl_table *table)
{
    struct text line = {0};
    for (size_t i = 0; i < table->count; i++) {
        struct text title = {0};
        text_add(&title, table->columns[i].title);
        add_cell(&line, table, i, &title);
        text_fini(&title);
    }
    printf("%s\n", line.data);
    text_fini(&line);
}

void ctl__print_rows(struct ctl_table *table, const json_t *rows)
{
    size_t index;
    const json_t *row;
    if (!table->begun) {
        measure(table, rows);
        print_titles(table);
        table->begun = true;
    }
    json_array_foreach(rows, index, row)
    {
        struct text line = {0};
        for (size_t i = 0; i < table->count; i++) {
            struct text cell = {0};
            add_member(&cell, row, table->columns[i].key);
            add_cell(&line, table, i, &cell);
            text_fini(&cell);
        }
        printf("%s\n", line.data);
        text_fini(&line);
    }
}

static void print_member(const char *key, const json_t *value, unsigned indent)
{
    struct text words = {0};
    if (json_is_object(value)) {
        printf("%*s%s\n", (int)indent, "", key);
        ctl__print_object(value, indent + 2);
        return;
    }
    ctl__add_value(&words, value);
    printf("%*s%-*s  %s\n", (int)indent, "", 20 - (int)indent, key,
           words.data != NULL ? words.data : "");
    text_fini(&words);
}

void ctl__print_object(const json_t *object, unsigned indent)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        size_t index;
        const json_t *item;
        if (!json_is_array(value)) {
            print_member(key, value, indent);
            continue;
        }
        json_array_foreach(value, index, item)
        {
            print_member(key, item, indent);
        }
    }
}

int ctl__finish_output(void)
{
    if (fflush(stdout) == EOF || ferror(stdout)) {
        return ctl__fail("cannot write: %s", strerror(errno));
    }
    return CTL_DONE;
}
