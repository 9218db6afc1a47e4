/*
 * worker: one thread with its loop: listener, connections, sessions, timers, mailbox.
 *
 * Owns      all of that. Other threads reach it through worker_post only.
 * Thread    its own; functions that any thread may call say so.
 *
 * One loop iteration: timers, then worker_flush in the prepare callback (hand changes to storage,
 * write dirty connections, read again from publishers that may go on, finish what is closing, hand
 * mail to other workers), then events.
 */
#ifndef PULSE_NODE_WORKER_H
#define PULSE_NODE_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "base/mailbox.h"
#include "node/broker.h"
#include "node/journal.h"
#include "base/message.h"
#include "node/metrics.h"
#include "node/outbuf.h"
#include "node/rate.h"
#include "node/session_table.h"
#include "node/timer.h"
#include "node/trace.h"

#define WORKER_READ_BUFFER 65536
#define WORKER_LAYER_BUFFER (65536 + 64)
/* Room for one encoded form of a message (delivery.h); four of them. */
#define WORKER_FORM_BUFFER 12288

struct conn;
struct delivery_mail;
struct match_cache;
struct router_scratch;

/* Mail to a worker. `open` takes it. */
struct mail {
    struct letter letter;
    void (*open)(struct worker *worker, struct mail *mail);
};

/* Texts that worker_warn_limit knows apart. */
#define WARNINGS_MAX 32

struct warned {
    const char *what; /* NULL: a free place */
    uint64_t at_ms;
    uint64_t silent; /* how often it was not said since */
};

struct worker {
    struct broker *broker;
    const struct config *config;
    unsigned index;
    struct metrics metrics;

    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_idle_t spin; /* runs while `replaying` holds something: the loop must not sleep */
    struct listening *listenings; /* listener.h */
    size_t listening_count;
    int spare_fd; /* given up when there are no more, to be able to say no; -1: not open */
    struct timers timers;

    struct mailbox mailbox;
    _Atomic size_t inbox_bytes;     /* of messages in the mailbox: flow control between workers */
    _Atomic uint64_t inbox_waiters; /* bit n: worker n has publishers that wait for room */
    struct letter_batch outbox[WORKERS_MAX]; /* mail gathered in this iteration */
    struct delivery_mail
        *outgoing[WORKERS_MAX];       /* in outbox[n], may take more (router.c); or NULL */
    uint64_t outbox_dirty;            /* bit n: outbox[n] is not empty */
    struct list blocked[WORKERS_MAX]; /* publishers (struct throttle_wait) waiting for worker n */

    struct journal journal;
    uint64_t last_connection; /* conn.serial given out last */
    struct session_table sessions;
    struct list conns;      /* all, by conn.of_worker */
    struct list dirty;      /* conn.dirty_link: output to write */
    struct list closing;    /* conn.pending_link: to be finished in worker_flush */
    struct list resumed;    /* conn.pending_link: may be read from again */
    struct list handshakes; /* conn.pending_link: TLS handshakes that wait for their turn */
    uint64_t handshake_ns;  /* spent on handshakes in this iteration */
    struct list replaying;  /* session.replay_link: retained messages to send */
    struct out_pool pool;
    struct message_pool messages; /* free blocks */
    struct match_cache *matches;
    struct router_scratch *scratch;
    uint8_t *read_buffer;               /* WORKER_READ_BUFFER bytes, shared by all connections */
    uint8_t *form_buffers;              /* 4 * WORKER_FORM_BUFFER bytes */
    uint8_t *plain_buffer;              /* WORKER_READ_BUFFER bytes: what was decrypted */
    uint8_t *layer_buffer;              /* WORKER_LAYER_BUFFER bytes: what is to be encrypted */
    struct trace *traces[TRACES_MAX];   /* running here (trace.h); NULL: a free place */
    struct rate accept_rate;            /* limits.connect_rate, this worker's part */
    struct timer accept_alarm;          /* armed while accepting is paused */
    int64_t queue_bytes_untold;         /* of its QUEUED_BYTES, not yet in broker->queue_bytes */
    uint32_t publishes;                 /* received, for sampling the latency */
    struct warned warned[WARNINGS_MAX]; /* what worker_warn_limit logged lately */
    bool stopping;
    struct timer drain_alarm; /* armed while stopping: the end of patience */
};

struct worker *worker_create(struct broker *broker, unsigned index);
/* After worker_join of all workers, and after worker_drain_mail. By main. */
void worker_destroy(struct worker *worker);

/* Runs the loop on a new thread. */
must_check enum err worker_start(struct worker *worker);
/* Asks for a gentle stop within the drain timeout. Any thread. */
void worker_stop(struct worker *worker);
/* Waits for the thread's end. */
void worker_join(struct worker *worker);
/* All threads have ended: opens what is left in the mailbox. False: there was nothing. By main. */
bool worker_drain_mail(struct worker *worker);

/* Takes `mail` and delivers it to `to`. From any thread but a worker's: those use worker_send. */
void worker_post(struct worker *to, struct mail *mail);
/* Takes `mail`; it leaves at the end of this loop iteration. From the worker `from`. */
void worker_send(struct worker *from, unsigned to, struct mail *mail);

/* Monotonic milliseconds as of this loop iteration. */
static inline uint64_t worker_now(const struct worker *worker)
{
    return uv_now(&worker->loop);
}

static inline uint8_t *worker_form_buffer(const struct worker *worker, bool v5, bool with_id)
{
    return worker->form_buffers + WORKER_FORM_BUFFER * (2u * v5 + with_id);
}

/* Writes out, sends mail, finishes what closes. Called by the loop. */
void worker_flush(struct worker *worker);

/* Logs that a limit was reached; the same words (a constant text) once in ten seconds, so that the
 * log stays readable. */
void worker_warn_limit(struct worker *worker, const char *what);

/* The queues of its sessions grew by `bytes`, or shrank. */
void worker_queue_bytes(struct worker *worker, int64_t bytes);
/* `more` bytes would not fit into limits.max_queue_bytes_total. */
bool worker_queues_full(const struct worker *worker, size_t more);

/* The loop does not sleep while there is replaying to do. */
void worker_spin(struct worker *worker);

#endif
