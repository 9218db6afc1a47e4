/*
 * Input: a byte that says in what pieces it comes, and whether certificates of clients are asked
 * for; then what a client sends before any key is agreed upon.
 *
 * Without a key nobody gets through: no plaintext comes out, and what goes out is bounded. Once it
 * has failed it stays so, with a word why.
 */
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <unistd.h>

#include "node/tls/tls.h"
#include "tests/fuzz/fuzz.h"

#define PIECE_MASK 0x3fu
#define ASKS_BIT 0x40u
#define ANSWER_MAX 8192u /* a flight of the server's, with its certificate, and alerts */

int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct tls_context *contexts[2]; /* the second asks for certificates of clients */

/* A key and a certificate that is signed by it, in one file. */
static void write_identity(const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    FILE *file = fopen(path, "w");
    ASSERT(key != NULL && certificate != NULL && file != NULL);
    X509_set_version(certificate, X509_VERSION_3);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 100L * 24 * 3600);
    X509_set_pubkey(certificate, key);
    ASSERT(X509_sign(certificate, key, EVP_sha256()) > 0);
    ASSERT(PEM_write_X509(file, certificate) == 1);
    ASSERT(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    ASSERT(fclose(file) == 0);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    char path[] = "/tmp/pulse-fuzz-tls-XXXXXX";
    int fd = mkstemp(path);
    ASSERT(fd >= 0 && close(fd) == 0);
    write_identity(path);
    for (size_t i = 0; i < ARRAY_COUNT(contexts); i++) {
        struct text error = {0};
        struct tls_settings settings = {
            .certificate_chain = path,
            .private_key = path,
            .client_ca = path,
            .client_auth = i == 0 ? TLS_CLIENT_AUTH_DISABLED : TLS_CLIENT_AUTH_REQUIRED,
            .alpn_mqtt = true,
            .session_tickets = 1,
        };
        ASSERT(tls_context_create(&settings, &contexts[i], &error) == ERR_OK);
    }
    ASSERT(unlink(path) == 0);
    return 0;
}

static void count(void *user, struct slice wire)
{
    size_t *bytes = user;
    *bytes += wire.len;
}

static enum tls_status feed(struct tls_stream *stream, struct slice bytes, size_t *answered)
{
    uint8_t plain[64];
    size_t len = 1;
    uint8_t *copy = fuzz_copy(bytes);
    struct slice wire = slice_of(copy, bytes.len);
    enum tls_status status =
        tls_stream_read(stream, &wire, plain, sizeof(plain), &len, count, answered);
    ASSERT(len == 0 && wire.len == 0);
    ASSERT(status == TLS_MORE || status == TLS_FAILED || status == TLS_CLOSED);
    ASSERT((status == TLS_FAILED) == (tls_stream_error(stream)[0] != '\0'));
    free(copy);
    return status;
}

static void check(struct tls_stream *stream, struct slice bytes, size_t piece)
{
    size_t answered = 0;
    enum tls_status status = TLS_MORE;
    for (size_t at = 0; at < bytes.len; at += piece) {
        size_t len = bytes.len - at < piece ? bytes.len - at : piece;
        enum tls_status next = feed(stream, slice_of(bytes.data + at, len), &answered);
        ASSERT(status == TLS_MORE || next == status);
        status = next;
    }
    ASSERT(answered <= ANSWER_MAX);
    ASSERT(!tls_stream_ready(stream) && !tls_stream_resumed(stream));
    ASSERT(!tls_stream_peer(stream)->verified);
    ASSERT(tls_stream_write(stream, slice_text("x"), count, &answered) == ERR_STOPPED);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    if (len == 0) {
        return 0;
    }
    size_t piece = data[0] & PIECE_MASK;
    struct tls_stream *stream = tls_stream_create(contexts[(data[0] & ASKS_BIT) != 0 ? 1 : 0]);
    ASSERT(stream != NULL);
    check(stream, slice_of(data + 1, len - 1), piece != 0 ? piece : len);
    tls_stream_destroy(stream);
    return 0;
}
