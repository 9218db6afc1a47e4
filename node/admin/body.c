#include "node/admin/body_priv.h"

#include <string.h>

#include "node/admin/admin_priv.h"

static bool is_known(const char *key, const char *const *keys)
{
    for (; *keys != NULL; keys++) {
        if (strcmp(key, *keys) == 0) {
            return true;
        }
    }
    return false;
}

static bool keys_are_known(struct request *request, json_t *body, const char *const *keys)
{
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        if (!is_known(key, keys)) {
            char detail[160];
            snprintf(detail, sizeof(detail), "unknown member: %.100s", key);
            request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_body", detail);
            return false;
        }
    }
    return true;
}

json_t *body__parse(struct request *request, const char *const *keys)
{
    json_error_t error;
    json_t *body = json_loadb((const char *)request->body, request->body_len,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json_is_object(body)) {
        char detail[JSON_ERROR_TEXT_LENGTH + 32];
        snprintf(detail, sizeof(detail), "not a JSON object%s%s", body == NULL ? ": " : "",
                 body == NULL ? error.text : "");
        request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_body", detail);
        json_decref(body);
        return NULL;
    }
    if (!keys_are_known(request, body, keys)) {
        json_decref(body);
        return NULL;
    }
    return body;
}

const char *body__string(const json_t *body, const char *key)
{
    const json_t *value = json_object_get(body, key);
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}
