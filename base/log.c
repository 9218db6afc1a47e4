#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

/*
 * Invariants:
 *   log_levels is filter_levels, or all debug while `debugging`;
 *   a line, its newline included, has at most LINE_BYTES, and its tail always fits: each field is
 *   added whole or taken back. LINE_BYTES is below PIPE_BUF: a pipe, too, takes a line whole.
 */
#define LINE_BYTES 2048
#define TAIL_BYTES 16   /* the mark of a cut line, the closing brace, the newline, a NUL */
#define VALUE_BYTES 256 /* of a text or slice, before escaping */

_Atomic uint8_t log_levels[LOG_AREA_COUNT] = {
#define X(name, text) [LOG_##name] = LOG_LEVEL_INFO,
    LOG_AREAS(X)
#undef X
};

/* What the last filter said. */
static _Atomic uint8_t filter_levels[LOG_AREA_COUNT] = {
#define X(name, text) [LOG_##name] = LOG_LEVEL_INFO,
    LOG_AREAS(X)
#undef X
};

static _Atomic bool debugging;
static _Atomic int stream = STDERR_FILENO;
static _Atomic int stream_format = LOG_FORMAT_TEXT;
static _Atomic uint64_t lost;

static const char *const area_names[] = {
#define X(name, text) [LOG_##name] = text,
    LOG_AREAS(X)
#undef X
};

static const char *const level_names[] = {
    [LOG_LEVEL_OFF] = "off",       [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_NOTICE] = "notice", [LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};
static_assert(ARRAY_COUNT(level_names) == LOG_LEVELS, "each level has a name");

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

const char *log_area_name(enum log_area area)
{
    return area_names[area];
}

uint64_t log_lost(void)
{
    return atomic_load_explicit(&lost, memory_order_relaxed);
}

void log_init(int fd, enum log_format format)
{
    atomic_store(&stream_format, (int)format);
    atomic_store(&stream, fd);
}

/* ---- a line ---------------------------------------------------------------------------------- */

static void add_time(struct text *line)
{
    struct timespec now;
    struct tm day;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &day);
    text_printf(line, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", day.tm_year + 1900, day.tm_mon + 1,
                day.tm_mday, day.tm_hour, day.tm_min, day.tm_sec, now.tv_nsec / 1000000);
}

/* The first VALUE_BYTES of `value`, or a little less: a UTF-8 sequence is not cut in two. */
static struct slice clipped(struct slice value)
{
    if (value.len <= VALUE_BYTES) {
        return value;
    }
    size_t len = VALUE_BYTES;
    while (len > VALUE_BYTES - 3 && (value.data[len] & 0xc0) == 0x80) {
        len--;
    }
    return slice_of(value.data, len);
}

static void add_string(struct text *line, enum log_format format, struct slice value)
{
    struct slice shown = clipped(value);
    text_add(line, "\"");
    if (format == LOG_FORMAT_JSON) {
        text_add_json(line, shown);
    } else {
        text_add_escaped(line, shown);
    }
    text_add(line, shown.len < value.len ? "...\"" : "\"");
}

static void add_value(struct text *line, enum log_format format, const struct log_field *field)
{
    switch (field->kind) {
    case LOG_FIELD_SLICE:
        add_string(line, format, field->slice);
        break;
    case LOG_FIELD_TEXT:
        add_string(line, format, slice_text(field->text != NULL ? field->text : ""));
        break;
    case LOG_FIELD_UINT:
        text_printf(line, "%llu", (unsigned long long)field->uint);
        break;
    case LOG_FIELD_INT:
        text_printf(line, "%lld", (long long)field->sint);
        break;
    }
}

static void add_head(struct text *line, enum log_format format, enum log_area area,
                     enum log_level level, const char *message)
{
    if (format == LOG_FORMAT_JSON) {
        text_add(line, "{\"time\":\"");
        add_time(line);
        text_printf(line, "\",\"level\":\"%s\",\"area\":\"%s\",\"message\":", level_names[level],
                    area_names[area]);
        add_string(line, format, slice_text(message));
    } else {
        add_time(line);
        text_printf(line, " %-5s %s: %.*s", level_names[level], area_names[area], VALUE_BYTES,
                    message);
    }
}

/* Adds as many fields as fit; line->cut says whether some did not. */
static void add_fields(struct text *line, enum log_format format, const struct log_field *fields,
                       size_t count)
{
    for (size_t i = 0; i < count && !line->cut; i++) {
        size_t before = line->len;
        text_printf(line, format == LOG_FORMAT_JSON ? ",\"%s\":" : " %s=", fields[i].key);
        add_value(line, format, &fields[i]);
        if (line->cut) {
            line->len = before;
        }
    }
}

static void add_tail(struct text *line, enum log_format format)
{
    bool cut = line->cut;
    line->cut = false;
    line->cap = LINE_BYTES;
    if (cut) {
        text_add(line, format == LOG_FORMAT_JSON ? ",\"cut\":true" : " ...");
    }
    text_add(line, format == LOG_FORMAT_JSON ? "}\n" : "\n");
}

/* One attempt: a stream that is full must not hold a worker up. */
static void write_line(const struct text *line)
{
    ssize_t written;
    do {
        written = write(atomic_load(&stream), line->data, line->len);
    } while (written < 0 && errno == EINTR);
    if (written != (ssize_t)line->len) {
        atomic_fetch_add_explicit(&lost, 1, memory_order_relaxed);
    }
}

void log_emit(enum log_area area, enum log_level level, const char *message,
              const struct log_field *fields, size_t count)
{
    int saved_errno = errno; /* the caller may log first and look at it then */
    enum log_format format = (enum log_format)atomic_load(&stream_format);
    char buffer[LINE_BYTES];
    struct text line = text_fixed(buffer, LINE_BYTES - TAIL_BYTES);
    add_head(&line, format, area, level, message);
    add_fields(&line, format, fields, count);
    add_tail(&line, format);
    write_line(&line);
    errno = saved_errno;
}

/* ---- levels ---------------------------------------------------------------------------------- */

static bool same_word(struct slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp((const char *)s.data, word, s.len) == 0;
}

static bool parse_level(struct slice word, uint8_t *level)
{
    for (size_t i = 0; i < LOG_LEVELS; i++) {
        if (same_word(word, level_names[i])) {
            *level = (uint8_t)i;
            return true;
        }
    }
    if (same_word(word, "warn")) {
        *level = LOG_LEVEL_WARNING;
        return true;
    }
    if (same_word(word, "trace")) {
        *level = LOG_LEVEL_DEBUG;
        return true;
    }
    return false;
}

static bool parse_area(struct slice word, size_t *area)
{
    for (size_t i = 0; i < LOG_AREA_COUNT; i++) {
        if (same_word(word, area_names[i])) {
            *area = i;
            return true;
        }
    }
    return false;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

static struct slice trimmed(struct slice s)
{
    while (s.len > 0 && is_blank(s.data[0])) {
        s = slice_from(s, 1);
    }
    while (s.len > 0 && is_blank(s.data[s.len - 1])) {
        s.len--;
    }
    return s;
}

/* What stands before the first `mark` in `*rest`, or all of it; `*rest` becomes what is behind.
 * True when the mark was there. */
static bool split(struct slice *rest, char mark, struct slice *before)
{
    const uint8_t *at = rest->len > 0 ? memchr(rest->data, mark, rest->len) : NULL;
    size_t len = at != NULL ? (size_t)(at - rest->data) : rest->len;
    *before = trimmed(slice_of(rest->data, len));
    *rest = slice_from(*rest, at != NULL ? len + 1 : len);
    return at != NULL;
}

#define LEVEL_UNSET UINT8_MAX

/* `item` is "level" or "area=level". */
static bool parse_item(struct slice item, uint8_t *standard, uint8_t *levels)
{
    struct slice name;
    if (!split(&item, '=', &name)) {
        return parse_level(name, standard);
    }
    size_t area = 0;
    return parse_area(name, &area) && parse_level(trimmed(item), &levels[area]);
}

enum err log_set_filter(const char *filter)
{
    uint8_t standard = LOG_LEVEL_INFO;
    uint8_t levels[LOG_AREA_COUNT];
    memset(levels, LEVEL_UNSET, sizeof(levels));

    struct slice rest = slice_text(filter);
    struct slice item;
    bool more;
    do {
        more = split(&rest, ',', &item);
        if (!parse_item(item, &standard, levels)) {
            return ERR_SYNTAX;
        }
    } while (more);

    atomic_store(&debugging, false);
    for (size_t i = 0; i < LOG_AREA_COUNT; i++) {
        uint8_t level = levels[i] != LEVEL_UNSET ? levels[i] : standard;
        atomic_store(&filter_levels[i], level);
        atomic_store(&log_levels[i], level);
    }
    return ERR_OK;
}

void log_toggle_debug(void)
{
    bool debug = !atomic_load(&debugging);
    atomic_store(&debugging, debug);
    for (size_t i = 0; i < LOG_AREA_COUNT; i++) {
        atomic_store(&log_levels[i], debug ? LOG_LEVEL_DEBUG : atomic_load(&filter_levels[i]));
    }
}
