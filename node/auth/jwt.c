#include "node/auth/jwt.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/mem.h"
#include "node/auth/jwt_priv.h"

#define SIGNATURE_BYTES_MAX 1024u /* an RSA key has 8192 bits at most */

/* ---- a verifier ------------------------------------------------------------------------------ */

static char *copy_or(const char *text, const char *otherwise)
{
    const char *value = text != NULL && text[0] != '\0' ? text : otherwise;
    return value != NULL ? mem_copy_text(value, strlen(value)) : NULL;
}

enum err jwt_verifier_create(const struct jwt_settings *settings, struct jwt_verifier **out,
                             struct text *error)
{
    unsigned allowed = 0;
    enum err err = jwt__algorithms_read(settings->algorithms, &allowed, error);
    if (err != ERR_OK) {
        return err;
    }
    struct jwt_verifier *verifier = mem_alloc(sizeof(*verifier));
    err = jwt__keys_read(&verifier->keys, settings->key_file, allowed, error);
    if (err != ERR_OK) {
        mem_free(verifier);
        return err;
    }
    verifier->issuer = copy_or(settings->issuer, NULL);
    verifier->audience = copy_or(settings->audience, NULL);
    verifier->username_claim = copy_or(settings->username_claim, "sub");
    verifier->groups_claim = copy_or(settings->groups_claim, "groups");
    verifier->acl_claim = copy_or(settings->acl_claim, "acl");
    *out = verifier;
    return ERR_OK;
}

void jwt_verifier_destroy(struct jwt_verifier *verifier)
{
    if (verifier == NULL) {
        return;
    }
    jwt__keys_fini(&verifier->keys);
    mem_free(verifier->issuer);
    mem_free(verifier->audience);
    mem_free(verifier->username_claim);
    mem_free(verifier->groups_claim);
    mem_free(verifier->acl_claim);
    mem_free(verifier);
}

void jwt_claims_fini(struct jwt_claims *claims)
{
    text_fini(&claims->username);
    grants_fini(&claims->grants);
}

/* ---- a token --------------------------------------------------------------------------------- */

struct token {
    struct slice header;
    struct slice payload;
    struct slice signature;
    struct slice message; /* what is signed: header and payload as they came */
};

/* Three parts with dots between. */
static bool split(struct slice text, struct token *token)
{
    if (text.len == 0 || text.len > JWT_TOKEN_MAX) {
        return false;
    }
    const uint8_t *first = memchr(text.data, '.', text.len);
    const uint8_t *last = memrchr(text.data, '.', text.len);
    if (first == NULL || first == last) {
        return false;
    }
    const uint8_t *end = text.data + text.len;
    token->header = slice_of(text.data, (size_t)(first - text.data));
    token->payload = slice_of(first + 1, (size_t)(last - first - 1));
    token->signature = slice_of(last + 1, (size_t)(end - last - 1));
    token->message = slice_of(text.data, (size_t)(last - text.data));
    return true;
}

/* The JSON object that `part` holds in base64url; NULL: none. Decodes into `buffer`. */
static json_t *object_of(struct slice part, uint8_t *buffer)
{
    size_t len = 0;
    if (!base64_read(part, BASE64_URL, buffer, part.len, &len)) {
        return NULL;
    }
    json_t *json = json_loadb((const char *)buffer, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* Tokens of other kinds (of a log out, of an event) must not pass for access tokens. */
static bool is_access_type(const json_t *header)
{
    const json_t *type = json_object_get(header, "typ");
    const char *word = json_string_value(type);
    if (type == NULL) {
        return true;
    }
    if (word == NULL) {
        return false;
    }
    word += strncasecmp(word, "application/", 12) == 0 ? 12 : 0;
    return strcasecmp(word, "JWT") == 0 || strcasecmp(word, "at+jwt") == 0;
}

static enum err judge_header(const json_t *header, enum jwt_algorithm *algorithm, const char **why)
{
    const json_t *word = json_object_get(header, "alg");
    if (!jwt__algorithm_named(slice_of(json_string_value(word), json_string_length(word)),
                              algorithm)) {
        *why = "the token has an algorithm that is not taken";
        return ERR_INVALID;
    }
    if (json_object_get(header, "crit") != NULL) {
        *why = "the token needs an extension";
        return ERR_INVALID;
    }
    if (!is_access_type(header)) {
        *why = "the token is of another kind";
        return ERR_INVALID;
    }
    return ERR_OK;
}

static bool is_signed(const struct jwt_verifier *verifier, enum jwt_algorithm algorithm,
                      struct slice message, struct slice signature)
{
    for (size_t i = 0; i < verifier->keys.count; i++) {
        const struct jwt_key *key = &verifier->keys.items[i];
        if (key->algorithm == algorithm && jwt__key_verify(key, message, signature)) {
            return true;
        }
    }
    return false;
}

static enum err judge_signature(const struct jwt_verifier *verifier, const struct token *token,
                                enum jwt_algorithm algorithm, const char **why)
{
    uint8_t signature[SIGNATURE_BYTES_MAX];
    size_t len = 0;
    if (!base64_read(token->signature, BASE64_URL, signature, sizeof(signature), &len) ||
        !is_signed(verifier, algorithm, token->message, slice_of(signature, len))) {
        *why = "the signature of the token is not right";
        return ERR_INVALID;
    }
    return ERR_OK;
}

/* Nothing of the payload is looked at before the signature is known to be right. */
static enum err judge(const struct jwt_verifier *verifier, const struct token *token,
                      enum jwt_algorithm algorithm, uint8_t *buffer, uint64_t now_ms,
                      struct jwt_claims *claims, const char **why)
{
    enum err err = judge_signature(verifier, token, algorithm, why);
    if (err != ERR_OK) {
        return err;
    }
    json_t *payload = object_of(token->payload, buffer);
    if (payload == NULL) {
        *why = "the claims of the token are no JSON object";
        return ERR_INVALID;
    }
    err = jwt__claims_judge(verifier, payload, now_ms, claims, why);
    json_decref(payload);
    return err;
}

enum err jwt_verify(const struct jwt_verifier *verifier, struct slice text, uint64_t now_ms,
                    struct jwt_claims *claims, const char **why)
{
    struct token token;
    if (!split(text, &token) || token.header.len > JWT_HEADER_MAX) {
        return ERR_SYNTAX;
    }
    uint8_t *buffer = mem_try_alloc(text.len);
    if (buffer == NULL) {
        return ERR_MEMORY;
    }
    enum err err = ERR_SYNTAX;
    json_t *header = object_of(token.header, buffer);
    if (header != NULL) {
        enum jwt_algorithm algorithm = JWT_ALGORITHM_COUNT;
        err = judge_header(header, &algorithm, why);
        json_decref(header);
        if (err == ERR_OK) {
            err = judge(verifier, &token, algorithm, buffer, now_ms, claims, why);
        }
    }
    mem_free(buffer);
    return err;
}
