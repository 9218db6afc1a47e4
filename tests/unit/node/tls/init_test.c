#include "tests/unit/node/tls/tls_support.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* Keys are in a heap of their own, which no core dump has. */

#define FLAGS_SIZE 512

/* The flags of the mapping that `address` lies in, as the system tells them; "" for none. */
static void mapping_flags(const void *address, char flags[static FLAGS_SIZE])
{
    char line[FLAGS_SIZE];
    bool within = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    flags[0] = '\0';
    while (flags[0] == '\0' && fgets(line, sizeof(line), file) != NULL) {
        unsigned long from;
        unsigned long to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2) {
            within = (uintptr_t)address >= from && (uintptr_t)address < to;
        } else if (within && strncmp(line, "VmFlags:", 8) == 0) {
            strcpy(flags, line + 8);
        }
    }
    fclose(file);
}

static void private_keys_are_left_out_of_core_dumps(void **state)
{
    char flags[FLAGS_SIZE];
    tls_context_unref(tls_rig_context(*state)); /* random numbers of this thread stay */
    size_t before = CRYPTO_secure_used();
    struct tls_context *context = tls_rig_context(*state);
    /* 32 bytes of the key of P-256, and two ticket keys at least */
    assert_true(CRYPTO_secure_used() >= before + 32 + 2 * 64);
    void *secret = OPENSSL_secure_malloc(32);
    assert_int_equal(CRYPTO_secure_allocated(secret), 1);
    mapping_flags(secret, flags);
    assert_non_null(strstr(flags, " dd")); /* MADV_DONTDUMP */
    OPENSSL_secure_free(secret);
    mapping_flags(*state, flags); /* other memory is in there */
    assert_non_null(strstr(flags, " rd"));
    assert_null(strstr(flags, " dd"));
    tls_context_unref(context);
    assert_int_equal(CRYPTO_secure_used(), before);
}

/* 1.3 keeps the one-time key of a handshake as long as the connection. */
static void a_thousand_connections_have_room_there(void **state)
{
    enum { COUNT = 1000 };
    struct tls_context *context = tls_rig_context(*state);
    struct tls_link *links = mem_alloc_array(COUNT, sizeof(*links));
    size_t before = CRYPTO_secure_used();
    for (int i = 0; i < COUNT; i++) {
        tls_link_connect(&links[i], context, &(struct tls_client){.version = TLS1_3_VERSION});
        assert_true(tls_stream_ready(links[i].stream));
    }
    assert_true((CRYPTO_secure_used() - before) / COUNT <= 2 * 64); /* the clients' are there too */
    for (int i = 0; i < COUNT; i++) {
        tls_link_close(&links[i]);
    }
    assert_int_equal(CRYPTO_secure_used(), before);
    mem_free(links);
    tls_context_unref(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_rig(private_keys_are_left_out_of_core_dumps),
        with_rig(a_thousand_connections_have_room_there),
    };
    tls_init();
    assert_int_equal(CRYPTO_secure_malloc_initialized(), 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
