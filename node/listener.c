#include "node/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/conn.h"
#include "node/layers.h"
#include "node/worker.h"

#define BACKLOG 4096
/* Others have their turn in between. */
#define ACCEPTS_PER_EVENT 64

/* ---- accepting ------------------------------------------------------------------------------- */

/*
 * Out of descriptors: the connection that waits would wake us for ever. Give up the spare
 * descriptor, take the connection, close it, and take the spare back.
 */
static void turn_away(struct worker *worker, int listener)
{
    close(worker->spare_fd);
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        metric_add(&worker->metrics, METRIC_SOCKETS_REFUSED, 1);
        worker_warn_limit(worker, "client turned away: no descriptor left");
    }
    worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void open_accepted(struct listening *listening, int fd)
{
    struct worker *worker = listening->worker;
    bool failed = false;
    if (worker->stopping || !conn_enter_limits(worker, listening->listener)) {
        close(fd);
        return;
    }
    struct layers *layers = layers_create(listening, &failed);
    if (failed) {
        close(fd);
        conn_undo_limits(worker, listening->listener);
        metric_add(&worker->metrics, METRIC_SOCKETS_REFUSED, 1);
        worker_warn_limit(worker, "client turned away: no memory left");
        return;
    }
    const struct conn_start start = {.fd = fd, .listener = listening->listener, .layers = layers};
    conn_open(worker, &start);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct listening *listening = container_of(poll, struct listening, poll);
    struct worker *worker = listening->worker;
    (void)events;
    for (int i = 0; status == 0 && i < ACCEPTS_PER_EVENT; i++) {
        int fd = accept4(listening->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            open_accepted(listening, fd);
            if (!conn_more_may_come(worker)) {
                return; /* listener_go_on follows */
            }
        } else if (errno == EMFILE || errno == ENFILE) {
            turn_away(worker, listening->fd);
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return; /* EAGAIN: that was all */
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool start(struct worker *worker, struct listening *listening)
{
    bool ok = listen(listening->fd, BACKLOG) == 0 &&
              uv_poll_init(&worker->loop, &listening->poll, listening->fd) == 0;
    listening->polls = ok;
    return ok && uv_poll_start(&listening->poll, UV_READABLE, on_connection) == 0;
}

enum err listener_start(struct broker *broker)
{
    for (unsigned w = 0; w < broker->worker_count; w++) {
        struct worker *worker = broker->workers[w];
        worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        for (size_t i = 0; i < worker->listening_count; i++) {
            if (!start(worker, &worker->listenings[i])) {
                log_error(LOG_LISTENER, "can't listen",
                          log_text("bind", worker->listenings[i].listener->config->bind),
                          log_text("error", strerror(errno)));
                return ERR_ADDRESS;
            }
        }
    }
    for (size_t i = 0; i < broker->listener_count; i++) {
        const struct config_listener *config = broker->listeners[i].config;
        log_notice(LOG_LISTENER, "listening", log_text("bind", config->bind),
                   log_text("protocol", config->protocol == CONFIG_PROTOCOL_WS ? "ws" : "mqtt"),
                   log_uint("tls", config->tls), log_uint("workers", broker->worker_count));
    }
    return ERR_OK;
}

void listener_pause(struct worker *worker)
{
    for (size_t i = 0; i < worker->listening_count; i++) {
        if (worker->listenings[i].polls) {
            uv_poll_stop(&worker->listenings[i].poll);
        }
    }
}

void listener_go_on(struct worker *worker)
{
    for (size_t i = 0; i < worker->listening_count; i++) {
        if (worker->listenings[i].polls) {
            uv_poll_start(&worker->listenings[i].poll, UV_READABLE, on_connection);
        }
    }
}

void listener_stop(struct worker *worker)
{
    for (size_t i = 0; i < worker->listening_count; i++) {
        struct listening *listening = &worker->listenings[i];
        if (listening->polls) {
            listening->polls = false;
            uv_close((uv_handle_t *)&listening->poll, NULL);
        }
        if (listening->fd >= 0) {
            close(listening->fd);
            listening->fd = -1;
        }
    }
    if (worker->spare_fd >= 0) {
        close(worker->spare_fd);
        worker->spare_fd = -1;
    }
}

void listener_forget(struct worker *worker)
{
    for (size_t i = 0; i < worker->listening_count; i++) {
        tls_context_unref(worker->listenings[i].tls);
    }
    mem_free(worker->listenings);
}

void listener_destroy_all(struct broker *broker)
{
    for (size_t i = 0; i < broker->listener_count; i++) {
        const struct listener *listener = &broker->listeners[i];
        tls_context_unref(listener->tls);
        if (listener->made_path) {
            (void)unlink(listener->config->bind + strlen(LISTENER_UNIX_PREFIX));
        }
    }
    mem_free(broker->listeners);
}
