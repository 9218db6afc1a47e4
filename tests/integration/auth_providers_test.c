/* Who clients are, by certificates, tokens, a SQLite database and an HTTP server. */
#include "tests/integration/auth_http.h"
#include "tests/integration/auth_support.h"
#include "tests/integration/certificates.h"
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define UNAVAILABLE "mqtt_auth_failures_total{reason=\"provider_unavailable\"}"

enum { LEEWAY_S = 10, RETURN_UNAVAILABLE = 3, RETURN_BAD_PASSWORD = 4 };

/* ---- certificates ---------------------------------------------------------------------------- */

static void a_certificate_logs_in_as_the_name_in_it(void **state)
{
    (void)state;
    OWN_BROKER_YAML(auth_yaml("%sauth:\n  enabled: true\n  failure_delay: 0\n  users:\n"
                              "  - {username: alice, password: x}\n"
                              "  acl:\n  - {username: device-1, topic_filter: d1/#}\n",
                              mutual_yaml("optional", "  identity: cn\n")),
                    NULL);
    struct secure_way shown = tls_way_as("client"), none = tls_way();
    struct client *c = SECURE_CONNECT(&shown);
    expect_publish_answer(c, "d1/x", RC_SUCCESS);
    c = SECURE_CONNECT(&shown, .user = "device-1");
    expect_publish_answer(c, "d1/x", RC_SUCCESS);
    /* It may not be somebody else, password or not. */
    c = secure_client(MQTT_50, &shown);
    SEND_CONNECT(c, .user = "alice", .password = "x");
    EXPECT_REFUSED(c, RC_BAD_USER_OR_PASSWORD);
    /* Who shows none needs a password. */
    c = secure_client(MQTT_50, &none);
    SEND_CONNECT(c, .user = "device-1");
    EXPECT_REFUSED(c, RC_BAD_USER_OR_PASSWORD);
    c = secure_client(MQTT_311, &none);
    SEND_CONNECT(c, .version = MQTT_311, .client_id = "none");
    EXPECT_REFUSED(c, 5);
    c = SECURE_CONNECT(&none, .user = "alice", .password = "x");
    expect_publish_answer(c, "d1/x", RC_NOT_AUTHORIZED);
    /* On the listener without TLS there are no certificates. */
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "device-1");
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static const char *claims_until(const char *subject, long expires_in_s, const char *more)
{
    static char texts[4][1024];
    static unsigned next;
    char *text = texts[next++ % 4];
    snprintf(text, sizeof(texts[0]), "{\"sub\":\"%s\",\"exp\":%ld%s}", subject,
             (long)time(NULL) + expires_in_s, more);
    return text;
}

static void use_tokens(const char *algorithm, const char *more)
{
    OWN_BROKER_YAML(auth_yaml("auth:\n  enabled: true\n  failure_delay: 0\n  jwt_key_file: %s\n"
                              "  jwt_algorithms: %s\n%s",
                              auth_token_key(algorithm), algorithm, more),
                    NULL);
}

static void check_tokens(const char *algorithm)
{
    use_tokens(algorithm, "  acl:\n  - {topic_filter: own/%u/#}\n");
    const char *good = auth_token(algorithm, claims_until("dev", 600, ""));
    struct client *c = CONNECT(.password = good); /* the name is in the token */
    expect_publish_answer(c, "own/dev/x", RC_SUCCESS);
    expect_publish_answer(c, "own/other/x", RC_NOT_AUTHORIZED);
    client_disconnect(CONNECT(.user = "dev", .password = good));
    client_disconnect(CONNECT(.version = MQTT_311, .user = "dev", .password = good));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "other", .password = good);
    EXPECT_NO_LOGIN(RETURN_BAD_PASSWORD, .version = MQTT_311, .user = "other", .password = good);
    const char *expired = auth_token(algorithm, claims_until("dev", -LEEWAY_S - 1, ""));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = expired);
    char changed[4096];
    snprintf(changed, sizeof(changed), "%s", good);
    char *claims = strchr(changed, '.') + 5;
    *claims = *claims == 'A' ? 'B' : 'A';
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = changed);
    snprintf(changed, sizeof(changed), "%s", good);
    strrchr(changed, '.')[1] ^= 1;
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = changed);
    *strrchr(changed, '.') = '\0';
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = changed);
}

static void tokens_with_hs256_are_checked(void **state)
{
    (void)state;
    check_tokens("HS256");
}

static void tokens_with_rs256_are_checked(void **state)
{
    (void)state;
    check_tokens("RS256");
}

static void tokens_with_es256_are_checked(void **state)
{
    (void)state;
    check_tokens("ES256");
}

/* A token must not choose how it is checked: "none", or the public key as a shared secret. */
static void only_the_algorithms_of_the_configuration_count(void **state)
{
    (void)state;
    use_tokens("RS256", "  no_match: allow\n");
    const char *claims = claims_until("dev", 600, "");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = auth_token("HS256", claims));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = auth_token("ES256", claims));
    char none[1024];
    const char *header = "{\"alg\":\"none\"}";
    snprintf(none, sizeof(none), "%s.%s.", auth_base64(header, strlen(header), true),
             auth_base64(claims, strlen(claims), true));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = none);
    client_disconnect(CONNECT(.password = auth_token("RS256", claims)));
}

static void a_token_that_expires_ends_its_connection(void **state)
{
    (void)state;
    use_tokens("HS256", "  no_match: allow\n");
    long start = clock_ms();
    const char *token = auth_token("HS256", claims_until("dev", 2 - LEEWAY_S, ""));
    struct client *c = CONNECT(.password = token, .will_topic = "will", .will_payload = "x");
    struct client *old = CONNECT(.version = MQTT_311, .user = "dev", .password = token);
    struct client *longer = CONNECT(.password = auth_token("HS256", claims_until("dev", 600, "")));
    subscribe(longer, "will", 0);
    settle(c);
    expect_disconnect(c, RC_NOT_AUTHORIZED);
    expect_closed(old);
    assert_true(clock_ms() - start > 900 && clock_ms() - start < 6000);
    expect_publish(longer, "will", "x");
    metric_expect("pulse_connections_closed_total{reason=\"not_authorized\"}", 2);
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .password = token);
    settle(longer);
}

static void the_claims_of_a_token_give_groups_and_rules(void **state)
{
    (void)state;
    use_tokens("ES256", "  jwt_issuer: maker\n  jwt_audience: broker\n"
                        "  acl:\n  - {group: pumps, topic_filter: pumps/#}\n");
    const char *rules =
        ",\"iss\":\"maker\",\"aud\":[\"x\",\"broker\"],\"groups\":[\"pumps\"],"
        "\"acl\":[{\"permission\":\"deny\",\"action\":\"all\",\"topic\":\"pumps/off\"},"
        "{\"permission\":\"allow\",\"action\":\"publish\",\"topic\":\"own/%u\"}]";
    struct client *c = CONNECT(.password = auth_token("ES256", claims_until("dev", 600, rules)));
    expect_publish_answer(c, "pumps/x", RC_SUCCESS);
    expect_publish_answer(c, "pumps/off", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "own/dev", RC_SUCCESS);
    expect_subscribe_answer(c, "own/dev", RC_NOT_AUTHORIZED);
    static const char *const bad[] = {
        ",\"iss\":\"maker\"",                                        /* no audience */
        ",\"aud\":\"broker\"",                                       /* no issuer */
        ",\"iss\":\"Maker\",\"aud\":\"broker\"",                     /* another */
        ",\"iss\":\"maker\",\"aud\":\"broker\",\"nbf\":99999999999", /* not yet */
        ",\"iss\":\"maker\",\"aud\":\"broker\",\"acl\":[{\"topic\":\"#\"}]",
        ",\"iss\":\"maker\",\"aud\":\"broker\",\"acl\":\"all\"",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        test_case(bad[i]);
        EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD,
                        .password = auth_token("ES256", claims_until("dev", 600, bad[i])));
    }
}

/* ---- a database ------------------------------------------------------------------------------ */

static const char *make_database(const char *name)
{
    const char *path = auth_path(name);
    char script[4096];
    snprintf(script, sizeof(script),
             "import sqlite3\nd = sqlite3.connect('%s')\n"
             "d.execute('CREATE TABLE mqtt_users (username TEXT, password_hash TEXT, user_groups "
             "TEXT)')\n"
             "d.execute('CREATE TABLE acl (username TEXT, p TEXT, a TEXT, t TEXT)')\n"
             "d.execute('INSERT INTO mqtt_users VALUES (?,?,?)', ('alice', '%s', 'staff'))\n"
             "d.execute('INSERT INTO mqtt_users VALUES (?,?,NULL)', ('bob', '%s'))\n"
             "d.execute('INSERT INTO mqtt_users VALUES (?,?,NULL)', ('broken', 'no hash'))\n"
             "d.execute('INSERT INTO acl VALUES (?,?,?,?)', ('bob', 'allow', 'publish', "
             "'bob/%%u/%%c'))\n"
             "d.commit()\n",
             path, auth_hash_7("x"), auth_hash_7("y"));
    const char *const arguments[] = {"python3", "-", NULL};
    assert_int_equal(auth_run(arguments, script, NULL, 0), 0);
    return path;
}

static void a_table_of_sqlite_says_who_users_are(void **state)
{
    (void)state;
    OWN_BROKER_YAML(auth_yaml("auth:\n  enabled: true\n  failure_delay: 0\n  sql_database: %s\n"
                              "  sql_acl_query: SELECT p, a, t FROM acl WHERE username = %%u\n"
                              "  acl:\n  - {group: staff, topic_filter: staff/#}\n",
                              make_database("users.db")),
                    NULL);
    struct client *alice = CONNECT(.user = "alice", .password = "x");
    expect_publish_answer(alice, "staff/x", RC_SUCCESS);
    struct client *bob = CONNECT(.client_id = "c1", .user = "bob", .password = "y");
    expect_publish_answer(bob, "bob/bob/c1", RC_SUCCESS);
    expect_publish_answer(bob, "bob/bob/c2", RC_NOT_AUTHORIZED);
    expect_publish_answer(bob, "staff/x", RC_NOT_AUTHORIZED);
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "y");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "nobody", .password = "x");
    static const char *const odd[] = {"' OR '1'='1", "alice' --", "\"",
                                      "%u",          "alice\\",   "'; DROP TABLE mqtt_users; --"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = odd[i], .password = "x");
    }
    client_disconnect(CONNECT(.user = "alice", .password = "x"));
}

/* Nobody is let in, and nobody is told that the password is wrong. */
static void a_database_that_can_not_answer_makes_the_broker_unavailable(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER_YAML(
        auth_yaml(
            "auth:\n  enabled: true\n  failure_delay: 0\n  sql_database: %s\n"
            "  sql_user_query: SELECT password_hash, user_groups FROM missing WHERE u = %%u\n",
            make_database("other.db")),
        NULL);
    EXPECT_NO_LOGIN(RC_SERVER_UNAVAILABLE, .user = "alice", .password = "x");
    EXPECT_NO_LOGIN(RETURN_UNAVAILABLE, .version = MQTT_311, .user = "alice", .password = "x");
    metric_expect(UNAVAILABLE, 2);
    expect_log(broker, "missing");
}

/* ---- an HTTP server -------------------------------------------------------------------------- */

static struct broker *use_http(const char *more)
{
    return OWN_BROKER_YAML(
        auth_yaml("auth:\n  enabled: true\n  failure_delay: 0\n  http_url: %s\n  http_timeout: 1s\n"
                  "%s",
                  auth_http_url(), more),
        NULL);
}

static void an_http_server_lets_in_and_says_what_is_allowed(void **state)
{
    (void)state;
    auth_http_start(0);
    auth_http_answer(
        "alice", 200,
        "{\"result\":\"allow\",\"groups\":[\"staff\"],\"acl\":[{\"permission\":\"allow\","
        "\"action\":\"publish\",\"topic\":\"own/%u\"}]}",
        0);
    auth_http_answer("alias", 200, "{\"result\":\"allow\",\"username\":\"pump\"}", 0);
    use_http("  acl:\n  - {group: staff, topic_filter: staff/#}\n  - {topic_filter: name/%u}\n");
    struct client *c = CONNECT(.client_id = "c\"1", .user = "alice", .password = "p\\w\"");
    const char *asked = auth_http_last_question();
    assert_non_null(strstr(asked, "POST /who"));
    assert_non_null(strstr(asked, "\"password\":\"p\\\\w\\\"\""));
    assert_non_null(strstr(asked, "\"client_id\":\"c\\\"1\""));
    assert_non_null(strstr(asked, "\"address\":\"127.0.0.1\""));
    assert_non_null(strstr(asked, "\"tls\":false"));
    expect_publish_answer(c, "own/alice", RC_SUCCESS);
    expect_subscribe_answer(c, "own/alice", RC_NOT_AUTHORIZED);
    expect_publish_answer(c, "staff/x", RC_SUCCESS);
    c = CONNECT(.user = "alias", .password = "x");
    expect_publish_answer(c, "name/pump", RC_SUCCESS);
    expect_publish_answer(c, "name/alias", RC_NOT_AUTHORIZED);
    auth_http_stop();
}

static void what_an_http_server_denies_is_refused(void **state)
{
    (void)state;
    auth_http_start(0);
    auth_http_answer("deny", 200, "{\"result\":\"deny\"}", 0);
    auth_http_answer("ignore", 200, "{\"result\":\"ignore\"}", 0);
    auth_http_answer("forbidden", 403, "", 0);
    auth_http_answer("unauthorized", 401, "no", 0);
    use_http("");
    static const char *const users[] = {"deny", "ignore", "forbidden", "unauthorized"};
    for (size_t i = 0; i < 4; i++) {
        test_case(users[i]);
        EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = users[i], .password = "x");
        EXPECT_NO_LOGIN(RETURN_BAD_PASSWORD, .version = MQTT_311, .user = users[i],
                        .password = "x");
    }
    auth_http_stop();
}

static void answers_that_make_no_sense_let_nobody_in(void **state)
{
    (void)state;
    auth_http_start(0);
    auth_http_answer("error", 500, "{\"result\":\"allow\"}", 0);
    auth_http_answer("missing", 404, "", 0);
    auth_http_answer("moved", 302, "{\"result\":\"allow\"}", 0);
    auth_http_answer("garbage", 200, "allow", 0);
    auth_http_answer("empty", 200, "", 0);
    auth_http_answer("nothing", 200, "{}", 0);
    auth_http_answer("unknown", 200, "{\"result\":\"allow\",\"acls\":[]}", 0);
    auth_http_answer("rules", 200, "{\"result\":\"allow\",\"acl\":[{\"topic\":\"#\"}]}", 0);
    struct broker *broker = use_http("");
    static const char *const users[] = {"error", "missing", "moved",   "garbage",
                                        "empty", "nothing", "unknown", "rules"};
    for (size_t i = 0; i < 8; i++) {
        test_case(users[i]);
        EXPECT_NO_LOGIN(RC_SERVER_UNAVAILABLE, .user = users[i], .password = "x");
    }
    metric_expect(UNAVAILABLE, 8);
    expect_log(broker, "HTTP server");
    auth_http_stop();
}

static void a_slow_http_server_holds_up_only_who_waits_for_it(void **state)
{
    (void)state;
    auth_http_start(0);
    auth_http_answer("slow", 200, "{\"result\":\"allow\"}", 3000);
    auth_http_answer("late", 200, "{\"result\":\"allow\"}", 300);
    auth_http_answer("quick", 200, "{\"result\":\"allow\"}", 0);
    use_http("");
    struct client *slow[10];
    long start = clock_ms();
    for (size_t i = 0; i < 10; i++) {
        slow[i] = LOGIN(.user = "slow", .password = "x");
    }
    assert_true(LOGIN_MS(0, .user = "quick", .password = "x") < 900);
    assert_true(LOGIN_MS(0, .user = "late", .password = "x") >= 295);
    client_close(slow[9]); /* one does not wait for the end */
    for (size_t i = 0; i < 9; i++) {
        EXPECT_REFUSED(slow[i], RC_SERVER_UNAVAILABLE);
    }
    assert_true(clock_ms() - start >= 995);
    client_disconnect(CONNECT(.user = "quick", .password = "x"));
    auth_http_stop();
}

static void a_dead_http_server_may_come_back(void **state)
{
    (void)state;
    auth_http_start(0);
    uint16_t port = auth_http_port();
    auth_http_stop();
    struct broker *broker = use_http("");
    EXPECT_NO_LOGIN(RC_SERVER_UNAVAILABLE, .user = "quick", .password = "x");
    EXPECT_NO_LOGIN(RETURN_UNAVAILABLE, .version = MQTT_311, .user = "quick", .password = "x");
    auth_http_start(port);
    auth_http_answer("quick", 200, "{\"result\":\"allow\"}", 0);
    client_disconnect(CONNECT(.user = "quick", .password = "x"));
    assert_int_equal(broker_log_lines(broker, "\"x\""), 0);
    auth_http_stop();
}

static void good_answers_are_used_again_for_the_same_credentials_only(void **state)
{
    (void)state;
    auth_http_start(0);
    auth_http_answer("kept", 200, "{\"result\":\"allow\"}", 0);
    auth_http_answer("fresh", 200, "{\"result\":\"allow\",\"cache\":0}", 0);
    auth_http_answer("deny", 200, "{\"result\":\"deny\"}", 0);
    use_http("");
    for (int i = 0; i < 5; i++) {
        client_disconnect(CONNECT(.client_id = "same", .user = "kept", .password = "x"));
    }
    assert_int_equal(auth_http_questions(), 1);
    client_disconnect(CONNECT(.client_id = "same", .user = "kept", .password = "y"));
    assert_int_equal(auth_http_questions(), 2);
    for (int i = 0; i < 3; i++) {
        client_disconnect(CONNECT(.client_id = "same", .user = "fresh", .password = "x"));
        EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "deny", .password = "x");
    }
    assert_int_equal(auth_http_questions(), 8);
    auth_http_stop();
}

static void what_an_http_server_allows_may_end(void **state)
{
    (void)state;
    char body[128];
    snprintf(body, sizeof(body), "{\"result\":\"allow\",\"expires_at\":%ld}", (long)time(NULL) + 2);
    auth_http_start(0);
    auth_http_answer("soon", 200, body, 0);
    auth_http_answer("past", 200, "{\"result\":\"allow\",\"expires_at\":1000}", 0);
    use_http("");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "past", .password = "x");
    struct client *c = CONNECT(.client_id = "soon", .user = "soon", .password = "x");
    expect_disconnect(c, RC_NOT_AUTHORIZED);
    /* Also when the answer is one that was kept. */
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .client_id = "soon", .user = "soon", .password = "x");
    auth_http_stop();
}

static void the_http_server_is_told_the_token_of_the_broker(void **state)
{
    (void)state;
    auth_http_start(0);
    auth_http_answer("alice", 200, "{\"result\":\"allow\"}", 0);
    char more[512];
    snprintf(more, sizeof(more), "  http_token_file: %s\n", auth_write("token", "s3cret-token\n"));
    struct broker *broker = use_http(more);
    client_disconnect(CONNECT(.user = "alice", .password = "x"));
    assert_non_null(strstr(auth_http_last_question(), "Authorization: Bearer s3cret-token\r\n"));
    assert_int_equal(broker_log_lines(broker, "s3cret"), 0);
    auth_http_stop();
}

/* ---- a chain --------------------------------------------------------------------------------- */

/* The first that knows the client decides, in the order of auth.chain. */
static void providers_are_asked_in_their_order(void **state)
{
    (void)state;
    auth_http_start(0);
    auth_http_answer("alice", 200, "{\"result\":\"deny\"}", 0);
    auth_http_answer("bob", 200, "{\"result\":\"ignore\"}", 0);
    auth_http_answer("carol", 200, "{\"result\":\"allow\"}", 0);
    use_http("  chain: http, users\n  users:\n  - {username: alice, password: x}\n"
             "  - {username: bob, password: x}\n");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "alice", .password = "x");
    client_disconnect(CONNECT(.user = "bob", .password = "x"));
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "bob", .password = "y");
    client_disconnect(CONNECT(.user = "carol", .password = "x"));
    auth_http_stop();
}

static void a_provider_that_comes_first_keeps_the_next_from_being_asked(void **state)
{
    (void)state;
    auth_http_start(0);
    auth_http_answer("carol", 200, "{\"result\":\"allow\"}", 0);
    use_http("  chain: users, http\n  users:\n  - {username: carol, password: y}\n");
    EXPECT_NO_LOGIN(RC_BAD_USER_OR_PASSWORD, .user = "carol", .password = "x");
    client_disconnect(CONNECT(.user = "carol", .password = "y"));
    assert_int_equal(auth_http_questions(), 0);
    auth_http_stop();
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(a_certificate_logs_in_as_the_name_in_it),
        TEST(tokens_with_hs256_are_checked),
        TEST(tokens_with_rs256_are_checked),
        TEST(tokens_with_es256_are_checked),
        TEST(only_the_algorithms_of_the_configuration_count),
        TEST(a_token_that_expires_ends_its_connection),
        TEST(the_claims_of_a_token_give_groups_and_rules),
        TEST(a_table_of_sqlite_says_who_users_are),
        TEST(a_database_that_can_not_answer_makes_the_broker_unavailable),
        TEST(an_http_server_lets_in_and_says_what_is_allowed),
        TEST(what_an_http_server_denies_is_refused),
        TEST(answers_that_make_no_sense_let_nobody_in),
        TEST(a_slow_http_server_holds_up_only_who_waits_for_it),
        TEST(a_dead_http_server_may_come_back),
        TEST(good_answers_are_used_again_for_the_same_credentials_only),
        TEST(what_an_http_server_allows_may_end),
        TEST(the_http_server_is_told_the_token_of_the_broker),
        TEST(providers_are_asked_in_their_order),
        TEST(a_provider_that_comes_first_keeps_the_next_from_being_asked),
    };
    return RUN_SUITE("auth_providers", tests, NULL);
}
