#include "node/restore.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/message.h"
#include "base/reclaim.h"
#include "codec/topic.h"
#include "node/retained.h"
#include "node/session.h"
#include "node/will.h"
#include "node/worker.h"
#include "storage/storage.h"

/* What was read, by the number that it is stored under; open-addressed. */
struct id_table {
    struct id_entry {
        uint64_t id; /* 0: free */
        void *value;
    } * entries;
    size_t cap; /* a power of two */
    size_t count;
};

/* A session that was read. */
struct restored {
    struct session *session;
    uint64_t stored_id;
    uint64_t offline_since_ms; /* wall clock; 0: it was connected */
    uint64_t sent_to;
};

struct restore {
    struct broker *broker;
    struct id_table messages; /* struct message, a reference */
    struct id_table sessions; /* struct restored */
    uint64_t *outdated;       /* sessions whose client has a newer one */
    uint32_t outdated_count;
    uint32_t outdated_cap;
    size_t refused; /* retained messages over the limit */
    size_t unfit;   /* queue entries at positions that can't be */
};

/* ---- tables ---------------------------------------------------------------------------------- */

static struct id_entry *place_of(const struct id_table *table, uint64_t id)
{
    size_t at = (size_t)(id * 0x9e3779b97f4a7c15u >> 20) & (table->cap - 1);
    while (table->entries[at].id != 0 && table->entries[at].id != id) {
        at = (at + 1) & (table->cap - 1);
    }
    return &table->entries[at];
}

static enum err grow(struct id_table *table)
{
    struct id_table grown = {.cap = table->cap > 0 ? table->cap * 2 : 1024, .count = table->count};
    grown.entries = mem_try_alloc(grown.cap * sizeof(*grown.entries));
    if (grown.entries == NULL) {
        return ERR_MEMORY;
    }
    memset(grown.entries, 0, grown.cap * sizeof(*grown.entries));
    for (size_t i = 0; i < table->cap; i++) {
        if (table->entries[i].id != 0) {
            *place_of(&grown, table->entries[i].id) = table->entries[i];
        }
    }
    mem_free(table->entries);
    *table = grown;
    return ERR_OK;
}

/* `id` is not there yet, and not 0. */
static enum err table_add(struct id_table *table, uint64_t id, void *value)
{
    if (table->count * 3 >= table->cap * 2) {
        enum err err = grow(table);
        if (err != ERR_OK) {
            return err;
        }
    }
    *place_of(table, id) = (struct id_entry){.id = id, .value = value};
    table->count++;
    return ERR_OK;
}

/* NULL: it is not there. */
static void *table_find(const struct id_table *table, uint64_t id)
{
    return table->cap == 0 || id == 0 ? NULL : place_of(table, id)->value;
}

static struct session *find_session(const struct restore *restore, uint64_t id)
{
    const struct restored *found = table_find(&restore->sessions, id);
    return found != NULL ? found->session : NULL;
}

/* ---- operations ------------------------------------------------------------------------------ */

static void count_entry(struct session *session, const struct outbound_entry *entry, int64_t by)
{
    struct metrics *metrics = &session->worker->metrics;
    if (entry->state == OUTBOUND_WAITING) {
        metric_add(metrics, METRIC_QUEUED, by);
    } else {
        metric_add(metrics, entry->qos_2 ? METRIC_QOS2_INFLIGHT : METRIC_QOS1_INFLIGHT, by);
    }
}

static void count_entries(struct session *session, uint32_t from, uint32_t end, int64_t by)
{
    for (uint32_t i = from; i < end; i++) {
        count_entry(session, outbound_at(&session->outbound, i), by);
    }
}

/* It was read, and is not to be there: as if it had not been read. */
static void forget_session(struct session *session)
{
    struct outbound *out = &session->outbound;
    count_entries(session, 0, out->count, -1);
    for (uint32_t i = 0; i < out->count; i++) {
        struct message *message = outbound_at(out, i)->message;
        if (message != NULL) {
            message->stored_refs--;
        }
    }
    struct metrics *metrics = &session->worker->metrics;
    worker_queue_bytes(session->worker, -(int64_t)out->bytes);
    if (session->inbound != NULL) {
        metric_add(metrics, METRIC_QOS2_INFLIGHT, -(int64_t)session->inbound->id_count);
    }
    if (session->will != NULL) {
        session->will->message->stored_refs--;
    }
    session_free(session);
}

/* Of two sessions of one client, which a crash in between can leave, the newer one counts. */
static bool is_outdated(struct restore *restore, struct worker *worker,
                        const struct operation *operation)
{
    struct session *other = session_table_find(&worker->sessions, operation->client_id);
    if (other == NULL) {
        return false;
    }
    uint64_t drop = operation->session;
    for (size_t i = 0; i < restore->sessions.cap; i++) {
        struct restored *own = restore->sessions.entries[i].value;
        if (own != NULL && own->session == other && own->stored_id < drop) {
            drop = own->stored_id;
            forget_session(other);
            own->session = NULL;
        }
    }
    restore->outdated = mem_grow(restore->outdated, restore->outdated_count, &restore->outdated_cap,
                                 sizeof(*restore->outdated));
    restore->outdated[restore->outdated_count++] = drop;
    return drop == operation->session;
}

static enum err take_session(struct restore *restore, const struct operation *operation)
{
    struct broker *broker = restore->broker;
    struct worker *worker = broker->workers[broker_worker_of(broker, operation->client_id)];
    if (is_outdated(restore, worker, operation)) {
        return ERR_OK;
    }
    struct restored *own = mem_alloc(sizeof(*own));
    own->session = session_create(worker, operation->client_id);
    own->session->expiry_s = operation->expiry_s;
    own->stored_id = operation->session;
    own->offline_since_ms = operation->offline_since_ms;
    own->sent_to = operation->sent_to;
    return table_add(&restore->sessions, operation->session, own);
}

static enum err take_subscription(struct restore *restore, const struct operation *operation)
{
    struct session *session = find_session(restore, operation->session);
    struct topic_filter filter;
    if (session == NULL || !topic_filter_parse(operation->filter, &filter)) {
        return ERR_OK;
    }
    struct subscription options = {.id = operation->subscription_id,
                                   .qos = operation->qos,
                                   .no_local = operation->no_local,
                                   .retain_as_published = operation->retain_as_published,
                                   .retain_handling = operation->retain_handling};
    bool existed = false;
    (void)session_subscribe(session, filter.filter, filter.share, &options, &existed);
    return ERR_OK;
}

static struct message describe(const struct restore *restore, const struct operation *operation)
{
    struct message message =
        message_borrow(operation->topic, operation->properties, operation->payload);
    message.qos = operation->qos;
    message.expires_at_ms = storage_mono_ms(restore->broker->storage, operation->expires_at_ms);
    message.publisher_id = operation->publisher;
    return message;
}

static enum err take_message(struct restore *restore, const struct operation *operation)
{
    struct message message = describe(restore, operation);
    message.retain = operation->retain;
    struct message *kept = message_keep(&message);
    message_release(&message);
    if (kept == NULL) {
        return ERR_MEMORY;
    }
    kept->stored_id = operation->message;
    return table_add(&restore->messages, operation->message, kept);
}

static enum err take_will(struct restore *restore, const struct operation *operation)
{
    struct session *session = find_session(restore, operation->session);
    struct message *message = table_find(&restore->messages, operation->message);
    if (session == NULL || message == NULL || session->will != NULL) {
        return ERR_OK;
    }
    struct will *will = mem_alloc(sizeof(*will));
    will->message = message_keep(message);
    will->delay_s = operation->delay_s;
    will->has_expiry = operation->has_expiry;
    will->expiry_s = operation->message_expiry_s;
    message->stored_refs++;
    session->will = will;
    return ERR_OK;
}

/* What may have been sent keeps its packet id, and is sent again as such. */
static enum outbound_state state_of(const struct restored *own, const struct operation *operation)
{
    const struct outbound *out = &own->session->outbound;
    bool in_reach = out->count == 0 ||
                    operation->position - outbound_at(out, 0)->position < OUTBOUND_INFLIGHT_MAX;
    bool sent = own->offline_since_ms == 0 || operation->position < own->sent_to;
    if (operation->released) {
        return OUTBOUND_RELEASED;
    }
    return sent && in_reach && out->inflight == out->count ? OUTBOUND_SENT : OUTBOUND_WAITING;
}

static enum err take_push(struct restore *restore, const struct operation *operation)
{
    const struct restored *own = table_find(&restore->sessions, operation->session);
    struct message *message = table_find(&restore->messages, operation->message);
    if (own == NULL || own->session == NULL || (message == NULL && !operation->released)) {
        return ERR_OK;
    }
    struct outbound *out = &own->session->outbound;
    if (operation->position <= out->last_position || operation->position > OUTBOUND_POSITION_MAX) {
        restore->unfit++;
        return ERR_OK;
    }
    struct outbound_entry entry = {.message = operation->released ? NULL : message_keep(message),
                                   .position = operation->position & OUTBOUND_POSITION_MAX,
                                   .state = state_of(own, operation),
                                   .qos_2 = operation->qos == 2,
                                   .retain = operation->retain,
                                   .shared = operation->shared,
                                   .subscription_id = operation->subscription_id_count == 1
                                                          ? operation->subscription_ids[0]
                                                          : 0};
    size_t before = out->bytes;
    uint32_t waiting = entry.state == OUTBOUND_WAITING ? out->count : out->inflight;
    uint32_t end = out->count;
    count_entries(own->session, waiting, end, -1);
    enum err err =
        outbound_restore(out, entry, operation->subscription_ids, operation->subscription_id_count);
    count_entries(own->session, waiting, end, 1); /* they count as sent if this one was */
    if (err != ERR_OK) {
        message_unref(entry.message);
        return err;
    }
    if (message != NULL) {
        message->stored_refs++;
    }
    count_entry(own->session, &entry, 1);
    worker_queue_bytes(own->session->worker, (int64_t)(out->bytes - before));
    return ERR_OK;
}

static enum err take_inbound(struct restore *restore, const struct operation *operation)
{
    struct session *session = find_session(restore, operation->session);
    if (session == NULL) {
        return ERR_OK;
    }
    enum err err = inbound_add_id(session_inbound(session), operation->packet_id);
    metric_add(&session->worker->metrics, METRIC_QOS2_INFLIGHT, err == ERR_OK);
    return err == ERR_EXISTS ? ERR_OK : err;
}

static enum err take_retained(struct restore *restore, const struct operation *operation)
{
    struct message message = describe(restore, operation);
    message.retain = true;
    enum err err = ERR_OK;
    if (!message_expired(&message, clock_mono_ms())) {
        err = retained_set(restore->broker->retained, &message);
    }
    message_release(&message);
    restore->refused += err == ERR_FULL;
    return err == ERR_FULL ? ERR_OK : err;
}

static enum err take(void *context, const struct operation *operation)
{
    static enum err (*const takers[OPERATION_TYPES])(struct restore *, const struct operation *) = {
        [OPERATION_SESSION_PUT] = take_session,   [OPERATION_SUBSCRIPTION_PUT] = take_subscription,
        [OPERATION_WILL_PUT] = take_will,         [OPERATION_MESSAGE_PUT] = take_message,
        [OPERATION_QUEUE_PUSH] = take_push,       [OPERATION_INBOUND_QOS2_PUT] = take_inbound,
        [OPERATION_RETAINED_PUT] = take_retained,
    };
    struct restore *restore = context;
    ASSERT(takers[operation->type] != NULL); /* a load has no drops and pops */
    if (atomic_load_explicit(&restore->broker->stopping, memory_order_relaxed)) {
        return ERR_STOPPED;
    }
    reclaim_enter();
    enum err err = takers[operation->type](restore, operation);
    reclaim_leave();
    return err;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* New entries come behind all that were ever sent, also behind those that are finished. */
static void continue_positions(struct session *session, uint64_t sent_to)
{
    struct outbound *out = &session->outbound;
    if (sent_to <= OUTBOUND_POSITION_MAX && out->last_position + 1 < sent_to) {
        out->last_position = sent_to - 1;
    }
}

/* From here on the session is like any other that is offline. */
static void let_live(struct restore *restore, const struct restored *own)
{
    const struct storage *storage = restore->broker->storage;
    struct session *session = own->session;
    uint64_t now_ms = storage_now_ms(storage);
    uint64_t since_ms = own->offline_since_ms > 0 ? own->offline_since_ms : now_ms;
    session->stored_id = own->stored_id;
    session->held_to = 0;
    continue_positions(session, own->sent_to);
    session_restored(session, now_ms > since_ms ? now_ms - since_ms : 0);
    if (own->offline_since_ms == 0) {
        journal_session(session); /* a second crash must not give it more time */
    }
}

static void finish(struct restore *restore, bool loaded)
{
    for (size_t i = 0; i < restore->sessions.cap; i++) {
        struct restored *own = restore->sessions.entries[i].value;
        if (own != NULL && own->session != NULL && loaded) {
            let_live(restore, own);
        }
        mem_free(own);
    }
    for (size_t i = 0; i < restore->messages.cap; i++) {
        message_unref(restore->messages.entries[i].value);
    }
    for (uint32_t i = 0; i < restore->outdated_count && loaded; i++) {
        journal_outdated(restore->broker->workers[0], restore->outdated[i]);
    }
    if (restore->refused > 0) {
        log_warning(LOG_STORAGE, "stored retained messages left out: limits are lower now",
                    log_uint("messages", restore->refused));
    }
    if (restore->unfit > 0) {
        log_error(LOG_STORAGE, "stored queue entries left out: their positions can't be",
                  log_uint("entries", restore->unfit));
    }
    mem_free(restore->sessions.entries);
    mem_free(restore->messages.entries);
    mem_free(restore->outdated);
}

static void update_clocks(struct broker *broker)
{
    for (unsigned i = 0; i < broker->worker_count; i++) {
        uv_update_time(&broker->workers[i]->loop);
    }
}

enum err restore_load(struct broker *broker)
{
    struct restore restore = {.broker = broker};
    struct operation_sink sink = {.context = &restore, .take = take};
    reclaim_thread_register();
    enum err err = storage_load(broker->storage, &sink);
    update_clocks(broker); /* they stood still while the store was read */
    finish(&restore, err == ERR_OK);
    reclaim_thread_unregister();
    return err;
}
