/*
 * throttle: reading from a publisher pauses while a consumer that it feeds is behind
 * (limits.slow_consumer_policy = throttle), or while another worker's mailbox is full.
 *
 * Owns      the notes of who waits for whom. A publisher is named by its session handle and may be
 * gone when it is to be resumed. Thread    the worker of the consumer; publishers on other workers
 * are told by mail.
 */
#ifndef PULSE_NODE_THROTTLE_H
#define PULSE_NODE_THROTTLE_H

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct worker;

/* Mailbox bytes at which senders wait, and at which they go on. */
#define THROTTLE_INBOX_HIGH (8u << 20)
#define THROTTLE_INBOX_LOW (2u << 20)

/* `publisher` (a session handle, 0 for nobody) waits until `consumer` has caught up. False: nobody
 * can wait (the node itself, or the consumer's own publishes). */
bool throttle_publisher(struct conn *consumer, uint64_t publisher);
/* The consumer has caught up, or is gone: whoever waited for it goes on. */
void throttle_release(struct conn *consumer);

/* `publisher`, of this worker, waits until the mailbox of worker `to` has room. */
void throttle_for_worker(struct worker *worker, unsigned to, uint64_t publisher);
/* This worker's mailbox has room again: whoever waits for it is told. */
void throttle_inbox_drained(struct worker *worker);

/* At shutdown: forgets all notes. */
void throttle_forget(struct worker *worker);

#endif
