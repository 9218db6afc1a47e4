/*
 * The file with the keys for tokens: what is taken, and what is an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "node/auth/jwt.h"
#include "tests/unit/node/auth/jwt_support.h"

#define SUBJECT "{\"sub\":\"pump-7\"}"

static EVP_PKEY *rsa, *ec;

/* Creates a verifier with a file; the error's text, when `expected` is one, must hold `words`. */
static struct jwt_verifier *create(const void *data, size_t len, const char *algorithms,
                                   enum err expected, const char *words)
{
    struct jwt_verifier *verifier = NULL;
    struct text error = {.data = NULL};
    char *path = jwt_file(data, len);
    struct jwt_settings settings = {.key_file = path, .algorithms = algorithms};
    assert_int_equal(jwt_verifier_create(&settings, &verifier, &error), expected);
    assert_true((expected == ERR_OK) == (verifier != NULL));
    if (expected != ERR_OK) {
        assert_non_null(error.data);
        assert_non_null(strstr(error.data, words));
        assert_null(strchr(error.data, '\n'));
    }
    text_fini(&error);
    jwt_file_remove(path);
    return verifier;
}

static void assert_refused(const void *data, size_t len, const char *words)
{
    assert_null(create(data, len, "HS256,RS256,ES256", ERR_INVALID, words));
}

static void assert_refused_text(const char *text, const char *words)
{
    assert_refused(text, strlen(text), words);
}

/* Takes `token`. */
static enum err verdict_of(const struct jwt_verifier *verifier, char *token)
{
    struct jwt_claims claims;
    const char *why = NULL;
    enum err err = jwt_verify(verifier, slice_text(token), 1700000000000, &claims, &why);
    if (err == ERR_OK) {
        jwt_claims_fini(&claims);
    }
    free(token);
    return err;
}

/* So that keys can be changed: the new one beside the old one for a while. */
static void every_key_of_a_file_is_tried(void **state)
{
    (void)state;
    EVP_PKEY *second = jwt_rsa_key(2048);
    char *one = jwt_public_pem(rsa), *two = jwt_public_pem(ec), *three = jwt_public_pem(second);
    char *file = NULL;
    assert_true(asprintf(&file, "# the old one\n%s\n%s# the new one\n%s", one, two, three) > 0);
    struct jwt_verifier *verifier = create(file, strlen(file), "RS256,ES256", ERR_OK, NULL);
    assert_int_equal(verdict_of(verifier, jwt_sign_rs256("{\"alg\":\"RS256\"}", SUBJECT, rsa)),
                     ERR_OK);
    assert_int_equal(verdict_of(verifier, jwt_sign_rs256("{\"alg\":\"RS256\"}", SUBJECT, second)),
                     ERR_OK);
    assert_int_equal(verdict_of(verifier, jwt_sign_es256("{\"alg\":\"ES256\"}", SUBJECT, ec)),
                     ERR_OK);
    jwt_verifier_destroy(verifier);
    free(file);
    free(one);
    free(two);
    free(three);
    EVP_PKEY_free(second);
}

static char *self_signed(EVP_PKEY *key)
{
    X509 *certificate = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    assert_int_equal(X509_set_pubkey(certificate, key), 1);
    assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_int_equal(PEM_write_bio_X509(bio, certificate), 1);
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    char *text = strndup(data, (size_t)len);
    BIO_free(bio);
    X509_free(certificate);
    return text;
}

static void a_certificate_gives_its_key(void **state)
{
    (void)state;
    char *pem = self_signed(ec);
    struct jwt_verifier *verifier = create(pem, strlen(pem), "ES256", ERR_OK, NULL);
    assert_int_equal(verdict_of(verifier, jwt_sign_es256("{\"alg\":\"ES256\"}", SUBJECT, ec)),
                     ERR_OK);
    jwt_verifier_destroy(verifier);
    free(pem);
}

/* The older form, without the name of the algorithm in it. */
static void a_public_key_may_be_in_the_form_of_rsa(void **state)
{
    (void)state;
    uint8_t *der = NULL;
    int len = i2d_PublicKey(rsa, &der);
    BIO *bio = BIO_new(BIO_s_mem());
    assert_true(PEM_write_bio(bio, "RSA PUBLIC KEY", "", der, len) > 0);
    char *pem = NULL;
    long pem_len = BIO_get_mem_data(bio, &pem);
    struct jwt_verifier *verifier = create(pem, (size_t)pem_len, "RS256", ERR_OK, NULL);
    assert_int_equal(verdict_of(verifier, jwt_sign_rs256("{\"alg\":\"RS256\"}", SUBJECT, rsa)),
                     ERR_OK);
    jwt_verifier_destroy(verifier);
    BIO_free(bio);
    OPENSSL_free(der);
}

static void the_line_ends_behind_a_secret_are_no_part_of_it(void **state)
{
    (void)state;
    static const char *const files[] = {JWT_SECRET, JWT_SECRET "\n", JWT_SECRET "\r\n"};
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        struct jwt_verifier *verifier = create(files[i], strlen(files[i]), "HS256", ERR_OK, NULL);
        char *token =
            jwt_sign_hs256("{\"alg\":\"HS256\"}", SUBJECT, JWT_SECRET, strlen(JWT_SECRET));
        assert_int_equal(verdict_of(verifier, token), ERR_OK);
        jwt_verifier_destroy(verifier);
    }
}

static void a_short_secret_is_refused(void **state)
{
    (void)state;
    const char secret[] = "0123456789abcdef0123456789abcdef\n";
    jwt_verifier_destroy(create(secret, 33, "HS256", ERR_OK, NULL));
    assert_refused(secret + 1, 32, "shorter than 32 bytes");
    assert_refused_text("\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n",
                        "shorter than 32 bytes");
    assert_refused_text("", "shorter than 32 bytes");
}

static void weak_and_foreign_keys_are_refused(void **state)
{
    (void)state;
    EVP_PKEY *keys[] = {jwt_rsa_key(1024), jwt_ec_key("P-384"), jwt_ec_key("secp256k1"),
                        EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
    static const char *const words[] = {"2048", "P-256", "P-256", "P-256"};
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        char *pem = jwt_public_pem(keys[i]);
        assert_refused_text(pem, words[i]);
        free(pem);
        EVP_PKEY_free(keys[i]);
    }
}

static void a_private_key_is_refused(void **state)
{
    (void)state;
    char *private = jwt_private_pem(ec), *public = jwt_public_pem(ec), *both = NULL;
    assert_refused_text(private, "private key");
    assert_true(asprintf(&both, "%s%s", public, private) > 0);
    assert_refused_text(both, "private key");
    free(both);
    free(private);
    free(public);
}

static void damaged_pem_is_refused_and_no_secret(void **state)
{
    (void)state;
    char *pem = jwt_public_pem(rsa);
    for (size_t len = strlen("-----BEGIN "); len < strlen(pem) - 1; len += 7) {
        struct jwt_verifier *verifier = NULL;
        struct text error = {.data = NULL};
        char *path = jwt_file(pem, len);
        struct jwt_settings settings = {.key_file = path, .algorithms = "HS256,RS256"};
        assert_int_equal(jwt_verifier_create(&settings, &verifier, &error), ERR_INVALID);
        text_fini(&error);
        jwt_file_remove(path);
    }
    pem[200] = '!';
    assert_refused_text(pem, "PEM");
    free(pem);
    assert_refused_text("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                        "can't be read");
    assert_refused_text("-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n",
                        "something else");
}

/* Everybody knows a public key: in no form must it become a secret. */
static void public_keys_in_other_forms_are_no_secrets(void **state)
{
    (void)state;
    EVP_PKEY *keys[] = {rsa, ec};
    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        uint8_t *der = NULL;
        int len = i2d_PUBKEY(keys[i], &der);
        char *base64 = malloc((size_t)len * 2), *pem = jwt_public_pem(keys[i]);
        EVP_EncodeBlock((unsigned char *)base64, der, len);
        assert_refused(der, (size_t)len, "not PEM");
        assert_refused_text(base64, "not PEM");
        char *body = strchr(pem, '\n') + 1; /* the lines without the frame around them */
        *strstr(body, "-----END") = '\0';
        assert_refused_text(body, "not PEM");
        OPENSSL_free(der);
        free(base64);
        free(pem);
    }
    assert_refused_text("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCd pump@plant", "not PEM");
    assert_refused_text("{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"oahUIu1LaMZGIAAA\"}", "not PEM");
}

static void a_key_for_an_algorithm_that_is_left_out_is_an_error(void **state)
{
    (void)state;
    char *pem = jwt_public_pem(rsa);
    create(pem, strlen(pem), "ES256", ERR_INVALID, "RS256");
    create(pem, strlen(pem), "HS256", ERR_INVALID, "RS256");
    create(JWT_SECRET, strlen(JWT_SECRET), "RS256,ES256", ERR_INVALID, "HS256");
    free(pem);
}

static void algorithms_that_there_are_not_are_an_error(void **state)
{
    (void)state;
    static const char *const lists[] = {"none",       "",      "RS256,",      ",RS256",
                                        "RS256,none", "rs256", "RS256 ES256", "HS512"};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        create(JWT_SECRET, strlen(JWT_SECRET), lists[i], ERR_SYNTAX, "HS256, RS256, ES256");
    }
    jwt_verifier_destroy(
        create(JWT_SECRET, strlen(JWT_SECRET), "RS256, HS256 ,ES256", ERR_OK, NULL));
}

static void files_that_can_not_be_read_are_an_error(void **state)
{
    (void)state;
    struct jwt_verifier *verifier = NULL;
    static const char *const paths[] = {"/nowhere/keys.pem", "/tmp", "/dev/zero"};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        struct text error = {.data = NULL};
        struct jwt_settings settings = {.key_file = paths[i], .algorithms = "HS256"};
        assert_int_equal(jwt_verifier_create(&settings, &verifier, &error), ERR_IO);
        assert_non_null(strstr(error.data, paths[i]));
        text_fini(&error);
    }
    char *large = calloc(1, 300000);
    memset(large, 'x', 300000);
    create(large, 300000, "HS256", ERR_RANGE, "larger than");
    free(large);
}

static void there_are_at_most_16_keys(void **state)
{
    (void)state;
    struct text file = {.data = NULL};
    char *pem = jwt_public_pem(ec);
    for (size_t i = 0; i < 16; i++) {
        text_add(&file, pem);
    }
    jwt_verifier_destroy(create(file.data, file.len, "ES256", ERR_OK, NULL));
    text_add(&file, pem);
    assert_refused_text(file.data, "16 keys");
    free(pem);
    text_fini(&file);
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
        cmocka_unit_test(every_key_of_a_file_is_tried),
        cmocka_unit_test(a_certificate_gives_its_key),
        cmocka_unit_test(a_public_key_may_be_in_the_form_of_rsa),
        cmocka_unit_test(the_line_ends_behind_a_secret_are_no_part_of_it),
        cmocka_unit_test(a_short_secret_is_refused),
        cmocka_unit_test(weak_and_foreign_keys_are_refused),
        cmocka_unit_test(a_private_key_is_refused),
        cmocka_unit_test(damaged_pem_is_refused_and_no_secret),
        cmocka_unit_test(public_keys_in_other_forms_are_no_secrets),
        cmocka_unit_test(a_key_for_an_algorithm_that_is_left_out_is_an_error),
        cmocka_unit_test(algorithms_that_there_are_not_are_an_error),
        cmocka_unit_test(files_that_can_not_be_read_are_an_error),
        cmocka_unit_test(there_are_at_most_16_keys),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
