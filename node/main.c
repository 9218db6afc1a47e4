/*
 * main: from the command line to a running broker, and back. The main thread has a loop of its own
 * for signals, the HTTP endpoint and the clock of the $SYS topics; clients are the workers'
 * business.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "node/admin/admin.h"
#include "node/broker.h"
#include "node/command.h"
#include "node/config.h"
#include "node/http.h"
#include "node/metrics_page.h"
#include "node/privileges.h"
#include "node/reload.h"
#include "node/retained.h"
#include "node/storage_settings.h"
#include "node/tls/tls.h"
#include "storage/storage.h"

#define EXIT_USAGE 2

extern char **environ;

struct node {
    struct config config;
    struct broker *broker;
    uv_loop_t loop;
    uv_signal_t term;
    uv_signal_t interrupt;
    uv_signal_t toggle_debug;
    uv_signal_t hang_up;
    struct reload reload;
    uv_timer_t clock;
    uv_async_t all_ended;
    struct storage_settings storage;
    uv_thread_t loader;
    uv_async_t loaded; /* rings when the loader has ended */
    enum err load_result;
    enum err result;
    struct http_server *http;
    struct admin *admin; /* NULL: off */
    struct sys_topics *sys_topics;
    char trouble[256]; /* why storage is not well */
    bool serving;
    bool stopping;
};

static struct metrics_context metrics_now(struct node *node)
{
    struct broker *broker = node->broker;
    return (struct metrics_context){.sets = broker->metrics,
                                    .count = broker->worker_count + 1,
                                    .workers = broker->worker_count,
                                    .started_mono_ms = broker->started_mono_ms,
                                    .retained_messages = retained_count(broker->retained),
                                    .retained_bytes = retained_bytes(broker->retained),
                                    .filters = sub_index_filters(&broker->index),
                                    /* the loader may be making it */
                                    .storage = node->serving && broker->storage != NULL
                                                   ? storage_stats(broker->storage)
                                                   : NULL,
                                    .auth = broker->auth};
}

/* ---- HTTP ------------------------------------------------------------------------------------ */

static void on_metrics(void *context, struct text *page)
{
    struct metrics_context metrics = metrics_now(context);
    metrics_page(&metrics, page);
}

static bool on_ready(void *context, const char **why)
{
    struct node *node = context;
    if (node->stopping || !node->serving) {
        *why = node->stopping                            ? "shutting down"
               : atomic_load(&node->broker->unreachable) ? "starting: the store can't be reached"
                                                         : "starting: storage is being loaded";
        return false;
    }
    struct storage *storage = node->broker->storage;
    *why = node->trouble;
    return storage == NULL || storage_healthy(storage, node->trouble, sizeof(node->trouble));
}

static enum err start_http(struct node *node)
{
    const struct http_handlers handlers = {
        .context = node, .metrics = on_metrics, .ready = on_ready};
    const char *bind = node->config.observability_metrics_bind;
    return bind == NULL || bind[0] == '\0' ? ERR_OK
                                           : http_start(&node->loop, bind, &handlers, &node->http);
}

/* ---- the admin API --------------------------------------------------------------------------- */

static bool on_serving(void *context)
{
    const struct node *node = context;
    return node->serving && !node->stopping;
}

static enum err on_reload(void *context, struct text *error)
{
    struct node *node = context;
    enum err err = reload_now(&node->reload, node->broker);
    return err == ERR_OK && node->admin != NULL ? admin_reload(node->admin, error) : err;
}

static enum err start_admin(struct node *node)
{
    const struct admin_handlers handlers = {
        .context = node, .serving = on_serving, .ready = on_ready, .reload = on_reload};
    return node->config.admin_enabled
               ? admin_start(&node->loop, node->broker, &handlers, &node->admin)
               : ERR_OK;
}

/* ---- the clock ------------------------------------------------------------------------------- */

/* Without $SYS topics the clock still sweeps. */
#define SWEEP_MS 10000

static void publish_sys(void *arg, struct slice topic, struct slice payload)
{
    struct node *node = arg;
    broker_publish(node->broker, topic, payload);
}

static void on_clock(uv_timer_t *timer)
{
    struct node *node = timer->data;
    broker_sweep(node->broker);
    if (node->sys_topics != NULL && !node->stopping) {
        struct metrics_context metrics = metrics_now(node);
        sys_topics_update(node->sys_topics, &metrics, clock_mono_ms(), publish_sys, node);
    }
}

static void start_clock(struct node *node)
{
    uint64_t interval = node->config.observability_sys_interval;
    uv_timer_init(&node->loop, &node->clock);
    node->clock.data = node;
    if (interval > 0) {
        node->sys_topics = sys_topics_create();
    }
    uv_timer_start(&node->clock, on_clock, 0, interval > 0 ? interval : SWEEP_MS);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_stop_signal(uv_signal_t *signal, int number)
{
    struct node *node = signal->data;
    if (node->stopping) {
        log_warning(LOG_MAIN, "stopping at once, second signal",
                    log_text("signal", strsignal(number)));
        _exit(1);
    }
    log_notice(LOG_MAIN, "stopping", log_text("signal", strsignal(number)));
    node->stopping = true; /* not ready any more, while clients get their last word */
    broker_stop(node->broker);
}

static void on_all_ended(uv_async_t *async)
{
    struct node *node = async->data;
    uv_stop(&node->loop);
}

static void on_toggle_signal(uv_signal_t *signal, int number)
{
    (void)signal;
    (void)number;
    log_toggle_debug();
    log_notice(LOG_MAIN, "log levels changed by signal");
}

static void on_reload_signal(uv_signal_t *signal, int number)
{
    struct node *node = signal->data;
    (void)number;
    if (node->serving && !node->stopping) {
        struct text error = {0};
        if (on_reload(node, &error) != ERR_OK && error.len > 0) {
            log_error(LOG_ADMIN, "can't reload", log_text("why", error.data));
        }
        text_fini(&error);
    }
}

static void start_signals(struct node *node)
{
    signal(SIGPIPE, SIG_IGN);
    uv_signal_t *handles[] = {&node->term, &node->interrupt, &node->toggle_debug, &node->hang_up};
    for (size_t i = 0; i < ARRAY_COUNT(handles); i++) {
        uv_signal_init(&node->loop, handles[i]);
        handles[i]->data = node;
    }
    uv_signal_start(&node->term, on_stop_signal, SIGTERM);
    uv_signal_start(&node->interrupt, on_stop_signal, SIGINT);
    uv_signal_start(&node->toggle_debug, on_toggle_signal, SIGUSR1);
    uv_signal_start(&node->hang_up, on_reload_signal, SIGHUP);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void stop_loop(struct node *node)
{
    http_stop(node->http);
    admin_stop(node->admin);
    uv_run(&node->loop, UV_RUN_NOWAIT);
    uv_walk(&node->loop, close_handle, NULL);
    uv_run(&node->loop, UV_RUN_DEFAULT);
    uv_loop_close(&node->loop);
    sys_topics_destroy(node->sys_topics);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Storage is loaded: clients may come. */
static enum err start_serving(struct node *node)
{
    enum err err = broker_start(node->broker, &node->all_ended);
    if (err != ERR_OK) {
        broker_stop(node->broker);
        return err;
    }
    start_clock(node);
    node->serving = true;
    log_notice(LOG_MAIN, "ready", log_text("version", PULSE_VERSION));
    return ERR_OK;
}

static void on_loaded(uv_async_t *async)
{
    struct node *node = async->data;
    uv_thread_join(&node->loader);
    node->result = node->load_result;
    if (node->stopping) { /* a signal came meanwhile */
        node->result = ERR_OK;
        uv_stop(&node->loop);
        return;
    }
    if (node->result == ERR_OK) {
        node->result = start_serving(node);
    } else {
        log_error(LOG_STORAGE, "can't start: storage can't be used");
    }
    if (node->result != ERR_OK) {
        uv_stop(&node->loop);
    }
}

/* On a thread of its own: meanwhile the HTTP endpoint says that we are starting. */
static void load(void *arg)
{
    struct node *node = arg;
    node->load_result = broker_load(node->broker, &node->storage.storage);
    uv_async_send(&node->loaded);
}

/* Serves until a signal comes and the workers have ended. */
static enum err serve(struct node *node)
{
    uv_async_init(&node->loop, &node->all_ended, on_all_ended);
    uv_async_init(&node->loop, &node->loaded, on_loaded);
    node->all_ended.data = node;
    node->loaded.data = node;
    enum err err = start_http(node); /* first: who watches may see us start */
    if (err == ERR_OK) {
        err = privileges_drop(node->config.server_user);
    }
    if (err == ERR_OK) {
        err = broker_load_secrets(node->broker);
    }
    if (err == ERR_OK) {
        err = start_admin(node);
    }
    if (err == ERR_OK && uv_thread_create(&node->loader, load, node) != 0) {
        err = ERR_MEMORY;
    }
    if (err != ERR_OK) {
        return err;
    }
    uv_run(&node->loop, UV_RUN_DEFAULT);
    broker_join(node->broker);
    broker_close_storage(node->broker);
    return node->result;
}

/*
 * Where log lines go. A pipe or terminal is opened anew, so that a reader who has stopped loses
 * lines and does not hold up the broker, and whoever shares the stream keeps it as it is. A socket
 * can't be opened so: it may block. A file does not block, and others may write to it through the
 * same descriptor.
 */
static int open_log(void)
{
    struct stat status;
    if (fstat(STDERR_FILENO, &status) == 0 && S_ISREG(status.st_mode)) {
        int flags = fcntl(STDERR_FILENO, F_GETFL);
        (void)fcntl(STDERR_FILENO, F_SETFL, flags | O_APPEND); /* else lines may overwrite others */
        return STDERR_FILENO;
    }
    int fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    return fd >= 0 ? fd : STDERR_FILENO;
}

static bool uses_tls(const struct config *config)
{
    bool any = false;
    for (size_t i = 0; i < config->listener_count; i++) {
        any |= config->listeners[i].tls;
    }
    return any;
}

static int run(struct node *node)
{
    log_init(open_log(), node->config.observability_log_format == CONFIG_LOG_JSON
                             ? LOG_FORMAT_JSON
                             : LOG_FORMAT_TEXT);
    hash_seed_init();
    int status = uv_loop_init(&node->loop);
    if (status != 0) {
        log_error(LOG_MAIN, "can't start", log_text("error", uv_strerror(status)));
        return 1;
    }
    start_signals(node);
    storage_settings_init(&node->storage, &node->config);
    if (uses_tls(&node->config)) {
        tls_init(); /* a node without TLS does not pay for it */
    }
    enum err err = broker_create(&node->config, &node->broker);
    if (err == ERR_OK) {
        err = broker_bind(node->broker);
        err = err == ERR_OK ? serve(node) : err;
        stop_loop(node);
        broker_destroy(node->broker);
        reload_fini(&node->reload);
    }
    log_notice(LOG_MAIN, "stopped");
    return err == ERR_OK ? 0 : 1;
}

int main(int argc, char **argv)
{
    static struct node node;
    int code = EXIT_USAGE;
    if (command_run(argc, argv, environ, &code)) {
        return code;
    }
    switch (config_load(&node.config, argc, argv, environ, stdout, stderr)) {
    case CONFIG_RUN:
        node.reload = (struct reload){.argc = argc, .argv = argv, .environment = environ};
        code = run(&node);
        break;
    case CONFIG_EXIT_OK:
        code = 0;
        break;
    case CONFIG_EXIT_ERROR:
        break;
    }
    config_fini(&node.config);
    return code;
}
