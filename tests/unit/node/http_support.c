#include "tests/unit/node/http_support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

static void add_metrics(void *context, struct text *page)
{
    struct http_fixture *fixture = context;
    text_add(page, "# a page\n");
    while (page->len < fixture->metrics_bytes) {
        text_add(page, "one line of a very long page of metrics\n");
    }
}

static bool is_ready(void *context, const char **why)
{
    struct http_fixture *fixture = context;
    if (!fixture->ready) {
        *why = "shutting down";
    }
    return fixture->ready;
}

struct http_handlers http_fixture_handlers(struct http_fixture *fixture)
{
    return (struct http_handlers){.context = fixture, .metrics = add_metrics, .ready = is_ready};
}

int http_fixture_create(void **state)
{
    struct http_fixture *fixture = mem_alloc(sizeof(*fixture));
    struct http_handlers handlers = http_fixture_handlers(fixture);
    fixture->ready = true;
    uv_loop_init(&fixture->loop);
    *state = fixture;
    return http_start(&fixture->loop, "127.0.0.1:0", &handlers, &fixture->server) == ERR_OK ? 0
                                                                                            : -1;
}

int http_fixture_destroy(void **state)
{
    struct http_fixture *fixture = *state;
    http_stop(fixture->server);
    uv_run(&fixture->loop, UV_RUN_DEFAULT); /* ends only when no handle is left */
    int failure = uv_loop_close(&fixture->loop);
    mem_free(fixture);
    return failure == 0 && log_set_filter("off") == ERR_OK ? 0 : -1;
}

/* ---- a small client that lets the server's loop run while it waits ----------------------------
 */

void http_client_turn(struct http_fixture *fixture, int fd)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    poll(&event, 1, 1);
}

int http_client_connect(struct http_fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_port(fixture->server)),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd connected = {.fd = fd, .events = POLLOUT};
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        assert_int_equal(errno, EINPROGRESS);
    }
    while (poll(&connected, 1, 0) == 0) {
        assert_true(clock_mono_ms() < until_ms);
        http_client_turn(fixture, -1);
    }
    return fd;
}

bool http_client_send(struct http_fixture *fixture, int fd, const void *bytes, size_t len)
{
    const char *rest = bytes;
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (len > 0) {
        assert_true(clock_mono_ms() < until_ms);
        ssize_t sent = send(fd, rest, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            rest += sent;
            len -= (size_t)sent;
        } else if (errno == EAGAIN) {
            http_client_turn(fixture, fd);
        } else {
            return false;
        }
    }
    return true;
}

bool http_client_send_text(struct http_fixture *fixture, int fd, const char *request)
{
    return http_client_send(fixture, fd, request, strlen(request));
}

size_t http_client_read(struct http_fixture *fixture, int fd)
{
    size_t len = 0;
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    for (;;) {
        if (clock_mono_ms() >= until_ms) {
            fail_msg("not closed in time; %zu bytes so far", len);
        }
        ssize_t more = recv(fd, fixture->answer + len, ANSWER_MAX - 1 - len, MSG_DONTWAIT);
        if (more > 0) {
            len += (size_t)more;
        } else if (more == 0 || errno != EAGAIN) {
            break;
        } else {
            http_client_turn(fixture, fd);
        }
    }
    fixture->answer[len] = '\0';
    return len;
}

const char *http_client_ask(struct http_fixture *fixture, const char *request)
{
    int fd = http_client_connect(fixture);
    http_client_send_text(fixture, fd, request);
    http_client_read(fixture, fd);
    close(fd);
    return fixture->answer;
}

void assert_http_status(const char *answer, unsigned status)
{
    char line[32];
    snprintf(line, sizeof(line), "HTTP/1.1 %u ", status);
    if (strncmp(answer, line, strlen(line)) != 0) {
        fail_msg("not %u: %.60s", status, answer);
    }
}

const char *http_body(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

void assert_http_served(struct http_fixture *fixture)
{
    uint64_t before_ms = clock_mono_ms();
    const char *answer = http_client_ask(fixture, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_http_status(answer, 200);
    assert_true(clock_mono_ms() - before_ms < 2000);
}
