#include <stdlib.h>

#include "base/mem.h"
#include "storage/wal_snapshot.h"
#include "storage/wal_state_priv.h"

/* ---- bodies ---------------------------------------------------------------------------------- */

static int compare_uses(const void *a, const void *b)
{
    const struct wal_file_use *left = a, *right = b;
    return (left->segment > right->segment) - (left->segment < right->segment);
}

/* Sorts `uses`, makes one of the parts of a large snapshot, and leaves out what holds nothing live.
 * Returns how many there are then. */
static size_t join_uses(struct wal_file_use *uses, size_t count)
{
    size_t joined = 0;
    for (size_t i = 0; i < count; i++) {
        if (wal_place_in_snapshot(uses[i].segment)) {
            uses[i].segment = wal_snapshot_segment(wal_place_snapshot(uses[i].segment));
        }
    }
    qsort(uses, count, sizeof(*uses), compare_uses);
    for (size_t i = 0; i < count; i++) {
        const struct wal_file_use use = uses[i];
        if (joined > 0 && uses[joined - 1].segment == use.segment) {
            uses[joined - 1].messages += use.messages;
            uses[joined - 1].retained += use.retained;
        } else if (use.messages + use.retained > 0) {
            uses[joined++] = use;
        }
    }
    return joined;
}

enum err wal_state_files(const struct wal_state *state, struct wal_file_use **uses, size_t *count)
{
    size_t size = (state->file_count + (size_t)1) * sizeof(struct wal_file_use);
    struct wal_file_use *all = mem_try_alloc(size);
    if (all == NULL) {
        return ERR_MEMORY;
    }
    for (uint32_t i = 0; i < state->file_count; i++) {
        all[i] = (struct wal_file_use){.segment = state->files[i]};
    }
    for (uint32_t slot = 1; slot < state->messages.slot_count; slot++) {
        const struct wal_message *message = wal_messages_at(&state->messages, slot);
        if (wal_state__live(message)) {
            all[message->file].messages += message->len;
        }
    }
    struct wal_node *const *buckets = state->retained.buckets;
    for (size_t i = 0; i < state->retained.bucket_count; i++) {
        for (const struct wal_node *node = buckets[i]; node != NULL; node = node->next) {
            const struct wal_retained *retained =
                container_of(node, const struct wal_retained, node);
            all[retained->file].retained += retained->len;
        }
    }
    *count = join_uses(all, state->file_count);
    *uses = all;
    return ERR_OK;
}

static enum wal_want want_message(struct wal_state *state, struct wal_place place, uint64_t id)
{
    uint32_t slot = wal_messages_find(&state->messages, id);
    struct wal_message *message = slot != 0 ? wal_messages_at(&state->messages, slot) : NULL;
    if (message == NULL || message->given || !wal_state__live(message) ||
        message->offset != place.offset || state->files[message->file] != place.segment) {
        return WAL_WANT_NOTHING;
    }
    message->given = true;
    return WAL_WANT_MESSAGE;
}

static enum wal_want want_retained(struct wal_state *state, struct wal_place place,
                                   struct slice topic)
{
    struct wal_retained *retained = wal_state__find_retained(state, topic);
    if (retained == NULL || retained->given || retained->offset != place.offset ||
        state->files[retained->file] != place.segment) {
        return WAL_WANT_NOTHING;
    }
    retained->given = true;
    return WAL_WANT_RETAINED;
}

enum wal_want wal_state_want(struct wal_state *state, struct wal_place place, struct slice record,
                             struct operation *operation)
{
    size_t len = 0;
    bool body = record.len > 0 && (record.data[0] == OPERATION_MESSAGE_PUT ||
                                   record.data[0] == OPERATION_RETAINED_PUT);
    if (!body || wal_record_decode(record, operation, state->ids, &len) != ERR_OK ||
        len != record.len) {
        return WAL_WANT_NOTHING;
    }
    return operation->type == OPERATION_MESSAGE_PUT ? want_message(state, place, operation->message)
                                                    : want_retained(state, place, operation->topic);
}

uint64_t wal_state_missing(const struct wal_state *state)
{
    uint64_t missing = 0;
    for (uint32_t slot = 1; slot < state->messages.slot_count; slot++) {
        const struct wal_message *message = wal_messages_at(&state->messages, slot);
        missing += wal_state__live(message) && !message->given ? 1 : 0;
    }
    struct wal_node *const *buckets = state->retained.buckets;
    for (size_t i = 0; i < state->retained.bucket_count; i++) {
        for (const struct wal_node *node = buckets[i]; node != NULL; node = node->next) {
            missing += container_of(node, const struct wal_retained, node)->given ? 0 : 1;
        }
    }
    return missing;
}

/* ---- operations of a session ----------------------------------------------------------------- */

static struct operation session_operation(const struct wal_session *session)
{
    return (struct operation){
        .type = OPERATION_SESSION_PUT,
        .session = session->id,
        .client_id = slice_of(session->client_id, session->client_id_len),
        .expiry_s = session->expiry_s,
        .offline_since_ms = session->offline_since_ms,
        .sent_to = session->sent_to,
    };
}

static struct operation subscription_operation(const struct wal_subscription *subscription)
{
    return (struct operation){
        .type = OPERATION_SUBSCRIPTION_PUT,
        .session = subscription->session->id,
        .filter = slice_of(subscription->filter, subscription->filter_len),
        .qos = subscription->qos,
        .no_local = subscription->no_local,
        .retain_as_published = subscription->retain_as_published,
        .retain_handling = subscription->retain_handling,
        .subscription_id = subscription->subscription_id,
    };
}

static struct operation will_operation(const struct wal_state *state,
                                       const struct wal_session *session)
{
    const struct wal_will *will = &session->will;
    return (struct operation){
        .type = OPERATION_WILL_PUT,
        .session = session->id,
        .message = wal_messages_at(&state->messages, will->message)->id,
        .delay_s = will->delay_s,
        .has_expiry = will->has_expiry,
        .message_expiry_s = will->message_expiry_s,
    };
}

/* The identifiers are borrowed from the entry or its list. */
static struct operation queue_operation(const struct wal_state *state,
                                        const struct wal_session *session,
                                        const struct wal_entry *entry)
{
    struct operation operation = {
        .type = OPERATION_QUEUE_PUSH,
        .session = session->id,
        .position = entry->position,
        .message = entry->message != 0 ? wal_messages_at(&state->messages, entry->message)->id : 0,
        .qos = entry->qos,
        .retain = entry->retain,
        .shared = entry->shared,
        .released = entry->released,
        .subscription_ids = &entry->ids,
        .subscription_id_count = entry->ids != 0 ? 1 : 0,
    };
    if (entry->many) {
        operation.subscription_ids = state->id_lists[entry->ids].list->ids;
        operation.subscription_id_count = state->id_lists[entry->ids].list->count;
    }
    return operation;
}

static enum err give_session(const struct wal_session *session, const struct operation_sink *sink)
{
    struct operation operation = session_operation(session);
    enum err err = sink->take(sink->context, &operation);
    list_foreach(item, &session->subscriptions)
    {
        if (err != ERR_OK) {
            return err;
        }
        operation = subscription_operation(list_entry(item, struct wal_subscription, link));
        err = sink->take(sink->context, &operation);
    }
    for (uint32_t i = 0; err == ERR_OK && i < session->inbound_count; i++) {
        operation = (struct operation){.type = OPERATION_INBOUND_QOS2_PUT,
                                       .session = session->id,
                                       .packet_id = session->inbound[i]};
        err = sink->take(sink->context, &operation);
    }
    return err;
}

enum err wal_state_give_sessions(struct wal_state *state, const struct operation_sink *sink)
{
    enum err err = ERR_OK;
    list_foreach(item, &state->session_list)
    {
        err = give_session(list_entry(item, struct wal_session, link), sink);
        if (err != ERR_OK) {
            break;
        }
    }
    return err;
}

/* ---- for whoever loads ----------------------------------------------------------------------- */

static bool given(const struct wal_state *state, uint32_t slot)
{
    return wal_messages_at(&state->messages, slot)->given;
}

static enum err give_queue(const struct wal_state *state, struct wal_session *session,
                           const struct operation_sink *sink)
{
    enum err err = ERR_OK;
    if (session->will.message != 0 && given(state, session->will.message)) {
        struct operation operation = will_operation(state, session);
        err = sink->take(sink->context, &operation);
    }
    const struct wal_entry *end = wal_queue_end(&session->queue);
    const struct wal_entry *entry = wal_queue_seek(&session->queue, 0);
    for (; entry != NULL && entry < end && err == ERR_OK; entry++) {
        if (!entry->gone && (entry->released || given(state, entry->message))) {
            struct operation operation = queue_operation(state, session, entry);
            err = sink->take(sink->context, &operation);
        }
    }
    return err;
}

enum err wal_state_give_queues(struct wal_state *state, const struct operation_sink *sink)
{
    enum err err = ERR_OK;
    list_foreach(item, &state->session_list)
    {
        err = give_queue(state, list_entry(item, struct wal_session, link), sink);
        if (err != ERR_OK) {
            break;
        }
    }
    return err;
}

/* ---- for a snapshot -------------------------------------------------------------------------- */

struct saving {
    struct wal_state *state;
    const struct wal_record_sink *sink;
    bool (*stays)(void *context, uint64_t segment);
    uint8_t *record; /* room for one */
    size_t record_cap;
    struct wal_run run;
    bool in_run;
};

static enum err save_operation(void *context, const struct operation *operation)
{
    struct saving *saving = context;
    size_t size = wal_record_size(operation);
    if (size > saving->record_cap) {
        uint8_t *record = mem_try_resize(saving->record, size);
        if (record == NULL) {
            return ERR_MEMORY;
        }
        saving->record = record;
        saving->record_cap = size;
    }
    (void)wal_record_encode(operation, saving->record); /* ends at `size` */
    return saving->sink->take(saving->sink->context, slice_of(saving->record, size));
}

static enum err end_run(struct saving *saving)
{
    if (!saving->in_run) {
        return ERR_OK;
    }
    saving->in_run = false;
    return saving->sink->take(saving->sink->context, slice_of(saving->run.data, saving->run.len));
}

/* Ends a run that is full. */
static enum err make_room(struct saving *saving)
{
    return saving->in_run && wal_run_full(&saving->run) ? end_run(saving) : ERR_OK;
}

static enum err save_bodies(struct saving *saving)
{
    const struct wal_state *state = saving->state;
    uint32_t file = WAL_FILE_NONE;
    bool stays = false;
    enum err err = ERR_OK;
    for (uint32_t slot = 1; slot < state->messages.slot_count && err == ERR_OK; slot++) {
        const struct wal_message *message = wal_messages_at(&state->messages, slot);
        if (!wal_state__live(message)) {
            continue;
        }
        if (message->file != file) {
            file = message->file;
            stays = saving->stays(saving->sink->context, state->files[file]);
            err = end_run(saving);
        } else {
            err = make_room(saving);
        }
        if (stays && !saving->in_run) {
            wal_bodies_begin(&saving->run, state->files[file]);
            saving->in_run = true;
        }
        if (stays) {
            wal_bodies_add(&saving->run, (struct wal_body_ref){.message = message->id,
                                                               .offset = message->offset,
                                                               .len = message->len});
        }
    }
    return err == ERR_OK ? end_run(saving) : err;
}

/* An entry with several identifiers goes as an operation, all others into a run. */
static enum err save_entry(struct saving *saving, const struct wal_session *session,
                           const struct wal_entry *entry)
{
    struct operation operation = queue_operation(saving->state, session, entry);
    bool alone = entry->many || entry->position == 0;
    enum err err = alone ? end_run(saving) : make_room(saving);
    if (err != ERR_OK) {
        return err;
    }
    if (alone) {
        return save_operation(saving, &operation);
    }
    if (!saving->in_run) {
        wal_queued_begin(&saving->run, session->id);
        saving->in_run = true;
    }
    wal_queued_add(&saving->run, &(struct wal_queued){.position = entry->position,
                                                      .message = operation.message,
                                                      .subscription_id = entry->ids,
                                                      .qos = entry->qos,
                                                      .retain = entry->retain,
                                                      .shared = entry->shared,
                                                      .released = entry->released});
    return ERR_OK;
}

static enum err save_session(struct saving *saving, struct wal_session *session)
{
    const struct operation_sink sink = {.context = saving, .take = save_operation};
    const struct wal_messages *messages = &saving->state->messages;
    enum err err = give_session(session, &sink);
    uint32_t will = session->will.message;
    if (err == ERR_OK && will != 0 && wal_state__live(wal_messages_at(messages, will))) {
        struct operation operation = will_operation(saving->state, session);
        err = save_operation(saving, &operation);
    }
    const struct wal_entry *end = wal_queue_end(&session->queue);
    const struct wal_entry *entry = wal_queue_seek(&session->queue, 0);
    for (; entry != NULL && entry < end && err == ERR_OK; entry++) {
        if (!entry->gone &&
            (entry->released || wal_state__live(wal_messages_at(messages, entry->message)))) {
            err = save_entry(saving, session, entry);
        }
    }
    return err == ERR_OK ? end_run(saving) : err;
}

enum err wal_state_save(struct wal_state *state, const struct wal_record_sink *sink,
                        bool (*stays)(void *context, uint64_t segment))
{
    struct saving *saving = mem_alloc(sizeof(*saving));
    saving->state = state;
    saving->sink = sink;
    saving->stays = stays;
    enum err err = save_bodies(saving);
    list_foreach(item, &state->session_list)
    {
        if (err != ERR_OK) {
            break;
        }
        err = save_session(saving, list_entry(item, struct wal_session, link));
    }
    mem_free(saving->record);
    mem_free(saving);
    return err;
}
