#include "tests/unit/node/tls/tls_support.h"

#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"

/* One stream: handshakes, bytes both ways, its ends, and what bad input gets. */

static const struct tls_client any_client = {.version = 0};

static void check_handshake(struct tls_rig *rig, const struct tls_client *client, size_t step,
                            const char *version)
{
    struct tls_context *context = tls_rig_context(rig);
    struct tls_link link;
    tls_link_open(&link, context, client);
    tls_context_unref(context); /* the stream has a reference of its own */
    link.step = step;
    assert_false(tls_stream_ready(link.stream));
    assert_false(tls_stream_peer(link.stream)->verified);
    tls_link_run(&link);
    assert_link_works(&link);
    assert_string_equal(tls_stream_version(link.stream), version);
    assert_string_equal(tls_stream_cipher(link.stream),
                        SSL_CIPHER_get_name(SSL_get_current_cipher(link.client)));
    assert_false(tls_stream_resumed(link.stream));
    tls_link_close(&link);
}

static void every_kind_of_key_shakes_hands_in_both_versions(void **state)
{
    static const char *const curves[] = {"P-256", "P-384", "RSA"};
    for (size_t i = 0; i < ARRAY_COUNT(curves); i++) {
        tls_rig_new_server(*state, curves[i]);
        check_handshake(*state, &(struct tls_client){.version = TLS1_2_VERSION}, 0, "TLSv1.2");
        check_handshake(*state, &(struct tls_client){.version = TLS1_3_VERSION}, 0, "TLSv1.3");
    }
}

static void input_may_come_in_pieces_of_any_size(void **state)
{
    for (size_t step = 1; step <= 8; step++) {
        check_handshake(*state, &(struct tls_client){.version = TLS1_2_VERSION}, step, "TLSv1.2");
        check_handshake(*state, &(struct tls_client){.version = TLS1_3_VERSION}, step, "TLSv1.3");
    }
}

static void the_oldest_version_is_as_set(void **state)
{
    struct tls_rig *rig = *state;
    rig->settings.min_version = TLS_VERSION_1_3;
    struct tls_context *context = tls_rig_context(rig);
    struct tls_link link;
    tls_link_connect(&link, context, &(struct tls_client){.version = TLS1_2_VERSION});
    assert_link_failed(&link, "unsupported protocol");
    assert_int_equal(link.client_error, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION);
    tls_link_close(&link);
    tls_context_unref(context);
}

static void without_a_cipher_in_common_it_fails_with_an_alert(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    tls_link_connect(&link, context,
                     &(struct tls_client){.version = TLS1_2_VERSION,
                                          .ciphers = "ECDHE-ECDSA-AES128-SHA:AES128-GCM-SHA256"});
    assert_link_failed(&link, "no shared cipher");
    assert_int_equal(link.client_error, SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE);
    tls_link_close(&link);
    tls_context_unref(context);
}

/* Bytes that a test can tell apart. */
static uint8_t *pattern(size_t len)
{
    uint8_t *bytes = malloc(len);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (uint8_t)(i * 31 + i / 256);
    }
    return bytes;
}

static void a_large_write_arrives_whole(void **state)
{
    enum { LEN = 1000 * 1000 };
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    tls_link_connect(&link, context, &any_client);
    uint8_t *sent = pattern(LEN);
    uint8_t *got = malloc(LEN);
    assert_int_equal(tls_stream_write(link.stream, slice_of(sent, LEN), tls_link_sink, &link),
                     ERR_OK);
    size_t len = 0;
    size_t more = 0;
    while (len < LEN && SSL_read_ex(link.client, got + len, LEN - len, &more) == 1) {
        len += more;
    }
    assert_int_equal(len, LEN);
    assert_memory_equal(got, sent, LEN);
    free(sent);
    free(got);
    tls_link_close(&link);
    tls_context_unref(context);
}

static void check_reading(struct tls_rig *rig, size_t step, size_t plain_size)
{
    enum { LEN = 100 * 1000 };
    struct tls_context *context = tls_rig_context(rig);
    struct tls_link link;
    tls_link_connect(&link, context, &any_client);
    link.step = step;
    link.plain_size = plain_size;
    uint8_t *sent = pattern(LEN);
    for (int at = 0; at < LEN;) {
        int part = at % 5000 + 1;
        part = part < LEN - at ? part : LEN - at;
        assert_int_equal(SSL_write(link.client, sent + at, part), part);
        at += part;
    }
    tls_link_run(&link);
    assert_int_equal(link.received.len, LEN);
    assert_memory_equal(link.received.data, sent, LEN);
    free(sent);
    tls_link_close(&link);
    tls_context_unref(context);
}

static void all_plaintext_comes_out_whatever_the_buffers_are(void **state)
{
    check_reading(*state, 0, 0);
    check_reading(*state, 0, 1);
    check_reading(*state, 0, 100);
    check_reading(*state, 1, 0);
    check_reading(*state, 777, 333);
}

static void several_records_are_read_by_one_call(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    uint8_t plain[100];
    size_t len = 0;
    char *bytes;
    tls_link_connect(&link, context, &any_client);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(SSL_write(link.client, "0123456789", 10), 10);
    }
    struct slice wire = slice_of(NULL, (size_t)BIO_get_mem_data(link.from_client, &bytes));
    wire.data = (const uint8_t *)bytes;
    assert_int_equal(tls_stream_read(link.stream, &wire, plain, 95, &len, tls_link_sink, &link),
                     TLS_DATA);
    assert_int_equal(len, 95);
    assert_int_equal(tls_stream_read(link.stream, &wire, plain, 95, &len, tls_link_sink, &link),
                     TLS_DATA);
    assert_int_equal(len, 5);
    assert_int_equal(tls_stream_read(link.stream, &wire, plain, 95, &len, tls_link_sink, &link),
                     TLS_MORE);
    assert_int_equal(len, 0);
    tls_link_close(&link);
    tls_context_unref(context);
}

static void nothing_is_written_before_the_handshake_is_done(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    tls_link_open(&link, context, &any_client);
    assert_int_equal(tls_stream_write(link.stream, slice_text("early"), tls_link_sink, &link),
                     ERR_STOPPED);
    tls_stream_shutdown(link.stream, tls_link_sink, &link);
    assert_int_equal(link.wire_bytes, 0);
    tls_link_run(&link); /* and it does no harm */
    assert_link_works(&link);
    tls_link_close(&link);
    tls_context_unref(context);
}

static void good_bye_of_the_client_comes_behind_its_data(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    tls_link_connect(&link, context, &any_client);
    assert_int_equal(SSL_write(link.client, "last", 4), 4);
    SSL_shutdown(link.client);
    tls_link_run(&link);
    assert_int_equal(link.received.len, 4);
    assert_int_equal(link.status, TLS_CLOSED);
    assert_int_equal(tls_link_feed(&link, "more", 4), TLS_CLOSED);
    assert_string_equal(tls_stream_error(link.stream), "");
    /* the other direction is open still */
    assert_int_equal(tls_stream_write(link.stream, slice_text("x"), tls_link_sink, &link), ERR_OK);
    tls_link_close(&link);
    tls_context_unref(context);
}

static void good_bye_of_the_server_is_said_once(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    char byte;
    tls_link_connect(&link, context, &any_client);
    tls_stream_shutdown(link.stream, tls_link_sink, &link);
    size_t written = link.wire_bytes;
    tls_stream_shutdown(link.stream, tls_link_sink, &link);
    assert_int_equal(link.wire_bytes, written);
    assert_int_equal(SSL_read(link.client, &byte, 1), 0);
    assert_int_equal(SSL_get_error(link.client, 0), SSL_ERROR_ZERO_RETURN);
    assert_int_equal(tls_stream_write(link.stream, slice_text("x"), tls_link_sink, &link),
                     ERR_STOPPED);
    tls_link_close(&link);
    tls_context_unref(context);
}

/* What comes before a handshake. The answer is an alert at most. */
static void check_first_bytes(struct tls_rig *rig, struct slice bytes, size_t step,
                              const char *error)
{
    struct tls_context *context = tls_rig_context(rig);
    struct tls_link link;
    tls_link_open(&link, context, &any_client);
    link.step = step;
    tls_link_feed(&link, bytes.data, bytes.len);
    assert_link_failed(&link, error);
    assert_in_range(link.wire_bytes, 0, 7);
    assert_int_equal(tls_link_feed(&link, "more", 4), TLS_FAILED);
    assert_false(tls_stream_ready(link.stream));
    tls_link_close(&link);
    tls_context_unref(context);
}

static void plaintext_is_told_from_garbage(void **state)
{
    static const uint8_t connect[] = "\x10\x10\x00\x04MQTT\x04\x02\x00\x3c\x00\x04test";
    static const char http[] = "GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n";
    static const char options[] = "OPTIONS * HTTP/1.1\r\n\r\n";
    static const char garbage[] = "\x99\x01\x02\x03\x04\x05\x06\x07\x08\x09 and so on and on";
    static const char nothing[64];
    for (size_t step = 0; step <= 3; step++) {
        check_first_bytes(*state, slice_of(connect, sizeof(connect) - 1), step,
                          "plaintext on a TLS port: MQTT");
        check_first_bytes(*state, slice_text(http), step, "plaintext on a TLS port: HTTP");
        check_first_bytes(*state, slice_text(options), step, "plaintext on a TLS port: HTTP");
        check_first_bytes(*state, slice_text(garbage), step, "wrong version number");
        check_first_bytes(*state, slice_of(nothing, sizeof(nothing)), step, "wrong version");
    }
}

static void a_record_that_was_changed_ends_it_with_an_alert(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    char *bytes;
    char byte;
    tls_link_connect(&link, context, &any_client);
    assert_int_equal(SSL_write(link.client, "good", 4), 4);
    assert_int_equal(SSL_write(link.client, "bad", 3), 3);
    size_t len = (size_t)BIO_get_mem_data(link.from_client, &bytes);
    bytes[len - 1] = (char)(bytes[len - 1] ^ 1);
    tls_link_feed(&link, bytes, len);
    assert_int_equal(link.received.len, 4); /* what came before it still counts */
    assert_link_failed(&link, "decryption failed or bad record mac");
    assert_int_equal(tls_stream_write(link.stream, slice_text("x"), tls_link_sink, &link),
                     ERR_STOPPED);
    size_t written = link.wire_bytes;
    tls_stream_shutdown(link.stream, tls_link_sink, &link);
    assert_int_equal(link.wire_bytes, written);
    assert_true(SSL_read(link.client, &byte, 1) <= 0);
    assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    ERR_clear_error();
    tls_link_close(&link);
    tls_context_unref(context);
}

/* A flood of random bytes behind a good handshake and within one: it ends, and early. */
static void garbage_is_not_read_for_long(void **state)
{
    enum { LEN = 300 * 1000 };
    struct tls_context *context = tls_rig_context(*state);
    uint8_t *noise = pattern(LEN);
    memcpy(noise, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11); /* as a ClientHello begins */
    for (int shaken = 0; shaken < 2; shaken++) {
        struct tls_link link;
        tls_link_open(&link, context, &any_client);
        if (shaken == 1) {
            tls_link_run(&link);
        }
        size_t written = link.wire_bytes;
        assert_int_equal(tls_link_feed(&link, noise, LEN), TLS_FAILED);
        assert_in_range(link.wire_bytes - written, 1, 100);
        tls_link_close(&link);
    }
    free(noise);
    tls_context_unref(context);
}

static void new_keys_are_fine_but_not_without_end(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    tls_link_connect(&link, context, &(struct tls_client){.version = TLS1_3_VERSION});
    for (int i = 0; i < 20; i++) {
        assert_int_equal(SSL_key_update(link.client, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_link_works(&link);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(SSL_key_update(link.client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(link.client), 1);
    }
    tls_link_run(&link);
    assert_link_failed(&link, "too many key updates");
    tls_link_close(&link);
    tls_context_unref(context);
}

static void renegotiation_is_refused(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    tls_link_connect(&link, context, &(struct tls_client){.version = TLS1_2_VERSION});
    assert_int_equal(SSL_renegotiate(link.client), 1);
    tls_link_run(&link);
    assert_int_equal(link.client_error, SSL_R_NO_RENEGOTIATION);
    tls_link_close(&link);
    tls_context_unref(context);
}

static void check_alpn(struct tls_rig *rig, bool mqtt, const char *offer, const char *chosen)
{
    rig->settings.alpn_mqtt = mqtt;
    struct tls_context *context = tls_rig_context(rig);
    struct tls_link link;
    const unsigned char *got = NULL;
    unsigned got_len = 0;
    tls_link_connect(&link, context, &(struct tls_client){.alpn = offer});
    if (chosen == NULL) {
        assert_link_failed(&link, "no application protocol");
        assert_int_equal(link.client_error, SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    } else {
        assert_link_works(&link);
        SSL_get0_alpn_selected(link.client, &got, &got_len);
        assert_true(slice_equal(slice_of(got, got_len), slice_text(chosen)));
    }
    tls_link_close(&link);
    tls_context_unref(context);
}

static void the_protocol_is_chosen_from_what_is_offered(void **state)
{
    check_alpn(*state, true, NULL, "");
    check_alpn(*state, true, "\004mqtt", "mqtt");
    check_alpn(*state, true, "\002h2\004mqtt", "mqtt");
    check_alpn(*state, true, "\002h2\010http/1.1", NULL);
    check_alpn(*state, true, "\005mqttx", NULL);
    check_alpn(*state, false, "\002h2\010http/1.1", "http/1.1");
    check_alpn(*state, false, "\002h2", "");
    check_alpn(*state, false, NULL, "");
}

/* A connection moves to its session's worker: its stream goes on there. */
struct mover {
    struct tls_link *link;
    int rounds;
};

static void *work_elsewhere(void *user)
{
    struct mover *mover = user;
    for (int i = 0; i < mover->rounds; i++) {
        assert_link_works(mover->link);
    }
    return NULL;
}

static void a_stream_goes_on_in_another_thread(void **state)
{
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link link;
    tls_link_connect(&link, context, &any_client);
    tls_context_unref(context);
    for (int i = 0; i < 4; i++) {
        pthread_t thread;
        struct mover mover = {.link = &link, .rounds = 10};
        assert_int_equal(pthread_create(&thread, NULL, work_elsewhere, &mover), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_link_works(&link);
    }
    tls_link_close(&link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(every_kind_of_key_shakes_hands_in_both_versions),
        with_rig(input_may_come_in_pieces_of_any_size),
        with_rig(the_oldest_version_is_as_set),
        with_rig(without_a_cipher_in_common_it_fails_with_an_alert),
        with_rig(a_large_write_arrives_whole),
        with_rig(all_plaintext_comes_out_whatever_the_buffers_are),
        with_rig(several_records_are_read_by_one_call),
        with_rig(nothing_is_written_before_the_handshake_is_done),
        with_rig(good_bye_of_the_client_comes_behind_its_data),
        with_rig(good_bye_of_the_server_is_said_once),
        with_rig(plaintext_is_told_from_garbage),
        with_rig(a_record_that_was_changed_ends_it_with_an_alert),
        with_rig(garbage_is_not_read_for_long),
        with_rig(new_keys_are_fine_but_not_without_end),
        with_rig(renegotiation_is_refused),
        with_rig(the_protocol_is_chosen_from_what_is_offered),
        with_rig(a_stream_goes_on_in_another_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
