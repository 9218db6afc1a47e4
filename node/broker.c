#include "node/broker.h"

#include <sys/resource.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/reclaim.h"
#include "node/address_table.h"
#include "node/conn.h"
#include "node/listener.h"
#include "base/message.h"
#include "node/retained.h"
#include "node/restore.h"
#include "node/router.h"
#include "node/worker.h"
#include "storage/storage.h"

/* Descriptors that are not client sockets: loops, listeners, HTTP, files. */
#define DESCRIPTORS_RESERVED 64
/* A loop's own, with a few clients for it to be worth its while. */
#define DESCRIPTORS_PER_WORKER 8
/* Retained topics looked at in one sweep, with the store's mutex held. */
#define SWEEP_TOPICS 20000

static unsigned count_workers(const struct config *config)
{
    uint64_t count = config->server_worker_threads;
    if (count == 0) {
        count = uv_available_parallelism();
    }
    return count > WORKERS_MAX ? WORKERS_MAX : (unsigned)count;
}

/* Raises the limit of open files as far as it goes, and says how many sockets that allows. */
static uint32_t sockets_allowed(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    uint64_t files = limit.rlim_cur > UINT32_MAX ? UINT32_MAX : limit.rlim_cur;
    return (uint32_t)(files > 2 * DESCRIPTORS_RESERVED ? files - DESCRIPTORS_RESERVED : files / 2);
}

/* As many as the operator wants, if they are allowed. */
static uint32_t sockets_wanted(const struct config *config, uint32_t allowed)
{
    uint64_t wanted = config->limits_max_connections;
    if (wanted > allowed) {
        log_warning(LOG_MAIN, "fewer connections than configured: open files are limited",
                    log_uint("wanted", wanted), log_uint("allowed", allowed));
    }
    return (uint32_t)(wanted > 0 && wanted < allowed ? wanted : allowed);
}

/* Without a wish: half of what this machine or container has. */
static uint64_t queue_bytes_wanted(const struct config *config)
{
    uint64_t all = uv_get_total_memory();
    uint64_t allowed = uv_get_constrained_memory();
    uint64_t here = allowed > 0 && allowed < all ? allowed : all;
    return config->limits_max_queue_bytes_total > 0 ? config->limits_max_queue_bytes_total
                                                    : here / 2;
}

/* As many connections as come in ten seconds may come at once, such as those of a site whose power
 * is back. */
#define CONNECT_BURST_SECONDS 10

static enum err create_addresses(struct broker *broker)
{
    const struct config *config = broker->config;
    uint64_t rate = config->limits_connect_rate_per_address;
    const struct address_limits limits = {
        .connections_max = (uint32_t)config->limits_max_connections_per_address,
        .entries_max = 2 * broker->sockets_max, /* its parts are never equally full */
        .rate = {.per_second = rate, .burst = rate * CONNECT_BURST_SECONDS}};
    struct text error = {0};
    enum err err =
        address_table_create(&limits, config->limits_exempt_addresses, &broker->addresses, &error);
    if (err != ERR_OK) {
        log_error(LOG_LIMITS, "can't start", log_text("error", error.data));
    }
    text_fini(&error);
    return err;
}

enum err broker_create(const struct config *config, struct broker **out)
{
    uint32_t allowed = sockets_allowed();
    unsigned workers = count_workers(config);
    if (allowed < DESCRIPTORS_PER_WORKER * workers) {
        log_error(LOG_MAIN, "the limit of open files is too low", log_uint("workers", workers),
                  log_uint("needed", DESCRIPTORS_RESERVED + DESCRIPTORS_PER_WORKER * workers));
        return ERR_FULL;
    }
    struct broker *broker = mem_alloc(sizeof(*broker));
    broker->config = config;
    broker->started_mono_ms = clock_mono_ms();
    broker->sockets_max = sockets_wanted(config, allowed);
    broker->worker_count = workers;
    sub_index_init(&broker->index, broker->worker_count);
    broker->retained = retained_create(config->limits_max_retained_messages,
                                       config->limits_max_retained_payload_bytes);
    for (unsigned i = 0; i < broker->worker_count; i++) {
        broker->workers[i] = worker_create(broker, i);
        broker->metrics[i] = &broker->workers[i]->metrics;
    }
    broker->metrics[broker->worker_count] = &broker->own_metrics;
    broker->queue_bytes_max = queue_bytes_wanted(config);
    enum err err = create_addresses(broker);
    if (err != ERR_OK) {
        broker_destroy(broker);
        return err;
    }
    *out = broker;
    return ERR_OK;
}

enum err broker_bind(struct broker *broker)
{
    return listener_bind(broker);
}

/* ---- who may come ---------------------------------------------------------------------------- */

static enum err load_auth(struct broker *broker)
{
    struct text error = {0};
    enum err err = auth_settings_make(broker->config, &broker->auth_settings, &error);
    if (err == ERR_OK) {
        err = auth_create(&broker->auth_settings.settings, &broker->auth, &error);
    }
    if (err != ERR_OK) {
        log_error(LOG_AUTH, "can't start", log_text("error", error.data));
    }
    text_fini(&error);
    return err;
}

static void warn_of_open_doors(const struct broker *broker)
{
    if (!broker->config->auth_enabled && listener_is_public(broker, false)) {
        log_warning(LOG_AUTH, "everybody who reaches this node may do everything: auth.enabled is "
                              "false");
    } else if (broker->config->auth_enabled && listener_is_public(broker, true)) {
        log_warning(LOG_AUTH, "passwords and messages go over the network in the clear where a "
                              "listener has no TLS");
    }
}

enum err broker_load_secrets(struct broker *broker)
{
    enum err err = listener_load_tls(broker);
    warn_of_open_doors(broker);
    return err == ERR_OK && broker->config->auth_enabled ? load_auth(broker) : err;
}

static void open_recheck(struct worker *worker, struct mail *mail)
{
    mem_free(mail);
    conn_recheck_all(worker);
}

void broker_recheck(struct broker *broker)
{
    for (unsigned i = 0; i < broker->started; i++) {
        struct mail *mail = mem_alloc(sizeof(*mail));
        mail->open = open_recheck;
        worker_post(broker->workers[i], mail);
    }
}

/* ---- storage --------------------------------------------------------------------------------- */

/* Between two attempts to reach a database that was never reached yet. */
#define OPEN_AGAIN_MS 500u
#define OPEN_AGAIN_MAX_MS 5000u
#define OPEN_STEP_MS 50u

static bool is_stopping(struct broker *broker)
{
    return atomic_load_explicit(&broker->stopping, memory_order_relaxed);
}

static struct message *current_retained(void *context, struct slice topic)
{
    struct broker *broker = context;
    return retained_get(broker->retained, topic);
}

static enum err open_storage(struct broker *broker, const struct storage_config *config)
{
    const struct storage_hooks hooks = {.context = broker, .retained = current_retained};
    struct storage_config quiet = *config;
    enum err err = storage_open(config, &hooks, &broker->storage);
    if (err == ERR_UNAVAILABLE) {
        log_notice(LOG_STORAGE, "waiting until the store can be reached");
        atomic_store(&broker->unreachable, true);
    }
    quiet.told = true;
    for (unsigned pause = OPEN_AGAIN_MS; err == ERR_UNAVAILABLE && !is_stopping(broker);
         pause = pause < OPEN_AGAIN_MAX_MS ? pause * 2 : OPEN_AGAIN_MAX_MS) {
        for (unsigned ms = 0; ms < pause && !is_stopping(broker); ms += OPEN_STEP_MS) {
            uv_sleep(OPEN_STEP_MS);
        }
        err = storage_open(&quiet, &hooks, &broker->storage);
    }
    atomic_store(&broker->unreachable, false);
    return is_stopping(broker) && err != ERR_OK ? ERR_STOPPED : err;
}

enum err broker_load(struct broker *broker, const struct storage_config *config)
{
    enum err err = open_storage(broker, config);
    if (err != ERR_OK || broker->storage == NULL) {
        return err;
    }
    for (unsigned i = 0; i < broker->worker_count; i++) {
        broker->workers[i]->journal.storage = broker->storage;
    }
    return restore_load(broker);
}

void broker_close_storage(struct broker *broker)
{
    if (broker->storage == NULL) {
        return;
    }
    for (unsigned i = 0; i < broker->worker_count; i++) {
        journal_flush_all(broker->workers[i]);
    }
    if (storage_stop(broker->storage, broker->config->server_shutdown_drain_timeout_ms) != ERR_OK) {
        log_error(LOG_STORAGE, "stopped before all changes were written; nothing of these was "
                               "acknowledged");
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

enum err broker_start(struct broker *broker, uv_async_t *all_ended)
{
    broker->all_ended = all_ended;
    enum err err = broker->storage != NULL ? storage_start(broker->storage) : ERR_OK;
    if (err == ERR_OK && broker->auth != NULL) {
        err = auth_start(broker->auth);
    }
    if (err == ERR_OK) {
        err = listener_start(broker);
    }
    for (unsigned i = 0; err == ERR_OK && i < broker->worker_count; i++) {
        atomic_fetch_add(&broker->running, 1);
        err = worker_start(broker->workers[i]);
        if (err == ERR_OK) {
            broker->started++;
        } else {
            atomic_fetch_sub(&broker->running, 1);
        }
    }
    return err;
}

void broker_stop(struct broker *broker)
{
    atomic_store(&broker->stopping, true);
    for (unsigned i = 0; i < broker->started; i++) {
        worker_stop(broker->workers[i]);
    }
}

void broker_join(struct broker *broker)
{
    for (unsigned i = 0; i < broker->started; i++) {
        worker_join(broker->workers[i]);
    }
    broker->started = 0;
    if (broker->auth != NULL) {
        auth_stop(broker->auth);
    }
}

void broker_worker_ended(struct broker *broker)
{
    if (atomic_fetch_sub(&broker->running, 1) == 1 && broker->all_ended != NULL) {
        uv_async_send(broker->all_ended);
    }
}

void broker_sweep(struct broker *broker)
{
    size_t gone = retained_expire(broker->retained, clock_mono_ms(), SWEEP_TOPICS);
    metric_add(&broker->own_metrics, METRIC_DROPPED_RETAINED_EXPIRED, (int64_t)gone);
}

void broker_destroy(struct broker *broker)
{
    reclaim_thread_register();
    bool any = true;
    while (any) {
        any = false;
        for (unsigned i = 0; i < broker->worker_count; i++) {
            any |= worker_drain_mail(broker->workers[i]);
        }
    }
    for (unsigned i = 0; i < broker->worker_count; i++) {
        worker_destroy(broker->workers[i]);
    }
    reclaim_thread_unregister();
    storage_destroy(broker->storage);
    auth_destroy(broker->auth);
    auth_settings_fini(&broker->auth_settings);
    listener_destroy_all(broker);
    address_table_destroy(broker->addresses);
    reclaim_barrier();
    retained_destroy(broker->retained);
    sub_index_fini(&broker->index);
    mem_free(broker);
}

unsigned broker_worker_of(const struct broker *broker, struct slice client_id)
{
    return (unsigned)((hash_slice(client_id) >> 32) % broker->worker_count);
}

/* ---- messages of the node itself ------------------------------------------------------------- */

struct publish_mail {
    struct mail mail;
    size_t topic_len;
    size_t payload_len;
    uint8_t bytes[]; /* topic and payload */
};

static void open_publish(struct worker *worker, struct mail *mail)
{
    struct publish_mail *own = container_of(mail, struct publish_mail, mail);
    struct message message =
        message_borrow(slice_of(own->bytes, own->topic_len), slice_of(NULL, 0),
                       slice_of(own->bytes + own->topic_len, own->payload_len));
    message.retain = true;
    (void)router_publish(worker, &message, NULL);
    message_release(&message);
    mem_free(own);
}

void broker_publish(struct broker *broker, struct slice topic, struct slice payload)
{
    struct publish_mail *own = mem_alloc(sizeof(*own) + topic.len + payload.len);
    own->mail.open = open_publish;
    own->topic_len = topic.len;
    own->payload_len = payload.len;
    memcpy(own->bytes, topic.data, topic.len);
    memcpy(own->bytes + topic.len, payload.data, payload.len);
    worker_post(broker->workers[0], &own->mail);
}
