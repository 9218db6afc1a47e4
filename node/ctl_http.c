#include <curl/curl.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "node/ctl_priv.h"

#define ANSWER_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define LINE_BYTES_MAX ((size_t)1024 * 1024)
#define TOKEN_MAX 4096
#define CONNECT_TIMEOUT_S 5L
#define TIMEOUT_S 30L
#define URL "http://127.0.0.1:9002"

struct ctl_http {
    CURL *curl;
    struct text base; /* without a slash at its end */
    struct curl_slist *headers;
    struct curl_slist *json_headers; /* with a body */
    struct text answer;
    bool too_large;
    char trouble[CURL_ERROR_SIZE];
    void (*line)(void *context, struct slice line); /* NULL: the answer is kept */
    void *context;
};

/* ---- the token ------------------------------------------------------------------------------- */

static void trim(char *text)
{
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]) != NULL) {
        text[--len] = '\0';
    }
}

/* The token, or an empty text. False: told. */
static bool read_token(const char *path, char token[TOKEN_MAX])
{
    token[0] = '\0';
    if (path == NULL) {
        const char *given = getenv("PULSE_ADMIN_TOKEN");
        if (given != NULL && strlen(given) < TOKEN_MAX) {
            strcpy(token, given);
        }
        trim(token);
        return true;
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        (void)ctl__fail("cannot read %s: %s", path, strerror(errno));
        return false;
    }
    setvbuf(file, NULL, _IONBF, 0); /* no copy of it in a buffer of the library */
    size_t len = fread(token, 1, TOKEN_MAX - 1, file);
    token[len] = '\0';
    fclose(file);
    trim(token);
    if (token[0] == '\0') {
        (void)ctl__fail("%s has no token", path);
        return false;
    }
    return true;
}

static void add_header(struct curl_slist **list, const char *header)
{
    struct curl_slist *longer = curl_slist_append(*list, header);
    ASSERT(longer != NULL); /* no memory for a line */
    *list = longer;
}

static bool add_token(struct ctl_http *http, const char *path)
{
    char token[TOKEN_MAX];
    char header[TOKEN_MAX + 32];
    bool read = read_token(path, token);
    if (read && token[0] != '\0') {
        snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
        add_header(&http->headers, header);
        add_header(&http->json_headers, header);
    }
    OPENSSL_cleanse(token, sizeof(token));
    OPENSSL_cleanse(header, sizeof(header));
    return read;
}

/* ---- open and close -------------------------------------------------------------------------- */

static size_t on_bytes(char *bytes, size_t one, size_t len, void *context);

static void set_options(struct ctl_http *http, const struct ctl *ctl)
{
    CURL *curl = http->curl;
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->trouble);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); /* the token is for the server alone */
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
    if (ctl->ca != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, ctl->ca);
    }
    if (ctl->cert != NULL) {
        curl_easy_setopt(curl, CURLOPT_SSLCERT, ctl->cert);
    }
    if (ctl->key != NULL) {
        curl_easy_setopt(curl, CURLOPT_SSLKEY, ctl->key);
    }
}

struct ctl_http *ctl__http_open(const struct ctl *ctl)
{
    struct ctl_http *http = mem_alloc(sizeof(*http));
    text_add(&http->base, ctl->url != NULL ? ctl->url : URL);
    while (http->base.len > 0 && http->base.data[http->base.len - 1] == '/') {
        http->base.data[--http->base.len] = '\0';
    }
    add_header(&http->json_headers, "Content-Type: application/json");
    add_header(&http->headers, "Accept: application/json");
    bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    http->curl = ready ? curl_easy_init() : NULL;
    if (http->curl == NULL) {
        (void)ctl__fail("cannot start libcurl");
    } else if (add_token(http, ctl->token_file)) {
        set_options(http, ctl);
        return http;
    }
    ctl__http_close(http);
    return NULL;
}

static void free_headers(struct curl_slist *headers)
{
    for (struct curl_slist *at = headers; at != NULL; at = at->next) {
        OPENSSL_cleanse(at->data, strlen(at->data));
    }
    curl_slist_free_all(headers);
}

void ctl__http_close(struct ctl_http *http)
{
    if (http == NULL) {
        return;
    }
    curl_easy_cleanup(http->curl);
    free_headers(http->headers);
    free_headers(http->json_headers);
    text_fini(&http->base);
    text_fini(&http->answer);
    mem_free(http);
    curl_global_cleanup();
}

void ctl__escape(struct text *target, const char *value)
{
    for (; *value != '\0'; value++) {
        unsigned char byte = (unsigned char)*value;
        bool plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= '0' && byte <= '9') || strchr("-._~", byte) != NULL;
        text_printf(target, plain ? "%c" : "%%%02X", byte);
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* Hands out the whole lines at the front of the answer. */
static void give_lines(struct ctl_http *http)
{
    struct text *answer = &http->answer;
    size_t from = 0;
    const char *end;
    while (from < answer->len &&
           (end = memchr(answer->data + from, '\n', answer->len - from)) != NULL) {
        size_t len = (size_t)(end - answer->data) - from;
        http->line(http->context, slice_of(answer->data + from, len));
        from += len + 1;
    }
    if (from > 0) {
        memmove(answer->data, answer->data + from, answer->len - from);
        answer->len -= from;
    }
}

/* A curl_write_callback. */
static size_t on_bytes(char *bytes, size_t one, size_t len, void *context)
{
    struct ctl_http *http = context;
    long status = 0;
    size_t max = http->line != NULL ? LINE_BYTES_MAX : ANSWER_BYTES_MAX;
    if (http->answer.len + len * one > max) {
        http->too_large = true;
        return 0; /* ends the transfer */
    }
    text_add_bytes(&http->answer, bytes, len * one);
    curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
    if (http->line != NULL && status == 200) {
        give_lines(http);
    }
    return len * one;
}

/* Sends the request. The status of the answer, or 0: told. */
static long perform(struct ctl_http *http, const char *method, const char *target, const char *body,
                    long timeout_s)
{
    struct text url = {0};
    long status = 0;
    text_printf(&url, "%s%s", http->base.data, target);
    http->answer.len = 0;
    http->trouble[0] = '\0';
    curl_easy_setopt(http->curl, CURLOPT_URL, url.data);
    curl_easy_setopt(http->curl, CURLOPT_TIMEOUT, timeout_s);
    curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER,
                     body != NULL ? http->json_headers : http->headers);
    if (body != NULL) {
        curl_easy_setopt(http->curl, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
        curl_easy_setopt(http->curl, CURLOPT_POSTFIELDS, body);
    } else {
        curl_easy_setopt(http->curl, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(http->curl, CURLOPT_CUSTOMREQUEST, method);
    CURLcode code = curl_easy_perform(http->curl);
    if (code == CURLE_OK) {
        curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &status);
    } else if (http->too_large) {
        (void)ctl__fail("the answer is too large");
    } else {
        (void)ctl__fail("%s: %s", http->base.data,
                        http->trouble[0] != '\0' ? http->trouble : curl_easy_strerror(code));
    }
    text_fini(&url);
    return status;
}

/* Says what the server did not like. */
static void tell_refusal(const struct ctl_http *http, long status)
{
    json_t *answer =
        json_loadb(http->answer.data != NULL ? http->answer.data : "", http->answer.len, 0, NULL);
    struct text words = {0};
    const json_t *detail = json_object_get(answer, "detail");
    if (json_is_string(detail)) {
        ctl__add_value(&words, detail);
    }
    if (status == 401 && getenv("PULSE_ADMIN_TOKEN") == NULL) {
        text_add(&words, "; give --token-file or PULSE_ADMIN_TOKEN");
    }
    (void)ctl__fail("%s (%ld)", words.len > 0 ? words.data : "refused", status);
    text_fini(&words);
    json_decref(answer);
}

static json_t *parse_answer(const struct ctl_http *http)
{
    json_error_t error;
    if (http->answer.len == 0) {
        return json_true();
    }
    json_t *answer = json_loadb(http->answer.data, http->answer.len, JSON_ALLOW_NUL, &error);
    if (!json_is_object(answer)) {
        (void)ctl__fail("%s does not speak like the API of Pulse", http->base.data);
        json_decref(answer);
        return NULL;
    }
    return answer;
}

json_t *ctl__ask(struct ctl_http *http, const char *method, const char *target, const json_t *body)
{
    char *text = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
    if (body != NULL && text == NULL) {
        (void)ctl__fail("out of memory");
        return NULL;
    }
    http->line = NULL;
    long status = perform(http, method, target, text, TIMEOUT_S);
    free(text);
    if (status >= 200 && status < 300) {
        return parse_answer(http);
    }
    if (status != 0) {
        tell_refusal(http, status);
    }
    return NULL;
}

int ctl__stream(struct ctl_http *http, const char *target, long timeout_s,
                void (*line)(void *context, struct slice line), void *context)
{
    http->line = line;
    http->context = context;
    long status = perform(http, "GET", target, NULL, timeout_s);
    if (status != 0 && status != 200) {
        tell_refusal(http, status);
    }
    return status == 200 ? CTL_DONE : CTL_FAILED;
}
