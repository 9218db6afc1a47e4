#include "node/journal.h"

#include "base/mem.h"
#include "base/message.h"
#include "node/journal_priv.h"
#include "node/outbound.h"
#include "node/receipt.h"
#include "node/session.h"
#include "node/will.h"
#include "storage/storage.h"

/*
 * Parts of one worker are committed in the order of their hand-over. So it is enough that a change
 * that needs an earlier one is handed over after it, or with it. The undoable ones stay behind what
 * comes later, which is harmless: only their own pop refers to them, and that undoes them, or comes
 * after they were handed over. And they may come before what stays in `filling`: so their session
 * must have been introduced to storage already. The same goes for placements, whose pushes are
 * handed over by another worker than that of their session.
 */

/* Parts under way at once: while one is being synced the next one is ready. */
#define PARTS_UNDER_WAY 2
/* What may gather while storage can't write. */
#define CHANGES_MAX 65536u
#define BYTES_MAX (64u << 20)

/* ---- parts ----------------------------------------------------------------------------------- */

static void put_away(struct journal *journal, struct journal_part *part)
{
    part_clear(&part->part);
    part->bytes = 0;
    part->next = journal->spare;
    journal->spare = part;
}

static void open_part(struct worker *worker, struct mail *mail)
{
    struct journal *journal = &worker->journal;
    struct journal_part *part = container_of(mail, struct journal_part, mail);
    journal->under_way--;
    if (journal->latest == part) {
        journal->latest = NULL;
    }
    journal__complete(worker, part);
    put_away(journal, part);
}

/* On the writer's thread. */
static void on_done(struct storage_part *own, enum err err)
{
    struct journal_part *part = container_of(own, struct journal_part, part);
    part->outcome = err;
    worker_post(part->worker, &part->mail);
}

static struct journal_part *take_part(struct worker *worker)
{
    struct journal_part *part = worker->journal.spare;
    if (part != NULL) {
        worker->journal.spare = part->next;
        part->next = NULL;
        return part;
    }
    part = mem_alloc(sizeof(*part));
    part_init(&part->part, on_done);
    part->mail.open = open_part;
    part->worker = worker;
    return part;
}

static void destroy_parts(struct journal_part *part)
{
    while (part != NULL) {
        struct journal_part *next = part->next;
        part_fini(&part->part);
        mem_free(part->waits);
        mem_free(part);
        part = next;
    }
}

static void on_clock(uv_timer_t *clock)
{
    (void)clock; /* the loop woke up, which is all it is for: journal_flush looks at the time */
}

void journal_init(struct worker *worker, struct storage *storage)
{
    struct journal *journal = &worker->journal;
    uv_timer_init(&worker->loop, &journal->clock);
    journal->storage = storage;
    journal->filling = take_part(worker);
    journal->part_number = 1;
    journal->undoable = take_part(worker);
}

void journal_fini(struct worker *worker)
{
    struct journal *journal = &worker->journal;
    ASSERT(journal->under_way == 0);
    uv_close((uv_handle_t *)&journal->clock, NULL);
    journal->filling->outcome = ERR_STOPPED;
    journal->undoable->outcome = ERR_STOPPED;
    journal__complete(worker, journal->filling);
    journal__complete(worker, journal->undoable);
    destroy_parts(journal->filling);
    destroy_parts(journal->undoable);
    destroy_parts(journal->spare);
    mem_free(journal->held_up);
}

/* ---- handing over ---------------------------------------------------------------------------- */

static bool is_full(const struct journal *journal)
{
    return journal->filling->part.count >= CHANGES_MAX ||
           journal->undoable->part.count >= CHANGES_MAX ||
           journal->filling->bytes + journal->undoable->bytes >= BYTES_MAX;
}

/* Who waits for room goes on, if there is any. */
static void let_go_on(struct worker *worker)
{
    struct journal *journal = &worker->journal;
    if (is_full(journal)) {
        return;
    }
    for (uint32_t i = 0; i < journal->held_up_count; i++) {
        struct session *session = session_table_get(&worker->sessions, journal->held_up[i]);
        if (session != NULL) {
            session->held_up = false;
            session_resume(session);
        }
    }
    journal->held_up_count = 0;
}

static void submit(struct worker *worker, struct journal_part *part)
{
    worker->journal.under_way++;
    storage_submit(worker->journal.storage, &part->part);
}

static void hand_over(struct worker *worker, struct journal_part **slot)
{
    struct journal *journal = &worker->journal;
    struct journal_part *part = *slot;
    *slot = take_part(worker);
    if (storage_policy(journal->storage) == COMMIT_FAST) {
        part->outcome = ERR_OK;
        journal__complete(worker, part);
    }
    submit(worker, part);
}

void journal__hand_over_early(struct worker *worker)
{
    struct journal *journal = &worker->journal;
    struct journal_part *part = journal->filling;
    journal->filling = take_part(worker);
    journal->part_number++;
    journal->latest = part;
    submit(worker, part);
}

/* Everything in it was undone: what waited need not wait for more than was handed over before. */
static void finish_empty(struct worker *worker, struct journal_part *part)
{
    struct journal *journal = &worker->journal;
    for (uint32_t i = 0; i < part->wait_count && journal->latest != NULL; i++) {
        *journal__wait(journal->latest) = part->waits[i];
    }
    part->wait_count = journal->latest != NULL ? 0 : part->wait_count;
    part->outcome = ERR_OK;
    journal__complete(worker, part);
    put_away(journal, part);
}

static void flush_filling(struct worker *worker)
{
    struct journal *journal = &worker->journal;
    struct journal_part *part = journal->filling;
    if (part->part.live == 0) {
        journal->filling = take_part(worker);
        finish_empty(worker, part);
        return;
    }
    /* under `fast` nothing waits, for what was handed over is as good as held */
    journal->latest = storage_policy(journal->storage) == COMMIT_FAST ? NULL : part;
    journal->part_number++;
    hand_over(worker, &journal->filling);
}

void journal__begin_undoable(struct worker *worker)
{
    struct journal *journal = &worker->journal;
    journal->undoable_free = 0;
    journal->undoable_since_ms = worker_now(worker);
    uv_timer_start(&journal->clock, on_clock, worker->config->storage_undo_window_ms, 0);
}

static bool undoable_is_due(const struct worker *worker)
{
    const struct journal *journal = &worker->journal;
    return journal->undoable->part.live > 0 && worker_now(worker) - journal->undoable_since_ms >=
                                                   worker->config->storage_undo_window_ms;
}

static void flush_undoable(struct worker *worker)
{
    struct journal *journal = &worker->journal;
    if (undoable_is_due(worker)) {
        journal->undoable_free = 0;
        hand_over(worker, &journal->undoable);
    } else if (journal->undoable->part.live == 0 && journal->undoable->part.count > 0) {
        journal->undoable_free = 0;
        part_clear(&journal->undoable->part);
        journal->undoable->bytes = 0;
    }
}

static bool is_filled(const struct journal *journal)
{
    return journal->filling->part.count > 0 || journal->filling->wait_count > 0;
}

bool journal_flush(struct worker *worker)
{
    struct journal *journal = &worker->journal;
    if (journal->storage == NULL) {
        return false;
    }
    uint32_t before = journal->under_way;
    bool empty = journal->filling->part.live == 0;
    if (is_filled(journal) && (empty || journal->under_way < PARTS_UNDER_WAY)) {
        flush_filling(worker);
    }
    if (journal->under_way <= PARTS_UNDER_WAY) { /* they have a place of their own */
        flush_undoable(worker);
    }
    let_go_on(worker);
    return journal->under_way != before && storage_policy(journal->storage) == COMMIT_FAST;
}

void journal_flush_all(struct worker *worker)
{
    struct journal *journal = &worker->journal;
    if (journal->storage == NULL) {
        return;
    }
    if (journal->undoable->part.live > 0) {
        hand_over(worker, &journal->undoable);
    }
    if (is_filled(journal)) {
        flush_filling(worker);
    }
}

bool journal_refuses(const struct worker *worker)
{
    const struct journal *journal = &worker->journal;
    return is_full(journal) && stat_get(storage_stats(journal->storage), STAT_FAILING) != 0;
}

void journal_hold_up(struct session *session)
{
    struct journal *journal = &session->worker->journal;
    if (session->held_up || !is_full(journal)) {
        return;
    }
    journal->held_up = mem_grow(journal->held_up, journal->held_up_count, &journal->held_up_cap,
                                sizeof(*journal->held_up));
    journal->held_up[journal->held_up_count++] = session->handle;
    session->held_up = true;
    session_pause(session);
}

/* ---- sessions -------------------------------------------------------------------------------- */

/* The part for a change that is written with `placement`, or with the next hand-over. */
static struct storage_part *part_for(struct session *session, struct receipt *placement)
{
    return placement != NULL ? &placement->placement->closing : journal__filling(session);
}

static struct change_session *describe_session(const struct session *session)
{
    const struct outbound *out = &session->outbound;
    const struct storage *storage = session->worker->journal.storage;
    struct change_session *own = mem_alloc(sizeof(*own) + session->client_id_len);
    own->expiry_s = session->expiry_s;
    own->offline_since_ms =
        session->conn == NULL ? storage_wall_ms(storage, session->offline_since_ms) : 0;
    own->sent_to = outbound_waiting(out) > 0 ? outbound_at(out, out->inflight)->position
                                             : out->last_position + 1;
    own->client_id_len = session->client_id_len;
    memcpy(own->client_id, session->client_id, session->client_id_len);
    return own;
}

void journal_session(struct session *session)
{
    if (session->stored_id == 0) {
        return;
    }
    struct storage_part *part = journal__filling(session);
    struct change *change =
        journal__change_at(part, session->put_change, OPERATION_SESSION_PUT, session->stored_id);
    if (change == NULL) {
        change = part_add(part, OPERATION_SESSION_PUT, session->stored_id);
        session->put_change = part->count;
    }
    mem_free(change->owned);
    change->owned = describe_session(session);
}

void journal_session_drop(struct session *session, struct receipt *placement)
{
    if (session->stored_id != 0) {
        (void)part_add(part_for(session, placement), OPERATION_SESSION_DROP, session->stored_id);
        session->stored_id = 0;
    }
}

void journal_outdated(struct worker *worker, uint64_t stored_id)
{
    (void)part_add(&worker->journal.filling->part, OPERATION_SESSION_DROP, stored_id);
}

static struct change_subscription *describe_filter(struct slice filter, struct slice share)
{
    static const char prefix[] = "$share/";
    size_t head = share.len > 0 ? strlen(prefix) + share.len + 1 : 0;
    struct change_subscription *own = mem_alloc(sizeof(*own) + head + filter.len);
    own->filter_len = (uint16_t)(head + filter.len);
    if (head > 0) {
        memcpy(own->filter, prefix, strlen(prefix));
        memcpy(own->filter + strlen(prefix), share.data, share.len);
        own->filter[head - 1] = '/';
    }
    memcpy(own->filter + head, filter.data, filter.len);
    return own;
}

void journal_subscription(struct session *session, const struct subscription *sub,
                          struct slice filter, struct slice share)
{
    if (session->stored_id == 0) {
        return;
    }
    struct change_subscription *own = describe_filter(filter, share);
    own->subscription_id = sub->id;
    own->qos = sub->qos;
    own->no_local = sub->no_local;
    own->retain_as_published = sub->retain_as_published;
    own->retain_handling = sub->retain_handling;
    part_add(journal__filling(session), OPERATION_SUBSCRIPTION_PUT, session->stored_id)->owned =
        own;
}

void journal_subscription_drop(struct session *session, const struct subscription *sub)
{
    if (session->stored_id == 0) {
        return;
    }
    char *filter = mem_alloc(UINT16_MAX + 1);
    size_t len = sub_index_filter(sub, filter);
    part_add(journal__filling(session), OPERATION_SUBSCRIPTION_DROP, session->stored_id)->owned =
        describe_filter(slice_of(filter, len), sub_index_share_name(sub));
    mem_free(filter);
}

/* The end of an earlier will is not written yet, and would end this one: it waits, and its client.
 */
static void wait_with_will(struct session *session)
{
    if (!session->will_waits) {
        session->will_waits = true;
        session_pause(session);
    }
}

static void stop_waiting(struct session *session)
{
    session->will_waits = false;
    session_resume(session);
}

void journal_will(struct session *session)
{
    if (session->stored_id == 0) {
        return;
    }
    if (session->will_ending) {
        wait_with_will(session);
        return;
    }
    const struct will *will = session->will;
    struct change_will *own = mem_alloc(sizeof(*own));
    own->delay_s = will->delay_s;
    own->has_expiry = will->has_expiry;
    own->message_expiry_s = will->expiry_s;
    struct change *change =
        part_add(journal__filling(session), OPERATION_WILL_PUT, session->stored_id);
    change->owned = own;
    change->message = message_keep(will->message);
}

void journal_will_drop(struct session *session, struct receipt *placement)
{
    if (session->stored_id == 0) {
        return;
    }
    if (session->will_waits) { /* it was never told */
        stop_waiting(session);
        return;
    }
    struct change *change =
        part_add(part_for(session, placement), OPERATION_WILL_DROP, session->stored_id);
    change->message = message_keep(session->will->message);
    if (placement != NULL) {
        placement->placement->will_of = session->handle;
        session->will_ending = true;
    }
}

void journal__will_ended(struct worker *worker, uint64_t handle)
{
    struct session *session = session_table_get(&worker->sessions, handle);
    if (session == NULL) {
        return;
    }
    session->will_ending = false;
    if (session->will_waits) {
        stop_waiting(session);
        journal_will(session);
    }
}

/* ---- the client's own publishes -------------------------------------------------------------- */

struct receipt *journal_inbound(struct session *session, uint16_t packet_id)
{
    if (session->stored_id == 0) {
        return NULL;
    }
    struct receipt *receipt = receipt_create_placement(session->worker);
    struct change *change =
        part_add(&receipt->placement->closing, OPERATION_INBOUND_QOS2_PUT, session->stored_id);
    change->packet_id = packet_id;
    return receipt;
}

void journal_inbound_drop(struct session *session, uint16_t packet_id)
{
    if (session->stored_id != 0) {
        part_add(journal__filling(session), OPERATION_INBOUND_QOS2_DROP, session->stored_id)
            ->packet_id = packet_id;
    }
}

bool journal_forgets(const struct worker *worker)
{
    const struct storage *storage = worker->journal.storage;
    return storage != NULL && storage_policy(storage) == COMMIT_FAST;
}

void journal_retained(struct worker *worker, struct message *message, struct receipt **receipt)
{
    struct journal *journal = &worker->journal;
    struct message *kept = journal->storage != NULL ? message_keep(message) : NULL;
    if (kept == NULL || slice_starts_with(message_topic(message), "$SYS/")) {
        message_unref(kept);
        return;
    }
    struct change *change = part_add(&journal->filling->part, OPERATION_RETAINED_PUT, 0);
    change->message = kept;
    /* what a placement writes comes later, and needs no help */
    change->waiter = receipt_places(receipt) ? NULL : receipt_hold(worker, receipt);
    journal->filling->bytes += message_bytes(kept);
}
