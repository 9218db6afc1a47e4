#include "tests/bench/loop.h"
#include "tests/bench/link.h"

#include <errno.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS_PER_TURN = 512,
    INPUT_BYTES = 256 * 1024, /* stays in the second level cache */
    INPUT_HEADROOM_BYTES = 16 * 1024 * 1024,
};

static bool resolve(struct loop *loop, const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int status = getaddrinfo(host, port, &hints, &found);
    if (status != 0) {
        loop_fail(loop, "cannot resolve %s: %s", host, gai_strerror(status));
        return false;
    }
    memcpy(&loop->address, found->ai_addr, found->ai_addrlen);
    loop->address_len = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

bool loop_init(struct loop *loop, const char *host, const char *port)
{
    *loop = (struct loop){.epoll_fd = -1, .stall_ns = 10 * NS_PER_S};
    if (!resolve(loop, host, port)) {
        return false;
    }
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    /* The kernel gives pages only to what is used: the headroom costs nothing until then. */
    loop->input = malloc(INPUT_HEADROOM_BYTES + INPUT_BYTES);
    if (loop->epoll_fd < 0 || loop->input == NULL) {
        loop_fail(loop, "cannot start the loop: %s", strerror(errno));
        loop_fini(loop);
        return false;
    }
    loop->progress_ns = loop_clock(loop);
    return true;
}

void loop_fini(struct loop *loop)
{
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
    loop->epoll_fd = -1;
    free(loop->input);
    loop->input = NULL;
}

uint64_t loop_clock(struct loop *loop)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    loop->now_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
    return loop->now_ns;
}

void loop_fail(struct loop *loop, const char *format, ...)
{
    if (loop->failed) {
        return;
    }
    va_list args;
    va_start(args, format);
    vsnprintf(loop->error, sizeof(loop->error), format, args);
    va_end(args);
    loop->failed = true;
}

void loop_mark_progress(struct loop *loop)
{
    loop->progress_ns = loop_clock(loop);
}

void loop_turn(struct loop *loop, uint64_t wait_ns)
{
    struct epoll_event events[EVENTS_PER_TURN];
    struct timespec wait = {0};
    if (!loop->spin) {
        wait.tv_sec = (time_t)(wait_ns / NS_PER_S);
        wait.tv_nsec = (long)(wait_ns % NS_PER_S);
    }
    int count = epoll_pwait2(loop->epoll_fd, events, EVENTS_PER_TURN, &wait, NULL);
    if (count < 0 && errno != EINTR) {
        loop_fail(loop, "epoll: %s", strerror(errno));
        return;
    }
    uint64_t woken_ns = loop_clock(loop);
    for (int i = 0; i < count; i++) {
        link_on_events(events[i].data.ptr, events[i].events);
    }
    if (count > 0) {
        loop->progress_ns = woken_ns;
    } else if (woken_ns - loop->progress_ns > loop->stall_ns) {
        loop_fail(loop, "no progress for %.1f s", (double)loop->stall_ns / (double)NS_PER_S);
    }
}

void loop_flush(struct loop *loop)
{
    struct link *link = loop->dirty;
    loop->dirty = NULL;
    while (link != NULL) {
        struct link *next = link->dirty_next;
        link->is_dirty = false;
        link_flush(link);
        link = next;
    }
}

void loop_run_until(struct loop *loop, uint64_t end_ns)
{
    while (!loop->failed && loop_clock(loop) < end_ns) {
        loop_flush(loop);
        loop_turn(loop, end_ns - loop->now_ns);
    }
    loop_flush(loop);
}

void loop_run_quietly(struct loop *loop, uint64_t wait_ns)
{
    uint64_t stall_ns = loop->stall_ns;
    loop->stall_ns = UINT64_MAX;
    loop_run_until(loop, loop_clock(loop) + wait_ns);
    loop->stall_ns = stall_ns;
    loop_mark_progress(loop);
}

void loop_add_dirty(struct loop *loop, struct link *link)
{
    link->is_dirty = true;
    link->dirty_next = loop->dirty;
    loop->dirty = link;
}

bool loop_watch(struct loop *loop, struct link *link, bool first)
{
    struct epoll_event event = {.data.ptr = link};
    event.events =
        (link->is_paused ? 0u : (uint32_t)EPOLLIN) | (link->is_blocked ? (uint32_t)EPOLLOUT : 0u);
    int operation = first ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (epoll_ctl(loop->epoll_fd, operation, link->fd, &event) != 0) {
        loop_fail(loop, "epoll_ctl: %s", strerror(errno));
        return false;
    }
    return true;
}
