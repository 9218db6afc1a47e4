#include "node/journal_priv.h"

#include "base/mem.h"
#include "base/message.h"
#include "node/outbound.h"
#include "node/receipt.h"
#include "node/session.h"
#include "storage/storage.h"

/* The journal's part about queues: pushes, their undoing, pops, placements. */

static struct change describe_push(const struct session *session,
                                   const struct outbound_entry *entry)
{
    struct change change = {.type = OPERATION_QUEUE_PUSH,
                            .qos_2 = entry->qos_2,
                            .retain = entry->retain,
                            .shared = entry->shared,
                            .session = session->stored_id,
                            .position = entry->position,
                            .message = message_keep(entry->message)};
    const uint32_t *ids = NULL;
    size_t count = outbound_ids(&session->outbound, entry, &ids);
    if (count == 1) {
        change.subscription_id = ids[0];
    } else if (count > 1) {
        struct change_ids *own = mem_alloc(sizeof(*own) + count * sizeof(ids[0]));
        own->count = count;
        memcpy(own->ids, ids, count * sizeof(ids[0]));
        change.owned = own;
    }
    return change;
}

static struct change *add_push(struct journal_part *part, const struct change *change)
{
    struct change *added = part_add(&part->part, OPERATION_QUEUE_PUSH, change->session);
    *added = *change;
    part->bytes += message_bytes(change->message);
    return added;
}

/*
 * Adds a push that may be undone soon; returns its place + 1. Places of those that were taken back
 * are used again: while storage takes nothing, messages may come and go without end. Free places
 * are linked by `position`.
 */
static uint32_t add_undoable(struct worker *worker, const struct change *change)
{
    struct journal *journal = &worker->journal;
    struct storage_part *part = &journal->undoable->part;
    if (part->live == 0) {
        part_clear(part);
        journal__begin_undoable(worker);
    }
    uint32_t place = journal->undoable_free;
    if (place == 0) {
        (void)add_push(journal->undoable, change);
        return part->count;
    }
    struct change *freed = &part->changes[place - 1];
    journal->undoable_free = (uint32_t)freed->position;
    *freed = *change;
    part->live++;
    journal->undoable->bytes += message_bytes(change->message);
    return place;
}

/* Takes `push` back, which is in `part`. */
static void take_back(struct journal *journal, struct journal_part *part, struct change *push)
{
    part->bytes -= message_bytes(push->message);
    part_cancel(&part->part, push);
    if (part == journal->undoable) {
        push->position = journal->undoable_free;
        journal->undoable_free = (uint32_t)(push - part->part.changes) + 1;
    }
    stat_add(storage_stats(journal->storage), STAT_CANCELLED, 1);
}

void journal_push(struct session *session, struct outbound_entry *entry, struct receipt **receipt,
                  bool undoable)
{
    struct worker *worker = session->worker;
    if (session->stored_id == 0) {
        return;
    }
    struct change change = describe_push(session, entry);
    if (receipt_places(receipt)) {
        if ((*receipt)->home != worker->index && !journal__is_introduced(session)) {
            journal__hand_over_early(worker); /* the push goes with parts of another worker */
        }
        entry->gate = OUTBOUND_UNTIL_PLACED;
        receipt_carry(worker, *receipt, session->handle, &change);
        return;
    }
    change.waiter = receipt_hold(worker, receipt);
    if (undoable && worker->config->storage_undo_window_ms > 0 && journal__is_introduced(session)) {
        entry->change = add_undoable(worker, &change);
    } else {
        (void)add_push(worker->journal.filling, &change);
        entry->change = journal__filling(session)->count;
    }
    if (entry->qos_2) {
        entry->gate = OUTBOUND_UNTIL_HELD;
        journal__wait_held(session, entry->position);
    }
}

/* The push of `entry`, if it has not been handed over; `*part` is where it is. */
static struct change *find_push(struct session *session, const struct outbound_entry *entry,
                                struct journal_part **part)
{
    struct journal *journal = &session->worker->journal;
    struct journal_part *places[] = {journal->filling, journal->undoable};
    for (size_t i = 0; i < ARRAY_COUNT(places); i++) {
        struct change *change = journal__change_at(&places[i]->part, entry->change,
                                                   OPERATION_QUEUE_PUSH, session->stored_id);
        if (change != NULL && change->position == entry->position) {
            *part = places[i];
            return change;
        }
    }
    return NULL;
}

static void add_pop(struct storage_part *part, const struct session *session,
                    const struct outbound_entry *entry)
{
    struct change *change = part_add(part, OPERATION_QUEUE_POP, session->stored_id);
    change->position = entry->position;
    change->message = entry->message != NULL ? message_keep(entry->message) : NULL;
}

void journal_pop(struct session *session, const struct outbound_entry *entry)
{
    if (session->stored_id == 0 || entry->gate == OUTBOUND_UNTIL_PLACED) {
        return; /* what is on its way to a placement is popped when it comes back: journal_placed */
    }
    struct journal_part *part = NULL;
    struct change *push = find_push(session, entry, &part);
    if (push != NULL) {
        struct receipt *waiter = push->waiter;
        push->waiter = NULL;
        take_back(&session->worker->journal, part, push);
        receipt_done(session->worker, waiter);
    } else {
        add_pop(journal__filling(session), session, entry);
    }
}

void journal_pop_placed(struct session *session, const struct outbound_entry *entry,
                        struct receipt *placement)
{
    if (session->stored_id == 0) {
        return;
    }
    struct journal_part *part = NULL;
    struct change *push = find_push(session, entry, &part);
    struct journal_part *filling = session->worker->journal.filling;
    if (push != NULL && part != filling) { /* the pop must not come before it */
        (void)add_push(filling, push);
        part->bytes -= message_bytes(push->message);
        *push = (struct change){.type = CHANGE_NONE};
        part->part.live--; /* its place stays unused */
    }
    add_pop(&placement->placement->closing, session, entry);
}

bool journal_release(struct session *session, struct outbound_entry *entry)
{
    if (session->stored_id == 0) {
        return false;
    }
    struct change *change =
        part_add(journal__filling(session), OPERATION_QUEUE_RELEASE, session->stored_id);
    change->position = entry->position;
    change->message = message_keep(entry->message);
    struct journal_wait *wait = journal__wait(session->worker->journal.filling);
    wait->kind = WAIT_RELEASE;
    wait->session = session->handle;
    wait->position = entry->position;
    return true;
}

/* ---- placements ------------------------------------------------------------------------------ */

void journal_place(struct worker *worker, struct receipt *receipt)
{
    struct storage_part *part = &worker->journal.filling->part;
    struct storage_part *closing = &receipt->placement->closing;
    uint64_t will_of = receipt->placement->will_of;
    uint32_t before = part->count;
    for (struct carried *own = receipt->placement->carried; own != NULL; own = own->next) {
        struct change *added = add_push(worker->journal.filling, &own->change);
        added->message = message_keep(own->change.message); /* journal_placed needs it too */
        own->change.owned = NULL;
    }
    for (uint32_t i = 0; i < closing->count; i++) {
        *part_add(part, OPERATION_QUEUE_POP, 0) = closing->changes[i];
    }
    closing->count = 0; /* moved */
    closing->live = 0;
    if (part->count > before) {
        part->changes[part->count - 1].waiter = receipt;
    } else {
        receipt_done(worker, receipt);
    }
    if (will_of != 0) {
        journal__will_ended(worker, will_of);
    }
}

void journal_placed(struct worker *worker, uint64_t handle, const struct change *change)
{
    struct session *session = session_table_get(&worker->sessions, handle);
    struct outbound_entry *entry =
        session != NULL && session->stored_id == change->session
            ? outbound_find_position(&session->outbound, change->position)
            : NULL;
    if (entry != NULL && entry->state == OUTBOUND_WAITING) {
        entry->gate = OUTBOUND_OPEN;
        session_pump(session);
        return;
    }
    struct change *pop = part_add(&worker->journal.filling->part, OPERATION_QUEUE_POP,
                                  change->session); /* dropped meanwhile */
    pop->position = change->position;
    pop->message = message_keep(change->message);
}
