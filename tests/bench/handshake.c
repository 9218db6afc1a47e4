/*
 * handshake: what OpenSSL alone needs for the server's side of a TLS handshake: no socket, no
 * broker. A client in the same thread does the other half; only the server's calls are timed.
 *
 * Owns      both ends.
 * Thread    main.
 * Errors    loop_fail(), with OpenSSL's words.
 *
 * The settings are those of a broker: X25519 or P-256, tickets, no certificate of the client. With
 * --resume each client comes back with the ticket of the one before.
 */
#include "tests/bench/scenario.h"

#include <time.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

enum { PIPE_BYTES = 32 * 1024, ROUNDS_MAX = 20 };

struct pair {
    struct bench *bench;
    SSL_CTX *server_context;
    SSL_CTX *client_context;
    SSL_SESSION *session;
    uint64_t server_ns;
    uint64_t count;
    uint64_t resumed;
};

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static bool fail(struct pair *pair, const char *what)
{
    unsigned long code = ERR_get_error();
    const char *why = code != 0 ? ERR_reason_error_string(code) : NULL;
    loop_fail(&pair->bench->loop, "%s: %s", what, why != NULL ? why : "no reason given");
    return false;
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct pair *pair = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    SSL_SESSION_free(pair->session);
    pair->session = session;
    return 1;
}

static bool set_up(struct pair *pair)
{
    const struct options *options = pair->bench->options;
    int version = options->tls_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION;
    pair->server_context = SSL_CTX_new(TLS_server_method());
    pair->client_context = SSL_CTX_new(TLS_client_method());
    if (pair->server_context == NULL || pair->client_context == NULL) {
        return fail(pair, "OpenSSL");
    }
    if (SSL_CTX_use_certificate_chain_file(pair->server_context, options->certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(pair->server_context, options->private_key, SSL_FILETYPE_PEM) !=
            1 ||
        SSL_CTX_set1_groups_list(pair->server_context, "X25519:P-256") != 1 ||
        SSL_CTX_set_min_proto_version(pair->client_context, version) != 1 ||
        SSL_CTX_set_max_proto_version(pair->client_context, version) != 1) {
        return fail(pair, "certificate and key");
    }
    /* Tickets only, as with a broker: a cache would be work for nothing. */
    SSL_CTX_set_session_cache_mode(pair->server_context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_cache_mode(pair->client_context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_set_app_data(pair->client_context, pair);
    SSL_CTX_sess_set_new_cb(pair->client_context, on_new_session);
    return true;
}

static bool is_done(SSL *ssl, int result)
{
    return result == 1 || SSL_get_error(ssl, result) == SSL_ERROR_WANT_READ;
}

/* Lets both ends speak in turn. The tickets come to the client behind the handshake. */
static bool shake_hands(struct pair *pair, SSL *server, SSL *client)
{
    for (int round = 0; round < ROUNDS_MAX && !SSL_is_init_finished(server); round++) {
        if (!is_done(client, SSL_do_handshake(client))) {
            return fail(pair, "the client's side of a handshake");
        }
        uint64_t start_ns = cpu_ns();
        int result = SSL_do_handshake(server);
        pair->server_ns += cpu_ns() - start_ns;
        if (!is_done(server, result)) {
            return fail(pair, "the server's side of a handshake");
        }
    }
    char nothing;
    bool is_quiet = is_done(client, SSL_read(client, &nothing, 1));
    return (is_quiet && SSL_is_init_finished(client)) || fail(pair, "an unfinished handshake");
}

static bool connect_once(struct pair *pair)
{
    BIO *server_end = NULL;
    BIO *client_end = NULL;
    SSL *client = SSL_new(pair->client_context);
    uint64_t start_ns = cpu_ns();
    SSL *server = SSL_new(pair->server_context);
    pair->server_ns += cpu_ns() - start_ns;
    bool is_good = client != NULL && server != NULL &&
                   BIO_new_bio_pair(&server_end, PIPE_BYTES, &client_end, PIPE_BYTES) == 1;
    if (is_good) {
        SSL_set_bio(server, server_end, server_end);
        SSL_set_bio(client, client_end, client_end);
        SSL_set_accept_state(server);
        SSL_set_connect_state(client);
        if (pair->bench->options->resume && pair->session != NULL) {
            SSL_set_session(client, pair->session);
        }
        is_good = shake_hands(pair, server, client);
        pair->resumed += is_good && SSL_session_reused(server) == 1;
        SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(client);
    start_ns = cpu_ns();
    SSL_free(server);
    pair->server_ns += cpu_ns() - start_ns;
    pair->count += is_good;
    return is_good;
}

static void repeat(struct pair *pair, uint64_t ms)
{
    struct loop *loop = &pair->bench->loop;
    uint64_t end_ns = loop_clock(loop) + ms * NS_PER_MS;
    while (loop_clock(loop) < end_ns && connect_once(pair)) {
    }
}

void handshake_run(struct bench *bench)
{
    struct pair pair = {.bench = bench};
    bench->outcome.unit = "handshake";
    if (set_up(&pair)) {
        repeat(&pair, bench->options->warmup_ms);
        pair.server_ns = pair.count = pair.resumed = 0;
        scenario_begin(bench);
        repeat(&pair, bench->options->duration_ms);
        scenario_end(bench, pair.count);
        /* The server's side stands for the broker, and isn't the generator's. */
        bench->outcome.span.broker_ns = pair.server_ns;
        bench->outcome.span.own_ns -= pair.server_ns < bench->outcome.span.own_ns
                                          ? pair.server_ns
                                          : bench->outcome.span.own_ns;
        bench->outcome.handshakes = pair.count;
        bench->outcome.resumed = pair.resumed;
    }
    SSL_SESSION_free(pair.session);
    SSL_CTX_free(pair.client_context);
    SSL_CTX_free(pair.server_context);
}
