#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

/*
 * Invariants:
 *   data == NULL, or data[len] == '\0' and len < cap;
 *   nothing is added behind a cut.
 */

/* Whether `more` bytes and a NUL have room behind what is there; a growing text makes it. */
static bool reserve(struct text *text, size_t more)
{
    size_t need = text->len + more + 1;
    if (text->fixed) {
        text->cut = text->cut || need > text->cap;
        return !text->cut;
    }
    if (need > text->cap) {
        text->cap = need * 2 > 128 ? need * 2 : 128;
        text->data = mem_resize(text->data, text->cap);
    }
    return true;
}

void text_fini(struct text *text)
{
    mem_free(text->data);
    *text = (struct text){0};
}

struct text text_fixed(char *buffer, size_t size)
{
    ASSERT(size > 0);
    buffer[0] = '\0';
    return (struct text){.data = buffer, .cap = size, .fixed = true};
}

void text_add_bytes(struct text *text, const void *data, size_t len)
{
    if (!reserve(text, len)) {
        return;
    }
    if (len > 0) {
        memcpy(text->data + text->len, data, len);
    }
    text->len += len;
    text->data[text->len] = '\0';
}

void text_add(struct text *text, const char *words)
{
    text_add_bytes(text, words, strlen(words));
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(len >= 0);
    if (!reserve(text, (size_t)len)) {
        return;
    }
    va_start(args, format);
    vsnprintf(text->data + text->len, (size_t)len + 1, format, args);
    va_end(args);
    text->len += (size_t)len;
}

/* Adds a backslash and a letter for the few characters that have one; false: for none of them. */
static bool add_short_escape(struct text *text, uint8_t byte)
{
    char letter;
    switch (byte) {
    case '\n':
        letter = 'n';
        break;
    case '\r':
        letter = 'r';
        break;
    case '\t':
        letter = 't';
        break;
    case '"':
    case '\\':
        letter = (char)byte;
        break;
    default:
        return false;
    }
    text_add_bytes(text, (const char[]){'\\', letter}, 2);
    return true;
}

/* Adds `prefix`, which a format asks for, and `byte` as two hexadecimal digits. */
static void add_hex_escape(struct text *text, const char *prefix, uint8_t byte)
{
    text_printf(text, "%s%02x", prefix, byte);
}

void text_add_escaped(struct text *text, struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t byte = s.data[i];
        if (add_short_escape(text, byte)) {
            continue;
        }
        if (byte >= 0x20 && byte < 0x7f) {
            text_add_bytes(text, &byte, 1);
        } else {
            add_hex_escape(text, "\\x", byte);
        }
    }
}

/* Length of the well-formed UTF-8 sequence at the start of `s`, or 0. */
static size_t sequence_len(struct slice s)
{
    uint8_t lead = s.data[0];
    if (lead < 0x80) {
        return 1;
    }
    size_t len = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
    if (lead < 0xc2 || lead > 0xf4 || s.len < len) {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if ((s.data[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (lead == 0xe0 && s.data[1] < 0xa0) || (lead == 0xf0 && s.data[1] < 0x90);
    bool outside = (lead == 0xed && s.data[1] > 0x9f) || (lead == 0xf4 && s.data[1] > 0x8f);
    return overlong || outside ? 0 : len;
}

void text_add_json(struct text *text, struct slice s)
{
    for (size_t i = 0; i < s.len;) {
        uint8_t byte = s.data[i];
        size_t len = sequence_len(slice_from(s, i));
        if (len == 0) {
            text_add(text, "\\ufffd");
        } else if (byte < 0x20 || byte == 0x7f || byte == '"' || byte == '\\') {
            if (!add_short_escape(text, byte)) {
                add_hex_escape(text, "\\u00", byte);
            }
        } else {
            text_add_bytes(text, s.data + i, len);
        }
        i += len > 0 ? len : 1;
    }
}
