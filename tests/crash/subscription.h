/*
 * subscription: when a filter of a session was asked for, held, given up and gone, as the client
 * saw it. Between asking and the answer nobody but the broker knows: then a message may come, and
 * need not.
 *
 * Owns      its spans of time.
 * Thread    the driver's.
 * Errors    none.
 * Not here  packets (subscriber.h). Moments are the record's: they count events, so that two of
 *           them always have an order.
 */
#ifndef TESTS_CRASH_SUBSCRIPTION_H
#define TESTS_CRASH_SUBSCRIPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum subscription_state {
    SUBSCRIPTION_ABSENT,
    SUBSCRIPTION_ASKED,   /* SUBSCRIBE sent */
    SUBSCRIPTION_HELD,    /* SUBACK seen */
    SUBSCRIPTION_DROPPING /* UNSUBSCRIBE sent, until UNSUBACK */
};

struct span {
    uint64_t asked;
    uint64_t held;     /* 0: not yet */
    uint64_t dropping; /* 0: not yet */
    uint64_t gone;     /* 0: not yet */
};

struct subscription {
    const char *filter; /* constant */
    struct span *spans;
    size_t span_count;
    size_t span_cap;
};

void subscription_init(struct subscription *subscription, const char *filter);
void subscription_fini(struct subscription *subscription);

enum subscription_state subscription_state(const struct subscription *subscription);

/* Moves it to `next` at `moment`. Not one step further: nothing happens. */
void subscription_move(struct subscription *subscription, enum subscription_state next,
                       uint64_t moment);

/* Forgets all but the last span. */
void subscription_forget(struct subscription *subscription);

/* Held for certain from `from` to `to`. */
bool subscription_covers(const struct subscription *subscription, uint64_t from, uint64_t to);

/* May have been there at some moment from `from` to `to`. */
bool subscription_possible(const struct subscription *subscription, uint64_t from, uint64_t to);

/* By the rules of MQTT 5.0, section 4.7; topics beginning with $ are not used here. */
bool filter_matches(const char *filter, const char *topic);

#endif
