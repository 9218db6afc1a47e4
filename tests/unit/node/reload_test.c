#include "node/reload.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "codec/mqtt.h"
#include "node/auth/auth.h"
#include "node/listener.h"
#include "tests/unit/node/login_support.h"
#include "tests/unit/node/tls/tls_support.h"

static struct rig rig;
static struct reload reload;
static struct client client;
static char *no_environment[] = {NULL};

#define HEAD               \
    "auth:\n"              \
    "  enabled: true\n"    \
    "  failure_delay: 0\n" \
    "  no_match: allow\n"  \
    "  users:\n"
#define ALICE "    - {username: alice, password: a}\n"
#define BOB "    - {username: bob, password: b}\n"

static void start(const char *yaml)
{
    login_rig_start(&rig, 1, yaml);
    reload = (struct reload){.environment = no_environment};
    reload.argv = login_rig_argv(&reload.argc);
    client.fd = -1;
    assert_int_equal(log_set_filter("off"), ERR_OK); /* what is refused would fill the screen */
}

static void stop(void)
{
    if (client.fd >= 0) {
        client_vanish(&client);
    }
    login_rig_stop(&rig);
    reload_fini(&reload);
}

static int set_up(void **state)
{
    (void)state;
    start(HEAD ALICE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stop();
    return 0;
}

static enum err reload_with(const char *yaml)
{
    login_rig_rewrite(yaml);
    return reload_now(&reload, rig.broker);
}

/* The reason code of CONNACK; its password is its initial. */
static uint8_t try_as(const char *user)
{
    char password[2] = {user[0], '\0'};
    struct login_wish wish = {.id = "id", .user = user, .password = password};
    uint8_t reason = login_connect(&client, &rig, wish);
    client_vanish(&client);
    rig_turn(&rig);
    return reason;
}

static void users_come_and_go(void **state)
{
    (void)state;
    assert_int_equal(try_as("bob"), MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
    assert_int_equal(reload_with(HEAD BOB), ERR_OK);
    assert_int_equal(try_as("bob"), 0);
    assert_int_equal(try_as("alice"), MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
    assert_int_equal(reload_with(HEAD ALICE BOB), ERR_OK); /* texts of the one before are freed */
    assert_int_equal(try_as("bob"), 0);
    assert_int_equal(try_as("alice"), 0);
}

static void many_reloads_leave_nothing_behind(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(reload_with(i % 2 == 0 ? HEAD ALICE : HEAD ALICE BOB), ERR_OK);
        assert_int_equal(reload_with("nonsense: true\n"), ERR_INVALID);
    }
    assert_int_equal(try_as("alice"), 0);
}

static void a_configuration_that_is_wrong_changes_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "auth: [\n",
        HEAD BOB "  threads: many\n",
        HEAD BOB "  acl_file: /does/not/exist\n",
        HEAD BOB "  password_file: /does/not/exist\n",
        HEAD BOB "  acl:\n    - {topic_filter: \"a/#/b\"}\n",
        HEAD BOB "observability:\n  log: loud\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        assert_int_not_equal(reload_with(wrong[i]), ERR_OK);
        assert_null(reload.latest);
        assert_int_equal(try_as("alice"), 0);
        assert_int_equal(try_as("bob"), MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
    }
    unlink(reload.argv[4]); /* and no file at all */
    assert_int_not_equal(reload_now(&reload, rig.broker), ERR_OK);
    assert_int_equal(try_as("alice"), 0);
}

static void log_levels_change_with_the_rest_or_not_at_all(void **state)
{
    (void)state;
    assert_false(log_enabled(LOG_CONN, LOG_LEVEL_DEBUG));
    login_rig_rewrite(HEAD ALICE);
    int argc;
    char *const *argv = login_rig_argv(&argc);
    char *without_log[] = {argv[0], argv[1], argv[3], argv[4], NULL};
    reload.argc = 4;
    reload.argv = without_log;
    assert_int_not_equal(
        reload_with(HEAD ALICE "  acl_file: /not/there\nobservability: {log: debug}\n"), ERR_OK);
    assert_false(log_enabled(LOG_CONN, LOG_LEVEL_DEBUG));
    assert_int_equal(reload_with(HEAD ALICE "observability: {log: \"error,conn=debug\"}\n"),
                     ERR_OK);
    assert_true(log_enabled(LOG_CONN, LOG_LEVEL_DEBUG));
    assert_int_equal(log_set_filter("error"), ERR_OK);
}

static void an_attempt_under_way_is_judged_by_the_new_rules(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct login_wish wish = {.id = "id", .user = "alice", .password = "a"};
        assert_int_equal(reload_with(HEAD ALICE), ERR_OK);
        login_come(&client, &rig, NULL, NULL);
        login_send_connect(&client, &wish);
        uv_run(&rig.worker->loop, UV_RUN_NOWAIT);
        usleep((unsigned)i * 50);
        assert_int_equal(reload_with(HEAD BOB), ERR_OK);
        conn_recheck_all(rig.worker); /* as broker_recheck does on a worker that runs */
        rig_turn(&rig);
        uint8_t reason = login_await(&client, MQTT_CONNACK).body.data[1];
        if (reason == 0) { /* it was let in before, and is out by now */
            login_await(&client, MQTT_DISCONNECT);
        } else {
            assert_int_equal(reason, MQTT_REASON_BAD_USER_NAME_OR_PASSWORD);
        }
        login_await_end(&client);
        client_vanish(&client);
        rig_turn(&rig);
    }
}

/* ---- certificates ---------------------------------------------------------------------------- */

static void write_yaml(char *out, size_t size, const struct tls_rig *files, const char *tail)
{
    snprintf(out, size,
             "listeners:\n"
             "  - {name: tls, bind: \"unix:%s/socket\", tls: true, certificate_chain: \"%s\", "
             "private_key: \"%s\"}\n%s",
             files->folder, files->chain, files->key, tail);
}

/* listener_bind needs the listeners before secrets are loaded. */
static void load_listeners(void)
{
    assert_int_equal(broker_bind(rig.broker), ERR_OK);
    assert_int_equal(listener_load_tls(rig.broker), ERR_OK);
}

static void certificates_are_replaced_only_when_all_is_well(void **state)
{
    (void)state;
    void *own = NULL;
    assert_int_equal(tls_rig_create(&own), 0);
    struct tls_rig *files = own;
    char yaml[1024];
    char bad[1024];
    write_yaml(yaml, sizeof(yaml), files, HEAD ALICE);
    write_yaml(bad, sizeof(bad), files, HEAD BOB "  password_file: /does/not/exist\n");
    stop();
    start(yaml);
    load_listeners();
    struct listening *listening = &rig.worker->listenings[0];
    struct tls_context *first = listening->tls;
    assert_non_null(first);

    tls_rig_new_server(files, "RSA");
    assert_int_not_equal(reload_with(bad), ERR_OK); /* the certificate was good, the users not */
    rig_turn(&rig);
    assert_ptr_equal(listening->tls, first);
    assert_ptr_equal(listening->listener->tls, first);

    assert_int_equal(reload_with(yaml), ERR_OK);
    rig_turn(&rig);
    assert_ptr_not_equal(listening->tls, first);
    assert_ptr_equal(listening->listener->tls, listening->tls);

    struct tls_context *second = listening->tls;
    assert_int_equal(truncate(files->key, 10), 0); /* now the users are good, the key is not */
    write_yaml(yaml, sizeof(yaml), files, HEAD BOB);
    assert_int_not_equal(reload_with(yaml), ERR_OK);
    rig_turn(&rig);
    assert_ptr_equal(listening->tls, second);
    assert_int_equal(try_as("alice"), 0);
    stop(); /* with the socket in that folder */
    assert_int_equal(tls_rig_destroy(&own), 0);
    start(HEAD ALICE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(users_come_and_go),
        TEST(many_reloads_leave_nothing_behind),
        TEST(a_configuration_that_is_wrong_changes_nothing),
        TEST(log_levels_change_with_the_rest_or_not_at_all),
        TEST(an_attempt_under_way_is_judged_by_the_new_rules),
        TEST(certificates_are_replaced_only_when_all_is_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
