#include "node/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "node/conn.h"
#include "node/worker.h"

#define BACKLOG 4096
/* Others have their turn in between. */
#define ACCEPTS_PER_EVENT 64

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

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct worker *worker = container_of(poll, struct worker, listener);
    (void)events;
    for (int i = 0; status == 0 && i < ACCEPTS_PER_EVENT; i++) {
        int fd = accept4(worker->listener_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            conn_open(worker, fd, slice_of(NULL, 0));
        } else if (errno == EMFILE || errno == ENFILE) {
            turn_away(worker, worker->listener_fd);
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return; /* EAGAIN: that was all */
        }
    }
}

static int open_socket(const struct addrinfo *address, bool share)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              (!share || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
              bind(fd, address->ai_addr, address->ai_addrlen) == 0;
    if (!ok) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static enum err listen_on(struct worker *worker, const struct addrinfo *address, bool share)
{
    int fd = open_socket(address, share);
    if (fd < 0) {
        return ERR_ADDRESS;
    }
    /* Inherited by accepted sockets: peers that vanished without a word, where keep alive is 0. */
    int on = 1;
    int idle_s = 60;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    if (listen(fd, BACKLOG) != 0 || uv_poll_init(&worker->loop, &worker->listener, fd) != 0) {
        close(fd);
        return ERR_ADDRESS;
    }
    worker->listening = true;
    worker->listener_fd = fd;
    worker->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return uv_poll_start(&worker->listener, UV_READABLE, on_connection) == 0 ? ERR_OK : ERR_ADDRESS;
}

/* Sockets that share a port with SO_REUSEPORT would also share it with another Pulse of the same
 * user: a socket that doesn't share finds out. */
static bool taken_by_another(const struct addrinfo *address)
{
    int probe = open_socket(address, false);
    if (probe < 0) {
        return true;
    }
    close(probe);
    return false;
}

static enum err listen_everywhere(struct broker *broker, const struct addrinfo *address)
{
    bool share = broker->worker_count > 1;
    if (share && taken_by_another(address)) {
        return ERR_ADDRESS;
    }
    for (unsigned i = 0; i < broker->worker_count; i++) {
        enum err err = listen_on(broker->workers[i], address, share);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

enum err listener_open(struct broker *broker)
{
    const char *where = broker->config->server_bind;
    char host[CONFIG_HOST_SIZE];
    char port[8];
    uint16_t number = 0;
    if (config_split_address(where, host, &number) != ERR_OK) {
        return ERR_ADDRESS; /* can't be: config has checked it */
    }
    snprintf(port, sizeof(port), "%u", number);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (status != 0) {
        log_error(LOG_LISTENER, "address can't be resolved", log_text("bind", where),
                  log_text("error", gai_strerror(status)));
        return ERR_ADDRESS;
    }
    enum err err = listen_everywhere(broker, found);
    int error = errno;
    freeaddrinfo(found);
    if (err != ERR_OK) {
        log_error(LOG_LISTENER, "can't listen", log_text("bind", where),
                  log_text("error", strerror(error)));
        return err;
    }
    log_notice(LOG_LISTENER, "listening", log_text("bind", where),
               log_uint("workers", broker->worker_count));
    return ERR_OK;
}

void listener_stop(struct worker *worker)
{
    if (worker->listening) {
        worker->listening = false;
        uv_close((uv_handle_t *)&worker->listener, NULL);
        close(worker->listener_fd);
        close(worker->spare_fd);
    }
}
