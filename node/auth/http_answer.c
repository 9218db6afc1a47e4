#include "node/auth/http_answer.h"

#include <jansson.h>

#define DATE_MAX 253402300799LL /* the last second of the year 9999 */
#define CACHE_S_MAX 86400
#define USERNAME_MAX 65535u

struct reading {
    struct http_answer *answer;
    const char **why;
};

static enum err refuse(const struct reading *reading, const char *why)
{
    *reading->why = why;
    return ERR_SYNTAX;
}

/* ---- members --------------------------------------------------------------------------------- */

static enum err read_result(const struct reading *reading, json_t *json)
{
    struct slice word = slice_of(json_string_value(json), json_string_length(json));
#define X(constant, name)                      \
    if (slice_equal(word, slice_text(name))) { \
        reading->answer->result = constant;    \
        return ERR_OK;                         \
    }
    HTTP_RESULTS(X)
#undef X
    return refuse(reading, "result is not allow, deny or ignore");
}

static enum err read_username(const struct reading *reading, json_t *json)
{
    size_t len = json_string_length(json);
    if (!json_is_string(json) || len == 0 || len > USERNAME_MAX) {
        return refuse(reading, "username is not a name");
    }
    text_add_bytes(&reading->answer->username, json_string_value(json), len);
    return ERR_OK;
}

static enum err read_groups(const struct reading *reading, json_t *json)
{
    return grants_add_json_groups(&reading->answer->grants, json, reading->why);
}

static enum err read_acl(const struct reading *reading, json_t *json)
{
    return grants_add_json_rules(&reading->answer->grants, json, reading->why);
}

static enum err read_expires_at(const struct reading *reading, json_t *json)
{
    json_int_t seconds = json_integer_value(json);
    if (!json_is_integer(json) || seconds < 0 || seconds > DATE_MAX) {
        return refuse(reading, "expires_at is not in seconds since 1970");
    }
    reading->answer->expires = true;
    reading->answer->expires_at_ms = (uint64_t)seconds * 1000;
    return ERR_OK;
}

static enum err read_cache(const struct reading *reading, json_t *json)
{
    json_int_t seconds = json_integer_value(json);
    if (!json_is_integer(json) || seconds < 0 || seconds > CACHE_S_MAX) {
        return refuse(reading, "cache is not in seconds, up to a day");
    }
    reading->answer->cache_given = true;
    reading->answer->cache_ms = (uint64_t)seconds * 1000;
    return ERR_OK;
}

static const struct {
    const char *name;
    enum err (*read)(const struct reading *reading, json_t *json);
} members[] = {
    {"result", read_result}, {"username", read_username},     {"groups", read_groups},
    {"acl", read_acl},       {"expires_at", read_expires_at}, {"cache", read_cache},
};

/* ---- an answer ------------------------------------------------------------------------------- */

static enum err read_member(const struct reading *reading, const char *name, json_t *json)
{
    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        if (strcmp(name, members[i].name) == 0) {
            return json_is_null(json) ? ERR_OK : members[i].read(reading, json);
        }
    }
    return refuse(reading, "the answer has an unknown member");
}

static enum err read_object(const struct reading *reading, json_t *object)
{
    const char *name;
    json_t *json;
    if (!json_is_string(json_object_get(object, "result"))) {
        return refuse(reading, "the answer has no result");
    }
    json_object_foreach(object, name, json)
    {
        enum err err = read_member(reading, name, json);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err http_answer_read(struct slice body, struct http_answer *out, const char **why)
{
    struct http_answer answer = {.result = HTTP_DENY};
    struct reading reading = {&answer, why};
    json_t *object = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    enum err err = json_is_object(object) ? read_object(&reading, object)
                                          : refuse(&reading, "the answer is no JSON object");
    json_decref(object);
    if (err != ERR_OK) {
        http_answer_fini(&answer);
        return err;
    }
    *out = answer;
    return ERR_OK;
}

void http_answer_fini(struct http_answer *answer)
{
    text_fini(&answer->username);
    grants_fini(&answer->grants);
}
