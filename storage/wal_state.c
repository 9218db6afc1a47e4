#include "storage/wal_state_priv.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

struct wal_state *wal_state_create(void)
{
    struct wal_state *state = mem_try_alloc(sizeof(*state));
    if (state != NULL) {
        memset(state, 0, offsetof(struct wal_state, ids)); /* the rest is only room */
        list_init(&state->session_list);
    }
    return state;
}

static void free_node(void *context, struct wal_node *node)
{
    (void)context;
    mem_free(container_of(node, struct wal_retained, node));
}

void wal_state_destroy(struct wal_state *state)
{
    if (state == NULL) {
        return;
    }
    list_foreach(item, &state->session_list)
    {
        wal_state__free_session(state, list_entry(item, struct wal_session, link));
    }
    wal_table_each(&state->retained, free_node, NULL);
    wal_table_fini(&state->sessions);
    wal_table_fini(&state->subscriptions);
    wal_table_fini(&state->retained);
    wal_messages_fini(&state->messages);
    mem_free(state->files);
    mem_free(state->id_lists);
    mem_free(state);
}

struct wal_counts wal_state_counts(const struct wal_state *state)
{
    return (struct wal_counts){.sessions = state->sessions.count,
                               .subscriptions = state->subscriptions.count,
                               .inbound_ids = state->inbound,
                               .queued = state->queued,
                               .messages = state->messages.count,
                               .retained = state->retained.count};
}

struct wal_ignored wal_state_ignored(const struct wal_state *state)
{
    struct wal_ignored ignored = {0};
    memcpy(ignored.by_type, state->ignored, sizeof(ignored.by_type));
    for (uint32_t slot = 1; slot < state->messages.slot_count; slot++) {
        const struct wal_message *message = wal_messages_at(&state->messages, slot);
        if (message->id != 0) {
            ignored.references += message->file == WAL_FILE_NONE ? message->refs : 0;
            ignored.messages += message->refs == 0 ? 1 : 0;
        }
    }
    return ignored;
}

struct wal_clock wal_state_clock(const struct wal_state *state)
{
    struct wal_clock clock = state->clock;
    if (clock.next_id <= state->id_max) {
        clock.next_id = state->id_max + 1;
    }
    return clock;
}

void wal_state_set_clock(struct wal_state *state, struct wal_clock clock)
{
    if (clock.now_ms > state->clock.now_ms) {
        state->clock.now_ms = clock.now_ms;
    }
    if (clock.next_id > state->clock.next_id) {
        state->clock.next_id = clock.next_id;
    }
}

/* ---- files and lists of identifiers ---------------------------------------------------------- */

uint32_t wal_state__find_file(struct wal_state *state, uint64_t segment)
{
    if (state->last_file < state->file_count && state->files[state->last_file] == segment) {
        return state->last_file;
    }
    for (uint32_t i = state->file_count; i > 0; i--) {
        if (state->files[i - 1] == segment) {
            state->last_file = i - 1;
            return i - 1;
        }
    }
    return WAL_FILE_NONE;
}

/* The same, and makes a number for it. */
enum err wal_state__add_file(struct wal_state *state, uint64_t segment, uint32_t *file)
{
    *file = wal_state__find_file(state, segment);
    if (*file != WAL_FILE_NONE) {
        return ERR_OK;
    }
    if (state->file_count == state->file_cap) {
        uint32_t cap = state->file_cap > 0 ? state->file_cap * 2 : 16;
        uint64_t *files = mem_try_resize(state->files, cap * sizeof(*files));
        if (files == NULL) {
            return ERR_MEMORY;
        }
        state->files = files;
        state->file_cap = cap;
    }
    state->files[state->file_count] = segment;
    *file = state->last_file = state->file_count++;
    return ERR_OK;
}

static enum err add_id_slot(struct wal_state *state)
{
    if (state->id_list_count == state->id_list_cap) {
        uint32_t cap = state->id_list_cap > 0 ? state->id_list_cap * 2 : 16;
        union wal_id_slot *lists = mem_try_resize(state->id_lists, cap * sizeof(*lists));
        if (lists == NULL) {
            return ERR_MEMORY;
        }
        state->id_lists = lists;
        state->id_list_cap = cap;
    }
    state->id_list_count += state->id_list_count == 0; /* 0 stays unused */
    state->id_lists[state->id_list_count].next_free = 0;
    state->id_list_free = state->id_list_count++;
    return ERR_OK;
}

enum err wal_state__keep_ids(struct wal_state *state, const struct operation *operation,
                             uint32_t *number)
{
    size_t size = operation->subscription_id_count * sizeof(uint32_t);
    if (state->id_list_free == 0 && add_id_slot(state) != ERR_OK) {
        return ERR_MEMORY;
    }
    struct wal_id_list *list = mem_try_alloc(sizeof(*list) + size);
    if (list == NULL) {
        return ERR_MEMORY;
    }
    list->count = operation->subscription_id_count;
    memcpy(list->ids, operation->subscription_ids, size);
    *number = state->id_list_free;
    state->id_list_free = (uint32_t)state->id_lists[*number].next_free;
    state->id_lists[*number].list = list;
    return ERR_OK;
}

static void drop_ids(struct wal_state *state, uint32_t number)
{
    mem_free(state->id_lists[number].list);
    state->id_lists[number].next_free = state->id_list_free;
    state->id_list_free = number;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* One queue entry or will less has the message. */
void wal_state__unref(struct wal_state *state, uint32_t slot)
{
    if (slot == 0) {
        return;
    }
    struct wal_message *message = wal_messages_at(&state->messages, slot);
    message->refs--;
    if (message->refs == 0 && message->file == WAL_FILE_NONE) {
        wal_messages_remove(&state->messages, slot);
    }
}

/* ---- sessions -------------------------------------------------------------------------------- */

struct wal_session *wal_state__find_session(struct wal_state *state, uint64_t id)
{
    if (state->last_session != NULL && state->last_session->id == id) {
        return state->last_session;
    }
    uint64_t hash = hash_bytes(&id, sizeof(id));
    struct wal_node *node = wal_table_first(&state->sessions, hash);
    while (node != NULL && container_of(node, struct wal_session, node)->id != id) {
        node = wal_table_next(node, hash);
    }
    state->last_session = node != NULL ? container_of(node, struct wal_session, node) : NULL;
    return state->last_session;
}

enum err wal_state__make_session(struct wal_state *state, uint64_t id, struct wal_session **out)
{
    struct wal_session *session = mem_try_alloc(sizeof(*session));
    if (session == NULL || wal_table_reserve(&state->sessions) != ERR_OK) {
        mem_free(session);
        return ERR_MEMORY;
    }
    *session = (struct wal_session){.id = id, .node.hash = hash_bytes(&id, sizeof(id))};
    list_init(&session->link);
    list_init(&session->subscriptions);
    wal_table_add(&state->sessions, &session->node);
    list_append(&state->session_list, &session->link);
    *out = state->last_session = session;
    return ERR_OK;
}

void wal_state__free_subscription(struct wal_state *state, struct wal_subscription *subscription)
{
    wal_table_remove(&state->subscriptions, &subscription->node);
    list_remove(&subscription->link);
    mem_free(subscription);
}

void wal_state__release(struct wal_state *state, struct wal_entry *entry)
{
    wal_state__unref(state, entry->message);
    if (entry->many) {
        drop_ids(state, entry->ids);
    }
    entry->message = 0;
    entry->ids = 0;
    entry->many = false;
}

/* Pops all entries from position to last. */
void wal_state__pop(struct wal_state *state, struct wal_queue *queue, uint64_t position,
                    uint64_t last)
{
    const struct wal_entry *end = wal_queue_end(queue);
    struct wal_entry *entry = wal_queue_seek(queue, position);
    for (; entry != NULL && entry < end && entry->position <= last; entry++) {
        if (!entry->gone) {
            wal_state__release(state, entry);
            wal_queue_drop(queue, entry);
            state->queued--;
        }
    }
    wal_queue_tidy(queue);
}

void wal_state__free_session(struct wal_state *state, struct wal_session *session)
{
    list_foreach(item, &session->subscriptions)
    {
        wal_state__free_subscription(state, list_entry(item, struct wal_subscription, link));
    }
    wal_state__pop(state, &session->queue, 0, UINT64_MAX);
    wal_queue_fini(&session->queue);
    wal_state__unref(state, session->will.message);
    state->inbound -= session->inbound_count;
    wal_table_remove(&state->sessions, &session->node);
    list_remove(&session->link);
    mem_free(session->inbound);
    mem_free(session->client_id);
    mem_free(session);
    state->last_session = NULL;
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static uint64_t subscription_hash(const struct wal_session *session, struct slice filter)
{
    return hash_slice(filter) ^ session->node.hash;
}

struct wal_subscription *wal_state__find_subscription(struct wal_state *state,
                                                      const struct wal_session *session,
                                                      struct slice filter)
{
    uint64_t hash = subscription_hash(session, filter);
    struct wal_node *node = wal_table_first(&state->subscriptions, hash);
    for (; node != NULL; node = wal_table_next(node, hash)) {
        struct wal_subscription *subscription = container_of(node, struct wal_subscription, node);
        if (subscription->session == session &&
            slice_equal(slice_of(subscription->filter, subscription->filter_len), filter)) {
            return subscription;
        }
    }
    return NULL;
}

enum err wal_state__make_subscription(struct wal_state *state, struct wal_session *session,
                                      struct slice filter, struct wal_subscription **out)
{
    struct wal_subscription *subscription = mem_try_alloc(sizeof(*subscription) + filter.len);
    if (subscription == NULL || wal_table_reserve(&state->subscriptions) != ERR_OK) {
        mem_free(subscription);
        return ERR_MEMORY;
    }
    *subscription = (struct wal_subscription){.node.hash = subscription_hash(session, filter),
                                              .session = session,
                                              .filter_len = (uint32_t)filter.len};
    memcpy(subscription->filter, filter.data, filter.len);
    wal_table_add(&state->subscriptions, &subscription->node);
    list_init(&subscription->link);
    list_append(&session->subscriptions, &subscription->link);
    *out = subscription;
    return ERR_OK;
}

/* ---- retained messages ----------------------------------------------------------------------- */

struct wal_retained *wal_state__find_retained(struct wal_state *state, struct slice topic)
{
    uint64_t hash = hash_slice(topic);
    struct wal_node *node = wal_table_first(&state->retained, hash);
    for (; node != NULL; node = wal_table_next(node, hash)) {
        struct wal_retained *retained = container_of(node, struct wal_retained, node);
        if (slice_equal(slice_of(retained->topic, retained->topic_len), topic)) {
            return retained;
        }
    }
    return NULL;
}

enum err wal_state__make_retained(struct wal_state *state, struct slice topic,
                                  struct wal_retained **out)
{
    struct wal_retained *retained = mem_try_alloc(sizeof(*retained) + topic.len);
    if (retained == NULL || wal_table_reserve(&state->retained) != ERR_OK) {
        mem_free(retained);
        return ERR_MEMORY;
    }
    *retained = (struct wal_retained){
        .node.hash = hash_slice(topic), .file = WAL_FILE_NONE, .topic_len = (uint16_t)topic.len};
    memcpy(retained->topic, topic.data, topic.len);
    wal_table_add(&state->retained, &retained->node);
    *out = retained;
    return ERR_OK;
}
