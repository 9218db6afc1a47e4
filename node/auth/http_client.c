#include "node/auth/http_client.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "node/auth/http_priv.h"
#include "node/auth/secret_file.h"

#define TOKEN_BYTES_MAX 16384u
#define REPLY_BYTES_FIRST 4096u

/* ---- settings -------------------------------------------------------------------------------- */

static enum err refuse(struct text *error, const char *option, const char *why)
{
    text_printf(error, "%s: %s", option, why);
    return ERR_INVALID;
}

/* The URL may hold a password, so errors don't show it. */
static enum err check_url(const char *text, struct text *error)
{
    char *scheme = NULL, *host = NULL;
    CURLU *url = curl_url();
    if (url == NULL) {
        return ERR_MEMORY;
    }
    enum err err = ERR_OK;
    if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
        err = refuse(error, "auth.http_url", "not a URL such as https://host/path");
    } else if (strcasecmp(scheme, "https") != 0 && strcasecmp(scheme, "http") != 0) {
        err = refuse(error, "auth.http_url", "neither http nor https");
    }
    curl_free(scheme);
    curl_free(host);
    curl_url_cleanup(url);
    return err;
}

static enum err add_header(struct http_client *client, const char *line)
{
    struct curl_slist *headers = curl_slist_append(client->headers, line);
    if (headers == NULL) {
        return ERR_MEMORY;
    }
    client->headers = headers;
    return ERR_OK;
}

/* A line end in it would be the end of a header. */
static bool is_token(struct slice token)
{
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] <= 0x20 || token.data[i] >= 0x7f) {
            return false;
        }
    }
    return token.len > 0 && token.len <= TOKEN_BYTES_MAX;
}

static enum err add_token(struct http_client *client, const char *path, struct text *error)
{
    struct whole_file file;
    enum err err = secret_file_read(&file, path, error);
    if (err != ERR_OK) {
        return err;
    }
    struct slice token = whole_file_line(&file);
    if (is_token(token)) {
        char line[TOKEN_BYTES_MAX + 32];
        int len = snprintf(line, sizeof(line), "Authorization: Bearer %.*s", (int)token.len,
                           (const char *)token.data);
        err = add_header(client, line);
        OPENSSL_cleanse(line, len > 0 ? (size_t)len : 0);
        secret_file_warn(&file, path);
    } else {
        err = refuse(error, path, "not one token of printable characters");
    }
    whole_file_fini(&file);
    return err;
}

static enum err add_headers(struct http_client *client, const char *token_file, struct text *error)
{
    static const char *const lines[] = {"Content-Type: application/json",
                                        "Accept: application/json", "Expect:"};
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        enum err err = add_header(client, lines[i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    return token_file != NULL && token_file[0] != '\0' ? add_token(client, token_file, error)
                                                       : ERR_OK;
}

static enum err read_settings(struct http_client *client, const struct http_settings *settings,
                              struct text *error)
{
    enum err err = check_url(settings->url, error);
    if (err != ERR_OK) {
        return err;
    }
    client->url = mem_copy_text(settings->url, strlen(settings->url));
    if (settings->ca_file != NULL && settings->ca_file[0] != '\0') {
        if (access(settings->ca_file, R_OK) != 0) {
            return refuse(error, settings->ca_file, "can't be read");
        }
        client->ca_file = mem_copy_text(settings->ca_file, strlen(settings->ca_file));
    }
    return add_headers(client, settings->token_file, error);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void global_init(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        log_error(LOG_AUTH, "the HTTP library can't be used");
    }
}

enum err http_client_create(const struct http_settings *settings, struct http_client **out,
                            struct text *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, global_init); /* fails only for a NULL argument */
    struct http_client *client = mem_alloc(sizeof(*client));
    list_init(&client->waiting);
    list_init(&client->sockets);
    enum err err = read_settings(client, settings, error);
    if (err != ERR_OK) {
        http__client_free(client);
        return err;
    }
    *out = client;
    return ERR_OK;
}

enum err http_client_start(struct http_client *client, uv_loop_t *loop)
{
    return http__loop_start(client, loop);
}

void http__client_free(struct http_client *client)
{
    for (struct curl_slist *line = client->headers; line != NULL; line = line->next) {
        OPENSSL_cleanse(line->data, strlen(line->data));
    }
    curl_slist_free_all(client->headers);
    mem_free(client->url);
    mem_free(client->ca_file);
    mem_free(client);
}

void http_client_destroy(struct http_client *client)
{
    for (size_t i = 0; i < HTTP_CALLS_MAX; i++) {
        ASSERT(client->slots[i].call == NULL);
        curl_easy_cleanup(client->slots[i].easy);
        client->slots[i].easy = NULL;
    }
    http__loop_stop(client);
}

/* ---- a call that runs ------------------------------------------------------------------------ */

static bool make_room(struct http_slot *slot, size_t len)
{
    size_t cap = slot->reply_cap > 0 ? slot->reply_cap : REPLY_BYTES_FIRST;
    while (cap < len) {
        cap *= 2;
    }
    uint8_t *reply = cap > slot->reply_cap ? mem_try_resize(slot->reply, cap) : slot->reply;
    if (reply == NULL) {
        return false;
    }
    slot->reply = reply;
    slot->reply_cap = cap;
    return true;
}

/* Gives how many bytes were taken; less than there are ends the transfer. */
static size_t take_reply(char *data, size_t size, size_t count, void *user)
{
    struct http_slot *slot = user;
    size_t len = size * count;
    if (len > HTTP_REPLY_BYTES_MAX - slot->reply_len) {
        slot->err = ERR_RANGE;
        return 0;
    }
    if (!make_room(slot, slot->reply_len + len)) {
        slot->err = ERR_MEMORY;
        return 0;
    }
    memcpy(slot->reply + slot->reply_len, data, len);
    slot->reply_len += len;
    return len;
}

static bool set_destination(CURL *easy, const struct http_client *client)
{
    return curl_easy_setopt(easy, CURLOPT_URL, client->url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           (client->ca_file == NULL ||
            curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_file) == CURLE_OK);
}

/* With CURLOPT_QUICK_EXIT, who gives up doesn't wait for a thread that looks up a name. */
static bool set_manners(CURL *easy, struct http_slot *slot)
{
    return curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERAGENT, "pulse/" PULSE_VERSION) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_HTTPHEADER, slot->client->headers) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_reply) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_WRITEDATA, slot) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_PRIVATE, slot) == CURLE_OK;
}

static bool have_handle(struct http_client *client, struct http_slot *slot)
{
    if (slot->easy != NULL) {
        return true;
    }
    slot->client = client;
    slot->easy = curl_easy_init();
    if (slot->easy != NULL && set_destination(slot->easy, client) &&
        set_manners(slot->easy, slot)) {
        return true;
    }
    curl_easy_cleanup(slot->easy);
    slot->easy = NULL;
    return false;
}

static bool write_body(struct http_slot *slot, struct http_call *call)
{
    slot->body = mem_try_alloc(call->body_max + 1);
    if (slot->body == NULL) {
        return false;
    }
    struct text text = text_fixed(slot->body, call->body_max + 1);
    call->body(call, &text);
    slot->body_len = text.len;
    return !text.cut;
}

static bool run(struct http_client *client, struct http_slot *slot, struct http_call *call,
                uint64_t timeout_ms)
{
    if (!have_handle(client, slot) || !write_body(slot, call) ||
        curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDS, slot->body) != CURLE_OK ||
        curl_easy_setopt(slot->easy, CURLOPT_POSTFIELDSIZE, (long)slot->body_len) != CURLE_OK ||
        curl_easy_setopt(slot->easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms) != CURLE_OK ||
        curl_multi_add_handle(client->multi, slot->easy) != CURLM_OK) {
        return false;
    }
    return true;
}

/* The slot is free again. Gives what has come; free it. */
static uint8_t *release(struct http_slot *slot)
{
    uint8_t *reply = slot->reply;
    if (slot->body != NULL) {
        OPENSSL_cleanse(slot->body, slot->body_len);
        mem_free(slot->body);
    }
    if (slot->call != NULL) {
        slot->call->slot = NULL;
    }
    *slot = (struct http_slot){.client = slot->client, .easy = slot->easy};
    return reply;
}

static void fail(struct http_call *call, enum err err, const char *trouble)
{
    call->done(call, &(struct http_reply){.err = err, .trouble = trouble});
}

/* ---- calls that wait ------------------------------------------------------------------------- */

static struct http_slot *free_slot(struct http_client *client)
{
    for (size_t i = 0; i < HTTP_CALLS_MAX; i++) {
        if (client->slots[i].call == NULL) {
            return &client->slots[i];
        }
    }
    return NULL;
}

static void begin(struct http_client *client, struct http_slot *slot, struct http_call *call)
{
    uint64_t now_ms = clock_mono_ms();
    if (call->deadline_ms <= now_ms) {
        fail(call, ERR_UNAVAILABLE, "too many calls wait for the server");
        return;
    }
    slot->call = call;
    call->slot = slot;
    if (!run(client, slot, call, call->deadline_ms - now_ms)) {
        mem_free(release(slot));
        fail(call, ERR_MEMORY, "the call can't be made");
    }
}

static void fill_slots(struct http_client *client)
{
    if (client->filling) {
        return; /* what has been added meanwhile is seen below */
    }
    client->filling = true;
    struct http_slot *slot;
    while (!list_empty(&client->waiting) && (slot = free_slot(client)) != NULL) {
        struct http_call *call = list_entry(client->waiting.next, struct http_call, link);
        list_remove(&call->link);
        begin(client, slot, call);
    }
    client->filling = false;
}

void http_client_post(struct http_client *client, struct http_call *call)
{
    call->slot = NULL;
    list_init(&call->link);
    list_append(&client->waiting, &call->link);
    fill_slots(client);
}

void http_client_cancel(struct http_client *client, struct http_call *call)
{
    list_remove(&call->link);
    if (call->slot != NULL) {
        struct http_slot *slot = call->slot;
        (void)curl_multi_remove_handle(client->multi, slot->easy); /* it is in it */
        mem_free(release(slot));
    }
    fail(call, ERR_STOPPED, "the attempt has ended");
    fill_slots(client);
}

/* ---- the end of a call ----------------------------------------------------------------------- */

static struct http_reply reply_of(const struct http_slot *slot, CURLcode result)
{
    struct http_reply reply = {.err = ERR_UNAVAILABLE, .trouble = curl_easy_strerror(result)};
    long status = 0;
    if (slot->err != ERR_OK) {
        reply.err = slot->err;
        reply.trouble = slot->err == ERR_RANGE ? "the answer is too long" : "not enough memory";
    } else if (result == CURLE_OK &&
               curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK) {
        reply = (struct http_reply){.err = ERR_OK, .status = (unsigned)status};
        reply.body = slice_of(slot->reply, slot->reply_len);
    }
    return reply;
}

static void end(struct http_client *client, CURL *easy, CURLcode result)
{
    char *private = NULL;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private); /* have_handle has set it */
    struct http_slot *slot = (struct http_slot *)(void *)private;
    struct http_call *call = slot->call;
    struct http_reply reply = reply_of(slot, result);
    (void)curl_multi_remove_handle(client->multi, easy); /* it is in it */
    uint8_t *bytes = release(slot);
    call->done(call, &reply);
    mem_free(bytes);
}

void http__client_take(struct http_client *client)
{
    int left = 0;
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left)) != NULL;) {
        if (message->msg == CURLMSG_DONE) {
            end(client, message->easy_handle, message->data.result);
        }
    }
    fill_slots(client);
}
