/*
 * mysql_sql: the text of SQL statements, put together piece by piece. The one place where data
 * becomes part of a statement: numbers as digits, everything else as a quoted, escaped string.
 *
 * Text with escaped bytes was as fast as prepared statements with many rows (docs/mysql.md has the
 * figures), needs nothing that would have to be prepared again after a reconnect, and lets a whole
 * transaction travel in one packet.
 *
 * Owns      its buffer.
 * Thread    the caller's.
 * Errors    when there is no memory, `failed` is set and pieces are left out: look once at the end.
 */
#ifndef PULSE_STORAGE_MYSQL_SQL_H
#define PULSE_STORAGE_MYSQL_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct sql {
    char *data;
    size_t len;
    size_t cap;
    bool failed;
};

/* A zeroed struct sql is empty and ready. */
void sql_fini(struct sql *sql);

/* Empties it; keeps at most `keep` bytes of room. */
void sql_clear(struct sql *sql, size_t keep);

/* Words of ours. */
void sql_add(struct sql *sql, const char *words);
void sql_add_raw(struct sql *sql, const void *data, size_t len);
void sql_add_number(struct sql *sql, uint64_t number);

/* A string literal of any bytes. Right for a connection whose character set is `binary` and whose
 * sql_mode has no NO_BACKSLASH_ESCAPES; mysql_connection.c sees to both. */
void sql_add_bytes(struct sql *sql, struct slice bytes);

/* The longest that sql_add_bytes makes of `len` bytes. */
static inline size_t sql_bytes_max(size_t len)
{
    return 2 * len + 2;
}

#endif
