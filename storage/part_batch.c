#include "storage/part_batch_priv.h"

#include <string.h>

#include "base/macros.h"
#include "base/mem.h"
#include "base/message.h"
#include "storage/storage_priv.h"

/* A batch is not made much larger than this: whoever waits for it should not wait for long. */
#define OPERATIONS_ENOUGH 20000u
#define BYTES_ENOUGH (16u * 1024 * 1024)

/* More room than this for numbered messages is given back after a batch. */
#define NUMBERED_KEPT 262144u

/*
 * Invariants, of a message between two batches:
 *   stored_refs is the number of queue entries and wills in the store that name it;
 *   stored_id is 0 exactly when stored_refs is.
 *
 * A message that went and comes again gets another number: an engine may then write a batch's
 * messages before all else and drop those that went last.
 */

/* ---- preparing a part ------------------------------------------------------------------------ */

/* What is known of message `id`, or NULL: it was stored before this batch. */
static struct part_batch_message *numbered(const struct part_batch *batch, uint64_t id)
{
    uint64_t index = id - batch->first_id; /* of a lower id: very large */
    return index < batch->numbered_count ? &batch->numbered[index] : NULL;
}

/* Sessions are numbered from the same counter: the places of their numbers stay unused. */
static void add_numbered(struct part_batch *batch, uint64_t id)
{
    if (batch->numbered_count == 0) {
        batch->first_id = id;
    }
    while (batch->first_id + batch->numbered_count <= id) {
        batch->numbered = mem_grow(batch->numbered, batch->numbered_count, &batch->numbered_cap,
                                   sizeof(*batch->numbered));
        batch->numbered[batch->numbered_count] = (struct part_batch_message){.gone = false};
        batch->numbered_count++;
    }
}

/* A stored thing begins to refer to the change's message. */
static void refer(struct part_batch *batch, struct change *change)
{
    struct message *message = change->message;
    if (message == NULL) {
        return;
    }
    if (message->stored_refs == 0) {
        message->stored_id = storage_next_id(batch->storage);
        add_numbered(batch, message->stored_id);
        change->first = true;
        batch->bytes += message_bytes(message);
    }
    message->stored_refs++;
    change->message_id = message->stored_id;
    struct part_batch_message *fate = numbered(batch, change->message_id);
    if (fate != NULL) {
        fate->changes++;
    }
}

/* It does no longer. */
static void release(struct part_batch *batch, struct change *change)
{
    struct message *message = change->message;
    if (message == NULL) {
        return;
    }
    ASSERT(message->stored_refs > 0);
    change->message_id = message->stored_id;
    struct part_batch_message *fate = numbered(batch, change->message_id);
    if (fate != NULL) {
        fate->changes++;
        fate->released = fate->released || change->type == OPERATION_QUEUE_RELEASE;
    }
    message->stored_refs--;
    if (message->stored_refs > 0) {
        return;
    }
    message->stored_id = 0;
    change->last = true;
    if (fate != NULL && !fate->released) {
        /* Each of its entries came and went within this batch. */
        fate->gone = true;
        batch->operations -= fate->changes;
        batch->cancelled += fate->changes;
        batch->bytes -= message_bytes(message);
    }
}

/* What the retained message is now; once per topic and batch, since all the changes that are in the
 * batch were made before. */
static void resolve_retained(struct part_batch *batch, struct change *change)
{
    const struct storage_hooks *hooks = storage__hooks(batch->storage);
    struct slice topic = message_topic(change->message);
    if (topic_set__has(&batch->topics, topic)) {
        change->merged = true;
        batch->operations--;
        return;
    }
    struct message *now = hooks->retained(hooks->context, topic);
    change->type = now != NULL ? OPERATION_RETAINED_PUT : OPERATION_RETAINED_DROP;
    if (now != NULL) {
        message_unref(change->message);
        change->message = now;
        batch->bytes += message_bytes(now);
    }
    topic_set__add(&batch->topics, change->message);
}

static void prepare(struct part_batch *batch, struct change *change)
{
    switch (change->type) {
    case OPERATION_QUEUE_PUSH:
    case OPERATION_WILL_PUT:
        refer(batch, change);
        break;
    case OPERATION_QUEUE_RELEASE:
    case OPERATION_QUEUE_POP:
    case OPERATION_WILL_DROP:
        release(batch, change);
        break;
    case OPERATION_RETAINED_PUT:
    case OPERATION_RETAINED_DROP:
        resolve_retained(batch, change);
        break;
    default: /* the others refer to no message */
        break;
    }
}

/* ---- walking --------------------------------------------------------------------------------- */

/* Whether `change` is not written. */
static bool passed_over(const struct part_batch *batch, const struct change *change)
{
    if (change->type == CHANGE_NONE || change->merged) {
        return true;
    }
    const struct part_batch_message *fate =
        change->message_id != 0 ? numbered(batch, change->message_id) : NULL;
    return fate != NULL && fate->gone;
}

/* The next change to be written, or NULL at the end of the batch. */
static const struct change *next_change(struct part_batch *batch)
{
    while (batch->part != NULL) {
        for (; batch->at < batch->part->count; batch->at++) {
            if (!passed_over(batch, &batch->part->changes[batch->at])) {
                return &batch->part->changes[batch->at];
            }
        }
        struct letter *next = batch->part->letter.next;
        batch->part = next != NULL ? container_of(next, struct storage_part, letter) : NULL;
        batch->at = 0;
        batch->drop_at = 0;
        batch->drop_end = 0;
    }
    return NULL;
}

/* A message that nothing refers to after what was given already, or NULL. */
static const struct change *next_drop(struct part_batch *batch)
{
    while (batch->drop_at < batch->drop_end) {
        const struct change *change = &batch->part->changes[batch->drop_at++];
        if (change->last && !passed_over(batch, change)) {
            return change;
        }
    }
    return NULL;
}

static void fill_message(const struct part_batch *batch, const struct change *change,
                         struct operation *operation)
{
    const struct message *message = change->message;
    *operation = (struct operation){
        .type = OPERATION_MESSAGE_PUT,
        .message = change->message_id,
        .topic = message_topic(message),
        .properties = message_props(message),
        .payload = message_payload(message),
        .qos = message->qos,
        .retain = message->retain,
        .expires_at_ms = storage_wall_ms(batch->storage, message->expires_at_ms),
        .publisher = message->publisher_id,
    };
}

static void fill_session(const struct change *change, struct operation *operation)
{
    const struct change_session *session = change->owned;
    operation->client_id = slice_of(session->client_id, session->client_id_len);
    operation->expiry_s = session->expiry_s;
    operation->offline_since_ms = session->offline_since_ms;
    operation->sent_to = session->sent_to;
}

static void fill_subscription(const struct change *change, struct operation *operation)
{
    const struct change_subscription *subscription = change->owned;
    operation->filter = slice_of(subscription->filter, subscription->filter_len);
    if (change->type == OPERATION_SUBSCRIPTION_DROP) {
        return;
    }
    operation->qos = subscription->qos;
    operation->no_local = subscription->no_local;
    operation->retain_as_published = subscription->retain_as_published;
    operation->retain_handling = subscription->retain_handling;
    operation->subscription_id = subscription->subscription_id;
}

static void fill_will(const struct change *change, struct operation *operation)
{
    const struct change_will *will = change->owned;
    operation->message = change->message_id;
    operation->delay_s = will->delay_s;
    operation->has_expiry = will->has_expiry;
    operation->message_expiry_s = will->message_expiry_s;
}

static void fill_push(const struct change *change, struct operation *operation)
{
    operation->position = change->position;
    operation->message = change->message_id;
    operation->qos = change->qos_2 ? 2 : 1;
    operation->retain = change->retain;
    operation->shared = change->shared;
    operation->released = change->message == NULL;
    if (change->owned != NULL) {
        const struct change_ids *ids = change->owned;
        operation->subscription_ids = ids->ids;
        operation->subscription_id_count = ids->count;
    } else if (change->subscription_id != 0) {
        operation->subscription_ids = &change->subscription_id;
        operation->subscription_id_count = 1;
    }
}

static void fill_retained(const struct part_batch *batch, const struct change *change,
                          struct operation *operation)
{
    const struct message *message = change->message;
    operation->session = 0;
    operation->topic = message_topic(message);
    if (change->type == OPERATION_RETAINED_DROP) {
        return;
    }
    operation->properties = message_props(message);
    operation->payload = message_payload(message);
    operation->qos = message->qos;
    operation->expires_at_ms = storage_wall_ms(batch->storage, message->expires_at_ms);
    operation->publisher = message->publisher_id;
}

static void fill(const struct part_batch *batch, const struct change *change,
                 struct operation *operation)
{
    *operation = (struct operation){.type = change->type, .session = change->session};
    switch (operation->type) {
    case OPERATION_SESSION_PUT:
        fill_session(change, operation);
        break;
    case OPERATION_SUBSCRIPTION_PUT:
    case OPERATION_SUBSCRIPTION_DROP:
        fill_subscription(change, operation);
        break;
    case OPERATION_WILL_PUT:
        fill_will(change, operation);
        break;
    case OPERATION_QUEUE_PUSH:
        fill_push(change, operation);
        break;
    case OPERATION_QUEUE_RELEASE:
        operation->position = change->position;
        break;
    case OPERATION_QUEUE_POP:
        operation->position = change->position;
        operation->last = change->position;
        break;
    case OPERATION_INBOUND_QOS2_PUT:
    case OPERATION_INBOUND_QOS2_DROP:
        operation->packet_id = change->packet_id;
        break;
    case OPERATION_RETAINED_PUT:
    case OPERATION_RETAINED_DROP:
        fill_retained(batch, change, operation);
        break;
    case OPERATION_SESSION_DROP:
    case OPERATION_WILL_DROP:
    case OPERATION_MESSAGE_PUT:
    case OPERATION_MESSAGE_DROP:
    case OPERATION_TYPES:
        break;
    }
}

/* Where the pops end that the one at `at` can be joined with: those of the next positions of the
 * same session, with nothing between. Moves `*last`. */
static uint32_t end_of_pops(const struct part_batch *batch, uint64_t *last)
{
    const struct change *changes = batch->part->changes;
    uint64_t session = changes[batch->at].session;
    uint32_t end = batch->at + 1;
    for (uint32_t i = end; i < batch->part->count; i++) {
        /* A position that came and went within this batch does no harm in a range. */
        if (changes[i].type == OPERATION_QUEUE_POP && changes[i].session == session &&
            changes[i].position == *last + 1) {
            *last = changes[i].position;
            end = i + 1;
        } else if (!passed_over(batch, &changes[i])) {
            break;
        }
    }
    return end;
}

static bool next(struct batch *base, struct operation *operation)
{
    struct part_batch *batch = container_of(base, struct part_batch, batch);
    const struct change *drop = next_drop(batch);
    if (drop != NULL) {
        *operation =
            (struct operation){.type = OPERATION_MESSAGE_DROP, .message = drop->message_id};
        return true;
    }
    const struct change *change = next_change(batch);
    if (change == NULL) {
        return false;
    }
    if (change->first && !batch->message_put) {
        batch->message_put = true;
        fill_message(batch, change, operation);
        return true;
    }
    batch->message_put = false;
    fill(batch, change, operation);
    batch->drop_at = batch->at;
    batch->drop_end =
        change->type == OPERATION_QUEUE_POP ? end_of_pops(batch, &operation->last) : batch->at + 1;
    batch->at = batch->drop_end;
    return true;
}

static void rewind_batch(struct batch *base)
{
    struct part_batch *batch = container_of(base, struct part_batch, batch);
    batch->part = batch->first;
    batch->at = 0;
    batch->message_put = false;
    batch->drop_at = 0;
    batch->drop_end = 0;
}

/* ---- the batch ------------------------------------------------------------------------------- */

void part_batch__init(struct part_batch *batch, struct storage *storage)
{
    *batch =
        (struct part_batch){.batch = {.next = next, .rewind = rewind_batch}, .storage = storage};
}

void part_batch__fini(struct part_batch *batch)
{
    mem_free(batch->numbered);
    batch->numbered = NULL;
    topic_set__fini(&batch->topics);
}

bool part_batch__full(const struct part_batch *batch)
{
    return batch->live >= OPERATIONS_ENOUGH || batch->bytes >= BYTES_ENOUGH;
}

void part_batch__add(struct part_batch *batch, struct storage_part *part)
{
    part->letter.next = NULL;
    if (batch->last != NULL) {
        batch->last->letter.next = &part->letter;
    } else {
        batch->first = part;
    }
    batch->last = part;
    batch->live += part->live;
    batch->operations += part->live;
    for (uint32_t i = 0; i < part->count; i++) {
        prepare(batch, &part->changes[i]);
    }
}

struct batch *part_batch__seal(struct part_batch *batch)
{
    batch->batch.now_ms = storage_now_ms(batch->storage);
    batch->batch.next_id = storage__ids_end(batch->storage);
    rewind_batch(&batch->batch);
    return &batch->batch;
}

struct storage_part *part_batch__clear(struct part_batch *batch)
{
    struct storage_part *parts = batch->first;
    batch->first = NULL;
    batch->last = NULL;
    batch->part = NULL;
    batch->live = 0;
    batch->operations = 0;
    batch->cancelled = 0;
    batch->bytes = 0;
    batch->numbered_count = 0;
    if (batch->numbered_cap > NUMBERED_KEPT) {
        mem_free(batch->numbered);
        batch->numbered = NULL;
        batch->numbered_cap = 0;
    }
    topic_set__clear(&batch->topics);
    return parts;
}
