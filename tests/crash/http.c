#include "tests/crash/http.h"

#include <string.h>

enum { STEP_MS = 50 };

static const char request[] =
    "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
static const char yes[] = "HTTP/1.1 200 ";

void http_init(struct http *http, uint16_t port)
{
    *http = (struct http){.port = port};
    link_init(&http->link);
}

void http_fini(struct http *http)
{
    link_fini(&http->link);
}

void http_forget(struct http *http)
{
    link_close(&http->link, true);
    http->readiness = READY_UNKNOWN;
    http->next_ms = 0;
}

static void ask(struct http *http)
{
    if (link_open(&http->link, http->port)) {
        bytes_put(&http->link.out, request, sizeof(request) - 1);
    } else {
        http->readiness = READY_NO;
    }
}

static void read_answer(struct http *http)
{
    bool is_open = link_service(&http->link);
    const struct bytes *in = &http->link.in;
    size_t len = sizeof(yes) - 1;
    if (bytes_len(in) >= len) {
        http->readiness = memcmp(in->data + in->start, yes, len) == 0 ? READY_YES : READY_NO;
        link_close(&http->link, true);
    } else if (!is_open) {
        http->readiness = READY_NO;
        link_close(&http->link, true);
    }
}

void http_turn(struct http *http, uint32_t now_ms)
{
    if (http->link.fd >= 0) {
        read_answer(http);
    } else if (now_ms >= http->next_ms) {
        http->next_ms = now_ms + STEP_MS;
        ask(http);
    }
}
