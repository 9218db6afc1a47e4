#include "node/tls/tls_priv.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

/*
 * Sessions are not kept here: the client keeps them, sealed in a ticket by a key that only this
 * process knows. Keys are used in turn: the newest seals, the older ones still open what they
 * sealed, for as long as a ticket lives.
 *
 * Invariants of a ring:
 *   keys[0 .. count - 1] are from the newest to the oldest;
 *   `policy` and the lock are there before the ring is shared; the lock guards the rest.
 */
#define RING_KEYS 3

static_assert((RING_KEYS - 1) * TLS_TICKET_KEY_SEALS_MS >= TLS_TICKET_KEY_LIFE_MS,
              "a key falls out of the ring only when it is too old");
static_assert(TLS_TICKET_KEY_SEALS_MS + TLS_TICKET_LIFE_S * 1000ull <= TLS_TICKET_KEY_LIFE_MS,
              "a key opens the last ticket that it sealed to the end");

struct tls_ticket_ring {
    _Atomic uint32_t refs;
    pthread_mutex_t lock; /* a leaf: held for a copy, or for 80 random bytes twice a day */
    uint8_t policy[TLS_POLICY_LEN];
    struct tls_ticket_key *keys; /* in the secure heap */
    uint32_t count;
};

struct tls_ticket_ring *tls__ring_create(const uint8_t policy[static TLS_POLICY_LEN])
{
    struct tls_ticket_key *keys = OPENSSL_secure_zalloc(RING_KEYS * sizeof(*keys));
    if (keys == NULL) {
        return NULL;
    }
    struct tls_ticket_ring *ring = mem_alloc(sizeof(*ring));
    atomic_init(&ring->refs, 1);
    pthread_mutex_init(&ring->lock, NULL);
    memcpy(ring->policy, policy, TLS_POLICY_LEN);
    ring->keys = keys;
    return ring;
}

struct tls_ticket_ring *tls__ring_follow(struct tls_ticket_ring *old,
                                         const uint8_t policy[static TLS_POLICY_LEN])
{
    if (memcmp(old->policy, policy, TLS_POLICY_LEN) != 0) {
        return tls__ring_create(policy);
    }
    atomic_fetch_add_explicit(&old->refs, 1, memory_order_relaxed);
    return old;
}

void tls__ring_unref(struct tls_ticket_ring *ring)
{
    if (ring != NULL && atomic_fetch_sub_explicit(&ring->refs, 1, memory_order_acq_rel) == 1) {
        OPENSSL_secure_clear_free(ring->keys, RING_KEYS * sizeof(*ring->keys));
        pthread_mutex_destroy(&ring->lock);
        mem_free(ring);
    }
}

static bool is_young(const struct tls_ticket_key *key, uint64_t now_ms, uint64_t age_ms)
{
    return now_ms < key->born_ms || now_ms - key->born_ms < age_ms;
}

/* Under the lock. */
static bool add_key(struct tls_ticket_ring *ring, uint64_t now_ms)
{
    struct tls_ticket_key fresh = {.born_ms = now_ms};
    bool done = RAND_bytes(fresh.name, sizeof(fresh.name)) == 1 &&
                RAND_priv_bytes(fresh.cipher_key, sizeof(fresh.cipher_key)) == 1 &&
                RAND_priv_bytes(fresh.mac_key, sizeof(fresh.mac_key)) == 1;
    if (done) {
        memmove(ring->keys + 1, ring->keys, (RING_KEYS - 1) * sizeof(fresh));
        ring->keys[0] = fresh;
        ring->count += ring->count < RING_KEYS ? 1 : 0;
    }
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return done;
}

bool tls__ring_seal_key(struct tls_ticket_ring *ring, uint64_t now_ms, struct tls_ticket_key *key)
{
    pthread_mutex_lock(&ring->lock);
    bool found = ring->count > 0 && is_young(&ring->keys[0], now_ms, TLS_TICKET_KEY_SEALS_MS);
    found = found || add_key(ring, now_ms);
    if (found) {
        *key = ring->keys[0];
    }
    pthread_mutex_unlock(&ring->lock);
    return found;
}

bool tls__ring_open_key(struct tls_ticket_ring *ring, uint64_t now_ms,
                        const uint8_t name[static TLS_TICKET_NAME_LEN], struct tls_ticket_key *key,
                        bool *renew)
{
    bool found = false;
    pthread_mutex_lock(&ring->lock);
    for (uint32_t i = 0; i < ring->count && !found; i++) {
        struct tls_ticket_key *known = &ring->keys[i];
        found = memcmp(known->name, name, TLS_TICKET_NAME_LEN) == 0 &&
                is_young(known, now_ms, TLS_TICKET_KEY_LIFE_MS);
        if (found) {
            *key = *known;
            *renew = !is_young(known, now_ms, TLS_TICKET_KEY_SEALS_MS);
        }
    }
    pthread_mutex_unlock(&ring->lock);
    return found;
}

/* What OpenSSL's callback for ticket keys answers. */
enum { KEY_FAILED = -1, KEY_NONE = 0, KEY_USED = 1, KEY_USED_RENEW = 2 };

static bool set_mac_key(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac_key, sizeof(key->mac_key)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params) == 1;
}

static int start_seal(struct tls_context *context, struct tls_ticket_key *key,
                      unsigned char name[TLS_TICKET_NAME_LEN], unsigned char *iv,
                      EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    if (!tls__ring_seal_key(context->tickets, clock_mono_ms(), key)) {
        return KEY_FAILED;
    }
    memcpy(name, key->name, TLS_TICKET_NAME_LEN);
    bool done =
        RAND_bytes(iv, EVP_CIPHER_get_iv_length(context->ticket_cipher)) == 1 &&
        EVP_EncryptInit_ex(cipher, context->ticket_cipher, NULL, key->cipher_key, iv) == 1 &&
        set_mac_key(mac, key);
    return done ? KEY_USED : KEY_FAILED;
}

static int start_open(struct tls_context *context, struct tls_ticket_key *key,
                      const unsigned char name[TLS_TICKET_NAME_LEN], const unsigned char *iv,
                      EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    bool renew = false;
    if (!tls__ring_open_key(context->tickets, clock_mono_ms(), name, key, &renew)) {
        return KEY_NONE;
    }
    bool done =
        EVP_DecryptInit_ex(cipher, context->ticket_cipher, NULL, key->cipher_key, iv) == 1 &&
        set_mac_key(mac, key);
    if (!done) {
        return KEY_FAILED;
    }
    return renew ? KEY_USED_RENEW : KEY_USED;
}

static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                         EVP_MAC_CTX *mac, int seal)
{
    struct tls_context *context = tls__stream_of(ssl)->context;
    struct tls_ticket_key key;
    int answer = seal != 0 ? start_seal(context, &key, name, iv, cipher, mac)
                           : start_open(context, &key, name, iv, cipher, mac);
    OPENSSL_cleanse(&key, sizeof(key));
    return answer;
}

/* Seconds since 1970; long ago where it can't be read. */
static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm parts;
    return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : INT64_MIN;
}

static struct tls_proof proof_now(SSL *ssl)
{
    struct tls_proof proof = {.proved_at = (int64_t)time(NULL), .good_until = INT64_MAX};
    STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t end = seconds_of(X509_get0_notAfter(sk_X509_value(chain, i)));
        proof.good_until = end < proof.good_until ? end : proof.good_until;
    }
    return proof;
}

bool tls__proof_holds(struct tls_proof proof, int64_t now)
{
    return now >= proof.proved_at && now - proof.proved_at < (int64_t)TLS_PROOF_LIFE_S &&
           now < proof.good_until;
}

/* A session that was resumed goes on with the proof that it has. */
static int on_new_ticket(SSL *ssl, void *user)
{
    (void)user;
    if (SSL_session_reused(ssl) == 1) {
        return 1;
    }
    struct tls_proof proof = proof_now(ssl);
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &proof, sizeof(proof));
}

static bool session_holds(SSL_SESSION *session)
{
    struct tls_proof proof;
    void *data = NULL;
    size_t len = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &data, &len) != 1 || len != sizeof(proof)) {
        return false;
    }
    memcpy(&proof, data, sizeof(proof));
    return tls__proof_holds(proof, (int64_t)time(NULL));
}

/*
 * A client without a good ticket is not refused: it makes a full handshake, and gets a new one.
 * [RFC 8446 C.4]: in 1.3 a ticket is for one use, so that nobody can tell visits of one client.
 */
static SSL_TICKET_RETURN on_old_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name,
                                       size_t name_len, SSL_TICKET_STATUS status, void *user)
{
    (void)name;
    (void)name_len;
    (void)user;
    bool good = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    if (!good || !session_holds(session)) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    bool renew = status == SSL_TICKET_SUCCESS_RENEW || SSL_version(ssl) == TLS1_3_VERSION;
    return renew ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

void tls__tickets_setup(SSL_CTX *ssl, uint32_t count)
{
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    if (count == 0) {
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ssl, 0);
        return;
    }
    SSL_CTX_set_num_tickets(ssl, count);
    SSL_CTX_set_timeout(ssl, (long)TLS_TICKET_LIFE_S);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl, on_ticket_key);
    SSL_CTX_set_session_ticket_cb(ssl, on_new_ticket, on_old_ticket, NULL);
}
