/*
 * violation: what a broker can do wrong, counted by kind, each told with the history of its
 * message.
 *
 * Owns      the counts.
 * Thread    the driver's.
 * Errors    none.
 */
#ifndef TESTS_CRASH_VIOLATION_H
#define TESTS_CRASH_VIOLATION_H

#include <stdbool.h>
#include <stdint.h>

struct record;

enum { ALWAYS = 0, LOSSY = 1 };

/* X(CONSTANT, text, whether a store that may lose its last batch may do it) */
#define VIOLATION_TABLE(X)                                                                  \
    X(LOST, "acknowledged and never delivered", LOSSY)                                      \
    X(DOUBLED, "QoS 2 delivered twice", LOSSY)                                              \
    X(REPEATED, "QoS 1 delivered again without a reason", LOSSY)                            \
    X(DISORDER, "first deliveries out of order", LOSSY)                                     \
    X(UNKNOWN, "delivered and never sent", ALWAYS)                                          \
    X(CORRUPT, "delivered with other contents, topic, or QoS", ALWAYS)                      \
    X(UNASKED, "delivered to a session without a subscription for it", LOSSY)               \
    X(SESSION_LOST, "no session present where there was one", LOSSY)                        \
    X(SESSION_KEPT, "a session outlived its expiry", ALWAYS)                                \
    X(ID_REUSED, "packet id used for another message before its handshake was over", LOSSY) \
    X(RETAINED_LOST, "retained message missing", LOSSY)                                     \
    X(RETAINED_OLD, "retained message older than the acknowledged one", LOSSY)              \
    X(WILL_EARLY, "will published before its time", ALWAYS)                                 \
    X(WILL_WITHDRAWN, "will published though it was withdrawn", LOSSY)                      \
    X(PROTOCOL, "a packet that must not come", ALWAYS)                                      \
    X(ENDED, "the broker ended as it should not", ALWAYS)                                   \
    X(NOT_STARTED, "the broker does not start", ALWAYS)                                     \
    X(STUCK, "a handshake does not get on", LOSSY)                                          \
    X(STARVED, "QoS 0 traffic stood still", ALWAYS)                                         \
    X(READINESS, "/readyz told the wrong thing", ALWAYS)

enum violation {
#define X(constant, text, allowed) VIOLATION_##constant,
    VIOLATION_TABLE(X)
#undef X
        VIOLATION_KINDS
};

struct violations {
    bool lossy; /* the store may lose its last batch: those are reported, and don't fail the run */
    uint64_t counts[VIOLATION_KINDS];
    uint64_t tolerated[VIOLATION_KINDS];
};

/* Counts one and prints it, with the history of `message` (0: none) and of `actor`. */
__attribute__((format(printf, 5, 6))) void violation_report(struct record *record,
                                                            enum violation kind, uint64_t message,
                                                            uint16_t actor, const char *format,
                                                            ...);

/* Prints the kinds that occurred. */
void violations_print(const struct violations *violations);

/* How many fail the run. */
uint64_t violations_total(const struct violations *violations);

#endif
