#include "node/admin/target_priv.h"

/* -1: not a hexadecimal digit. */
static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* Takes the escapes off `text`, in place; the result is never longer. */
static bool unescape(char *text, size_t len, bool plus_is_blank, struct slice *out)
{
    size_t to = 0;
    for (size_t at = 0; at < len; at++) {
        char byte = text[at];
        if (byte == '%') {
            int high = at + 2 < len ? hex_value(text[at + 1]) : -1;
            int low = high >= 0 ? hex_value(text[at + 2]) : -1;
            if (low < 0) {
                return false;
            }
            byte = (char)(high << 4 | low);
            at += 2;
        } else if (byte == '+' && plus_is_blank) {
            byte = ' ';
        }
        text[to++] = byte;
    }
    *out = slice_of(text, to);
    return true;
}

/* The length of the part of `text` before `stop`, or all of it. */
static size_t part_len(const char *text, size_t len, char stop)
{
    const char *end = len > 0 ? memchr(text, stop, len) : NULL;
    return end != NULL ? (size_t)(end - text) : len;
}

static enum err parse_path(char *text, size_t len, struct target *out)
{
    if (len == 0 || text[0] != '/') {
        return ERR_SYNTAX;
    }
    for (size_t at = 1; at <= len;) {
        size_t part = part_len(text + at, len - at, '/');
        if (out->segment_count == TARGET_SEGMENTS_MAX) {
            return ERR_FULL;
        }
        if (!unescape(text + at, part, false, &out->segments[out->segment_count++])) {
            return ERR_SYNTAX;
        }
        at += part + 1;
    }
    return ERR_OK;
}

static enum err parse_parameter(char *text, size_t len, struct target *out)
{
    if (len == 0) {
        return ERR_OK;
    }
    if (out->parameter_count == TARGET_PARAMETERS_MAX) {
        return ERR_FULL;
    }
    size_t name = part_len(text, len, '=');
    size_t value = name < len ? name + 1 : len;
    size_t index = out->parameter_count++;
    return unescape(text, name, true, &out->parameters[index].name) &&
                   unescape(text + value, len - value, true, &out->parameters[index].value)
               ? ERR_OK
               : ERR_SYNTAX;
}

enum err target__parse(char *text, size_t len, struct target *out)
{
    *out = (struct target){.segment_count = 0};
    size_t path = part_len(text, len, '?');
    enum err err = parse_path(text, path, out);
    for (size_t at = path + 1; err == ERR_OK && at < len;) {
        size_t part = part_len(text + at, len - at, '&');
        err = parse_parameter(text + at, part, out);
        at += part + 1;
    }
    return err;
}

bool target__parameter(const struct target *target, const char *name, struct slice *value)
{
    for (size_t i = 0; i < target->parameter_count; i++) {
        if (slice_equal(target->parameters[i].name, slice_text(name))) {
            *value = target->parameters[i].value;
            return true;
        }
    }
    return false;
}

bool target__matches(const struct target *target, const char *pattern, struct slice *variable)
{
    size_t at = 1;
    size_t len = strlen(pattern);
    struct slice found = slice_of(NULL, 0);
    for (size_t i = 0; i < target->segment_count; i++) {
        if (at > len) {
            return false;
        }
        struct slice wanted = slice_of(pattern + at, part_len(pattern + at, len - at, '/'));
        if (slice_starts_with(wanted, "{") && target->segments[i].len > 0) {
            found = target->segments[i];
        } else if (!slice_equal(wanted, target->segments[i])) {
            return false;
        }
        at += wanted.len + 1;
    }
    if (at != len + 1) {
        return false;
    }
    *variable = found;
    return true;
}
