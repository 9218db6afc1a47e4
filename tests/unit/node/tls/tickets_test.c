#include "tests/unit/node/tls/tls_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "node/tls/tls_priv.h"

/* Resumption: when it is taken, what a resumed session still knows, and when it is not taken. */

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* The wall clock of this program, OpenSSL's included. */
static _Atomic int64_t clock_shift_s;
time_t time(time_t *out)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* this clock there always is */
    time_t shifted = now.tv_sec + (time_t)clock_shift_s;
    if (out != NULL) {
        *out = shifted;
    }
    return shifted;
}

/* Connects and gives the session that can be resumed; NULL: there is none. */
static SSL_SESSION *visit(struct tls_context *context, const struct tls_client *client,
                          bool resumed)
{
    struct tls_link link;
    tls_link_connect(&link, context, client);
    assert_link_works(&link);
    assert_int_equal(tls_stream_resumed(link.stream), resumed);
    assert_int_equal(SSL_session_reused(link.client), resumed);
    SSL_SESSION *session = link.session;
    link.session = NULL;
    SSL_set_shutdown(link.client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    tls_link_close(&link);
    return session;
}

/* Connects twice: whether the second time is a resumption. Takes the session along. */
static void check_second_visit(struct tls_context *first, struct tls_context *second,
                               const struct tls_client *client, bool resumed)
{
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        struct tls_client one = *client;
        one.version = versions[i];
        one.session = visit(first, &one, false);
        assert_non_null(one.session);
        SSL_SESSION *next = visit(second, &one, resumed);
        SSL_SESSION_free(one.session);
        SSL_SESSION_free(next);
    }
}

static void a_session_is_resumed_in_both_versions_and_again(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        struct tls_client client = {.version = versions[i]};
        SSL_SESSION *session = visit(context, &client, false);
        for (int again = 0; again < 5; again++) {
            client.session = session;
            SSL_SESSION *next = visit(context, &client, true);
            if (next != NULL) { /* 1.2 goes on with the one it has */
                SSL_SESSION_free(session);
                session = next;
            }
        }
        SSL_SESSION_free(session);
    }
    tls_context_unref(context);
}

static void without_tickets_nothing_is_resumed(void **state)
{
    struct tls_rig *rig = *state;
    rig->settings.session_tickets = 0;
    struct tls_context *context = tls_rig_context(rig);
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        struct tls_client client = {.version = versions[i]};
        client.session = visit(context, &client, false);
        SSL_SESSION *next = visit(context, &client, false);
        SSL_SESSION_free(client.session);
        SSL_SESSION_free(next);
    }
    tls_context_unref(context);
}

static void a_ticket_of_another_listener_is_worth_nothing(void **state)
{
    struct tls_context *one = tls_rig_context(*state);
    struct tls_context *other = tls_rig_context(*state);
    check_second_visit(one, other, &(struct tls_client){.version = 0}, false);
    tls_context_unref(one);
    tls_context_unref(other);
}

/* The same session with one byte of its ticket changed. */
static SSL_SESSION *with_damaged_ticket(const SSL_SESSION *session, size_t at)
{
    const unsigned char *ticket;
    size_t ticket_len;
    unsigned char *bytes = NULL;
    SSL_SESSION_get0_ticket(session, &ticket, &ticket_len);
    assert_in_range(at, 0, ticket_len - 1);
    int len = i2d_SSL_SESSION((SSL_SESSION *)(uintptr_t)session, &bytes);
    assert_true(len > 0);
    unsigned char *found = memmem(bytes, (size_t)len, ticket, ticket_len);
    assert_non_null(found);
    found[at] ^= 0x20;
    const unsigned char *read = bytes;
    SSL_SESSION *damaged = d2i_SSL_SESSION(NULL, &read, len);
    assert_non_null(damaged);
    OPENSSL_free(bytes);
    return damaged;
}

static void a_damaged_ticket_costs_a_full_handshake_only(void **state)
{
    static const size_t places[] = {0, 15, 16, 31, 32, 100, 150};
    struct tls_context *context = tls_rig_context(*state);
    for (size_t i = 0; i < ARRAY_COUNT(versions) * ARRAY_COUNT(places); i++) {
        struct tls_client client = {.version = versions[i % 2]};
        SSL_SESSION *good = visit(context, &client, false);
        client.session = with_damaged_ticket(good, places[i / 2]);
        SSL_SESSION *next = visit(context, &client, false);
        SSL_SESSION_free(client.session);
        SSL_SESSION_free(good);
        SSL_SESSION_free(next);
    }
    tls_context_unref(context);
}

static struct certificate *ask_for_certificates(struct tls_rig *rig, long to_s)
{
    rig->settings.client_auth = TLS_CLIENT_AUTH_REQUIRED;
    rig->settings.identity = TLS_IDENTITY_CN;
    return certificate_create(&(struct certificate_wish){
        .issuer = rig->root, .common_name = "sensor-1", .serial = 10, .to_s = to_s});
}

static void a_resumed_session_knows_its_client(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *certificate = ask_for_certificates(rig, 0);
    struct tls_context *context = tls_rig_context(rig);
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        struct tls_client client = {.version = versions[i], .certificate = certificate};
        struct tls_link link;
        client.session = visit(context, &client, false);
        tls_link_connect(&link, context, &client);
        assert_true(tls_stream_resumed(link.stream));
        const struct tls_peer *peer = tls_stream_peer(link.stream);
        assert_true(peer->verified);
        assert_true(slice_equal(peer->identity, slice_text("sensor-1")));
        assert_true(slice_equal(peer->serial, slice_text("0a")));
        assert_int_equal(peer->fingerprint.len, 64);
        SSL_SESSION_free(client.session);
        tls_link_close(&link);
    }
    tls_context_unref(context);
    certificate_destroy(certificate);
}

static struct tls_context *reload(const struct tls_rig *rig, const struct tls_context *old)
{
    struct tls_context *fresh = NULL;
    struct text error = {0};
    assert_int_equal(tls_context_reload(old, &rig->settings, &fresh, &error), ERR_OK);
    return fresh;
}

static void clients_resume_over_a_reload_also_of_the_certificate(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *certificate = ask_for_certificates(rig, 0);
    struct tls_client client = {.certificate = certificate};
    struct tls_context *old = tls_rig_context(rig);
    struct tls_context *same = reload(rig, old);
    check_second_visit(old, same, &client, true);
    tls_rig_new_server(rig, "RSA");
    struct tls_context *renewed = reload(rig, same);
    check_second_visit(same, renewed, &client, true);
    check_second_visit(old, renewed, &client, true);
    tls_context_unref(old);
    tls_context_unref(same);
    tls_context_unref(renewed);
    certificate_destroy(certificate);
}

static off_t file_size(const char *path)
{
    struct stat facts;
    assert_int_equal(stat(path, &facts), 0);
    return facts.st_size;
}

/* A list with another certificate on it, and as long as the one that there is. */
static void replace_list(const struct tls_rig *rig, long serial)
{
    off_t size = file_size(rig->client_crl);
    do { /* signatures differ a little in length */
        assert_int_equal(unlink(rig->client_crl), 0);
        certificate_add_list(rig->client_crl, rig->root, serial);
    } while (file_size(rig->client_crl) != size);
}

/* Each of these could let a client in that a full handshake would refuse. */
static void other_rules_for_clients_end_all_tickets(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *certificate = ask_for_certificates(rig, 0);
    struct tls_client client = {.certificate = certificate};
    struct tls_context *contexts[6];
    contexts[0] = tls_rig_context(rig);
    certificate_add_list(rig->client_crl, rig->root, 98);
    rig->settings.client_crl = rig->client_crl;
    contexts[1] = reload(rig, contexts[0]); /* a list that there was not */
    replace_list(rig, 99);
    contexts[2] = reload(rig, contexts[1]); /* another list */
    const struct certificate *authorities[] = {rig->root, rig->middle, NULL};
    certificate_write(rig->client_ca, authorities);
    contexts[3] = reload(rig, contexts[2]); /* other authorities */
    rig->settings.client_auth = TLS_CLIENT_AUTH_OPTIONAL;
    contexts[4] = reload(rig, contexts[3]);
    rig->settings.ciphers = "ECDHE+AESGCM";
    contexts[5] = reload(rig, contexts[4]);
    for (size_t i = 1; i < ARRAY_COUNT(contexts); i++) {
        check_second_visit(contexts[i - 1], contexts[i], &client, false);
    }
    for (size_t i = 0; i < ARRAY_COUNT(contexts); i++) {
        tls_context_unref(contexts[i]);
    }
    certificate_destroy(certificate);
}

static void a_client_that_was_revoked_since_is_refused(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *certificate = ask_for_certificates(rig, 0);
    struct tls_context *old = tls_rig_context(rig);
    certificate_add_list(rig->client_crl, rig->root, 10);
    rig->settings.client_crl = rig->client_crl;
    struct tls_context *fresh = reload(rig, old);
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        struct tls_client client = {.version = versions[i], .certificate = certificate};
        struct tls_link link;
        client.session = visit(old, &client, false);
        tls_link_connect(&link, fresh, &client);
        assert_link_failed(&link, "certificate revoked");
        SSL_SESSION_free(client.session);
        tls_link_close(&link);
    }
    tls_context_unref(old);
    tls_context_unref(fresh);
    certificate_destroy(certificate);
}

/* The ticket is younger than its life, the certificate is not. */
static void a_client_whose_certificate_has_expired_since_is_refused(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *certificate = ask_for_certificates(rig, 3600);
    struct tls_context *context = tls_rig_context(rig);
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        struct tls_client client = {.version = versions[i], .certificate = certificate};
        struct tls_link link;
        client.session = visit(context, &client, false);
        clock_shift_s = 3500;
        SSL_SESSION_free(visit(context, &client, true));
        clock_shift_s = 3700;
        tls_link_connect(&link, context, &client);
        assert_link_failed(&link, "certificate has expired");
        clock_shift_s = 0;
        SSL_SESSION_free(client.session);
        tls_link_close(&link);
    }
    tls_context_unref(context);
    certificate_destroy(certificate);
}

/* One that comes back every hour gets new tickets; once a day it has to prove itself again. */
static void resumption_does_not_go_on_for_ever(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_client client = {.version = TLS1_3_VERSION};
    client.session = visit(context, &client, false);
    for (int hour = 1; hour <= 30; hour++) {
        clock_shift_s = hour * 3600 + 10;
        SSL_SESSION *next = visit(context, &client, hour != 24);
        assert_non_null(next);
        SSL_SESSION_free(client.session);
        client.session = next;
    }
    clock_shift_s += TLS_TICKET_LIFE_S + 10; /* and one that stays away for long does at once */
    SSL_SESSION *last = visit(context, &client, false);
    clock_shift_s = 0;
    SSL_SESSION_free(last);
    SSL_SESSION_free(client.session);
    tls_context_unref(context);
}

static void a_proof_holds_for_a_time_and_not_before_it(void **state)
{
    (void)state;
    const struct tls_proof proof = {.proved_at = 1000, .good_until = INT64_MAX};
    const struct tls_proof shorter = {.proved_at = 1000, .good_until = 1500};
    assert_false(tls__proof_holds(proof, 999)); /* the clock was set back */
    assert_true(tls__proof_holds(proof, 1000));
    assert_true(tls__proof_holds(proof, 1000 + TLS_PROOF_LIFE_S - 1));
    assert_false(tls__proof_holds(proof, 1000 + TLS_PROOF_LIFE_S));
    assert_true(tls__proof_holds(shorter, 1499));
    assert_false(tls__proof_holds(shorter, 1500));
}

static const uint8_t policy[TLS_POLICY_LEN] = {1};
static const uint8_t other_policy[TLS_POLICY_LEN] = {2};

static void keys_take_turns(void **state)
{
    (void)state;
    struct tls_ticket_ring *ring = tls__ring_create(policy);
    struct tls_ticket_key first;
    struct tls_ticket_key second;
    struct tls_ticket_key found;
    bool renew = true;
    assert_true(tls__ring_seal_key(ring, 0, &first));
    assert_true(tls__ring_seal_key(ring, TLS_TICKET_KEY_SEALS_MS - 1, &second));
    assert_memory_equal(&first, &second, sizeof(first));
    assert_true(tls__ring_open_key(ring, TLS_TICKET_KEY_SEALS_MS - 1, first.name, &found, &renew));
    assert_memory_equal(&first, &found, sizeof(first));
    assert_false(renew);
    assert_true(tls__ring_seal_key(ring, TLS_TICKET_KEY_SEALS_MS, &second));
    assert_memory_not_equal(first.name, second.name, sizeof(first.name));
    assert_memory_not_equal(first.cipher_key, second.cipher_key, sizeof(first.cipher_key));
    assert_memory_not_equal(first.mac_key, second.mac_key, sizeof(first.mac_key));
    assert_true(tls__ring_open_key(ring, TLS_TICKET_KEY_LIFE_MS - 1, first.name, &found, &renew));
    assert_memory_equal(&first, &found, sizeof(first));
    assert_true(renew);
    assert_false(tls__ring_open_key(ring, TLS_TICKET_KEY_LIFE_MS, first.name, &found, &renew));
    tls__ring_unref(ring);
}

static void an_unknown_key_is_not_found(void **state)
{
    (void)state;
    struct tls_ticket_ring *ring = tls__ring_create(policy);
    struct tls_ticket_key key;
    bool renew;
    uint8_t name[TLS_TICKET_NAME_LEN] = {0}; /* nor the empty places of the ring */
    assert_false(tls__ring_open_key(ring, 0, name, &key, &renew));
    assert_true(tls__ring_seal_key(ring, 0, &key));
    assert_false(tls__ring_open_key(ring, 0, name, &key, &renew));
    tls__ring_unref(ring);
}

/* Whatever the times are: what is sealed can be opened for a ticket's whole life. */
static void a_ticket_can_be_opened_to_the_end_of_its_life(void **state)
{
    (void)state;
    struct tls_ticket_ring *ring = tls__ring_create(policy);
    uint64_t now_ms = 12345;
    unsigned random = 1;
    for (int i = 0; i < 1000; i++) {
        struct tls_ticket_key sealed;
        struct tls_ticket_key found;
        bool renew;
        assert_true(tls__ring_seal_key(ring, now_ms, &sealed));
        uint64_t end_ms = now_ms + TLS_TICKET_LIFE_S * 1000ull - 1;
        while (now_ms < end_ms) {
            struct tls_ticket_key between;
            assert_true(tls__ring_seal_key(ring, now_ms, &between));
            now_ms += (uint64_t)rand_r(&random) % (7 * 3600 * 1000);
        }
        now_ms = end_ms;
        assert_true(tls__ring_open_key(ring, now_ms, sealed.name, &found, &renew));
        assert_memory_equal(&sealed, &found, sizeof(found));
    }
    tls__ring_unref(ring);
}

static void keys_are_carried_over_under_the_same_policy_only(void **state)
{
    (void)state;
    struct tls_ticket_ring *ring = tls__ring_create(policy);
    struct tls_ticket_key key;
    struct tls_ticket_key found;
    bool renew;
    assert_true(tls__ring_seal_key(ring, 0, &key));
    struct tls_ticket_ring *same = tls__ring_follow(ring, policy);
    struct tls_ticket_ring *other = tls__ring_follow(ring, other_policy);
    tls__ring_unref(ring);
    assert_true(tls__ring_open_key(same, 1, key.name, &found, &renew));
    assert_false(tls__ring_open_key(other, 1, key.name, &found, &renew));
    tls__ring_unref(same);
    tls__ring_unref(other);
}

/* Workers shake hands and resume at the same time, by one context. */
static void *come_and_go(void *user)
{
    struct tls_context *context = user;
    for (int i = 0; i < 10; i++) {
        struct tls_client client = {.version = versions[i % 2]};
        client.session = visit(context, &client, false);
        SSL_SESSION_free(visit(context, &client, true));
        SSL_SESSION_free(client.session);
    }
    tls_context_unref(context);
    return NULL;
}

static void threads_share_a_context(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    pthread_t threads[4];
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        tls_context_ref(context);
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, context), 0);
    }
    tls_context_unref(context);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(a_session_is_resumed_in_both_versions_and_again),
        with_rig(without_tickets_nothing_is_resumed),
        with_rig(a_ticket_of_another_listener_is_worth_nothing),
        with_rig(a_damaged_ticket_costs_a_full_handshake_only),
        with_rig(a_resumed_session_knows_its_client),
        with_rig(clients_resume_over_a_reload_also_of_the_certificate),
        with_rig(other_rules_for_clients_end_all_tickets),
        with_rig(a_client_that_was_revoked_since_is_refused),
        with_rig(a_client_whose_certificate_has_expired_since_is_refused),
        with_rig(resumption_does_not_go_on_for_ever),
        cmocka_unit_test(a_proof_holds_for_a_time_and_not_before_it),
        cmocka_unit_test(keys_take_turns),
        cmocka_unit_test(an_unknown_key_is_not_found),
        cmocka_unit_test(a_ticket_can_be_opened_to_the_end_of_its_life),
        cmocka_unit_test(keys_are_carried_over_under_the_same_policy_only),
        with_rig(threads_share_a_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
