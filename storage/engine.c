#include "storage/engine.h"

#include <stdarg.h>
#include <stdio.h>

void engine_trouble(struct engine *engine, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(engine->trouble, sizeof(engine->trouble), format, args);
    va_end(args);
}

const struct engine_type *engine_type_of(enum storage_engine_kind kind)
{
    switch (kind) {
    case STORAGE_MEMORY:
        return NULL;
    case STORAGE_WAL:
        return &engine_wal;
    case STORAGE_SQLITE:
        return &engine_sqlite;
    case STORAGE_MYSQL:
        return &engine_mysql;
    }
    return NULL;
}
