#include "tests/crash/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };

void link_init(struct link *link)
{
    *link = (struct link){.fd = -1};
}

void link_fini(struct link *link)
{
    link_close(link, true);
    bytes_fini(&link->in);
    bytes_fini(&link->out);
}

bool link_open(struct link *link, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* only slower without */
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 && errno != EINPROGRESS) {
        close(fd);
        return false;
    }
    link->fd = fd;
    link->connecting = true;
    return true;
}

short link_events(const struct link *link)
{
    bool writes = link->connecting || bytes_len(&link->out) > 0;
    return (short)(POLLIN | (writes ? POLLOUT : 0));
}

static bool flush(struct link *link)
{
    while (bytes_len(&link->out) > 0) {
        ssize_t sent =
            send(link->fd, link->out.data + link->out.start, bytes_len(&link->out), MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        bytes_take(&link->out, (size_t)sent);
    }
    return true;
}

static bool fill(struct link *link)
{
    for (;;) {
        ssize_t got = recv(link->fd, bytes_reserve(&link->in, READ_BYTES), READ_BYTES, 0);
        if (got == 0) {
            return false;
        }
        if (got < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        bytes_grow(&link->in, (size_t)got);
    }
}

/* Whether the connection stands by now; false: it never will. */
static bool finish_connecting(struct link *link)
{
    struct pollfd writable = {.fd = link->fd, .events = POLLOUT};
    if (poll(&writable, 1, 0) == 0) {
        return true;
    }
    int error = 0;
    socklen_t len = sizeof(error);
    link->connecting = false;
    return getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

bool link_service(struct link *link)
{
    if (link->connecting && !finish_connecting(link)) {
        return false;
    }
    if (link->connecting) {
        return true;
    }
    /* A failed write does not end the reading: acknowledgements may have come before. */
    bool written = flush(link);
    return fill(link) && written;
}

void link_close(struct link *link, bool abort)
{
    if (link->fd >= 0) {
        struct linger linger = {.l_onoff = 1, .l_linger = 0};
        if (abort) {
            (void)setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
        }
        close(link->fd);
    }
    link->fd = -1;
    link->connecting = false;
    link->in.start = link->in.end = 0;
    link->out.start = link->out.end = 0;
}
