#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/log.h"
#include "node/auth/auth.h"
#include "node/auth/password.h"
#include "node/auth/turns_priv.h"
#include "tests/unit/node/auth/auth_rig_support.h"

static struct auth *auth;

static void start(const struct auth_settings *settings)
{
    auth = rig_start(settings);
}

static int stop(void **state)
{
    (void)state;
    if (auth != NULL) {
        rig_stop(auth);
        auth = NULL;
    }
    rig_remove_files();
    return 0;
}

static void the_right_password_lets_in_with_name_and_groups(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    start(&settings);
    struct auth_request request = rig_request("alice", "wonderland", 1);
    struct heard heard = rig_hear(auth, &request);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_true(slice_equal(heard.identity->username, slice_text("alice")));
    assert_true(slice_equal(heard.identity->groups_text, slice_text("readers,writers")));
    assert_int_equal(heard.identity->provider, AUTH_USERS);
    assert_int_equal(heard.identity->expires_at_ms, UINT64_MAX);
    assert_non_null(heard.identity->view);
    auth_identity_unref(heard.identity);
}

static void a_wrong_an_empty_and_no_password_are_denied(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    start(&settings);
    const char *const passwords[] = {"Wonderland", "wonderland ", "", NULL};
    for (size_t i = 0; i < ARRAY_COUNT(passwords); i++) {
        struct auth_request request = rig_request("alice", passwords[i], 1);
        assert_int_equal(rig_ask(auth, &request), AUTH_DENIED);
    }
}

static void an_unknown_user_is_denied_like_a_known_one(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    start(&settings);
    struct auth_request request = rig_request("Alice", "wonderland", 1);
    assert_int_equal(rig_ask(auth, &request), AUTH_DENIED);
    request = rig_request(NULL, "wonderland", 1);
    assert_int_equal(rig_ask(auth, &request), AUTH_DENIED);
}

static void anonymous_clients_come_in_only_when_they_are_allowed(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    struct auth_request request = rig_request(NULL, NULL, 1);
    start(&settings);
    assert_int_equal(rig_ask(auth, &request), AUTH_NOT_ALLOWED);
    rig_stop(auth);
    settings.allow_anonymous = true;
    start(&settings);
    struct heard heard = rig_hear(auth, &request);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_int_equal(heard.identity->username.len, 0);
    assert_int_equal(heard.identity->provider, AUTH_PROVIDER_COUNT);
    auth_identity_unref(heard.identity);
    request = rig_request("nobody", "x", 1); /* with a name it is not anonymous */
    assert_int_equal(rig_ask(auth, &request), AUTH_DENIED);
}

static void the_first_provider_that_knows_the_user_decides(void **state)
{
    (void)state;
    struct password_hash hash;
    struct text text = {0};
    struct auth_settings settings = rig_settings();
    assert_int_equal(password_make(PASSWORD_PBKDF2, 1000, slice_text("other"), &hash), ERR_OK);
    text_add(&text, "alice:");
    password_print(&hash, &text);
    text_add(&text, "\ncarol:");
    password_print(&hash, &text);
    text_add(&text, ":ops\n");
    settings.password_file = rig_write_file("users", text.data);
    settings.chain[1] = AUTH_PASSWORD_FILE;
    settings.chain_len = 2;
    start(&settings);
    struct auth_request request = rig_request("alice", "other", 1);
    assert_int_equal(rig_ask(auth, &request), AUTH_DENIED);
    request = rig_request("alice", "wonderland", 1);
    assert_int_equal(rig_ask(auth, &request), AUTH_ALLOWED);
    request = rig_request("carol", "other", 1);
    struct heard heard = rig_hear(auth, &request);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_int_equal(heard.identity->provider, AUTH_PASSWORD_FILE);
    assert_true(slice_equal(heard.identity->groups_text, slice_text("ops")));
    auth_identity_unref(heard.identity);
    text_fini(&text);
}

static void a_certificate_is_the_name_and_no_other_may_be_given(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    settings.chain[0] = AUTH_CERTIFICATE;
    settings.chain[1] = AUTH_USERS;
    settings.chain_len = 2;
    start(&settings);
    struct auth_request request = rig_request(NULL, NULL, 1);
    request.certificate_identity = slice_text("alice");
    struct heard heard = rig_hear(auth, &request);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_true(slice_equal(heard.identity->username, slice_text("alice")));
    assert_true(slice_equal(heard.identity->groups_text, slice_text("readers,writers")));
    auth_identity_unref(heard.identity);

    request = rig_request("alice", NULL, 1);
    request.certificate_identity = slice_text("alice");
    assert_int_equal(rig_ask(auth, &request), AUTH_ALLOWED);
    request.username = slice_text("bob");
    assert_int_equal(rig_ask(auth, &request), AUTH_DENIED);
    request = rig_request("alice", "wonderland", 1); /* without a certificate: the next one */
    assert_int_equal(rig_ask(auth, &request), AUTH_ALLOWED);
}

static void a_bad_or_empty_password_file_is_an_error(void **state)
{
    (void)state;
    const char *const texts[] = {"", "# nobody\n\n", "bob\n", "bob:secret\n", "bob:$7$0$x$y\n"};
    struct auth_settings settings = rig_settings();
    settings.chain[0] = AUTH_PASSWORD_FILE;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct auth *made = NULL;
        struct text error = {0};
        settings.password_file = rig_write_file("users", texts[i]);
        assert_int_not_equal(auth_create(&settings, &made, &error), ERR_OK);
        assert_null(made);
        assert_true(error.len > 0 && strstr(error.data, "secret") == NULL);
        text_fini(&error);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t shorter_ms(uint64_t shortest_ms, const char *username)
{
    struct auth_request request = rig_request(username, "no", 1);
    struct heard heard = rig_hear(auth, &request);
    assert_int_equal(heard.verdict, AUTH_DENIED);
    return heard.took_ms < shortest_ms ? heard.took_ms : shortest_ms;
}

/*
 * The shortest times of an answer, without a delay, so that the work shows. Hashes are computed at
 * low priority: on a busy machine it takes some rounds until each was computed without a pause.
 */
static void an_unknown_user_takes_as_long_as_a_wrong_password(void **state)
{
    (void)state;
    struct password_hash hash;
    struct text text = {0};
    struct auth_settings settings = rig_settings();
    assert_int_equal(password_make(PASSWORD_PBKDF2, 150000, slice_text("builder"), &hash), ERR_OK);
    text_add(&text, "bob:");
    password_print(&hash, &text);
    settings.password_file = rig_write_file("users", text.data);
    settings.chain[1] = AUTH_PASSWORD_FILE; /* behind users whose passwords cost nothing */
    settings.chain_len = 2;
    start(&settings);
    uint64_t known_ms = UINT64_MAX;
    uint64_t unknown_ms = UINT64_MAX;
    bool alike = false;
    for (int round = 0; round < 5 || (round < 50 && !alike); round++) {
        known_ms = shorter_ms(known_ms, "bob");
        unknown_ms = shorter_ms(unknown_ms, "mallory");
        alike = known_ms < unknown_ms * 3 && unknown_ms < known_ms * 3;
    }
    assert_true(known_ms >= 10 && alike);
    text_fini(&text);
}

/* ---- delays ---------------------------------------------------------------------------------- */

static void refusals_take_longer_each_time_and_good_answers_never(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    settings.failure_delay_ms = 300;
    settings.failure_delay_max_ms = 1200;
    start(&settings);
    static const uint64_t wanted_ms[] = {300, 600, 1200, 1200};
    struct auth_request bad = rig_request("alice", "no", 1);
    struct auth_request unknown = rig_request("mallory", "no", 1);
    for (size_t i = 0; i < ARRAY_COUNT(wanted_ms); i++) {
        struct heard heard = rig_hear(auth, i % 2 == 0 ? &bad : &unknown);
        assert_int_equal(heard.verdict, AUTH_DENIED);
        assert_in_range(heard.took_ms, wanted_ms[i], wanted_ms[i] + 290);
    }
    struct auth_request good = rig_request("alice", "wonderland", 1);
    struct rig_client *client = rig_begin(auth, &good);
    assert_true(rig_answered(client, 290));
    auth_identity_unref(rig_wait(client).identity);
    rig_end(client);
    bad = rig_request("alice", "no", 2); /* another address */
    assert_in_range(rig_hear(auth, &bad).took_ms, 300, 590);
}

static void who_guesses_in_parallel_waits_in_line_and_others_do_not(void **state)
{
    (void)state;
    enum { GUESSES = TURNS_HELD + 8 };
    struct rig_client *guesses[GUESSES];
    struct auth_settings settings = rig_settings();
    settings.failure_delay_ms = 1000;
    settings.failure_delay_max_ms = 1000;
    start(&settings);
    struct auth_request bad = rig_request("alice", "no", 1);
    for (size_t i = 0; i < GUESSES; i++) {
        guesses[i] = rig_begin(auth, &bad);
    }
    struct auth_request neighbour = rig_request("alice", "wonderland", 2);
    struct heard heard = rig_hear(auth, &neighbour);
    assert_true(heard.took_ms < 900);
    auth_identity_unref(heard.identity);
    unsigned answered = 0;
    for (size_t i = 0; i < GUESSES; i++) {
        answered += rig_answered(guesses[i], i == 0 ? 1500 : 1);
    }
    assert_true(answered > 0 && answered <= TURNS_HELD);
    for (size_t i = 0; i < GUESSES; i++) {
        assert_int_equal(rig_wait(guesses[i]).verdict, AUTH_DENIED);
        rig_end(guesses[i]);
    }
}

static void who_does_not_wait_for_a_refusal_still_holds_its_place(void **state)
{
    (void)state;
    struct rig_client *guesses[TURNS_HELD];
    struct auth_settings settings = rig_settings();
    settings.failure_delay_ms = 2000;
    settings.failure_delay_max_ms = 2000;
    start(&settings);
    struct auth_request bad = rig_request("alice", "no", 1);
    struct auth_request good = rig_request("alice", "wonderland", 1);
    for (size_t i = 0; i < TURNS_HELD; i++) {
        guesses[i] = rig_begin(auth, &bad);
    }
    assert_false(rig_answered(guesses[0], 600)); /* long enough for all to be judged */
    for (size_t i = 0; i < TURNS_HELD; i++) {
        rig_end(guesses[i]);
    }
    struct heard heard = rig_hear(auth, &good);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_true(heard.took_ms > 900);
    auth_identity_unref(heard.identity);
}

/* ---- limits and the end ---------------------------------------------------------------------- */

static void more_than_attempts_max_are_busy(void **state)
{
    (void)state;
    struct rig_client *clients[3];
    struct auth_settings settings = rig_settings();
    settings.attempts_max = 2;
    settings.failure_delay_ms = 200;
    settings.failure_delay_max_ms = 200;
    start(&settings);
    struct auth_request bad = rig_request("alice", "no", 1);
    for (size_t i = 0; i < 3; i++) {
        clients[i] = rig_begin(auth, &bad);
    }
    assert_int_equal(rig_wait(clients[2]).verdict, AUTH_BUSY);
    for (size_t i = 0; i < 3; i++) {
        if (i < 2) {
            assert_int_equal(rig_wait(clients[i]).verdict, AUTH_DENIED);
        }
        rig_end(clients[i]);
    }
    struct auth_request good = rig_request("alice", "wonderland", 1);
    assert_int_equal(rig_ask(auth, &good), AUTH_ALLOWED);
    struct auth_counts counts;
    auth_read_counts(auth, &counts);
    assert_int_equal(counts.busy, 1);
    assert_int_equal(counts.denied, 2);
    assert_int_equal(counts.allowed, 1);
}

static void stopping_answers_whoever_waits_and_begins_nothing_new(void **state)
{
    (void)state;
    struct rig_client *clients[40];
    struct auth_settings settings = rig_settings();
    settings.failure_delay_ms = 60000;
    settings.failure_delay_max_ms = 60000;
    start(&settings);
    struct auth_request bad = rig_request("alice", "no", 1);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        clients[i] = rig_begin(auth, &bad);
    }
    auth_stop(auth);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        enum auth_verdict verdict = rig_wait(clients[i]).verdict;
        assert_true(verdict == AUTH_DENIED || verdict == AUTH_UNAVAILABLE);
        rig_end(clients[i]);
    }
    assert_null(auth_begin(auth, &bad, NULL, NULL));
}

static void an_auth_that_was_never_started_can_be_destroyed(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    struct text error = {0};
    struct auth *made = NULL;
    assert_int_equal(auth_create(&settings, &made, &error), ERR_OK);
    auth_destroy(made);
    auth_destroy(NULL);
}

int main(void)
{
    hash_seed_init();
    assert_int_equal(log_set_filter("error"), ERR_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_right_password_lets_in_with_name_and_groups, stop),
        cmocka_unit_test_teardown(a_wrong_an_empty_and_no_password_are_denied, stop),
        cmocka_unit_test_teardown(an_unknown_user_is_denied_like_a_known_one, stop),
        cmocka_unit_test_teardown(anonymous_clients_come_in_only_when_they_are_allowed, stop),
        cmocka_unit_test_teardown(the_first_provider_that_knows_the_user_decides, stop),
        cmocka_unit_test_teardown(a_certificate_is_the_name_and_no_other_may_be_given, stop),
        cmocka_unit_test_teardown(a_bad_or_empty_password_file_is_an_error, stop),
        cmocka_unit_test_teardown(an_unknown_user_takes_as_long_as_a_wrong_password, stop),
        cmocka_unit_test_teardown(refusals_take_longer_each_time_and_good_answers_never, stop),
        cmocka_unit_test_teardown(who_guesses_in_parallel_waits_in_line_and_others_do_not, stop),
        cmocka_unit_test_teardown(who_does_not_wait_for_a_refusal_still_holds_its_place, stop),
        cmocka_unit_test_teardown(more_than_attempts_max_are_busy, stop),
        cmocka_unit_test_teardown(stopping_answers_whoever_waits_and_begins_nothing_new, stop),
        cmocka_unit_test(an_auth_that_was_never_started_can_be_destroyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
