/* TLS: versions, certificates of both sides, ALPN. */
#include "tests/integration/certificates.h"
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <stdio.h>

enum { YAML_SIZE = 4096, ALERT_UNKNOWN_CA = 48, ALERT_CERTIFICATE_REQUIRED = 116 };

static void both_versions_of_tls_carry_messages_both_ways(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        struct secure_way way = tls_way();
        way.tls_version = versions[i];
        struct client *a = SECURE_CONNECT(&way);
        struct client *b = SECURE_CONNECT(&way, .version = MQTT_311);
        assert_int_equal(SSL_version(secure_stream_of(a)->ssl), versions[i]);
        tls_exchange(a, b);
        tls_exchange(CONNECT(), a); /* with who comes without TLS */
        client_disconnect(a);
        client_disconnect(b);
    }
    metric_expect("pulse_tls_handshakes_total{resumed=\"false\"}", 4);
}

static void an_ecdsa_certificate_serves_too(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml_with("server-ec.pem", "server-ec.key", ""), NULL);
    struct secure_way way = tls_way();
    struct client *c = SECURE_CONNECT(&way);
    tls_exchange(c, c);
}

static void old_versions_are_refused(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml("  min_version: 1.3\n"), NULL);
    struct secure_way way = tls_way();
    way.tls_version = TLS1_2_VERSION;
    assert_int_equal(tls_refusal(&way), SSL_AD_PROTOCOL_VERSION);
    way.tls_version = TLS1_3_VERSION;
    secure_must_open(&way);
    metric_expect("pulse_tls_failures_total", 1);
    metric_expect("pulse_connections_closed_total{reason=\"tls_error\"}", 1);
}

/* Records of 16 KiB, and packets over many of them. */
static void large_messages_come_whole(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    enum { SIZE = 3000001 };
    char *payload = malloc(SIZE + 1);
    assert_non_null(payload);
    for (size_t i = 0; i < SIZE; i++) {
        payload[i] = (char)('a' + i % 23);
    }
    payload[SIZE] = '\0';
    struct secure_way way = tls_way();
    struct client *sub = SECURE_CONNECT(&way);
    struct client *pub = SECURE_CONNECT(&way);
    subscribe(sub, "tls/large", 1);
    for (int i = 0; i < 3; i++) {
        publish(pub, "tls/large", payload, 1);
        expect_publish_and_ack(sub, "tls/large", payload);
    }
    free(payload);
}

/* A packet a byte at a time is a record for each byte. */
static void packets_may_come_in_tiny_records(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    struct secure_way way = tls_way();
    struct secure_stream *stream = secure_must_open(&way);
    struct buffer packet = {0};
    put_connect(&packet, &(struct connect_packet){.client_id = "tiny"});
    for (size_t i = 0; i < packet.len; i++) {
        secure_send(stream, packet.data + i, 1);
    }
    assert_true(secure_fill(stream, 2, WAIT_MS));
    assert_int_equal(stream->input.data[0], PKT_CONNACK << 4);
    buffer_fini(&packet);
}

/* ---- certificates of clients ----------------------------------------------------------------- */

static void required_means_a_good_certificate_or_none_at_all(void **state)
{
    (void)state;
    OWN_BROKER_YAML(mutual_yaml("required", ""), NULL);
    struct secure_way good = tls_way_as("client");
    client_disconnect(SECURE_CONNECT(&good));
    static const char *const bad[] = {"stranger", "expired"};
    for (size_t i = 0; i < 2; i++) {
        test_case(bad[i]);
        struct secure_way way = tls_way_as(bad[i]);
        assert_true(tls_refusal(&way) >= 0);
    }
    struct secure_way none = tls_way();
    assert_int_equal(tls_refusal(&none), ALERT_CERTIFICATE_REQUIRED);
    none.tls_version = TLS1_2_VERSION;
    assert_int_equal(tls_refusal(&none), SSL_AD_HANDSHAKE_FAILURE);
    good.tls_version = TLS1_2_VERSION;
    client_disconnect(SECURE_CONNECT(&good));
    struct secure_way stranger = tls_way_as("stranger");
    assert_int_equal(tls_refusal(&stranger), ALERT_UNKNOWN_CA);
}

static void optional_lets_in_who_shows_none_but_not_who_shows_a_bad_one(void **state)
{
    (void)state;
    OWN_BROKER_YAML(mutual_yaml("optional", ""), NULL);
    struct secure_way none = tls_way(), good = tls_way_as("client"), bad = tls_way_as("stranger");
    client_disconnect(SECURE_CONNECT(&none));
    client_disconnect(SECURE_CONNECT(&good));
    assert_int_equal(tls_refusal(&bad), ALERT_UNKNOWN_CA);
}

static void disabled_asks_for_none(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    struct secure_way stranger = tls_way_as("stranger");
    client_disconnect(SECURE_CONNECT(&stranger));
}

static void a_revoked_certificate_is_refused(void **state)
{
    (void)state;
    char more[YAML_SIZE / 4];
    snprintf(more, sizeof(more), "  client_crl: %s\n", certificates_path("crl.pem"));
    OWN_BROKER_YAML(mutual_yaml("required", more), NULL);
    struct secure_way good = tls_way_as("client"), revoked = tls_way_as("revoked");
    client_disconnect(SECURE_CONNECT(&good));
    assert_int_equal(tls_refusal(&revoked), SSL_AD_CERTIFICATE_REVOKED);
}

/* A client that checks doesn't talk to a broker whose certificate it has no reason to trust. */
static void a_client_notices_an_impostor(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    struct secure_way way = tls_way();
    way.ca = certificates_path("other-ca.pem");
    struct secure_stream *stream = secure_open(&way);
    assert_false(stream->is_open);
    secure_close(stream);
    metric_expect("pulse_tls_failures_total", 1);
}

/* The name that `identity` asks for, as the broker tells it in %u of an access rule. */
static void check_identity(const char *identity, const char *name)
{
    char more[256];
    char yaml[YAML_SIZE];
    char topic[64];
    test_case(identity);
    snprintf(more, sizeof(more), "  identity: %s\n", identity);
    snprintf(yaml, sizeof(yaml),
             "%sauth:\n  enabled: true\n  acl:\n  - permission: allow\n    topic_filter: "
             "names/%%u/#\n",
             mutual_yaml("required", more));
    struct broker *broker = broker_start_yaml(NULL, yaml);
    assert_non_null(broker);
    struct secure_way way = tls_way_as("client");
    struct client *c = SECURE_CONNECT(&way);
    snprintf(topic, sizeof(topic), "names/%s/x", name);
    subscribe(c, topic, 1);
    publish(c, topic, "mine", 0);
    expect_publish_and_ack(c, topic, "mine");
    SUBSCRIBE(c, .id = 100, .filters = FILTERS({"names/other/x", 1}));
    EXPECT_SUBACK(c, 100, RC_NOT_AUTHORIZED);
    client_close_all();
    assert_true(broker_stop(broker));
}

static void a_certificate_can_be_the_user_name(void **state)
{
    (void)state;
    check_identity("cn", "device-1");
    check_identity("san-dns", "device-1.example");
    check_identity("san-email", "device-1@example.org");
    check_identity("san-uri", "urn:device:1");
}

/* A wildcard in a name would be one in the rules; a NUL would cut it short. */
static void names_that_are_none_give_no_rights(void **state)
{
    (void)state;
    char yaml[YAML_SIZE];
    snprintf(yaml, sizeof(yaml),
             "%sauth:\n  enabled: true\n  acl:\n  - permission: allow\n    topic_filter: "
             "names/%%u/x\n  - permission: allow\n    username: admin\n    topic_filter: \"#\"\n",
             mutual_yaml("required", "  identity: cn\n"));
    OWN_BROKER_YAML(yaml, NULL);
    static const char *const odd[] = {"wildcard", "nul"};
    for (size_t i = 0; i < 2; i++) {
        test_case(odd[i]);
        struct secure_way way = tls_way_as(odd[i]);
        struct client *c = secure_client(MQTT_50, &way);
        SEND_CONNECT(c, .client_id = "odd");
        const struct packet *connack = expect_packet(c, PKT_CONNACK);
        if (connack->reason == RC_SUCCESS) {
            SUBSCRIBE(c, .id = 1, .filters = FILTERS({"names/other/x", 1}));
            EXPECT_SUBACK(c, 1, RC_NOT_AUTHORIZED);
        }
        client_close(c);
    }
}

/* ---- ALPN ------------------------------------------------------------------------------------ */

static void alpn_is_mqtt_or_nothing(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    struct secure_way way = tls_way();
    way.alpn = "h2,mqtt";
    struct client *c = SECURE_CONNECT(&way);
    const unsigned char *chosen = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(secure_stream_of(c)->ssl, &chosen, &len);
    assert_int_equal(len, 4);
    assert_memory_equal(chosen, "mqtt", 4);
    way.alpn = "h2,http/1.1";
    assert_int_equal(tls_refusal(&way), SSL_AD_NO_APPLICATION_PROTOCOL);
}

static void bad_files_keep_the_broker_from_starting(void **state)
{
    (void)state;
    static const struct {
        const char *certificate, *key, *more;
    } cases[] = {
        {"missing.pem", "server.key", ""},
        {"garbage.pem", "server.key", ""},
        {"server.pem", "missing.key", ""},
        {"server.pem", "renewed.key", ""},
        {"server.pem", "server.key", "  ciphersuites: NO_SUCH_SUITE\n"},
        {"server.pem", "server.key", "  groups: no-such-group\n"},
        {"server.pem", "server.key", "  client_auth: required\n  client_ca: /nowhere/ca.pem\n"},
        {"server.pem", "server.key", "  client_auth: required\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *yaml = tls_yaml_with(cases[i].certificate, cases[i].key, cases[i].more);
        test_case(yaml);
        assert_true(broker_refuses(NULL, yaml, ""));
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(both_versions_of_tls_carry_messages_both_ways),
        TEST(an_ecdsa_certificate_serves_too),
        TEST(old_versions_are_refused),
        TEST(large_messages_come_whole),
        TEST(packets_may_come_in_tiny_records),
        TEST(required_means_a_good_certificate_or_none_at_all),
        TEST(optional_lets_in_who_shows_none_but_not_who_shows_a_bad_one),
        TEST(disabled_asks_for_none),
        TEST(a_revoked_certificate_is_refused),
        TEST(a_client_notices_an_impostor),
        TEST(a_certificate_can_be_the_user_name),
        TEST(names_that_are_none_give_no_rights),
        TEST(alpn_is_mqtt_or_nothing),
        TEST(bad_files_keep_the_broker_from_starting),
    };
    return RUN_SUITE("tls", tests, NULL);
}
