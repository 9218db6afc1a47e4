#include "node/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/ip.h"
#include "node/privileges.h"
#include "node/worker.h"

/* Sockets of listeners, one for each worker, bound and not yet listening. */

/* Gives `fd` back, or closes it and gives -1 with the error of what failed. */
static int keep_if(bool ok, int fd)
{
    if (ok) {
        return fd;
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int bind_tcp(const struct addrinfo *address, bool share)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    int off = 0;
    bool ok = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
              (!share || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0) &&
              /* [::] is every address, whatever the system's default */
              (address->ai_family != AF_INET6 ||
               setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0) &&
              bind(fd, address->ai_addr, address->ai_addrlen) == 0;
    /* Inherited by accepted sockets: peers that vanished without a word, where keep alive is 0. */
    int idle_s = 60;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
    return keep_if(ok, fd);
}

/* Sockets that share a port with SO_REUSEPORT would also share it with another Pulse of the same
 * user: a socket that doesn't share finds out. */
static bool taken_by_another(const struct addrinfo *address)
{
    int probe = bind_tcp(address, false);
    if (probe < 0) {
        return true;
    }
    close(probe);
    return false;
}

static bool bind_each(struct broker *broker, size_t index, const struct addrinfo *address)
{
    bool share = broker->worker_count > 1;
    if (share && taken_by_another(address)) {
        return false;
    }
    for (unsigned i = 0; i < broker->worker_count; i++) {
        int fd = bind_tcp(address, share);
        broker->workers[i]->listenings[index].fd = fd;
        if (fd < 0) {
            return false;
        }
    }
    return true;
}

static bool bind_address(struct broker *broker, size_t index, const char *where, const char **why)
{
    char host[CONFIG_HOST_SIZE];
    char port[8];
    uint16_t number = 0;
    *why = "not an address"; /* can't be: config has checked it */
    if (config_split_address(where, host, &number) != ERR_OK) {
        return false;
    }
    snprintf(port, sizeof(port), "%u", number);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (status != 0) {
        *why = gai_strerror(status);
        return false;
    }
    bool ok = bind_each(broker, index, found);
    *why = strerror(errno);
    freeaddrinfo(found);
    return ok;
}

/* A socket that a dead process left is replaced; one that somebody listens at is not. */
static bool is_abandoned(const struct sockaddr_un *address)
{
    struct stat status;
    if (stat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 &&
                errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return dead;
}

/* 660 as it is written means octal. */
static mode_t mode_of(uint64_t digits)
{
    return (mode_t)((digits / 100 % 10) << 6 | (digits / 10 % 10) << 3 | digits % 10);
}

static int bind_unix(const char *path, uint64_t mode, const char **why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        *why = "the path is too long for a unix socket";
        return -1;
    }
    strcpy(address.sun_path, path);
    if (is_abandoned(&address)) {
        (void)unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        bool ok = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                  chmod(path, mode_of(mode)) == 0;
        fd = keep_if(ok, fd);
    }
    *why = strerror(errno);
    return fd;
}

/* One socket, of which each worker has a descriptor. */
static bool bind_path(struct broker *broker, size_t index, const struct config_listener *config,
                      const char **why)
{
    int fd = bind_unix(config->bind + strlen(LISTENER_UNIX_PREFIX), config->unix_mode, why);
    broker->listeners[index].made_path = fd >= 0;
    const char *path = config->bind + strlen(LISTENER_UNIX_PREFIX);
    if (fd >= 0 && privileges_hand_over(path, broker->config->server_user) != ERR_OK) {
        *why = "it can't be handed over to server.user";
        fd = keep_if(false, fd);
    }
    for (unsigned i = 0; i < broker->worker_count && fd >= 0; i++) {
        int own = i == 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
        broker->workers[i]->listenings[index].fd = own;
        if (own < 0) {
            *why = strerror(errno);
            return false;
        }
    }
    return fd >= 0;
}

static bool is_path(const struct config_listener *config)
{
    return strncmp(config->bind, LISTENER_UNIX_PREFIX, strlen(LISTENER_UNIX_PREFIX)) == 0;
}

static enum err bind_listener(struct broker *broker, size_t index)
{
    const struct config_listener *config = broker->listeners[index].config;
    const char *why = "";
    bool ok = is_path(config) ? bind_path(broker, index, config, &why)
                              : bind_address(broker, index, config->bind, &why);
    if (!ok) {
        log_error(LOG_LISTENER, "can't listen", log_text("bind", config->bind),
                  log_text("error", why));
        return ERR_ADDRESS;
    }
    return ERR_OK;
}

static void describe(struct listener *listener, const struct config_listener *config)
{
    listener->config = config;
    listener->name = config->name;
    listener->ws = (struct ws_rules){.path = config->path, .origins = config->origins};
}

enum err listener_bind(struct broker *broker)
{
    const struct config *config = broker->config;
    size_t count = config->listener_count;
    broker->listeners = mem_alloc_array(count, sizeof(*broker->listeners));
    broker->listener_count = count;
    for (size_t i = 0; i < count; i++) {
        describe(&broker->listeners[i], &config->listeners[i]);
    }
    for (unsigned w = 0; w < broker->worker_count; w++) {
        struct worker *worker = broker->workers[w];
        worker->listenings = mem_alloc_array(count, sizeof(*worker->listenings));
        worker->listening_count = count;
        for (size_t i = 0; i < count; i++) {
            worker->listenings[i] =
                (struct listening){.worker = worker, .listener = &broker->listeners[i], .fd = -1};
        }
    }
    enum err err = ERR_OK;
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        err = bind_listener(broker, i);
    }
    return err;
}

/* Unix sockets are of this machine. */
static bool is_elsewhere(int fd)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(address);
    struct ip ip;
    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 &&
           ip_of_sockaddr((struct sockaddr *)&address, &ip) && !ip_is_loopback(&ip);
}

bool listener_is_public(const struct broker *broker, bool without_tls)
{
    for (size_t i = 0; i < broker->listener_count; i++) {
        if (without_tls && broker->listeners[i].config->tls) {
            continue;
        }
        if (is_elsewhere(broker->workers[0]->listenings[i].fd)) {
            return true;
        }
    }
    return false;
}
