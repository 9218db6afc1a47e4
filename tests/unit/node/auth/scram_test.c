#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/auth/scram_keys_priv.h"
#include "node/auth/scram_priv.h"
#include "tests/unit/node/auth/scram_client_support.h"

/* RFC 7677, section 3: user "user", password "pencil". */
static const char client_first[] = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
static const char server_nonce[] = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
static const char server_first[] = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                   "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
static const char client_final[] = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                                   "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
static const char server_final[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

static struct password_hash keys_of(const char *password)
{
    static const uint8_t salt[] = {0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e,
                                   0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81};
    struct password_hash hash = {
        .kind = PASSWORD_SCRAM, .cost = {4096}, .salt_len = sizeof(salt), .key_len = 64};
    struct scram_keys keys;
    memcpy(hash.salt, salt, sizeof(salt));
    assert_true(scram_keys_derive(slice_text(password), slice_of(salt, sizeof(salt)), 4096, &keys));
    memcpy(hash.key, keys.stored_key, 32);
    memcpy(hash.key + 32, keys.server_key, 32);
    return hash;
}

/* The exchange up to the challenge. */
static struct scram *challenged(const char *first, const char *password, bool known,
                                struct text *out)
{
    struct scram *scram = NULL;
    struct password_hash keys = keys_of(password);
    assert_null(scram_create(slice_text(first), &scram));
    assert_null(scram_challenge(scram, &keys, known, slice_text(server_nonce), out));
    return scram;
}

static void the_exchange_of_the_rfc_goes_as_it_stands_there(void **state)
{
    (void)state;
    struct text first = {0};
    struct text final = {0};
    struct scram *scram = challenged(client_first, "pencil", true, &first);
    assert_true(slice_equal(scram_username(scram), slice_text("user")));
    assert_string_equal(first.data, server_first);
    assert_null(scram_finish(scram, slice_text(client_final), &final));
    assert_string_equal(final.data, server_final);
    scram_destroy(scram);
    text_fini(&first);
    text_fini(&final);
}

static void any_other_byte_of_the_last_message_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(client_final) - 1; i++) {
        char changed[sizeof(client_final)];
        struct text first = {0};
        struct text final = {0};
        memcpy(changed, client_final, sizeof(changed));
        changed[i] = (char)(changed[i] ^ 1);
        struct scram *scram = challenged(client_first, "pencil", true, &first);
        assert_non_null(scram_finish(scram, slice_text(changed), &final));
        assert_int_equal(final.len, 0);
        scram_destroy(scram);
        text_fini(&first);
    }
}

static void a_cut_or_longer_last_message_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(client_final) - 1; len++) {
        struct text first = {0};
        struct text final = {0};
        struct scram *scram = challenged(client_first, "pencil", true, &first);
        assert_non_null(scram_finish(scram, slice_of(client_final, len), &final));
        scram_destroy(scram);
        text_fini(&first);
    }
    static const char *const ends[] = {",", ",x=y", "=", "A"};
    for (size_t i = 0; i < ARRAY_COUNT(ends); i++) {
        char longer[sizeof(client_final) + 8];
        struct text first = {0};
        struct text final = {0};
        snprintf(longer, sizeof(longer), "%s%s", client_final, ends[i]);
        struct scram *scram = challenged(client_first, "pencil", true, &first);
        assert_non_null(scram_finish(scram, slice_text(longer), &final));
        scram_destroy(scram);
        text_fini(&first);
    }
}

static void a_right_proof_is_no_use_when_there_is_no_such_user(void **state)
{
    (void)state;
    struct text first = {0};
    struct text final = {0};
    struct scram *scram = challenged(client_first, "pencil", false, &first);
    assert_non_null(scram_finish(scram, slice_text(client_final), &final));
    assert_int_equal(final.len, 0);
    scram_destroy(scram);
    text_fini(&first);
}

static void names_with_commas_and_equals_signs_are_understood(void **state)
{
    (void)state;
    struct text first = {0};
    struct text final = {0};
    struct scram_client client = {.header = "y,a=a=2Cb=3Dc,",
                                  .first_bare = "n=a=2Cb=3Dc,r=abc,more=things"};
    struct scram *scram =
        challenged("y,a=a=2Cb=3Dc,n=a=2Cb=3Dc,r=abc,more=things", "pencil", true, &first);
    assert_true(slice_equal(scram_username(scram), slice_text("a,b=c")));
    assert_true(slice_equal(scram_authorization(scram), slice_text("a,b=c")));
    scram_client_answer(&client, first.data, "pencil");
    assert_null(scram_finish(scram, slice_text(client.client_final), &final));
    assert_string_equal(final.data, client.server_signature);
    scram_destroy(scram);
    text_fini(&first);
    text_fini(&final);
}

static void a_header_that_is_not_the_first_one_is_refused(void **state)
{
    (void)state;
    struct text first = {0};
    struct text final = {0};
    struct scram_client client = {.header = "y,,", .first_bare = "n=user,r=abc"};
    struct scram *scram = challenged("n,,n=user,r=abc", "pencil", true, &first);
    scram_client_answer(&client, first.data, "pencil");
    assert_non_null(scram_finish(scram, slice_text(client.client_final), &final));
    scram_destroy(scram);
    text_fini(&first);
}

static void nonces_of_the_server_differ(void **state)
{
    (void)state;
    struct text firsts[2] = {{0}, {0}};
    struct password_hash keys = keys_of("pencil");
    for (int i = 0; i < 2; i++) {
        struct scram *scram = NULL;
        assert_null(scram_create(slice_text(client_first), &scram));
        assert_null(scram_challenge(scram, &keys, true, slice_of(NULL, 0), &firsts[i]));
        scram_destroy(scram);
    }
    assert_string_not_equal(firsts[0].data, firsts[1].data);
    text_fini(&firsts[0]);
    text_fini(&firsts[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exchange_of_the_rfc_goes_as_it_stands_there),
        cmocka_unit_test(any_other_byte_of_the_last_message_is_refused),
        cmocka_unit_test(a_cut_or_longer_last_message_is_refused),
        cmocka_unit_test(a_right_proof_is_no_use_when_there_is_no_such_user),
        cmocka_unit_test(names_with_commas_and_equals_signs_are_understood),
        cmocka_unit_test(a_header_that_is_not_the_first_one_is_refused),
        cmocka_unit_test(nonces_of_the_server_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
