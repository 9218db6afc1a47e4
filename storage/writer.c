#include "storage/writer_priv.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/reclaim.h"
#include "storage/storage_priv.h"

/* How long something applied may stay unsynced: a little less than is promised, for the sync. */
#define SYNC_BALANCED_MS 80u
#define SYNC_FAST_MS 900u

#define TEND_MS 1000u
#define TEND_BUSY_MS 100u /* while batches are committed */

#define RETRY_FIRST_MS 100u
#define RETRY_MAX_MS 5000u
#define QUIET_MS 10000u /* between two log lines about a store that comes and goes */
#define SLOW_MS 10000u  /* a call of the engine that takes longer is not healthy */

/*
 * One round of the thread: take what is there, commit one batch, sync if it is time, let the engine
 * tend its store, sleep until there is something to do.
 *
 * Invariants, of the thread:
 *   a batch that was begun is committed before any other, however long it takes;
 *   under `strict`, and after any error until it is over, a batch is not given back unsynced.
 */

/* ---- sleeping -------------------------------------------------------------------------------- */

/* The semaphore is posted once each time the mailbox fills: whoever took letters without waiting
 * for it takes the post, too, lest they pile up. */
static void sleep_until(struct writer *writer, uint64_t mono_ms)
{
    struct timespec until = {.tv_sec = (time_t)(mono_ms / 1000),
                             .tv_nsec = (long)(mono_ms % 1000) * 1000000};
    /* Woken early, for whatever reason, the caller looks and sleeps again. */
    (void)sem_clockwait(&writer->wake, CLOCK_MONOTONIC, &until);
}

static void dont_sleep(struct writer *writer)
{
    (void)sem_trywait(&writer->wake); /* there may be none */
}

static bool stopping(struct writer *writer)
{
    return atomic_load_explicit(&writer->stopping, memory_order_acquire);
}

static uint64_t sooner(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

static void sleep_until_needed(struct writer *writer)
{
    if (writer->waiting != NULL || writer->tend_more || stopping(writer)) {
        dont_sleep(writer);
        return;
    }
    uint64_t until = writer->tend_due_ms;
    if (writer->unsynced) {
        until = sooner(until, writer->sync_due_ms);
    }
    sleep_until(writer, until);
}

/* ---- trouble --------------------------------------------------------------------------------- */

static void trouble_set_why(struct writer *writer, enum err err)
{
    struct writer_trouble *trouble = &writer->trouble;
    (void)pthread_mutex_lock(&trouble->mutex);
    (void)snprintf(trouble->why, sizeof(trouble->why), "%s: %s%s%s", writer->engine->type->name,
                   err_text(err), writer->engine->trouble[0] != '\0' ? ": " : "",
                   writer->engine->trouble);
    (void)pthread_mutex_unlock(&trouble->mutex);
}

static void trouble_log(struct writer *writer, enum err err, uint64_t now_ms)
{
    struct writer_trouble *trouble = &writer->trouble;
    if (trouble->logged || now_ms < trouble->quiet_until_ms) {
        return;
    }
    trouble->logged = true;
    trouble->quiet_until_ms = now_ms + QUIET_MS;
    log_error(LOG_STORAGE, "the store can't be written: acknowledgements wait",
              log_text("engine", writer->engine->type->name), log_text("error", err_text(err)),
              log_slice("reason", slice_text(writer->engine->trouble)));
}

/* An attempt failed. */
static void trouble_begin(struct writer *writer, enum err err)
{
    struct writer_trouble *trouble = &writer->trouble;
    uint64_t now_ms = clock_mono_ms();
    stat_add(writer->stats, STAT_ERRORS, 1);
    stat_set(writer->stats, STAT_FAILING, 1);
    if (trouble->attempts == 0) {
        trouble->since_ms = now_ms;
        trouble->retry_ms = RETRY_FIRST_MS;
    }
    trouble->attempts++;
    trouble_set_why(writer, err);
    trouble_log(writer, err, now_ms);
    atomic_store_explicit(&trouble->failing, true, memory_order_relaxed);
}

static void trouble_end(struct writer *writer)
{
    struct writer_trouble *trouble = &writer->trouble;
    if (trouble->attempts == 0) {
        return;
    }
    atomic_store_explicit(&trouble->failing, false, memory_order_relaxed);
    stat_set(writer->stats, STAT_FAILING, 0);
    if (trouble->logged) {
        log_notice(LOG_STORAGE, "the store can be written again",
                   log_text("engine", writer->engine->type->name),
                   log_uint("after_ms", clock_mono_ms() - trouble->since_ms),
                   log_uint("failed_attempts", trouble->attempts));
    }
    trouble->logged = false;
    trouble->attempts = 0;
}

/* ---- committing ------------------------------------------------------------------------------ */

static void engine_begins(struct writer *writer)
{
    writer->engine->trouble[0] = '\0';
    atomic_store_explicit(&writer->engine_since_ms, clock_mono_ms(), memory_order_relaxed);
}

static void engine_ended(struct writer *writer)
{
    atomic_store_explicit(&writer->engine_since_ms, 0, memory_order_relaxed);
}

static enum err apply(struct writer *writer)
{
    if (writer->batch.operations > 0) {
        engine_begins(writer);
        enum err err =
            writer->engine->type->apply(writer->engine, part_batch__seal(&writer->batch));
        engine_ended(writer);
        if (err != ERR_OK) {
            return err;
        }
        if (!writer->unsynced) {
            writer->unsynced = true;
            writer->sync_due_ms =
                clock_mono_ms() + (writer->policy == COMMIT_FAST ? SYNC_FAST_MS : SYNC_BALANCED_MS);
        }
    }
    writer->applied = true;
    return ERR_OK;
}

static enum err sync_engine(struct writer *writer)
{
    engine_begins(writer);
    enum err err = writer->engine->type->sync(writer->engine);
    engine_ended(writer);
    if (err == ERR_OK) {
        writer->unsynced = false;
        stat_add(writer->stats, STAT_SYNCS, 1);
    }
    return err;
}

/* Gives back the parts from `first` on. Each belongs to its owner as soon as it is told. */
static void give_back(struct writer *writer, struct letter *first, enum err err)
{
    while (first != NULL) {
        struct letter *next = first->next;
        struct storage_part *part = container_of(first, struct storage_part, letter);
        stat_add(writer->stats, STAT_PENDING, -(int64_t)part->live);
        part->done(part, err);
        first = next;
    }
}

static void give_back_batch(struct writer *writer, enum err err)
{
    struct storage_part *parts = part_batch__clear(&writer->batch);
    writer->applied = false;
    give_back(writer, parts != NULL ? &parts->letter : NULL, err);
}

static void observe(struct writer *writer)
{
    const struct part_batch *batch = &writer->batch;
    uint64_t ns = clock_mono_ns() - batch->first->submitted_ns;
    stat_add(writer->stats, STAT_CANCELLED, (int64_t)batch->cancelled);
    if (batch->operations > 0) {
        stats_observe_commit(writer->stats, ns / 1000, batch->operations);
    }
}

static enum err commit(struct writer *writer)
{
    if (!writer->applied) {
        enum err err = apply(writer);
        if (err != ERR_OK) {
            return err;
        }
    }
    if (writer->unsynced && (writer->policy == COMMIT_STRICT || writer->trouble.attempts > 0)) {
        enum err err = sync_engine(writer);
        if (err != ERR_OK) {
            return err;
        }
    }
    observe(writer);
    give_back_batch(writer, ERR_OK);
    writer->tend_due_ms = sooner(writer->tend_due_ms, clock_mono_ms() + TEND_BUSY_MS);
    return ERR_OK;
}

/* ---- one round ------------------------------------------------------------------------------- */

static void take(struct writer *writer)
{
    struct letter *taken = mailbox_take(&writer->mailbox);
    if (taken == NULL) {
        return;
    }
    if (writer->waiting == NULL) {
        writer->waiting = taken;
    } else {
        writer->waiting_last->next = taken;
    }
    while (taken->next != NULL) {
        taken = taken->next;
    }
    writer->waiting_last = taken;
}

static void fill_batch(struct writer *writer)
{
    while (writer->waiting != NULL && !part_batch__full(&writer->batch)) {
        struct letter *letter = writer->waiting;
        writer->waiting = letter->next;
        part_batch__add(&writer->batch, container_of(letter, struct storage_part, letter));
    }
}

static enum err write_round(struct writer *writer)
{
    take(writer);
    if (part_batch__empty(&writer->batch)) {
        fill_batch(writer);
    }
    if (!part_batch__empty(&writer->batch)) {
        enum err err = commit(writer);
        if (err != ERR_OK) {
            return err;
        }
    }
    bool due = stopping(writer) ? writer->waiting == NULL : clock_mono_ms() >= writer->sync_due_ms;
    return writer->unsynced && due ? sync_engine(writer) : ERR_OK;
}

static void tend(struct writer *writer)
{
    if (!writer->tend_more && clock_mono_ms() < writer->tend_due_ms) {
        return;
    }
    engine_begins(writer);
    writer->tend_more = writer->engine->type->tend(writer->engine, storage_now_ms(writer->storage));
    engine_ended(writer);
    writer->tend_due_ms = clock_mono_ms() + TEND_MS;
}

/* Once, however long the next attempt was put off: a stop makes it worth another try. */
static bool stop_is_news(struct writer *writer)
{
    if (writer->stop_seen || !stopping(writer)) {
        return false;
    }
    writer->stop_seen = true;
    writer->trouble.retry_ms = RETRY_FIRST_MS;
    return true;
}

/* Waits before the next attempt. Tending goes on: it may be what makes room on a full disk. */
static void wait_to_retry(struct writer *writer)
{
    struct writer_trouble *trouble = &writer->trouble;
    uint64_t until = clock_mono_ms() + trouble->retry_ms;
    trouble->retry_ms = sooner(trouble->retry_ms * 2, RETRY_MAX_MS);
    if (stopping(writer)) {
        until = sooner(until, writer->give_up_ms);
    }
    while (!stop_is_news(writer) && clock_mono_ms() < until) {
        tend(writer);
        if (writer->tend_more) {
            dont_sleep(writer);
        } else {
            sleep_until(writer, sooner(until, writer->tend_due_ms));
        }
    }
}

/* All that was submitted is committed and synced, or there is no time left for it. */
static bool finished(struct writer *writer)
{
    if (!stopping(writer)) {
        return false;
    }
    take(writer);
    if (writer->waiting == NULL && part_batch__empty(&writer->batch) && !writer->unsynced) {
        return true;
    }
    writer->gave_up = clock_mono_ms() >= writer->give_up_ms;
    return writer->gave_up;
}

static void *run(void *arg)
{
    struct writer *writer = arg;
    reclaim_thread_register();
    writer->tend_due_ms = clock_mono_ms() + TEND_MS;
    while (!finished(writer)) {
        enum err err = write_round(writer);
        if (err == ERR_OK) {
            trouble_end(writer);
            tend(writer);
            sleep_until_needed(writer);
        } else {
            trouble_begin(writer, err);
            wait_to_retry(writer);
        }
    }
    reclaim_thread_unregister();
    return NULL;
}

/* ---- what others call ------------------------------------------------------------------------ */

void writer__init(struct writer *writer, struct storage *storage, struct engine *engine,
                  enum storage_policy policy, struct storage_stats *stats)
{
    *writer =
        (struct writer){.storage = storage, .engine = engine, .stats = stats, .policy = policy};
    (void)sem_init(&writer->wake, 0, 0);                    /* can't fail with these values */
    (void)pthread_mutex_init(&writer->trouble.mutex, NULL); /* nor with default attributes */
    part_batch__init(&writer->batch, storage);
}

void writer__fini(struct writer *writer)
{
    ASSERT(!writer->started);
    part_batch__fini(&writer->batch);
    (void)pthread_mutex_destroy(&writer->trouble.mutex); /* nobody holds it any more */
    (void)sem_destroy(&writer->wake);                    /* nobody waits any more */
}

enum err writer__start(struct writer *writer)
{
    ASSERT(!writer->started);
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int error = pthread_create(&writer->thread, NULL, run, writer);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        return ERR_MEMORY;
    }
    (void)pthread_setname_np(writer->thread, "storage"); /* only for who looks */
    writer->started = true;
    return ERR_OK;
}

enum err writer__stop(struct writer *writer, uint64_t timeout_ms)
{
    if (writer->started) {
        uint64_t now_ms = clock_mono_ms();
        writer->give_up_ms = timeout_ms < CLOCK_NEVER - now_ms ? now_ms + timeout_ms : CLOCK_NEVER;
        atomic_store_explicit(&writer->stopping, true, memory_order_release);
        (void)sem_post(&writer->wake);
        (void)pthread_join(writer->thread, NULL);
        writer->started = false;
    }
    take(writer);
    bool all = part_batch__empty(&writer->batch) && writer->waiting == NULL && !writer->gave_up;
    give_back_batch(writer, ERR_STOPPED);
    struct letter *left = writer->waiting;
    writer->waiting = NULL;
    give_back(writer, left, ERR_STOPPED);
    return all ? ERR_OK : ERR_STOPPED;
}

void writer__submit(struct writer *writer, struct storage_part *part)
{
    ASSERT(part->live > 0);
    part->submitted_ns = clock_mono_ns();
    stat_add(writer->stats, STAT_PENDING, (int64_t)part->live);
    if (mailbox_push(&writer->mailbox, &part->letter)) {
        (void)sem_post(&writer->wake); /* overflows only after 2^31 posts */
    }
}

bool writer__healthy(struct writer *writer, char *why, size_t size)
{
    struct writer_trouble *trouble = &writer->trouble;
    if (atomic_load_explicit(&trouble->failing, memory_order_relaxed)) {
        (void)pthread_mutex_lock(&trouble->mutex);
        (void)snprintf(why, size, "%s", trouble->why);
        (void)pthread_mutex_unlock(&trouble->mutex);
        return false;
    }
    uint64_t since = atomic_load_explicit(&writer->engine_since_ms, memory_order_relaxed);
    uint64_t now_ms = clock_mono_ms();
    if (since != 0 && now_ms > since && now_ms - since > SLOW_MS) {
        (void)snprintf(why, size, "%s: no answer for %llu seconds", writer->engine->type->name,
                       (unsigned long long)((now_ms - since) / 1000));
        return false;
    }
    (void)snprintf(why, size, "%s", "");
    return true;
}
