/* `pulse ctl`, the command line of the admin API, against a running broker. */
#include "tests/integration/admin_http.h"
#include "tests/integration/kept_session.h"
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char output[1024 * 1024];

/* Runs `pulse ctl WORDS` as a shell would; gives its exit code, with all that it said in `output`.
 */
static int run(const char *words)
{
    char command[2048];
    snprintf(command, sizeof(command), "'%s' ctl --url http://127.0.0.1:%u %s 2>&1",
             getenv("PULSE_BIN"), admin_port_of(), words);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    size_t len = fread(output, 1, sizeof(output) - 1, pipe);
    output[len] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The same, which must succeed. */
static void run_well(const char *words)
{
    test_case(words);
    int code = run(words);
    if (code != 0) {
        test_fail("exit code %d: %s", code, output);
    }
}

static void expect(const char *text)
{
    if (strstr(output, text) == NULL) {
        test_fail("no %s in: %s", text, output);
    }
}

static unsigned lines(void)
{
    unsigned count = 0;
    for (const char *at = strchr(output, '\n'); at != NULL; at = strchr(at + 1, '\n')) {
        count++;
    }
    return count;
}

static void it_shows_the_node(void **state)
{
    (void)state;
    run_well("status");
    expect("version ");
    expect("ready                 yes");
    run_well("status --json");
    expect("{\"version\":\"");
    assert_int_equal(lines(), 1);
    run_well("log");
    expect("conn ");
    run_well("log info,router=debug");
    expect("debug");
    run_well("log info");
    run_well("reload");
    assert_string_equal(output, "");
}

static void it_lists_clients_over_many_pages(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        char id[32];
        snprintf(id, sizeof(id), "ctl-list-%02d", i);
        (void)CONNECT(.client_id = id);
    }
    run_well("clients --client-id 'ctl-list-*'");
    expect("CLIENT ID ");
    assert_int_equal(lines(), 31);
    run_well("--json clients --client-id='ctl-list-*'");
    assert_int_equal(lines(), 30);
    run_well("clients --client-id 'ctl-list-*' --limit 7");
    assert_int_equal(lines(), 8);
    run_well("sessions --client-id 'ctl-list-1*' --connected true");
    assert_int_equal(lines(), 11);
    run_well("sessions --client-id 'ctl-list-*' --connected false");
    assert_int_equal(lines(), 1);
}

/* What a client calls itself must not reach the terminal as a command. */
static void names_of_clients_do_not_command_the_terminal(void **state)
{
    (void)state;
    (void)CONNECT(.client_id = "ctl-esc\x1b[31m\xc2\x9b\x07 \xc3\xa9/x");
    run_well("clients --client-id 'ctl-esc*'");
    assert_null(strchr(output, '\x1b'));
    assert_null(strchr(output, '\x07'));
    assert_null(strstr(output, "\xc2\x9b"));
    expect("ctl-esc\\x1b[31m\\x9b\\x07 \xc3\xa9/x");
}

static void it_shows_and_kicks_one_client(void **state)
{
    (void)state;
    struct client *c = connect_keeping("ctl/kick me");
    subscribe(c, "ctl/t", 1);
    run_well("client 'ctl/kick me'");
    expect("protocol_version      5.0");
    run_well("subscriptions 'ctl/kick me'");
    expect("ctl/t");
    run_well("kick 'ctl/kick me'");
    assert_string_equal(output, "");
    expect_disconnect(c, RC_ADMINISTRATIVE_ACTION);
    assert_int_equal(run("client 'ctl/kick me'"), 1);
    expect("pulse ctl: no such client or session (404)");
    run_well("session 'ctl/kick me'");
    expect("connected             no");
    run_well("drop 'ctl/kick me'");
    assert_int_equal(run("session 'ctl/kick me'"), 1);
}

static void it_publishes_and_shows_retained_messages(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "ctlpub/#", 1);
    run_well("publish ctlpub/t 'hello there' --qos 1 --retain");
    expect("matched               yes");
    expect_publish_and_ack(sub, "ctlpub/t", "hello there");
    run_well("publish ctlpub/t -- --dashes");
    expect_publish(sub, "ctlpub/t", "--dashes");
    run_well("publish ctlpub/t --file - < /dev/null");
    expect_publish(sub, "ctlpub/t", "");
    run_well("retained --filter 'ctlpub/#' --payload-bytes 100");
    expect("hello there");
    run_well("retained ctlpub/t");
    expect("payload_base64        aGVsbG8gdGhlcmU=");
    run_well("retained ctlpub/t --delete");
    assert_int_equal(run("retained ctlpub/t"), 1);
    run_well("subscriptions --topic ctlpub/x");
    expect("ctlpub/#");
}

static void it_traces(void **state)
{
    (void)state;
    (void)CONNECT(.client_id = "ctl-trace");
    run_well("trace ctl-trace --seconds 1");
    expect("online protocol_level=5");
    expect("end dropped=0");
    run_well("trace ctl-trace --seconds 1 --json");
    expect("\"event\":\"end\",\"dropped\":0}\n");
}

static void what_is_refused_ends_with_1(void **state)
{
    (void)state;
    assert_int_equal(run("kick nobody-here"), 1);
    expect("pulse ctl: no such client or session (404)");
    assert_int_equal(run("publish 'a/#' x"), 1);
    expect("topic must be a topic name");
    assert_int_equal(run("log loud"), 1);
    assert_int_equal(run("clients --client-id ''"), 0);
    assert_int_equal(run("status --token-file /nonexistent/token"), 1);
    expect("cannot read /nonexistent/token");
    setenv("PULSE_ADMIN_TOKEN", "wrong", 1);
    assert_int_equal(run("status"), 1);
    expect("a good bearer token is needed (401)");
    setenv("PULSE_ADMIN_TOKEN", ADMIN_TOKEN, 1);
    assert_int_equal(run("status --url http://127.0.0.1:1"), 1);
    assert_int_equal(run("status --url ftp://127.0.0.1"), 1);
    assert_int_equal(run("status > /dev/full"), 1);
}

static void a_wrong_command_line_ends_with_2(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "nonsense",
        "kick",
        "kick a b",
        "status --nonsense",
        "status --limit 5",
        "clients --limit",
        "clients --limit 0",
        "clients --limit x",
        "clients --json=yes",
        "publish t --qos 3",
        "publish t x --file y",
        "retained --delete",
        "--url",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        test_case(wrong[i]);
        assert_int_equal(run(wrong[i]), 2);
        expect("pulse ctl: ");
        assert_int_equal(lines(), 1);
    }
}

static void help_is_for_all_and_for_each(void **state)
{
    (void)state;
    run_well("--help");
    expect("  kick CLIENT_ID");
    expect("  --token-file FILE");
    run_well("kick --help");
    expect("usage: pulse ctl kick CLIENT_ID");
    assert_null(strstr(output, "--qos"));
    run_well("publish -h");
    expect("--qos");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(it_shows_the_node),
        TEST(it_lists_clients_over_many_pages),
        TEST(names_of_clients_do_not_command_the_terminal),
        TEST(it_shows_and_kicks_one_client),
        TEST(it_publishes_and_shows_retained_messages),
        TEST(it_traces),
        TEST(what_is_refused_ends_with_1),
        TEST(a_wrong_command_line_ends_with_2),
        TEST(help_is_for_all_and_for_each),
    };
    setenv("PULSE_ADMIN_TOKEN", ADMIN_TOKEN, 1);
    int failed = RUN_SUITE("admin_ctl", tests, admin_settings(NULL));
    admin_end();
    return failed;
}
