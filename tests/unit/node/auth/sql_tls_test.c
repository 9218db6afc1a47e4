/*
 * The connection to a MariaDB server with users in it: when it is encrypted, and whom it believes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/auth/auth.h"
#include "tests/unit/node/auth/auth_rig_support.h"
#include "tests/unit/node/auth/sql_support.h"
#include "tests/unit/storage/certificate_support.h"
#include "tests/unit/storage/mariadb_support.h"

enum file { CA, OTHER_CA, SERVER, SERVER_KEY, FILES };
static const char *const names[FILES] = {"ca", "other-ca", "server", "server-key"};
static char directory[] = "/tmp/pulse-tls-XXXXXX";
static char paths[FILES][64];
static char url[400];

static void write_certificates(void)
{
    assert_non_null(mkdtemp(directory));
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s/%s.pem", directory, names[i]);
    }
    struct certificate_authority *ca = certificate_authority_create("Test CA", paths[CA]);
    certificate_write(ca, "db.test", "127.0.0.1", paths[SERVER], paths[SERVER_KEY]);
    certificate_authority_destroy(ca);
    certificate_authority_destroy(certificate_authority_create("Other CA", paths[OTHER_CA]));
}

static struct mariadb *start_server(bool tls)
{
    static char options[3][96];
    static const char *const with_tls[] = {options[0], options[1], options[2], NULL};
    static const char *const without[] = {"--skip-ssl", NULL};
    char sql[3000];
    snprintf(options[0], sizeof(options[0]), "--ssl-ca=%s", paths[CA]);
    snprintf(options[1], sizeof(options[1]), "--ssl-cert=%s", paths[SERVER]);
    snprintf(options[2], sizeof(options[2]), "--ssl-key=%s", paths[SERVER_KEY]);
    struct mariadb *server = mariadb_create(tls ? with_tls : without);
    mariadb_fresh_url(server, url, sizeof(url));
    snprintf(sql, sizeof(sql), "USE %s; %s", mariadb_database(server),
             sql_tables("VARBINARY(255)"));
    mariadb_run(server, sql);
    return server;
}

static enum auth_verdict verdict_with(enum storage_mysql_tls tls, const char *ca)
{
    struct auth_settings settings = sql_settings(url);
    settings.sql_tls = tls;
    settings.sql_tls_ca = ca;
    struct auth *auth = rig_start(&settings);
    enum auth_verdict verdict = sql_verdict(auth, "pump-7", "secret");
    rig_stop(auth);
    return verdict;
}

static void a_server_with_tls_is_believed_as_far_as_was_asked_for(void **state)
{
    (void)state;
    struct mariadb *server = start_server(true);
    mariadb_run(server, "ALTER USER '" MARIADB_USER "'@'127.0.0.1' REQUIRE SSL");
    assert_int_equal(verdict_with(MYSQL_TLS_OFF, NULL), AUTH_UNAVAILABLE);
    assert_int_equal(verdict_with(MYSQL_TLS_REQUIRED, ""), AUTH_ALLOWED);
    assert_int_equal(verdict_with(MYSQL_TLS_VERIFY, paths[CA]), AUTH_ALLOWED);
    assert_int_equal(verdict_with(MYSQL_TLS_VERIFY, paths[OTHER_CA]), AUTH_UNAVAILABLE);
    assert_int_equal(verdict_with(MYSQL_TLS_VERIFY, ""), AUTH_UNAVAILABLE);
    mariadb_destroy(server);
}

/* The certificate is for 127.0.0.1. */
static void a_server_with_a_certificate_for_another_name_is_refused(void **state)
{
    (void)state;
    struct mariadb *server = start_server(true);
    snprintf(url, sizeof(url), "mysql://%s:%s@localhost:%u/%s", MARIADB_USER,
             MARIADB_PASSWORD_ENCODED, mariadb_port(server), mariadb_database(server));
    assert_int_equal(verdict_with(MYSQL_TLS_REQUIRED, ""), AUTH_ALLOWED);
    assert_int_equal(verdict_with(MYSQL_TLS_VERIFY, paths[CA]), AUTH_UNAVAILABLE);
    mariadb_destroy(server);
}

static void a_server_without_tls_is_refused_when_it_must_have_it(void **state)
{
    (void)state;
    struct mariadb *server = start_server(false);
    assert_int_equal(verdict_with(MYSQL_TLS_OFF, NULL), AUTH_ALLOWED);
    assert_int_equal(verdict_with(MYSQL_TLS_REQUIRED, ""), AUTH_UNAVAILABLE);
    assert_int_equal(verdict_with(MYSQL_TLS_VERIFY, paths[CA]), AUTH_UNAVAILABLE);
    mariadb_destroy(server);
}

static int setup(void **state)
{
    (void)state;
    write_certificates();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FILES; i++) {
        unlink(paths[i]);
    }
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_with_tls_is_believed_as_far_as_was_asked_for),
        cmocka_unit_test(a_server_with_a_certificate_for_another_name_is_refused),
        cmocka_unit_test(a_server_without_tls_is_refused_when_it_must_have_it),
    };
    if (!mariadb_installed()) {
        print_message("no MariaDB server on this machine: skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, setup, teardown);
}
