#include "node/listener.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <errno.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/conn.h"
#include "node/worker.h"

#define BACKLOG 4096

static void on_connection(uv_stream_t *server, int status)
{
    struct worker *worker = container_of(server, struct worker, listener);
    if (status != 0) {
        log_warning(LOG_LISTENER, "accept failed", log_text("error", uv_strerror(status)));
        return;
    }
    /* libuv has accepted the socket already; take it out of a handle that never runs. */
    uv_tcp_t *accepted = mem_alloc(sizeof(*accepted));
    uv_tcp_init(&worker->loop, accepted);
    uv_os_fd_t fd = -1;
    int copy = -1;
    if (uv_accept(server, (uv_stream_t *)accepted) == 0 &&
        uv_fileno((uv_handle_t *)accepted, &fd) == 0) {
        copy = dup(fd);
    }
    uv_close((uv_handle_t *)accepted, (uv_close_cb)mem_free);
    if (copy >= 0) {
        conn_open(worker, copy, slice_of(NULL, 0));
    }
}

/* Splits "host:port" or "[host]:port"; config has checked the form. */
static void split_address(const char *bind, char host[256], char port[16])
{
    const char *colon = strrchr(bind, ':');
    size_t len = (size_t)(colon - bind);
    if (len >= 2 && bind[0] == '[' && bind[len - 1] == ']') {
        bind++;
        len -= 2;
    }
    snprintf(host, 256, "%.*s", (int)len, bind);
    snprintf(port, 16, "%s", colon + 1);
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
    uv_tcp_init(&worker->loop, &worker->listener);
    worker->listening = true;
    if (uv_tcp_open(&worker->listener, fd) != 0) {
        close(fd);
        return ERR_ADDRESS;
    }
    return uv_listen((uv_stream_t *)&worker->listener, BACKLOG, on_connection) == 0 ? ERR_OK
                                                                                   : ERR_ADDRESS;
}

/* Sockets that share a port with SO_REUSEPORT would also share it with another Pulse of the same user:
 * a socket that doesn't share finds out. */
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
    char host[256];
    char port[16];
    split_address(where, host, port);
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
    }
}
