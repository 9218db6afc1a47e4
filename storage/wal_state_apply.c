#include <string.h>

#include "base/mem.h"
#include "storage/wal_state_priv.h"

/* What an operation does; `place` is where its record stands. */
typedef enum err (*apply_fn)(struct wal_state *state, struct wal_place place,
                             const struct operation *operation);

static void met_id(struct wal_state *state, uint64_t id)
{
    if (id > state->id_max) {
        state->id_max = id;
    }
}

/* What comes for a session that isn't known is harmless, but tells of damage. */
static enum err ignore(struct wal_state *state, const struct operation *operation)
{
    state->ignored[operation->type]++;
    return ERR_OK;
}

/* ---- messages -------------------------------------------------------------------------------- */

static enum err put_body(struct wal_state *state, uint64_t id, struct wal_place place)
{
    uint32_t slot = 0, file = 0;
    if (id == 0) {
        return ERR_DAMAGED;
    }
    if (wal_state__add_file(state, place.segment, &file) != ERR_OK ||
        wal_messages_add(&state->messages, id, &slot) != ERR_OK) {
        return ERR_MEMORY;
    }
    struct wal_message *message = wal_messages_at(&state->messages, slot);
    message->file = file;
    message->offset = place.offset;
    message->len = place.len;
    met_id(state, id);
    return ERR_OK;
}

static enum err message_put(struct wal_state *state, struct wal_place place,
                            const struct operation *operation)
{
    return put_body(state, operation->message, place);
}

static enum err message_drop(struct wal_state *state, struct wal_place place,
                             const struct operation *operation)
{
    (void)place;
    uint32_t slot = wal_messages_find(&state->messages, operation->message);
    if (slot != 0) {
        struct wal_message *message = wal_messages_at(&state->messages, slot);
        message->file = WAL_FILE_NONE;
        if (message->refs == 0) {
            wal_messages_remove(&state->messages, slot);
        }
    }
    return ERR_OK;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static enum err session_put(struct wal_state *state, struct wal_place place,
                            const struct operation *operation)
{
    (void)place;
    struct slice client_id = operation->client_id;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    if (client_id.len > UINT16_MAX) {
        return ERR_DAMAGED;
    }
    if (session == NULL) {
        enum err err = wal_state__make_session(state, operation->session, &session);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (session->client_id == NULL ||
        !slice_equal(slice_of(session->client_id, session->client_id_len), client_id)) {
        mem_free(session->client_id);
        session->client_id = mem_copy_text(client_id.data, client_id.len);
        session->client_id_len = (uint32_t)client_id.len;
    }
    session->expiry_s = operation->expiry_s;
    session->offline_since_ms = operation->offline_since_ms;
    session->sent_to = operation->sent_to;
    met_id(state, operation->session);
    return ERR_OK;
}

static enum err session_drop(struct wal_state *state, struct wal_place place,
                             const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    if (session != NULL) {
        wal_state__free_session(state, session);
    }
    return ERR_OK;
}

static enum err subscription_put(struct wal_state *state, struct wal_place place,
                                 const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    if (operation->filter.len > UINT16_MAX) {
        return ERR_DAMAGED;
    }
    if (session == NULL) {
        return ignore(state, operation);
    }
    struct wal_subscription *subscription =
        wal_state__find_subscription(state, session, operation->filter);
    if (subscription == NULL) {
        enum err err =
            wal_state__make_subscription(state, session, operation->filter, &subscription);
        if (err != ERR_OK) {
            return err;
        }
    }
    subscription->qos = operation->qos;
    subscription->no_local = operation->no_local;
    subscription->retain_as_published = operation->retain_as_published;
    subscription->retain_handling = operation->retain_handling;
    subscription->subscription_id = operation->subscription_id;
    return ERR_OK;
}

static enum err subscription_drop(struct wal_state *state, struct wal_place place,
                                  const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    struct wal_subscription *subscription =
        session != NULL ? wal_state__find_subscription(state, session, operation->filter) : NULL;
    if (subscription != NULL) {
        wal_state__free_subscription(state, subscription);
    }
    return ERR_OK;
}

/* ---- wills ----------------------------------------------------------------------------------- */

static enum err will_put(struct wal_state *state, struct wal_place place,
                         const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    if (session == NULL || operation->message == 0) {
        return ignore(state, operation);
    }
    uint32_t slot = 0;
    enum err err = wal_messages_add(&state->messages, operation->message, &slot);
    if (err != ERR_OK) {
        return err;
    }
    wal_messages_at(&state->messages, slot)->refs++; /* first, for it may be the same */
    wal_state__unref(state, session->will.message);
    session->will = (struct wal_will){.message = slot,
                                      .delay_s = operation->delay_s,
                                      .message_expiry_s = operation->message_expiry_s,
                                      .has_expiry = operation->has_expiry};
    return ERR_OK;
}

static enum err will_drop(struct wal_state *state, struct wal_place place,
                          const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    if (session != NULL) {
        wal_state__unref(state, session->will.message);
        session->will = (struct wal_will){0};
    }
    return ERR_OK;
}

/* ---- queues ---------------------------------------------------------------------------------- */

/* The new contents of an entry: its references are taken. */
static enum err make_entry(struct wal_state *state, const struct operation *operation,
                           struct wal_entry *entry)
{
    size_t ids = operation->subscription_id_count;
    *entry = (struct wal_entry){.position = operation->position,
                                .ids = ids == 1 ? operation->subscription_ids[0] : 0,
                                .qos = operation->qos,
                                .retain = operation->retain,
                                .shared = operation->shared,
                                .released = operation->released,
                                .many = ids > 1};
    if (entry->many && wal_state__keep_ids(state, operation, &entry->ids) != ERR_OK) {
        return ERR_MEMORY;
    }
    if (!operation->released) {
        enum err err = wal_messages_add(&state->messages, operation->message, &entry->message);
        if (err != ERR_OK) {
            wal_state__release(state, entry);
            return err;
        }
        wal_messages_at(&state->messages, entry->message)->refs++;
    }
    return ERR_OK;
}

static enum err push_entry(struct wal_state *state, struct wal_session *session,
                           const struct operation *operation)
{
    struct wal_entry made;
    if (!operation->released && operation->message == 0) {
        return ERR_OK; /* refers to nothing */
    }
    enum err err = make_entry(state, operation, &made);
    if (err != ERR_OK) {
        return err;
    }
    struct wal_entry *entry = NULL;
    bool fresh = false;
    err = wal_queue_put(&session->queue, operation->position, &entry, &fresh);
    if (err != ERR_OK) {
        wal_state__release(state, &made);
        return err;
    }
    if (!fresh) {
        wal_state__release(state, entry);
    }
    *entry = made;
    state->queued += fresh ? 1 : 0;
    return ERR_OK;
}

static enum err queue_push(struct wal_state *state, struct wal_place place,
                           const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    return session != NULL ? push_entry(state, session, operation) : ignore(state, operation);
}

static enum err queue_release(struct wal_state *state, struct wal_place place,
                              const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    struct wal_entry *entry =
        session != NULL ? wal_queue_find(&session->queue, operation->position) : NULL;
    if (entry != NULL && !entry->released) {
        wal_state__unref(state, entry->message);
        entry->message = 0;
        entry->released = true;
    }
    return ERR_OK;
}

static enum err queue_pop(struct wal_state *state, struct wal_place place,
                          const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    if (session != NULL) {
        wal_state__pop(state, &session->queue, operation->position, operation->last);
    }
    return ERR_OK;
}

/* ---- inbound ids ----------------------------------------------------------------------------- */

/* How many of the session's ids are lower. */
static uint32_t inbound_before(const struct wal_session *session, uint16_t packet_id)
{
    uint32_t low = 0, high = session->inbound_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (session->inbound[middle] < packet_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static enum err reserve_inbound(struct wal_session *session)
{
    if (session->inbound_count < session->inbound_cap) {
        return ERR_OK;
    }
    uint32_t cap = session->inbound_cap > 0 ? session->inbound_cap * 2 : 8;
    uint16_t *inbound = mem_try_resize(session->inbound, cap * sizeof(*inbound));
    if (inbound == NULL) {
        return ERR_MEMORY;
    }
    session->inbound = inbound;
    session->inbound_cap = cap;
    return ERR_OK;
}

static enum err inbound_qos2_put(struct wal_state *state, struct wal_place place,
                                 const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    if (session == NULL) {
        return ignore(state, operation);
    }
    uint32_t at = inbound_before(session, operation->packet_id);
    if (at < session->inbound_count && session->inbound[at] == operation->packet_id) {
        return ERR_OK;
    }
    enum err err = reserve_inbound(session);
    if (err != ERR_OK) {
        return err;
    }
    uint16_t *spot = session->inbound + at;
    memmove(spot + 1, spot, (session->inbound_count - at) * sizeof(*spot));
    *spot = operation->packet_id;
    session->inbound_count++;
    state->inbound++;
    return ERR_OK;
}

static enum err inbound_qos2_drop(struct wal_state *state, struct wal_place place,
                                  const struct operation *operation)
{
    (void)place;
    struct wal_session *session = wal_state__find_session(state, operation->session);
    uint32_t at = session != NULL ? inbound_before(session, operation->packet_id) : 0;
    if (session == NULL || at == session->inbound_count ||
        session->inbound[at] != operation->packet_id) {
        return ERR_OK;
    }
    uint16_t *spot = session->inbound + at;
    memmove(spot, spot + 1, (session->inbound_count - at - 1) * sizeof(*spot));
    session->inbound_count--;
    state->inbound--;
    return ERR_OK;
}

/* ---- retained messages ----------------------------------------------------------------------- */

static enum err retained_put(struct wal_state *state, struct wal_place place,
                             const struct operation *operation)
{
    uint32_t file = 0;
    if (operation->topic.len > UINT16_MAX) {
        return ERR_DAMAGED;
    }
    struct wal_retained *retained = wal_state__find_retained(state, operation->topic);
    enum err err = wal_state__add_file(state, place.segment, &file);
    if (err == ERR_OK && retained == NULL) {
        err = wal_state__make_retained(state, operation->topic, &retained);
    }
    if (err != ERR_OK) {
        return err;
    }
    retained->file = file;
    retained->offset = place.offset;
    retained->len = place.len;
    return ERR_OK;
}

static enum err retained_drop(struct wal_state *state, struct wal_place place,
                              const struct operation *operation)
{
    (void)place;
    struct wal_retained *retained = wal_state__find_retained(state, operation->topic);
    if (retained != NULL) {
        wal_table_remove(&state->retained, &retained->node);
        mem_free(retained);
    }
    return ERR_OK;
}

/* ---- records --------------------------------------------------------------------------------- */

static enum err apply_bodies(struct wal_state *state, struct slice record)
{
    struct wal_run_reader run;
    enum err err = wal_run_open(record, &run);
    while (err == ERR_OK && run.rest.len > 0) {
        struct wal_body_ref ref;
        err = wal_bodies_next(&run, &ref);
        if (err == ERR_OK) {
            err = put_body(
                state, ref.message,
                (struct wal_place){.segment = run.owner, .offset = ref.offset, .len = ref.len});
        }
    }
    return err;
}

static enum err apply_queue(struct wal_state *state, struct slice record)
{
    struct wal_run_reader run;
    enum err err = wal_run_open(record, &run);
    struct wal_session *session = err == ERR_OK ? wal_state__find_session(state, run.owner) : NULL;
    while (err == ERR_OK && run.rest.len > 0) {
        struct wal_queued entry;
        err = wal_queued_next(&run, &entry);
        if (err == ERR_OK) {
            const struct operation operation = {.type = OPERATION_QUEUE_PUSH,
                                                .position = entry.position,
                                                .message = entry.message,
                                                .qos = entry.qos,
                                                .retain = entry.retain,
                                                .shared = entry.shared,
                                                .released = entry.released,
                                                .subscription_ids = &entry.subscription_id,
                                                .subscription_id_count =
                                                    entry.subscription_id != 0 ? 1 : 0};
            err = session != NULL ? push_entry(state, session, &operation)
                                  : ignore(state, &operation);
        }
    }
    return err;
}

static enum err apply_packed(struct wal_state *state, struct slice record)
{
    struct wal_clock clock;
    enum err err;
    switch (record.data[0]) {
    case WAL_PACKED_CLOCK:
        err = wal_clock_decode(record, &clock);
        if (err == ERR_OK) {
            wal_state_set_clock(state, clock);
        }
        return err;
    case WAL_PACKED_BODIES:
        return apply_bodies(state, record);
    case WAL_PACKED_QUEUE:
        return apply_queue(state, record);
    default:
        return ERR_DAMAGED;
    }
}

/* clang-format off */
static const apply_fn apply_by_type[] = {
#define OPERATION(NAME, name, help) [OPERATION_##NAME] = name,
#define FIELD(kind, member)
#define END
#include "storage/operations.def"
#undef OPERATION
#undef FIELD
#undef END
};
/* clang-format on */

enum err wal_state_apply(struct wal_state *state, struct wal_place place, struct slice record)
{
    struct operation operation;
    size_t len = 0;
    if (record.len > 0 && record.data[0] >= WAL_PACKED_MIN) {
        return apply_packed(state, record);
    }
    enum err err = wal_record_decode(record, &operation, state->ids, &len);
    if (err != ERR_OK || len != record.len) {
        return ERR_DAMAGED;
    }
    return apply_by_type[operation.type](state, place, &operation);
}
