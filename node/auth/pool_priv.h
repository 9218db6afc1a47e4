/*
 * pool: threads of low priority for work that would hold up a loop.
 *
 * Owns      its threads and the queue of jobs; a job is the caller's, and stays until `then`.
 * Thread    pool_create, pool_destroy, pool_stop: auth's or main. pool_add, pool_take: auth's
 *           thread. `work` runs on a thread of the pool.
 * Errors    none: a job that no thread can be started for comes back without its work.
 * Not here  bounds: as many jobs as there are attempts (auth.attempts_max).
 */
#ifndef PULSE_NODE_AUTH_POOL_PRIV_H
#define PULSE_NODE_AUTH_POOL_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/list.h"
#include "base/macros.h"
#include "base/mailbox.h"

struct pool;

/* Each kind of work has threads of its own, so that a database that hangs holds up no hash. */
enum auth_lane {
    AUTH_LANE_COMPUTE, /* hashes, signatures */
    AUTH_LANE_WAIT,    /* databases, files */
    AUTH_LANE_COUNT
};

/* `work` on a thread of the pool, which has that number in its lane; then `then`, by pool_take. */
struct auth_job {
    void (*work)(struct auth_job *job, unsigned thread);
    void (*then)(struct auth_job *job);
    const atomic_bool *cancelled; /* when it is set before its turn comes, `work` is left out */
    void *user;                   /* the caller's */
    bool left_out;                /* the pool's, as are those that follow */
    struct list link;
    struct letter letter;
};

/* `wake` is called with `user`, on any thread, when pool_take has something to do. Threads of a
 * lane start with its first job. */
struct pool *pool_create(unsigned thread_count, void (*wake)(void *user), void *user);
/* Leaves out all work that has not begun, and waits for the rest. Jobs are still to be taken. */
void pool_stop(struct pool *pool);
void pool_destroy(struct pool *pool);

void pool_add(struct pool *pool, enum auth_lane lane, struct auth_job *job);
/* Calls `then` of all jobs that are done. */
void pool_take(struct pool *pool);

#endif
