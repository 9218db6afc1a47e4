/* The admin API: what each of its routes says and does, over the real broker. */
#include "tests/integration/admin_http.h"
#include "tests/integration/kept_session.h"
#include "tests/integration/metrics.h"
#include "tests/integration/suite.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define API "/api/v1"

/* ---- the node -------------------------------------------------------------------------------- */

static void the_status_tells_of_the_node(void **state)
{
    (void)state;
    assert_int_equal(admin_ask("GET", API "/status"), 200);
    admin_expect("\"version\":\"");
    admin_expect("\"ready\":true");
    admin_expect("\"storage_engine\":\"");
    admin_expect("\"listeners\":[{\"name\":\"");
    assert_non_null(strstr(admin_answer(), "Content-Type: application/json"));
    assert_non_null(strstr(admin_answer(), "Cache-Control: no-store"));
    assert_null(strstr(admin_answer(), "Access-Control"));
    assert_int_equal(admin_ask("HEAD", API "/status"), 200);
    assert_string_equal(admin_body(), "");
}

static void log_levels_are_told_and_changed(void **state)
{
    (void)state;
    assert_int_equal(admin_send("PUT", API "/log", "{\"filter\":\"info,router=debug\"}"), 200);
    admin_expect("\"router\":\"debug\"");
    admin_expect("\"conn\":\"info\"");
    assert_int_equal(admin_ask("GET", API "/log"), 200);
    admin_expect("\"router\":\"debug\"");
    assert_int_equal(admin_send("PUT", API "/log", "{\"filter\":\"loud\"}"), 400);
    assert_int_equal(admin_send("PUT", API "/log", "{}"), 400);
    assert_int_equal(admin_send("PUT", API "/log", "{\"filter\":\"info\"}"), 200);
    admin_expect("\"router\":\"info\"");
}

/* Like SIGHUP: the token is read again too. */
static void a_reload_reads_the_token_again(void **state)
{
    (void)state;
    assert_int_equal(admin_ask("POST", API "/reload"), 204);
    admin_write_token("another-token-for-these-tests");
    assert_int_equal(admin_ask("POST", API "/reload"), 204);
    assert_int_equal(admin_ask("GET", API "/status"), 401);
    admin_use_token("another-token-for-these-tests");
    assert_int_equal(admin_ask("GET", API "/status"), 200);
    admin_write_token("short");
    assert_int_equal(admin_ask("POST", API "/reload"), 409);
    assert_int_equal(admin_ask("GET", API "/status"), 200);
    admin_write_token(ADMIN_TOKEN);
    assert_int_equal(admin_ask("POST", API "/reload"), 204);
    admin_use_token(ADMIN_TOKEN);
    assert_int_equal(admin_ask("GET", API "/status"), 200);
}

/* ---- clients --------------------------------------------------------------------------------- */

static void a_client_is_described(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "desc/\"\xc3\xa9\xe2\x82\xac ?&", .keep_alive = 77,
                               .props = PROPS(prop_session_expiry(60)), .will_topic = "desc/will",
                               .will_payload = "gone", .will_qos = 1);
    subscribe(c, "desc/1", 1);
    subscribe(c, "desc/2", 0);
    settle(c);
    assert_int_equal(admin_ask("GET", API "/clients/desc%2F%22%C3%A9%e2%82%ac%20%3F%26"), 200);
    admin_expect("\"client_id\":\"desc/\\\"\xc3\xa9\xe2\x82\xac ?&\"");
    admin_expect("\"username\":null");
    admin_expect("\"address\":\"127.0.0.1:");
    admin_expect("\"protocol_version\":\"5.0\"");
    admin_expect("\"protocol\":\"mqtt\"");
    admin_expect("\"tls_version\":null");
    admin_expect("\"keep_alive_s\":77");
    admin_expect("\"session_expiry_s\":60");
    admin_expect("\"subscriptions\":2");
    admin_expect("\"will\":{\"topic\":\"desc/will\",\"qos\":1,\"retain\":false");
    assert_null(strstr(admin_body(), "gone"));
    assert_null(strstr(admin_body(), "\"bytes_in\":0,"));
    assert_null(strstr(admin_body(), "\"bytes_out\":0,"));
    assert_int_equal(admin_ask("GET", API "/clients/desc"), 404);
    client_disconnect(c);
    assert_int_equal(admin_ask("GET", API "/clients/desc%2F%22%C3%A9%e2%82%ac%20%3F%26"), 404);
}

static void clients_are_listed_and_filtered(void **state)
{
    (void)state;
    (void)CONNECT(.client_id = "list-a1");
    (void)CONNECT(.client_id = "list-a2", .version = MQTT_311);
    (void)CONNECT(.client_id = "list-b1");
    leave_session("list-away", "list/t", 0);
    assert_int_equal(admin_ask("GET", API "/clients?client_id=list-*"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 3);
    admin_expect("\"cursor\":null");
    assert_int_equal(admin_ask("GET", API "/clients?client_id=list-a%3F"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 2);
    admin_expect("\"protocol_version\":\"3.1.1\"");
    assert_int_equal(admin_ask("GET", API "/clients?client_id=list-b1"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 1);
    assert_int_equal(admin_ask("GET", API "/clients?client_id=list-*&address=127.0.0.*"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 3);
    assert_int_equal(admin_ask("GET", API "/clients?address=10.*"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 0);
    assert_int_equal(admin_ask("GET", API "/clients?client_id=list-*&listener=none"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 0);
    assert_int_equal(admin_ask("GET", API "/clients?client_id=list-*&username=nobody"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 0);
}

/* Each is listed once, whatever the size of the pages. */
static void pages_cover_all_clients_exactly_once(void **state)
{
    (void)state;
    enum { COUNT = 23 };
    for (int i = 0; i < COUNT; i++) {
        char id[32];
        snprintf(id, sizeof(id), "page-%02d", i);
        (void)CONNECT(.client_id = id);
    }
    for (int limit = 1; limit <= 40; limit += 6) {
        char seen[COUNT] = {0};
        char cursor[64] = "0.0.0";
        unsigned pages = 0;
        do {
            char target[160];
            snprintf(target, sizeof(target), API "/clients?client_id=page-*&limit=%d&cursor=%s",
                     limit, cursor);
            assert_int_equal(admin_ask("GET", target), 200);
            assert_true(admin_count("\"client_id\":") <= (unsigned)limit);
            for (int i = 0; i < COUNT; i++) {
                char id[32];
                snprintf(id, sizeof(id), "\"page-%02d\"", i);
                seen[i] = (char)(seen[i] + (char)admin_count(id));
            }
            assert_true(++pages < 100);
        } while (admin_cursor(cursor, sizeof(cursor)));
        for (int i = 0; i < COUNT; i++) {
            assert_int_equal(seen[i], 1);
        }
    }
}

/* What comes and goes between two pages does not hide those that stay. */
static void pages_cover_those_that_stay_while_others_come_and_go(void **state)
{
    (void)state;
    enum { STAY = 12 };
    char seen[STAY] = {0};
    char cursor[64] = "0.0.0";
    struct client *passing = NULL;
    for (int i = 0; i < STAY; i++) {
        char id[32];
        snprintf(id, sizeof(id), "stay-%02d", i);
        (void)CONNECT(.client_id = id);
        (void)CONNECT();
    }
    unsigned pages = 0;
    do {
        char target[160];
        snprintf(target, sizeof(target), API "/clients?client_id=stay-*&limit=2&cursor=%s", cursor);
        assert_int_equal(admin_ask("GET", target), 200);
        for (int i = 0; i < STAY; i++) {
            char id[32];
            snprintf(id, sizeof(id), "\"stay-%02d\"", i);
            seen[i] = (char)(seen[i] + (char)admin_count(id));
        }
        if (passing != NULL) {
            client_disconnect(passing);
        }
        passing = CONNECT();
        assert_true(++pages < 100);
    } while (admin_cursor(cursor, sizeof(cursor)));
    for (int i = 0; i < STAY; i++) {
        assert_int_equal(seen[i], 1);
    }
}

static void a_kicked_client_is_told_why_and_keeps_its_session(void **state)
{
    (void)state;
    struct client *c = connect_keeping("kick/me");
    subscribe(c, "kick/t", 1);
    assert_int_equal(admin_ask("DELETE", API "/clients/kick%2Fme"), 204);
    assert_string_equal(admin_body(), "");
    expect_disconnect(c, RC_ADMINISTRATIVE_ACTION);
    assert_int_equal(admin_ask("DELETE", API "/clients/kick%2Fme"), 404);
    assert_int_equal(admin_ask("GET", API "/sessions/kick%2Fme"), 200);
    admin_expect("\"connected\":false");
    admin_expect("\"subscriptions\":1");
    assert_true(metric_value("pulse_connections_closed_total{reason=\"administrative_action\"}") >=
                1);
    c = connect_keeping("kick/me");
    assert_true(client_last(c)->session_present);
}

static void the_will_of_a_kicked_client_is_published(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "kickwill/t", 0);
    struct client *c = CONNECT(.client_id = "kickwill", .version = MQTT_311,
                               .will_topic = "kickwill/t", .will_payload = "gone");
    assert_int_equal(admin_ask("DELETE", API "/clients/kickwill"), 204);
    expect_closed(c);
    expect_publish(sub, "kickwill/t", "gone");
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void sessions_of_absent_clients_are_listed_too(void **state)
{
    (void)state;
    leave_session("sess-away", "sess/t", 1);
    publish_from_elsewhere("sess/t", "one", 1);
    publish_from_elsewhere("sess/t", "two", 1);
    (void)CONNECT(.client_id = "sess-here");
    assert_int_equal(admin_ask("GET", API "/sessions?client_id=sess-*"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 2);
    assert_int_equal(admin_ask("GET", API "/sessions?client_id=sess-*&connected=true"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 1);
    admin_expect("\"sess-here\"");
    assert_int_equal(admin_ask("GET", API "/sessions?client_id=sess-*&connected=false"), 200);
    assert_int_equal(admin_count("\"client_id\":"), 1);
    admin_expect("\"sess-away\"");
    admin_expect("\"queued\":2");
    admin_expect("\"session_expiry_s\":60");
    admin_expect("\"offline_since\":\"20");
    admin_expect("\"expires_at\":\"20");
    assert_int_equal(admin_ask("GET", API "/sessions/sess-away"), 200);
    admin_expect("\"client\":null");
    assert_int_equal(admin_ask("GET", API "/sessions/sess-here"), 200);
    admin_expect("\"client\":{\"username\":null");
    assert_int_equal(admin_ask("GET", API "/sessions/sess-nowhere"), 404);
}

static void a_dropped_session_is_gone(void **state)
{
    (void)state;
    leave_session("drop-away", "drop/t", 1);
    assert_int_equal(admin_ask("DELETE", API "/sessions/drop-away"), 204);
    assert_int_equal(admin_ask("GET", API "/sessions/drop-away"), 404);
    assert_int_equal(admin_ask("DELETE", API "/sessions/drop-away"), 404);
    struct client *c = connect_keeping("drop-away");
    assert_false(client_last(c)->session_present);
}

static void the_client_of_a_dropped_session_is_disconnected(void **state)
{
    (void)state;
    struct client *kept = connect_keeping("drop-kept");
    struct client *clean = CONNECT(.client_id = "drop-clean");
    assert_int_equal(admin_ask("DELETE", API "/sessions/drop-kept"), 204);
    assert_int_equal(admin_ask("DELETE", API "/sessions/drop-clean"), 204);
    expect_disconnect(kept, RC_ADMINISTRATIVE_ACTION);
    expect_disconnect(clean, RC_ADMINISTRATIVE_ACTION);
    assert_int_equal(admin_ask("GET", API "/sessions/drop-kept"), 404);
    assert_int_equal(admin_ask("GET", API "/sessions/drop-clean"), 404);
    kept = connect_keeping("drop-kept");
    assert_false(client_last(kept)->session_present);
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static void the_subscriptions_of_a_session_are_listed(void **state)
{
    (void)state;
    struct client *c = CONNECT(.client_id = "subs-one");
    subscribe(c, "subs/a/+", 0);
    subscribe(c, "$share/group/subs/b", 1);
    subscribe_with(c, "subs/#", 2, PROPS(prop_subscription_id(77)));
    assert_int_equal(admin_ask("GET", API "/sessions/subs-one/subscriptions"), 200);
    assert_int_equal(admin_count("\"filter\":"), 3);
    admin_expect("\"filter\":\"subs/a/+\",\"share\":null,\"qos\":0");
    admin_expect("\"filter\":\"subs/b\",\"share\":\"group\",\"qos\":1");
    admin_expect("\"identifier\":77");
    assert_int_equal(
        admin_ask("GET", API "/sessions/subs-one/subscriptions?filter=%24share/group/subs/b"), 200);
    assert_int_equal(admin_count("\"filter\":"), 1);
    assert_int_equal(admin_ask("GET", API "/sessions/subs-one/subscriptions?filter=subs/b"), 200);
    assert_int_equal(admin_count("\"filter\":"), 0);
    assert_int_equal(admin_ask("GET", API "/sessions/subs-one/subscriptions?topic=subs/a/x"), 200);
    assert_int_equal(admin_count("\"filter\":"), 2);
    assert_int_equal(admin_ask("GET", API "/sessions/subs-none/subscriptions"), 404);
}

static void pages_cover_all_subscriptions(void **state)
{
    (void)state;
    enum { CLIENTS = 5, EACH = 7 };
    for (int i = 0; i < CLIENTS; i++) {
        char text[32];
        snprintf(text, sizeof(text), "subpage-%d", i);
        struct client *c = CONNECT(.client_id = text);
        for (int j = 0; j < EACH; j++) {
            snprintf(text, sizeof(text), "subpage/%d/%d", i, j);
            subscribe(c, text, 0);
        }
    }
    for (int limit = 1; limit < 50; limit += 8) {
        char cursor[64] = "0.0.0";
        unsigned count = 0, pages = 0;
        do {
            char target[160];
            snprintf(target, sizeof(target),
                     API "/subscriptions?client_id=subpage-*&limit=%d&cursor=%s", limit, cursor);
            assert_int_equal(admin_ask("GET", target), 200);
            count += admin_count("\"filter\":\"subpage/");
            assert_true(++pages < 100);
        } while (admin_cursor(cursor, sizeof(cursor)));
        assert_int_equal(count, CLIENTS * EACH);
    }
    assert_int_equal(admin_ask("GET", API "/subscriptions?filter=subpage/3/4"), 200);
    assert_int_equal(admin_count("\"filter\":"), 1);
    admin_expect("\"client_id\":\"subpage-3\"");
    assert_int_equal(admin_ask("GET", API "/subscriptions?topic=subpage/1/1"), 200);
    admin_expect("\"client_id\":\"subpage-1\"");
}

/* ---- messages -------------------------------------------------------------------------------- */

static void a_published_message_is_delivered(void **state)
{
    (void)state;
    struct client *sub = CONNECT();
    subscribe(sub, "apub/t", 2);
    assert_int_equal(
        admin_send("POST", API "/publish", "{\"topic\":\"apub/t\",\"payload\":\"\xc3\xa9\"}"), 200);
    admin_expect("{\"matched\":true}");
    assert_int_equal(expect_publish(sub, "apub/t", "\xc3\xa9")->qos, 0);
    assert_int_equal(admin_send("POST", API "/publish",
                                "{\"topic\":\"apub/t\",\"payload_base64\":\"AAEC/w==\",\"qos\":2}"),
                     200);
    const struct packet *packet = expect_packet(sub, PKT_PUBLISH);
    assert_int_equal(packet->qos, 2);
    assert_int_equal(packet->payload_len, 4);
    assert_memory_equal(packet->payload, "\x00\x01\x02\xff", 4);
    acknowledge(sub, packet);
    assert_int_equal(admin_send("POST", API "/publish", "{\"topic\":\"apub/nobody\"}"), 200);
    admin_expect("{\"matched\":false}");
}

static void what_can_not_be_published_is_explained(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{}",
        "{\"topic\":\"\"}",
        "{\"topic\":\"a/#\"}",
        "{\"topic\":\"a/+/b\"}",
        "{\"topic\":\"a\\u0000b\"}",
        "{\"topic\":5}",
        "{\"topic\":\"$SYS/broker/version\"}",
        "{\"topic\":\"a\",\"payload\":5}",
        "{\"topic\":\"a\",\"payload\":\"x\",\"payload_base64\":\"eA==\"}",
        "{\"topic\":\"a\",\"payload_base64\":\"eA=\"}",
        "{\"topic\":\"a\",\"payload_base64\":\"====\"}",
        "{\"topic\":\"a\",\"payload_base64\":\"e A==\"}",
        "{\"topic\":\"a\",\"payload_base64\":\"e===\"}",
        "{\"topic\":\"a\",\"payload_base64\":\"$$$$\"}",
        "{\"topic\":\"a\",\"qos\":3}",
        "{\"topic\":\"a\",\"qos\":-1}",
        "{\"topic\":\"a\",\"qos\":\"1\"}",
        "{\"topic\":\"a\",\"qos\":1.0}",
        "{\"topic\":\"a\",\"retain\":1}",
        "{\"topic\":\"a\",\"retained\":true}",
        "{\"topic\":\"a\",\"topic\":\"b\"}",
        "{\"topic\":\"\xff\"}",
        "{\"topic\":\"a\"} x",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        test_case(bodies[i]);
        if (admin_send("POST", API "/publish", bodies[i]) != 400) {
            test_fail("not 400: %.300s", admin_answer());
        }
        admin_expect("\"error\":\"bad_body\",\"detail\":\"");
    }
}

static void retained_messages_are_listed_shown_and_forgotten(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    publish_retained(pub, "ret/a b/\xc3\xa9", "text", 1);
    publish_retained(pub, "ret/c", "more", 0);
    settle(pub);
    assert_int_equal(admin_ask("GET", API "/retained?filter=ret/%23"), 200);
    assert_int_equal(admin_count("\"topic\":"), 2);
    assert_int_equal(admin_count("payload_base64"), 0);
    admin_expect("\"cursor\":null");
    assert_int_equal(admin_ask("GET", API "/retained?filter=ret/%2B&payload_bytes=2"), 200);
    assert_int_equal(admin_count("\"topic\":"), 1);
    admin_expect("\"payload_bytes\":4");
    admin_expect("\"payload_base64\":\"bW8=\"");
    assert_int_equal(admin_count("\"payload\":"), 0); /* a part of it is no text */
    assert_int_equal(admin_ask("GET", API "/retained/ret%2Fa%20b%2F%C3%A9"), 200);
    admin_expect("\"payload\":\"text\"");
    admin_expect("\"qos\":1");
    assert_int_equal(admin_ask("GET", API "/retained/ret"), 404);

    struct client *sub = CONNECT();
    subscribe(sub, "ret/c", 0);
    expect_publish(sub, "ret/c", "more");
    assert_int_equal(admin_ask("DELETE", API "/retained/ret%2Fc"), 204);
    expect_nothing(sub);
    assert_int_equal(admin_ask("DELETE", API "/retained/ret%2Fc"), 404);
    assert_int_equal(admin_ask("GET", API "/retained?filter=ret/%23"), 200);
    assert_int_equal(admin_count("\"topic\":"), 1);
    assert_int_equal(admin_send("POST", API "/publish",
                                "{\"topic\":\"ret/d\",\"payload\":\"x\",\"retain\":true}"),
                     200);
    assert_int_equal(admin_ask("GET", API "/retained/ret%2Fd"), 200);
}

static void topics_of_the_node_are_not_forgotten(void **state)
{
    (void)state;
    assert_int_equal(admin_ask("GET", API "/retained?filter=%24SYS/%23&limit=1"), 200);
    assert_int_equal(admin_count("\"topic\":\"$SYS/"), 1);
    assert_int_equal(admin_ask("GET", API "/retained?limit=1000"), 200);
    assert_int_equal(admin_count("\"topic\":\"$SYS/"), 0);
    assert_int_equal(admin_ask("DELETE", API "/retained/%24SYS%2Fbroker%2Fversion"), 403);
}

static void pages_cover_all_retained_messages(void **state)
{
    (void)state;
    struct client *pub = CONNECT();
    for (int i = 0; i < 31; i++) {
        char topic[32];
        snprintf(topic, sizeof(topic), "retpage/%d", i);
        publish_retained(pub, topic, "x", 0);
    }
    settle(pub);
    for (int limit = 1; limit < 50; limit += 9) {
        char cursor[64] = "0.0.0";
        unsigned count = 0, pages = 0;
        do {
            char target[160];
            snprintf(target, sizeof(target), API "/retained?filter=retpage/%%2B&limit=%d&cursor=%s",
                     limit, cursor);
            assert_int_equal(admin_ask("GET", target), 200);
            count += admin_count("\"topic\":");
            assert_true(++pages < 100);
        } while (admin_cursor(cursor, sizeof(cursor)));
        assert_int_equal(count, 31);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(the_status_tells_of_the_node),
        TEST(log_levels_are_told_and_changed),
        TEST(a_reload_reads_the_token_again),
        TEST(a_client_is_described),
        TEST(clients_are_listed_and_filtered),
        TEST(pages_cover_all_clients_exactly_once),
        TEST(pages_cover_those_that_stay_while_others_come_and_go),
        TEST(a_kicked_client_is_told_why_and_keeps_its_session),
        TEST(the_will_of_a_kicked_client_is_published),
        TEST(sessions_of_absent_clients_are_listed_too),
        TEST(a_dropped_session_is_gone),
        TEST(the_client_of_a_dropped_session_is_disconnected),
        TEST(the_subscriptions_of_a_session_are_listed),
        TEST(pages_cover_all_subscriptions),
        TEST(a_published_message_is_delivered),
        TEST(what_can_not_be_published_is_explained),
        TEST(retained_messages_are_listed_shown_and_forgotten),
        TEST(topics_of_the_node_are_not_forgotten),
        TEST(pages_cover_all_retained_messages),
    };
    int failed = RUN_SUITE("admin", tests, admin_settings(NULL));
    admin_end();
    return failed;
}
