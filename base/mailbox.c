#include "base/mailbox.h"

/*
 * The letters in a box, and in a batch, are linked from the newest to the oldest, so that pushing
 * either is one compare-exchange; the consumer turns the list round.
 */

void letter_batch_add(struct letter_batch *batch, struct letter *letter)
{
    letter->next = batch->last;
    batch->last = letter;
    if (batch->first == NULL) {
        batch->first = letter;
    }
}

/* Pushes the letters from `newest` to `oldest`, which are linked already. */
static bool push(struct mailbox *box, struct letter *newest, struct letter *oldest)
{
    struct letter *old = atomic_load_explicit(&box->newest, memory_order_relaxed);
    do {
        oldest->next = old;
    } while (!atomic_compare_exchange_weak_explicit(&box->newest, &old, newest,
                                                    memory_order_release, memory_order_relaxed));
    return old == NULL;
}

bool mailbox_push(struct mailbox *box, struct letter *letter)
{
    return push(box, letter, letter);
}

bool mailbox_push_batch(struct mailbox *box, struct letter_batch *batch)
{
    ASSERT(batch->first != NULL);
    struct letter_batch pushed = *batch;
    *batch = (struct letter_batch){.first = NULL, .last = NULL};
    return push(box, pushed.last, pushed.first);
}

struct letter *mailbox_take(struct mailbox *box)
{
    /* The usual answer, nothing, should not take the cache line from the producers. */
    if (atomic_load_explicit(&box->newest, memory_order_relaxed) == NULL) {
        return NULL;
    }
    struct letter *letter = atomic_exchange_explicit(&box->newest, NULL, memory_order_acquire);
    struct letter *taken = NULL;
    while (letter != NULL) {
        struct letter *older = letter->next;
        letter->next = taken;
        taken = letter;
        letter = older;
    }
    return taken;
}
