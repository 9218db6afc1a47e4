#include <arpa/inet.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "codec/topic.h"
#include "node/auth/http_answer.h"
#include "node/auth/http_client.h"
#include "node/auth/outage.h"
#include "node/auth/provider_priv.h"

/* Of the body besides the texts of the client: names of members, an address, the listener. */
#define BODY_BYTES_MORE 1024u
/* A character in JSON can become \u0000. */
#define JSON_BYTES_PER_BYTE 6u

struct http_provider {
    struct auth_provider base;
    struct http_client *client;
    uint64_t timeout_ms;
    struct outage outage;
};

/* One question. */
struct question {
    struct http_call call;
    struct auth_step *step;
};

static struct http_provider *self(struct auth_provider *provider)
{
    return container_of(provider, struct http_provider, base);
}

/* ---- the body -------------------------------------------------------------------------------- */

static void add_member(struct text *text, const char *name, struct slice value)
{
    text_printf(text, "%s\"%s\":\"", text->len > 1 ? "," : "", name);
    text_add_json(text, value);
    text_add(text, "\"");
}

/* An IPv4 address that came in on an IPv6 socket is shown as what it is. */
static void print_address(const struct sockaddr_storage *address, char *buffer, size_t size)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    const char *text = NULL;
    if (address->ss_family == AF_INET) {
        text = inet_ntop(AF_INET, &v4->sin_addr, buffer, (socklen_t)size);
    } else if (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        text = inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], buffer, (socklen_t)size);
    } else if (address->ss_family == AF_INET6) {
        text = inet_ntop(AF_INET6, &v6->sin6_addr, buffer, (socklen_t)size);
    }
    if (text == NULL) {
        memcpy(buffer, "local", sizeof("local"));
    }
}

static void write_body(struct http_call *call, struct text *text)
{
    const struct auth_request *request = container_of(call, struct question, call)->step->request;
    char address[INET6_ADDRSTRLEN];
    print_address(&request->address, address, sizeof(address));
    text_add(text, "{");
    if (request->has_username) {
        add_member(text, "username", request->username);
    }
    if (request->has_password) {
        add_member(text, "password", request->password);
    }
    add_member(text, "client_id", request->client_id);
    add_member(text, "address", slice_text(address));
    add_member(text, "listener", slice_text(request->listener != NULL ? request->listener : ""));
    if (request->certificate_identity.len > 0) {
        add_member(text, "certificate_identity", request->certificate_identity);
    }
    if (request->common_name.len > 0) {
        add_member(text, "certificate_cn", request->common_name);
    }
    text_printf(text, ",\"tls\":%s}", request->tls ? "true" : "false");
}

static size_t body_max(const struct auth_request *request)
{
    size_t listener_len = request->listener != NULL ? strlen(request->listener) : 0;
    return BODY_BYTES_MORE +
           JSON_BYTES_PER_BYTE *
               (request->username.len + request->password.len + request->client_id.len +
                request->certificate_identity.len + request->common_name.len + listener_len);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void answer(struct question *question, const struct auth_finding *finding)
{
    struct auth_step *step = question->step;
    step->data = NULL;
    mem_free(question);
    auth_step__answer(step, finding);
}

static void answer_simply(struct question *question, enum auth_outcome outcome, const char *reason)
{
    answer(question, &(struct auth_finding){.outcome = outcome, .reason = reason});
}

static void allow(struct question *question, struct http_answer *said)
{
    if (said->expires && said->expires_at_ms <= clock_wall_ms()) {
        answer_simply(question, AUTH_STEP_DENIED, "what the HTTP server allows has expired");
        return;
    }
    answer(question, &(struct auth_finding){
                         .outcome = AUTH_STEP_ALLOWED,
                         .username = slice_of(said->username.data, said->username.len),
                         .groups = slice_of(said->grants.groups.data, said->grants.groups.len),
                         .rules = &said->grants.rules,
                         .expires_at_ms = said->expires ? said->expires_at_ms : 0,
                         .may_cache = !said->cache_given || said->cache_ms > 0,
                         .cache_ms_max = said->cache_ms,
                     });
}

static void be_unavailable(struct question *question, const char *trouble)
{
    outage_failed(&self(question->step->provider)->outage, "HTTP server", trouble);
    answer_simply(question, AUTH_STEP_UNAVAILABLE, "the HTTP server can't say");
}

static void take_answer(struct question *question, struct slice body)
{
    struct http_answer said;
    const char *why = "not enough memory";
    if (http_answer_read(body, &said, &why) != ERR_OK) {
        be_unavailable(question, why);
        return;
    }
    outage_worked(&self(question->step->provider)->outage, "HTTP server");
    switch (said.result) {
    case HTTP_ALLOW:
        allow(question, &said);
        break;
    case HTTP_DENY:
        answer_simply(question, AUTH_STEP_DENIED, "the HTTP server denies");
        break;
    case HTTP_IGNORE:
        answer_simply(question, AUTH_STEP_UNKNOWN, NULL);
        break;
    }
    http_answer_fini(&said);
}

static void take_reply(struct http_call *call, const struct http_reply *reply)
{
    struct question *question = container_of(call, struct question, call);
    if (reply->err == ERR_STOPPED) {
        answer_simply(question, AUTH_STEP_UNAVAILABLE, reply->trouble);
    } else if (reply->err != ERR_OK) {
        be_unavailable(question, reply->trouble);
    } else if (reply->status == 200) {
        take_answer(question, reply->body);
    } else if (reply->status == 401 || reply->status == 403) {
        outage_worked(&self(question->step->provider)->outage, "HTTP server");
        answer_simply(question, AUTH_STEP_DENIED, "the HTTP server denies");
    } else {
        char trouble[40];
        (void)snprintf(trouble, sizeof(trouble), "status %u", reply->status); /* it fits */
        be_unavailable(question, trouble);
    }
}

/* ---- a provider ------------------------------------------------------------------------------ */

static enum err provider_create(const struct auth_settings *settings, unsigned thread_count,
                                struct auth_provider **out, struct text *error)
{
    (void)thread_count;
    struct http_settings own = {
        .url = settings->http_url,
        .ca_file = settings->http_ca,
        .token_file = settings->http_token_file,
    };
    struct http_client *client = NULL;
    enum err err = http_client_create(&own, &client, error);
    if (err != ERR_OK) {
        return err;
    }
    struct http_provider *provider = mem_alloc(sizeof(*provider));
    provider->base.type = &http__provider;
    provider->client = client;
    provider->timeout_ms = settings->http_timeout_ms;
    *out = &provider->base;
    return ERR_OK;
}

static enum err provider_start(struct auth_provider *provider, uv_loop_t *loop)
{
    return http_client_start(self(provider)->client, loop);
}

static void provider_destroy(struct auth_provider *provider)
{
    http_client_destroy(self(provider)->client);
    mem_free(self(provider));
}

/* JSON has no way to say a password that is not UTF-8. */
static void provider_ask(struct auth_provider *provider, struct auth_step *step)
{
    if (!utf8_well_formed(step->request->password)) {
        auth_step__answer(step, &(struct auth_finding){.outcome = AUTH_STEP_UNKNOWN});
        return;
    }
    struct question *question = mem_alloc(sizeof(*question));
    question->step = step;
    question->call.deadline_ms = clock_mono_ms() + self(provider)->timeout_ms;
    question->call.body = write_body;
    question->call.body_max = body_max(step->request);
    question->call.done = take_reply;
    step->data = question;
    http_client_post(self(provider)->client, &question->call);
}

static void provider_cancel(struct auth_provider *provider, struct auth_step *step)
{
    struct question *question = step->data;
    if (question != NULL) {
        http_client_cancel(self(provider)->client, &question->call);
    }
}

const struct auth_provider_type http__provider = {
    .kind = AUTH_HTTP,
    .cacheable = true,
    .create = provider_create,
    .start = provider_start,
    .destroy = provider_destroy,
    .ask = provider_ask,
    .cancel = provider_cancel,
};
