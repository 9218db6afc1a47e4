#include "node/tls/tls.h"

#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <sys/resource.h>

#include "base/log.h"

/*
 * OpenSSL keeps private keys in its secure heap: apart, locked where the system allows it, and left
 * out of core dumps. The one-time key of a handshake stays there as long as its connection, and
 * once the heap is full handshakes fail: so it grows with the connections that there can be. Its
 * pages take memory only when they are used.
 */
#define SECURE_BLOCK_BYTES 32u
#define SECURE_CONNECTION_BYTES 64u /* a key of X25519 or P-256, and some room */
#define SECURE_HEAP_MIN (1024u * 1024u)
#define SECURE_HEAP_MAX (256u * 1024u * 1024u)

static size_t secure_heap_bytes(void)
{
    struct rlimit files;
    size_t bytes = SECURE_HEAP_MIN;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0) {
        return bytes;
    }
    while (bytes < SECURE_HEAP_MAX && bytes / SECURE_CONNECTION_BYTES < files.rlim_max) {
        bytes *= 2;
    }
    return bytes;
}

void tls_init(void)
{
    OPENSSL_init_ssl(0, NULL);
    size_t bytes = secure_heap_bytes();
    /* 1: locked. 2: not locked, which small limits and containers bring about; the rest holds. */
    int done = CRYPTO_secure_malloc_init(bytes, SECURE_BLOCK_BYTES);
    log_debug(LOG_TLS, "secure heap for keys", log_uint("bytes", bytes),
              log_text("locked", done == 1 ? "true" : "false"));
}
