#include "node/auth/pool_priv.h"

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"

/* The weakest there is short of SCHED_IDLE, which gets nothing at all on a machine that is busy. */
#define POOL_NICE 19

/*
 * Invariants:
 *   `lock` guards `waiting`, `started` and `stopping`; nothing is called with it held;
 *   a job is in `waiting`, in the hands of one thread, or in `pool->done`.
 */
struct lane {
    struct pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct list waiting;
    uv_thread_t *threads;
    unsigned started;
    unsigned numbered; /* threads that know their number */
    bool stopping;
};

struct pool {
    struct lane lanes[AUTH_LANE_COUNT];
    unsigned thread_count;
    struct mailbox done;
    void (*wake)(void *user);
    void *user;
};

static void lane_init(struct lane *lane, struct pool *pool)
{
    *lane = (struct lane){.pool = pool};
    list_init(&lane->waiting);
    lane->threads = mem_alloc_array(pool->thread_count, sizeof(uv_thread_t));
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->change, NULL);
}

static void lane_fini(struct lane *lane)
{
    ASSERT(list_empty(&lane->waiting));
    pthread_cond_destroy(&lane->change);
    pthread_mutex_destroy(&lane->lock);
    mem_free(lane->threads);
}

struct pool *pool_create(unsigned thread_count, void (*wake)(void *user), void *user)
{
    ASSERT(thread_count > 0);
    struct pool *pool = mem_alloc(sizeof(*pool));
    *pool = (struct pool){.thread_count = thread_count, .wake = wake, .user = user};
    for (unsigned i = 0; i < AUTH_LANE_COUNT; i++) {
        lane_init(&pool->lanes[i], pool);
    }
    return pool;
}

void pool_destroy(struct pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pool_stop(pool);
    for (unsigned i = 0; i < AUTH_LANE_COUNT; i++) {
        lane_fini(&pool->lanes[i]);
    }
    mem_free(pool);
}

static void give_back(struct pool *pool, struct auth_job *job)
{
    if (mailbox_push(&pool->done, &job->letter)) {
        pool->wake(pool->user);
    }
}

/* The next job, once there is one; NULL: the end. */
static struct auth_job *next_job(struct lane *lane)
{
    struct auth_job *job = NULL;
    pthread_mutex_lock(&lane->lock);
    while (list_empty(&lane->waiting) && !lane->stopping) {
        pthread_cond_wait(&lane->change, &lane->lock);
    }
    if (!list_empty(&lane->waiting)) {
        job = list_entry(lane->waiting.next, struct auth_job, link);
        list_remove(&job->link);
        job->left_out = lane->stopping;
    }
    pthread_mutex_unlock(&lane->lock);
    return job;
}

static unsigned own_number(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    unsigned number = lane->numbered++;
    pthread_mutex_unlock(&lane->lock);
    return number;
}

static void run(void *user)
{
    struct lane *lane = user;
    pthread_setname_np(pthread_self(), "auth-pool");
    /* Where that is refused it works all the same, but holds up others more. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), POOL_NICE);
    unsigned number = own_number(lane);
    for (struct auth_job *job; (job = next_job(lane)) != NULL;) {
        if (!job->left_out && !atomic_load_explicit(job->cancelled, memory_order_relaxed)) {
            job->work(job, number);
        }
        give_back(lane->pool, job);
    }
}

/* Threads come one by one, as long as there are more jobs than threads. */
static bool start_thread(struct lane *lane)
{
    if (lane->started == lane->pool->thread_count) {
        return true;
    }
    const uv_thread_options_t options = {.flags = UV_THREAD_HAS_STACK_SIZE,
                                         .stack_size = 1024 * 1024};
    if (uv_thread_create_ex(&lane->threads[lane->started], &options, run, lane) != 0) {
        return lane->started > 0;
    }
    lane->started++;
    return true;
}

void pool_add(struct pool *pool, enum auth_lane which, struct auth_job *job)
{
    struct lane *lane = &pool->lanes[which];
    list_init(&job->link);
    job->left_out = false;
    pthread_mutex_lock(&lane->lock);
    bool taken = !lane->stopping && start_thread(lane);
    if (taken) {
        list_append(&lane->waiting, &job->link);
        pthread_cond_signal(&lane->change);
    }
    pthread_mutex_unlock(&lane->lock);
    if (!taken) {
        give_back(pool, job);
    }
}

void pool_take(struct pool *pool)
{
    struct letter *letter = mailbox_take(&pool->done);
    while (letter != NULL) {
        struct auth_job *job = container_of(letter, struct auth_job, letter);
        letter = letter->next;
        job->then(job);
    }
}

static void lane_stop(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->stopping = true;
    pthread_cond_broadcast(&lane->change);
    pthread_mutex_unlock(&lane->lock);
    for (unsigned i = 0; i < lane->started; i++) {
        uv_thread_join(&lane->threads[i]);
    }
    lane->started = 0;
}

void pool_stop(struct pool *pool)
{
    for (unsigned i = 0; i < AUTH_LANE_COUNT; i++) {
        lane_stop(&pool->lanes[i]);
    }
}
