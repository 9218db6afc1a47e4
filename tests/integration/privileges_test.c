/* server.user, and what must not be told: only root can try it (else the tests are skipped). */
#include "tests/integration/auth_support.h"
#include "tests/integration/certificates.h"
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOBODY "server.user: nobody"

enum { SKIPPED = 77, TEXT_SIZE = 65536 };

static void read_proc(const struct broker *broker, const char *name, char *out, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%ld/%s", (long)auth_broker_pid(broker), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, out, size - 1) : -1;
    assert_true(len > 0);
    close(fd);
    out[len] = '\0';
    for (ssize_t i = 0; i < len; i++) { /* arguments end with zero bytes */
        out[i] = out[i] == '\0' ? ' ' : out[i];
    }
}

static void give_to_nobody(const char *path)
{
    const struct passwd *nobody = getpwnam("nobody");
    assert_non_null(nobody);
    assert_int_equal(chown(path, nobody->pw_uid, nobody->pw_gid), 0);
}

/* Others may pass through the folder of our files, and read those that are theirs. */
static void open_folder(void)
{
    auth_write("open", "x");
    assert_int_equal(chmod(auth_path("."), 0711), 0);
}

/* ---- another user ---------------------------------------------------------------------------- */

static void a_broker_that_root_started_goes_on_as_the_user(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NOBODY);
    const struct passwd *nobody = getpwnam("nobody");
    static char status[TEXT_SIZE];
    char ids[128];
    client_disconnect(CONNECT());
    read_proc(broker, "status", status, sizeof(status));
    unsigned uid = nobody->pw_uid, gid = nobody->pw_gid;
    snprintf(ids, sizeof(ids), "Uid:\t%u\t%u\t%u\t%u\n", uid, uid, uid, uid);
    assert_non_null(strstr(status, ids));
    snprintf(ids, sizeof(ids), "Gid:\t%u\t%u\t%u\t%u\n", gid, gid, gid, gid);
    assert_non_null(strstr(status, ids));
    snprintf(ids, sizeof(ids), "Groups:\t%u \n", gid);
    assert_non_null(strstr(status, ids));
    assert_non_null(strstr(status, "CapEff:\t0000000000000000\n"));
    assert_non_null(strstr(status, "CapPrm:\t0000000000000000\n"));
    assert_non_null(strstr(status, "NoNewPrivs:\t1\n"));
    expect_log(broker, "another user");
}

/* Every thread of it: the kernel counts them one by one. */
static void no_thread_stays_root(void **state)
{
    (void)state;
    open_folder();
    const char *file = auth_write("users", "alice:%s\n", auth_hash_7("x"));
    give_to_nobody(file);
    struct broker *broker = OWN_BROKER_YAML(
        auth_yaml("auth: {enabled: true, password_file: %s, no_match: allow}\n", file), NOBODY);
    client_disconnect(CONNECT(.user = "alice", .password = "x"));
    char pattern[64];
    char output[TEXT_SIZE];
    snprintf(pattern, sizeof(pattern), "grep -h ^Uid: /proc/%ld/task/*/status | sort -u",
             (long)auth_broker_pid(broker));
    const char *const arguments[] = {"sh", "-c", pattern, NULL};
    assert_int_equal(auth_run(arguments, "", output, sizeof(output)), 0);
    assert_null(strstr(output, "\t0\t"));
    assert_ptr_equal(strchr(output, '\n'), strrchr(output, '\n')); /* one line: all the same */
}

static void a_user_that_there_is_not_keeps_the_broker_from_starting(void **state)
{
    (void)state;
    assert_true(broker_refuses(BROKER_SETTINGS("server.user: no-such-user"), NULL, "no such user"));
}

/* Found at once, and not at the first SIGHUP, when nobody looks. */
static void what_only_root_may_read_is_an_error(void **state)
{
    (void)state;
    open_folder();
    const char *mine = auth_write("mine", "alice:%s\n", auth_hash_7("x"));
    const char *rules = auth_write("mine.acl", "allow all all #\n");
    const char *key = auth_token_key("HS256");
    assert_true(broker_refuses(BROKER_SETTINGS(NOBODY),
                               auth_yaml("auth: {enabled: true, password_file: %s}\n", mine),
                               mine));
    assert_true(broker_refuses(
        BROKER_SETTINGS(NOBODY),
        auth_yaml("auth: {enabled: true, allow_anonymous: true, acl_file: %s}\n", rules), rules));
    assert_true(broker_refuses(
        BROKER_SETTINGS(NOBODY),
        auth_yaml("auth: {enabled: true, jwt_key_file: %s, jwt_algorithms: HS256}\n", key), key));
    assert_true(broker_refuses(BROKER_SETTINGS(NOBODY), tls_yaml(""), "server"));
}

static void storage_belongs_to_the_user(void **state)
{
    (void)state;
    open_folder();
    char folder[256], wal_dir[300];
    snprintf(folder, sizeof(folder), "%s", auth_path("wal"));
    assert_int_equal(mkdir(folder, 0700), 0);
    give_to_nobody(folder);
    snprintf(wal_dir, sizeof(wal_dir), "storage.wal_dir: %s", folder);
    char engine[] = "storage.engine: wal";
    OWN_BROKER(NOBODY, engine, wal_dir);
    struct client *c = CONNECT(.client_id = "kept", .props = PROPS(prop_session_expiry(60)));
    subscribe(c, "kept", 1);
    client_disconnect(c);
    char command[400], output[TEXT_SIZE];
    snprintf(command, sizeof(command), "find %s -user root", folder);
    const char *const arguments[] = {"sh", "-c", command, NULL};
    assert_int_equal(auth_run(arguments, "", output, sizeof(output)), 0);
    assert_string_equal(output, "");
}

/* Its configuration is root's, and can't be read again: all stays, and is said. */
static void a_reload_of_what_the_user_may_not_read_changes_nothing(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER(NOBODY);
    struct client *c = CONNECT();
    auth_reload(broker, false);
    settle(c);
    client_disconnect(CONNECT());
}

/* ---- secrets --------------------------------------------------------------------------------- */

static const char *const secrets[] = {"plain-s3cret", "client-s3cret", "database-s3cret",
                                      "url-s3cret", "token-s3cret"};

static void assert_tells_no_secret(const char *text)
{
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        if (strstr(text, secrets[i]) != NULL) {
            test_fail("%s is told", secrets[i]);
        }
    }
}

static const char *secret_yaml(void)
{
    return auth_yaml("auth:\n  enabled: true\n  failure_delay: 0\n  chain: users, http, sql\n"
                     "  sql_database: mysql://pulse:database-s3cret@127.0.0.1:9/mqtt\n"
                     "  sql_timeout: 200ms\n  http_timeout: 200ms\n"
                     "  http_url: http://127.0.0.1:9/who\n"
                     "  http_token_file: %s\n"
                     "  users:\n  - {username: alice, password: plain-s3cret}\n",
                     auth_write("token", "token-s3cret\n"));
}

static void print_config_hides_what_is_secret(void **state)
{
    (void)state;
    const char *file = auth_write("secret.yaml", "%s", secret_yaml());
    static char output[TEXT_SIZE];
    assert_int_equal(AUTH_PULSE("", output, sizeof(output), "--config", file, "--print-config"), 0);
    assert_non_null(strstr(output, "alice"));
    assert_non_null(strstr(output, "mysql://pulse:"));
    assert_tells_no_secret(output);
}

static void neither_the_log_nor_the_arguments_hold_a_secret(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER_YAML(secret_yaml(), "observability.log: trace");
    static char text[TEXT_SIZE];
    client_disconnect(CONNECT(.user = "alice", .password = "plain-s3cret"));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "client-s3cret");
    struct client *c = LOGIN(.user = "other", .password = "client-s3cret"); /* asks everybody */
    assert_true(expect_packet(c, PKT_CONNACK)->reason >= 0x80);
    auth_reload(broker, true);
    client_close_all();
    read_proc(broker, "cmdline", text, sizeof(text));
    assert_tells_no_secret(text);
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        test_case(secrets[i]);
        assert_int_equal(broker_log_lines(broker, secrets[i]), 0);
    }
    assert_true(broker_log_lines(broker, "client refused") > 0); /* it was asked to be talkative */
}

/* Of what went wrong only the place is told. */
static void a_bad_configuration_is_complained_of_without_its_secrets(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "auth: {enabled: true, sql_database: \"mysql://pulse:database-s3cret@:x/\"}\n",
        "auth: {enabled: true, http_url: \"ftp://pulse:url-s3cret@host/\"}\n",
        "auth:\n  enabled: true\n  users:\n  - {username: a, password: $7$plain-s3cret}\n",
        "auth:\n  enabled: true\n  users:\n  - {username: a, password: [plain-s3cret]}\n",
        "storage: {mysql: \"mysql://pulse:database-s3cret@:x/\"}\n",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        test_case(bad[i]);
        static char output[TEXT_SIZE];
        const char *file = auth_write("bad.yaml", "%s", bad[i]);
        assert_int_not_equal(
            AUTH_PULSE("", output, sizeof(output), "--config", file, "--print-config"), 0);
        assert_tells_no_secret(output);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_broker_that_root_started_goes_on_as_the_user),
        TEST(no_thread_stays_root),
        TEST(a_user_that_there_is_not_keeps_the_broker_from_starting),
        TEST(what_only_root_may_read_is_an_error),
        TEST(storage_belongs_to_the_user),
        TEST(a_reload_of_what_the_user_may_not_read_changes_nothing),
        TEST(print_config_hides_what_is_secret),
        TEST(neither_the_log_nor_the_arguments_hold_a_secret),
        TEST(a_bad_configuration_is_complained_of_without_its_secrets),
    };
    return geteuid() == 0 ? RUN_SUITE("privileges", tests, NULL) : SKIPPED;
}
