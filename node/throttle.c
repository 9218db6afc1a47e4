#include "node/throttle.h"

#include "base/list.h"
#include "base/mem.h"
#include "node/conn.h"
#include "node/session.h"
#include "node/session_handle.h"
#include "node/worker.h"

/* ---- consumers that are behind --------------------------------------------------------------- */

struct throttle_waits {
    uint32_t count;
    uint32_t cap;
    uint64_t publishers[];
};

/* Tells the worker of `publisher` to pause or resume it. */
struct throttle_mail {
    struct mail mail;
    uint64_t publisher;
    bool pause;
};

static void apply(struct worker *worker, uint64_t publisher, bool pause)
{
    struct session *session = session_table_get(&worker->sessions, publisher);
    if (session == NULL) {
        return;
    }
    if (pause) {
        session_pause(session);
    } else {
        session_resume(session);
    }
}

static void open_throttle(struct worker *worker, struct mail *mail)
{
    struct throttle_mail *order = container_of(mail, struct throttle_mail, mail);
    apply(worker, order->publisher, order->pause);
    mem_free(order);
}

static void tell(struct worker *worker, uint64_t publisher, bool pause)
{
    unsigned home = session_handle_worker(publisher);
    if (home == worker->index) {
        apply(worker, publisher, pause);
        return;
    }
    struct throttle_mail *order = mem_alloc(sizeof(*order));
    order->mail.open = open_throttle;
    order->publisher = publisher;
    order->pause = pause;
    worker_send(worker, home, &order->mail);
}

/* Newest first: the one that was told last is the one whose messages still come. */
static bool waits_already(const struct throttle_waits *waits, uint64_t publisher)
{
    for (uint32_t i = waits == NULL ? 0 : waits->count; i > 0; i--) {
        if (waits->publishers[i - 1] == publisher) {
            return true;
        }
    }
    return false;
}

static void note(struct conn *consumer, uint64_t publisher)
{
    struct throttle_waits *waits = consumer->waits;
    if (waits == NULL || waits->count == waits->cap) {
        uint32_t cap = waits == NULL ? 4 : waits->cap * 2;
        uint32_t count = waits == NULL ? 0 : waits->count;
        waits = mem_resize(waits, sizeof(*waits) + cap * sizeof(waits->publishers[0]));
        waits->cap = cap;
        waits->count = count;
        consumer->waits = waits;
    }
    waits->publishers[waits->count++] = publisher;
}

bool throttle_publisher(struct conn *consumer, uint64_t publisher)
{
    if (publisher == 0 || publisher == consumer->session->handle) {
        return false; /* its acknowledgements come behind its publishes: it would wait for itself */
    }
    if (!waits_already(consumer->waits, publisher)) {
        note(consumer, publisher);
        tell(consumer->worker, publisher, true);
    }
    conn_dirty(consumer); /* conn_written looks after it */
    return true;
}

void throttle_release(struct conn *consumer)
{
    struct throttle_waits *waits = consumer->waits;
    consumer->waits = NULL; /* those that go on may have to wait again */
    for (uint32_t i = 0; waits != NULL && i < waits->count; i++) {
        tell(consumer->worker, waits->publishers[i], false);
    }
    mem_free(waits);
}

/* ---- mailboxes that are full ----------------------------------------------------------------- */

struct throttle_wait {
    struct list link;
    uint64_t publisher;
};

struct drained_mail {
    struct mail mail;
    unsigned from;
};

static void open_drained(struct worker *worker, struct mail *mail)
{
    struct drained_mail *drained = container_of(mail, struct drained_mail, mail);
    struct list *blocked = &worker->blocked[drained->from];
    struct list last = {.next = NULL};
    list_init(&last);
    list_append(blocked, &last); /* who comes behind this mark has blocked again, and waits */
    while (blocked->next != &last) {
        struct throttle_wait *wait = list_entry(blocked->next, struct throttle_wait, link);
        list_remove(&wait->link);
        apply(worker, wait->publisher, false);
        mem_free(wait);
    }
    list_remove(&last);
    mem_free(drained);
}

static void say_drained(struct worker *worker, unsigned to, unsigned from)
{
    struct drained_mail *drained = mem_alloc(sizeof(*drained));
    drained->mail.open = open_drained;
    drained->from = from;
    worker_send(worker, to, &drained->mail);
}

void throttle_for_worker(struct worker *worker, unsigned to, uint64_t publisher)
{
    struct session *session = session_table_get(&worker->sessions, publisher);
    if (session == NULL || session_handle_worker(publisher) != worker->index) {
        return;
    }
    struct throttle_wait *wait = mem_alloc(sizeof(*wait));
    wait->publisher = publisher;
    list_append(&worker->blocked[to], &wait->link);
    session_pause(session);
    struct worker *target = worker->broker->workers[to];
    atomic_fetch_or(&target->inbox_waiters, (uint64_t)1 << worker->index);
    if (atomic_load(&target->inbox_bytes) < THROTTLE_INBOX_LOW) {
        /* it was emptied before it could see that we wait */
        say_drained(worker, worker->index, to);
    }
}

void throttle_inbox_drained(struct worker *worker)
{
    if (atomic_load_explicit(&worker->inbox_waiters, memory_order_relaxed) == 0 ||
        atomic_load(&worker->inbox_bytes) >= THROTTLE_INBOX_LOW) {
        return;
    }
    uint64_t waiters = atomic_exchange(&worker->inbox_waiters, 0);
    while (waiters != 0) {
        unsigned to = (unsigned)__builtin_ctzll(waiters);
        waiters &= waiters - 1;
        say_drained(worker, to, worker->index);
    }
}

void throttle_forget(struct worker *worker)
{
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        list_foreach(item, &worker->blocked[i])
        {
            mem_free(list_entry(item, struct throttle_wait, link));
        }
        list_init(&worker->blocked[i]);
    }
}
