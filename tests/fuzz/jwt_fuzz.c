/*
 * Input: a token as it comes from a client (first byte even), or a header and claims with a line
 * end between, which are signed here so that what is behind the signature is reached, too (odd).
 * What is accepted has a user name, is not over, and its rules can be used.
 */
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <unistd.h>

#include "node/auth/jwt.h"
#include "node/auth/jwt_priv.h"
#include "tests/fuzz/fuzz.h"

#define NOW_MS 1700000000000u
#define SECRET "a secret of more than 32 bytes, for tests"

static struct jwt_verifier *verifier_create(void)
{
    char path[] = "/tmp/pulse-fuzz-XXXXXX";
    struct text error = {.data = NULL};
    struct jwt_verifier *verifier = NULL;
    int fd = mkstemp(path);
    ASSERT(fd >= 0 && write(fd, SECRET, strlen(SECRET)) == (ssize_t)strlen(SECRET));
    struct jwt_settings settings = {.key_file = path, .algorithms = "HS256"};
    ASSERT(jwt_verifier_create(&settings, &verifier, &error) == ERR_OK);
    close(fd);
    unlink(path);
    return verifier;
}

static void add_base64url(struct text *out, struct slice bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t count = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        bits |= count > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        bits |= count > 2 ? bytes.data[i + 2] : 0;
        for (size_t j = 0; j <= count; j++) {
            text_add_bytes(out, &digits[bits >> (18 - 6 * j) & 63], 1);
        }
    }
}

static struct text sign(struct slice both)
{
    struct text token = {.data = NULL};
    uint8_t mac[SHA256_DIGEST_LENGTH];
    const uint8_t *end = both.len > 0 ? memchr(both.data, '\n', both.len) : NULL;
    size_t len = end != NULL ? (size_t)(end - both.data) : both.len;
    add_base64url(&token, slice_of(both.data, len));
    text_add(&token, ".");
    add_base64url(&token, slice_from(both, end != NULL ? len + 1 : len));
    ASSERT(HMAC(EVP_sha256(), SECRET, (int)strlen(SECRET), (const uint8_t *)token.data, token.len,
                mac, NULL) != NULL);
    text_add(&token, ".");
    add_base64url(&token, slice_of(mac, sizeof mac));
    return token;
}

static void check_accepted(struct jwt_claims *claims)
{
    ASSERT(claims->username.len > 0 && claims->username.len <= JWT_USERNAME_MAX);
    ASSERT(claims->expires_at_ms > NOW_MS);
    ASSERT(claims->grants.group_count <= GRANTS_GROUPS_MAX);
    ASSERT(claims->grants.rules.count <= GRANTS_RULES_MAX);
    struct acl *acl = acl_create(&claims->grants.rules, false);
    ASSERT(acl != NULL);
    acl_unref(acl);
}

static void verify(const struct jwt_verifier *verifier, struct slice token)
{
    struct jwt_claims claims;
    const char *why = NULL;
    uint8_t *copy = fuzz_copy(token);
    enum err err = jwt_verify(verifier, slice_of(copy, token.len), NOW_MS, &claims, &why);
    ASSERT(err == ERR_OK || err == ERR_SYNTAX || err == ERR_INVALID);
    ASSERT((err == ERR_INVALID) == (why != NULL));
    if (err == ERR_OK) {
        check_accepted(&claims);
        jwt_claims_fini(&claims);
    }
    free(copy);
}

/* What was encoded comes back, and nothing else does. */
static void check_base64url(struct slice bytes)
{
    struct text text = {.data = NULL};
    size_t len = 0;
    add_base64url(&text, bytes);
    uint8_t *out = malloc(text.len + 1), *back = malloc(bytes.len + 1);
    ASSERT(jwt__base64url(slice_of(text.data, text.len), out, &len));
    ASSERT(slice_equal(slice_of(out, len), bytes));
    if (jwt__base64url(bytes, back, &len)) {
        struct text again = {.data = NULL};
        add_base64url(&again, slice_of(back, len));
        ASSERT(slice_equal(slice_of(again.data, again.len), bytes));
        text_fini(&again);
    }
    free(out);
    free(back);
    text_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct jwt_verifier *verifier;
    if (verifier == NULL) {
        verifier = verifier_create();
    }
    if (len == 0) {
        return 0;
    }
    struct slice rest = slice_of(data + 1, len - 1);
    if (data[0] % 2 == 0) {
        verify(verifier, rest);
        check_base64url(rest);
    } else {
        struct text token = sign(rest);
        verify(verifier, slice_of(token.data, token.len));
        text_fini(&token);
    }
    return 0;
}
