#include "tests/unit/node/tls/tls_support.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* What the files and words of a listener may be, and what is said when they are not. */

static void assert_in_text(const char *text, const char *part)
{
    if (text == NULL || strstr(text, part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, text != NULL ? text : "");
    }
}

/* The settings are refused, with one line that has both in it. */
static void assert_refused(const struct tls_settings *settings, enum err expected, const char *part,
                           const char *reason)
{
    struct tls_context *context = NULL;
    struct text error = {0};
    assert_int_equal(tls_context_create(settings, &context, &error), expected);
    assert_null(context);
    assert_in_text(error.data, part);
    assert_in_text(error.data, reason);
    assert_null(strchr(error.data, '\n'));
    text_fini(&error);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void a_file_that_is_missing_or_no_file_is_named(void **state)
{
    struct tls_rig *rig = *state;
    struct tls_settings settings = rig->settings;
    settings.certificate_chain = "/nonexistent/chain.pem";
    assert_refused(&settings, ERR_IO, "/nonexistent/chain.pem", "No such file");
    settings.certificate_chain = rig->folder;
    assert_refused(&settings, ERR_IO, rig->folder, "not a file");
    settings = rig->settings;
    settings.private_key = "/nonexistent/key.pem";
    assert_refused(&settings, ERR_IO, "/nonexistent/key.pem", "No such file");
    settings.private_key = NULL;
    assert_refused(&settings, ERR_INVALID, "needs", "private key");
    settings = rig->settings;
    settings.certificate_chain = NULL;
    assert_refused(&settings, ERR_INVALID, "needs", "certificate");
}

static void a_file_without_what_it_should_have_is_named(void **state)
{
    struct tls_rig *rig = *state;
    struct tls_settings settings = rig->settings;
    settings.certificate_chain = rig->key;
    assert_refused(&settings, ERR_INVALID, rig->key, "no certificate");
    settings = rig->settings;
    settings.private_key = rig->chain;
    assert_refused(&settings, ERR_INVALID, rig->chain, "no private key");
    write_text(rig->key, "");
    assert_refused(&rig->settings, ERR_INVALID, rig->key, "no private key");
}

static void a_damaged_certificate_in_the_chain_is_an_error(void **state)
{
    struct tls_rig *rig = *state;
    FILE *file = fopen(rig->chain, "a");
    assert_non_null(file);
    assert_true(fputs("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", file) >=
                0);
    assert_int_equal(fclose(file), 0);
    assert_refused(&rig->settings, ERR_INVALID, rig->chain, "chain can't be read");
}

static void a_key_of_another_certificate_is_refused(void **state)
{
    static const char *const curves[] = {"P-256", "RSA"};
    struct tls_rig *rig = *state;
    for (size_t i = 0; i < ARRAY_COUNT(curves); i++) {
        struct certificate *other =
            certificate_create(&(struct certificate_wish){.curve = curves[i]});
        certificate_write_key(rig->key, other, NULL);
        assert_refused(&rig->settings, ERR_INVALID, rig->key, "does not fit");
        certificate_destroy(other);
    }
}

/* Nobody is asked at the terminal: the test would wait for ever. */
static void a_key_with_a_passphrase_is_refused(void **state)
{
    struct tls_rig *rig = *state;
    certificate_write_key(rig->key, rig->server, "secret");
    assert_refused(&rig->settings, ERR_INVALID, rig->key, "passphrase");
}

static void words_that_openssl_does_not_know_are_named(void **state)
{
    struct tls_rig *rig = *state;
    struct tls_settings settings = rig->settings;
    settings.ciphers = "NO-SUCH-CIPHER";
    assert_refused(&settings, ERR_INVALID, "ciphers \"NO-SUCH-CIPHER\"", "");
    settings = rig->settings;
    settings.ciphersuites = "TLS_NONE";
    assert_refused(&settings, ERR_INVALID, "ciphersuites \"TLS_NONE\"", "");
    settings = rig->settings;
    settings.groups = "P-999";
    assert_refused(&settings, ERR_INVALID, "groups \"P-999\"", "");
}

static void certificates_of_clients_need_authorities(void **state)
{
    struct tls_rig *rig = *state;
    rig->settings.client_auth = TLS_CLIENT_AUTH_OPTIONAL;
    struct tls_settings settings = rig->settings;
    settings.client_ca = NULL;
    assert_refused(&settings, ERR_INVALID, "certificates of clients", "sign");
    settings.client_ca = rig->key;
    assert_refused(&settings, ERR_INVALID, rig->key, "0 good ones");
    settings = rig->settings;
    settings.client_crl = rig->chain;
    assert_refused(&settings, ERR_INVALID, rig->chain, "0 good ones");
    settings.client_crl = "/nonexistent/crl.pem";
    assert_refused(&settings, ERR_IO, "/nonexistent/crl.pem", "No such file");
    certificate_add_list(rig->client_crl, rig->root, 0);
    FILE *file = fopen(rig->client_crl, "a");
    assert_non_null(file);
    assert_true(fputs("-----BEGIN X509 CRL-----\nnonsense\n-----END X509 CRL-----\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
    settings.client_crl = rig->client_crl;
    assert_refused(&settings, ERR_INVALID, rig->client_crl, "1 good ones");
}

/* What is logged while a context is made, which must succeed. */
static void assert_logged(const struct tls_rig *rig, const char *part, const char *name)
{
    char page[2000] = {0};
    FILE *file = tmpfile();
    assert_non_null(file);
    log_init(fileno(file), LOG_FORMAT_TEXT);
    tls_context_unref(tls_rig_context(rig));
    log_init(STDERR_FILENO, LOG_FORMAT_TEXT);
    rewind(file);
    size_t len = fread(page, 1, sizeof(page) - 1, file);
    assert_int_equal(fclose(file), 0);
    if (part == NULL) {
        assert_int_equal(len, 0);
    } else {
        assert_in_text(page, part);
        assert_in_text(page, name);
    }
}

static void a_key_that_others_can_read_is_warned_of(void **state)
{
    struct tls_rig *rig = *state;
    assert_logged(rig, NULL, NULL);
    assert_int_equal(chmod(rig->key, 0640), 0); /* a group of its own is common */
    assert_logged(rig, NULL, NULL);
    assert_int_equal(chmod(rig->key, 0644), 0);
    assert_logged(rig, "others can read or change the private key", rig->key);
    assert_int_equal(chmod(rig->key, 0620), 0);
    assert_logged(rig, "others can read or change the private key", rig->key);
}

static void dates_of_the_certificate_are_warned_of(void **state)
{
    struct tls_rig *rig = *state;
    static const struct {
        long from_s;
        long to_s;
        const char *warning;
    } cases[] = {{-7200, -3600, "has expired"},
                 {-7200, 3600, "expires within two weeks"},
                 {3600, 30 * 24 * 3600, "not valid yet"}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        certificate_destroy(rig->server);
        rig->server = certificate_create(
            &(struct certificate_wish){.from_s = cases[i].from_s, .to_s = cases[i].to_s});
        const struct certificate *chain[] = {rig->server, NULL};
        certificate_write(rig->chain, chain);
        certificate_write_key(rig->key, rig->server, NULL);
        assert_logged(rig, cases[i].warning, rig->chain);
    }
}

static void authorities_and_lists_that_are_too_old_are_warned_of(void **state)
{
    struct tls_rig *rig = *state;
    struct certificate *old = certificate_create(&(struct certificate_wish){
        .common_name = "old", .is_authority = true, .from_s = -7200, .to_s = -3600});
    const struct certificate *authorities[] = {rig->root, old, NULL};
    rig->settings.client_auth = TLS_CLIENT_AUTH_REQUIRED;
    assert_logged(rig, NULL, NULL);
    certificate_add_old_list(rig->client_crl, rig->root);
    rig->settings.client_crl = rig->client_crl;
    assert_logged(rig, "a revocation list is out of date", rig->client_crl);
    certificate_write(rig->client_ca, authorities);
    assert_logged(rig, "an authority for clients has expired", rig->client_ca);
    certificate_destroy(old);
}

static void a_reload_serves_new_clients_and_keeps_the_old(void **state)
{
    struct tls_rig *rig = *state;
    struct tls_context *old = tls_rig_context(rig);
    struct tls_context *fresh = NULL;
    struct text error = {0};
    struct tls_link before;
    struct tls_link after;
    tls_link_connect(&before, old, &(struct tls_client){.version = 0});
    tls_rig_new_server(rig, "RSA");
    assert_int_equal(tls_context_reload(old, &rig->settings, &fresh, &error), ERR_OK);
    tls_context_unref(old);
    tls_link_connect(&after, fresh, &(struct tls_client){.version = 0});
    assert_link_works(&before);
    assert_link_works(&after);
    X509 *shown = SSL_get0_peer_certificate(after.client);
    assert_int_equal(X509_cmp(shown, rig->server->x509), 0);
    assert_int_not_equal(X509_cmp(SSL_get0_peer_certificate(before.client), shown), 0);
    /* the chain goes with it */
    assert_int_equal(sk_X509_num(SSL_get_peer_cert_chain(after.client)), 2);
    tls_link_close(&before);
    tls_link_close(&after);
    tls_context_unref(fresh);
}

static void a_bad_reload_leaves_the_old_as_it_is(void **state)
{
    struct tls_rig *rig = *state;
    struct tls_context *old = tls_rig_context(rig);
    struct tls_context *fresh = NULL;
    struct text error = {0};
    struct tls_link link;
    write_text(rig->chain, "half a fi");
    assert_int_equal(tls_context_reload(old, &rig->settings, &fresh, &error), ERR_INVALID);
    assert_null(fresh);
    assert_in_text(error.data, rig->chain);
    tls_link_connect(&link, old, &(struct tls_client){.version = 0});
    assert_link_works(&link);
    tls_link_close(&link);
    tls_context_unref(old);
    text_fini(&error);
}

/* Each reload makes another context, in the life of one process. */
static void there_is_no_end_of_reloads(void **state)
{
    struct tls_rig *rig = *state;
    struct tls_context *context = tls_rig_context(rig);
    struct text error = {0};
    for (int i = 0; i < 300; i++) {
        struct tls_context *fresh = NULL;
        assert_int_equal(tls_context_reload(context, &rig->settings, &fresh, &error), ERR_OK);
        tls_context_unref(context);
        context = fresh;
    }
    struct tls_link link;
    tls_link_connect(&link, context, &(struct tls_client){.version = 0});
    assert_link_works(&link);
    tls_link_close(&link);
    tls_context_unref(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(a_file_that_is_missing_or_no_file_is_named),
        with_rig(a_file_without_what_it_should_have_is_named),
        with_rig(a_damaged_certificate_in_the_chain_is_an_error),
        with_rig(a_key_of_another_certificate_is_refused),
        with_rig(a_key_with_a_passphrase_is_refused),
        with_rig(words_that_openssl_does_not_know_are_named),
        with_rig(certificates_of_clients_need_authorities),
        with_rig(a_key_that_others_can_read_is_warned_of),
        with_rig(dates_of_the_certificate_are_warned_of),
        with_rig(authorities_and_lists_that_are_too_old_are_warned_of),
        with_rig(a_reload_serves_new_clients_and_keeps_the_old),
        with_rig(a_bad_reload_leaves_the_old_as_it_is),
        with_rig(there_is_no_end_of_reloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
