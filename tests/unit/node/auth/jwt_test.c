/*
 * Tokens: whose signature and form are taken, and whose are not. jwt_key_test.c has the keys,
 * jwt_claims_test.c what tokens say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "node/auth/jwt.h"
#include "tests/unit/node/auth/jwt_support.h"

#define HS256 "{\"alg\":\"HS256\"}"
#define SUBJECT "{\"sub\":\"pump-7\"}"

/* ---- a verifier, and what it says ------------------------------------------------------------ */

static EVP_PKEY *rsa, *ec;

static struct jwt_verifier *pem_verifier(EVP_PKEY *key)
{
    char *pem = jwt_public_pem(key);
    struct jwt_verifier *verifier =
        jwt_verifier_with((struct jwt_settings){.issuer = NULL}, pem, strlen(pem));
    free(pem);
    return verifier;
}

static char *signed_header(const char *header)
{
    return jwt_sign_hs256(header, SUBJECT, JWT_SECRET, strlen(JWT_SECRET));
}

static enum err verdict_of_header(const char *header)
{
    struct jwt_verifier *verifier = jwt_secret_verifier((struct jwt_settings){.issuer = NULL});
    enum err err = jwt_verdict(verifier, signed_header(header));
    jwt_verifier_destroy(verifier);
    return err;
}

static const struct jwt_settings usual;

/* ---- the examples of RFC 7515, appendix A ---------------------------------------------------- */

#define RFC_PAYLOAD                                                                        \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290" \
    "Ijp0cnVlfQ"
#define RFC_EXPIRES_MS 1300819380000u

static const uint8_t rfc_secret[64] = {
    0x03, 0x23, 0x35, 0x4b, 0x2b, 0x0f, 0xa5, 0xbc, 0x83, 0x7e, 0x06, 0x65, 0x77, 0x7b, 0xa6, 0x8f,
    0x5a, 0xb3, 0x28, 0xe6, 0xf0, 0x54, 0xc9, 0x28, 0xa9, 0x0f, 0x84, 0xb2, 0xd2, 0x50, 0x2e, 0xbf,
    0xd3, 0xfb, 0x5a, 0x92, 0xd2, 0x06, 0x47, 0xef, 0x96, 0x8a, 0xb4, 0xc3, 0x77, 0x62, 0x3d, 0x22,
    0x3d, 0x2e, 0x21, 0x72, 0x05, 0x2e, 0x4f, 0x08, 0xc0, 0xcd, 0x9a, 0xf5, 0x67, 0xd0, 0x80, 0xa3};

static const char rfc_hs256[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." RFC_PAYLOAD
                                ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

static const char rfc_rsa[] = "-----BEGIN PUBLIC KEY-----\n"
                              "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofgWCuLjybRlzo0tZWJj\n"
                              "NiuSfb4p4fAkd/wWJcyQoTbji9k0l8W26mPddxHmfHQp+Vaw+4qPCJrcS2mJPMEz\n"
                              "P1Pt0Bm4d4QlL+yRT+SFd2lZS+pCgNMsD1W/YpRPEwOWvG6b32690r2jZ47soMZo\n"
                              "9wGzjb/7OMg0LOL+bSf63kpaSHSXndS5z5rexMdbBYUsLA9e+KXBdQOS+UTo7WTB\n"
                              "EMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6/I5IhlJH7aGhyxX\n"
                              "FvUK+DWNmoudF8NAco9/h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXp\n"
                              "oQIDAQAB\n"
                              "-----END PUBLIC KEY-----\n";

static const char rfc_rs256[] =
    "eyJhbGciOiJSUzI1NiJ9." RFC_PAYLOAD
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8"
    "W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkS"
    "jtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvW"
    "h6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

static const char rfc_ec[] = "-----BEGIN PUBLIC KEY-----\n"
                             "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
                             "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
                             "-----END PUBLIC KEY-----\n";

static const char rfc_es256[] =
    "eyJhbGciOiJFUzI1NiJ9." RFC_PAYLOAD
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

static void assert_rfc_example(const void *key, size_t len, const char *token)
{
    struct jwt_claims claims;
    struct jwt_settings settings = {.username_claim = "iss", .issuer = "joe"};
    struct jwt_verifier *verifier = jwt_verifier_with(settings, key, len);
    assert_int_equal(jwt_verify_at(verifier, token, RFC_EXPIRES_MS - 1, &claims), ERR_OK);
    assert_string_equal(claims.username.data, "joe");
    assert_int_equal(claims.expires_at_ms, RFC_EXPIRES_MS + JWT_LEEWAY_MS);
    jwt_claims_fini(&claims);
    assert_int_equal(jwt_verify_at(verifier, token, JWT_NOW_MS, &claims), ERR_INVALID);
    jwt_verifier_destroy(verifier);
}

static void the_examples_of_rfc_7515_are_taken_until_they_expire(void **state)
{
    (void)state;
    assert_rfc_example(rfc_secret, sizeof(rfc_secret), rfc_hs256);
    assert_rfc_example(rfc_rsa, strlen(rfc_rsa), rfc_rs256);
    assert_rfc_example(rfc_ec, strlen(rfc_ec), rfc_es256);
}

/* ---- signatures ------------------------------------------------------------------------------ */

/* Each single character of a token, changed, must spoil it. */
static void a_token_with_any_character_changed_is_refused(void **state)
{
    (void)state;
    struct jwt_settings settings = {.username_claim = "iss"};
    struct jwt_verifier *verifier = jwt_verifier_with(settings, rfc_ec, strlen(rfc_ec));
    for (size_t i = 0; i < strlen(rfc_es256); i++) {
        struct jwt_claims claims;
        char *token = strdup(rfc_es256);
        token[i] = token[i] == 'A' ? 'B' : 'A';
        assert_int_not_equal(jwt_verify_at(verifier, token, RFC_EXPIRES_MS - 1, &claims), ERR_OK);
        free(token);
    }
    jwt_verifier_destroy(verifier);
}

static void each_algorithm_is_taken_with_its_own_key(void **state)
{
    (void)state;
    struct jwt_verifier *of_rsa = pem_verifier(rsa), *of_ec = pem_verifier(ec);
    const char *rs = "{\"alg\":\"RS256\",\"kid\":\"nobody looks at this\"}";
    const char *es = "{\"alg\":\"ES256\",\"typ\":\"JWT\"}";
    assert_int_equal(jwt_verdict(of_rsa, jwt_sign_rs256(rs, SUBJECT, rsa)), ERR_OK);
    assert_int_equal(jwt_verdict(of_ec, jwt_sign_es256(es, SUBJECT, ec)), ERR_OK);
    assert_int_equal(jwt_verdict(of_ec, jwt_sign_rs256(rs, SUBJECT, rsa)), ERR_INVALID);
    assert_int_equal(jwt_verdict(of_rsa, jwt_sign_es256(es, SUBJECT, ec)), ERR_INVALID);
    jwt_verifier_destroy(of_rsa);
    jwt_verifier_destroy(of_ec);
}

static void a_token_that_another_key_signed_is_refused(void **state)
{
    (void)state;
    EVP_PKEY *other_rsa = jwt_rsa_key(2048), *other_ec = jwt_ec_key("P-256");
    struct jwt_verifier *of_rsa = pem_verifier(other_rsa), *of_ec = pem_verifier(other_ec);
    struct jwt_verifier *of_secret = jwt_secret_verifier(usual);
    const char *other = "another secret of more than 32 bytes";
    assert_int_equal(jwt_verdict(of_rsa, jwt_sign_rs256("{\"alg\":\"RS256\"}", SUBJECT, rsa)),
                     ERR_INVALID);
    assert_int_equal(jwt_verdict(of_ec, jwt_sign_es256("{\"alg\":\"ES256\"}", SUBJECT, ec)),
                     ERR_INVALID);
    assert_int_equal(jwt_verdict(of_secret, jwt_sign_hs256(HS256, SUBJECT, other, strlen(other))),
                     ERR_INVALID);
    jwt_verifier_destroy(of_secret);
    jwt_verifier_destroy(of_ec);
    jwt_verifier_destroy(of_rsa);
    EVP_PKEY_free(other_ec);
    EVP_PKEY_free(other_rsa);
}

/* Its signature is good for one of our keys, but not for what it says. */
static void a_token_that_names_another_algorithm_is_refused(void **state)
{
    (void)state;
    struct jwt_verifier *of_rsa = pem_verifier(rsa), *of_ec = pem_verifier(ec);
    struct jwt_verifier *of_secret = jwt_secret_verifier(usual);
    static const char *const headers[] = {HS256, "{\"alg\":\"RS256\"}", "{\"alg\":\"ES256\"}"};
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
        char *hs = jwt_sign_hs256(headers[i], SUBJECT, JWT_SECRET, strlen(JWT_SECRET));
        assert_int_equal(jwt_verdict(of_secret, hs), i == 0 ? ERR_OK : ERR_INVALID);
        char *rs = jwt_sign_rs256(headers[i], SUBJECT, rsa);
        assert_int_equal(jwt_verdict(of_rsa, rs), i == 1 ? ERR_OK : ERR_INVALID);
        char *es = jwt_sign_es256(headers[i], SUBJECT, ec);
        assert_int_equal(jwt_verdict(of_ec, es), i == 2 ? ERR_OK : ERR_INVALID);
    }
    jwt_verifier_destroy(of_secret);
    jwt_verifier_destroy(of_ec);
    jwt_verifier_destroy(of_rsa);
}

/* The classic: who knows the public key signs with its text as the secret of HS256. */
static void a_public_key_is_never_a_secret(void **state)
{
    (void)state;
    EVP_PKEY *keys[] = {rsa, ec};
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        struct jwt_verifier *verifier = pem_verifier(keys[i]);
        char *pem = jwt_public_pem(keys[i]);
        for (size_t cut = 0; cut < 2; cut++) { /* with and without the last line end */
            char *token = jwt_sign_hs256(HS256, SUBJECT, pem, strlen(pem) - cut);
            assert_int_equal(jwt_verdict(verifier, token), ERR_INVALID);
        }
        free(pem);
        jwt_verifier_destroy(verifier);
    }
}

static void a_token_without_a_signature_is_refused(void **state)
{
    (void)state;
    struct jwt_verifier *verifier = jwt_secret_verifier(usual);
    static const char *const headers[] = {
        "{\"alg\":\"none\"}",    "{\"alg\":\"None\"}",  "{\"alg\":\"NONE\"}",  "{\"alg\":\"\"}",
        "{\"alg\":\"hs256\"}",   "{\"alg\":null}",      "{\"alg\":0}",         "{\"typ\":\"JWT\"}",
        "{\"alg\":[\"HS256\"]}", "{\"alg\":\"HS384\"}", "{\"alg\":\"HS256 \"}"};
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
        assert_int_equal(jwt_verdict(verifier, jwt_join(headers[i], SUBJECT, "")), ERR_INVALID);
        assert_int_equal(jwt_verdict(verifier, signed_header(headers[i])), ERR_INVALID);
    }
    assert_int_equal(jwt_verdict(verifier, jwt_join(HS256, SUBJECT, "")), ERR_INVALID);
    jwt_verifier_destroy(verifier);
}

/* An all-zero pair was once taken by several libraries. */
static void signatures_of_odd_values_and_lengths_are_refused(void **state)
{
    (void)state;
    struct jwt_verifier *of_ec = pem_verifier(ec), *of_rsa = pem_verifier(rsa);
    static const size_t lens[] = {0, 1, 31, 32, 33, 63, 64, 65, 70, 72, 255, 256, 257, 1024};
    for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
        for (int value = 0; value < 256; value += 255) {
            uint8_t bytes[1024];
            memset(bytes, value, lens[i]);
            char *signature = jwt_base64url(bytes, lens[i]);
            assert_int_equal(
                jwt_verdict(of_ec, jwt_join("{\"alg\":\"ES256\"}", SUBJECT, signature)),
                ERR_INVALID);
            assert_int_equal(
                jwt_verdict(of_rsa, jwt_join("{\"alg\":\"RS256\"}", SUBJECT, signature)),
                ERR_INVALID);
            free(signature);
        }
    }
    jwt_verifier_destroy(of_rsa);
    jwt_verifier_destroy(of_ec);
}

/* ---- the form of a token --------------------------------------------------------------------- */

static void what_is_no_token_is_left_to_others(void **state)
{
    (void)state;
    struct jwt_verifier *verifier = jwt_secret_verifier(usual);
    static const char *const passwords[] = {"",
                                            "secret",
                                            "a.b",
                                            "a.b.c",
                                            "..",
                                            ".",
                                            "e30..",
                                            "e30.e30",
                                            "bnVsbA.e30.AAAA", /* null */
                                            "W10.e30.AAAA",    /* [] */
                                            "MQ.e30.AAAA",     /* 1 */
                                            "{}.{}.{}"};
    for (size_t i = 0; i < ARRAY_COUNT(passwords); i++) {
        enum err expected = strcmp(passwords[i], "e30..") == 0 ? ERR_INVALID : ERR_SYNTAX;
        assert_int_equal(jwt_verdict(verifier, strdup(passwords[i])), expected);
    }
    jwt_verifier_destroy(verifier);
}

/* Four parts are an encrypted token's five, or a mistake. */
static void a_token_has_three_parts(void **state)
{
    (void)state;
    struct jwt_verifier *verifier = jwt_secret_verifier(usual);
    char *good = jwt_sign_payload(SUBJECT), *longer = NULL;
    assert_true(asprintf(&longer, "%s.AAAA", good) > 0);
    assert_int_equal(jwt_verdict(verifier, good), ERR_OK);
    assert_int_equal(jwt_verdict(verifier, longer), ERR_INVALID);
    jwt_verifier_destroy(verifier);
}

static char *with_end(const char *token, const char *end)
{
    char *longer = NULL;
    assert_true(asprintf(&longer, "%s%s", token, end) > 0);
    return longer;
}

/* A token that can be spelt in two ways makes two entries in a cache or a list of revoked ones. */
static void base64_has_one_spelling(void **state)
{
    (void)state;
    struct jwt_settings settings = {.username_claim = "iss"};
    struct jwt_verifier *verifier = jwt_verifier_with(settings, rfc_secret, sizeof(rfc_secret));
    struct jwt_claims claims;
    static const char *const ends[] = {"=", "==", "A", "AA", "\n", " ", "%", "\xc3\xa4"};
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        char *token = with_end(rfc_hs256, ends[i]);
        assert_int_equal(jwt_verify_at(verifier, token, 0, &claims), ERR_INVALID);
        free(token);
    }
    char *token = strdup(rfc_hs256); /* the last character carries two bits that mean nothing */
    token[strlen(token) - 1] = 'l';
    assert_int_equal(jwt_verify_at(verifier, token, 0, &claims), ERR_INVALID);
    free(token);
    token = strdup(rfc_hs256);
    *strchr(token, '_') = '/';
    assert_int_equal(jwt_verify_at(verifier, token, 0, &claims), ERR_INVALID);
    free(token);
    jwt_verifier_destroy(verifier);
}

static void a_token_is_as_long_as_a_password_at_most(void **state)
{
    (void)state;
    struct jwt_verifier *verifier = jwt_secret_verifier(usual);
    for (size_t len = 47000; len <= 50000; len += 3000) {
        char *payload = NULL;
        assert_true(asprintf(&payload, "{\"sub\":\"a\",\"more\":\"%0*d\"}", (int)len, 1) > 0);
        char *token = jwt_sign_payload(payload);
        enum err expected = strlen(token) <= JWT_TOKEN_MAX ? ERR_OK : ERR_SYNTAX;
        assert_int_equal(jwt_verdict(verifier, token), expected);
        free(payload);
    }
    jwt_verifier_destroy(verifier);
}

static void a_long_header_or_signature_is_not_worked_on(void **state)
{
    (void)state;
    struct jwt_verifier *verifier = jwt_secret_verifier(usual);
    char *header = NULL, *zeros = NULL;
    assert_true(asprintf(&header, "{\"alg\":\"HS256\",\"kid\":\"%04000d\"}", 1) > 0);
    assert_int_equal(jwt_verdict(verifier, signed_header(header)), ERR_SYNTAX);
    assert_true(asprintf(&zeros, "%02000d", 0) > 0);
    assert_int_equal(jwt_verdict(verifier, jwt_join(HS256, SUBJECT, zeros)), ERR_INVALID);
    free(zeros);
    free(header);
    jwt_verifier_destroy(verifier);
}

static void extensions_that_must_be_understood_are_refused(void **state)
{
    (void)state;
    assert_int_equal(verdict_of_header("{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}"),
                     ERR_INVALID);
    assert_int_equal(verdict_of_header("{\"alg\":\"HS256\",\"crit\":[]}"), ERR_INVALID);
    assert_int_equal(verdict_of_header("{\"alg\":\"HS256\",\"crit\":null}"), ERR_INVALID);
}

static void members_that_come_twice_are_refused(void **state)
{
    (void)state;
    assert_int_equal(verdict_of_header("{\"alg\":\"HS256\",\"alg\":\"HS256\"}"), ERR_SYNTAX);
    assert_int_equal(jwt_verdict_of_payload(usual, "{\"sub\":\"pump-7\",\"sub\":\"admin\"}"),
                     ERR_INVALID);
    assert_int_equal(jwt_verdict_of_payload(usual,
                                            "{\"sub\":\"a\",\"acl\":[{\"topic\":\"a\",\"topic\":"
                                            "\"b\",\"permission\":\"allow\",\"action\":"
                                            "\"all\"}]}"),
                     ERR_INVALID);
}

static void only_access_tokens_are_taken(void **state)
{
    (void)state;
    static const char *const good[] = {"JWT", "jwt", "at+jwt", "application/at+jwt"};
    static const char *const bad[] = {"\"logout+jwt\"", "\"secevent+jwt\"", "\"\"", "1", "null"};
    char header[100];
    for (size_t i = 0; i < ARRAY_COUNT(good); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"typ\":\"%s\"}", good[i]);
        assert_int_equal(verdict_of_header(header), ERR_OK);
    }
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"typ\":%s}", bad[i]);
        assert_int_equal(verdict_of_header(header), ERR_INVALID);
    }
}

static void claims_that_are_no_object_are_refused(void **state)
{
    (void)state;
    static const char *const payloads[] = {"",
                                           "[]",
                                           "null",
                                           "\"pump-7\"",
                                           "{",
                                           "{}{}",
                                           "{\"sub\":}",
                                           "{a:1}",
                                           "{\"sub\":\"\\u0000\"}",
                                           "{\"sub\":\"\xff\"}"};
    for (size_t i = 0; i < ARRAY_COUNT(payloads); i++) {
        assert_int_equal(jwt_verdict_of_payload(usual, payloads[i]), ERR_INVALID);
    }
}

/* ---------------------------------------------------------------------------------------------- */

static int make_keys(void **state)
{
    (void)state;
    rsa = jwt_rsa_key(2048);
    ec = jwt_ec_key("P-256");
    return 0;
}

static int free_keys(void **state)
{
    (void)state;
    EVP_PKEY_free(rsa);
    EVP_PKEY_free(ec);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_rfc_7515_are_taken_until_they_expire),
        cmocka_unit_test(a_token_with_any_character_changed_is_refused),
        cmocka_unit_test(each_algorithm_is_taken_with_its_own_key),
        cmocka_unit_test(a_token_that_another_key_signed_is_refused),
        cmocka_unit_test(a_token_that_names_another_algorithm_is_refused),
        cmocka_unit_test(a_public_key_is_never_a_secret),
        cmocka_unit_test(a_token_without_a_signature_is_refused),
        cmocka_unit_test(signatures_of_odd_values_and_lengths_are_refused),
        cmocka_unit_test(what_is_no_token_is_left_to_others),
        cmocka_unit_test(a_token_has_three_parts),
        cmocka_unit_test(base64_has_one_spelling),
        cmocka_unit_test(a_token_is_as_long_as_a_password_at_most),
        cmocka_unit_test(a_long_header_or_signature_is_not_worked_on),
        cmocka_unit_test(extensions_that_must_be_understood_are_refused),
        cmocka_unit_test(members_that_come_twice_are_refused),
        cmocka_unit_test(only_access_tokens_are_taken),
        cmocka_unit_test(claims_that_are_no_object_are_refused),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
