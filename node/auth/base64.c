#include "node/auth/base64_priv.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

/* Characters for BASE64_BYTES_MAX bytes, and the NUL that OpenSSL adds. */
#define CHARS_MAX (BASE64_BYTES_MAX / 3 * 4)

static_assert(BASE64_BYTES_MAX % 3 == 0, "whole groups");

void base64_add(struct text *out, struct slice bytes, enum base64_padding padding)
{
    unsigned char chars[CHARS_MAX + 1];
    ASSERT(bytes.len <= BASE64_BYTES_MAX);
    size_t len = (size_t)EVP_EncodeBlock(chars, bytes.data, (int)bytes.len);
    while (padding == BASE64_UNPADDED && len > 0 && chars[len - 1] == '=') {
        len--;
    }
    text_add_bytes(out, chars, len);
    OPENSSL_cleanse(chars, sizeof(chars));
}

/* How many of the characters at the end of `text` stand for nothing. */
static size_t padding_len(struct slice text)
{
    size_t len = 0;
    while (len < 2 && len < text.len && text.data[text.len - 1 - len] == '=') {
        len++;
    }
    return len;
}

static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool digit = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                     c == '+' || c == '/';
        if (!digit) {
            return false;
        }
    }
    return true;
}

/* Is the text of these bytes what was read? Else it had bits too many. */
static bool encodes_back(const uint8_t *bytes, size_t len, struct slice plain)
{
    unsigned char chars[CHARS_MAX + 1];
    EVP_EncodeBlock(chars, bytes, (int)len);
    bool same = memcmp(chars, plain.data, plain.len) == 0;
    OPENSSL_cleanse(chars, sizeof(chars));
    return same;
}

bool base64_read(struct slice text, enum base64_padding padding, uint8_t *bytes, size_t size,
                 size_t *len)
{
    unsigned char chars[CHARS_MAX];
    uint8_t decoded[BASE64_BYTES_MAX];
    struct slice plain = text;
    plain.len -= padding == BASE64_PADDED ? padding_len(text) : 0;
    size_t plain_bytes = plain.len / 4 * 3 + (plain.len % 4 > 0 ? plain.len % 4 - 1 : 0);
    size_t whole = (plain.len + 3) / 4 * 4;
    if (plain.len % 4 == 1 || whole > CHARS_MAX || plain_bytes > size || !is_plain(plain) ||
        (padding == BASE64_PADDED && text.len != whole)) {
        return false;
    }
    memset(chars, '=', sizeof(chars));
    if (plain.len > 0) {
        memcpy(chars, plain.data, plain.len);
    }
    bool good = EVP_DecodeBlock(decoded, chars, (int)whole) == (int)(whole / 4 * 3) &&
                encodes_back(decoded, plain_bytes, plain);
    if (good) {
        memcpy(bytes, decoded, plain_bytes);
        *len = plain_bytes;
    }
    OPENSSL_cleanse(chars, sizeof(chars));
    OPENSSL_cleanse(decoded, sizeof(decoded));
    return good;
}
