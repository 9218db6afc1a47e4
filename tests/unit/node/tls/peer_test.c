#include "tests/unit/node/tls/tls_support.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Certificates of clients: whom they let in, why not, and who it is. */

static void ask_for_certificates(struct tls_rig *rig, enum tls_client_auth wanted)
{
    rig->settings.client_auth = wanted;
    rig->settings.identity = TLS_IDENTITY_CN;
}

static struct certificate *client_of(const struct certificate *issuer, long serial)
{
    return certificate_create(&(struct certificate_wish){
        .issuer = issuer, .common_name = "sensor-1", .serial = serial, .usage = "clientAuth"});
}

static void assert_slice(struct slice slice, const char *text)
{
    if (!slice_equal(slice, slice_text(text))) {
        fail_msg("\"%.*s\" is not \"%s\"", (int)slice.len, (const char *)slice.data, text);
    }
}

/* With each version: `error` NULL means that the client is let in. */
static void check_client(const struct tls_rig *rig, const struct tls_client *client,
                         const char *error, const char *refused)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct tls_context *context = tls_rig_context(rig);
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        struct tls_client one = *client;
        struct tls_link link;
        one.version = versions[i];
        tls_link_connect(&link, context, &one);
        if (error == NULL) {
            assert_link_works(&link);
            assert_true(tls_stream_peer(link.stream)->verified == (client->certificate != NULL));
        } else {
            assert_link_failed(&link, error);
            assert_false(tls_stream_ready(link.stream));
            assert_false(tls_stream_peer(link.stream)->verified);
            assert_int_not_equal(link.client_error, 0); /* an alert */
        }
        assert_slice(tls_stream_refused(link.stream), refused);
        tls_link_close(&link);
    }
    tls_context_unref(context);
}

static void a_client_without_a_certificate_comes_in_where_it_is_optional(void **state)
{
    struct tls_rig *rig = *state;
    ask_for_certificates(rig, TLS_CLIENT_AUTH_OPTIONAL);
    check_client(rig, &(struct tls_client){.certificate = NULL}, NULL, "");
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    check_client(rig, &(struct tls_client){.certificate = NULL},
                 "peer did not return a certificate", "");
}

static void a_certificate_is_good_by_its_chain(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *direct = client_of(rig->root, 10);
    struct certificate *below = client_of(rig->middle, 11);
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    check_client(rig, &(struct tls_client){.certificate = direct}, NULL, "");
    check_client(rig, &(struct tls_client){.certificate = below, .middle = rig->middle}, NULL, "");
    check_client(rig, &(struct tls_client){.certificate = below},
                 "unable to get local issuer certificate", "/CN=sensor-1");
    certificate_destroy(direct);
    certificate_destroy(below);
}

static void an_intermediate_in_the_file_is_enough(void **state)
{
    struct tls_rig *rig = *state;
    const struct certificate *authorities[] = {rig->middle, NULL};
    struct certificate *below = client_of(rig->middle, 11);
    struct certificate *direct = client_of(rig->root, 10);
    certificate_write(rig->client_ca, authorities);
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    check_client(rig, &(struct tls_client){.certificate = below}, NULL, "");
    check_client(rig, &(struct tls_client){.certificate = direct},
                 "unable to get local issuer certificate", "/CN=sensor-1");
    /* its own list is enough too: that of the root is not needed for what the file names */
    certificate_add_list(rig->client_crl, rig->middle, 99);
    rig->settings.client_crl = rig->client_crl;
    check_client(rig, &(struct tls_client){.certificate = below}, NULL, "");
    certificate_destroy(direct);
    certificate_destroy(below);
}

/* Then nothing stands between it and its list. */
static void a_client_in_the_file_itself_is_not_beyond_revocation(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *client = client_of(rig->root, 10);
    const struct certificate *authorities[] = {client, NULL};
    certificate_write(rig->client_ca, authorities);
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    check_client(rig, &(struct tls_client){.certificate = client}, NULL, "");
    certificate_add_list(rig->client_crl, rig->middle, 0);
    rig->settings.client_crl = rig->client_crl;
    check_client(rig, &(struct tls_client){.certificate = client}, "unable to get certificate CRL",
                 "/CN=sensor-1");
    certificate_destroy(client);
}

/* Optional means that there may be none, not that a bad one does no harm. */
static void a_bad_certificate_is_refused_also_where_it_is_optional(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *stranger =
        certificate_create(&(struct certificate_wish){.common_name = "root", .is_authority = true});
    struct certificate *bad[] = {
        client_of(stranger, 10),
        client_of(NULL, 10),
        certificate_create(&(struct certificate_wish){
            .issuer = rig->root, .common_name = "late", .from_s = -7200, .to_s = -3600}),
        certificate_create(&(struct certificate_wish){
            .issuer = rig->root, .common_name = "early", .from_s = 3600}),
        certificate_create(&(struct certificate_wish){
            .issuer = rig->root, .common_name = "website", .usage = "serverAuth"}),
    };
    static const char *const errors[] = {"certificate signature failure", "self-signed certificate",
                                         "certificate has expired", "certificate is not yet valid",
                                         "unsuitable certificate purpose"};
    static const char *const names[] = {"/CN=sensor-1", "/CN=sensor-1", "/CN=late", "/CN=early",
                                        "/CN=website"};
    ask_for_certificates(rig, TLS_CLIENT_AUTH_OPTIONAL);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        check_client(rig, &(struct tls_client){.certificate = bad[i]}, errors[i], names[i]);
        certificate_destroy(bad[i]);
    }
    certificate_destroy(stranger);
}

static void a_revoked_certificate_is_refused(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *good = client_of(rig->middle, 11);
    struct certificate *revoked = client_of(rig->middle, 12);
    certificate_add_list(rig->client_crl, rig->root, 0);
    certificate_add_list(rig->client_crl, rig->middle, 12);
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    rig->settings.client_crl = rig->client_crl;
    check_client(rig, &(struct tls_client){.certificate = good, .middle = rig->middle}, NULL, "");
    check_client(rig, &(struct tls_client){.certificate = revoked, .middle = rig->middle},
                 "certificate revoked", "/CN=sensor-1");
    certificate_destroy(good);
    certificate_destroy(revoked);
}

static void a_revoked_intermediate_takes_all_below_with_it(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *client = client_of(rig->middle, 11);
    certificate_add_list(rig->client_crl, rig->root, 2);
    certificate_add_list(rig->client_crl, rig->middle, 0);
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    rig->settings.client_crl = rig->client_crl;
    check_client(rig, &(struct tls_client){.certificate = client, .middle = rig->middle},
                 "certificate revoked", "/CN=middle");
    certificate_destroy(client);
}

static void with_lists_each_authority_needs_one(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *client = client_of(rig->middle, 11);
    certificate_add_list(rig->client_crl, rig->root, 0);
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    rig->settings.client_crl = rig->client_crl;
    check_client(rig, &(struct tls_client){.certificate = client, .middle = rig->middle},
                 "unable to get certificate CRL", "/CN=sensor-1");
    certificate_destroy(client);
}

/* Who was revoked since is not on it. */
static void a_list_that_is_out_of_date_lets_nobody_in(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *client = client_of(rig->root, 11);
    certificate_add_old_list(rig->client_crl, rig->root);
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    rig->settings.client_crl = rig->client_crl;
    check_client(rig, &(struct tls_client){.certificate = client}, "CRL has expired",
                 "/CN=sensor-1");
    certificate_destroy(client);
}

/* Each intermediate costs a signature to check: there is an end. */
static void a_chain_has_a_greatest_length(void **state)
{
    enum { LEVELS = 6 };
    struct tls_rig *rig = *state;
    const struct certificate *issuer = rig->root;
    struct certificate *levels[LEVELS];
    for (int i = 0; i < LEVELS; i++) {
        const char name[] = {(char)('a' + i), '\0'};
        levels[i] = certificate_create(&(struct certificate_wish){
            .issuer = issuer, .common_name = name, .serial = 20 + i, .is_authority = true});
        issuer = levels[i];
    }
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    for (int used = 4; used <= 5; used++) {
        struct certificate *client = client_of(levels[used - 1], 40);
        struct tls_context *context = tls_rig_context(rig);
        struct tls_link link;
        tls_link_open(&link, context,
                      &(struct tls_client){.certificate = client, .middle = levels[0]});
        for (int i = 1; i < used; i++) {
            assert_int_equal(SSL_add1_chain_cert(link.client, levels[i]->x509), 1);
        }
        tls_link_run(&link);
        if (used == 4) {
            assert_link_works(&link);
        } else {
            assert_link_failed(&link, "certificate chain too long");
        }
        tls_link_close(&link);
        tls_context_unref(context);
        certificate_destroy(client);
    }
    for (int i = 0; i < LEVELS; i++) {
        certificate_destroy(levels[i]);
    }
}

/* Connects with a certificate of this kind and gives what is known of it. */
static const struct tls_peer *meet(const struct tls_rig *rig, const struct certificate *client,
                                   struct tls_link *link)
{
    struct tls_context *context = tls_rig_context(rig);
    tls_link_connect(link, context, &(struct tls_client){.certificate = client});
    tls_context_unref(context);
    assert_link_works(link);
    const struct tls_peer *peer = tls_stream_peer(link->stream);
    assert_true(peer->verified);
    assert_ptr_equal(tls_stream_peer(link->stream), peer);
    return peer;
}

static void the_peer_has_all_fields_of_its_certificate(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *client = certificate_create(&(struct certificate_wish){
        .issuer = rig->root,
        .common_name = "f\xc3\xbchler",
        .organization = "Works",
        .unit = "Hall 3",
        .serial = 0x1a2b3c,
    });
    unsigned char digest[32];
    char fingerprint[65];
    struct tls_link link;
    ask_for_certificates(rig, TLS_CLIENT_AUTH_OPTIONAL);
    const struct tls_peer *peer = meet(rig, client, &link);
    assert_slice(peer->identity, "f\xc3\xbchler");
    assert_slice(peer->common_name, "f\xc3\xbchler");
    assert_slice(peer->organization, "Works");
    assert_slice(peer->organizational_unit, "Hall 3");
    assert_slice(peer->serial, "1a2b3c");
    assert_int_equal(X509_digest(client->x509, EVP_sha256(), digest, NULL), 1);
    for (size_t i = 0; i < sizeof(digest); i++) {
        (void)snprintf(fingerprint + 2 * i, 3, "%02x", digest[i]);
    }
    assert_slice(peer->fingerprint, fingerprint);
    tls_link_close(&link);
    certificate_destroy(client);
}

static void the_name_is_what_the_settings_say(void **state)
{
    static const char *const names[] = {"", "cn", "a.example", "m@example.org", "urn:dev:1"};
    struct tls_rig *rig = *state;
    struct certificate *client = certificate_create(&(struct certificate_wish){
        .issuer = rig->root,
        .common_name = "cn",
        .alternative_names =
            "URI:urn:dev:1,DNS:a.example,DNS:b.example,email:m@example.org,IP:127.0.0.1"});
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    for (int i = TLS_IDENTITY_NONE; i <= TLS_IDENTITY_SAN_URI; i++) {
        struct tls_link link;
        rig->settings.identity = (enum tls_identity)i;
        assert_slice(meet(rig, client, &link)->identity, names[i]);
        tls_link_close(&link);
    }
    certificate_destroy(client);
}

static void a_certificate_without_that_name_has_none(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *client =
        certificate_create(&(struct certificate_wish){.issuer = rig->root, .unit = "only"});
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    for (int i = TLS_IDENTITY_NONE; i <= TLS_IDENTITY_SAN_URI; i++) {
        struct tls_link link;
        rig->settings.identity = (enum tls_identity)i;
        const struct tls_peer *peer = meet(rig, client, &link);
        assert_slice(peer->identity, "");
        assert_slice(peer->common_name, "");
        assert_slice(peer->organizational_unit, "only");
        tls_link_close(&link);
    }
    certificate_destroy(client);
}

/* "admin\0.example" must not be "admin", nor anything else. */
static void a_common_name_that_is_no_text_is_none(void **state)
{
    char long_name[1025];
    memset(long_name, 'x', sizeof(long_name));
    const struct certificate_wish wishes[] = {
        {.common_name = "admin\0.example", .common_name_len = 14},
        {.common_name = "\0", .common_name_len = 1},
        {.common_name = long_name, .common_name_len = 1025},
        {.common_name = "one", .second_common_name = "two"},
    };
    struct tls_rig *rig = *state;
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    for (size_t i = 0; i < ARRAY_COUNT(wishes); i++) {
        struct certificate_wish wish = wishes[i];
        struct tls_link link;
        wish.issuer = rig->root;
        struct certificate *client = certificate_create(&wish);
        const struct tls_peer *peer = meet(rig, client, &link);
        assert_slice(peer->common_name, "");
        assert_slice(peer->identity, "");
        tls_link_close(&link);
        certificate_destroy(client);
    }
}

static void an_alternative_name_that_is_no_text_is_none(void **state)
{
    static const struct {
        const char *bytes;
        int len;
    } names[] = {{"a.example\0.evil", 15}, {"f\xc3\xbc", 3}, {"\xff", 1}};
    struct tls_rig *rig = *state;
    ask_for_certificates(rig, TLS_CLIENT_AUTH_REQUIRED);
    rig->settings.identity = TLS_IDENTITY_SAN_DNS;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct tls_link link;
        struct certificate *client = client_of(rig->root, 10);
        certificate_add_dns_name(client, rig->root, names[i].bytes, names[i].len);
        assert_slice(meet(rig, client, &link)->identity, "");
        tls_link_close(&link);
        certificate_destroy(client);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(a_client_without_a_certificate_comes_in_where_it_is_optional),
        with_rig(a_certificate_is_good_by_its_chain),
        with_rig(an_intermediate_in_the_file_is_enough),
        with_rig(a_client_in_the_file_itself_is_not_beyond_revocation),
        with_rig(a_bad_certificate_is_refused_also_where_it_is_optional),
        with_rig(a_revoked_certificate_is_refused),
        with_rig(a_revoked_intermediate_takes_all_below_with_it),
        with_rig(with_lists_each_authority_needs_one),
        with_rig(a_list_that_is_out_of_date_lets_nobody_in),
        with_rig(a_chain_has_a_greatest_length),
        with_rig(the_peer_has_all_fields_of_its_certificate),
        with_rig(the_name_is_what_the_settings_say),
        with_rig(a_certificate_without_that_name_has_none),
        with_rig(a_common_name_that_is_no_text_is_none),
        with_rig(an_alternative_name_that_is_no_text_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
