/* How the connection to the database is encrypted, and whom it believes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/storage/certificate_support.h"
#include "tests/unit/storage/mysql_support.h"

static struct mariadb *server;
static struct mysql_node node;
static char directory[] = "/tmp/pulse-tls-XXXXXX";

/* Files in the directory. */
enum file { CA, OTHER_CA, SERVER, SERVER_KEY, CLIENT, CLIENT_KEY, FILES };
static const char *const names[FILES] = {"ca",         "other-ca", "server",
                                         "server-key", "client",   "client-key"};
static char paths[FILES][64];

static int start(void **state)
{
    (void)state;
    static char options[3][96];
    static const char *const arguments[] = {options[0], options[1], options[2], NULL};
    assert_non_null(mkdtemp(directory));
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s.pem", directory, names[i]);
    }
    struct certificate_authority *ca = certificate_authority_create("Test CA", paths[CA]);
    certificate_write(ca, "db.test", "127.0.0.1", paths[SERVER], paths[SERVER_KEY]);
    certificate_write(ca, "node-1", NULL, paths[CLIENT], paths[CLIENT_KEY]);
    certificate_authority_destroy(ca);
    certificate_authority_destroy(certificate_authority_create("Other CA", paths[OTHER_CA]));
    (void)snprintf(options[0], sizeof options[0], "--ssl-ca=%s", paths[CA]);
    (void)snprintf(options[1], sizeof options[1], "--ssl-cert=%s", paths[SERVER]);
    (void)snprintf(options[2], sizeof options[2], "--ssl-key=%s", paths[SERVER_KEY]);
    server = mariadb_create(arguments);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    mariadb_destroy(server);
    for (unsigned i = 0; i < FILES; i++) {
        (void)unlink(paths[i]); /* rmdir fails if one stays */
    }
    return rmdir(directory);
}

static int create(void **state)
{
    char url[400];
    (void)state;
    mariadb_fresh_url(server, url, sizeof url);
    mysql_node_init(&node, "node-1", url);
    return 0;
}

static void require(const char *what)
{
    char sql[200];
    (void)snprintf(sql, sizeof sql, "ALTER USER '%s'@'127.0.0.1' REQUIRE %s", MARIADB_USER, what);
    mariadb_run(server, sql);
}

static void assert_opens(void)
{
    mysql_node_open(&node);
    mysql_node_make_session(&node);
    mysql_node_close(&node);
}

static void assert_refused(const char *reason)
{
    mysql_log_catch();
    enum err err = mysql_node_try_open(&node);
    const char *log = mysql_log_caught();
    assert_string_not_equal(err_text(err), err_text(ERR_OK));
    if (strstr(log, reason) == NULL) {
        fail_msg("not for '%s': %s", reason, log);
    }
    assert_null(strstr(log, MARIADB_PASSWORD));
}

static void off_is_not_encrypted(void **state)
{
    (void)state;
    assert_opens();
    require("SSL");
    assert_refused("Access denied");
    require("NONE");
}

static void required_is_encrypted_whoever_the_server_is(void **state)
{
    (void)state;
    require("SSL"); /* the server takes no other connection */
    node.config.mysql_tls = MYSQL_TLS_REQUIRED;
    assert_opens();
    require("NONE");
}

static void verify_takes_a_server_of_the_right_authority(void **state)
{
    (void)state;
    require("SSL");
    node.config.mysql_tls = MYSQL_TLS_VERIFY;
    node.config.mysql_tls_ca = paths[CA];
    assert_opens();
    require("NONE");
}

static void verify_refuses_a_server_of_another_authority(void **state)
{
    (void)state;
    node.config.mysql_tls = MYSQL_TLS_VERIFY;
    node.config.mysql_tls_ca = paths[OTHER_CA];
    assert_refused("certificate");
}

static void verify_refuses_a_server_that_the_system_does_not_know(void **state)
{
    (void)state;
    node.config.mysql_tls = MYSQL_TLS_VERIFY;
    assert_refused("certificate");
}

static void verify_refuses_a_server_with_another_name(void **state)
{
    (void)state;
    (void)snprintf(node.url, sizeof node.url, "mysql://%s:%s@localhost:%u/%s", MARIADB_USER,
                   MARIADB_PASSWORD_ENCODED, mariadb_port(server), mariadb_database(server));
    node.config.mysql_tls = MYSQL_TLS_VERIFY;
    node.config.mysql_tls_ca = paths[CA];
    assert_refused("certificate");
}

static void a_certificate_of_ours_is_shown_to_a_server_that_asks(void **state)
{
    (void)state;
    require("SUBJECT '/CN=node-1'");
    node.config.mysql_tls = MYSQL_TLS_VERIFY;
    node.config.mysql_tls_ca = paths[CA];
    assert_refused("Access denied");
    node.config.mysql_tls_certificate = paths[CLIENT];
    node.config.mysql_tls_key = paths[CLIENT_KEY];
    assert_opens();
    require("NONE");
}

static void a_file_that_is_missing_is_said(void **state)
{
    (void)state;
    node.config.mysql_tls = MYSQL_TLS_VERIFY;
    node.config.mysql_tls_ca = "/nonexistent/ca.pem";
    assert_refused("TLS");
}

/* Tests of their own server; it has no certificate. */
static void a_server_without_tls_is_refused_unless_tls_is_off(void **state)
{
    (void)state;
    static const char *const options[] = {"--skip-ssl", NULL};
    struct mariadb *plain = mariadb_create(options);
    mariadb_fresh_url(plain, node.url, sizeof node.url);
    node.config.mysql_tls = MYSQL_TLS_REQUIRED;
    assert_refused("TLS");
    node.config.mysql_tls = MYSQL_TLS_VERIFY;
    node.config.mysql_tls_ca = paths[CA];
    assert_refused("SSL");
    node.config.mysql_tls = MYSQL_TLS_OFF;
    assert_opens();
    mariadb_destroy(plain);
}

#define test(name) cmocka_unit_test_setup(name, create)

int main(void)
{
    if (!mariadb_installed()) {
        (void)fprintf(stderr, "no MariaDB server here: skipped\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        test(off_is_not_encrypted),
        test(required_is_encrypted_whoever_the_server_is),
        test(verify_takes_a_server_of_the_right_authority),
        test(verify_refuses_a_server_of_another_authority),
        test(verify_refuses_a_server_that_the_system_does_not_know),
        test(verify_refuses_a_server_with_another_name),
        test(a_certificate_of_ours_is_shown_to_a_server_that_asks),
        test(a_file_that_is_missing_is_said),
        test(a_server_without_tls_is_refused_unless_tls_is_off),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
