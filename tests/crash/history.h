/*
 * history: what happened lately, so that a violation can tell the story of its message.
 *
 * Owns      a ring of events; the oldest are overwritten.
 * Thread    the driver's.
 * Errors    none.
 */
#ifndef TESTS_CRASH_HISTORY_H
#define TESTS_CRASH_HISTORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* X(CONSTANT, text for people) */
#define EVENT_TABLE(X)                                        \
    X(SENT, "PUBLISH sent")                                   \
    X(SENT_AGAIN, "PUBLISH sent again, DUP")                  \
    X(ACCEPTED, "PUBACK or PUBREC seen: the broker has it")   \
    X(REFUSED, "refused by the broker")                       \
    X(RELEASE_SENT, "PUBREL sent")                            \
    X(COMPLETED, "PUBCOMP seen")                              \
    X(ABANDONED, "the publisher's session is gone: given up") \
    X(DELIVERED, "delivered")                                 \
    X(DELIVERED_AGAIN, "delivered again")                     \
    X(DELIVERED_RETAINED, "delivered as a retained message")  \
    X(REMEMBERED, "PUBLISH with a packet id that is known")   \
    X(ACKNOWLEDGED, "PUBACK sent")                            \
    X(RECEIVED, "PUBREC sent")                                \
    X(RELEASED, "PUBREL seen")                                \
    X(WILL_SENT, "sent as a will in CONNECT, due after ms")   \
    X(WILL_CERTAIN, "the will is kept for certain")           \
    X(WILL_DUE, "the will must be published")                 \
    X(WILL_WITHDRAWN, "the will must not be published")       \
    X(WILL_UNCERTAIN, "the will may be published")            \
    X(CONNECTED, "connected, session new")                    \
    X(RESUMED, "connected, session present")                  \
    X(LOST, "connection lost")                                \
    X(VANISHED, "vanished without a word")                    \
    X(LEFT, "disconnected")                                   \
    X(SUBSCRIBING, "SUBSCRIBE sent, subscription")            \
    X(SUBSCRIBED, "SUBACK seen, subscription")                \
    X(UNSUBSCRIBING, "UNSUBSCRIBE sent, subscription")        \
    X(UNSUBSCRIBED, "UNSUBACK seen, subscription")            \
    X(STARTED, "the broker's process is started")             \
    X(READY, "the broker answers")                            \
    X(KILLED, "the broker is killed")                         \
    X(STOPPED, "the broker is told to end")                   \
    X(FAULT, "a fault begins")                                \
    X(FAULT_OVER, "the fault is over")                        \
    X(DRAINING, "all is to be drained")                       \
    X(SETTLED, "all is settled")

enum event_kind {
#define X(constant, text) EVENT_##constant,
    EVENT_TABLE(X)
#undef X
};

/* Not a client. */
enum { ACTOR_BROKER = 0xffff };

struct event {
    uint64_t message; /* 0: about no message */
    uint32_t ms;
    uint32_t detail; /* packet id, connection, or number of a subscription */
    uint16_t actor;
    uint16_t kind;
};

struct history {
    struct event *events;
    uint64_t count; /* ever */
};

void history_init(struct history *history);
void history_fini(struct history *history);
void history_add(struct history *history, const struct event *event);

struct history_query {
    uint64_t message; /* 0: the last events of both actors and of the broker */
    uint16_t actor;
    uint16_t sender;
    const char *(*name_of)(const void *context, uint16_t actor);
    const void *context;
};

/* Prints what concerns the message, and what happened to both actors and to the broker then. */
void history_print(const struct history *history, const struct history_query *query);

#endif
