#include "node/receipt.h"

#include "base/mem.h"
#include "base/message.h"
#include "node/inbound.h"
#include "node/journal.h"
#include "node/session.h"

static void open_receipt(struct worker *worker, struct mail *mail);

struct receipt *receipt_create(struct worker *home)
{
    struct receipt *receipt = mem_alloc(sizeof(*receipt));
    receipt->mail.open = open_receipt;
    receipt->home = home->index;
    atomic_store_explicit(&receipt->waiting, 1, memory_order_relaxed);
    return receipt;
}

struct receipt *receipt_create_placement(struct worker *home)
{
    struct receipt *receipt = receipt_create(home);
    receipt->placement = mem_alloc(sizeof(*receipt->placement));
    part_init(&receipt->placement->closing, NULL);
    return receipt;
}

static void carried_destroy(struct carried *carried)
{
    message_unref(carried->change.message);
    mem_free(carried->change.owned);
    mem_free(carried);
}

static void placement_destroy(struct placement *placement)
{
    struct letter *letter = mailbox_take(&placement->arriving);
    while (letter != NULL) {
        struct letter *next = letter->next;
        carried_destroy(container_of(letter, struct carried, mail.letter));
        letter = next;
    }
    while (placement->carried != NULL) {
        struct carried *next = placement->carried->next;
        carried_destroy(placement->carried);
        placement->carried = next;
    }
    part_fini(&placement->closing);
    mem_free(placement);
}

void receipt_abandon(struct receipt *receipt)
{
    if (receipt->placement != NULL) {
        placement_destroy(receipt->placement);
    }
    mem_free(receipt);
}

/* ---- coming home ----------------------------------------------------------------------------- */

/* On the worker of the session: storage holds the entry. */
static void open_carried(struct worker *worker, struct mail *mail)
{
    struct carried *carried = container_of(mail, struct carried, mail);
    journal_placed(worker, carried->session, &carried->change);
    carried_destroy(carried);
}

static void tell_carried(struct worker *worker, struct placement *placement)
{
    while (placement->carried != NULL) {
        struct carried *carried = placement->carried;
        placement->carried = carried->next;
        carried->mail.open = open_carried;
        if (carried->worker == worker->index) {
            open_carried(worker, &carried->mail);
        } else {
            worker_send(worker, carried->worker, &carried->mail);
        }
    }
}

/* Everybody has said what is to be written: it goes to the journal, which calls receipt_done when
 * it is held. */
static void place(struct worker *worker, struct receipt *receipt)
{
    struct placement *placement = receipt->placement;
    struct carried **end = &placement->carried;
    placement->placed = true;
    atomic_store_explicit(&receipt->waiting, 1, memory_order_relaxed);
    struct letter *letter = mailbox_take(&placement->arriving);
    while (letter != NULL) {
        struct carried *carried = container_of(letter, struct carried, mail.letter);
        letter = letter->next;
        *end = carried;
        end = &carried->next;
    }
    *end = NULL;
    journal_place(worker, receipt);
}

static void open_receipt(struct worker *worker, struct mail *mail)
{
    struct receipt *receipt = container_of(mail, struct receipt, mail);
    if (receipt->placement != NULL && !receipt->placement->placed) {
        place(worker, receipt);
        return;
    }
    struct session *session = session_table_get(&worker->sessions, receipt->session);
    if (session != NULL && session->inbound != NULL) {
        inbound_ack_ready(session->inbound, receipt->ack_serial);
        session_send_ready_acks(session);
    }
    if (receipt->placement != NULL) {
        tell_carried(worker, receipt->placement);
    }
    receipt_abandon(receipt);
}

/* ---- counting -------------------------------------------------------------------------------- */

struct receipt *receipt_hold(struct worker *worker, struct receipt **slot)
{
    if (slot == NULL) {
        return NULL;
    }
    if (*slot == NULL) {
        *slot = receipt_create(worker);
    }
    atomic_fetch_add_explicit(&(*slot)->waiting, 1, memory_order_relaxed);
    return *slot;
}

void receipt_done(struct worker *worker, struct receipt *receipt)
{
    if (receipt == NULL ||
        atomic_fetch_sub_explicit(&receipt->waiting, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (receipt->home == worker->index) {
        open_receipt(worker, &receipt->mail);
    } else {
        worker_send(worker, receipt->home, &receipt->mail);
    }
}

void receipt_await(struct worker *worker, struct receipt *receipt, uint64_t session,
                   uint32_t ack_serial)
{
    receipt->session = session;
    receipt->ack_serial = ack_serial;
    receipt_done(worker, receipt);
}

void receipt_carry(struct worker *worker, struct receipt *receipt, uint64_t session,
                   const struct change *change)
{
    struct carried *carried = mem_alloc(sizeof(*carried));
    carried->worker = worker->index;
    carried->session = session;
    carried->change = *change;
    if (mailbox_push(&receipt->placement->arriving, &carried->mail.letter)) {
        return; /* nobody sleeps on it: it is opened when the receipt is home */
    }
}
