/* TLS: sessions that are resumed, certificates and lists that are renewed while the broker runs. */
#include "tests/integration/certificates.h"
#include "tests/integration/metrics.h"
#include "tests/integration/secure_listener.h"
#include "tests/integration/suite.h"

#include <stdio.h>

enum { YAML_SIZE = 4096 };

/* Connects, and gives a session that a later connection may resume. */
static SSL_SESSION *session_of(const struct secure_way *way)
{
    struct client *c = SECURE_CONNECT(way);
    settle(c); /* in 1.3 tickets come behind the handshake */
    SSL_SESSION *session = secure_stream_of(c)->session;
    if (session != NULL) {
        SSL_SESSION_up_ref(session);
    }
    client_disconnect(c);
    return session;
}

static bool is_resumed(const struct secure_way *way, SSL_SESSION *session)
{
    struct secure_way again = *way;
    again.session = session;
    struct client *c = SECURE_CONNECT(&again);
    bool resumed = SSL_session_reused(secure_stream_of(c)->ssl) == 1;
    client_disconnect(c);
    SSL_SESSION_free(session);
    return resumed;
}

static void sessions_are_resumed(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml(""), NULL);
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        struct secure_way way = tls_way();
        way.tls_version = versions[i];
        SSL_SESSION *session = session_of(&way);
        assert_non_null(session);
        assert_true(is_resumed(&way, session));
    }
    metric_expect("pulse_tls_handshakes_total{resumed=\"true\"}", 2);
}

static void without_tickets_nothing_is_resumed(void **state)
{
    (void)state;
    OWN_BROKER_YAML(tls_yaml("  session_tickets: false\n"), NULL);
    struct secure_way way = tls_way();
    SSL_SESSION *session = session_of(&way);
    assert_true(session == NULL || !is_resumed(&way, session));
}

/* Who resumes is who it was: its certificate counts, and is looked for in today's list. */
static void a_resumed_session_keeps_its_name(void **state)
{
    (void)state;
    char yaml[YAML_SIZE];
    snprintf(yaml, sizeof(yaml),
             "%sauth:\n  enabled: true\n  acl:\n  - permission: allow\n    username: device-1\n"
             "    topic_filter: \"#\"\n",
             mutual_yaml("required", "  identity: cn\n"));
    OWN_BROKER_YAML(yaml, NULL);
    struct secure_way way = tls_way_as("client");
    SSL_SESSION *session = session_of(&way);
    assert_non_null(session);
    struct secure_way again = way;
    again.session = session;
    struct client *c = SECURE_CONNECT(&again);
    assert_int_equal(SSL_session_reused(secure_stream_of(c)->ssl), 1);
    subscribe(c, "mine", 1);
    SSL_SESSION_free(session);
}

/* ---- renewal --------------------------------------------------------------------------------- */

/* Waits until new connections see another certificate than `serial`. */
static long wait_for_another(const struct secure_way *way, long serial)
{
    long deadline = clock_ms() + WAIT_MS;
    long found = serial;
    while (found == serial && clock_ms() < deadline) {
        struct secure_stream *stream = secure_must_open(way);
        found = secure_peer_serial(stream);
        secure_close(stream);
        let_time_pass(5);
    }
    return found;
}

/* A listener whose files have names of their own, to be replaced. */
static const char *renewable_yaml(void)
{
    certificates_copy("server.pem", "live.pem");
    certificates_copy("server.key", "live.key");
    return tls_yaml_with("live.pem", "live.key", "");
}

static void a_renewed_certificate_is_taken_without_dropping_anybody(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER_YAML(renewable_yaml(), NULL);
    struct secure_way way = tls_way();
    struct client *old = SECURE_CONNECT(&way);
    long serial = secure_peer_serial(secure_stream_of(old));
    SSL_SESSION *session = session_of(&way);
    certificates_copy("renewed.pem", "live.pem");
    certificates_copy("renewed.key", "live.key");
    broker_reload(broker);
    assert_int_not_equal(wait_for_another(&way, serial), serial);
    tls_exchange(old, old);
    assert_true(is_resumed(&way, session));
}

static void a_bad_renewal_changes_nothing(void **state)
{
    (void)state;
    struct broker *broker = OWN_BROKER_YAML(renewable_yaml(), NULL);
    struct secure_way way = tls_way();
    struct client *old = SECURE_CONNECT(&way);
    long serial = secure_peer_serial(secure_stream_of(old));
    certificates_copy("renewed.pem", "live.pem"); /* its key is missing */
    broker_reload(broker);
    long deadline = clock_ms() + WAIT_MS;
    while (broker_log_lines(broker, "reload refused") == 0 && clock_ms() < deadline) {
        let_time_pass(5);
    }
    assert_int_equal(broker_log_lines(broker, "reload refused"), 1);
    struct client *fresh = SECURE_CONNECT(&way);
    assert_int_equal(secure_peer_serial(secure_stream_of(fresh)), serial);
    tls_exchange(old, fresh);
}

/* Revoked while it is connected, refused when it comes again. */
static void a_new_revocation_list_is_taken(void **state)
{
    (void)state;
    char more[YAML_SIZE / 4];
    certificates_copy("empty-crl.pem", "live-crl.pem");
    snprintf(more, sizeof(more), "  client_crl: %s\n", certificates_path("live-crl.pem"));
    struct broker *broker = OWN_BROKER_YAML(mutual_yaml("required", more), NULL);
    struct secure_way way = tls_way_as("revoked");
    SSL_SESSION *session = session_of(&way);
    certificates_copy("crl.pem", "live-crl.pem");
    broker_reload(broker);
    long deadline = clock_ms() + WAIT_MS;
    while (broker_log_lines(broker, "reloaded") == 0 && clock_ms() < deadline) {
        let_time_pass(5);
    }
    let_time_pass(100); /* workers take it one after the other */
    assert_int_equal(tls_refusal(&way), SSL_AD_CERTIFICATE_REVOKED);
    way.session = session; /* nor does a ticket of before help */
    tls_refusal(&way);
    SSL_SESSION_free(session);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST(sessions_are_resumed),
        TEST(without_tickets_nothing_is_resumed),
        TEST(a_resumed_session_keeps_its_name),
        TEST(a_renewed_certificate_is_taken_without_dropping_anybody),
        TEST(a_bad_renewal_changes_nothing),
        TEST(a_new_revocation_list_is_taken),
    };
    return RUN_SUITE("tls_session", tests, NULL);
}
