/*
 * subscriber_plan: what a subscriber does next: stay, leave, vanish in the middle of a handshake,
 * come back after some kills, subscribe to more or to less. When all is to be drained: it comes and
 * stays.
 *
 * Owns      nothing; it works on struct subscriber.
 * Thread    the driver's.
 * Errors    none.
 */
#ifndef TESTS_CRASH_SUBSCRIBER_PLAN_H
#define TESTS_CRASH_SUBSCRIBER_PLAN_H

#include "tests/crash/subscriber.h"

void subscriber__choose_filters(struct subscriber *subscriber, unsigned index);

/* For the connection that is about to be made: its window, how late it answers. */
void subscriber__choose_manners(struct subscriber *subscriber);

/* Each turn. */
void subscriber__follow_plan(struct subscriber *subscriber);

/* Begins or ends subscription `index`, unless it waits for an answer. */
void subscriber__toggle(struct subscriber *subscriber, unsigned index);

/* Whether the store knows for certain that it was connected just now. */
bool subscriber__is_stored(const struct subscriber *subscriber);

/* Whether its session, as it has just come back, may or must be gone. */
bool subscriber__may_have_expired(const struct subscriber *subscriber);
bool subscriber__must_have_expired(const struct subscriber *subscriber);

#endif
