/*
 * Everything that must be unique is a key in one set: a digest of what kind of thing it is and of
 * what names it. SHA-256, because a file may come from anywhere and must not be able to make one
 * thing look like another.
 */
#include "storage/transfer_check.h"

#include <inttypes.h>
#include <openssl/evp.h>

#include "base/mem.h"
#include "codec/packet_types.h"
#include "codec/properties.h"
#include "codec/topic.h"

/* SQL databases count to 2^63 - 1. */
#define ID_MAX ((uint64_t)INT64_MAX)
#define TEXT_MAX 65535u
#define SUBSCRIPTION_ID_MAX 268435455u

enum thing {
    THING_SESSION,
    THING_CLIENT_ID,
    THING_SUBSCRIPTION,
    THING_WILL,
    THING_MESSAGE,
    THING_INBOUND_QOS2,
    THING_RETAINED
};

struct key {
    uint64_t parts[2]; /* not both 0: that is a free slot */
};

struct slot {
    struct key key;
    uint64_t number;   /* of a session or message */
    uint64_t position; /* of a session: the last one in its queue */
};

struct transfer_check {
    struct slot *slots;
    size_t cap; /* a power of two, or 0 */
    size_t count;
    EVP_MD *sha256;
    EVP_MD_CTX *digest;
    uint64_t numbered;
    uint64_t pending_message; /* put, and not used yet; 0: none */
};

struct transfer_check *transfer_check_create(void)
{
    struct transfer_check *check = mem_alloc(sizeof(*check));
    check->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    check->digest = EVP_MD_CTX_new();
    if (check->sha256 == NULL || check->digest == NULL) {
        transfer_check_destroy(check);
        return NULL;
    }
    return check;
}

void transfer_check_destroy(struct transfer_check *check)
{
    if (check != NULL) {
        EVP_MD_CTX_free(check->digest);
        EVP_MD_free(check->sha256);
        mem_free(check->slots);
        mem_free(check);
    }
}

uint64_t transfer_check_numbered(const struct transfer_check *check)
{
    return check->numbered;
}

/* ---- the set --------------------------------------------------------------------------------- */

/* The key of a thing that has this number and this text as its name. ERR_MEMORY. */
static enum err make_key(struct transfer_check *check, enum thing thing, uint64_t number,
                         struct slice text, struct key *key)
{
    const uint64_t head[] = {thing, number};
    union {
        unsigned char bytes[EVP_MAX_MD_SIZE];
        struct key key;
    } result;
    if (EVP_DigestInit_ex(check->digest, check->sha256, NULL) != 1 ||
        EVP_DigestUpdate(check->digest, head, sizeof(head)) != 1 ||
        EVP_DigestUpdate(check->digest, text.data, text.len) != 1 ||
        EVP_DigestFinal_ex(check->digest, result.bytes, NULL) != 1) {
        return ERR_MEMORY;
    }
    *key = result.key;
    return ERR_OK;
}

/* Borrows the slot of `key`, or the free one where it belongs. There is a free slot. */
static struct slot *probe(struct slot *slots, size_t cap, struct key key)
{
    size_t at = key.parts[0] & (cap - 1);
    while ((slots[at].key.parts[0] | slots[at].key.parts[1]) != 0 &&
           (slots[at].key.parts[0] != key.parts[0] || slots[at].key.parts[1] != key.parts[1])) {
        at = (at + 1) & (cap - 1);
    }
    return &slots[at];
}

/* Makes room for one more: at least a quarter of the slots stays free. */
static enum err reserve(struct transfer_check *check)
{
    if (check->count + 1 <= check->cap / 4 * 3) {
        return ERR_OK;
    }
    size_t cap = check->cap == 0 ? 1024 : check->cap * 2;
    struct slot *slots = mem_try_alloc(cap * sizeof(slots[0]));
    if (slots == NULL) {
        return ERR_MEMORY;
    }
    memset(slots, 0, cap * sizeof(slots[0]));
    for (size_t i = 0; i < check->cap; i++) {
        struct key key = check->slots[i].key;
        if ((key.parts[0] | key.parts[1]) != 0) {
            *probe(slots, cap, key) = check->slots[i];
        }
    }
    mem_free(check->slots);
    check->slots = slots;
    check->cap = cap;
    return ERR_OK;
}

/* ERR_EXISTS: it is in the set already. */
static enum err add(struct transfer_check *check, enum thing thing, uint64_t number,
                    struct slice text)
{
    struct key key;
    enum err err = make_key(check, thing, number, text, &key);
    if (err == ERR_OK) {
        err = reserve(check);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct slot *slot = probe(check->slots, check->cap, key);
    if ((slot->key.parts[0] | slot->key.parts[1]) != 0) {
        return ERR_EXISTS;
    }
    *slot = (struct slot){.key = key};
    check->count++;
    return ERR_OK;
}

/* Borrows the slot of a thing with a number, or NULL, until the next add. */
static struct slot *find(struct transfer_check *check, enum thing thing, uint64_t number)
{
    struct key key;
    if (check->cap == 0 || make_key(check, thing, number, slice_of("", 0), &key) != ERR_OK) {
        return NULL;
    }
    struct slot *slot = probe(check->slots, check->cap, key);
    return (slot->key.parts[0] | slot->key.parts[1]) == 0 ? NULL : slot;
}

/* ---- single values --------------------------------------------------------------------------- */

static enum err complain(struct text *error, enum err err, const char *words)
{
    text_add(error, words);
    return err;
}

static enum err check_range(const char *name, uint64_t value, uint64_t minimum, uint64_t maximum,
                            struct text *error)
{
    if (value >= minimum && value <= maximum) {
        return ERR_OK;
    }
    text_printf(error, "%s: out of range (allowed: %" PRIu64 " to %" PRIu64 ")", name, minimum,
                maximum);
    return ERR_RANGE;
}

static enum err check_moment(const char *name, uint64_t ms, struct text *error)
{
    return ms == OPERATION_NEVER_MS ? ERR_OK : check_range(name, ms, 0, ID_MAX, error);
}

static enum err check_text(const char *name, struct slice text, struct text *error)
{
    if (text.len < 1 || text.len > TEXT_MAX || !utf8_valid(text)) {
        text_printf(error, "%s: must be 1 to 65535 bytes of UTF-8 without NUL", name);
        return ERR_INVALID;
    }
    return ERR_OK;
}

static enum err check_topic(struct slice topic, struct text *error)
{
    enum err err = check_text("topic", topic, error);
    if (err == ERR_OK && !topic_name_valid(topic)) {
        return complain(error, ERR_INVALID, "topic: not the name of a topic");
    }
    return err;
}

/* Are they what a PUBLISH to a subscriber may carry as they are? */
static bool properties_good(const uint8_t *data, size_t len)
{
    struct mqtt_props props;
    struct slice in = slice_of(data, len);
    return mqtt_props_read(&in, IN_PUBLISH, &props) == MQTT_REASON_SUCCESS &&
           mqtt_props_forwarded_len(&props) == props.raw.len;
}

static enum err check_properties(struct slice properties, struct text *error)
{
    if (properties.len == 0) {
        return ERR_OK;
    }
    size_t len = varint_len((uint32_t)properties.len) + properties.len;
    uint8_t *whole = mem_try_alloc(len);
    if (whole == NULL) {
        return complain(error, ERR_MEMORY, err_text(ERR_MEMORY));
    }
    struct writer writer = {.at = whole, .end = whole + len};
    write_varint(&writer, (uint32_t)properties.len);
    write_bytes(&writer, properties);
    bool good = properties_good(whole, len);
    mem_free(whole);
    return good ? ERR_OK
                : complain(error, ERR_INVALID, "properties: not such as a broker passes on");
}

/* What a stored and a retained message have in common. */
static enum err check_publish(const struct operation *operation, struct text *error)
{
    size_t len = operation->topic.len + operation->properties.len;
    enum err err = check_topic(operation->topic, error);
    if (err == ERR_OK &&
        (len + 16 > MQTT_VARINT_MAX || operation->payload.len > MQTT_VARINT_MAX - 16 - len)) {
        err = complain(error, ERR_RANGE, "payload: larger than a packet of MQTT can be");
    }
    if (err == ERR_OK) {
        err = check_properties(operation->properties, error);
    }
    if (err == ERR_OK) {
        err = check_range("qos", operation->qos, 0, 2, error);
    }
    return err == ERR_OK ? check_moment("expires_at_ms", operation->expires_at_ms, error) : err;
}

/* ---- references and things ------------------------------------------------------------------- */

static enum err check_session(struct transfer_check *check, const struct operation *operation,
                              struct text *error)
{
    if (find(check, THING_SESSION, operation->session) == NULL) {
        text_printf(error, "session: there is no session %" PRIu64 " before this line",
                    operation->session);
        return ERR_INVALID;
    }
    return ERR_OK;
}

static enum err check_message(struct transfer_check *check, const struct operation *operation,
                              struct text *error)
{
    if (find(check, THING_MESSAGE, operation->message) == NULL) {
        text_printf(error, "message: there is no message %" PRIu64 " before this line",
                    operation->message);
        return ERR_INVALID;
    }
    return ERR_OK;
}

/* Adds what must not be there yet. */
static enum err check_new(struct transfer_check *check, enum thing thing, uint64_t number,
                          struct slice text, const char *name, struct text *error)
{
    enum err err = add(check, thing, number, text);
    if (err == ERR_EXISTS) {
        text_printf(error, "%s: was there before", name);
    } else if (err != ERR_OK) {
        text_add(error, err_text(err));
    }
    return err;
}

/* Adds what has an id, and numbers it. */
static enum err check_new_id(struct transfer_check *check, enum thing thing, uint64_t id,
                             const char *name, struct text *error)
{
    enum err err = check_new(check, thing, id, slice_of("", 0), name, error);
    if (err == ERR_OK) {
        struct slot *slot = find(check, thing, id);
        if (slot == NULL) {
            return complain(error, ERR_MEMORY, err_text(ERR_MEMORY));
        }
        slot->number = ++check->numbered;
    }
    return err;
}

/* ---- operations ------------------------------------------------------------------------------ */

static enum err on_session_put(struct transfer_check *check, const struct operation *operation,
                               struct text *error)
{
    enum err err = check_range("session", operation->session, 1, ID_MAX - 1, error);
    if (err == ERR_OK) {
        err = check_text("client_id", operation->client_id, error);
    }
    if (err == ERR_OK) {
        err = check_range("offline_since_ms", operation->offline_since_ms, 0, ID_MAX, error);
    }
    if (err == ERR_OK) {
        err = check_range("sent_to", operation->sent_to, 0, ID_MAX, error);
    }
    if (err == ERR_OK) {
        err = check_new_id(check, THING_SESSION, operation->session, "session", error);
    }
    if (err == ERR_OK) {
        err = check_new(check, THING_CLIENT_ID, 0, operation->client_id, "client_id", error);
    }
    return err;
}

static enum err on_subscription_put(struct transfer_check *check, const struct operation *operation,
                                    struct text *error)
{
    struct topic_filter filter;
    enum err err = check_session(check, operation, error);
    if (err == ERR_OK) {
        err = check_text("filter", operation->filter, error);
    }
    if (err == ERR_OK && !topic_filter_parse(operation->filter, &filter)) {
        err = complain(error, ERR_INVALID, "filter: not a topic filter");
    }
    if (err == ERR_OK) {
        err = check_range("qos", operation->qos, 0, 2, error);
    }
    if (err == ERR_OK) {
        err = check_range("retain_handling", operation->retain_handling, 0, 2, error);
    }
    if (err == ERR_OK) {
        err = check_range("subscription_id", operation->subscription_id, 0, SUBSCRIPTION_ID_MAX,
                          error);
    }
    return err == ERR_OK ? check_new(check, THING_SUBSCRIPTION, operation->session,
                                     operation->filter, "filter", error)
                         : err;
}

static enum err on_will_put(struct transfer_check *check, const struct operation *operation,
                            struct text *error)
{
    enum err err = check_session(check, operation, error);
    if (err == ERR_OK) {
        err = check_message(check, operation, error);
    }
    if (err == ERR_OK && !operation->has_expiry && operation->message_expiry_s != 0) {
        err = complain(error, ERR_INVALID, "message_expiry_s: must be 0 without has_expiry");
    }
    return err == ERR_OK ? check_new(check, THING_WILL, operation->session, slice_of("", 0),
                                     "the will of the session", error)
                         : err;
}

static enum err on_message_put(struct transfer_check *check, const struct operation *operation,
                               struct text *error)
{
    enum err err = check_range("message", operation->message, 1, ID_MAX - 1, error);
    if (err == ERR_OK) {
        err = check_publish(operation, error);
    }
    if (err == ERR_OK) {
        err = check_new_id(check, THING_MESSAGE, operation->message, "message", error);
    }
    check->pending_message = operation->message;
    return err;
}

static enum err check_subscription_ids(const struct operation *operation, struct text *error)
{
    enum err err = ERR_OK;
    for (size_t i = 0; i < operation->subscription_id_count && err == ERR_OK; i++) {
        err = check_range("subscription_ids", operation->subscription_ids[i], 1,
                          SUBSCRIPTION_ID_MAX, error);
    }
    return err;
}

/* Positions of one session must grow: the queue comes in its order. */
static enum err take_position(struct transfer_check *check, const struct operation *operation,
                              struct text *error)
{
    struct slot *session = find(check, THING_SESSION, operation->session);
    if (session == NULL) {
        return complain(error, ERR_MEMORY, err_text(ERR_MEMORY));
    }
    if (operation->position <= session->position) {
        text_printf(error, "position: must be above %" PRIu64 ", the last one of the session",
                    session->position);
        return ERR_INVALID;
    }
    session->position = operation->position;
    return ERR_OK;
}

static enum err on_queue_push(struct transfer_check *check, const struct operation *operation,
                              struct text *error)
{
    enum err err = check_session(check, operation, error);
    if (err == ERR_OK && !operation->released) {
        err = check_message(check, operation, error);
    }
    if (err == ERR_OK && operation->released && operation->message != 0) {
        err = complain(error, ERR_INVALID, "message: must be 0 in an entry that is released");
    }
    if (err == ERR_OK) {
        err = check_range("position", operation->position, 1, ID_MAX - 1, error);
    }
    if (err == ERR_OK) {
        err = check_range("qos", operation->qos, 0, 2, error);
    }
    if (err == ERR_OK) {
        err = check_subscription_ids(operation, error);
    }
    return err == ERR_OK ? take_position(check, operation, error) : err;
}

static enum err on_inbound_qos2_put(struct transfer_check *check, const struct operation *operation,
                                    struct text *error)
{
    enum err err = check_session(check, operation, error);
    if (err == ERR_OK) {
        err = check_range("packet_id", operation->packet_id, 1, UINT16_MAX, error);
    }
    uint8_t id[] = {(uint8_t)(operation->packet_id >> 8), (uint8_t)operation->packet_id};
    return err == ERR_OK ? check_new(check, THING_INBOUND_QOS2, operation->session,
                                     slice_of(id, sizeof(id)), "packet_id", error)
                         : err;
}

static enum err on_retained_put(struct transfer_check *check, const struct operation *operation,
                                struct text *error)
{
    enum err err = check_publish(operation, error);
    return err == ERR_OK ? check_new(check, THING_RETAINED, 0, operation->topic, "topic", error)
                         : err;
}

/* By type; NULL: it takes something away, which has no place in a state. */
static enum err (*const handlers[OPERATION_TYPES])(struct transfer_check *check,
                                                   const struct operation *operation,
                                                   struct text *error) = {
    [OPERATION_SESSION_PUT] = on_session_put,   [OPERATION_SUBSCRIPTION_PUT] = on_subscription_put,
    [OPERATION_WILL_PUT] = on_will_put,         [OPERATION_MESSAGE_PUT] = on_message_put,
    [OPERATION_QUEUE_PUSH] = on_queue_push,     [OPERATION_INBOUND_QOS2_PUT] = on_inbound_qos2_put,
    [OPERATION_RETAINED_PUT] = on_retained_put,
};

/* A message stands directly before what refers to it first: nothing is put that nobody uses, and an
 * engine gets both at once. */
static enum err check_pending(struct transfer_check *check, const struct operation *operation,
                              struct text *error)
{
    bool refers = operation->type == OPERATION_QUEUE_PUSH || operation->type == OPERATION_WILL_PUT;
    if (check->pending_message != 0 && (!refers || operation->message != check->pending_message)) {
        text_printf(error, "the line after message %" PRIu64 " must refer to it",
                    check->pending_message);
        return ERR_INVALID;
    }
    check->pending_message = 0;
    return ERR_OK;
}

enum err transfer_check_operation(struct transfer_check *check, const struct operation *operation,
                                  struct text *error)
{
    enum err err = check_pending(check, operation, error);
    if (err != ERR_OK) {
        return err;
    }
    struct text reason = {0};
    if (handlers[operation->type] == NULL) {
        err = complain(&reason, ERR_INVALID, "does not belong into a state");
    } else {
        err = handlers[operation->type](check, operation, &reason);
    }
    if (err != ERR_OK) {
        text_printf(error, "%s: %s", operation_info(operation->type)->name, reason.data);
    }
    text_fini(&reason);
    return err;
}

enum err transfer_check_end(const struct transfer_check *check, struct text *error)
{
    if (check->pending_message != 0) {
        text_printf(error, "nothing refers to message %" PRIu64, check->pending_message);
        return ERR_INVALID;
    }
    return ERR_OK;
}

static enum err renumber(struct transfer_check *check, enum thing thing, uint64_t base,
                         uint64_t *id)
{
    const struct slot *slot = *id == 0 ? NULL : find(check, thing, *id);
    if (*id != 0 && slot == NULL) {
        return ERR_MEMORY;
    }
    *id = slot == NULL ? 0 : base + slot->number;
    return ERR_OK;
}

enum err transfer_check_renumber(struct transfer_check *check, uint64_t base,
                                 struct operation *operation)
{
    enum err err = renumber(check, THING_SESSION, base, &operation->session);
    return err == ERR_OK ? renumber(check, THING_MESSAGE, base, &operation->message) : err;
}
