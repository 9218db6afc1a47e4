/*
 * log: structured log lines.
 *
 *     log_info(LOG_CONN, "client connected", log_slice("client_id", id), log_uint("keep_alive",
 * 60));
 *
 * Words of ours first, lower case, no full stop; then typed fields. Text from outside goes into a
 * field and is escaped there. Never payloads, never passwords. Nothing per packet above debug.
 *
 * Owns      the output stream and the level of each area.
 * Thread    any. A line is written with one write(2), so lines never mix.
 * Errors    none: a line that can't be written is lost and counted (log_lost).
 */
#ifndef PULSE_BASE_LOG_H
#define PULSE_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"

enum log_level {
    LOG_LEVEL_OFF,
    LOG_LEVEL_ERROR,   /* an operator must act */
    LOG_LEVEL_WARNING, /* an operator may have to */
    LOG_LEVEL_NOTICE,  /* the state of the node changed */
    LOG_LEVEL_INFO,    /* per client */
    LOG_LEVEL_DEBUG,   /* per packet */
    LOG_LEVELS
};

/* X(ENUM, "name") */
#define LOG_AREAS(X)        \
    X(MAIN, "main")         \
    X(CONFIG, "config")     \
    X(LISTENER, "listener") \
    X(CONN, "conn")         \
    X(SESSION, "session")   \
    X(ROUTER, "router")     \
    X(RETAINED, "retained") \
    X(HTTP, "http")         \
    X(STORAGE, "storage")   \
    X(TLS, "tls")           \
    X(AUTH, "auth")         \
    X(LIMITS, "limits")     \
    X(ADMIN, "admin")       \
    X(TRACE, "trace")

enum log_area {
#define X(name, text) LOG_##name,
    LOG_AREAS(X)
#undef X
        LOG_AREA_COUNT
};

enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
    const char *key;
    enum { LOG_FIELD_SLICE, LOG_FIELD_UINT, LOG_FIELD_INT, LOG_FIELD_TEXT } kind;
    union {
        struct slice slice; /* bytes from outside: escaped */
        uint64_t uint;
        int64_t sint;
        const char *text; /* words of ours or of a library */
    };
};

static inline struct log_field log_slice(const char *key, struct slice value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_SLICE, .slice = value};
}

static inline struct log_field log_uint(const char *key, uint64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_UINT, .uint = value};
}

static inline struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_INT, .sint = value};
}

static inline struct log_field log_text(const char *key, const char *value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_TEXT, .text = value};
}

/* Level of each area; read through log_enabled. */
extern _Atomic uint8_t log_levels[LOG_AREA_COUNT];

static inline bool log_enabled(enum log_area area, enum log_level level)
{
    return atomic_load_explicit(&log_levels[area], memory_order_relaxed) >= level;
}

#define LOG_AT(area, level, message, ...)                                                  \
    do {                                                                                   \
        if (log_enabled(area, level)) {                                                    \
            const struct log_field log_fields_[] = {{.key = NULL}, ##__VA_ARGS__};         \
            log_emit(area, level, message, log_fields_ + 1, ARRAY_COUNT(log_fields_) - 1); \
        }                                                                                  \
    } while (0)

#define log_error(area, message, ...) LOG_AT(area, LOG_LEVEL_ERROR, message, ##__VA_ARGS__)
#define log_warning(area, message, ...) LOG_AT(area, LOG_LEVEL_WARNING, message, ##__VA_ARGS__)
#define log_notice(area, message, ...) LOG_AT(area, LOG_LEVEL_NOTICE, message, ##__VA_ARGS__)
#define log_info(area, message, ...) LOG_AT(area, LOG_LEVEL_INFO, message, ##__VA_ARGS__)
#define log_debug(area, message, ...) LOG_AT(area, LOG_LEVEL_DEBUG, message, ##__VA_ARGS__)

/* Writes one line, whatever the level says; the macros above are the way in. */
void log_emit(enum log_area area, enum log_level level, const char *message,
              const struct log_field *fields, size_t count);

/* Lines go to `fd` (kept open by the caller) in `format`. Before it is called: text on stderr. */
void log_init(int fd, enum log_format format);

/*
 * Sets levels from a filter such as "info", "debug,http=warning" or "warning,conn=debug": an
 * optional default and area=level pairs, comma separated; `warn` and `trace` are taken for warning
 * and debug. Nothing is changed on ERR_SYNTAX.
 */
must_check enum err log_set_filter(const char *filter);

/* The level of `area` now. */
static inline enum log_level log_level_of(enum log_area area)
{
    return (enum log_level)atomic_load_explicit(&log_levels[area], memory_order_relaxed);
}

/* Shifts every area to debug, or back to what the last filter said. For a signal. */
void log_toggle_debug(void);

/* Lines that could not be written since the start. */
uint64_t log_lost(void);

const char *log_level_name(enum log_level level);
const char *log_area_name(enum log_area area);

#endif
