#include "node/auth/scram_priv.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "base/base64.h"
#include "base/mem.h"
#include "codec/topic.h"
#include "node/auth/scram_keys_priv.h"

#define NONCE_MAX 512
#define HEADER_BYTES_MAX 96
#define SERVER_NONCE_BYTES 18

/*
 * Invariants:
 *   `said` is what both sides sign, as far as it was said: client-first-message-bare, then a comma
 *   and server-first-message; `nonce` is both parts of it.
 */
struct scram {
    struct text header; /* gs2-header */
    struct text said;
    struct text nonce;
    struct text username;
    struct text authorization;
    struct password_hash keys;
    bool known;
    bool challenged;
};

static const char bad_message[] = "malformed SCRAM message";

/* ---- life ------------------------------------------------------------------------------------ */

static struct slice slice_of_text(const struct text *text)
{
    return slice_of(text->data, text->len);
}

void scram_destroy(struct scram *scram)
{
    if (scram == NULL) {
        return;
    }
    text_fini(&scram->header);
    text_fini(&scram->said);
    text_fini(&scram->nonce);
    text_fini(&scram->username);
    text_fini(&scram->authorization);
    OPENSSL_cleanse(scram, sizeof(*scram));
    mem_free(scram);
}

struct slice scram_username(const struct scram *scram)
{
    return slice_of_text(&scram->username);
}

struct slice scram_authorization(const struct scram *scram)
{
    return slice_of_text(&scram->authorization);
}

/* ---- parts of messages ----------------------------------------------------------------------- */

/* Cuts off what stands before the next comma, or all. */
static struct slice next_part(struct slice *rest)
{
    const uint8_t *comma = rest->len > 0 ? memchr(rest->data, ',', rest->len) : NULL;
    size_t len = comma != NULL ? (size_t)(comma - rest->data) : rest->len;
    struct slice part = slice_of(rest->data, len);
    *rest = slice_from(*rest, comma != NULL ? len + 1 : len);
    return part;
}

/* The value of `part` if it is `name`=value. */
static bool read_attribute(struct slice part, char name, struct slice *value)
{
    if (part.len < 2 || part.data[0] != (uint8_t)name || part.data[1] != '=') {
        return false;
    }
    *value = slice_from(part, 2);
    return true;
}

/* A name, in which =2C is a comma and =3D is =. */
static bool read_name(struct slice text, struct text *name)
{
    if (!utf8_valid(text)) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        struct slice rest = slice_from(text, i);
        if (text.data[i] != '=') {
            text_add_bytes(name, &text.data[i], 1);
        } else if (slice_starts_with(rest, "=2C")) {
            text_add(name, ",");
            i += 2;
        } else if (slice_starts_with(rest, "=3D")) {
            text_add(name, "=");
            i += 2;
        } else {
            return false;
        }
    }
    return name->len > 0;
}

/* Printable ASCII but the comma. */
static bool is_nonce(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f || text.data[i] == ',') {
            return false;
        }
    }
    return text.len > 0 && text.len <= NONCE_MAX;
}

/* ---- the client's first message -------------------------------------------------------------- */

/* gs2-header: n,, or n,a=name, and the same with y. */
static const char *read_header(struct slice *rest, struct scram *scram)
{
    struct slice flag = next_part(rest);
    struct slice authorization = next_part(rest);
    struct slice name;
    if (slice_starts_with(flag, "p=")) {
        return "SCRAM with channel binding is not offered";
    }
    if (!slice_equal(flag, slice_text("n")) && !slice_equal(flag, slice_text("y"))) {
        return bad_message;
    }
    if (authorization.len > 0 &&
        (!read_attribute(authorization, 'a', &name) || !read_name(name, &scram->authorization))) {
        return bad_message;
    }
    return NULL;
}

/* n=name,r=nonce, and extensions, which are skipped. One that must be understood comes first. */
static const char *read_bare(struct slice rest, struct scram *scram)
{
    struct slice name;
    struct slice nonce;
    text_add_bytes(&scram->said, rest.data, rest.len);
    struct slice first = next_part(&rest);
    if (slice_starts_with(first, "m=")) {
        return "unknown SCRAM extension";
    }
    if (!read_attribute(first, 'n', &name) || !read_name(name, &scram->username) ||
        !read_attribute(next_part(&rest), 'r', &nonce) || !is_nonce(nonce)) {
        return bad_message;
    }
    text_add_bytes(&scram->nonce, nonce.data, nonce.len);
    return NULL;
}

const char *scram_create(struct slice client_first, struct scram **out)
{
    if (client_first.len == 0 || client_first.len > SCRAM_MESSAGE_MAX) {
        return bad_message;
    }
    struct scram *scram = mem_alloc(sizeof(*scram));
    struct slice rest = client_first;
    const char *wrong = read_header(&rest, scram);
    if (wrong == NULL && client_first.len - rest.len > HEADER_BYTES_MAX) {
        wrong = "SCRAM authorization identity too long";
    }
    if (wrong == NULL) {
        text_add_bytes(&scram->header, client_first.data, client_first.len - rest.len);
        wrong = read_bare(rest, scram);
    }
    if (wrong != NULL) {
        scram_destroy(scram);
        return wrong;
    }
    *out = scram;
    return NULL;
}

/* ---- the server's first message -------------------------------------------------------------- */

static bool add_nonce(struct scram *scram, struct slice nonce)
{
    uint8_t bytes[SERVER_NONCE_BYTES];
    if (nonce.len > 0) {
        text_add_bytes(&scram->nonce, nonce.data, nonce.len);
        return true;
    }
    if (RAND_bytes(bytes, sizeof(bytes)) != 1) {
        return false;
    }
    base64_add(&scram->nonce, slice_of(bytes, sizeof(bytes)), BASE64_PADDED);
    return true;
}

const char *scram_challenge(struct scram *scram, const struct password_hash *keys, bool known,
                            struct slice nonce, struct text *server_first)
{
    ASSERT(keys->kind == PASSWORD_SCRAM && !scram->challenged);
    if (!add_nonce(scram, nonce)) {
        return "no random numbers";
    }
    scram->keys = *keys;
    scram->known = known;
    scram->challenged = true;
    text_printf(server_first, "r=%s,s=", scram->nonce.data);
    base64_add(server_first, slice_of(keys->salt, keys->salt_len), BASE64_PADDED);
    text_printf(server_first, ",i=%u", keys->cost[0]);
    text_add(&scram->said, ",");
    text_add_bytes(&scram->said, server_first->data, server_first->len);
    return NULL;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* c=header,r=nonce, extensions, p=proof. `signed_part` is what stands before ",p=". */
static bool read_final(const struct scram *scram, struct slice text, struct slice *signed_part,
                       uint8_t proof[static SCRAM_KEY_LEN])
{
    struct slice rest = text;
    struct slice binding;
    struct slice nonce;
    struct slice last = {0};
    size_t len = 0;
    if (!read_attribute(next_part(&rest), 'c', &binding) ||
        !read_attribute(next_part(&rest), 'r', &nonce) ||
        !slice_equal(nonce, slice_of_text(&scram->nonce))) {
        return false;
    }
    while (rest.len > 0) {
        last = next_part(&rest);
    }
    if (!read_attribute(last, 'p', &last) || last.data + last.len != text.data + text.len ||
        !base64_read(last, BASE64_PADDED, proof, SCRAM_KEY_LEN, &len) || len != SCRAM_KEY_LEN) {
        return false;
    }
    uint8_t header[HEADER_BYTES_MAX];
    *signed_part = slice_of(text.data, (size_t)(last.data - text.data) - strlen(",p="));
    return base64_read(binding, BASE64_PADDED, header, sizeof(header), &len) &&
           slice_equal(slice_of(header, len), slice_of_text(&scram->header));
}

static const char *sign(const struct scram *scram, const struct text *message,
                        struct text *server_final)
{
    uint8_t signature[SCRAM_KEY_LEN];
    if (!scram_sign(scram->keys.key + SCRAM_KEY_LEN, slice_of_text(message), signature)) {
        return "no memory";
    }
    text_add(server_final, "v=");
    base64_add(server_final, slice_of(signature, sizeof(signature)), BASE64_PADDED);
    return NULL;
}

const char *scram_finish(struct scram *scram, struct slice client_final, struct text *server_final)
{
    struct slice signed_part;
    uint8_t proof[SCRAM_KEY_LEN];
    if (!scram->challenged || client_final.len > SCRAM_MESSAGE_MAX ||
        !read_final(scram, client_final, &signed_part, proof)) {
        return bad_message;
    }
    struct text message = {0};
    text_add_bytes(&message, scram->said.data, scram->said.len);
    text_add(&message, ",");
    text_add_bytes(&message, signed_part.data, signed_part.len);
    bool fits = scram_proof_fits(scram->keys.key, slice_of_text(&message), proof);
    const char *wrong =
        fits && scram->known ? sign(scram, &message, server_final) : "wrong user name or password";
    text_fini(&message);
    return wrong;
}

void scram_make_up(struct slice secret, struct slice username, uint32_t iterations,
                   uint8_t salt_len, struct password_hash *keys)
{
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    unsigned len = 0;
    HMAC(EVP_sha512(), secret.data, (int)secret.len, username.data, username.len, digest, &len);
    *keys = (struct password_hash){.kind = PASSWORD_SCRAM, .cost = {iterations}};
    keys->salt_len = salt_len <= PASSWORD_SALT_MAX ? salt_len : PASSWORD_SALT_MAX;
    memcpy(keys->salt, digest, keys->salt_len);
    keys->key_len = PASSWORD_KEY_MAX;
}
