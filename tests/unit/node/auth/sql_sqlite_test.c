/*
 * Users in a SQLite file, as the whole of auth finds them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/clock.h"
#include "node/auth/auth.h"
#include "tests/unit/node/auth/auth_rig_support.h"
#include "tests/unit/node/auth/sql_support.h"

struct fixture {
    char folder[64];
    char path[96];
    struct auth_settings settings;
    struct auth *auth;
};

static void run(const char *path, const char *sql)
{
    sqlite3 *handle = NULL;
    char *words = NULL;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, &words) != SQLITE_OK) {
        fail_msg("%s", words);
    }
    sqlite3_close(handle);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    strcpy(fixture->folder, "/tmp/pulse-users-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->path, sizeof(fixture->path), "%s/users.db", fixture->folder);
    run(fixture->path, sql_tables("TEXT"));
    fixture->settings = sql_settings(fixture->path);
    fixture->auth = rig_start(&fixture->settings);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    rig_stop(fixture->auth);
    unlink(fixture->path);
    rmdir(fixture->folder);
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
    struct auth_request request = rig_request("pump-7", "secret", 1);
    struct heard heard = rig_hear(fixture->auth, &request);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    assert_int_equal(heard.identity->provider, AUTH_SQL);
    assert_true(slice_equal(heard.identity->username, slice_text("pump-7")));
    assert_true(slice_equal(heard.identity->groups_text, slice_text("devices,pumps")));
    assert_true(heard.identity->expires_at_ms == UINT64_MAX);
    const struct acl_view *view = heard.identity->view;
    assert_true(acl_may_publish(view, slice_text("plant/pump-7/speed")));
    assert_false(acl_may_publish(view, slice_text("plant/pump-7/stop")));
    assert_false(acl_may_publish(view, slice_text("plant/pump-8/speed")));
    auth_identity_unref(heard.identity);
}

static void wrong_passwords_and_unknown_users_are_denied(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "Secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", ""), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", NULL), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "Pump-7", "secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7 ", "secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "", "secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

static void names_are_values_and_never_sql(void **state)
{
    struct fixture *fixture = *state;
    static const char *const names[] = {
        "' OR '1'='1",
        "pump-7' --",
        "pump-7'; DROP TABLE mqtt_users; --",
        "\" OR \"\"=\"",
        "x' UNION SELECT password_hash, 'admins' FROM mqtt_users --",
        "%",
        "pump-_",
        "?",
        "%u",
        "\\' OR 1=1 --"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct auth_request request = rig_request(names[i], "secret", 1);
        request.client_id = slice_text(names[i]);
        assert_int_equal(rig_ask(fixture->auth, &request), AUTH_DENIED);
    }
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

static void the_client_id_can_be_asked_for(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.sql_user_query =
        "SELECT password_hash FROM mqtt_users WHERE username = %u AND %c = 'id of ' || %u";
    reload(fixture);
    struct auth_request request = rig_request("pump-7", "secret", 1);
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_DENIED);
    request.client_id = slice_text("id of pump-7");
    assert_int_equal(rig_ask(fixture->auth, &request), AUTH_ALLOWED);
}

static void a_user_without_a_good_hash_is_denied(void **state)
{
    struct fixture *fixture = *state;
    static const char *const hashes[] = {"NULL", "''", "'secret'", "'$7$'", "'$scrypt$ln=99$a$b'"};
    for (size_t i = 0; i < ARRAY_COUNT(hashes); i++) {
        char sql[200];
        snprintf(sql, sizeof(sql), "UPDATE mqtt_users SET password_hash = %s", hashes[i]);
        run(fixture->path, sql);
        assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_DENIED);
        assert_int_equal(sql_verdict(fixture->auth, "pump-7", ""), AUTH_DENIED);
    }
}

/* What a database with another idea of sameness finds: `Bob` for `bob`. */
static void a_row_with_another_name_is_none(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.sql_user_query = "SELECT password_hash, user_groups, username FROM "
                                       "mqtt_users WHERE username = %u COLLATE NOCASE";
    reload(fixture);
    assert_int_equal(sql_verdict(fixture->auth, "PUMP-7", "secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

static void a_changed_password_holds_at_the_next_login(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
    char sql[400];
    snprintf(sql, sizeof(sql), "UPDATE mqtt_users SET password_hash = '%s'", sql_hash("other"));
    run(fixture->path, sql);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_DENIED);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "other"), AUTH_ALLOWED);
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
    assert_unavailable(fixture, "DELETE FROM mqtt_users WHERE username = %u RETURNING 1", NULL);
    assert_unavailable(fixture, "SELECT %u, :more", NULL);
    assert_unavailable(fixture, "SELECT password_hash FROM mqtt_users, mqtt_acl WHERE %u <> ''",
                       NULL);
    assert_unavailable(fixture, "SELECT hex(zeroblob(1000)) WHERE %u <> ''", NULL);
    assert_unavailable(fixture, "SELECT hex(zeroblob(100000)) WHERE %u <> ''", NULL);
    assert_unavailable(fixture, "SELECT password_hash, 'a,,b' FROM mqtt_users WHERE username = %u",
                       NULL);
    fixture->settings.sql_user_query = SQL_USER_QUERY;
    fixture->settings.sql_acl_query = SQL_ACL_QUERY;
    reload(fixture);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

/* One that is left out could have been the denying one. */
static void rules_that_are_none_let_nobody_in(void **state)
{
    struct fixture *fixture = *state;
    assert_unavailable(fixture, NULL, "SELECT 'allow', 'publish' WHERE %u <> ''");
    assert_unavailable(fixture, NULL, "SELECT 'allow', 'publish', NULL WHERE %u <> ''");
    assert_unavailable(fixture, NULL, "SELECT 'permit', 'publish', 'a' WHERE %u <> ''");
    assert_unavailable(fixture, NULL, "SELECT 'allow', 'write', 'a' WHERE %u <> ''");
    assert_unavailable(fixture, NULL, "SELECT 'allow', 'publish', 'a/#/b' WHERE %u <> ''");
    assert_unavailable(fixture, NULL, "SELECT 'allow', 'all', 'a' FROM no_table WHERE %u <> ''");
    assert_unavailable(fixture, NULL,
                       "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                       "SELECT 'allow', 'all', 'a' FROM n WHERE %u <> '' LIMIT 1001");
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "wrong"), AUTH_DENIED);
}

static void a_missing_file_lets_nobody_in_until_it_is_there(void **state)
{
    struct fixture *fixture = *state;
    char aside[128];
    snprintf(aside, sizeof(aside), "%s.aside", fixture->path);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
    assert_int_equal(rename(fixture->path, aside), 0);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_UNAVAILABLE);
    assert_int_not_equal(access(fixture->path, F_OK), 0); /* it was not made */
    assert_int_equal(rename(aside, fixture->path), 0);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

/* As tools do that write a new file and rename it. */
static void a_file_in_the_place_of_the_old_one_holds(void **state)
{
    struct fixture *fixture = *state;
    char aside[128], sql[400];
    snprintf(aside, sizeof(aside), "%s.new", fixture->path);
    run(aside, sql_tables("TEXT"));
    snprintf(sql, sizeof(sql), "UPDATE mqtt_users SET password_hash = '%s'", sql_hash("other"));
    run(aside, sql);
    for (unsigned i = 0; i < 4; i++) { /* on each of the threads */
        assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
    }
    assert_int_equal(rename(aside, fixture->path), 0);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_DENIED);
        assert_int_equal(sql_verdict(fixture->auth, "pump-7", "other"), AUTH_ALLOWED);
    }
}

static void a_file_that_is_no_database_lets_nobody_in(void **state)
{
    struct fixture *fixture = *state;
    FILE *file = fopen(fixture->path, "w");
    fprintf(file, "%2000d", 1);
    fclose(file);
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_UNAVAILABLE);
    unlink(fixture->path);
    run(fixture->path, sql_tables("TEXT"));
    assert_int_equal(sql_verdict(fixture->auth, "pump-7", "secret"), AUTH_ALLOWED);
}

static void who_writes_is_waited_for_but_not_for_ever(void **state)
{
    struct fixture *fixture = *state;
    sqlite3 *writer = NULL;
    fixture->settings.sql_timeout_ms = 300;
    reload(fixture);
    assert_int_equal(sqlite3_open(fixture->path, &writer), SQLITE_OK);
    assert_int_equal(sqlite3_exec(writer, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    struct auth_request request = rig_request("pump-7", "secret", 1);
    struct heard heard = rig_hear(fixture->auth, &request);
    assert_int_equal(heard.verdict, AUTH_UNAVAILABLE);
    assert_true(heard.took_ms >= 290 && heard.took_ms < 3000);
    fixture->settings.sql_timeout_ms = 9000;
    reload(fixture);
    struct rig_client *client = rig_begin(fixture->auth, &request);
    assert_false(rig_answered(client, 50));
    assert_int_equal(sqlite3_exec(writer, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    heard = rig_wait(client);
    assert_int_equal(heard.verdict, AUTH_ALLOWED);
    auth_identity_unref(heard.identity);
    rig_end(client);
    sqlite3_close(writer);
}

#define ENDLESS                                                        \
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) " \
    "SELECT i FROM n WHERE i < 0 AND %u <> ''"

static void an_endless_query_is_ended(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.sql_timeout_ms = 200;
    fixture->settings.sql_user_query = ENDLESS;
    reload(fixture);
    struct auth_request request = rig_request("pump-7", "secret", 1);
    struct heard heard = rig_hear(fixture->auth, &request);
    assert_int_equal(heard.verdict, AUTH_UNAVAILABLE);
    assert_true(heard.took_ms < 2000);
}

static void auth_ends_at_once_while_a_query_runs(void **state)
{
    struct fixture *fixture = *state;
    fixture->settings.sql_timeout_ms = 60000;
    fixture->settings.sql_user_query = ENDLESS;
    struct auth *auth = rig_start(&fixture->settings);
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
}

/* ---- settings -------------------------------------------------------------------------------- */

static void bad_queries_are_an_error_of_the_configuration(void **state)
{
    struct fixture *fixture = *state;
    struct auth *auth = NULL;
    static const char *const queries[] = {"SELECT 1", "SELECT '%u'", ""};
    for (size_t i = 0; i < ARRAY_COUNT(queries) * 2; i++) {
        struct auth_settings settings = fixture->settings;
        struct text error = {.data = NULL};
        bool for_rules = i % 2 == 1;
        if (for_rules) {
            settings.sql_acl_query = queries[i / 2];
        } else {
            settings.sql_user_query = queries[i / 2];
        }
        if (for_rules && queries[i / 2][0] == '\0') { /* off */
            assert_int_equal(auth_create(&settings, &auth, &error), ERR_OK);
            auth_destroy(auth);
            continue;
        }
        assert_int_equal(auth_create(&settings, &auth, &error), ERR_SYNTAX);
        assert_non_null(strstr(error.data, for_rules ? "auth.sql_acl_query" : "auth.sql_user_que"));
        text_fini(&error);
    }
}

static void a_bad_url_is_an_error_that_does_not_show_it(void **state)
{
    struct fixture *fixture = *state;
    struct auth *auth = NULL;
    struct text error = {.data = NULL};
    struct auth_settings settings = fixture->settings;
    settings.sql_database = "mysql://user:s3cret@host:port/database";
    assert_int_equal(auth_create(&settings, &auth, &error), ERR_SYNTAX);
    assert_non_null(strstr(error.data, "auth.sql_database"));
    assert_null(strstr(error.data, "s3cret"));
    text_fini(&error);
}

#define with_file(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_file(a_user_gets_groups_and_rules),
        with_file(wrong_passwords_and_unknown_users_are_denied),
        with_file(names_are_values_and_never_sql),
        with_file(the_client_id_can_be_asked_for),
        with_file(a_user_without_a_good_hash_is_denied),
        with_file(a_row_with_another_name_is_none),
        with_file(a_changed_password_holds_at_the_next_login),
        with_file(queries_that_the_database_does_not_take_let_nobody_in),
        with_file(rules_that_are_none_let_nobody_in),
        with_file(a_missing_file_lets_nobody_in_until_it_is_there),
        with_file(a_file_in_the_place_of_the_old_one_holds),
        with_file(a_file_that_is_no_database_lets_nobody_in),
        with_file(who_writes_is_waited_for_but_not_for_ever),
        with_file(an_endless_query_is_ended),
        with_file(auth_ends_at_once_while_a_query_runs),
        with_file(bad_queries_are_an_error_of_the_configuration),
        with_file(a_bad_url_is_an_error_that_does_not_show_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
