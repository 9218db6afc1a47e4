/*
 * writer: the thread that commits what workers hand over, and gives it back.
 *
 * Owns      its thread and the parts that were submitted and not given back.
 * Thread    submit, healthy: any. The rest: whoever owns the storage.
 * Errors    those of the engine stay here: the writer tries again until it is stopped.
 */
#ifndef PULSE_STORAGE_WRITER_PRIV_H
#define PULSE_STORAGE_WRITER_PRIV_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/mailbox.h"
#include "storage/engine.h"
#include "storage/part_batch_priv.h"

/* What is wrong with the store. */
struct writer_trouble {
    _Atomic bool failing;
    uint64_t since_ms;
    uint32_t attempts;
    uint64_t retry_ms; /* to wait before the next attempt */
    bool logged;
    uint64_t quiet_until_ms; /* a store that comes and goes is not worth a line each time */
    pthread_mutex_t mutex;   /* of `why` alone */
    char why[ENGINE_TROUBLE_BYTES + 64];
};

struct writer {
    struct storage *storage;
    struct engine *engine;
    struct storage_stats *stats;
    enum storage_policy policy;

    struct mailbox mailbox;
    sem_t wake; /* posted when the mailbox is not empty any more, and to stop */
    pthread_t thread;
    bool started;
    uint64_t give_up_ms; /* written before `stopping` */
    _Atomic bool stopping;
    _Atomic uint64_t engine_since_ms; /* since when the engine has been at work; 0: it isn't */
    struct writer_trouble trouble;

    /* of the thread */
    struct letter *waiting; /* parts that are in no batch yet, the oldest first */
    struct letter *waiting_last;
    struct part_batch batch; /* what is being committed */
    bool applied;            /* the batch is */
    bool unsynced;           /* something applied is not synced */
    uint64_t sync_due_ms;
    bool tend_more;
    uint64_t tend_due_ms;
    bool stop_seen; /* while waiting to try again */
    bool gave_up;
};

void writer__init(struct writer *writer, struct storage *storage, struct engine *engine,
                  enum storage_policy policy, struct storage_stats *stats);
void writer__fini(struct writer *writer);

must_check enum err writer__start(struct writer *writer);

/* Ends the thread; see storage_stop. What is not committed is given back with ERR_STOPPED. */
must_check enum err writer__stop(struct writer *writer, uint64_t timeout_ms);

void writer__submit(struct writer *writer, struct storage_part *part);

bool writer__healthy(struct writer *writer, char *why, size_t size);

#endif
