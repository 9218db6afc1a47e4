#include "tests/unit/node/auth/sql_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "node/auth/password.h"
#include "tests/unit/node/auth/auth_rig_support.h"

#define ITERATIONS 1000

const char *sql_hash(const char *password)
{
    static char text[300];
    struct password_hash hash;
    struct text out = {.data = NULL};
    assert_int_equal(password_make(PASSWORD_PBKDF2, ITERATIONS, slice_text(password), &hash),
                     ERR_OK);
    password_print(&hash, &out);
    snprintf(text, sizeof(text), "%s", out.data);
    text_fini(&out);
    return text;
}

const char *sql_tables(const char *name_type)
{
    static char sql[2000];
    snprintf(sql, sizeof(sql),
             "CREATE TABLE mqtt_users (username %s PRIMARY KEY, password_hash VARCHAR(2000),"
             " user_groups TEXT);"
             "CREATE TABLE mqtt_acl (id INTEGER PRIMARY KEY, username %s, permission VARCHAR(10),"
             " action VARCHAR(10), topic TEXT);"
             "INSERT INTO mqtt_users VALUES ('pump-7', '%s', 'devices, pumps');"
             "INSERT INTO mqtt_acl VALUES"
             " (1, 'pump-7', 'deny', 'publish', 'plant/pump-7/stop'),"
             " (2, 'pump-7', 'allow', 'all', 'plant/%%u/#'),"
             " (3, 'pump-8', 'allow', 'all', '#');",
             name_type, name_type, sql_hash("secret"));
    return sql;
}

struct auth_settings sql_settings(const char *database)
{
    struct auth_settings settings = rig_settings();
    settings.chain[0] = AUTH_SQL;
    settings.default_allow = false;
    settings.sql_database = database;
    settings.sql_user_query = SQL_USER_QUERY;
    settings.sql_acl_query = SQL_ACL_QUERY;
    settings.sql_timeout_ms = 5000;
    return settings;
}

enum auth_verdict sql_verdict(struct auth *auth, const char *username, const char *password)
{
    struct auth_request request = rig_request(username, password, 1);
    return rig_ask(auth, &request);
}
