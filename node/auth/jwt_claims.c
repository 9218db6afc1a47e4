#include <jansson.h>
#include <string.h>

#include "node/auth/jwt_priv.h"

/* The last second of the year 9999. */
#define DATE_MAX 253402300799.0

static struct slice string_of(const json_t *json)
{
    return slice_of(json_string_value(json), json_string_length(json));
}

static bool is_text(const json_t *json, const char *text)
{
    return json_is_string(json) && slice_equal(string_of(json), slice_text(text));
}

/* Milliseconds of a date of RFC 7519: seconds, possibly with a fraction. `*ms` keeps its value when
 * there is no such claim. */
static bool read_date(const json_t *payload, const char *name, uint64_t *ms)
{
    const json_t *json = json_object_get(payload, name);
    if (json == NULL) {
        return true;
    }
    double seconds = json_number_value(json);
    if (!json_is_number(json) || !(seconds >= 0) || seconds > DATE_MAX) {
        return false;
    }
    *ms = (uint64_t)(seconds * 1000);
    return true;
}

static enum err judge_dates(const json_t *payload, uint64_t now_ms, struct jwt_claims *claims,
                            const char **why)
{
    uint64_t expires_ms = UINT64_MAX - JWT_LEEWAY_MS, not_before_ms = 0, issued_ms = 0;
    if (!read_date(payload, "exp", &expires_ms) || !read_date(payload, "nbf", &not_before_ms) ||
        !read_date(payload, "iat", &issued_ms)) {
        *why = "a date of the token is not usable";
        return ERR_INVALID;
    }
    if (expires_ms + JWT_LEEWAY_MS <= now_ms) {
        *why = "the token has expired";
        return ERR_INVALID;
    }
    if (not_before_ms > now_ms + JWT_LEEWAY_MS || issued_ms > now_ms + JWT_LEEWAY_MS) {
        *why = "the token is of the future";
        return ERR_INVALID;
    }
    claims->expires_at_ms = expires_ms + JWT_LEEWAY_MS;
    return ERR_OK;
}

/* One audience, or several of which one must be ours. */
static bool is_for_us(const json_t *audience, const char *us)
{
    if (json_is_array(audience)) {
        for (size_t i = 0; i < json_array_size(audience); i++) {
            if (is_text(json_array_get(audience, i), us)) {
                return true;
            }
        }
    }
    return is_text(audience, us);
}

static enum err judge_origin(const struct jwt_verifier *verifier, const json_t *payload,
                             const char **why)
{
    if (verifier->issuer != NULL && !is_text(json_object_get(payload, "iss"), verifier->issuer)) {
        *why = "the token is of another issuer";
        return ERR_INVALID;
    }
    if (verifier->audience != NULL &&
        !is_for_us(json_object_get(payload, "aud"), verifier->audience)) {
        *why = "the token is for another audience";
        return ERR_INVALID;
    }
    return ERR_OK;
}

static enum err take_username(const struct jwt_verifier *verifier, const json_t *payload,
                              struct jwt_claims *claims, const char **why)
{
    struct slice name = string_of(json_object_get(payload, verifier->username_claim));
    if (name.len == 0 || name.len > JWT_USERNAME_MAX) {
        *why = "the token has no user name";
        return ERR_INVALID;
    }
    text_add_bytes(&claims->username, name.data, name.len);
    return ERR_OK;
}

static enum err take_grants(const struct jwt_verifier *verifier, const json_t *payload,
                            struct jwt_claims *claims, const char **why)
{
    enum err err = grants_add_json_groups(&claims->grants,
                                          json_object_get(payload, verifier->groups_claim), why);
    if (err == ERR_OK) {
        err = grants_add_json_rules(&claims->grants, json_object_get(payload, verifier->acl_claim),
                                    why);
    }
    return err == ERR_SYNTAX ? ERR_INVALID : err;
}

enum err jwt__claims_judge(const struct jwt_verifier *verifier, json_t *payload, uint64_t now_ms,
                           struct jwt_claims *out, const char **why)
{
    struct jwt_claims claims = {.expires_at_ms = UINT64_MAX};
    enum err err = judge_dates(payload, now_ms, &claims, why);
    if (err == ERR_OK) {
        err = judge_origin(verifier, payload, why);
    }
    if (err == ERR_OK) {
        err = take_username(verifier, payload, &claims, why);
    }
    if (err == ERR_OK) {
        err = take_grants(verifier, payload, &claims, why);
    }
    if (err != ERR_OK) {
        jwt_claims_fini(&claims);
        return err;
    }
    *out = claims;
    return ERR_OK;
}
