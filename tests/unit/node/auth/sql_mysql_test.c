/*
 * Users in a table of a MariaDB server of our own, as the whole of auth finds them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "node/auth/auth.h"
#include "tests/unit/node/auth/auth_rig_support.h"
#include "tests/unit/node/auth/http_support.h"
#include "tests/unit/node/auth/sql_support.h"
#include "tests/unit/storage/mariadb_support.h"

static struct mariadb *server;

struct fixture {
    char url[300];
    struct auth_settings settings;
    struct auth *auth;
};

static void run(const char *format, const char *value)
{
    char sql[3000], in_database[3200];
    snprintf(sql, sizeof(sql), format, value);
    snprintf(in_database, sizeof(in_database), "USE %s; %s", mariadb_database(server), sql);
    mariadb_run(server, in_database);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    mariadb_fresh_url(server, fixture->url, sizeof(fixture->url));
    run("%s", sql_tables("VARBINARY(255)"));
    fixture->settings = sql_settings(fixture->url);
    fixture->auth = rig_start(&fixture->settings);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    rig_stop(fixture->auth);
    free(fixture);
    return 0;
}

static void reload(struct fixture *fixture)
{
    struct text error = {.data = NULL};
    if (auth_reload(fixture->auth, &fixture->settings, &error) != ERR_OK) {
        fail_msg("%s", error.data);
    }
}

/* ---- users ----------------------------------------------------------------------------------- */

static void a_user_gets_groups_and_rules(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 10; i++) {
        struct auth_request request = rig_request("pump-7", "secret", 1);
        struct heard heard = rig_hear(fixture->auth, &request);
        assert_int_equal(heard.verdict, AUTH_ALLOWED);
        assert_true(slice_equal(heard.identity->groups_text, slice_text("devices,pumps")));
        const struct acl_view *view = heard.identity->view;
        assert_true(acl_may_publish(view, slice_text("plant/pump-7/speed")));
        assert_false(acl_may_publish(view, slice_text("plant/pump-7/stop")));
        assert_false(acl_may_publish(view, slice_text("plant/pump-8/speed")));
        auth_identity_unref(heard.identity);
    }
}

static void wrong_passwords_and_unknown_users_are_denied(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {
        "Pump-7",
        "pump-7 ",
        "pump-8",
        "' OR '1'='1",
        "pump-7' -- ",
        "\\",
        "pump-7\\' OR 1=1 -- ",
        "x' UNION SELECT password_hash, 'admins' FROM mqtt_users -- ",
        "%",
        "?"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        assert_int_equal(sql_verdict(fixture->auth, names[i], "secret"), AUTH_DENIED);
    }
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "Secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", ""), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", NULL), AUTH_DENIED);
}

static void columns_that_nobody_asked_for_do_no_harm(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.sql_user_query =
        "SELECT password_hash, user_groups, username, 'more', 7, NULL, NOW(), REPEAT('x', 200000) "
        "FROM mqtt_users WHERE username = %u";
    fixture->settings.sql_acl_query =
        "SELECT permission, action, topic, id, 1.5, NULL FROM mqtt_acl WHERE username = %u";
    reload(fixture);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
    }
}

/* The usual collations take them for the same; the third column tells them apart. */
static void a_name_that_only_the_collation_takes_for_the_same_is_unknown(void **state)
{
    struct fixture *fixture = *state;
    run("ALTER TABLE mqtt_users MODIFY username VARCHAR(200) CHARACTER SET utf8mb4%s", "");
    fixture->settings.sql_user_query =
        "SELECT password_hash, user_groups, username FROM mqtt_users WHERE username = %u";
    reload(fixture);
    assert_int_equal(sql_verdict(fixture->auth, "PUMP-7", "secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7 ", "secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

static void names_are_utf_8(void **state)
{
    struct fixture *fixture = *state;
    run("ALTER TABLE mqtt_users MODIFY username VARCHAR(200) CHARACTER SET utf8mb4 COLLATE "
        "utf8mb4_bin%s",
        "");
    run("UPDATE mqtt_users SET username = %s", "'p\xc3\xbcmp \xf0\x9f\x98\x80'");
    assert_int_equal(sql_verdict(fixture->auth, "p\xc3\xbcmp \xf0\x9f\x98\x80", "secret"),
                     AUTH_ALLOWED);
    assert_int_equal(sql_verdict(fixture->auth, "p\xc3\xbcmp ?", "secret"), AUTH_DENIED);
}

static void a_changed_password_holds_at_the_next_login(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
    run("UPDATE mqtt_users SET password_hash = '%s'", sql_hash("other"));
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "other"), AUTH_ALLOWED);
    run("UPDATE mqtt_users SET password_hash = %s", "NULL");
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "other"), AUTH_DENIED);
}

/* ---- databases that are out of order --------------------------------------------------------- */

static void assert_unavailable(struct fixture *fixture, const char *user_query,
                               const char *acl_query)
{
    fixture->settings.sql_user_query = user_query != NULL ? user_query : SQL_USER_QUERY;
    fixture->settings.sql_acl_query = acl_query != NULL ? acl_query : SQL_ACL_QUERY;
    reload(fixture);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_UNAVAILABLE);
}

static void queries_that_the_database_does_not_take_let_nobody_in(void **state)
{
    struct fixture *fixture = *state;
    assert_unavailable(fixture, "SELECT no_such_column FROM mqtt_users WHERE username = %u", NULL);
    assert_unavailable(fixture, "SELEKT %u", NULL);
    assert_unavailable(fixture, "SELECT %u; SELECT 1", NULL);
    assert_unavailable(fixture, "DELETE FROM mqtt_users WHERE username = %u", NULL);
    assert_unavailable(fixture, "DELETE FROM mqtt_users WHERE username = %u RETURNING 1", NULL);
    assert_unavailable(fixture, "SELECT password_hash FROM mqtt_users, mqtt_acl WHERE %u <> ''",
                       NULL);
    assert_unavailable(fixture, "SELECT REPEAT('x', 2000) FROM mqtt_users WHERE %u <> ''", NULL);
    assert_unavailable(fixture, "SELECT REPEAT('x', 70000) FROM mqtt_users WHERE %u <> ''", NULL);
    assert_unavailable(fixture, "SELECT REPEAT('x', 3000000) FROM mqtt_users WHERE %u <> ''", NULL);
    assert_unavailable(fixture, NULL,
                       "SELECT 'allow', 'publish', NULL FROM mqtt_acl WHERE %u > ''");
    assert_unavailable(fixture, NULL, "SELECT 'allow', 'write', 'a' FROM mqtt_acl WHERE %u <> ''");
    assert_unavailable(fixture, NULL,
                       "SELECT 'allow', 'all', 'a' FROM seq_1_to_1000000 WHERE %u <> ''");
    assert_int_equal(mariadb_number_in_database(server, "SELECT COUNT(*) FROM mqtt_users"), 1);
    fixture->settings.sql_user_query = SQL_USER_QUERY;
    fixture->settings.sql_acl_query = SQL_ACL_QUERY;
    reload(fixture);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

static void a_server_that_is_down_lets_nobody_in_until_it_is_back(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
        if (round == 0) {
            mariadb_stop(server);
        } else {
            mariadb_kill(server);
        }
        for (unsigned i = 0; i < 5; i++) {
            struct auth_request request = rig_request("pump-7", "secret", 1);
            struct heard heard = rig_hear(fixture->auth, &request);
            assert_int_equal(heard.verdict, AUTH_UNAVAILABLE);
            assert_true(heard.took_ms < 2000);
        }
        mariadb_start(server);
        assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
    }
}

/* It was idle for too long, or a load balancer has forgotten it. */
static void a_lost_connection_is_made_anew_without_a_word(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
        mariadb_run(server, "KILL USER " MARIADB_USER);
    }
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

static void a_table_that_was_changed_does_no_harm(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
    run("ALTER TABLE mqtt_users ADD COLUMN %s INT FIRST", "more");
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
    run("DROP TABLE %s", "mqtt_users");
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_UNAVAILABLE);
    run("DROP TABLE %s", "mqtt_acl");
    run("%s", sql_tables("VARBINARY(255)"));
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

static void a_server_that_hangs_is_not_waited_for(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.sql_timeout_ms = 1500;
    reload(fixture);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
    mariadb_pause(server);
    static struct rig_client *clients[50]; /* more than threads: their waits must not add up */
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct auth_request request = rig_request("pump-7", "secret", (int)i);
        clients[i] = rig_begin(fixture->auth, &request);
    }
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct heard heard = rig_wait(clients[i]);
        assert_int_equal(heard.verdict, AUTH_UNAVAILABLE);
        assert_true(heard.took_ms < 4500);
        rig_end(clients[i]);
    }
    mariadb_resume(server);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

static void a_slow_query_is_not_waited_for(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.sql_timeout_ms = 300;
    fixture->settings.sql_user_query = "SELECT SLEEP(20) FROM mqtt_users WHERE username = %u";
    reload(fixture);
    struct auth_request request = rig_request("pump-7", "secret", 1);
    struct heard heard = rig_hear(fixture->auth, &request);
    assert_int_equal(heard.verdict, AUTH_UNAVAILABLE);
    assert_true(heard.took_ms >= 290 && heard.took_ms < 2000);
}

static void auth_ends_at_once_while_a_server_hangs(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.sql_timeout_ms = 60000;
    struct auth *auth = rig_start(&fixture->settings);
    mariadb_pause(server);
    struct rig_client *clients[5];
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct auth_request request = rig_request("pump-7", "secret", (int)i);
        clients[i] = rig_begin(auth, &request);
    }
    assert_false(rig_answered(clients[0], 100));
    uint64_t began_ms = clock_mono_ms();
    auth_stop(auth);
    assert_true(clock_mono_ms() - began_ms < 2000);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        assert_int_equal(rig_wait(clients[i]).verdict, AUTH_UNAVAILABLE);
        rig_end(clients[i]);
    }
    auth_destroy(auth);
    mariadb_resume(server);
}

static void a_port_on_which_nobody_or_somebody_else_listens(void **state)
{
    struct fixture *fixture = *state;
    char url[100];
    snprintf(url, sizeof(url), "mysql://a:b@127.0.0.1:%u/c", http_closed_port());
    fixture->settings.sql_database = url;
    fixture->settings.sql_timeout_ms = 400;
    reload(fixture);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_UNAVAILABLE);
    struct http_peer *peer = http_peer_create(NULL, NULL); /* waits for us to speak first */
    snprintf(url, sizeof(url), "mysql://a:b@127.0.0.1:%u/c", http_peer_port(peer));
    reload(fixture);
    struct auth_request request = rig_request("pump-7", "secret", 1);
    struct heard heard = rig_hear(fixture->auth, &request);
    assert_int_equal(heard.verdict, AUTH_UNAVAILABLE);
    assert_true(heard.took_ms < 2000);
    http_peer_destroy(peer);
}

static void wrong_credentials_for_the_database_let_nobody_in(void **state)
{
    struct fixture *fixture = *state;
    char url[200];
    snprintf(url, sizeof(url), "mysql://" MARIADB_USER ":wrong@127.0.0.1:%u/%s",
             mariadb_port(server), mariadb_database(server));
    fixture->settings.sql_database = url;
    reload(fixture);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_UNAVAILABLE);
}

static void many_clients_log_in_at_once(void **state)
{
    struct fixture *fixture = *state;
    static struct rig_client *clients[200];
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        struct auth_request request =
            rig_request("pump-7", i % 4 == 0 ? "wrong" : "secret", (int)i);
        clients[i] = rig_begin(fixture->auth, &request);
    }
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        if (i % 10 == 9) { /* gone before the answer, or after it */
            rig_end(clients[i]);
            continue;
        }
        struct heard heard = rig_wait(clients[i]);
        assert_int_equal(heard.verdict, i % 4 == 0 ? AUTH_DENIED : AUTH_ALLOWED);
        auth_identity_unref(heard.identity);
        rig_end(clients[i]);
    }
}

/* ---------------------------------------------------------------------------------------------- */

static int start_server(void **state)
{
    (void)state;
    server = mariadb_create(NULL);
    return 0;
}

static int end_server(void **state)
{
    (void)state;
    mariadb_destroy(server);
    return 0;
}

#define with_table(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_table(a_user_gets_groups_and_rules),
        with_table(wrong_passwords_and_unknown_users_are_denied),
        with_table(columns_that_nobody_asked_for_do_no_harm),
        with_table(a_name_that_only_the_collation_takes_for_the_same_is_unknown),
        with_table(names_are_utf_8),
        with_table(a_changed_password_holds_at_the_next_login),
        with_table(queries_that_the_database_does_not_take_let_nobody_in),
        with_table(a_server_that_is_down_lets_nobody_in_until_it_is_back),
        with_table(a_lost_connection_is_made_anew_without_a_word),
        with_table(a_table_that_was_changed_does_no_harm),
        with_table(a_server_that_hangs_is_not_waited_for),
        with_table(a_slow_query_is_not_waited_for),
        with_table(auth_ends_at_once_while_a_server_hangs),
        with_table(a_port_on_which_nobody_or_somebody_else_listens),
        with_table(wrong_credentials_for_the_database_let_nobody_in),
        with_table(many_clients_log_in_at_once),
    };
    if (!mariadb_installed()) {
        print_message("no MariaDB server on this machine: skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, start_server, end_server);
}
