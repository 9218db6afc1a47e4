/*
 * ledger: who has received which message, so that a lost, doubled or misrouted one is noticed.
 *
 * Owns      a counter per publisher and subscriber; for shared subscriptions a bit per message.
 * Thread    one.
 * Errors    create fails only without memory. Faults found are counted in `faults`.
 * Source    MQTT 5.0 section 4.6: messages of one publisher on one topic arrive in order.
 * Not here  the bytes of the payload (stamp.h).
 */
#ifndef TESTS_BENCH_LEDGER_H
#define TESTS_BENCH_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ledger_route {
    LEDGER_PAIRS,  /* publisher N is heard by subscriber N modulo subscribers, and nobody else */
    LEDGER_ALL,    /* every subscriber gets everything */
    LEDGER_SHARED, /* the subscribers together get everything, each message once */
};

struct ledger_faults {
    uint64_t lost;
    uint64_t doubled; /* or late: after a later message of the same publisher */
    uint64_t misrouted;
    uint64_t damaged;
};

struct ledger {
    struct ledger_faults faults;
    uint32_t *next;  /* [subscriber * columns + publisher], pairs: [publisher]; what is expected */
    uint64_t **seen; /* shared only: a bitmap per publisher */
    size_t *seen_words;
    uint32_t *distinct; /* shared only: messages seen, per publisher */
    uint32_t publishers;
    uint32_t subscribers;
    uint32_t columns;
    enum ledger_route route;
};

bool ledger_init(struct ledger *ledger, enum ledger_route route, uint32_t publishers,
                 uint32_t subscribers);
void ledger_fini(struct ledger *ledger);

/* After the last message: what of the `sent` messages of `publisher` never came is lost. */
void ledger_settle(struct ledger *ledger, uint32_t publisher, uint32_t sent);

bool ledger_is_clean(const struct ledger *ledger);

/* The slow half of ledger_note(): anything but the next message of an exclusive subscription. */
void ledger_note_other(struct ledger *ledger, uint32_t subscriber, uint32_t publisher,
                       uint32_t sequence);

/* Where `next` is kept for what `subscriber` gets of `publisher`. */
static inline size_t ledger_index(const struct ledger *ledger, uint32_t subscriber,
                                  uint32_t publisher)
{
    return (ledger->route == LEDGER_PAIRS ? 0 : (size_t)subscriber * ledger->columns) + publisher;
}

static inline bool ledger_is_for(const struct ledger *ledger, uint32_t subscriber,
                                 uint32_t publisher)
{
    return ledger->route != LEDGER_PAIRS || publisher == subscriber ||
           publisher % ledger->subscribers == subscriber;
}

/* Inline: it runs for every message delivered. */
static inline void ledger_note(struct ledger *ledger, uint32_t subscriber, uint32_t publisher,
                               uint32_t sequence)
{
    if (ledger->route != LEDGER_SHARED) {
        uint32_t *next = &ledger->next[ledger_index(ledger, subscriber, publisher)];
        if (sequence == *next && ledger_is_for(ledger, subscriber, publisher)) {
            (*next)++;
            return;
        }
    }
    ledger_note_other(ledger, subscriber, publisher, sequence);
}

#endif
