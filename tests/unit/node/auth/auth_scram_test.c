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
#include "tests/unit/node/auth/auth_rig_support.h"
#include "tests/unit/node/auth/scram_client_support.h"

static struct auth *auth;

static int start(void **state)
{
    (void)state;
    struct auth_settings settings = rig_settings();
    auth = rig_start(&settings);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    rig_stop(auth);
    rig_remove_files();
    return 0;
}

static struct auth_request scram_request(const char *client_first)
{
    struct auth_request request = rig_request(NULL, NULL, 1);
    request.method = slice_text("SCRAM-SHA-256");
    request.data = slice_text(client_first);
    return request;
}

/* What comes of a whole exchange. `client` remembers it. */
static struct heard login(struct scram_client *client, const char *name, const char *password)
{
    static char first[256];
    snprintf(first, sizeof(first), "n,,n=%s,r=clientnonce", name);
    client->header = "n,,";
    client->first_bare = first + 3;
    struct auth_request request = scram_request(first);
    struct rig_client *waiting = rig_begin(auth, &request);
    struct heard heard = rig_wait(waiting);
    assert_int_equal(heard.verdict, AUTH_CONTINUE);
    scram_client_answer(client, heard.data, password);
    rig_continue(waiting, client->client_final);
    heard = rig_wait(waiting);
    rig_end(waiting);
    return heard;
}

static enum auth_verdict begin_only(const char *first)
{
    struct auth_request request = scram_request(first);
    return rig_ask(auth, &request);
}

static void who_has_the_password_comes_in_and_knows_the_server(void **state)
{
    (void)state;
    struct scram_client client;
    struct heard heard = login(&client, "alice", "wonderland");
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_string_equal(heard.data, client.server_signature);
    assert_true(slice_equal(heard.identity->username, slice_text("alice")));
    assert_true(slice_equal(heard.identity->groups_text, slice_text("readers,writers")));
    assert_int_equal(heard.identity->provider, AUTH_USERS);
    auth_identity_unref(heard.identity);
}

static void a_wrong_password_and_an_unknown_user_look_alike(void **state)
{
    (void)state;
    struct scram_client known, unknown, again, other;
    struct heard heard = login(&known, "alice", "no");
    assert_int_equal(heard.verdict, AUTH_DENIED);
    assert_string_equal(heard.data, "");
    heard = login(&unknown, "mallory", "no");
    assert_int_equal(heard.verdict, AUTH_DENIED);
    assert_string_equal(heard.data, "");
    assert_int_equal(known.iterations, unknown.iterations);
    assert_int_equal(strlen(known.salt), strlen(unknown.salt));
    (void)login(&again, "mallory", "other");
    assert_string_equal(again.salt, unknown.salt);
    (void)login(&other, "mallory2", "other");
    assert_string_not_equal(other.salt, unknown.salt);
    assert_string_not_equal(known.nonce, again.nonce);
}

static void messages_that_are_none_are_denied(void **state)
{
    (void)state;
    const char *const messages[] = {
        "",
        "n",
        "n,,",
        "n,,n=alice",
        "n,,r=x,n=alice",
        "p=tls-unique,,n=alice,r=x",
        "x,,n=alice,r=x",
        "n,,m=must,n=alice,r=x",
        "n,,n=al=ice,r=x",
        "n,,n=,r=x",
        "n,,n=alice,r=",
        "n,a=bob,n=alice,r=x",
        "n,b=bob,n=alice,r=x",
        "n,,n=alice,r=\x01",
    };
    for (size_t i = 0; i < ARRAY_COUNT(messages); i++) {
        assert_int_equal(begin_only(messages[i]), AUTH_DENIED);
    }
    assert_int_equal(begin_only("y,a=alice,n=alice,r=x"), AUTH_CONTINUE);
    assert_int_equal(begin_only("n,,n=alice,r=x,extension=yes"), AUTH_CONTINUE);
}

static void another_method_is_a_bad_one(void **state)
{
    (void)state;
    struct auth_request request = scram_request("n,,n=alice,r=x");
    request.method = slice_text("SCRAM-SHA-1");
    assert_int_equal(rig_ask(auth, &request), AUTH_BAD_METHOD);
}

static void names_given_in_two_places_must_be_the_same(void **state)
{
    (void)state;
    struct auth_request request = scram_request("n,,n=alice,r=x");
    request.username = slice_text("alice");
    request.has_username = true;
    assert_int_equal(rig_ask(auth, &request), AUTH_CONTINUE);
    request.username = slice_text("bob");
    assert_int_equal(rig_ask(auth, &request), AUTH_DENIED);
}

static void final_messages_that_are_none_are_denied(void **state)
{
    (void)state;
    const char *const messages[] = {"", "c=biws", "c=biws,r=x,p=", "p=AAAA",
                                    "c=biws,r=clientnonce,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="};
    for (size_t i = 0; i < ARRAY_COUNT(messages); i++) {
        struct auth_request request = scram_request("n,,n=alice,r=clientnonce");
        struct rig_client *client = rig_begin(auth, &request);
        assert_int_equal(rig_wait(client).verdict, AUTH_CONTINUE);
        rig_continue(client, messages[i]);
        assert_int_equal(rig_wait(client).verdict, AUTH_DENIED);
        rig_end(client);
    }
}

static void a_proof_for_another_exchange_is_denied(void **state)
{
    (void)state;
    struct scram_client client;
    struct heard heard = login(&client, "alice", "wonderland");
    auth_identity_unref(heard.identity);
    struct auth_request request = scram_request("n,,n=alice,r=clientnonce");
    struct rig_client *waiting = rig_begin(auth, &request);
    assert_int_equal(rig_wait(waiting).verdict, AUTH_CONTINUE);
    rig_continue(waiting, client.client_final);
    assert_int_equal(rig_wait(waiting).verdict, AUTH_DENIED);
    rig_end(waiting);
}

/* ---- with a password file -------------------------------------------------------------------- */

static void start_with_file(struct auth_settings *settings, enum password_kind kind)
{
    struct password_hash hash;
    struct text text = {0};
    *settings = rig_settings();
    assert_int_equal(
        password_make(kind, kind == PASSWORD_SCRAM ? 4096 : 1000, slice_text("builder"), &hash),
        ERR_OK);
    text_add(&text, "bob:");
    password_print(&hash, &text);
    text_add(&text, ":admins\n");
    settings->chain[0] = AUTH_PASSWORD_FILE;
    settings->password_file = rig_write_file("users", text.data);
    auth = rig_start(settings);
    text_fini(&text);
}

static void an_entry_of_a_file_does_for_scram_and_for_a_plain_login(void **state)
{
    (void)state;
    struct auth_settings settings;
    struct scram_client client, before, after;
    start_with_file(&settings, PASSWORD_SCRAM);
    struct heard heard = login(&client, "bob", "builder");
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_true(slice_equal(heard.identity->groups_text, slice_text("admins")));
    auth_identity_unref(heard.identity);
    struct auth_request request = rig_request("bob", "builder", 1);
    assert_int_equal(rig_ask(auth, &request), AUTH_ALLOWED);
    (void)login(&before, "mallory", "x");
    rig_stop(auth);
    auth = rig_start(&settings); /* made-up salts stay as true ones do */
    (void)login(&after, "mallory", "x");
    assert_string_equal(before.salt, after.salt);
}

static void without_any_keys_scram_is_not_offered(void **state)
{
    (void)state;
    struct auth_settings settings;
    start_with_file(&settings, PASSWORD_PBKDF2);
    assert_int_equal(begin_only("n,,n=bob,r=x"), AUTH_BAD_METHOD);
    rig_stop(auth);
    settings = rig_settings();
    settings.scram = false;
    auth = rig_start(&settings);
    assert_int_equal(begin_only("n,,n=alice,r=x"), AUTH_BAD_METHOD);
}

int main(void)
{
    hash_seed_init();
    assert_int_equal(log_set_filter("error"), ERR_OK);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(who_has_the_password_comes_in_and_knows_the_server, start,
                                        stop),
        cmocka_unit_test_setup_teardown(a_wrong_password_and_an_unknown_user_look_alike, start,
                                        stop),
        cmocka_unit_test_setup_teardown(messages_that_are_none_are_denied, start, stop),
        cmocka_unit_test_setup_teardown(another_method_is_a_bad_one, start, stop),
        cmocka_unit_test_setup_teardown(names_given_in_two_places_must_be_the_same, start, stop),
        cmocka_unit_test_setup_teardown(final_messages_that_are_none_are_denied, start, stop),
        cmocka_unit_test_setup_teardown(a_proof_for_another_exchange_is_denied, start, stop),
        cmocka_unit_test_teardown(an_entry_of_a_file_does_for_scram_and_for_a_plain_login, stop),
        cmocka_unit_test_teardown(without_any_keys_scram_is_not_offered, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
