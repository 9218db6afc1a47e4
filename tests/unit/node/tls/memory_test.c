#include "tests/unit/node/tls/tls_support.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>

/* What a connection holds while nothing is said. All of OpenSSL's memory is counted here. */

#define KIB 1024u
#define IDLE_MAX (16u * KIB)
#define IDLE_WITH_CERTIFICATE_MAX (22u * KIB)
#define RECORD_MAX (17u * KIB) /* of OpenSSL's buffer for one */

static _Atomic size_t held;

static void *counted_alloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    void *block = malloc(size);
    held += malloc_usable_size(block);
    return block;
}

static void counted_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    held -= malloc_usable_size(block);
    free(block);
}

static void *counted_resize(void *block, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    size_t before = malloc_usable_size(block);
    void *moved = realloc(block, size);
    if (moved != NULL) {
        held = held - before + malloc_usable_size(moved);
    }
    return moved;
}

/* Ends the stream of the link: so much it had. */
static size_t bytes_of_stream(struct tls_link *link)
{
    size_t before = held;
    tls_stream_destroy(link->stream);
    link->stream = NULL;
    return before - held;
}

static void check_idle(struct tls_rig *rig, const struct tls_client *client, size_t max)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct tls_context *context = tls_rig_context(rig);
    for (size_t i = 0; i < ARRAY_COUNT(versions); i++) {
        struct tls_client one = *client;
        struct tls_link link;
        one.version = versions[i];
        tls_link_connect(&link, context, &one);
        assert_link_works(&link);
        assert_true(tls_stream_peer(link.stream)->verified == (client->certificate != NULL));
        assert_in_range(bytes_of_stream(&link), 4 * KIB, max);
        tls_link_close(&link);
    }
    tls_context_unref(context);
}

static void an_idle_connection_is_small(void **state)
{
    check_idle(*state, &(struct tls_client){.certificate = NULL}, IDLE_MAX);
}

static void a_certificate_of_the_client_makes_it_a_little_larger(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *certificate = certificate_create(&(struct certificate_wish){
        .issuer = rig->middle, .common_name = "sensor-1", .curve = "RSA"});
    rig->settings.client_auth = TLS_CLIENT_AUTH_REQUIRED;
    rig->settings.identity = TLS_IDENTITY_CN;
    check_idle(rig, &(struct tls_client){.certificate = certificate, .middle = rig->middle},
               IDLE_WITH_CERTIFICATE_MAX);
    certificate_destroy(certificate);
}

/* The buffer for a record is there from its first byte to its last. */
static void only_an_incomplete_record_is_kept(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    char *bytes;
    tls_link_connect(&link, context, &(struct tls_client){.version = 0});
    assert_int_equal(SSL_write(link.client, "0123456789", 10), 10);
    size_t len = (size_t)BIO_get_mem_data(link.from_client, &bytes);
    size_t before = held;
    tls_link_feed(&link, bytes, len - 1);
    assert_in_range(held - before, 1 * KIB, RECORD_MAX);
    tls_link_feed(&link, bytes + len - 1, 1);
    assert_int_equal(held, before);
    assert_int_equal(link.received.len, 10);
    tls_link_close(&link);
    tls_context_unref(context);
}

static void nothing_stays_of_those_that_went(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    size_t after_first = 0;
    for (int i = 0; i < 50; i++) {
        struct tls_link link;
        tls_link_connect(&link, context, &(struct tls_client){.version = 0});
        assert_link_works(&link);
        tls_link_close(&link);
        after_first = i == 0 ? held : after_first;
    }
    assert_in_range(held, 0, after_first + 100);
    tls_context_unref(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(an_idle_connection_is_small),
        with_rig(a_certificate_of_the_client_makes_it_a_little_larger),
        with_rig(only_an_incomplete_record_is_kept),
        with_rig(nothing_stays_of_those_that_went),
    };
    /* before OpenSSL has taken any */
    if (CRYPTO_set_mem_functions(counted_alloc, counted_resize, counted_free) != 1) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
