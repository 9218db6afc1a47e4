/*
 * Input: a token as it comes from a client (first byte even), or a header and claims with a line
 * end between, which are signed here so that what is behind the signature is reached, too (odd).
 * What is accepted has a user name, is not over, and its rules can be used.
 */
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <unistd.h>

#include "base/base64.h"
#include "node/auth/jwt.h"
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

static struct text sign(struct slice both)
{
    struct text token = {.data = NULL};
    uint8_t mac[SHA256_DIGEST_LENGTH];
    const uint8_t *end = both.len > 0 ? memchr(both.data, '\n', both.len) : NULL;
    size_t len = end != NULL ? (size_t)(end - both.data) : both.len;
    base64_add(&token, slice_of(both.data, len), BASE64_URL);
    text_add(&token, ".");
    base64_add(&token, slice_from(both, end != NULL ? len + 1 : len), BASE64_URL);
    ASSERT(HMAC(EVP_sha256(), SECRET, (int)strlen(SECRET), (const uint8_t *)token.data, token.len,
                mac, NULL) != NULL);
    text_add(&token, ".");
    base64_add(&token, slice_of(mac, sizeof mac), BASE64_URL);
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
    base64_add(&text, bytes, BASE64_URL);
    uint8_t *out = malloc(text.len + 1), *back = malloc(bytes.len + 1);
    ASSERT(base64_read(slice_of(text.data, text.len), BASE64_URL, out, text.len, &len));
    ASSERT(slice_equal(slice_of(out, len), bytes));
    if (base64_read(bytes, BASE64_URL, back, bytes.len, &len)) {
        struct text again = {.data = NULL};
        base64_add(&again, slice_of(back, len), BASE64_URL);
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
