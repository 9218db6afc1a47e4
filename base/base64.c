#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* ---- reading --------------------------------------------------------------------------------- */

/* -1: not a digit. */
static int value_of(uint8_t c, enum base64_form form)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    const char *last_two = (form == BASE64_URL ? url_digits : digits) + 62;
    return c == last_two[0] ? 62 : (c == last_two[1] ? 63 : -1);
}

/* Cuts the padding off; false: it is not what it must be. */
static bool cut_padding(struct slice *text)
{
    bool whole = text->len % 4 == 0;
    for (int i = 0; i < 2 && text->len > 0 && text->data[text->len - 1] == '='; i++) {
        text->len--;
    }
    return whole;
}

bool base64_read(struct slice text, enum base64_form form, uint8_t *bytes, size_t size, size_t *len)
{
    if (form == BASE64_PADDED && !cut_padding(&text)) {
        return false;
    }
    size_t rest = text.len % 4;
    size_t bytes_len = text.len / 4 * 3 + (rest > 0 ? rest - 1 : 0);
    if (rest == 1 || bytes_len > size) {
        return false;
    }
    uint32_t bits = 0;
    unsigned count = 0; /* of bits that are not written yet, less than 8 between two characters */
    for (size_t i = 0; i < text.len; i++) {
        int value = value_of(text.data[i], form);
        if (value < 0) {
            return false;
        }
        bits = (bits << 6 | (uint32_t)value) & 0x3fff;
        count += 6;
        if (count >= 8) {
            count -= 8;
            *bytes++ = (uint8_t)(bits >> count);
        }
    }
    if ((bits & (BIT(count) - 1)) != 0) {
        return false;
    }
    *len = bytes_len;
    return true;
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t base64_write(struct slice bytes, enum base64_form form, char *chars)
{
    const char *alphabet = form == BASE64_URL ? url_digits : digits;
    size_t len = 0;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t count = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        bits |= count > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        bits |= count > 2 ? bytes.data[i + 2] : 0;
        for (size_t digit = 0; digit <= count; digit++) {
            chars[len++] = alphabet[bits >> (18 - 6 * digit) & 63];
        }
        for (; count < 3 && form == BASE64_PADDED; count++) {
            chars[len++] = '=';
        }
    }
    return len;
}

void base64_add(struct text *out, struct slice bytes, enum base64_form form)
{
    char chars[256];
    size_t whole = sizeof(chars) / 4 * 3; /* without padding in between */
    for (size_t at = 0; at < bytes.len; at += whole) {
        size_t part = bytes.len - at < whole ? bytes.len - at : whole;
        text_add_bytes(out, chars, base64_write(slice_of(bytes.data + at, part), form, chars));
    }
    explicit_bzero(chars, sizeof(chars)); /* it may have been a secret */
}
