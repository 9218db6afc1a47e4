#include "node/http_address_priv.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 64

static bool is_port(const char *port)
{
    size_t len = strlen(port);
    return len > 0 && len <= 5 && strspn(port, "0123456789") == len && atoi(port) <= UINT16_MAX;
}

/* Splits "host:port" or "[host]:port". An empty host means all addresses of this machine. */
static bool split_address(const char *bind, char host[NI_MAXHOST], char port[NI_MAXSERV])
{
    const char *colon = strrchr(bind, ':');
    if (colon == NULL || !is_port(colon + 1)) {
        return false;
    }
    const char *start = bind;
    size_t len = (size_t)(colon - bind);
    if (len >= 2 && bind[0] == '[' && colon[-1] == ']') {
        start++;
        len -= 2;
    } else if (memchr(bind, ':', len) != NULL) {
        return false; /* an IPv6 address without brackets: where its port starts is a guess */
    }
    if (len >= NI_MAXHOST) {
        return false;
    }
    memcpy(host, start, len);
    host[len] = '\0';
    strcpy(port, colon + 1);
    return true;
}

/* Gives a listening socket, or -1 with errno set. */
static int listen_on(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

int http__listen(const char *bind, const char **why)
{
    char host[NI_MAXHOST];
    char port[NI_MAXSERV];
    if (!split_address(bind, host, port)) {
        *why = "expected host:port or [IPv6 address]:port";
        return -1;
    }
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *addresses = NULL;
    int failure = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &addresses);
    if (failure != 0) {
        *why = gai_strerror(failure);
        return -1;
    }
    int fd = -1;
    for (const struct addrinfo *at = addresses; at != NULL && fd < 0; at = at->ai_next) {
        fd = listen_on(at);
    }
    if (fd < 0) {
        *why = strerror(errno);
    }
    freeaddrinfo(addresses);
    return fd;
}

uint16_t http__port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0) {
        return 0;
    }
    return ntohs(address.ss_family == AF_INET6
                     ? ((struct sockaddr_in6 *)(void *)&address)->sin6_port
                     : ((struct sockaddr_in *)(void *)&address)->sin_port);
}
