/*
 * Input: client-first-message, a line feed, client-final-message.
 *
 * What is accepted as a first message has a user name; the challenge has the client's nonce in
 * front; nobody gets in, because nobody can guess the key.
 */
#include "node/auth/scram_priv.h"
#include "tests/fuzz/fuzz.h"

static const char salt[] = "0123456789abcdef";

static struct password_hash secret_keys(void)
{
    struct password_hash hash = {
        .kind = PASSWORD_SCRAM, .cost = {4096}, .salt_len = 16, .key_len = 64};
    memcpy(hash.salt, salt, 16);
    memset(hash.key, 0x5a, sizeof(hash.key));
    return hash;
}

static void try_final(struct scram *scram, struct slice client_final)
{
    struct text server_first = {0};
    struct text server_final = {0};
    struct password_hash keys = secret_keys();
    ASSERT(scram_username(scram).len > 0);
    ASSERT(scram_challenge(scram, &keys, true, slice_text("server"), &server_first) == NULL);
    ASSERT(server_first.len > 2 && memcmp(server_first.data, "r=", 2) == 0);
    ASSERT(strstr(server_first.data, "server,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096") != NULL);
    ASSERT(scram_finish(scram, client_final, &server_final) != NULL);
    ASSERT(server_final.len == 0);
    text_fini(&server_first);
    text_fini(&server_final);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const uint8_t *newline = len > 0 ? memchr(data, '\n', len) : NULL;
    size_t first_len = newline != NULL ? (size_t)(newline - data) : len;
    size_t final_len = newline != NULL ? len - first_len - 1 : 0;
    uint8_t *first = fuzz_copy(slice_of(data, first_len));
    uint8_t *final = fuzz_copy(slice_of(data + len - final_len, final_len));
    struct scram *scram = NULL;
    if (scram_create(slice_of(first, first_len), &scram) == NULL) {
        try_final(scram, slice_of(final, final_len));
        scram_destroy(scram);
    }
    free(first);
    free(final);
    return 0;
}
