#include "storage/mysql_sql.h"

#include <string.h>

#include "base/mem.h"

#define FIRST_BYTES 4096u

void sql_fini(struct sql *sql)
{
    mem_free(sql->data);
    *sql = (struct sql){.data = NULL};
}

void sql_clear(struct sql *sql, size_t keep)
{
    if (sql->cap > keep) {
        sql_fini(sql);
    }
    sql->len = 0;
    sql->failed = false;
}

static bool make_room(struct sql *sql, size_t len)
{
    if (sql->cap - sql->len >= len) {
        return true;
    }
    size_t cap = sql->cap > 0 ? sql->cap : FIRST_BYTES;
    while (cap - sql->len < len) {
        if (cap > SIZE_MAX / 2) {
            sql->failed = true;
            return false;
        }
        cap *= 2;
    }
    char *data = mem_try_resize(sql->data, cap);
    if (data == NULL) {
        sql->failed = true;
        return false;
    }
    sql->data = data;
    sql->cap = cap;
    return true;
}

void sql_add_raw(struct sql *sql, const void *data, size_t len)
{
    if (len > 0 && make_room(sql, len)) {
        memcpy(sql->data + sql->len, data, len);
        sql->len += len;
    }
}

void sql_add(struct sql *sql, const char *words)
{
    sql_add_raw(sql, words, strlen(words));
}

void sql_add_number(struct sql *sql, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    sql_add_raw(sql, digits + at, sizeof digits - at);
}

/* What stands behind the backslash, or 0: the byte needs none. Quote and backslash must be escaped;
 * NUL is, so that every server and proxy on the way sees one line of text. */
static char escape_of(uint8_t c)
{
    return c == '\'' || c == '\\' ? (char)c : (c == '\0' ? '0' : '\0');
}

void sql_add_bytes(struct sql *sql, struct slice bytes)
{
    if (bytes.len > (SIZE_MAX - 2) / 2 || !make_room(sql, sql_bytes_max(bytes.len))) {
        sql->failed = true;
        return;
    }
    char *at = sql->data + sql->len;
    *at++ = '\'';
    for (size_t i = 0; i < bytes.len; i++) {
        char escape = escape_of(bytes.data[i]);
        if (escape != '\0') {
            *at++ = '\\';
            *at++ = escape;
        } else {
            *at++ = (char)bytes.data[i];
        }
    }
    *at++ = '\'';
    sql->len = (size_t)(at - sql->data);
}
