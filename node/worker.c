#include "node/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/reclaim.h"
#include "node/conn.h"
#include "node/layers.h"
#include "node/listener.h"
#include "node/router.h"
#include "node/session.h"
#include "node/throttle.h"
#include "node/transport.h"

/* ---- mail ------------------------------------------------------------------------------------ */

void worker_post(struct worker *to, struct mail *mail)
{
    if (mailbox_push(&to->mailbox, &mail->letter)) {
        uv_async_send(&to->wake);
    }
}

void worker_send(struct worker *from, unsigned to, struct mail *mail)
{
    letter_batch_add(&from->outbox[to], &mail->letter);
    from->outbox_dirty |= (uint64_t)1 << to;
}

static void send_outboxes(struct worker *worker)
{
    while (worker->outbox_dirty != 0) {
        unsigned to = (unsigned)__builtin_ctzll(worker->outbox_dirty);
        worker->outbox_dirty &= worker->outbox_dirty - 1;
        struct worker *target = worker->broker->workers[to];
        worker->outgoing[to] = NULL; /* it is the target's from now on */
        if (mailbox_push_batch(&target->mailbox, &worker->outbox[to])) {
            uv_async_send(&target->wake);
        }
    }
}

static void on_wake(uv_async_t *async)
{
    struct worker *worker = container_of(async, struct worker, wake);
    reclaim_enter();
    struct letter *letter = mailbox_take(&worker->mailbox);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct mail *mail = container_of(letter, struct mail, letter);
        mail->open(worker, mail);
        letter = next;
    }
    throttle_inbox_drained(worker);
    reclaim_leave();
}

/* ---- the end of an iteration ----------------------------------------------------------------- */

static void write_dirty(struct worker *worker)
{
    while (!list_empty(&worker->dirty)) {
        struct conn *conn = list_entry(worker->dirty.next, struct conn, dirty_link);
        list_remove(&conn->dirty_link);
        transport_flush(conn);
        conn_written(conn);
    }
}

static void finish_closing(struct worker *worker)
{
    while (!list_empty(&worker->closing)) {
        struct conn *conn = list_entry(worker->closing.next, struct conn, pending_link);
        list_remove(&conn->pending_link);
        conn_finish(conn);
    }
}

/* Here, and not where the reason to wait ends: a client that goes on may set others free, and so
 * on. */
static void go_on_reading(struct worker *worker)
{
    while (!list_empty(&worker->resumed)) {
        struct conn *conn = list_entry(worker->resumed.next, struct conn, pending_link);
        list_remove(&conn->pending_link);
        conn_go_on(conn);
    }
}

static void end_if_drained(struct worker *worker);

void worker_flush(struct worker *worker)
{
    reclaim_enter();
    bool went_on;
    layers_go_on(worker);
    do {
        went_on = journal_flush(worker);
        write_dirty(worker);
        go_on_reading(worker);
        finish_closing(worker);
    } while (went_on || !list_empty(&worker->dirty) || !list_empty(&worker->closing) ||
             !list_empty(&worker->resumed));
    (void)journal_flush(worker); /* what the last round brought */
    send_outboxes(worker);
    reclaim_leave();
    if (worker->stopping) {
        end_if_drained(worker);
    }
}

#define WARN_INTERVAL_MS 10000

/* The place of `what`, or a free one; the last one when there are more texts than places. */
static struct warned *find_warned(struct worker *worker, const char *what)
{
    unsigned i = 0;
    while (i < WARNINGS_MAX - 1 && worker->warned[i].what != NULL &&
           worker->warned[i].what != what) {
        i++;
    }
    return &worker->warned[i];
}

void worker_warn_limit(struct worker *worker, const char *what)
{
    uint64_t now = worker_now(worker);
    struct warned *warned = find_warned(worker, what);
    if (warned->what == what && now - warned->at_ms < WARN_INTERVAL_MS) {
        warned->silent++;
        return;
    }
    log_warning(LOG_LIMITS, what, log_uint("worker", worker->index),
                log_uint("before", warned->what == what ? warned->silent : 0));
    *warned = (struct warned){.what = what, .at_ms = now};
}

/* A worker tells the others of its queues in portions of this size. */
#define QUEUE_BYTES_PORTION 65536

void worker_queue_bytes(struct worker *worker, int64_t bytes)
{
    metric_add(&worker->metrics, METRIC_QUEUED_BYTES, bytes);
    worker->queue_bytes_untold += bytes;
    if (worker->queue_bytes_untold > QUEUE_BYTES_PORTION ||
        worker->queue_bytes_untold < -QUEUE_BYTES_PORTION) {
        atomic_fetch_add_explicit(&worker->broker->queue_bytes, worker->queue_bytes_untold,
                                  memory_order_relaxed);
        worker->queue_bytes_untold = 0;
    }
}

bool worker_queues_full(const struct worker *worker, size_t more)
{
    int64_t told = atomic_load_explicit(&worker->broker->queue_bytes, memory_order_relaxed);
    int64_t held = told + worker->queue_bytes_untold;
    return held > 0 && (uint64_t)held + more > worker->broker->queue_bytes_max;
}

static void on_prepare(uv_prepare_t *prepare)
{
    worker_flush(container_of(prepare, struct worker, prepare));
}

static void on_spin(uv_idle_t *idle)
{
    struct worker *worker = container_of(idle, struct worker, spin);
    reclaim_enter();
    list_foreach(item, &worker->replaying)
    {
        session_replay_some(list_entry(item, struct session, replay_link));
    }
    reclaim_leave();
    if (list_empty(&worker->replaying) && list_empty(&worker->handshakes)) {
        uv_idle_stop(&worker->spin);
    }
}

void worker_spin(struct worker *worker)
{
    if (!uv_is_active((uv_handle_t *)&worker->spin)) {
        uv_idle_start(&worker->spin, on_spin);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct worker *worker_create(struct broker *broker, unsigned index)
{
    struct worker *worker = mem_alloc(sizeof(*worker));
    worker->broker = broker;
    worker->config = broker->config;
    worker->index = index;
    list_init(&worker->conns);
    list_init(&worker->dirty);
    list_init(&worker->closing);
    list_init(&worker->resumed);
    list_init(&worker->replaying);
    list_init(&worker->handshakes);
    worker->spare_fd = -1;
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        list_init(&worker->blocked[i]);
    }
    uv_loop_init(&worker->loop);
    uv_async_init(&worker->loop, &worker->wake, on_wake);
    uv_prepare_init(&worker->loop, &worker->prepare);
    uv_prepare_start(&worker->prepare, on_prepare);
    uv_idle_init(&worker->loop, &worker->spin);
    timers_init(&worker->timers, &worker->loop);
    journal_init(worker, broker->storage);
    worker->matches = match_cache_create(&broker->index);
    worker->scratch = router_scratch_create();
    worker->read_buffer = mem_alloc(WORKER_READ_BUFFER);
    worker->form_buffers = mem_alloc_array(4, WORKER_FORM_BUFFER);
    worker->plain_buffer = mem_alloc(WORKER_READ_BUFFER);
    worker->layer_buffer = mem_alloc(WORKER_LAYER_BUFFER);
    conn_init_limits(worker);
    return worker;
}

static void run(void *arg)
{
    struct worker *worker = arg;
    reclaim_thread_register();
    message_pool_use(&worker->messages);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    reclaim_thread_unregister();
    broker_worker_ended(worker->broker);
}

enum err worker_start(struct worker *worker)
{
    return uv_thread_create(&worker->thread, run, worker) == 0 ? ERR_OK : ERR_MEMORY;
}

void worker_join(struct worker *worker)
{
    uv_thread_join(&worker->thread);
}

/* ---- stopping: no new clients, a last word to each, a last chance to write ------------------- */

static void end_if_drained(struct worker *worker)
{
    if (list_empty(&worker->conns) || worker_now(worker) >= worker->drain_alarm.deadline_ms) {
        uv_stop(&worker->loop);
    }
}

static void on_drain_alarm(struct timer *alarm)
{
    (void)alarm; /* the loop woke up, which is all it is for: end_if_drained looks at the time */
}

static void open_stop(struct worker *worker, struct mail *mail)
{
    mem_free(mail);
    worker->stopping = true;
    worker->drain_alarm.fire = on_drain_alarm;
    timer_arm(&worker->timers, &worker->drain_alarm,
              worker_now(worker) + worker->config->server_shutdown_drain_timeout_ms);
    listener_stop(worker);
    list_foreach(item, &worker->conns)
    {
        struct conn *conn = list_entry(item, struct conn, of_worker);
        conn_close(conn, METRIC_CLOSED_SHUTDOWN, MQTT_REASON_SERVER_SHUTTING_DOWN, true);
    }
}

void worker_stop(struct worker *worker)
{
    struct mail *mail = mem_alloc(sizeof(*mail));
    mail->open = open_stop;
    worker_post(worker, mail);
}

bool worker_drain_mail(struct worker *worker)
{
    bool any = worker->mailbox.newest != NULL || worker->outbox_dirty != 0;
    on_wake(&worker->wake);
    any = any || worker->outbox_dirty != 0; /* it may have written to one that was drained before */
    send_outboxes(worker);
    return any;
}

static void free_sessions(struct worker *worker)
{
    uint32_t cursor = 0;
    struct session *session;
    while ((session = session_table_next(&worker->sessions, &cursor)) != NULL) {
        session_free(session);
    }
}

void worker_destroy(struct worker *worker)
{
    listener_stop(worker);
    list_foreach(item, &worker->conns)
    {
        transport_close(list_entry(item, struct conn, of_worker));
    }
    free_sessions(worker);
    journal_fini(worker);
    throttle_forget(worker);
    timers_fini(&worker->timers);
    uv_close((uv_handle_t *)&worker->wake, NULL);
    uv_close((uv_handle_t *)&worker->spin, NULL);
    uv_close((uv_handle_t *)&worker->prepare, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    int left = uv_loop_close(&worker->loop);
    ASSERT(left == 0);
    session_table_fini(&worker->sessions);
    out_pool_fini(&worker->pool);
    message_pool_fini(&worker->messages);
    match_cache_destroy(worker->matches);
    router_scratch_destroy(worker->scratch);
    mem_free(worker->read_buffer);
    mem_free(worker->form_buffers);
    mem_free(worker->plain_buffer);
    mem_free(worker->layer_buffer);
    listener_forget(worker);
    mem_free(worker);
}
