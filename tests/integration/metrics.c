#include "tests/integration/suite.h"

#include "tests/integration/metrics.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAGE_MAX = 512 * 1024, RETRY_MS = 20 };

static const char request[] = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n"
                              "Connection: close\r\n\r\n";

/* A connection to the HTTP endpoint with the request on its way, or -1. */
static int ask(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(broker_http_port(suite_broker())),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool asked = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                 send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) == sizeof(request) - 1;
    if (!asked && fd >= 0) {
        close(fd);
    }
    return asked ? fd : -1;
}

/* Reads until the server closes or WAIT_MS have passed. */
static void read_page(int fd, char *page)
{
    size_t len = 0;
    long deadline = clock_ms() + WAIT_MS;
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    ssize_t got = 1;
    while (got > 0 && len < PAGE_MAX - 1 && clock_ms() < deadline) {
        if (poll(&readable, 1, 100) == 1) {
            got = recv(fd, page + len, PAGE_MAX - 1 - len, 0);
            len += got > 0 ? (size_t)got : 0;
        }
    }
    page[len] = '\0';
}

double metric_value(const char *name)
{
    static char page[PAGE_MAX];
    int fd = ask();
    if (fd < 0) {
        test_fail("the /metrics page cannot be asked for");
    }
    read_page(fd, page);
    close(fd);
    char start[256];
    snprintf(start, sizeof(start), "\n%s ", name);
    const char *line = strstr(page, start);
    if (line == NULL) {
        test_fail("no such metric: %s", name);
    }
    return strtod(line + strlen(start), NULL);
}

void metric_expect_at(const char *name, double value, struct here here)
{
    long deadline = clock_ms() + WAIT_MS;
    double now = metric_value(name);
    while (now != value && clock_ms() < deadline) {
        poll(NULL, 0, RETRY_MS);
        now = metric_value(name);
    }
    if (now != value) {
        fail_at(here, "%s should become %g, is %g", name, value, now);
    }
}
