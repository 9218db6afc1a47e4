#include "node/admin/publish_priv.h"

#include "base/base64.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/message.h"
#include "codec/topic.h"
#include "node/admin/body_priv.h"
#include "node/admin/routes_priv.h"
#include "node/router.h"

/* POST /api/v1/publish: a message of the operator. */

/* All of them are published from one worker: they keep their order. */
#define PUBLISHING_WORKER 0

void publish__destroy(struct errand *errand)
{
    struct publication *own = container_of(errand, struct publication, errand);
    mem_free(own->topic);
    mem_free(own->payload);
    mem_free(own);
}

static enum question_next visit(struct question *question, struct worker *worker)
{
    struct publication *own = container_of(question, struct publication, errand.question);
    struct message message = message_borrow(slice_of(own->topic, own->topic_len), slice_of(NULL, 0),
                                            slice_of(own->payload, own->payload_len));
    message.qos = own->qos;
    message.retain = own->retain;
    own->matched = router_publish(worker, &message, NULL);
    message_release(&message);
    return QUESTION_HOME;
}

static void reply(struct errand *errand, struct request *request)
{
    struct publication *own = container_of(errand, struct publication, errand);
    text_printf(request__page(request), "{\"matched\":%s}\n", own->matched ? "true" : "false");
}

/* ---- what the body says ---------------------------------------------------------------------- */

static bool bad_body(struct request *request, const char *detail)
{
    request__fail(request, MHD_HTTP_BAD_REQUEST, "bad_body", detail);
    return false;
}

/* As for clients: limits hold, and what begins with $SYS/ is the node's own. */
static bool read_topic(struct publication *own, struct request *request, const json_t *body)
{
    const struct config *config = request->admin->broker->config;
    const char *words = body__string(body, "topic");
    struct slice topic = slice_text(words != NULL ? words : "");
    if (!topic_name_valid(topic) || !utf8_valid(topic)) {
        return bad_body(request, "topic must be a topic name: not empty, without + and #");
    }
    if (topic.len > config->limits_topic_bytes_max ||
        topic_levels(topic) > config->limits_topic_levels_max) {
        return bad_body(request, "topic is too long");
    }
    if (slice_starts_with(topic, "$SYS/")) {
        return bad_body(request, "topics below $SYS are those of the node");
    }
    own->topic = mem_copy_text(topic.data, topic.len);
    own->topic_len = topic.len;
    return true;
}

static bool read_payload(struct publication *own, struct request *request, const json_t *body)
{
    const json_t *plain = json_object_get(body, "payload");
    const json_t *coded = json_object_get(body, "payload_base64");
    const json_t *given = plain != NULL ? plain : coded;
    if ((plain != NULL && coded != NULL) || (given != NULL && !json_is_string(given))) {
        return bad_body(request, "payload and payload_base64 are texts, and only one is given");
    }
    if (given == NULL) {
        return true; /* an empty message */
    }
    struct slice text = slice_of(json_string_value(given), json_string_length(given));
    own->payload = mem_try_alloc(text.len + 1);
    if (own->payload == NULL) {
        return bad_body(request, "no memory for the payload");
    }
    if (given == coded) {
        return base64_read(text, BASE64_PADDED, own->payload, text.len, &own->payload_len) ||
               bad_body(request, "payload_base64 must be base64 with padding");
    }
    memcpy(own->payload, text.data, text.len);
    own->payload_len = text.len;
    return true;
}

static bool read_options(struct publication *own, struct request *request, const json_t *body)
{
    const json_t *qos = json_object_get(body, "qos");
    const json_t *retain = json_object_get(body, "retain");
    json_int_t level = json_integer_value(qos);
    if (qos != NULL && (!json_is_integer(qos) || level < 0 || level > 2)) {
        return bad_body(request, "qos must be 0, 1 or 2");
    }
    if (retain != NULL && !json_is_boolean(retain)) {
        return bad_body(request, "retain must be true or false");
    }
    own->qos = (uint8_t)level;
    own->retain = json_is_true(retain);
    return true;
}

struct publication *publish__read(struct request *request)
{
    static const char *const keys[] = {"topic", "payload", "payload_base64", "qos", "retain", NULL};
    json_t *body = body__parse(request, keys);
    if (body == NULL) {
        return NULL;
    }
    struct publication *own = mem_alloc(sizeof(*own));
    bool good = read_topic(own, request, body) && read_payload(own, request, body) &&
                read_options(own, request, body);
    json_decref(body);
    if (!good) {
        publish__destroy(&own->errand);
        return NULL;
    }
    return own;
}

void handle__publish(struct request *request)
{
    struct publication *own = publish__read(request);
    if (own != NULL) {
        own->errand.reply = reply;
        own->errand.destroy = publish__destroy;
        errand__send(&own->errand, request, visit, PUBLISHING_WORKER);
    }
}
